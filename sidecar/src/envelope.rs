//! The bytes that Debezium's Redis sink writes, read into a [`Change`].
//!
//! Formats, as of Debezium Server 3.6: an entry has one field, the key's JSON, whose value is the event's JSON
//! (`compact`), or the fields `key`, `value` and one per header with an upper-case name (`extended`). A null
//! key or value is the text `default`. Either JSON can be wrapped as `{"schema":…,"payload":…}`.
//!
//! Every entry becomes some change: what can't be read becomes a [`Change`] that voids whatever it might
//! concern, so that unknown input neither stops the stream nor leaves a value alive.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    change::{
        Change, Columns, Fault, Heartbeat, Op, Origin, RowChange, SourceReason, TableName, TableReason,
    },
    position::RowVersion,
};

mod columns;
mod deletes;

pub use columns::columns;
pub use deletes::Deletes;

/// The prefix of the logical messages that are heartbeats.
pub const HEARTBEAT_PREFIX: &str = "freshet-hb";

/// What the sink writes for a null key or value.
const NULL: &[u8] = b"default";

/// What a stream carries, so that an entry that can't be read voids no more than it might concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRole {
    /// The rows of one table, by its name in the binding.
    Table(String),
    /// Everything.
    Routed,
    /// Schema changes of any table.
    Schema,
    /// Heartbeats or logical messages: no rows.
    Control,
}

/// Reads one entry: its fields as name and value, in order. A tombstone is taken for all there is of its row's
/// delete: [`Deletes::read`] knows better.
#[must_use]
pub fn read<'a>(role: &StreamRole, fields: &'a [(Vec<u8>, Vec<u8>)]) -> Change<'a> {
    try_read(role, fields).unwrap_or_else(|Unread(fault, table)| match (table, role) {
        (Some(table), _) => Change::Table { table, why: TableReason::Unreadable(fault), version: None },
        (None, StreamRole::Table(name)) => Change::Table {
            table: TableName::from_binding(name),
            why: TableReason::Unreadable(fault),
            version: None,
        },
        (None, StreamRole::Routed) => Change::Source(SourceReason::Unreadable(fault)),
        (None, StreamRole::Schema) => Change::Source(SourceReason::Redefined),
        (None, StreamRole::Control) => Change::Garbage(fault),
    })
}

/// An entry that can't be read: why, and the table it is about, if that much is known.
struct Unread<'a>(Fault, Option<TableName<'a>>);

fn try_read<'a>(role: &StreamRole, fields: &'a [(Vec<u8>, Vec<u8>)]) -> Result<Change<'a>, Unread<'a>> {
    let unread = |fault| Unread(fault, None);
    let entry = Entry::of(fields).ok_or(unread(Fault::Fields))?;
    if entry.is_tombstone() {
        return tombstone(role, &entry);
    }
    let value: Value<'_> = payload(entry.value).ok_or(unread(Fault::Value))?;
    // In a table's stream everything is about its rows: a row without an envelope may have columns of any
    // names, and so look like any of the others.
    let rows_only = matches!(role, StreamRole::Table(_));
    match (value.op.as_deref(), &value.source) {
        (Some("m"), Some(_)) if !rows_only && value.message.is_some() => Ok(message(&value)),
        (Some(op), Some(source)) => data(role, op, &value, source, &entry),
        (None, None) if !rows_only && entry.is_transaction_marker() => Ok(Change::Other),
        (None, None) if !rows_only => entry.heartbeat().ok_or(unread(Fault::Envelope)),
        (None, Some(_)) if !rows_only && (value.ddl.is_some() || value.table_changes.is_some()) => {
            Ok(schema_change(&value))
        }
        _ => Err(unread(Fault::Envelope)),
    }
}

