//! What a change event says, whatever connector and format it came in.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    key::Scalar,
    position::{Commit, Gtid, RowVersion},
    publication::{Publication, What},
};

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
        /// Its place among the log's transactions.
        mark: Mark,
    },
    /// Something happened that may concern any table of the source.
    Source {
        /// What happened.
        why: SourceReason,
        /// Its place in the database's log, if it has one.
        version: Option<RowVersion>,
    },
    /// A heartbeat.
    Heartbeat(Heartbeat),
    /// A tombstone that is all there is of its row's delete.
    Tombstone(Box<RowChange<'a>>),
    /// A transaction began or ended.
    Transaction(Transaction),
    /// An entry that can't be read and concerns no row: it came where there are none.
    Garbage(Fault),
    /// A logical message of somebody else's.
    Message(Mark),
    /// What Debezium says of a snapshot.
    Notice(Notice),
    /// What an application has published.
    Published(Box<Publication<'a>>),
    /// The tombstone of a delete.
    Other,
}

/// A notification about a snapshot that reads whole tables. Debezium writes them where its sink is told to be a channel of
/// them (`notification.enabled.channels`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It has begun.
    Started {
        /// When, by Debezium's clock: milliseconds since the Unix epoch.
        at: u64,
    },
    /// It reads one of these tables, which are all that it is to read.
    Reading {
        /// The tables.
        tables: Vec<TableId>,
    },
    /// It has read a table. The last row may come after this.
    Read {
        /// The table.
        table: TableId,
        /// How many rows there were.
        rows: u64,
        /// When, by Debezium's clock: milliseconds since the Unix epoch.
        at: u64,
    },
    /// It has come to an end, whichever.
    Ended,
    /// Something else.
    Other,
}

/// Where an event stands among the transactions of its database's log, as far as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Its transaction.
    pub transaction: Option<TransactionId>,
    /// Its table, and which of that table's events in the transaction it is, from 1.
    pub place: Option<(TableId, u64)>,
    /// PostgreSQL: its own place in the log.
    pub lsn: Option<u64>,
    /// PostgreSQL: the newest commit before it. Every transaction up to there was delivered before this event.
    pub preceding: Option<u64>,
    /// MariaDB and MySQL: its transaction's identifier.
    pub gtid: Option<Gtid>,
    /// Whether what came through the log's connector at this place has NULLs for NULLs, and not the columns' defaults.
    pub nulls_kept: Option<bool>,
}

/// A transaction's name, hashed: all events of one have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u64);

/// A table's name as transactions count it, hashed: `schema.table`, or `database.table` without schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableId(pub u64);

/// The begin or end of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its name.
    pub id: TransactionId,
    /// MariaDB and MySQL: its identifier.
    pub gtid: Option<Gtid>,
    /// `None` at its begin.
    pub end: Option<End>,
}

/// The end of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Where it was committed, if its name tells.
    pub commit: Option<Commit>,
    /// How many events each table had in it.
    pub events: Vec<(TableId, u64)>,
}

/// A row's change.
#[derive(Debug)]
pub struct RowChange<'a> {
    /// The row's table.
    pub table: TableName<'a>,
    /// What happened.
    pub op: Op,
    /// The columns of the event's key in order; `None` for a table without a key, and where [`RowChange::keyless`] is.
    pub key: Option<Columns<'a>>,
    /// The other key of a key change: the old one of a create, the new one of a delete.
    pub other_key: Option<Columns<'a>>,
    /// What tells the row where the transport carries no keys.
    pub keyless: Option<Keyless<'a>>,
    /// The row after the change, as sent.
    pub after: Option<&'a RawValue>,
    /// Its place in the database's log, if it has one.
    pub version: Option<RowVersion>,
    /// When it was committed: milliseconds since the Unix epoch, by the database's clock.
    pub commit_ms: Option<u64>,
    /// How it came to be an event.
    pub origin: Origin,
    /// Whether it was in its stream before reading began: its life is counted from its commit, not from now. Only who reads
    /// the stream can tell.
    pub is_old: bool,
    /// Its place among the log's transactions.
    pub mark: Mark,
}

/// What tells which row a change is about where the transport carries no keys: the row's own columns that a cache's `key`
/// names, which have to be all of the table's primary key.
#[derive(Clone, Copy, Debug)]
pub struct Keyless<'a> {
    /// The row before the change, as sent: at least its key where that is the table's replica identity. Of a change that
    /// leaves the key as it was there may be none.
    pub before: Option<&'a RawValue>,
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
        /// Whether the event names a commit that was delivered before: the log was being followed, and goes on where it was.
        resumed: bool,
    },
    /// The snapshot that its stream begins with: nothing was there before it that it could have missed, and the log goes
    /// on from it. Only who reads the stream can tell.
    Beginning,
    /// An incremental snapshot, which goes on beside the log and replaces nothing of it.
    Incremental,
    /// Somebody has told of it, who needn't know how the database's own events spell a key, nor their places in the log.
    Published,
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
    /// Rows of it have changed, and nothing says which.
    Changed {
        /// There was no room to say which.
        oversized: bool,
    },
    /// Its definition changed.
    Redefined,
    /// A snapshot said how it is defined.
    Described,
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
    /// It was published, and isn't an envelope as this version knows it.
    Publication,
}

