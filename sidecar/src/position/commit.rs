//! Commits as change events name them, and positions as applications do.
//!
//! A position is proven against commits only. A row's own LSN lies before its transaction's commit: a replica that
//! has replayed up to between the two still reads the old row.

use std::{fmt, str::FromStr};

use super::gtid::{Gtid, GtidSet};

/// A committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// PostgreSQL's.
    Postgres {
        /// Where the log stood right after the commit.
        lsn: u64,
        /// The transaction's number, its epoch left off; `None` where an event names the place only.
        xid: Option<u32>,
    },
    /// MariaDB's or MySQL's.
    Gtid(Gtid),
}

/// How far a reader has seen a database, or wants to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// PostgreSQL: everything committed up to this place of the log (`pg_current_wal_lsn()` after a commit,
    /// `pg_last_wal_replay_lsn()` before a replica's read).
    Lsn(u64),
    /// PostgreSQL: this transaction (`pg_current_xact_id()`), its epoch left off.
    Xid(u32),
    /// PostgreSQL: what a snapshot sees (`pg_current_snapshot()`).
    Snapshot(Snapshot),
    /// MariaDB and MySQL: these transactions.
    Gtids(GtidSet),
}

/// PostgreSQL's snapshot, `xmin:xmax:xip,…`; numbers with their epochs left off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Everything before it has ended.
    xmin: u32,
    /// Nothing from here on has.
    xmax: u32,
    /// In between, these were running.
    running: Vec<u32>,
}

/// A text that is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is `lsn:0/157D6E8`, `xid:755`, `snap:725:727:725` or `gtid:0-1-17`")]
pub struct NoPosition;

// === impl Position ===

impl Position {
    /// Its place in the log, if it is one place of one log; places of one kind compare.
    #[must_use]
    pub fn place(&self) -> Option<u64> {
        match self {
            Self::Lsn(lsn) => Some(*lsn),
            Self::Gtids(set) => set.only_sequence(),
            Self::Xid(_) | Self::Snapshot(_) => None,
        }
    }

    /// Whether whoever has seen one commit of the log has seen all before it, too.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        match self {
            Self::Lsn(_) => true,
            Self::Gtids(set) => set.is_prefix(),
            Self::Xid(_) | Self::Snapshot(_) => false,
        }
    }

    /// Whether whoever read at this position has seen the commit; `false` where nothing tells.
    #[must_use]
    pub fn sees(&self, commit: Commit) -> bool {
        match (self, commit) {
            (Self::Lsn(at), Commit::Postgres { lsn, .. }) => lsn <= *at,
            (Self::Snapshot(snapshot), Commit::Postgres { xid: Some(xid), .. }) => snapshot.sees(xid),
            (Self::Gtids(seen), Commit::Gtid(gtid)) => seen.contains(gtid),
            _ => false,
        }
    }
}

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (kind, text) = text.split_once(':').ok_or(NoPosition)?;
        match kind {
            "lsn" => lsn(text).map(Self::Lsn),
            "xid" => xid(text).map(Self::Xid),
            "snap" => text.parse().map(Self::Snapshot),
            "gtid" => text.parse().map(Self::Gtids).map_err(|_| NoPosition),
            _ => Err(NoPosition),
        }
    }
}

/// `0/157D6E8`: two hexadecimal halves.
fn lsn(text: &str) -> Result<u64, NoPosition> {
    let half = |text: &str| {
        let fits = (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        fits.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(NoPosition)
    };
    let (high, low) = text.split_once('/').ok_or(NoPosition)?;
    Ok(half(high)? << 32 | half(low)?)
}

/// A transaction's number with or without its epoch, which change events don't carry.
fn xid(text: &str) -> Result<u32, NoPosition> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let full: u64 = plain.then(|| text.parse().ok()).flatten().ok_or(NoPosition)?;
    u32::try_from(full & u64::from(u32::MAX)).map_err(|_| NoPosition)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lsn(lsn) => write!(f, "lsn:{:X}/{:X}", lsn >> 32, lsn & u64::from(u32::MAX)),
            Self::Xid(xid) => write!(f, "xid:{xid}"),
            Self::Snapshot(Snapshot { xmin, xmax, running }) => {
                write!(f, "snap:{xmin}:{xmax}:")?;
                for (i, xid) in running.iter().enumerate() {
                    write!(f, "{}{xid}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Gtids(set) => write!(f, "gtid:{set}"),
        }
    }
}

// === impl Snapshot ===

impl Snapshot {
    fn sees(&self, xid: u32) -> bool {
        before(xid, self.xmin) || before(xid, self.xmax) && !self.running.contains(&xid)
    }
}

/// Whether a transaction's number is before another's; they wrap around, as PostgreSQL compares them.
fn before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

impl FromStr for Snapshot {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or(NoPosition);
        let (xmin, xmax, list) = (xid(next()?)?, xid(next()?)?, next()?);
        let running = list.split(',').filter(|xid| !xid.is_empty()).map(xid).collect::<Result<_, _>>()?;
        if parts.next().is_some() || before(xmax, xmin) {
            return Err(NoPosition);
        }
        Ok(Self { xmin, xmax, running })
    }
}

#[cfg(test)]
mod tests {
    use super::{Commit, Position};

    fn position(text: &str) -> Position {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn positions_are_read_and_written_back() {
        for text in
            ["lsn:0/157D6E8", "lsn:FFFFFFFF/0", "xid:755", "snap:725:727:725", "snap:1:1:", "gtid:0-1-17"]
        {
            assert_eq!(position(text).to_string(), text);
        }
        for text in [
            "",
            "7",
            "0/1",
            "lsn:",
            "lsn:1",
            "lsn:0/123456789",
            "lsn:+1/0",
            "lsn:0/",
            "xid:",
            "xid:-1",
            "xid:x",
            "xid:99999999999999999999",
            "snap:1",
            "snap:1:2",
            "snap:2:1:",
            "snap:1:2:x",
            "snap:1:2:1:1",
            "gtid:",
            "gtid:5",
            "LSN:0/1",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_position_sees_what_was_committed_up_to_it() {
        let commit = Commit::Postgres { lsn: 0x157_D6E8, xid: Some(755) };
        assert!(position("lsn:0/157D6E8").sees(commit));
        assert!(!position("lsn:0/157D6E7").sees(commit));
        assert!(!position("xid:755").sees(commit), "its own transaction says nothing of others");
        assert!(!position("gtid:0-1-17").sees(commit));
    }

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot = position("snap:725:730:725,727");
        for (xid, seen) in
            [(724, true), (725, false), (726, true), (727, false), (729, true), (730, false), (9999, false)]
        {
            assert_eq!(snapshot.sees(Commit::Postgres { lsn: 1, xid: Some(xid) }), seen, "{xid}");
        }
        assert!(!snapshot.sees(Commit::Postgres { lsn: 1, xid: None }));
        let wrapped = position("snap:4294967290:4294967300:");
        assert!(wrapped.sees(Commit::Postgres { lsn: 1, xid: Some(3) }), "the epoch is left off");
        assert!(!wrapped.sees(Commit::Postgres { lsn: 1, xid: Some(4) }));
    }
}
