use std::{sync::Arc, time::Duration};

use super::{AGAIN, BEAT, BEATS, Batch, Due, Outbox};
use crate::{
    clock::{Now, Tick},
    publication::{MAX_PUBLISHER, publisher},
    publishing::Says,
};

const SKEW: Duration = Duration::from_secs(1);

fn at(ms: u64) -> Now {
    Now { tick: Tick(ms), wall_ms: ms }
}

fn clear() -> Vec<Says> {
    vec![Says::Clear { cache: "c".into() }]
}

/// Who says a batch, when, and its numbers.
fn signed(batch: &Batch) -> (Arc<str>, u64, Vec<u64>) {
    let first = &batch.envelopes()[0];
    assert!(
        batch.envelopes().iter().all(|e| (&e.publisher, e.start_ms) == (&first.publisher, first.start_ms))
    );
    (Arc::clone(&first.publisher), first.start_ms, batch.sequences().collect())
}

fn number(outbox: &mut Outbox, count: usize, now: u64, heard: u64) -> Batch {
    outbox.number([clear(), clear(), clear()].concat()[..count].to_vec(), at(now), heard, SKEW).unwrap()
}

#[test]
fn numbers_have_no_gap_whatever_became_of_what_was_said() {
    let mut outbox = Outbox::default();
    let first = number(&mut outbox, 2, 1000, 0);
    let (name, _, sequences) = signed(&first);
    assert_eq!(sequences, [1, 2]);
    assert_eq!((name.len(), publisher(&name).is_some()), (MAX_PUBLISHER, true));
    // Nothing of it was written.
    assert_eq!(signed(&number(&mut outbox, 3, 1001, 0)), (Arc::clone(&name), 1001, vec![1, 2, 3]));
    outbox.written(&first, Tick(1001));
    let second = number(&mut outbox, 1, 1002, 0);
    assert_eq!(signed(&second), (Arc::clone(&name), 1002, vec![3]));
    outbox.unknown(second.clone(), Tick(1002));
    assert_eq!(outbox.in_doubt(), Some(second.clone()), "to the byte");
    outbox.written(&second, Tick(1003));
    assert_eq!(outbox.in_doubt(), None);
    assert_eq!(signed(&number(&mut outbox, 1, 1004, 0)), (Arc::clone(&name), 1004, vec![4]));
    outbox.unknown(second, Tick(1004));
    outbox.give_up();
    let (other, _, sequences) = signed(&number(&mut outbox, 1, 1005, 0));
    assert_eq!((other != name, sequences, outbox.in_doubt()), (true, vec![1], None));
    outbox.lose();
    let (_, start, sequences) = signed(&number(&mut outbox, 1, 900, 0));
    assert_eq!(
        (start, sequences),
        (1005, vec![2]),
        "as if something was said that nobody has heard, and not before it"
    );
}

#[test]
fn a_start_wins_over_all_that_was_said_and_heard_before() {
    let mut outbox = Outbox::default();
    let mut start = |now, heard| {
        let batch = number(&mut outbox, 1, now, heard);
        outbox.written(&batch, Tick(now));
        (batch.envelopes()[0].start_ms, batch.envelopes()[0].sequence)
    };
    assert_eq!(start(5000, 0), (5000, 1));
    assert_eq!(start(5001, 5400), (5401, 2), "heard from one whose clock is ahead");
    assert_eq!(start(5002, 5400), (5401, 3), "its own don't go back");
    assert_eq!(start(4500, 0), (5401, 4), "nor does a clock that did take it back");
    assert_eq!(start(4000, 0), (4000, 1), "but as another when its start would be left out");
    assert_eq!(start(4001, 9000), (5001, 2), "nothing wins over what is that far ahead");
    let clear = clear();
    assert_eq!(
        outbox.number(clear.clone(), at(4100), 5100, SKEW),
        Err(Duration::from_millis(1)),
        "it would be left out as well"
    );
    outbox.number(clear, at(4101), 5100, SKEW).unwrap();
}

#[test]
fn silence_is_told_of_for_a_while_and_then_it_is_over() {
    let mut outbox = Outbox::default();
    assert_eq!((outbox.due(), outbox.notice(Says::Beat)), (None, None));
    let batch = number(&mut outbox, 1, 0, 0);
    let name = Arc::clone(&batch.envelopes()[0].publisher);
    outbox.written(&batch, Tick(0));
    let mut now = Tick(0);
    for sequence in 2..2 + u64::from(BEATS) {
        assert_eq!(outbox.due(), Some((now + BEAT, Due::Beat)));
        now = now + BEAT;
        let beat = outbox.notice(Says::Beat).unwrap();
        assert_eq!(beat.sequences(), sequence..=sequence);
        outbox.written(&beat, now);
    }
    assert_eq!(outbox.due(), Some((now + BEAT, Due::Bye)));
    let bye = outbox.notice(Says::Bye).unwrap();
    outbox.written(&bye, now + BEAT);
    assert_eq!((outbox.due(), outbox.notice(Says::Bye)), (None, None));
    let (other, _, sequences) = signed(&number(&mut outbox, 1, 20_000, 0));
    assert_eq!((other != name, sequences), (true, vec![1]), "who comes after a bye is another");
}

#[test]
fn a_beat_that_was_not_written_takes_no_number_and_a_bye_is_said_once() {
    let mut outbox = Outbox::default();
    let batch = number(&mut outbox, 1, 0, 0);
    outbox.written(&batch, Tick(0));
    let beat = outbox.notice(Says::Beat).unwrap();
    outbox.unheard(&beat, Tick(1000));
    assert_eq!(outbox.due(), Some((Tick(1000) + BEAT, Due::Beat)));
    assert_eq!(outbox.notice(Says::Beat), Some(beat.clone()), "the next has its number");
    outbox.unknown(beat, Tick(2000));
    assert_eq!(outbox.due(), Some((Tick(2000) + AGAIN, Due::Again)));
    let beat = outbox.in_doubt().unwrap();
    outbox.written(&beat, Tick(3000));
    let bye = outbox.notice(Says::Bye).unwrap();
    outbox.unknown(bye, Tick(4000));
    assert_eq!((outbox.due(), outbox.in_doubt()), (None, None));
}

#[test]
fn what_is_left_of_a_batch_has_its_numbers() {
    let mut outbox = Outbox::default();
    let mut batch = number(&mut outbox, 3, 1000, 0);
    batch.advance(1);
    assert_eq!((batch.sequences(), batch.envelopes().len(), batch.progress()), (2..=3, 2, (1, 3)));
    outbox.unknown(batch.clone(), Tick(1000));
    let mut rest = outbox.in_doubt().unwrap();
    assert_eq!(rest, batch);
    rest.advance(1);
    assert_eq!((rest.sequences(), rest.progress()), (3..=3, (2, 3)));
    outbox.written(&rest, Tick(1001));
    assert_eq!(signed(&number(&mut outbox, 1, 1002, 0)).2, [4]);
}
