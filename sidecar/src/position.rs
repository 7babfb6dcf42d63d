//! Where a change stands: in its stream, and in its database.

use std::{cmp::Ordering, fmt, str::FromStr};

use crate::publication::Stamp;

mod commit;
mod gtid;
mod place;

pub use commit::{Commit, NoPosition, Position, Snapshot};
pub use gtid::{Gtid, GtidSet, NoGtid};
pub use place::Place;

/// The id of an entry in a Redis stream: `<milliseconds>-<number>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// The Redis clock in milliseconds since the Unix epoch.
    pub ms: u64,
    /// A counter within that millisecond.
    pub n: u64,
}

/// The place of a row's change in its database: what decides which of two images of one row is newer.
///
/// Two versions of different kinds, or of different servers, have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowVersion {
    /// PostgreSQL: the change's LSN. One row's changes have ascending LSNs; several rows can share one.
    Postgres {
        /// The log sequence number.
        lsn: u64,
    },
    /// MariaDB and MySQL: the place in the binary log of one server.
    Binlog {
        /// The server that wrote the log.
        server: u64,
        /// The number in the log file's name.
        file: u64,
        /// The offset of the event.
        offset: u64,
        /// The row within the event.
        row: u64,
    },
    /// What applications have published.
    Published(Stamp),
}

// === impl EntryId ===

impl EntryId {
    /// The id that comes right before: what is read from behind it begins with this one.
    #[must_use]
    pub fn before(self) -> Self {
        match (self.ms, self.n.checked_sub(1)) {
            (ms, Some(n)) => Self { ms, n },
            (0, None) => self,
            (ms, None) => Self { ms: ms - 1, n: u64::MAX },
        }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl FromStr for EntryId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ms, n) = text.split_once('-').unwrap_or((text, "0"));
        Ok(Self { ms: ms.parse()?, n: n.parse()? })
    }
}

// === impl RowVersion ===

impl RowVersion {
    /// The newest place that is older.
    #[must_use]
    pub fn before(self) -> Self {
        match self {
            Self::Postgres { lsn } => Self::Postgres { lsn: lsn.saturating_sub(1) },
            Self::Binlog { server, file, offset, row } => match row.checked_sub(1) {
                Some(row) => Self::Binlog { server, file, offset, row },
                None => Self::Binlog { server, file, offset: offset.saturating_sub(1), row: u64::MAX },
            },
            Self::Published(stamp) => match stamp.sequence.checked_sub(1) {
                Some(sequence) => Self::Published(Stamp { sequence, ..stamp }),
                None => Self::Published(Stamp { start_ms: stamp.start_ms.saturating_sub(1), ..stamp }),
            },
        }
    }
}

impl PartialOrd for RowVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Postgres { lsn: a }, Self::Postgres { lsn: b }) => Some(a.cmp(b)),
            (
                Self::Binlog { server: s, file: f, offset: o, row: r },
                Self::Binlog { server: s2, file: f2, offset: o2, row: r2 },
            ) if s == s2 => Some((f, o, r).cmp(&(f2, o2, r2))),
            (Self::Published(a), Self::Published(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }
}
