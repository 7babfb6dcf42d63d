//! The commits of a database's log in the order in which they were applied, and the positions of reads: what proves
//! that a read has seen a change, and that it isn't older than another.

use std::{collections::VecDeque, time::Duration};

use super::{RowHash, Seq, index, rows};
use crate::{
    bounds::{Memory, room},
    clock::Tick,
    planted::{Bug, planted},
    position::{Commit, Position},
};

/// Commits that are remembered. Within `readLag` of an invalidation there are seldom more, and then nothing is proven.
const KEPT: usize = 1024;

/// The newest commits of one source.
#[derive(Debug, Default)]
pub struct Commits {
    kept: VecDeque<Applied>,
    /// When the newest commit was applied that isn't kept.
    forgotten: Option<Tick>,
    /// Since when all commits have been noted.
    begun: Option<Tick>,
    /// The newest places of the log at which rows were read for fills; allocated with the first. Rows that
    /// share a slot can refuse each other's fills until the slower replica has caught up.
    reads: Box<[u64]>,
}

#[derive(Clone, Copy, Debug)]
struct Applied {
    /// Everything of this transaction, and of those before it, was applied up to here.
    through: Seq,
    at: Tick,
    commit: Commit,
    /// Whether it was at the log's end, and whole: who has seen it has seen all before it.
    at_end: bool,
}

// === impl Commits ===

impl Commits {
    /// Notes that a commit's transaction, and every one before it, has been applied, and nothing of a later one; `at_end`
    /// of the log unless it is read once more.
    pub fn applied(&mut self, commit: Commit, at_end: bool, through: Seq, now: Tick) {
        if self.kept.len() == room(Memory::Commits, KEPT) {
            self.forgotten = self.forgotten.max(self.kept.pop_front().map(|oldest| oldest.at));
        }
        self.kept.push_back(Applied { through, at: now, commit, at_end });
    }

    /// Notes that commits up to now aren't all kept.
    pub fn forget(&mut self, now: Tick) {
        self.forgotten = Some(now);
    }

    /// Notes that there may have been commits before, of which nothing is known.
    pub fn begin(&mut self, now: Tick) {
        self.begun = Some(now);
    }

