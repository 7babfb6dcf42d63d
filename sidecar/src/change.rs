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
    },
    /// Something happened that may concern any table of the source.
    Source(SourceReason),
    /// A heartbeat.
    Heartbeat(Heartbeat),
    /// A row's tombstone: its delete came before it.
    Tombstone,
    /// The begin or end of a transaction, or a logical message of somebody else's.
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
    /// Whether it is the first row of a snapshot.
    pub snapshot_begins: bool,
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

/// A table as events name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName<'a> {
    /// The database.
    pub database: Cow<'a, str>,
    /// The schema; empty where the database has none (MariaDB, MySQL).
    pub schema: Cow<'a, str>,
    /// The table.
    pub table: Cow<'a, str>,
}

/// Why a whole table's values are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableReason {
    /// It was truncated.
    Truncated,
    /// Its definition changed.
    Redefined,
    /// An event about it couldn't be read.
    Unreadable,
}

/// Why everything of a source is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceReason {
    /// An entry that can't be read and may concern any table.
    Unreadable,
    /// A schema change that names no table.
    Redefined,
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
            Self::Row(row) => Some(&row.table),
            Self::Table { table, .. } => Some(table),
            _ => None,
        }
    }
}

impl Change<'_> {
    /// Whether it stands for an entry that couldn't be read.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::Table { why: TableReason::Unreadable, .. } | Self::Source(SourceReason::Unreadable)
        )
    }
}

// === impl TableName ===

impl TableName<'_> {
    /// The names by which a binding may call this table: `schema.table` or `database.table`, and for
    /// databases with both also `database.schema.table`.
    pub fn spellings(&self) -> impl Iterator<Item = String> {
        let Self { database, schema, table } = self;
        let short =
            if schema.is_empty() { format!("{database}.{table}") } else { format!("{schema}.{table}") };
        let long = (!schema.is_empty()).then(|| format!("{database}.{schema}.{table}"));
        std::iter::once(short).chain(long)
    }
}
