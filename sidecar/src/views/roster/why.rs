//! Why a view over rows isn't whole.

use std::{fmt, time::Duration};

use crate::continuity::Break;

/// Why a view over rows isn't whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The view has another definition now, or none.
    Replaced,
    /// Nobody has told what there was before the log was followed.
    NoSnapshot,
    /// A snapshot is being read: so many rows have come, of so many if that is known.
    Reading {
        /// They.
        read: u64,
        /// All, if known.
        of: Option<u64>,
    },
    /// A snapshot was read, and no heartbeat has come that was made after it.
    NotPassed,
    /// Another number of rows came than the snapshot had.
    Partial {
        /// That came.
        read: u64,
        /// That it had, if known.
        of: Option<u64>,
    },
    /// A snapshot began before the log had been followed for long enough.
    TooSoon,
    /// Debezium took a snapshot because it had lost its place.
    PlaceLost,
    /// The last snapshot had no row of any table: nothing tells whether the log goes on where it was.
    NoRows,
    /// Changes were lost, or may have been.
    Lost(Break),
    /// An event told nothing exact of the rows.
    Unknown,
    /// Nobody would have noticed if something had been lost.
    Unproven,
    /// Defaults stand in the place of NULLs.
    NullsReplaced,
    /// Events, or heartbeats, don't say of which transaction they are.
    NoTransactions,
    /// Of so many rows nobody knows what they are.
    Unclear {
        /// They.
        rows: usize,
    },
    /// The log is read once more.
    Behind,
    /// The rows don't fit.
    NoRoom {
        /// Bytes that views hold at most.
        most: u64,
        /// Bytes that these rows took when there was no more room.
        needed: u64,
    },
}

/// What can be done, where only a snapshot can tell.
const ASK: &str = "ask Debezium for a snapshot (execute-snapshot, blocking)";

// === impl Why ===

impl Why {
    /// In how long asking again may be of use.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        Duration::from_secs(match self {
            Self::Replaced | Self::Reading { .. } | Self::NotPassed | Self::Behind => 1,
            Self::Unclear { .. } => 5,
            _ => 30,
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = |f: &mut fmt::Formatter<'_>, read: u64, of: Option<u64>| match of {
            Some(of) => write!(f, "{read} of its {of} rows"),
            None => write!(f, "{read} of its rows"),
        };
        match *self {
            Self::Replaced => f.write_str("the view has just been defined anew"),
            Self::NoSnapshot => {
                write!(f, "no snapshot of its table has been read that says how many rows there are: {ASK}")
            }
            Self::Reading { read, of } => {
                f.write_str("a snapshot is being read: ")?;
                rows(f, read, of)?;
                f.write_str(" have come")
            }
            Self::NotPassed => {
                f.write_str("a snapshot was read, and no heartbeat of the database has come since")
            }
            Self::Partial { read, of } => {
                f.write_str("of the last snapshot ")?;
                rows(f, read, of)?;
                write!(f, " came: {ASK}")
            }
            Self::TooSoon => write!(
                f,
                "the last snapshot began before the log had been followed for freshness.readLag: {ASK}"
            ),
            Self::PlaceLost => write!(
                f,
                "Debezium took its last snapshot because it had lost its place, and what was written meanwhile may be in neither \
                 snapshot nor log: {ASK}"
            ),
            Self::NoRows => write!(
                f,
                "the last snapshot had no row at all, so that nothing tells whether the log went on where it was: {ASK} that reads a \
                 table with rows as well, such as that of the signals"
            ),
            Self::Lost(why) => write!(f, "a new epoch has begun ({why}): {ASK}"),
            Self::Unknown => write!(
                f,
                "an event couldn't be read, or changed the table, or named no row that the cache's key tells apart: {ASK}"
            ),
            Self::Unproven => {
                write!(f, "only now changes are numbered, and none is known to have come before: {ASK}")
            }
            Self::NullsReplaced => write!(
                f,
                "events have defaults in the place of NULLs: set format.value.replace.null.with.default to false, and {ASK}"
            ),
            Self::NoTransactions => {
                write!(
                    f,
                    "events name no transaction: set provide.transaction.metadata to true, write heartbeats in transactions, \
                     and {ASK}"
                )
            }
            Self::Unclear { rows } => write!(
                f,
                "of {rows} rows it isn't known what they are, since their events lack columns, or a snapshot and the log said \
                 different things: until they are written again"
            ),
            Self::Behind => f.write_str("changes are being read once more"),
            Self::NoRoom { most, needed } => write!(
                f,
                "views hold at most {most} bytes, a quarter of the binding's memory, of which others have their part: its rows, and a \
                 transaction of them until it has ended, took {needed}. Raise memory, or give the cache fewer columns"
            ),
        }
    }
}
