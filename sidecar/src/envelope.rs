//! The bytes that Debezium's Redis sink writes, read into a [`Change`].
//!
//! Formats, as of Debezium Server 3.6: an entry has one field, the key's JSON, whose value is the event's JSON
//! (`compact`), or the fields `key`, `value` and one per header with an upper-case name (`extended`). A null
//! key or value is the text `default`. Either JSON can be wrapped as `{"schema":…,"payload":…}`. What other transports
//! carry is given as such fields; where one carries no keys, they are `topic` and `value`.
//!
//! Every entry becomes some change: what can't be read becomes a [`Change`] that voids whatever it might
//! concern, so that unknown input neither stops the stream nor leaves a value alive.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use freshet_crds::topics;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    change::{
        Change, Columns, Fault, Heartbeat, Keyless, Mark, Op, Origin, RowChange, SourceReason, TableId,
        TableName, TableReason, TransactionId,
    },
    position::RowVersion,
};

mod columns;
mod deletes;
mod entry;
mod notices;
mod published;

pub use columns::columns;
pub(crate) use columns::scalar;
pub use deletes::Deletes;
use entry::Entry;
pub(crate) use published::{ENVELOPE, is_envelope, write};

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
    let read = match published::read(fields) {
        Some(Ok(said)) => Ok(Change::Published(Box::new(said))),
        Some(Err(published::Unreadable(Some(table)))) => Err(Unread(Fault::Publication, Some(table))),
        // It may be about anything, wherever it stands.
        Some(Err(published::Unreadable(None))) => {
            return Change::Source { why: SourceReason::Unreadable(Fault::Publication), version: None };
        }
        None => try_read(role, fields),
    };
    read.unwrap_or_else(|Unread(fault, table)| match (table, role) {
        (Some(table), _) => unreadable(table, fault),
        (None, StreamRole::Table(name)) => unreadable(TableName::from_binding(name), fault),
        (None, StreamRole::Routed) => Change::Source { why: SourceReason::Unreadable(fault), version: None },
        (None, StreamRole::Schema) => Change::Source { why: SourceReason::Redefined, version: None },
        (None, StreamRole::Control) => Change::Garbage(fault),
    })
}

fn unreadable(table: TableName<'_>, fault: Fault) -> Change<'_> {
    let why = TableReason::Unreadable(fault);
    Change::Table { table, why, version: None, mark: Mark::default() }
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
        (None, None) if !rows_only => {
            let other = entry.marker().or_else(|| entry.heartbeat()).or_else(|| entry.notice());
            other.ok_or(unread(Fault::Envelope))
        }
        (None, Some(_)) if !rows_only && (value.ddl.is_some() || value.table_changes.is_some()) => {
            Ok(schema_change(&value))
        }
        _ => Err(unread(Fault::Envelope)),
    }
}

#[derive(Deserialize)]
struct Value<'a> {
    op: Option<String>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    #[serde(borrow)]
    source: Option<Source<'a>>,
    ts_ms: Option<u64>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    transaction: Option<InTransaction<'a>>,
    #[serde(borrow, default)]
    ddl: Option<Cow<'a, str>>,
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
    #[serde(borrow, default)]
    sequence: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    gtid: Option<Cow<'a, str>>,
    server_id: Option<u64>,
    file: Option<String>,
    pos: Option<u64>,
    row: Option<u64>,
}

/// An event's place in its transaction.
#[derive(Deserialize)]
struct InTransaction<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    data_collection_order: u64,
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
    let mark = value.mark(table.id());
    let op = match op {
        "c" => Op::Create,
        "u" => Op::Update,
        "d" => Op::Delete,
        "r" => Op::Read,
        "t" => {
            let (why, version) = (TableReason::Truncated, source.version());
            return Ok(Change::Table { table, why, version, mark });
        }
        _ => return Err(Unread(Fault::Operation, Some(table))),
    };
    if table.table == topics::HEARTBEAT_TABLE
        && let Op::Create | Op::Update = op
        && let Some(beat) = beat(value, mark)
    {
        return Ok(beat);
    }
    let Ok(key) = entry.key() else { return Err(Unread(Fault::Key, Some(table))) };
    let snapshot = source.snapshot.as_deref();
    Ok(Change::Row(Box::new(RowChange {
        op,
        key,
        other_key: entry.other_key(),
        keyless: entry.is_keyless().then_some(Keyless { before: value.before }),
        after: value.after,
        version: source.version(),
        commit_ms: source.ts_ms,
        origin: match snapshot {
            _ if op != Op::Read => Origin::Log,
            Some("incremental") => Origin::Incremental,
            marked => Origin::Snapshot { first: marked == Some("first"), resumed: source.is_resumed() },
        },
        is_old: false,
        table,
        mark,
    })))
}

