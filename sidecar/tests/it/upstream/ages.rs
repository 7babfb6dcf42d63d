//! How old an answer is, and what of it is too old for whom.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use freshet_e2e::process::{Gate, Reply, until};

use super::{Front, age, how, ttl};
use crate::shop::SOON;

#[test]
fn ages_count_from_when_the_upstream_made_the_answer() {
    let front =
        Front::open("", |_| Reply::json("1").header("Cache-Control", "max-age=100").header("Age", "40"));
    let answer = front.get("a");
    assert!((40..50).contains(&age(&answer)), "{answer:?}");
    assert!((50..=60).contains(&ttl(&answer)), "{answer:?}");
    let only = [("Cache-Control", "max-age=30")];
    assert_eq!(how(&front.get_with("a", &only)), "fwd=request; fwd-status=200; stored");
    assert_eq!(front.rest.count(), 2, "what is stored is too old for that");
    assert_eq!(how(&front.get_with("a", &[("Cache-Control", "max-age=90")])), "hit");
}

#[test]
fn how_long_an_answer_takes_to_come_counts_as_its_age() {
    let gate = Gate::default();
    let front = Front::open("", {
        let gate = gate.clone();
        move |_| Reply::json("1").header("Cache-Control", "max-age=100").body_behind(&gate)
    });
    thread::scope(|scope| {
        let answer = scope.spawn(|| front.get("a"));
        front.rest.until_count(1).unwrap();
        let asked = Instant::now();
        until("a second has passed", SOON, || {
            ensure!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
            Ok(())
        })
        .unwrap();
        gate.open();
        let answer = answer.join().unwrap();
        assert!((1..10).contains(&age(&answer)), "{answer:?}");
    });
    assert!(ttl(&front.get("a")) <= 99);
}

/// Others have asked before, and get what is too old for somebody who has come since.
#[test]
fn who_takes_nothing_old_does_not_get_what_others_have_waited_for_too_long() {
    let gate = Gate::default();
    let behind = gate.clone();
    let front = Front::open("", move |_| {
        Reply::json("1").header("Cache-Control", "max-age=1000").header("Age", "100").behind(&behind)
    });
    let misses = |count: u64| {
        until("they wait", SOON, || {
            let misses = &front.sidecar.status()?["caches"]["api"]["misses"];
            ensure!(*misses == count, "{misses}");
            Ok(())
        })
        .unwrap();
    };
    let get = |max_age: &'static str| front.get_with("a", &[("Cache-Control", max_age)]);
    thread::scope(|scope| {
        let first = scope.spawn(|| front.get("a"));
        misses(1);
        let [patient, strict] = [("max-age=200", 2), ("max-age=30", 3)].map(|(max_age, count)| {
            let reader = scope.spawn(move || get(max_age));
            misses(count);
            reader
        });
        front.rest.until_count(1).unwrap();
        front.rest.answer(|_| Reply::json("2").header("Cache-Control", "max-age=1000"));
        gate.open();
        let [first, patient, strict] = [first, patient, strict].map(|reader| reader.join().unwrap());
        assert_eq!((first.text().as_str(), patient.text().as_str()), ("1", "1"));
        assert!(how(&patient).ends_with("collapsed"), "{patient:?}");
        assert_eq!(
            (strict.text().as_str(), how(&strict).as_str()),
            ("2", "fwd=uri-miss; fwd-status=200; stored")
        );
    });
    assert_eq!(front.rest.count(), 2);
    assert_eq!(how(&front.get_with("a", &[("Cache-Control", "max-age=30")])), "hit");
    assert_eq!(front.rest.count(), 2);
}

#[test]
fn a_ttl_is_the_longest_life() {
    let front = Front::with("", "ttl: 30s, ", |_| Reply::json("1").header("Cache-Control", "max-age=3600"));
    assert!((20..=30).contains(&ttl(&front.get("a"))));
}
