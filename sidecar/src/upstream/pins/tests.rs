use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Fault, Pins, Put};
use crate::{
    clock::Tick,
    entry::{Entry, Value},
    upstream::{
        Origin,
        allowance::Allowance,
        fetch::Validators,
        flights::{Flights, Number},
        life::{Life, Says},
    },
};

const MEMORY: u64 = 1 << 20;

fn entry(body: &str, number: Number, accept: Option<&'static str>) -> Arc<Entry> {
    let life = Life {
        received: Tick(0),
        age: Duration::ZERO,
        fresh: Tick(10_000),
        while_revalidate: Tick(10_000),
        if_error: Tick(10_000),
    };
    of(body, number, accept, life)
}

/// One that had ended before it came, and may be served all the same for so long.
fn ended(body: &str, received: Tick, stale: Duration) -> Arc<Entry> {
    let life = Life {
        received,
        age: Duration::ZERO,
        fresh: received,
        while_revalidate: received + stale,
        if_error: received,
    };
    of(body, Number(1), None, life)
}

fn of(body: &str, number: Number, accept: Option<&'static str>, life: Life) -> Arc<Entry> {
    let origin = Origin {
        status: 200,
        life,
        says: Says::default(),
        validators: Validators::default(),
        accept: accept.map(Bytes::from),
        varies: accept.is_some(),
        number,
        asked: 0.into(),
        failed: 0.into(),
    };
    let value = Value::new(Bytes::copy_from_slice(body.as_bytes()), "application/json".into());
    Arc::new(Entry::of_upstream(
        value,
        1,
        origin,
        life.received,
        life.fresh + Duration::from_secs(10),
        Arc::default(),
    ))
}

fn pinned(keys: &[&str]) -> (Pins, Allowance) {
    let pins = Pins::new(None);
    pins.pin(&keys.iter().copied().collect());
    (pins, Allowance::default())
}

fn put(pins: &Pins, allowance: &Allowance, key: &str, put: Put, now: Tick) {
    pins.change(key, put, (allowance, MEMORY), now, |_| {});
}

fn why(pins: &Pins, key: &str) -> String {
    pins.look([key].into_iter()).0.remove(0).unwrap_err().why
}

fn body(pins: &Pins, key: &str) -> Option<Bytes> {
    pins.entry(key).map(|entry| entry.body.clone())
}

#[test]
fn what_is_pinned_is_held_until_something_takes_its_place() {
    let (pins, allowance) = pinned(&["a", "b"]);
    assert!(why(&pins, "a").contains("hasn't been fetched yet"));
    put(&pins, &allowance, "a", Put::Stored(entry("1", Number(1), None), Tick(5)), Tick(0));
    put(&pins, &allowance, "c", Put::Stored(entry("1", Number(2), None), Tick(5)), Tick(0));
    assert_eq!((body(&pins, "a").unwrap(), body(&pins, "c")), ("1".into(), None));
    assert!(allowance.taken() > 0);
    // Another representation than that which views ask for is beside it.
    put(&pins, &allowance, "a", Put::Stored(entry("<1>", Number(3), Some("text/html")), Tick(5)), Tick(0));
    assert_eq!(body(&pins, "a").unwrap(), "1");
    put(&pins, &allowance, "a", Put::Deleted, Tick(0));
    assert!(body(&pins, "a").is_none() && why(&pins, "a").contains("was deleted"));
    put(&pins, &allowance, "a", Put::NotStored, Tick(0));
    assert!(why(&pins, "a").contains("forbids"));
    assert_eq!(allowance.taken(), 0);
    put(&pins, &allowance, "a", Put::Stored(entry("2", Number(4), None), Tick(5)), Tick(0));
    pins.pin(&BTreeSet::from(["b"]));
    assert_eq!((body(&pins, "a"), allowance.taken()), (None, 0));
}

#[test]
fn the_version_tells_of_each_change_and_the_content_only_of_another_one() {
    let (pins, allowance) = pinned(&["a"]);
    let content = |pins: &Pins| pins.look(["a"].into_iter()).0.remove(0).unwrap().content;
    let mut versions = vec![pins.version()];
    let mut contents = Vec::new();
    for body in ["1", "1", "2", "1"] {
        put(&pins, &allowance, "a", Put::Stored(entry(body, Number(1), None), Tick(5)), Tick(0));
        versions.push(pins.version());
        contents.push(content(&pins));
    }
    assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
    assert!(
        contents[0] == contents[1] && contents[1] < contents[2] && contents[2] < contents[3],
        "{contents:?}"
    );
    pins.tidy(0, Tick(19_999));
    assert_eq!(pins.version(), versions[4]);
    pins.tidy(0, Tick(20_000));
    assert!(pins.version() > versions[4] && why(&pins, "a").contains("has ended"));
}

