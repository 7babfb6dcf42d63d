//! How far a database's log has been applied, in the database's own terms: what a read with a minimum is held against.

use std::collections::BTreeMap;

use crate::{
    bounds::{Memory, room},
    position::{Commit, Gtid, GtidSet, Position},
};

/// PostgreSQL's transactions whose end is remembered, at most: a later one takes the place of the one before.
const ENDED: u32 = 1 << 13;

/// Everything committed up to here has been applied.
#[derive(Debug, Default)]
pub struct Watermark {
    lsn: Option<u64>,
    /// By the number's low bits; allocated with the first.
    ended: Box<[Option<u32>]>,
    /// The numbers of the first and the last transaction that ended.
    ends: Option<(u32, u32)>,
    gtids: GtidSet,
    /// The last transaction of each of MySQL's servers in `gtids`. All before it in the log have been applied wherever
    /// it has, while of intervals a sidecar that began later lacks the first.
    newest: BTreeMap<u128, u64>,
}

/// Whether a position has been reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Everything that it stands for has been applied.
    Yes,
    /// Something hasn't.
    NotYet,
    /// Nothing tells: the source doesn't say so much, or not yet, or it is too long ago.
    Unknown,
}

// === impl Watermark ===

impl Watermark {
    /// Notes that a commit's transaction, and every one before it, has been applied.
    pub fn commit(&mut self, commit: Commit) {
        match commit {
            Commit::Postgres { lsn, xid } => {
                self.pass(lsn);
                if let Some(xid) = xid {
                    if self.ended.is_empty() {
                        self.ended = vec![None; xids() as usize].into();
                    }
                    self.ended[(xid % xids()) as usize] = Some(xid);
                    self.ends = Some((self.ends.map_or(xid, |(first, _)| first), xid));
                }
            }
            Commit::Gtid(gtid) => {
                let replayed = self.gtids.contains(gtid);
                self.gtids.insert(gtid);
                if let Gtid::MySql { server, number } = gtid
                    && !replayed
                    && self.gtids.contains(gtid)
                {
                    self.newest.insert(server, number);
                }
            }
        }
    }

    /// Notes that everything committed up to this place of PostgreSQL's log has been applied.
    pub fn pass(&mut self, lsn: u64) {
        self.lsn = self.lsn.max(Some(lsn));
    }

    /// Compares.
    #[must_use]
    pub fn reached(&self, position: &Position) -> Reached {
        let known = |reached| if reached { Reached::Yes } else { Reached::NotYet };
        match position {
            Position::Lsn(wanted) => self.lsn.map_or(Reached::Unknown, |lsn| known(lsn >= *wanted)),
            Position::Xid(wanted) => match self.ends {
                Some(_) if self.ended[(*wanted % xids()) as usize] == Some(*wanted) => Reached::Yes,
                // Numbers begin anew after the last. One from before the first end may have ended before it, too.
                Some((first, last))
                    if last.abs_diff(*wanted) < xids() && wanted.wrapping_sub(first) < 1 << 31 =>
                {
                    Reached::NotYet
                }
                _ => Reached::Unknown,
            },
            // What a snapshot sees isn't a stretch of the log.
            Position::Snapshot(_) => Reached::Unknown,
            Position::Gtids(_) if self.gtids.is_empty() => Reached::Unknown,
            Position::Gtids(wanted) => known(self.gtids.covers(wanted)),
        }
    }

    /// The mark as a position that a reader can ask for elsewhere.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self.lsn {
            Some(lsn) => Some(Position::Lsn(lsn)),
            None if self.gtids.is_empty() => None,
            None => Some(Position::Gtids(self.gtids.with_newest(&self.newest))),
        }
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [(Memory, usize); 1] {
        [(Memory::Xids, self.ended.len())]
    }
}

/// How many of PostgreSQL's transactions are remembered.
fn xids() -> u32 {
    u32::try_from(room(Memory::Xids, ENDED as usize)).unwrap_or(ENDED)
}

#[cfg(test)]
mod tests {
    use super::{ENDED, Reached, Watermark};
    use crate::position::{Commit, Position};

    fn reached(mark: &Watermark, text: &str) -> Reached {
        mark.reached(&text.parse().unwrap())
    }

    #[test]
    fn a_log_position_is_reached_with_the_commit_and_a_transaction_with_its_own_end() {
        let mut mark = Watermark::default();
        assert_eq!(reached(&mark, "lsn:0/1"), Reached::Unknown);
        assert_eq!(reached(&mark, "xid:755"), Reached::Unknown);
        mark.commit(Commit::Postgres { lsn: 0x10, xid: Some(755) });
        assert_eq!(reached(&mark, "lsn:0/10"), Reached::Yes);
        assert_eq!(reached(&mark, "lsn:0/11"), Reached::NotYet);
        assert_eq!(reached(&mark, "xid:755"), Reached::Yes);
        assert_eq!(reached(&mark, "xid:754"), Reached::Unknown, "it may have ended before anything was read");
        mark.commit(Commit::Postgres { lsn: 0x10, xid: Some(757) });
        assert_eq!(
            reached(&mark, "xid:756"),
            Reached::NotYet,
            "transactions don't end in the order of numbers"
        );
        assert_eq!(reached(&mark, "snap:1:1:"), Reached::Unknown);
        mark.pass(0x8);
        assert_eq!(mark.position(), Some(Position::Lsn(0x10)), "it never goes back");
        let next = 755 + ENDED;
        mark.commit(Commit::Postgres { lsn: 0x20, xid: Some(next) });
        assert_eq!(reached(&mark, "xid:755"), Reached::Unknown, "forgotten, never mistaken");
    }

    #[test]
    fn gtids_are_reached_one_by_one() {
        let mut mark = Watermark::default();
        assert_eq!(reached(&mark, "gtid:0-1-17"), Reached::Unknown);
        mark.commit(Commit::Gtid("0-1-17".parse().unwrap()));
        assert_eq!(reached(&mark, "gtid:0-1-17"), Reached::Yes);
        assert_eq!(reached(&mark, "gtid:0-1-17,1-1-1"), Reached::NotYet);
        assert_eq!(mark.position().unwrap().to_string(), "gtid:0-1-17");
    }

    /// Of MySQL's servers a sidecar that began later knows no more than what came since.
    #[test]
    fn a_position_is_reached_wherever_its_transactions_are_known() {
        const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let commit = |mark: &mut Watermark, number: u64| {
            mark.commit(Commit::Gtid(format!("{SERVER}:{number}").parse().unwrap()));
        };
        let (mut older, mut younger) = (Watermark::default(), Watermark::default());
        for number in [1, 2, 3] {
            commit(&mut older, number);
        }
        for number in [4, 6] {
            commit(&mut older, number);
            commit(&mut younger, number);
        }
        assert_eq!(older.position().unwrap().to_string(), format!("gtid:{SERVER}:6"));
        assert_eq!(younger.reached(&older.position().unwrap()), Reached::Yes);
        // Numbers of one server don't always ascend, and replays go back.
        commit(&mut older, 5);
        commit(&mut older, 4);
        assert_eq!(older.position().unwrap().to_string(), format!("gtid:{SERVER}:5"));
        assert_eq!(younger.reached(&older.position().unwrap()), Reached::NotYet);
        assert_eq!(reached(&older, &format!("gtid:{SERVER}:1-6")), Reached::Yes);
    }
}
