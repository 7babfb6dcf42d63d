use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{StreamRole, read};
use crate::{
    change::{Change, Op, SourceReason, TableReason},
    recorded::Recording,
};

/// What a change says, without what differs from one recording to the next.
fn describe(change: &Change<'_>) -> Option<(String, String)> {
    match change {
        Change::Row(row) => {
            let table = row.table.spellings().next().unwrap();
            let after = row.after.map(|after| after.get().len());
            let text = format!(
                "{:?} {:?} after={after:?} nulls_kept={} first={} version={}",
                row.op,
                row.key,
                row.nulls_kept,
                row.snapshot_begins,
                row.version.is_some()
            );
            Some((table, text))
        }
        Change::Table { table, why } => Some((table.spellings().next().unwrap(), format!("{why:?}"))),
        Change::Source(why) => Some((String::new(), format!("{why:?}"))),
        Change::Heartbeat(_) | Change::Tombstone | Change::Other => None,
    }
}

/// The changes of each table in order.
fn by_table(name: &str) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &Recording::load(name).entries {
        if let Some((table, text)) = describe(&entry.change()) {
            tables.entry(table).or_default().push(text);
        }
    }
    tables
}

#[test]
fn every_format_says_the_same() {
    let expected = by_table("extended");
    assert!(expected["inventory.product"].len() > 20);
    for name in ["compact", "one-stream", "compact-tombstones", "extended-tombstones"] {
        assert_eq!(by_table(name), expected, "{name}");
    }
    // With schemas an entry is ten times as large, and those recordings end earlier.
    for name in ["compact-schemas", "extended-schemas"] {
        let found = by_table(name);
        assert!(found["inventory.product"].len() > 10);
        for (table, changes) in &found {
            assert!(expected[table].starts_with(changes), "{name}: {table}: {changes:?}");
        }
    }
}

#[test]
fn the_script_is_understood() {
    let tables = by_table("extended");
    let category: Vec<_> =
        tables["inventory.category"].iter().map(|c| c.split(" after").next().unwrap()).collect();
    let key = |id: i32| format!("Some([(\"id\", Number(\"{id}\"))])");
    assert_eq!(
        category[1..],
        [
            format!("Read {}", key(2)),
            format!("Update {}", key(1)),
            format!("Delete {}", key(2)),
            format!("Create {}", key(11)),
            format!("Delete {}", key(11)),
            format!("Update {}", key(1)),
            format!("Create {}", key(12)),
        ]
    );
    assert!(tables["inventory.stock"].iter().any(|c| c == "Truncated"));
    assert!(tables["inventory.page"].iter().any(|c| c == "Truncated"));
    assert!(tables["inventory.visit"].iter().all(|c| c.contains(" None ")), "a table without a key");
    assert!(
        tables["inventory.customer"][1].contains("Text(\"a0eebc99"),
        "{:?}",
        tables["inventory.customer"]
    );
}

