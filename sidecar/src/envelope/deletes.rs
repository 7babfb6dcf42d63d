//! Which tombstones say nothing new.

use super::{Entry, StreamRole, read};
use crate::change::{Change, Op};

/// The last delete of one stream, while its tombstone may follow.
///
/// Debezium writes a delete's tombstone right after it, with nothing about any row in between. Such a tombstone
/// says nothing new, while one without its delete before it is all there is of a delete
/// (`ExtractNewRecordState` drops the other half by default).
#[derive(Debug, Default)]
pub struct Deletes(Option<Vec<u8>>);

impl Deletes {
    /// Reads the stream's next entry: [`read`], and tombstones are told apart.
    #[must_use]
    pub fn read<'a>(&mut self, role: &StreamRole, fields: &'a [(Vec<u8>, Vec<u8>)]) -> Change<'a> {
        let change = read(role, fields);
        if matches!(change, Change::Published(_)) {
            return change;
        }
        let Some(entry) = Entry::of(fields) else {
            // Whatever it was, it may have been about the row.
            self.0 = None;
            return change;
        };
        if entry.is_tombstone() {
            // Without keys nothing tells whose it is.
            let explained = self.0.take().is_some_and(|deleted| deleted == entry.key) && !entry.is_keyless();
            return if explained { Change::Other } else { change };
        }
        match &change {
            Change::Row(row) if row.op == Op::Delete => self.0 = Some(entry.key.to_vec()),
            Change::Row(_) | Change::Table { .. } | Change::Source { .. } => self.0 = None,
            Change::Heartbeat(_)
            | Change::Tombstone(_)
            | Change::Transaction(_)
            | Change::Garbage(_)
            | Change::Message(_)
            | Change::Notice(_)
            | Change::Published(_)
            | Change::Other => {}
        }
        change
    }
}

#[cfg(test)]
mod tests {
    use super::{Deletes, StreamRole};
    use crate::{
        change::{Change, Fault, Op, SourceReason},
        recorded::Recording,
    };

    const DELETE: &str = "{\"after\":null,\"source\":{\"schema\":\"s\",\"table\":\"t\"},\"op\":\"d\"}";
    const CREATE: &str = "{\"after\":{},\"source\":{\"schema\":\"s\",\"table\":\"t\"},\"op\":\"c\"}";
    const BEAT: (&str, &str) = ("{\"serverName\":\"shop\"}", "{\"ts_ms\":5}");

    /// What the last of these entries of one stream says: nothing, a row's delete, or that it can't be read.
    fn last(role: &StreamRole, entries: &[(&str, &str)]) -> &'static str {
        let mut deletes = Deletes::default();
        let mut said = "";
        for (key, value) in entries {
            let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
            said = match deletes.read(role, &fields) {
                Change::Other => "nothing",
                Change::Tombstone(row) if row.op == Op::Delete && row.key.is_some() => "row",
                Change::Source { why: SourceReason::Unreadable(Fault::Tombstone), .. } => "everything",
                _ => "?",
            };
        }
        said
    }

    #[test]
    fn a_tombstone_after_its_delete_says_nothing_and_any_other_is_a_delete() {
        let (one, two) = ("{\"id\":1}", "{\"id\":2}");
        let table = StreamRole::Table("s.t".into());
        for (role, alone) in [(&table, "row"), (&StreamRole::Routed, "everything")] {
            assert_eq!(last(role, &[(one, DELETE), (one, "default")]), "nothing");
            assert_eq!(last(role, &[(one, "default")]), alone);
            assert_eq!(last(role, &[(one, "null")]), alone);
            assert_eq!(last(role, &[(one, "{\"schema\":{\"type\":\"struct\"},\"payload\":null}")]), alone);
            assert_eq!(last(role, &[(two, DELETE), (one, "default")]), alone);
            assert_eq!(last(role, &[(one, DELETE), (one, "default"), (one, "default")]), alone);
            assert_eq!(last(role, &[(one, DELETE), (two, CREATE), (one, "default")]), alone);
        }
        assert_eq!(last(&StreamRole::Routed, &[(one, DELETE), BEAT, (one, "default")]), "nothing");
    }

    #[test]
    fn an_entry_of_no_format_may_have_been_about_the_row() {
        let entry = |parts: &[(&str, &str)]| -> Vec<(Vec<u8>, Vec<u8>)> {
            parts.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
        };
        let mut reader = Deletes::default();
        let entries = [
            entry(&[("{\"id\":1}", DELETE)]),
            entry(&[("what", "is"), ("this", "?")]),
            entry(&[("{\"id\":1}", "default")]),
        ];
        let [deleted, unread, tombstone] = entries.each_ref().map(|e| reader.read(&StreamRole::Routed, e));
        assert!(matches!(deleted, Change::Row(_)));
        assert!(matches!(unread, Change::Source { why: SourceReason::Unreadable(Fault::Fields), .. }));
        assert!(matches!(tombstone, Change::Source { why: SourceReason::Unreadable(Fault::Tombstone), .. }));
    }

    #[test]
    fn what_debezium_writes_by_default_is_explained() {
        for name in ["compact-tombstones", "extended-tombstones", "debezium-defaults"] {
            for routed in [false, true] {
                let (mut deletes, mut tombstones) = (std::collections::HashMap::new(), 0);
                for entry in &Recording::load(name).entries {
                    let (role, stream) = match entry.role() {
                        StreamRole::Table(_) if routed => (StreamRole::Routed, ""),
                        role => (role, entry.stream.as_str()),
                    };
                    let of_stream: &mut Deletes = deletes.entry(stream.to_owned()).or_default();
                    let change = of_stream.read(&role, entry.fields());
                    assert!(
                        !matches!(change, Change::Tombstone(_) | Change::Source { .. }),
                        "{name}: {change:?}"
                    );
                    tombstones +=
                        u32::from(matches!(change, Change::Other) && entry.stream.contains(".inventory."));
                }
                assert!(tombstones >= 10, "{name}: {tombstones}");
            }
        }
    }

    #[test]
    fn of_flattened_deletes_only_the_tombstones_are_left() {
        let (mut deletes, mut rows) = (std::collections::HashMap::new(), Vec::new());
        for entry in &Recording::load("unwrapped-tombstones").entries {
            let of_stream: &mut Deletes = deletes.entry(entry.stream.clone()).or_default();
            match of_stream.read(&entry.role(), entry.fields()) {
                Change::Tombstone(row) => {
                    rows.push(format!("{} {:?}", row.table.table, row.key.unwrap_or_default()));
                }
                Change::Other => assert!(!entry.stream.contains(".inventory."), "{}", entry.stream),
                _ => {}
            }
        }
        for row in [
            "product [(\"id\", Number(\"10\"))]",
            "product [(\"id\", Number(\"31\"))]",
            "category [(\"id\", Number(\"11\"))]",
        ] {
            assert!(rows.contains(&row.to_owned()), "{row}: {rows:?}");
        }
    }
}
