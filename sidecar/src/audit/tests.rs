use std::time::Duration;

use freshet_crds::{binding::AuditSpec, quantity::WHOLE};
use proptest::prelude::*;

use super::{
    Audit, Content, Expected, Look, Outcome, Row, WATCHED,
    judge::{self, Delivery, Seen, Sighting, Step, Suspicion, UNPROVEN},
};
use crate::{
    clock::Tick,
    coherence::{RowHash, Seq},
    entry::{Entry, Read, Value, digest},
    key::Key,
    position::RowVersion,
};

const DELAY: Duration = Duration::from_secs(5);
const SKEW: Duration = Duration::from_secs(1);
const A: Content = Content::Value(1);
const B: Content = Content::Value(2);

fn key(n: u64) -> Key {
    Key::from_path(&n.to_string(), None).unwrap()
}

fn audit(share: u32) -> Audit {
    Audit::new(AuditSpec { share, delay: DELAY, check: None }, Duration::from_secs(1), 7)
}

/// Tells an audit of events of rows of cache 1.
struct Stream(Audit);

impl Stream {
    fn of_all() -> Self {
        Self(audit(WHOLE))
    }

    fn with(&mut self, n: u64, tell: impl FnOnce(&mut Audit, Row<'_>)) {
        let key = key(n);
        tell(&mut self.0, Row { cache: 1, hash: RowHash(n), key: &key });
    }

    fn void(&mut self, n: u64) {
        self.with(n, |audit, row| assert!(audit.changed(row, Tick(0))));
    }

    fn image(&mut self, n: u64, lsn: u64, image: &str) {
        self.void(n);
        self.with(n, |audit, row| {
            audit.image(row, RowVersion::Postgres { lsn }, || digest(image.as_bytes()));
        });
    }

    fn delete(&mut self, n: u64, lsn: u64) {
        self.void(n);
        self.with(n, |audit, row| audit.noted(row, RowVersion::Postgres { lsn }));
    }

    fn due(&mut self) -> Look {
        self.0.due(Tick(5000)).expect("something is due")
    }

    /// What is expected of the one row that is watched.
    fn expected(mut self) -> Expected {
        let look = self.due();
        self.0.expected(&look)
    }
}

fn image(text: &str) -> Expected {
    Expected::Image(digest(text.as_bytes()))
}

#[test]
fn a_key_is_due_once_after_the_delay_however_often_it_changes() {
    let mut stream = Stream::of_all();
    stream.image(7, 1, "a");
    stream.image(7, 2, "b");
    assert_eq!(stream.0.due(Tick(4999)), None);
    let look = stream.due();
    assert_eq!((look.cache, look.key.as_str(), look.suspicion), (1, "7", None));
    assert_eq!(stream.0.due(Tick(9999)), None, "it is being looked at");
    stream.image(7, 3, "c");
    assert_eq!(stream.0.expected(&look), image("c"), "what changes meanwhile is known");
    stream.0.put_off(&look, None, Tick(5000));
    assert_eq!(stream.0.due(Tick(9999)), None);
    assert_eq!(stream.0.due(Tick(10_000)), Some(look.clone()));
    stream.0.conclude(&look);
    assert_eq!(stream.0.expected(&look), Expected::Unknown);
    stream.image(7, 4, "d");
    assert!(stream.0.due(Tick(5000)).is_some(), "the next change is watched anew");
}

#[test]
fn the_newest_image_is_expected_and_none_that_something_outranks() {
    let expected = |tell: &dyn Fn(&mut Stream)| {
        let mut stream = Stream::of_all();
        tell(&mut stream);
        stream.expected()
    };
    assert_eq!(expected(&|s| s.image(7, 5, "a")), image("a"));
    assert_eq!(expected(&|s| s.void(7)), Expected::Nothing, "an image that isn't fit");
    assert_eq!(
        expected(&|s| {
            s.image(7, 5, "a");
            s.image(7, 4, "old");
        }),
        Expected::Nothing,
        "a replay voids, and isn't newer"
    );
    assert_eq!(
        expected(&|s| {
            s.image(7, 5, "a");
            s.image(7, 4, "old");
            s.image(7, 5, "a");
        }),
        image("a")
    );
    assert_eq!(
        expected(&|s| {
            s.delete(7, 5);
            s.image(7, 4, "old");
        }),
        Expected::Nothing,
        "a delete outranks what was before it"
    );
    assert_eq!(
        expected(&|s| {
            s.image(7, 5, "a");
            s.0.voided(1, Some(RowVersion::Postgres { lsn: 9 }));
        }),
        Expected::Nothing,
        "a truncate"
    );
    assert_eq!(
        expected(&|s| {
            s.0.voided(1, Some(RowVersion::Postgres { lsn: 9 }));
            s.image(7, 9, "old");
        }),
        Expected::Nothing,
        "what is from before a truncate"
    );
    assert_eq!(
        expected(&|s| {
            s.0.voided(1, Some(RowVersion::Postgres { lsn: 9 }));
            s.image(7, 10, "a");
            s.0.voided(2, None);
        }),
        image("a"),
        "another cache's end is none of this one's"
    );
    let other = RowVersion::Binlog { server: 1, file: 1, offset: 1, row: 1 };
    assert_eq!(
        expected(&|s| {
            s.image(7, 5, "a");
            s.void(7);
            s.with(7, |audit, row| audit.image(row, other, || digest(b"b")));
        }),
        image("b"),
        "of versions without an order the last counts"
    );
    assert_eq!(expected(&|s| s.with(7, |a, row| assert!(a.filled(row, Tick(0))))), Expected::Unknown);
}

#[test]
fn memory_is_bounded_and_what_has_no_room_is_told() {
    let mut stream = Stream::of_all();
    let most = WATCHED as u64;
    for n in 0..most {
        stream.void(n);
    }
    stream.with(most, |audit, row| assert!(!audit.changed(row, Tick(0)), "there is no room"));
    stream.with(3, |audit, row| assert!(audit.changed(row, Tick(0)), "it is watched already"));
    assert_eq!((stream.0.watched.len(), stream.0.first.len()), (WATCHED, WATCHED));
    let look = stream.due();
    stream.with(most, |audit, row| assert!(!audit.changed(row, Tick(0)), "one is being looked at"));
    stream.0.conclude(&look);
    stream.void(most);
    stream.0.keep(&[2].into());
    assert_eq!((stream.0.watched.len(), stream.0.due(Tick(5000))), (0, None), "their cache has ended");
}

#[test]
fn the_delay_is_no_shorter_than_reads_lag() {
    let spec = AuditSpec { share: WHOLE, delay: DELAY, check: None };
    let mut audit = Audit::new(spec.clone(), DELAY * 2, 7);
    let key = key(1);
    audit.changed(Row { cache: 1, hash: RowHash(1), key: &key }, Tick(0));
    assert_eq!(audit.due(Tick(9999)), None);
    assert!(audit.due(Tick(10_000)).is_some());
    assert!(audit.is_of(&spec, DELAY * 2) && !audit.is_of(&spec, DELAY));
    assert!(!audit.is_of(&AuditSpec { share: 1, ..spec }, DELAY * 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The share that is drawn is the share that is asked for, whatever changes and in whatever order.
    #[test]
    fn as_many_are_drawn_as_are_asked_for(share in 1u32..=WHOLE, seed: u64, rows in 1u64..1000) {
        let mut audit = Audit::new(AuditSpec { share, delay: DELAY, check: None }, SKEW, seed);
        let (mut drawn, events) = (0u32, 4000u32);
        for n in 0..events {
            let key = key(u64::from(n) % rows);
            audit.changed(Row { cache: 1, hash: RowHash(u64::from(n) % rows), key: &key }, Tick(0));
            while let Some(look) = audit.due(Tick(5000)) {
                drawn += 1;
                audit.conclude(&look);
            }
        }
        let p = f64::from(share) / f64::from(WHOLE);
        let (mean, deviation) = (f64::from(events) * p, (f64::from(events) * p * (1.0 - p)).sqrt());
        prop_assert!((f64::from(drawn) - mean).abs() <= 6.0 * deviation + 1.0, "{drawn} of {events} at {p}");
    }

    /// Whatever happens, the memory is bounded, and each key that is watched is due exactly once at a time.
    #[test]
    fn nothing_is_watched_for_ever(steps in proptest::collection::vec((0u8..6, 0u64..2000), 0..3000)) {
        let mut stream = Stream(audit(WHOLE / 2));
        let (mut now, mut under_way) = (0u64, Vec::new());
        for (what, n) in steps {
            match what {
                0 | 1 => { stream.with(n, |audit, row| { audit.changed(row, Tick(now)); }); }
                2 => { stream.with(n, |audit, row| { audit.filled(row, Tick(now)); }); }
                3 => now += n,
                4 => under_way.extend(stream.0.due(Tick(now))),
                _ => match under_way.pop() {
                    Some(look) if n % 2 == 0 => stream.0.put_off(&look, None, Tick(now)),
                    Some(look) => stream.0.conclude(&look),
                    None => stream.0.voided(1, None),
                },
            }
            let appointments = stream.0.first.len() + stream.0.again.len();
            prop_assert!(appointments <= WATCHED && stream.0.watched.len() <= WATCHED);
            prop_assert_eq!(appointments + under_way.len(), stream.0.watched.len());
        }
        for look in under_way {
            stream.0.conclude(&look);
        }
        while let Some(look) = stream.0.due(Tick(u64::MAX)) {
            stream.0.conclude(&look);
        }
        prop_assert_eq!(stream.0.watched.len(), 0);
    }
}

fn sighting(body: &'static str, hydrated: bool, stored: u64) -> Sighting {
    let value = Value::new(body.into(), "text/plain".into());
    let read = Read { seq: Seq(1), position: None, hold_off: false, hydrated, on: None };
    Sighting::of(&Entry::new(value, 1, read, Tick(stored), Tick(90_000), std::sync::Arc::default()))
}

const PROVEN: Delivery = Delivery { applied_through: Some(Tick(9000)), proven: true, clock_skew: SKEW };

fn judge(seen: Seen, expected: Expected, suspicion: Option<Suspicion>, asks: bool) -> Step {
    judge::seen(seen, expected, suspicion, asks, &PROVEN, Tick(10_000))
}

#[test]
fn hydrated_values_are_the_last_image_or_wrong() {
    let value = sighting("a", true, 1);
    let seen = Seen::Value(value);
    for asks in [false, true] {
        assert_eq!(judge(seen, image("a"), None, asks), Step::Done(Outcome::Consistent));
        assert_eq!(judge(seen, image("b"), None, asks), Step::Drop(value));
        assert_eq!(judge(seen, Expected::Nothing, None, asks), Step::Drop(value));
        assert_eq!(judge(seen, Expected::Unknown, None, asks), Step::Done(Outcome::Unknown));
        assert_eq!(judge(Seen::Nothing, image("a"), None, asks), Step::Done(Outcome::Absent));
        assert_eq!(judge(Seen::Unvouched, image("b"), None, asks), Step::Done(Outcome::Unvouched));
    }
}

#[test]
fn filled_values_are_asked_about_if_anybody_can_be_asked() {
    let value = sighting("a", false, 1);
    for expected in [Expected::Unknown, Expected::Nothing, image("b")] {
        assert_eq!(judge(Seen::Value(value), expected, None, true), Step::Ask(value));
        assert_eq!(judge(Seen::Value(value), expected, None, false), Step::Done(Outcome::Unknown));
    }
}

/// A suspicion from `answered`, of an answer that was given then.
fn suspect(value: Sighting, answer: Content, answered: u64) -> Suspicion {
    match judge::answered(value, Some(answer), None, Tick(answered)) {
        Step::PutOff(Some(suspicion)) => suspicion,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_difference_is_a_suspicion_until_the_change_must_have_come() {
    let value = sighting("a", false, 1);
    assert_eq!(judge::answered(value, Some(value.content), None, Tick(0)), Step::Done(Outcome::Consistent));
    assert_eq!(judge::answered(value, None, None, Tick(0)), Step::Done(Outcome::Failed));

    // All that was answered at 8 000 is applied at 9 000, a second of skew granted; not so at 8 001.
    let old = suspect(value, B, 8000);
    assert_eq!(judge(Seen::Value(value), Expected::Unknown, Some(old), true), Step::Ask(value));
    let new = suspect(value, B, 8001);
    assert_eq!(judge(Seen::Value(value), Expected::Unknown, Some(new), true), Step::PutOff(Some(new)));
    let unheard = Delivery { applied_through: None, ..PROVEN };
    let at =
        |delivery, now| judge::seen(Seen::Value(value), Expected::Unknown, Some(old), true, &delivery, now);
    assert_eq!(at(unheard, Tick(u64::MAX)), Step::PutOff(Some(old)));
    let unproven = Delivery { proven: false, ..PROVEN };
    assert_eq!(at(unproven, Tick(7999) + UNPROVEN), Step::PutOff(Some(old)));
    assert_eq!(at(unproven, Tick(8000) + UNPROVEN), Step::Ask(value));

    for gone in [Seen::Nothing, Seen::Value(sighting("b", false, 2)), Seen::Value(sighting("a", false, 2))] {
        let late = Outcome::Late(Duration::from_secs(2));
        assert_eq!(judge(gone, Expected::Unknown, Some(old), true), Step::Done(late));
    }
    let unvouched = judge(Seen::Unvouched, Expected::Unknown, Some(old), true);
    assert_eq!(unvouched, Step::Done(Outcome::Unvouched));
}

#[test]
fn the_same_difference_twice_is_a_wrong_value() {
    let value = sighting("a", false, 1);
    let first = suspect(value, B, 1000);
    let again = |answer| judge::answered(value, answer, Some(first), Tick(8000));
    assert_eq!(again(Some(B)), Step::Drop(value));
    assert_eq!(again(Some(value.content)), Step::Done(Outcome::Consistent), "the application's reads lagged");
    assert_eq!(again(None), Step::Done(Outcome::Failed));
    assert_eq!(
        judge::answered(value, Some(Content::Absent), None, Tick(0)),
        Step::PutOff(Some(suspect(value, Content::Absent, 0)))
    );
    let Step::PutOff(Some(second)) = again(Some(A)) else { panic!("another difference may be on its way") };
    let late = judge(Seen::Nothing, Expected::Unknown, Some(second), true);
    assert_eq!(late, Step::Done(Outcome::Late(Duration::from_secs(9))), "counted from the first");
    // One that is never the same is no chance either.
    let (mut suspicion, mut rounds) = (second, 2);
    loop {
        match judge::answered(value, Some(Content::Value(rounds)), Some(suspicion), Tick(8000)) {
            Step::PutOff(Some(next)) => (suspicion, rounds) = (next, rounds + 1),
            Step::Drop(dropped) if dropped == value => break,
            other => panic!("{other:?}"),
        }
        assert!(rounds < 10);
    }
}