/// An entry's parts.
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// The key on the other side of a key change.
    other_key: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn of(fields: &'a [(Vec<u8>, Vec<u8>)]) -> Option<Self> {
        if let [(key, value)] = fields {
            return Some(Self { key, value, other_key: None });
        }
        let field = |name: &[u8]| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice());
        Some(Self {
            key: field(b"key")?,
            value: field(b"value")?,
            other_key: field(b"__DEBEZIUM.OLDKEY").or_else(|| field(b"__DEBEZIUM.NEWKEY")),
        })
    }

    /// Whether its value is null: what a transform made of a delete is `null` in JSON, wrapped or not.
    fn is_tombstone(&self) -> bool {
        let wrapped = || std::str::from_utf8(self.value).is_ok_and(|text| columns::unwrap(text) == "null");
        self.value == NULL || self.value == b"null" || self.value.ends_with(b":null}") && wrapped()
    }

    /// The columns of its key, if it has one.
    fn key(&self) -> Result<Option<Columns<'a>>, ()> {
        if self.key == NULL { Ok(None) } else { text_columns(self.key).map(Some).ok_or(()) }
    }

    fn other_key(&self) -> Option<Columns<'a>> {
        self.other_key.and_then(text_columns)
    }

    /// The begin or end of a transaction: `{"id":…}` and its status with counts, null at the begin.
    fn is_transaction_marker(&self) -> bool {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Key<'a> {
            #[serde(borrow, rename = "id")]
            _id: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct Marker<'a> {
            #[serde(rename = "status")]
            _status: Status,
            #[serde(borrow, rename = "event_count")]
            _event_count: &'a RawValue,
            #[serde(borrow, rename = "data_collections")]
            _data_collections: &'a RawValue,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "UPPERCASE")]
        enum Status {
            Begin,
            End,
        }
        payload::<Key<'_>>(self.key).is_some() && payload::<Marker<'_>>(self.value).is_some()
    }

    /// Debezium's own heartbeat: `{"serverName":…}` and a time, nothing else.
    fn heartbeat(&self) -> Option<Change<'static>> {
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
        payload::<Key<'_>>(self.key)?;
        let at_ms = payload::<Beat>(self.value)?.ts_ms;
        Some(Change::Heartbeat(Heartbeat { kind: freshet_crds::Heartbeat::Debezium, at_ms }))
    }
}

#[derive(Deserialize)]
struct Value<'a> {
    op: Option<String>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<Source<'a>>,
    ts_ms: Option<u64>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    ddl: Option<serde::de::IgnoredAny>,
    #[serde(rename = "tableChanges")]
    table_changes: Option<Vec<TableChange>>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, default)]
    db: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    schema: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    table: Option<Cow<'a, str>>,
    snapshot: Option<String>,
    ts_ms: Option<u64>,
    lsn: Option<u64>,
    server_id: Option<u64>,
    file: Option<String>,
    pos: Option<u64>,
    row: Option<u64>,
}

#[derive(Deserialize)]
struct Message<'a> {
    prefix: String,
    #[serde(borrow, default)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TableChange {
    id: String,
}

fn text_columns(bytes: &[u8]) -> Option<Columns<'_>> {
    columns(std::str::from_utf8(bytes).ok()?)
}

/// Reads JSON, wrapped with its schema or not.
fn payload<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str(columns::unwrap(text)).ok()
}

fn data<'a>(
    role: &StreamRole,
    op: &str,
    value: &Value<'a>,
    source: &Source<'a>,
    entry: &Entry<'a>,
) -> Result<Change<'a>, Unread<'a>> {
    let Some(table) = source.table.clone().filter(|t| !t.is_empty()) else {
        return Err(Unread(Fault::Table, None));
    };
    let mut table = TableName {
        database: source.db.clone().unwrap_or_default(),
        schema: source.schema.clone().unwrap_or_default(),
        table,
        routed_to: None,
    };
    // `ByLogicalTableRouter` writes the rows of several tables into one stream, and each event names its own.
    if let StreamRole::Table(name) = role
        && !table.spellings().any(|spelling| spelling == *name)
    {
        table.routed_to = Some(name.clone().into());
    }
    let op = match op {
        "c" => Op::Create,
        "u" => Op::Update,
        "d" => Op::Delete,
        "r" => Op::Read,
        "t" => {
            return Ok(Change::Table { table, why: TableReason::Truncated, version: source.version() });
        }
        _ => return Err(Unread(Fault::Operation, Some(table))),
    };
    let Ok(key) = entry.key() else { return Err(Unread(Fault::Key, Some(table))) };
    let snapshot = source.snapshot.as_deref();
    Ok(Change::Row(Box::new(RowChange {
        op,
        key,
        other_key: entry.other_key(),
        after: value.after,
        version: source.version(),
        commit_ms: source.ts_ms,
        // With `replace.null.with.default` on, a streamed event says "false" here, because that is the
        // column's default in the envelope's own schema; with it off, it says null.
        nulls_kept: op != Op::Read && snapshot.is_none(),
        origin: match snapshot {
            _ if op != Op::Read => Origin::Log,
            Some("incremental") => Origin::Incremental,
            marked => Origin::Snapshot { first: marked == Some("first") },
        },
        table,
    })))
}