    /// What is left of this where the log may be another: nothing but since when nothing is forgotten. What somebody has told
    /// of is of no log, and a read that has seen all commits after an epoch's begin needn't have seen that.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { forgotten: self.forgotten, ..Self::default() }
    }

    /// Notes that a row was read at a position for a fill; `false` if it was read at a later one before: fills whose
    /// positions are known never go back.
    pub fn filled(&mut self, row: RowHash, position: &Position) -> bool {
        let Some(place) = position.place() else { return true };
        if self.reads.is_empty() {
            self.reads = vec![0; rows()].into();
        }
        let newest = &mut self.reads[index(row)];
        let newer = place >= *newest;
        *newest = place.max(*newest);
        newer
    }

    /// Whether a read at `position` has seen every change that was applied up to `seq` and within `lag` before
    /// `leased`; what is older is seen by any read.
    ///
    /// The commit of a change is known once its transaction's end was applied; before, nothing is proven.
    #[must_use]
    pub fn proves(&self, position: &Position, seq: Seq, leased: Tick, lag: Duration) -> bool {
        let recent = |at: Tick| at + lag > leased;
        let Some(covering) = self.kept.iter().find(|c| c.at_end && c.through >= seq).map(|c| c.through)
        else {
            return false;
        };
        // What has seen the newest commits needn't have seen one before them that nobody has noted.
        let forgot = self.forgotten.is_some_and(recent) && !planted(Bug::ForgottenIgnored);
        if forgot || !position.is_prefix() && self.begun.is_some_and(recent) {
            return false;
        }
        self.kept
            .iter()
            .filter(|c| c.through <= covering && (c.through >= seq || recent(c.at)))
            .all(|c| position.sees(c.commit))
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [(Memory, usize); 2] {
        [(Memory::Commits, self.kept.len()), (Memory::Rows, self.reads.len())]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Commits, KEPT};
    use crate::{
        clock::Tick,
        coherence::{RowHash, Seq},
        position::{Commit, Position},
    };

    const LAG: Duration = Duration::from_secs(1);

    fn commit(lsn: u64, xid: u32) -> Commit {
        Commit::Postgres { lsn, xid: Some(xid) }
    }

    #[test]
    fn a_position_is_compared_with_the_commit_that_covers_the_change() {
        let mut commits = Commits::default();
        let at = |lsn| Position::Lsn(lsn);
        assert!(!commits.proves(&at(u64::MAX), Seq(1), Tick(0), LAG), "no commit is known yet");
        commits.applied(commit(100, 1), true, Seq(5), Tick(10));
        commits.applied(commit(200, 2), true, Seq(9), Tick(20));
        assert!(commits.proves(&at(100), Seq(5), Tick(30), LAG));
        assert!(commits.proves(&at(100), Seq(3), Tick(30), LAG));
        assert!(!commits.proves(&at(99), Seq(3), Tick(30), LAG));
        assert!(!commits.proves(&at(199), Seq(6), Tick(30), LAG));
        assert!(commits.proves(&at(200), Seq(9), Tick(30), LAG));
        assert!(!commits.proves(&at(u64::MAX), Seq(10), Tick(30), LAG), "its end hasn't come");
        assert!(!commits.anew().proves(&at(200), Seq(9), Tick(30), LAG));
    }

    #[test]
    fn what_is_read_once_more_has_to_be_seen_and_covers_nothing() {
        let mut commits = Commits::default();
        commits.applied(commit(100, 1), false, Seq(5), Tick(2000));
        assert!(!commits.proves(&Position::Lsn(100), Seq(5), Tick(2100), LAG));
        commits.applied(commit(200, 2), true, Seq(9), Tick(2000));
        assert!(commits.proves(&Position::Lsn(200), Seq(5), Tick(2100), LAG));
        let unseen = "snap:1:3:1".parse::<Position>().unwrap();
        assert!(!commits.proves(&unseen, Seq(5), Tick(2100), LAG), "it hasn't seen the first");
    }

    #[test]
    fn reads_at_known_positions_never_go_back() {
        let (mut commits, row, other) = (Commits::default(), RowHash(7), RowHash(8));
        assert!(commits.filled(row, &Position::Lsn(100)));
        assert!(!commits.filled(row, &Position::Lsn(99)), "a replica that is behind the one before");
        assert!(commits.filled(row, &Position::Lsn(100)));
        assert!(commits.filled(other, &Position::Lsn(99)));
        assert!(commits.filled(row, &Position::Xid(7)), "that is no place in the log");
        let (mut commits, gtid) = (Commits::default(), |text: &str| text.parse::<Position>().unwrap());
        assert!(commits.filled(row, &gtid("gtid:0-1-9")));
        assert!(!commits.filled(row, &gtid("gtid:0-2-8")), "a replica that is behind the one before");
        assert!(commits.filled(row, &gtid("gtid:0-1-8,1-1-3")), "of two domains nobody can tell");
    }

    #[test]
    fn commits_that_were_applied_at_once_count_together() {
        let mut commits = Commits::default();
        commits.applied(commit(100, 1), true, Seq(9), Tick(20));
        commits.applied(commit(200, 2), true, Seq(9), Tick(20));
        assert!(!commits.proves(&Position::Lsn(100), Seq(4), Tick(30), LAG), "it may be the second's");
        assert!(commits.proves(&Position::Lsn(200), Seq(4), Tick(30), LAG));
    }

    #[test]
    fn a_snapshot_must_see_every_recent_commit_since_rows_share_slots() {
        let mut commits = Commits::default();
        commits.applied(commit(100, 7), true, Seq(5), Tick(2000));
        commits.applied(commit(200, 8), true, Seq(9), Tick(2000));
        let snapshot = |text: &str| text.parse::<Position>().unwrap();
        assert!(commits.proves(&snapshot("snap:9:9:"), Seq(9), Tick(2100), LAG));
        assert!(!commits.proves(&snapshot("snap:7:9:7"), Seq(9), Tick(2100), LAG));
        assert!(commits.proves(&snapshot("snap:7:9:7"), Seq(9), Tick(4000), LAG), "that one is old");
        assert!(!commits.proves(&snapshot("snap:7:9:8"), Seq(9), Tick(4000), LAG), "the change's own");
    }

    #[test]
    fn a_snapshot_proves_nothing_against_commits_that_came_before_the_first_one_noted() {
        let mut commits = Commits::default();
        commits.begin(Tick(2000));
        commits.applied(commit(200, 8), true, Seq(5), Tick(2010));
        let snapshot = "snap:7:9:7".parse::<Position>().unwrap();
        assert!(
            !commits.proves(&snapshot, Seq(5), Tick(2999), LAG),
            "it hasn't seen 7, which may just have been"
        );
        assert!(commits.proves(&snapshot, Seq(5), Tick(3000), LAG));
        assert!(commits.proves(&Position::Lsn(200), Seq(5), Tick(2999), LAG), "it has seen all before 200");
    }

    #[test]
    fn what_was_told_of_is_proven_by_nothing_in_the_next_epoch_either() {
        let mut commits = Commits::default();
        commits.forget(Tick(2000));
        let mut next = commits.anew();
        next.applied(commit(100, 1), true, Seq(9), Tick(2100));
        assert!(!next.proves(&Position::Lsn(100), Seq(9), Tick(2500), LAG));
        assert!(next.proves(&Position::Lsn(100), Seq(9), Tick(3000), LAG));
    }

    #[test]
    fn nothing_is_proven_against_what_was_forgotten_too_soon() {
        let mut commits = Commits::default();
        for n in 0..=KEPT as u64 {
            commits.applied(commit(n, 1), true, Seq(n), Tick(2000));
        }
        let newest = Seq(KEPT as u64);
        assert!(!commits.proves(&Position::Lsn(u64::MAX), newest, Tick(2500), LAG));
        assert!(commits.proves(&Position::Lsn(u64::MAX), newest, Tick(3001), LAG));
    }
}
