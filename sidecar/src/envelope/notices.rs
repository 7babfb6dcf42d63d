//! Debezium's notifications about snapshots, where its sink is a channel of them.
//!
//! The format, as of Debezium 3.6: `{"id","type","aggregate_type","additional_data","timestamp"}` under the key `{"id"}`. Only of
//! snapshots that read whole tables it is said how many rows there were; incremental ones may leave out rows that change.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use super::{Entry, payload};
use crate::change::{Change, Notice, TableId};

/// Of which snapshots notifications count: the first, and those of the type `blocking`.
const SNAPSHOT: &str = "Initial Snapshot";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Notification<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    additional_data: Option<BTreeMap<Cow<'a, str>, Cow<'a, str>>>,
    timestamp: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl Entry<'_> {
    /// A notification, of whatever kind.
    pub(super) fn notice(&self) -> Option<Change<'static>> {
        let notification: Notification<'_> = payload(self.value)?;
        let is_its = self.is_keyless() || payload::<Key<'_>>(self.key)?.id == notification.id;
        is_its.then(|| Change::Notice(notification.notice().unwrap_or(Notice::Other)))
    }
}

impl Notification<'_> {
    /// What it says of a snapshot that reads whole tables.
    fn notice(&self) -> Option<Notice> {
        if self.aggregate_type != SNAPSHOT {
            return None;
        }
        let at = self.timestamp;
        let data = |name: &str| self.additional_data.as_ref()?.get(name).map(|text| &**text);
        Some(match &*self.kind {
            "STARTED" => Notice::Started { at },
            "IN_PROGRESS" => {
                let tables = data("data_collections")?.split(',').map(|name| TableId::of(name.trim()));
                Notice::Reading { tables: tables.collect() }
            }
            "TABLE_SCAN_COMPLETED" if data("status").is_none_or(|status| status == "SUCCEEDED") => {
                let rows = data("total_rows_scanned")?.parse().ok()?;
                Notice::Read { table: TableId::of(data("scanned_collection")?), rows, at }
            }
            "COMPLETED" | "ABORTED" | "SKIPPED" => Notice::Ended,
            _ => Notice::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        change::{Change, Notice, SourceReason, TableId},
        envelope::{StreamRole, read},
    };

    const ID: &str = "5e8f4a7c-6a5a-4f5c-9d1e-4a3f7b0c2d11";

    /// What a notification of this type says, with this in `additional_data`.
    fn notice(aggregate: &str, kind: &str, data: &str) -> Notice {
        let value = format!(
            "{{\"id\":\"{ID}\",\"type\":\"{kind}\",\"aggregate_type\":\"{aggregate}\",\"additional_data\":{data},\"timestamp\":7}}"
        );
        let fields = [("key", format!("{{\"id\":\"{ID}\"}}")), ("value", value)];
        let fields = fields.map(|(name, text)| (name.as_bytes().to_vec(), text.into_bytes()));
        match read(&StreamRole::Routed, &fields) {
            Change::Notice(notice) => notice,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn notifications_of_snapshots_are_understood_and_others_are_nothing() {
        let first = |kind, data| notice("Initial Snapshot", kind, data);
        assert_eq!(first("STARTED", "{\"connector_name\":\"shop\"}"), Notice::Started { at: 7 });
        assert_eq!(
            first(
                "IN_PROGRESS",
                "{\"current_collection_in_progress\":\"s.t\",\"data_collections\":\"s.t,postgres.s.u\"}"
            ),
            Notice::Reading { tables: vec![TableId::of("s.t"), TableId::of("s.u")] }
        );
        let scanned =
            "{\"scanned_collection\":\"s.t\",\"total_rows_scanned\":\"12\",\"status\":\"SUCCEEDED\"}";
        let read = Notice::Read { table: TableId::of("s.t"), rows: 12, at: 7 };
        assert_eq!(first("TABLE_SCAN_COMPLETED", scanned), read);
        let failed = scanned.replace("SUCCEEDED", "SQL_EXCEPTION");
        assert_eq!(first("TABLE_SCAN_COMPLETED", &failed), Notice::Other);
        assert_eq!(first("TABLE_SCAN_COMPLETED", "{}"), Notice::Other);
        for kind in ["COMPLETED", "ABORTED", "SKIPPED"] {
            assert_eq!(first(kind, "null"), Notice::Ended);
        }
        assert_eq!(first("PAUSED", "{}"), Notice::Other);
        assert_eq!(notice("Incremental Snapshot", "TABLE_SCAN_COMPLETED", scanned), Notice::Other);
        assert_eq!(notice("Capturing", "STARTED", "{}"), Notice::Other);
    }

    #[test]
    fn what_only_looks_like_a_notification_is_not_one() {
        let value = format!(
            "{{\"id\":\"{ID}\",\"type\":\"STARTED\",\"aggregate_type\":\"Initial Snapshot\",\"additional_data\":{{}},\"timestamp\":7}}"
        );
        let more = value.replace("\"timestamp\":7", "\"timestamp\":7,\"more\":1");
        for (key, value) in [
            ("{\"id\":\"another\"}", &value),
            ("{\"id\":1}", &value),
            ("{}", &value),
            (&*format!("{{\"id\":\"{ID}\"}}"), &more),
        ] {
            let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
            let change = read(&StreamRole::Routed, &fields);
            assert!(matches!(change, Change::Source { why: SourceReason::Unreadable(_), .. }), "{change:?}");
            let change = read(&StreamRole::Table("s.t".into()), &fields);
            assert!(matches!(change, Change::Table { .. }), "a row may have any columns: {change:?}");
        }
    }
}