/// A null value: the delete of the row with its key, in the one table of its stream.
fn tombstone<'a>(role: &StreamRole, entry: &Entry<'a>) -> Result<Change<'a>, Unread<'a>> {
    let StreamRole::Table(name) = role else { return Err(Unread(Fault::Tombstone, None)) };
    let Ok(key) = entry.key() else { return Err(Unread(Fault::Key, None)) };
    Ok(Change::Tombstone(Box::new(RowChange {
        table: TableName::from_binding(name),
        op: Op::Delete,
        key,
        other_key: entry.other_key(),
        after: None,
        version: None,
        commit_ms: None,
        nulls_kept: false,
        origin: Origin::Log,
    })))
}

impl Source<'_> {
    fn version(&self) -> Option<RowVersion> {
        if let Some(lsn) = self.lsn {
            return Some(RowVersion::Postgres { lsn });
        }
        let file = self.file.as_ref()?.rsplit_once('.')?.1.parse().ok()?;
        Some(RowVersion::Binlog {
            server: self.server_id?,
            file,
            offset: self.pos?,
            row: self.row.unwrap_or(0),
        })
    }
}

/// A logical message: our heartbeat, whose content is `<sequence>` or `<sequence>:<milliseconds>`, or somebody
/// else's.
fn message<'a>(value: &Value<'_>) -> Change<'a> {
    // A message is about no table, so one that can't be read concerns none.
    let Some(message) = value.message.as_ref().filter(|m| m.prefix == HEARTBEAT_PREFIX) else {
        return Change::Other;
    };
    let content = message.content.as_deref().and_then(|c| BASE64_STANDARD.decode(c).ok());
    let sent = content.as_deref().and_then(|c| std::str::from_utf8(c).ok()?.split_once(':')?.1.parse().ok());
    sent.or(value.ts_ms).map_or(Change::Other, |at_ms| {
        Change::Heartbeat(Heartbeat { kind: freshet_crds::Heartbeat::Database, at_ms })
    })
}

/// DDL: the one table it names, else everything.
fn schema_change<'a>(value: &Value<'_>) -> Change<'a> {
    match value.table_changes.as_deref() {
        Some([only]) => {
            let parts: Vec<_> = only.id.split('.').map(|part| part.trim_matches('"').to_owned()).collect();
            let table = TableName::from_binding(&parts.join("."));
            Change::Table { table, why: TableReason::Redefined, version: None }
        }
        _ => Change::Source(SourceReason::Redefined),
    }
}

impl TableName<'_> {
    /// The table that a binding writes as `schema.table`, `database.table` or `database.schema.table`. Of the
    /// first two nobody can tell which it is: the database counts as unknown.
    fn from_binding<'b>(name: &str) -> TableName<'b> {
        let mut parts = name.splitn(3, '.').map(|part| Cow::Owned(part.to_owned()));
        let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match parts.next() {
            Some(table) => TableName { database: first, schema: second, table, routed_to: None },
            None => TableName { database: Cow::Borrowed(""), schema: first, table: second, routed_to: None },
        }
    }
}

#[cfg(test)]
mod tests;