#[test]
fn what_is_due_is_fetched_once_at_a_time_and_failures_put_it_off() {
    let (pins, allowance) = pinned(&["a", "b"]);
    let due = |now| pins.due(true, Tick(now)).map(|due| String::from(due.key));
    assert_eq!((due(0).as_deref(), due(0).as_deref(), due(0)), (Some("a"), Some("b"), None));
    assert_eq!(due(999), None, "they are under way");
    put(&pins, &allowance, "a", Put::Stored(entry("1", Number(1), None), Tick(9_000)), Tick(10));
    let mut waits = Vec::new();
    let mut now = 1000;
    for _ in 0..7 {
        pins.failed("b", "it is down".into(), Fault::Other, Tick(now));
        let next = pins.outlook("b").next.0;
        waits.push((next - now) / 1000);
        assert_eq!(due(next - 1).filter(|key| key == "b"), None);
        now = next;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    assert!(why(&pins, "b").contains("it is down"));
    pins.failed("b", "it wants none".into(), Fault::Limited(Tick(500_000)), Tick(now));
    assert_eq!(pins.outlook("b").next, Tick(500_000));
    assert_eq!(due(499_999).as_deref(), Some("a"));
    put(&pins, &allowance, "b", Put::Deleted, Tick(now));
    assert_eq!(due(now).as_deref(), Some("b"), "what was deleted is fetched at once");
}

#[test]
fn what_there_is_no_room_for_is_told_and_makes_no_room_for_others() {
    let (pins, allowance) = pinned(&["a", "b"]);
    let large = "x".repeat(200 << 10);
    put(&pins, &allowance, "a", Put::Stored(entry(&large, Number(1), None), Tick(5)), Tick(0));
    put(&pins, &allowance, "b", Put::Stored(entry(&large, Number(2), None), Tick(5)), Tick(0));
    assert!(pins.entry("a").is_some());
    assert!(why(&pins, "b").contains("at most 262144 bytes"), "{}", why(&pins, "b"));
    pins.tidy(100 << 10, Tick(1));
    let due = |now| pins.due(true, Tick(now)).map(|due| String::from(due.key));
    assert_eq!(due(4), None);
    pins.tidy(210 << 10, Tick(1));
    assert_eq!(due(4).as_deref(), Some("b"), "it is fetched once there is room");
    // Its own successor has its place.
    put(&pins, &allowance, "a", Put::Stored(entry(&large, Number(3), None), Tick(5)), Tick(0));
    assert_eq!(pins.entry("a").unwrap().origin.as_ref().unwrap().number, Number(3));
}

#[test]
fn what_ends_as_soon_as_it_comes_is_fetched_ever_more_seldom() {
    let minutes = Duration::from_mins;
    for (refresh, stale, expected) in [
        (None, Duration::ZERO, vec![1, 2, 4, 8, 16, 30, 30]),
        (Some(minutes(1)), Duration::ZERO, vec![1, 2, 4, 8, 16, 32, 60, 60]),
        (Some(minutes(1)), minutes(60), vec![1, 2, 4, 8, 16, 32, 60, 60]),
        (Some(Duration::from_secs(1)), Duration::ZERO, vec![1, 1, 1]),
        // A little before it can't be served any more, where it can at all.
        (None, Duration::from_secs(10), vec![1, 2, 4, 8, 9, 9]),
        (None, Duration::from_secs(4), vec![1, 2, 3, 3]),
        (None, Duration::from_millis(100), vec![1, 1, 1]),
    ] {
        let (pins, allowance) = (Pins::new(refresh), Allowance::default());
        pins.pin(&BTreeSet::from(["a"]));
        let mut now = Tick(0);
        for seconds in expected {
            let ended = ended("1", now, stale);
            put(&pins, &allowance, "a", Put::Stored(ended, now + Duration::from_secs(1)), now);
            let next = pins.outlook("a").next;
            assert_eq!(next.since(now).as_secs(), seconds, "{refresh:?} {stale:?} {now:?}");
            let why = pins.outlook("a").why;
            assert_eq!(why.contains("ends as soon as it comes"), stale.is_zero(), "{why}");
            now = next;
        }
        put(&pins, &allowance, "a", Put::Stored(entry("1", Number(1), None), now + minutes(5)), now);
        assert_eq!(pins.outlook("a").next, now + minutes(5), "it was one of those that live");
    }
}

#[test]
fn what_hangs_is_only_due_where_it_may_be() {
    let (pins, allowance) = pinned(&["a", "b"]);
    let due = |hung, now| pins.due(hung, Tick(now)).map(|due| (String::from(due.key), due.hung));
    pins.failed("a", "it hangs".into(), Fault::Late, Tick(0));
    assert_eq!(due(false, 2000), Some(("b".into(), false)));
    assert_eq!(due(false, 2000), None);
    // That it had to wait since says nothing else.
    pins.failed("a", "it wants none".into(), Fault::Limited(Tick(2000)), Tick(2000));
    assert_eq!(due(true, 2000), Some(("a".into(), true)));
    pins.failed("a", "it is down".into(), Fault::Other, Tick(3000));
    assert_eq!(due(false, 9000), Some(("b".into(), false)));
    assert_eq!(due(false, 9000), Some(("a".into(), false)));
    for put in [Put::NotStored, Put::Stored(entry("1", Number(1), None), Tick(9000))] {
        pins.failed("a", "it hangs".into(), Fault::Late, Tick(9000));
        self::put(&pins, &allowance, "a", put, Tick(9000));
        assert!(!pins.due(true, Tick(90_000)).unwrap().hung);
    }
}

#[test]
fn what_is_dropped_for_lack_of_room_is_the_largest_and_waits_for_room() {
    let (pins, allowance) = pinned(&["a", "b", "c"]);
    for (n, key) in ["a", "b", "c"].into_iter().enumerate() {
        let body = "x".repeat([100, 300, 200][n]);
        put(&pins, &allowance, key, Put::Stored(entry(&body, Number(n as u64), None), Tick(9000)), Tick(0));
    }
    let (all, largest, version) = (allowance.taken(), pins.largest(), pins.version());
    assert!(pins.drop_largest(77));
    assert_eq!((allowance.taken(), body(&pins, "b")), (all - largest, None));
    assert!(pins.version() > version && why(&pins, "b").contains("at most 77 bytes"));
    pins.tidy(largest - 1, Tick(1));
    assert!(why(&pins, "b").contains("at most 77 bytes") && pins.due(true, Tick(1)).is_none());
    pins.tidy(largest, Tick(1));
    assert_eq!(pins.due(true, Tick(1)).unwrap().key, Box::from("b"));
    assert!(pins.drop_largest(77) && body(&pins, "c").is_none() && body(&pins, "a").is_some());
    assert!(pins.drop_largest(77) && !pins.drop_largest(77));
    assert_eq!((pins.largest(), allowance.taken()), (0, 0));
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin,
    /// Of those under way, the one at this place lands with something to store, or with something that may not be stored.
    Land(usize, bool),
    Delete,
    Evict,
    /// The view goes and comes back.
    Forget,
    Adopt,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Begin),
        4 => (0usize..8, prop::bool::weighted(0.8)).prop_map(|(at, stores)| Act::Land(at, stores)),
        2 => Just(Act::Delete),
        1 => Just(Act::Evict),
        1 => Just(Act::Forget),
        2 => Just(Act::Adopt),
    ]
}