/// A heartbeat that is a row.
fn beat<'a>(value: &Value<'_>, mark: Mark) -> Option<Change<'a>> {
    #[derive(Deserialize)]
    struct Row {
        beat: u64,
        at_ms: u64,
    }
    let row: Row = serde_json::from_str(value.after?.get()).ok()?;
    let kind = freshet_crds::Heartbeat::Database;
    Some(Change::Heartbeat(Heartbeat { kind, at_ms: row.at_ms, dated: true, number: Some(row.beat), mark }))
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
        keyless: None,
        after: None,
        version: None,
        commit_ms: None,
        origin: Origin::Log,
        is_old: false,
        mark: Mark::default(),
    })))
}

impl Value<'_> {
    /// The place of an event about this table among the log's transactions.
    fn mark(&self, table: TableId) -> Mark {
        // What a snapshot reads stands for a place, and didn't happen there.
        let Some(source) = self.source.as_ref().filter(|_| self.op.as_deref() != Some("r")) else {
            return Mark::default();
        };
        let transaction = self.transaction.as_ref();
        Mark {
            transaction: transaction.map(|t| TransactionId::of(&t.id)),
            place: transaction.map(|t| (table, t.data_collection_order)),
            lsn: source.lsn,
            preceding: source.preceding(),
            gtid: source.gtid.as_ref().and_then(|gtid| gtid.parse().ok()),
            // With `replace.null.with.default` on, a streamed event says "false" here, because that is the
            // column's default in the envelope's own schema; with it off, it says null.
            nulls_kept: Some(source.snapshot.is_none()),
        }
    }
}

impl Source<'_> {
    /// The first of PostgreSQL's two positions, `["<newest commit>","<own>"]`, JSON in a text.
    fn preceding(&self) -> Option<u64> {
        let (first, _) = self.sequence.as_ref()?.strip_prefix("[\"")?.split_once('"')?;
        first.parse().ok()
    }

    /// Whether a row that a snapshot has read names a commit that was delivered before: PostgreSQL's newest, or MariaDB's.
    fn is_resumed(&self) -> bool {
        self.preceding().is_some() || self.gtid.is_some()
    }

    fn version(&self) -> Option<RowVersion> {
        if let Some(lsn) = self.lsn {
            return Some(RowVersion::Postgres { lsn });
        }
        let file = self.file.as_ref()?.rsplit_once('.')?.1.parse().ok()?;
        Some(RowVersion::Binlog {
            // What a snapshot reads is of no server's log.
            server: self.server_id.filter(|id| *id > 0)?,
            file,
            offset: self.pos?,
            row: self.row.unwrap_or(0),
        })
    }
}

/// A logical message: our heartbeat, whose content is `<number>` or `<number>:<milliseconds>`, or somebody else's. A
/// message is about no table, so one that can't be read concerns none.
fn message<'a>(value: &Value<'_>) -> Change<'a> {
    let mark = value.mark(TableId::MESSAGES);
    let content = || {
        let message = value.message.as_ref().filter(|m| m.prefix == topics::HEARTBEAT_MESSAGES)?;
        String::from_utf8(BASE64_STANDARD.decode(message.content.as_deref()?).ok()?).ok()
    };
    let Some(content) = content() else { return Change::Message(mark) };
    let (number, sent) = content.split_once(':').map_or((content.as_str(), None), |(n, at)| (n, Some(at)));
    let sent = sent.and_then(|at| at.parse().ok());
    sent.or(value.ts_ms).map_or(Change::Message(mark), |at_ms| {
        let kind = freshet_crds::Heartbeat::Database;
        let dated = sent.is_some();
        Change::Heartbeat(Heartbeat { kind, at_ms, dated, number: number.parse().ok(), mark })
    })
}

/// DDL: the one table it names, else everything. Of a table that is renamed only the new name is said.
fn schema_change<'a>(value: &Value<'_>) -> Change<'a> {
    let version = value.source.as_ref().and_then(Source::version);
    let renames = value.ddl.as_ref().is_some_and(|ddl| ddl.to_ascii_lowercase().contains("rename"));
    match value.table_changes.as_deref() {
        Some([only]) if !renames => {
            let parts: Vec<_> = only.id.split('.').map(|part| part.trim_matches('"').to_owned()).collect();
            let table = TableName::from_binding(&parts.join("."));
            // In MariaDB's log it is a transaction of its own.
            let gtid = value.source.as_ref().and_then(|source| source.gtid.as_deref());
            let transaction = gtid.map(TransactionId::of);
            let mark = Mark { transaction, gtid: gtid.and_then(|g| g.parse().ok()), ..Mark::default() };
            let snapshot = value.source.as_ref().and_then(|source| source.snapshot.as_deref());
            let described = snapshot.is_some_and(|snapshot| snapshot != "false");
            let why = if described { TableReason::Described } else { TableReason::Redefined };
            Change::Table { table, why, version, mark }
        }
        _ => Change::Source { why: SourceReason::Redefined, version },
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
