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
    change::{Change, Columns, Heartbeat, Op, RowChange, SourceReason, TableName, TableReason},
    position::RowVersion,
};

mod columns;

pub use columns::columns;

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

/// Reads one entry: its fields as name and value, in order.
#[must_use]
pub fn read<'a>(role: &StreamRole, fields: &'a [(Vec<u8>, Vec<u8>)]) -> Change<'a> {
    try_read(fields).unwrap_or_else(|About(table)| match (table, role) {
        (Some(table), _) => Change::Table { table, why: TableReason::Unreadable },
        (None, StreamRole::Table(name)) => {
            Change::Table { table: TableName::from_binding(name), why: TableReason::Unreadable }
        }
        (None, StreamRole::Routed) => Change::Source(SourceReason::Unreadable),
        (None, StreamRole::Schema) => Change::Source(SourceReason::Redefined),
        (None, StreamRole::Control) => Change::Other,
    })
}

/// An entry that can't be read: the table it is about, if that much is known.
struct About<'a>(Option<TableName<'a>>);

fn try_read(fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Change<'_>, About<'_>> {
    let entry = Entry::of(fields).ok_or(About(None))?;
    if entry.value == NULL {
        return Ok(Change::Tombstone);
    }
    let value: Value<'_> = payload(entry.value).ok_or(About(None))?;
    if value.source.is_none() && value.op.is_none() {
        return if value.status.is_some() && value.id.is_some() {
            Ok(Change::Other)
        } else if let (true, Some(at_ms)) = (entry.is_heartbeat(), value.ts_ms) {
            Ok(Change::Heartbeat(Heartbeat { kind: freshet_crds::Heartbeat::Debezium, at_ms }))
        } else {
            Err(About(None))
        };
    }
    if value.op.is_none() && (value.ddl.is_some() || value.table_changes.is_some()) {
        return Ok(schema_change(&value));
    }
    match (value.op.as_deref(), &value.source) {
        (Some("m"), _) => Ok(message(&value)),
        (Some(op), Some(source)) => data(op, &value, source, &entry),
        _ => Err(About(None)),
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

    fn is_heartbeat(&self) -> bool {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct HeartbeatKey<'a> {
            #[serde(borrow)]
            #[expect(dead_code, reason = "its presence tells")]
            server_name: &'a RawValue,
        }
        payload::<HeartbeatKey<'_>>(self.key).is_some()
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
    status: Option<serde::de::IgnoredAny>,
    id: Option<serde::de::IgnoredAny>,
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

/// Reads JSON, wrapped with its schema or not.
fn payload<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str(columns::unwrap(text)).ok()
}

fn data<'a>(
    op: &str,
    value: &Value<'a>,
    source: &Source<'a>,
    entry: &Entry<'a>,
) -> Result<Change<'a>, About<'a>> {
    let Some(table) = source.table.clone().filter(|t| !t.is_empty()) else { return Err(About(None)) };
    let table = TableName {
        database: source.db.clone().unwrap_or_default(),
        schema: source.schema.clone().unwrap_or_default(),
        table,
    };
    let op = match op {
        "c" => Op::Create,
        "u" => Op::Update,
        "d" => Op::Delete,
        "r" => Op::Read,
        "t" => return Ok(Change::Table { table, why: TableReason::Truncated }),
        _ => return Err(About(Some(table))),
    };
    let read_columns = |bytes: &'a [u8]| -> Option<Columns<'a>> { columns(std::str::from_utf8(bytes).ok()?) };
    let key = if entry.key == NULL {
        None
    } else {
        let Some(key) = read_columns(entry.key) else { return Err(About(Some(table))) };
        Some(key)
    };
    let snapshot = source.snapshot.as_deref();
    Ok(Change::Row(Box::new(RowChange {
        op,
        key,
        other_key: entry.other_key.and_then(read_columns),
        after: value.after,
        version: source.version(),
        commit_ms: source.ts_ms,
        // With `replace.null.with.default` on, a streamed event says "false" here, because that is the
        // column's default in the envelope's own schema; with it off, it says null.
        nulls_kept: op != Op::Read && snapshot.is_none(),
        snapshot_begins: op == Op::Read && snapshot == Some("first"),
        table,
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
            Change::Table { table: TableName::from_binding(&parts.join(".")), why: TableReason::Redefined }
        }
        _ => Change::Source(SourceReason::Redefined),
    }
}

impl TableName<'_> {
    /// The table that a binding writes as `schema.table`, `database.table` or `database.schema.table`.
    fn from_binding<'b>(name: &str) -> TableName<'b> {
        let mut parts = name.splitn(3, '.').map(|part| Cow::Owned(part.to_owned()));
        let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match parts.next() {
            Some(table) => TableName { database: first, schema: second, table },
            None => TableName { database: first, schema: Cow::Borrowed(""), table: second },
        }
    }
}

#[cfg(test)]
mod tests;