#[test]
fn a_key_change_names_the_other_key() {
    let recording = Recording::load("extended");
    let others: Vec<_> = recording
        .entries
        .iter()
        .filter_map(|entry| match entry.change() {
            Change::Row(row) if row.other_key.is_some() && row.table.table == "category" => {
                Some(format!("{:?} {:?}", row.op, row.other_key.unwrap()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(others, ["Delete [(\"id\", Number(\"11\"))]", "Create [(\"id\", Number(\"2\"))]"]);
}

#[test]
fn nulls_that_defaults_replaced_are_told() {
    let streamed = |name: &str| {
        Recording::load(name)
            .entries
            .iter()
            .filter_map(|e| match e.change() {
                Change::Row(row) if row.op != Op::Read => Some(row.nulls_kept),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    for good in ["extended", "compact", "compact-schemas", "one-stream"] {
        assert!(streamed(good).iter().all(|kept| *kept), "{good}");
    }
    for bad in ["null-as-default", "debezium-defaults"] {
        assert!(streamed(bad).iter().all(|kept| !*kept) && !streamed(bad).is_empty(), "{bad}");
    }
}

#[test]
fn both_heartbeats_are_found_with_their_times() {
    for name in ["extended", "compact-schemas", "one-stream"] {
        let recording = Recording::load(name);
        let beats = |kind| {
            recording
                .entries
                .iter()
                .filter(|e| {
                    let id: u64 = e.id.split('-').next().unwrap().parse().unwrap();
                    matches!(e.change(), Change::Heartbeat(h) if h.kind == kind && h.at_ms.abs_diff(id) < 5_000)
                })
                .count()
        };
        assert!(beats(freshet_crds::Heartbeat::Database) > 0, "{name}");
        assert!(beats(freshet_crds::Heartbeat::Debezium) > 0, "{name}");
    }
}

#[test]
fn tombstones_are_told_from_values() {
    let recording = Recording::load("compact-tombstones");
    assert!(recording.entries.iter().any(|e| matches!(e.change(), Change::Tombstone)));
}

#[test]
fn rows_without_an_envelope_void_their_table() {
    let recording = Recording::load("unwrapped");
    let mut voided = 0;
    for entry in recording.entries.iter().filter(|e| matches!(e.role(), StreamRole::Table(_))) {
        match entry.change() {
            Change::Table { table, why: TableReason::Unreadable } => {
                voided += 1;
                assert!(entry.stream.ends_with(table.table.as_ref()), "{}", entry.stream);
            }
            Change::Tombstone => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(voided > 20);
}

fn one(name: &str, value: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![(name.into(), value.into())]
}

#[test]
fn what_cannot_be_read_voids_what_it_may_concern() {
    let table = StreamRole::Table("inventory.product".into());
    for (key, value) in [
        ("{\"id\":1}", "not JSON"),
        ("{\"id\":1}", "{}"),
        ("{\"id\":1}", "[1]"),
        ("{\"id\":1}", "{\"op\":\"u\"}"),
        ("{\"id\":1}", "{\"op\":7,\"source\":{}}"),
        ("not JSON", "{\"op\":\"u\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
        ("{\"id\":1}", "{\"op\":\"?\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}"),
    ] {
        let entry = one(key, value);
        match read(&table, &entry) {
            Change::Table { table, why: TableReason::Unreadable } => assert_eq!(table.table, "product"),
            other => panic!("{value}: {other:?}"),
        }
    }
    let garbage = one("{\"id\":1}", "not JSON");
    assert!(matches!(read(&StreamRole::Routed, &garbage), Change::Source(SourceReason::Unreadable)));
    assert!(matches!(read(&StreamRole::Control, &garbage), Change::Other));
    assert!(matches!(read(&StreamRole::Routed, &[]), Change::Source(SourceReason::Unreadable)));
}

#[test]
fn schema_changes_void_the_table_they_name_or_everything() {
    let ddl = |changes: &str| {
        one(
            "{\"databaseName\":\"shop\"}",
            &format!(
                "{{\"source\":{{\"db\":\"shop\"}},\"databaseName\":\"shop\",\"ddl\":\"ALTER …\",\"tableChanges\":{changes}}}"
            ),
        )
    };
    let entry = ddl("[{\"type\":\"ALTER\",\"id\":\"\\\"shop\\\".\\\"product\\\"\"}]");
    match read(&StreamRole::Schema, &entry) {
        Change::Table { table, why: TableReason::Redefined } => {
            assert_eq!(table.spellings().next().unwrap(), "shop.product");
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(read(&StreamRole::Schema, &ddl("[]")), Change::Source(SourceReason::Redefined)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Damaged entries never panic, and never pass for something harmless in a table's stream.
    #[test]
    fn damaged_entries_void_their_table(seed in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let recording = Recording::load("compact");
        let rows: Vec<_> = recording.entries.iter().filter(|e| e.stream == "shop.inventory.product").collect();
        let mut fields = seed.get(&rows).fields().to_vec();
        let value = &mut fields[0].1;
        value.truncate(cut.index(value.len()));
        match read(&StreamRole::Table("inventory.product".into()), &fields) {
            Change::Table { why: TableReason::Unreadable, .. } => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// No bytes make the reader panic.
    #[test]
    fn any_bytes_are_judged(fields in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..16), proptest::collection::vec(any::<u8>(), 0..32)), 0..4)) {
        let _ = read(&StreamRole::Routed, &fields);
    }
}
