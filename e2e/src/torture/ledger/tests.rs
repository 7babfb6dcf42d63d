use std::time::Duration;

use super::*;
use crate::torture::shape::{Source, Subject, Table};

const KEY: Key = Key { source: Source::Postgres, subject: Subject::Row(Table::Item, 7) };
const BOUND: Option<Duration> = Some(Duration::from_secs(3));

fn at(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

fn value(text: &str) -> Value {
    (text != "-").then(|| text.into())
}

/// Commits of these values at these instants; each takes 10 ms.
fn ledger(commits: &[(&str, u64)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (text, ms) in commits {
        let ticket = ledger.announce(vec![(KEY, value(text))], at(*ms));
        let done = at(ms + 10);
        assert!(ledger.settle(ticket, Outcome::Committed(done), done).is_empty());
    }
    ledger
}

fn read(text: &str, ms: u64) -> Read {
    Read {
        sidecar: 0,
        instance: 1,
        cache: Cache::Rows,
        key: KEY,
        value: value(text),
        sent: at(ms),
        answered: at(ms + 1),
        status: "freshet; hit".to_owned(),
    }
}

fn rule(ledger: &mut Ledger, read: &Read) -> Option<Rule> {
    ledger.served(read, BOUND).map(|violation| violation.rule)
}

#[test]
fn what_is_current_or_was_a_moment_ago_is_fine() {
    let mut ledger = ledger(&[("a", 1000), ("b", 2000)]);
    assert_eq!(rule(&mut ledger, &read("-", 900)), None);
    assert_eq!(rule(&mut ledger, &read("a", 1500)), None);
    assert_eq!(rule(&mut ledger, &read("a", 5010)), None);
    assert_eq!(rule(&mut ledger, &read("b", 9000)), None);
    assert_eq!(ledger.staleness, [Duration::from_secs(3)]);
}

#[test]
fn what_was_overwritten_longer_ago_is_stale() {
    let mut ledger = ledger(&[("a", 1000), ("b", 2000)]);
    assert_eq!(rule(&mut ledger, &read("a", 5011)), Some(Rule::Stale));
    assert_eq!(rule(&mut ledger, &read("-", 4011)), Some(Rule::Stale), "an absence, too");
    let unbounded = ledger.served(&read("a", 60_000), None);
    assert!(unbounded.is_none());
}

#[test]
fn what_nobody_committed_is_told() {
    let mut ledger = ledger(&[("a", 1000)]);
    assert_eq!(rule(&mut ledger, &read("c", 2000)), Some(Rule::NeverCommitted));
    let ticket = ledger.announce(vec![(KEY, value("d"))], at(3000));
    assert_eq!(rule(&mut ledger, &read("d", 2990)), Some(Rule::NeverCommitted), "before it was sent");
    assert_eq!(rule(&mut ledger, &read("d", 3001)), None, "it may have been committed");
    let found = ledger.settle(ticket, Outcome::Aborted, at(4000));
    assert_eq!(found.len(), 1);
    assert_eq!(rule(&mut ledger, &read("d", 4001)), Some(Rule::NeverCommitted));
    assert_eq!(rule(&mut ledger, &read("a", 9000)), None, "what wasn't committed has overwritten nothing");
}

#[test]
fn a_commit_under_way_has_overwritten_nothing_for_sure() {
    let mut ledger = ledger(&[("a", 1000)]);
    let ticket = ledger.announce(vec![(KEY, value("b"))], at(2000));
    assert_eq!(rule(&mut ledger, &read("a", 20_000)), None);
    assert!(ledger.settle(ticket, Outcome::Committed(at(20_000)), at(20_000)).is_empty());
    assert_eq!(rule(&mut ledger, &read("a", 23_001)), Some(Rule::Stale));
}

#[test]
fn an_older_value_after_a_newer_one_is_told() {
    let mut ledger = ledger(&[("a", 1000), ("b", 2000)]);
    assert_eq!(rule(&mut ledger, &read("b", 2100)), None);
    assert_eq!(rule(&mut ledger, &read("a", 2101)), None, "they were answered at the same time");
    assert_eq!(rule(&mut ledger, &read("a", 2102)), Some(Rule::Backwards));
    assert_eq!(rule(&mut ledger, &Read { sidecar: 1, ..read("a", 2102) }), None, "each sidecar for itself");
    assert_eq!(rule(&mut ledger, &Read { instance: 2, ..read("a", 2103) }), None, "and each start of one");
}

#[test]
fn equal_values_are_judged_in_favour() {
    let mut ledger = ledger(&[("-", 1000), ("a", 2000), ("-", 3000)]);
    // An absence that may be the old one: what comes next may be of between.
    assert_eq!(rule(&mut ledger, &read("-", 3100)), None);
    assert_eq!(rule(&mut ledger, &read("a", 3200)), None);
    assert_eq!(rule(&mut ledger, &read("-", 3300)), None);
    assert_eq!(rule(&mut ledger, &read("a", 3400)), Some(Rule::Backwards));
}

#[test]
fn the_database_itself_is_never_behind() {
    let mut ledger = ledger(&[("a", 1000), ("b", 2000)]);
    assert!(ledger.read(KEY, &value("a"), at(2005), at(2020)).is_none());
    assert!(ledger.read(KEY, &value("a"), at(2011), at(2020)).is_some());
    assert!(ledger.read(KEY, &value("c"), at(2011), at(2020)).is_some());
}

#[test]
fn memory_is_bounded() {
    let commits: Vec<(String, u64)> = (0..500).map(|i| (format!("v{i}"), 1000 + i * 20)).collect();
    let commits: Vec<(&str, u64)> = commits.iter().map(|(text, ms)| (text.as_str(), *ms)).collect();
    let mut ledger = ledger(&commits);
    assert_eq!(ledger.histories[&KEY].versions.len(), KEPT);
    assert_eq!(rule(&mut ledger, &read("v499", 20_000)), None);
    assert_eq!(rule(&mut ledger, &read("v1", 20_000)), Some(Rule::NeverCommitted));
}
