//! How far the database's log has been applied, and when that counts.

use super::{Seen, Tail};
use crate::{
    change::Change,
    clock::Tick,
    planted::{Bug, planted},
    position::Commit,
    store::Shelf,
};

impl<S: Shelf> Tail<S> {
    /// Notes how far a change shows the database's log to have been applied.
    pub(super) fn follow_log(&mut self, change: &Change<'_>, now: Tick) {
        match Seen::of(change) {
            Some(Seen::Whole(commit)) if planted(Bug::CommitAtOnce) => {
                self.engine.commit(&self.feed, commit, true, now);
            }
            Some(seen) => self.unsettled.push(seen),
            None => {}
        }
        if planted(Bug::PositionOfRow)
            && let Some(lsn) = change.mark().and_then(|mark| mark.lsn)
        {
            self.engine.commit(&self.feed, Commit::Postgres { lsn, xid: None }, true, now);
        }
        if planted(Bug::MarkOfOpen)
            && let Some(gtid) = change.mark().and_then(|mark| mark.gtid)
        {
            self.engine.commit(&self.feed, Commit::Gtid(gtid), true, now);
        }
        // Transactions come whole and in the order of their commits: before an event of one, every other that was
        // committed up to the event's own place.
        self.passed = self.passed.max(change.mark().and_then(|mark| mark.lsn));
    }

    /// Takes everything for applied that was written before what was read last.
    pub(super) fn settle(&mut self, ordered: bool, now: Tick) {
        let settled = self.accounts.settle();
        if let Some(why) = settled.lost {
            self.announce(why, false, now);
        } else if settled.began && !planted(Bug::BeginningIgnored) {
            self.engine.renew(&self.feed, now);
        }
        // Of several streams, what has been applied of a transaction that is under way would count as applied through
        // the ones before it.
        if !settled.doubt && (ordered || !settled.open) {
            // What was read at once may be of a transaction that has only begun, or of one that names none.
            self.end.take(&mut self.end_since);
            let (seen, all) = self.unsettled.take();
            // First: whoever sees a position, or a heartbeat, finds what it stands for.
            self.engine.settle_rosters(&self.feed);
            if !all {
                self.feed.with_commits(|commits| commits.forget(now));
            }
            for seen in seen {
                match seen {
                    Seen::Whole(commit) => {
                        self.engine.commit(&self.feed, commit, self.end.is_at(commit), now);
                    }
                    Seen::Statement(gtid) => self.engine.statement(&self.feed, gtid, now),
                }
            }
        }
        self.feed.confirm_heartbeats();
        if let Some(lsn) = self.passed.take_if(|_| !settled.doubt) {
            self.feed.pass(lsn);
        }
    }
}