/// A proof that changes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// What it came through.
    pub kind: freshet_crds::Heartbeat,
    /// When it was made: milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whether the database said so: otherwise it is when Debezium wrote it, or wrote it once more.
    pub dated: bool,
    /// Its number: each is one more than the one before. Debezium's own have none.
    pub number: Option<u64>,
    /// Its place among the log's transactions.
    pub mark: Mark,
}

// === impl Change ===

impl<'a> Change<'a> {
    /// What it tells of a database: itself, or what an application has published that it is.
    #[must_use]
    pub fn told(&self) -> &Self {
        match self {
            Self::Published(said) => match &said.what {
                What::Change(change) => change,
                _ => self,
            },
            _ => self,
        }
    }

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
    /// Its place among the log's transactions, if it can have one.
    #[must_use]
    pub fn mark(&self) -> Option<&Mark> {
        match self {
            Self::Row(row) => Some(&row.mark),
            Self::Table { mark, .. } | Self::Message(mark) => Some(mark),
            Self::Heartbeat(heartbeat) => Some(&heartbeat.mark),
            _ => None,
        }
    }

    /// The newest place in the log that it names: nothing that was written before it comes later but by a replay.
    #[must_use]
    pub fn newest(&self) -> Option<RowVersion> {
        let postgres = |lsn: u64| RowVersion::Postgres { lsn };
        match self {
            // What a snapshot reads isn't of the log, and some connectors don't say whose place it names.
            Self::Row(row) if row.origin != Origin::Log => None,
            Self::Row(row) => row.version,
            Self::Table { version, .. } | Self::Source { version, .. } => *version,
            Self::Transaction(Transaction { end: Some(End { commit, .. }), .. }) => match commit {
                Some(Commit::Postgres { lsn, .. }) => Some(postgres(*lsn)),
                _ => None,
            },
            _ => self.mark()?.lsn.map(postgres),
        }
    }

    /// Why the entry it stands for can't be read, if so.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Table { why: TableReason::Unreadable(fault), .. }
            | Self::Source { why: SourceReason::Unreadable(fault), .. }
            | Self::Garbage(fault) => Some(*fault),
            _ => None,
        }
    }
}

// === impl TableReason ===

impl TableReason {
    /// Whether somebody else than the database's own log may have told of this.
    #[must_use]
    pub fn may_be_told(self) -> bool {
        match self {
            Self::Truncated | Self::Changed { .. } | Self::Unreadable(Fault::Publication) => true,
            Self::Redefined | Self::Described | Self::Unreadable(_) => false,
        }
    }
}

// === impl TransactionId ===

impl TransactionId {
    /// Of the name that an event or a marker gives it. Of PostgreSQL's, `<xid>:<lsn>`, the first half names the
    /// transaction and the second the place.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let name = postgres(name).map_or(name, |(xid, _)| xid);
        Self(xxhash_rust::xxh3::xxh3_64(name.as_bytes()))
    }
}

/// The halves of a name of PostgreSQL's.
pub(crate) fn postgres(name: &str) -> Option<(&str, &str)> {
    let (xid, lsn) = name.split_once(':')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(xid) && digits(lsn)).then_some((xid, lsn))
}

// === impl TableId ===

impl TableId {
    /// What PostgreSQL's logical messages are counted as.
    pub const MESSAGES: Self = Self(0);

    /// Of a table by its whole name; of three parts the last two count.
    #[must_use]
    pub fn of(name: &str) -> Self {
        // Debezium gives no name to them: it writes the object that would be one, which is another each time.
        if name.contains("$LogicalDecodingMessageId@") {
            return Self::MESSAGES;
        }
        let mut dots = memchr::memchr_iter(b'.', name.as_bytes());
        let last_two = match (dots.next(), dots.next()) {
            (Some(first), Some(_)) => &name[first + 1..],
            _ => name,
        };
        Self(xxhash_rust::xxh3::xxh3_64(last_two.as_bytes()))
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
            Self::Publication => "it was published, and isn't an envelope of version 1",
        }
    }
}

// === impl TableName ===

impl TableName<'_> {
    /// The name under which transactions count it.
    #[must_use]
    pub fn id(&self) -> TableId {
        let Self { database, schema, table, .. } = self;
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(if schema.is_empty() { database } else { schema }.as_bytes());
        hash.update(b".");
        hash.update(table.as_bytes());
        TableId(hash.digest())
    }

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
