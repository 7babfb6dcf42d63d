use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{StreamRole, read};
use crate::{
    change::{Change, Fault, Op, Origin, SourceReason, TableReason},
    recorded::Recording,
};

mod transports;

/// What a change says, without what differs from one recording to the next.
fn describe(change: &Change<'_>) -> Option<(String, String)> {
    match change {
        Change::Row(row) => {
            let table = row.table.spellings().next().unwrap();
            let after = row.after.map(|after| after.get().len());
            let text = format!(
                "{:?} {:?} after={after:?} nulls_kept={} origin={:?} version={}",
                row.op,
                row.key,
                row.mark.nulls_kept == Some(true),
                row.origin,
                row.version.is_some()
            );
            Some((table, text))
        }
        Change::Table { table, why, .. } => Some((table.spellings().next().unwrap(), format!("{why:?}"))),
        Change::Source { why, .. } => Some((String::new(), format!("{why:?}"))),
        Change::Garbage(fault) => Some((String::new(), format!("{fault:?}"))),
        Change::Heartbeat(_)
        | Change::Tombstone(_)
        | Change::Transaction(_)
        | Change::Message(_)
        | Change::Notice(_)
        | Change::Published(_)
        | Change::Other => None,
    }
}

/// The changes of each table in order.
fn by_table(name: &str) -> BTreeMap<String, Vec<String>> {
    tables_of(&Recording::load(name))
}

fn tables_of(recording: &Recording) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in &recording.entries {
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
                Change::Row(row) if row.op != Op::Read => row.mark.nulls_kept,
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
    assert!(recording.entries.iter().any(|e| matches!(e.change(), Change::Tombstone(_))));
}

