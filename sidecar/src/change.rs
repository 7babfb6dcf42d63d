//! What a change event says, whatever connector and format it came in.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{key::Scalar, position::RowVersion};

/// One entry of a stream, understood. Borrows from the entry's bytes.
#[derive(Debug)]
pub enum Change<'a> {
    /// A row was created, changed, deleted, or read by a snapshot.
    Row(Box<RowChange<'a>>),
    /// Something happened to a whole table: truncated, redefined, or an event about it that can't be read.
    Table {
        /// The table.
        table: TableName<'a>,
        /// What happened.
        why: TableReason,
        /// Its place in the database's log, if it has one.
        version: Option<RowVersion>,
    },
    /// Something happened that may concern any table of the source.
    Source(SourceReason),
    /// A heartbeat.
    Heartbeat(Heartbeat),
    /// A tombstone that is all there is of its row's delete.
    Tombstone(Box<RowChange<'a>>),
    /// An entry that can't be read and concerns no row: it came where there are none.
    Garbage(Fault),
    /// The begin or end of a transaction, a logical message of somebody else's, the tombstone of a delete.
    Other,
}

/// A row's change.
#[derive(Debug)]
pub struct RowChange<'a> {
    /// The row's table.
    pub table: TableName<'a>,
    /// What happened.
    pub op: Op,
    /// The columns of the event's key in order; `None` for a table without a key.
    pub key: Option<Columns<'a>>,
    /// The other key of a key change: the old one of a create, the new one of a delete.
    pub other_key: Option<Columns<'a>>,
    /// The row after the change, as sent.
    pub after: Option<&'a RawValue>,
    /// Its place in the database's log, if it has one.
    pub version: Option<RowVersion>,
    /// When it was committed: milliseconds since the Unix epoch, by the database's clock.
    pub commit_ms: Option<u64>,
    /// Whether a NULL in `after` is known to be a NULL, and not replaced by the column's default.
    pub nulls_kept: bool,
    /// How it came to be an event.
    pub origin: Origin,
}

/// Columns with their values, in the order in which they were sent.
pub type Columns<'a> = Vec<(Cow<'a, str>, Scalar<'a>)>;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// It was inserted.
    Create,
    /// It was changed, its key excepted.
    Update,
    /// It was deleted.
    Delete,
    /// A snapshot read it.
    Read,
}

/// How a row came to be an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The database's log: something happened to it.
    Log,
    /// A snapshot: it was there. Before a snapshot events may have been missed.
    Snapshot {
        /// Whether it is marked as the first row of all.
        first: bool,
    },
    /// An incremental snapshot, which goes on beside the log and replaces nothing of it.
    Incremental,
}

/// A table as events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName<'a> {
    /// The database; empty where nothing tells.
    pub database: Cow<'a, str>,
    /// The schema; empty where the database has none (MariaDB, MySQL).
    pub schema: Cow<'a, str>,
    /// The table.
    pub table: Cow<'a, str>,
    /// The other table into whose stream a router wrote it, by its name in the binding: its rows are that table's
    /// rows as well.
    pub routed_to: Option<Cow<'a, str>>,
}

/// Why a whole table's values are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableReason {
    /// It was truncated.
    Truncated,
    /// Its definition changed.
    Redefined,
    /// An event about it couldn't be read.
    Unreadable(Fault),
}

/// Why everything of a source is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceReason {
    /// An entry that can't be read and may concern any table.
    Unreadable(Fault),
    /// A schema change that names no table.
    Redefined,
}

/// Why an entry can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Its fields are of neither of the sink's formats.
    Fields,
    /// Its value isn't an event's JSON.
    Value,
    /// Its value has no envelope, as rows that `ExtractNewRecordState` flattened have none.
    Envelope,
    /// Its operation is none that is known.
    Operation,
    /// It doesn't say which table it is about.
    Table,
    /// Its key isn't an object of columns.
    Key,
    /// A tombstone that names no table and follows no delete of its key.
    Tombstone,
}

/// A proof that changes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// What it came through.
    pub kind: freshet_crds::Heartbeat,
    /// When it was made: milliseconds since the Unix epoch.
    pub at_ms: u64,
}

// === impl Change ===

impl<'a> Change<'a> {
    /// The table it is about, if it is about one.
    #[must_use]
    pub fn table(&self) -> Option<&TableName<'a>> {
        match self {
            Self::Row(row) | Self::Tombstone(row) => Some(&row.table),
            Self::Table { table, .. } => Some(table),
            _ => None,
        }
    }
}

impl Change<'_> {
    /// Why the entry it stands for can't be read, if so.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Table { why: TableReason::Unreadable(fault), .. }
            | Self::Source(SourceReason::Unreadable(fault))
            | Self::Garbage(fault) => Some(*fault),
            _ => None,
        }
    }
}

// === impl Fault ===

impl Fault {
    /// What is wrong, as the end of a sentence about the entry.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fields => "its fields are of neither format of the sink",
            Self::Value => "its value isn't an event's JSON",
            Self::Envelope => "its value has no envelope (ExtractNewRecordState?)",
            Self::Operation => "its operation isn't known",
            Self::Table => "it names no table",
            Self::Key => "its key isn't an object of columns",
            Self::Tombstone => "it is a tombstone without a delete before it",
        }
    }
}

// === impl TableName ===

impl TableName<'_> {
    /// The names by which a binding may call this table: `schema.table` or `database.table`, and for
    /// databases with both also `database.schema.table`, as far as they are known; and the name of the table
    /// that it was routed to.
    pub fn spellings(&self) -> impl Iterator<Item = String> {
        let Self { database, schema, table, routed_to } = self;
        let short =
            if schema.is_empty() { format!("{database}.{table}") } else { format!("{schema}.{table}") };
        let both = !schema.is_empty() && !database.is_empty();
        let long = both.then(|| format!("{database}.{schema}.{table}"));
        std::iter::once(short).chain(long).chain(routed_to.as_deref().map(str::to_owned))
    }
}
