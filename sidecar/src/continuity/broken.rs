//! What ends an epoch, and its names.

use std::fmt;

use crate::change::SourceReason;

/// Why continuity broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Break {
    /// Another server, another start of it, or another history.
    ServerChanged,
    /// What is sent while there is no connection is lost, and there was none.
    Reconnected,
    /// A stream is gone, or was made anew.
    StreamGone,
    /// A stream's places went back.
    IdWentBack,
    /// Records were added that were never read.
    EntriesMissed,
    /// What has the stream's name is something else.
    WrongType,
    /// A snapshot began: events may have been missed before it.
    SnapshotBegan,
    /// The database's log comes from another server.
    DatabaseChanged,
    /// A record that can't be read and may concern any table.
    Unreadable,
    /// A schema change that names no table.
    SchemaChanged,
    /// Heartbeats were lost before they reached the source, and so what was written with them.
    HeartbeatMissed,
    /// Events of a transaction were lost before they reached the source.
    EventsMissed,
    /// A topic that had one order was divided: what rested on that order is worth nothing any more.
    OrderLost,
    /// Messages of a publisher were lost.
    MessagesMissed,
    /// Whole transactions were lost before they reached the source.
    TransactionsMissed,
    /// More transactions were read than can be counted before all streams have been read to their ends.
    Unaccounted,
}

impl Break {
    /// Its name in status, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerChanged => "server-changed",
            Self::Reconnected => "reconnected",
            Self::StreamGone => "stream-gone",
            Self::IdWentBack => "id-went-back",
            Self::EntriesMissed => "entries-missed",
            Self::WrongType => "wrong-type",
            Self::SnapshotBegan => "snapshot-began",
            Self::DatabaseChanged => "database-changed",
            Self::Unreadable => "unreadable",
            Self::SchemaChanged => "schema-changed",
            Self::HeartbeatMissed => "heartbeat-missed",
            Self::EventsMissed => "events-missed",
            Self::OrderLost => "order-lost",
            Self::MessagesMissed => "messages-missed",
            Self::TransactionsMissed => "transactions-missed",
            Self::Unaccounted => "unaccounted",
        }
    }
}

impl From<SourceReason> for Break {
    fn from(why: SourceReason) -> Self {
        match why {
            SourceReason::Unreadable(_) => Self::Unreadable,
            SourceReason::Redefined => Self::SchemaChanged,
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