#[test]
fn rows_without_an_envelope_void_their_table() {
    let recording = Recording::load("unwrapped");
    let mut voided = 0;
    for entry in recording.entries.iter().filter(|e| matches!(e.role(), StreamRole::Table(_))) {
        match entry.change() {
            Change::Table { table, why: TableReason::Unreadable(Fault::Envelope), .. } => {
                voided += 1;
                assert!(entry.stream.ends_with(table.table.as_ref()), "{}", entry.stream);
            }
            Change::Tombstone(_) => {}
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
    for (key, value, why) in [
        ("{\"id\":1}", "not JSON", Fault::Value),
        ("{\"id\":1}", "{}", Fault::Envelope),
        ("{\"id\":1}", "[1]", Fault::Value),
        ("{\"id\":1}", "{\"op\":\"u\"}", Fault::Envelope),
        ("{\"id\":1}", "{\"op\":7,\"source\":{}}", Fault::Value),
        ("{\"id\":1}", "{\"op\":\"u\",\"source\":{}}", Fault::Table),
        (
            "not JSON",
            "{\"op\":\"u\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}",
            Fault::Key,
        ),
        ("not JSON", "default", Fault::Key),
        (
            "{\"id\":1}",
            "{\"op\":\"?\",\"source\":{\"schema\":\"inventory\",\"table\":\"product\"}}",
            Fault::Operation,
        ),
    ] {
        let entry = one(key, value);
        match read(&table, &entry) {
            Change::Table { table, why: TableReason::Unreadable(found), .. } => {
                assert_eq!((table.table.as_ref(), found), ("product", why), "{value}");
            }
            other => panic!("{value}: {other:?}"),
        }
    }
    let garbage = one("{\"id\":1}", "not JSON");
    let unreadable = |fields: &[_]| match read(&StreamRole::Routed, fields) {
        Change::Source { why: SourceReason::Unreadable(fault), .. } => Some(fault),
        _ => None,
    };
    assert_eq!(unreadable(&garbage), Some(Fault::Value));
    assert_eq!(unreadable(&[]), Some(Fault::Fields));
    let control = read(&StreamRole::Control, &garbage);
    assert!(matches!(control, Change::Garbage(Fault::Value)) && control.fault().is_some(), "{control:?}");
}

/// Rows that `ExtractNewRecordState` flattened may have columns of any names.
#[test]
fn a_flat_row_never_passes_for_something_harmless() {
    let table = StreamRole::Table("inventory.product".into());
    for (key, row) in [
        ("{\"id\":1}", "{\"id\":1,\"status\":\"open\"}"),
        ("{\"id\":1}", "{\"id\":1,\"status\":\"BEGIN\"}"),
        ("{\"id\":1}", "{\"id\":1,\"op\":\"m\"}"),
        (
            "{\"id\":1,\"shelf\":2}",
            "{\"id\":1,\"status\":\"END\",\"event_count\":1,\"data_collections\":null}",
        ),
        ("{\"serverName\":1}", "{\"serverName\":1,\"ts_ms\":5}"),
        ("{\"id\":1}", "{\"id\":1,\"payload\":null}"),
        ("{\"serverName\":1,\"port\":2}", "{\"ts_ms\":5}"),
    ] {
        let entry = one(key, row);
        let change = read(&table, &entry);
        assert!(matches!(change, Change::Table { why: TableReason::Unreadable(_), .. }), "{row}: {change:?}");
        let change = read(&StreamRole::Routed, &entry);
        assert!(
            matches!(change, Change::Source { why: SourceReason::Unreadable(_), .. }),
            "{row}: {change:?}"
        );
    }
    // What is harmless elsewhere isn't in a table's stream.
    for (key, value) in [
        (
            "{\"id\":\"7:8\"}",
            "{\"status\":\"BEGIN\",\"id\":\"7:8\",\"event_count\":null,\"data_collections\":null}",
        ),
        ("{\"serverName\":\"shop\"}", "{\"ts_ms\":5}"),
        (
            "{\"prefix\":\"p\"}",
            "{\"op\":\"m\",\"source\":{},\"message\":{\"prefix\":\"p\",\"content\":\"\"}}",
        ),
    ] {
        let entry = one(key, value);
        assert!(
            matches!(
                read(&StreamRole::Routed, &entry),
                Change::Message(_) | Change::Transaction(_) | Change::Heartbeat(_)
            ),
            "{value}"
        );
        assert!(
            matches!(read(&table, &entry), Change::Table { why: TableReason::Unreadable(_), .. }),
            "{value}"
        );
    }
}

#[test]
fn snapshots_are_told_from_what_happens() {
    let origin = |op: &str, snapshot: &str| {
        let value = format!(
            "{{\"after\":{{}},\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"snapshot\":{snapshot}}},\"op\":\"{op}\"}}"
        );
        match read(&StreamRole::Routed, &one("{\"id\":1}", &value)) {
            Change::Row(row) => row.origin,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(origin("r", "\"first\""), Origin::Snapshot { first: true, resumed: false });
    for mark in ["\"last\"", "\"true\"", "\"first_in_data_collection\"", "null"] {
        assert_eq!(origin("r", mark), Origin::Snapshot { first: false, resumed: false }, "{mark}");
    }
    assert_eq!(origin("r", "\"incremental\""), Origin::Incremental);
    assert_eq!(origin("u", "\"false\""), Origin::Log);
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
        Change::Table { table, why: TableReason::Redefined, .. } => {
            assert_eq!(table.spellings().next().unwrap(), "shop.product");
        }
        other => panic!("{other:?}"),
    }
    // `RENAME TABLE product TO goods` and `ALTER TABLE product RENAME goods` say nothing of `product`.
    let renamed = "[{\"type\":\"ALTER\",\"id\":\"\\\"shop\\\".\\\"goods\\\"\"}]";
    let rename = "ALTER TABLE product\\n  Rename goods";
    for (ddl, changes) in [("ALTER …", "[]"), (rename, renamed), ("RENAME TABLE product TO goods", renamed)]
    {
        let value =
            format!("{{\"source\":{{\"db\":\"shop\"}},\"ddl\":\"{ddl}\",\"tableChanges\":{changes}}}");
        let entry = one("{\"databaseName\":\"shop\"}", &value);
        let change = read(&StreamRole::Schema, &entry);
        assert!(matches!(change, Change::Source { why: SourceReason::Redefined, .. }), "{change:?}");
    }
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
            Change::Table { why: TableReason::Unreadable(_), .. } => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }

    /// No bytes make the reader panic.
    #[test]
    fn any_bytes_are_judged(fields in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..16), proptest::collection::vec(any::<u8>(), 0..32)), 0..4)) {
        let _ = read(&StreamRole::Routed, &fields);
    }
}
