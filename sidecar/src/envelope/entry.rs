//! The parts of an entry, and what an entry is that is about no row.

use std::borrow::Cow;

use freshet_crds::topics;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{columns, payload, text_columns};
use crate::{
    change::{Change, Columns, End, Heartbeat, Mark, TableId, Transaction, TransactionId, postgres},
    position::Commit,
};

/// What the sink writes for a null key or value.
const NULL: &[u8] = b"default";
/// The field that has the topic of an entry whose key its transport doesn't carry.
const TOPIC: &[u8] = b"topic";

/// An entry's parts.
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// The key on the other side of a key change.
    other_key: Option<&'a [u8]>,
    /// The topic of an entry whose key its transport doesn't carry.
    keyless: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    pub(super) fn of(fields: &'a [(Vec<u8>, Vec<u8>)]) -> Option<Self> {
        if let [(key, value)] = fields {
            return Some(Self { key, value, other_key: None, keyless: None });
        }
        let field = |name: &[u8]| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice());
        let (value, keyless) = (field(b"value")?, field(TOPIC));
        Some(Self {
            key: if keyless.is_some() { NULL } else { field(b"key")? },
            value,
            other_key: field(b"__DEBEZIUM.OLDKEY").or_else(|| field(b"__DEBEZIUM.NEWKEY")),
            keyless,
        })
    }

    /// Whether it may have a key that its transport doesn't carry.
    pub(super) fn is_keyless(&self) -> bool {
        self.keyless.is_some()
    }

    /// Whether its value is null: what a transform made of a delete is `null` in JSON, wrapped or not.
    pub(super) fn is_tombstone(&self) -> bool {
        let wrapped = || std::str::from_utf8(self.value).is_ok_and(|text| columns::unwrap(text) == "null");
        self.value == NULL || self.value == b"null" || self.value.ends_with(b":null}") && wrapped()
    }

    /// The columns of its key, if it has one.
    pub(super) fn key(&self) -> Result<Option<Columns<'a>>, ()> {
        if self.key == NULL { Ok(None) } else { text_columns(self.key).map(Some).ok_or(()) }
    }

    pub(super) fn other_key(&self) -> Option<Columns<'a>> {
        self.other_key.and_then(text_columns)
    }

    /// The begin or end of a transaction: `{"id":…}` and its status with counts, null at the begin.
    pub(super) fn marker(&self) -> Option<Change<'static>> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Key<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
        }
        #[derive(Deserialize)]
        struct Marker<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
            status: Status,
            #[serde(borrow, rename = "event_count")]
            _event_count: &'a RawValue,
            #[serde(borrow)]
            data_collections: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "UPPERCASE")]
        enum Status {
            Begin,
            End,
        }
        #[derive(Deserialize)]
        struct Count<'a> {
            #[serde(borrow)]
            data_collection: Cow<'a, str>,
            event_count: u64,
        }
        let marker: Marker<'_> = payload(self.value)?;
        let name = if self.is_keyless() { marker.id } else { payload::<Key<'_>>(self.key)?.id };
        let end = match marker.status {
            Status::Begin => None,
            Status::End => {
                let counts: Option<Vec<Count<'_>>> =
                    serde_json::from_str(marker.data_collections.get()).ok()?;
                let events =
                    counts.iter().flatten().map(|c| (TableId::of(&c.data_collection), c.event_count));
                Some(End { commit: commit(&name), events: events.collect() })
            }
        };
        Some(Change::Transaction(Transaction { id: TransactionId::of(&name), gtid: name.parse().ok(), end }))
    }

    /// Debezium's own heartbeat: `{"serverName":…}` and a time, nothing else.
    pub(super) fn heartbeat(&self) -> Option<Change<'static>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Key<'a> {
            #[serde(borrow, rename = "serverName")]
            _server_name: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Beat {
            ts_ms: u64,
        }
        let is_one = match self.keyless {
            Some(topic) => topic.starts_with(topics::DEBEZIUM_HEARTBEATS.as_bytes()),
            None => payload::<Key<'_>>(self.key).is_some(),
        };
        if !is_one {
            return None;
        }
        let at_ms = payload::<Beat>(self.value)?.ts_ms;
        let kind = freshet_crds::Heartbeat::Debezium;
        Some(Change::Heartbeat(Heartbeat { kind, at_ms, dated: false, number: None, mark: Mark::default() }))
    }
}

/// The commit that a transaction's end is named after: `<xid>:<lsn>`, or a GTID.
fn commit(name: &str) -> Option<Commit> {
    if let Some((xid, lsn)) = postgres(name) {
        return Some(Commit::Postgres { lsn: lsn.parse().ok()?, xid: Some(xid.parse().ok()?) });
    }
    name.parse().ok().map(Commit::Gtid)
}
