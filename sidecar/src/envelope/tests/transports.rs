//! What Debezium writes to other transports, held against what it writes to Redis of the same statements. Redis's recording
//! goes on where the others end.

use std::collections::{BTreeMap, HashMap};

use super::{by_table, tables_of};
use crate::{
    change::{Change, Op},
    envelope::Deletes,
    recorded::Recording,
};

/// The changes of each table as far as Redis's recording has as many.
fn expected(found: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let mut tables = by_table("extended");
    tables.retain(|table, _| found.contains_key(table));
    for (table, changes) in &mut tables {
        changes.truncate(found[table].len());
    }
    tables
}

#[test]
fn one_topic_of_kafka_says_the_same() {
    let found = tables_of(&Recording::of_kafka("kafka"));
    assert!(found["inventory.product"].len() > 20 && found.len() == 9, "{found:?}");
    assert_eq!(found, expected(&found));
}

#[test]
fn partitions_of_kafka_say_the_same_of_each_row() {
    let of_rows = |tables: BTreeMap<String, Vec<String>>| -> BTreeMap<String, Vec<String>> {
        let sorted = |(table, mut changes): (String, Vec<String>)| {
            // Between rows there is no order. Each row's changes have one, and all of one operation look alike.
            changes.sort();
            (table, changes)
        };
        tables.into_iter().map(sorted).collect()
    };
    let found = tables_of(&Recording::of_kafka("kafka-tombstones"));
    assert!(found["inventory.product"].len() > 20 && found.len() == 9, "{found:?}");
    assert_eq!(of_rows(found.clone()), of_rows(expected(&found)));
}

#[test]
fn every_tombstone_of_a_partition_is_explained_by_its_delete() {
    let (mut deletes, mut tombstones) = (HashMap::<_, Deletes>::new(), 0);
    for entry in &Recording::of_kafka("kafka-tombstones").entries {
        let partition = entry.id.split('-').nth(1).unwrap();
        let of_stream = deletes.entry(format!("{}/{partition}", entry.stream)).or_default();
        let change = of_stream.read(&entry.role(), entry.fields());
        assert!(!matches!(change, Change::Tombstone(_) | Change::Source { .. }), "{change:?}");
        let is_null = entry.fields().contains(&(b"value".to_vec(), b"default".to_vec()));
        assert_eq!(is_null, is_null && matches!(change, Change::Other), "{change:?}");
        tombstones += u32::from(is_null);
    }
    assert!(tombstones >= 8, "{tombstones}");
}

#[test]
fn a_change_of_key_names_the_other_key_in_a_header() {
    let others = |recording: &Recording| -> Vec<String> {
        let changes = recording.entries.iter().map(crate::recorded::Entry::change);
        let named = changes.filter_map(|change| match change {
            Change::Row(row) => {
                Some(format!("{} {:?} {:?} {:?}", row.table.table, row.op, row.key, row.other_key?))
            }
            _ => None,
        });
        named.collect()
    };
    let found = others(&Recording::of_kafka("kafka"));
    assert_eq!(found.len(), 12);
    assert_eq!(found, others(&Recording::load("extended"))[..12]);
}

/// Of JetStream there are no keys: what tells a row are its columns, and what it was before.
#[test]
fn jet_stream_says_the_same_but_for_the_keys() {
    let without_keys = |mut tables: BTreeMap<String, Vec<String>>| {
        for change in tables.values_mut().flatten() {
            if let Some((op, rest)) = change.split_once(' ')
                && let Some((_, rest)) = rest.split_once(" after=")
            {
                *change = format!("{op} after={rest}");
            }
        }
        tables
    };
    let recording = Recording::of_jet_stream("jetstream");
    let found = tables_of(&recording);
    assert!(found["inventory.product"].len() > 20 && found.len() == 9, "{found:?}");
    assert!(found["inventory.product"].iter().all(|change| !change.contains("Some([")), "{found:?}");
    assert_eq!(without_keys(found.clone()), without_keys(expected(&found)));
    let mut deletes = 0;
    for entry in &recording.entries {
        if let Change::Row(row) = entry.change() {
            let keyless = row.keyless.unwrap();
            deletes += u32::from(row.op == Op::Delete);
            // A delete says what it has deleted, or it says nothing.
            assert!(
                row.op != Op::Delete || keyless.before.is_some_and(|before| before.get() != "null"),
                "{row:?}"
            );
        }
    }
    assert!(deletes > 5, "{deletes}");
}

#[test]
fn heartbeats_and_transactions_come_over_every_transport() {
    for (name, recording) in [
        ("kafka", Recording::of_kafka("kafka")),
        ("kafka-tombstones", Recording::of_kafka("kafka-tombstones")),
        ("jetstream", Recording::of_jet_stream("jetstream")),
    ] {
        let count =
            |is: fn(&Change<'_>) -> bool| recording.entries.iter().filter(|e| is(&e.change())).count();
        let beats = |kind: freshet_crds::Heartbeat| {
            let is_one = |e: &&crate::recorded::Entry| {
                let written: u64 = e.id.split('-').next().unwrap().parse().unwrap();
                matches!(e.change(), Change::Heartbeat(h) if h.kind == kind && h.at_ms.abs_diff(written) < 5_000)
            };
            recording.entries.iter().filter(is_one).count()
        };
        assert!(beats(freshet_crds::Heartbeat::Database) > 0, "{name}");
        assert!(beats(freshet_crds::Heartbeat::Debezium) > 0, "{name}");
        let begins = count(|change| matches!(change, Change::Transaction(t) if t.end.is_none()));
        let ends = count(|change| matches!(change, Change::Transaction(t) if t.end.is_some()));
        assert!(ends > 20 && begins.abs_diff(ends) <= 1, "{name}: {begins} begins, {ends} ends");
        assert_eq!(count(|change| matches!(change, Change::Garbage(_))), 0, "{name}");
    }
}