proptest! {
    /// Whatever order fetches land in, and whatever the store drops: what is held is what the latest of them has brought, or
    /// nothing, and nothing from before a delete.
    #[test]
    fn nothing_is_held_that_was_deleted_or_that_a_later_fetch_has_replaced(acts in prop::collection::vec(act(), 1..80)) {
        let (pins, allowance) = pinned(&["k"]);
        let mut flights = Flights::default();
        let mut under_way: Vec<Number> = Vec::new();
        // What the store has, what should be held, the last number that was deleted, and the last one that was stored.
        let (mut stored, mut right): (Option<Arc<Entry>>, Option<Number>) = (None, None);
        let (mut deleted, mut last, mut pinned, mut version) = (Number(0), Number(0), true, pins.version());
        for act in acts {
            let held = pins.entry("k").map(|entry| entry.origin.as_ref().unwrap().number);
            match act {
                Act::Begin => under_way.push(flights.begin("k", None, ())),
                Act::Land(at, stores) if at < under_way.len() => {
                    let number = under_way.remove(at);
                    if flights.land("k", number, true) {
                        let landed = if stores {
                            Put::Stored(entry("1", number, None), Tick(5))
                        } else {
                            Put::NotStored
                        };
                        pins.change("k", landed, (&allowance, MEMORY), Tick(0), |entry| stored = entry);
                        right = stores.then_some(number);
                        last = last.max(number);
                    }
                }
                Act::Land(..) => {}
                Act::Delete => {
                    flights.void("k");
                    pins.change("k", Put::Deleted, (&allowance, MEMORY), Tick(0), |entry| stored = entry);
                    deleted = under_way.iter().copied().max().unwrap_or_default().max(last);
                    right = None;
                }
                Act::Evict => stored = None,
                Act::Forget => {
                    pins.pin(&BTreeSet::new());
                    pinned = false;
                }
                Act::Adopt => {
                    pins.pin(&BTreeSet::from(["k"]));
                    pinned = true;
                    if let Some(entry) = &stored {
                        pins.adopt("k", Arc::clone(entry), Tick(5), (&allowance, MEMORY), Tick(0));
                    }
                }
            }
            let now = pins.entry("k").map(|entry| entry.origin.as_ref().unwrap().number);
            prop_assert!(now.is_none() || now == right, "{now:?} is held, and it is {right:?}");
            prop_assert!(now.is_none_or(|number| number > deleted), "{now:?} was deleted with {deleted:?}");
            if pinned && stored.is_some() && matches!(act, Act::Land(..) | Act::Adopt) {
                prop_assert_eq!(now, right);
            }
            if now != held {
                prop_assert!(pins.version() > version, "who has seen what was held is told");
            }
            version = pins.version();
        }
    }
}
