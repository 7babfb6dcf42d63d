//! What never came or is gone, and when somebody must have noticed.

use super::{
    account::{Fate, Judge},
    database::{Database, Record},
    world::World,
};

impl Fate {
    /// Whether Redis ever had it.
    pub(super) fn was_in_redis(&self) -> bool {
        !self.dropped || self.added.is_some()
    }

    /// Whether no event of it was applied, and nobody needs to know that one was lost.
    pub(super) fn is_unheard(&self, world: &World) -> bool {
        self.heard == 0 && (self.early || self.lost.is_some_and(|lost| world.may_be_unnoticed(lost)))
    }

    /// Whether no event of it was ever applied: what is delivered is that something was lost.
    pub(super) fn is_known_only_to_be_lost(&self) -> bool {
        self.dropped && self.heard == 0
    }
}

impl Judge {
    /// A snapshot tells of a change instead of its event, which is no news should it be sent after all.
    pub(crate) fn snapshot(&mut self, event: usize, adds: u64, now: u64, running: u64) {
        self.sent(event, Some(adds), now, running);
        let fate = &mut self.fates[event];
        (fate.again, fate.by_snapshot) = (true, true);
    }

    /// Entries are gone from Redis; these changes are still there and unread.
    pub(crate) fn lose(&mut self, unread: &[usize], sent: usize, running: u64) {
        for (_, fate) in self.gone(unread, sent).filter(|(_, fate)| fate.was_in_redis()) {
            fate.lost = Some(running);
        }
    }

    /// What was taken is of a history that went on otherwise meanwhile: what was added there, with ids that are behind it
    /// now, is never read.
    pub(crate) fn hide(&mut self, unread: &[usize], sent: usize, running: u64) {
        let hidden = |fate: &&mut Fate| fate.added.is_some() && fate.lost.is_none();
        for fate in self.gone(unread, sent).map(|(_, fate)| fate).filter(hidden) {
            fate.lost = Some(running);
        }
    }

    /// The changes that were sent, weren't applied, and never will be.
    pub(super) fn gone(&mut self, unread: &[usize], sent: usize) -> impl Iterator<Item = (usize, &mut Fate)> {
        while self.fates.get(self.low).is_some_and(|fate| fate.delivered.is_some()) {
            self.low += 1;
        }
        let open =
            self.fates.iter_mut().enumerate().skip(self.low).filter(|(_, fate)| fate.delivered.is_none());
        open.filter(move |(event, fate)| {
            (fate.record < sent || fate.added.is_some()) && !unread.contains(event)
        })
    }

    /// A record of the log was lost on its way to Redis.
    pub(crate) fn drop(&mut self, record: usize, db: &Database) {
        if let Record::Change(event) = db.log[record] {
            let fate = &mut self.fates[event];
            if fate.added.is_none() && fate.delivered.is_none() {
                fate.dropped = true;
                self.missing.push(event);
            }
        }
    }

    /// Whether something was lost on its way to Redis and not noticed so far.
    pub(crate) fn misses_losses(&mut self) -> bool {
        let fates = &self.fates;
        self.missing.retain(|event| fates[*event].dropped && fates[*event].delivered.is_none());
        !self.missing.is_empty()
    }

    /// The books are settled: whatever was lost before a heartbeat that was heard is known to be lost. Whether there was
    /// anything.
    pub(crate) fn settle(&mut self, now: u64) -> bool {
        if !self.misses_losses() {
            return false;
        }
        let (fates, moment, beat) = (&mut self.fates, self.moment, self.beat);
        self.missing.retain(|event| {
            let fate = &mut fates[*event];
            let noticed = beat.is_some_and(|beat| fate.record < beat);
            if noticed {
                fate.delivered = Some((now, moment));
            }
            !noticed
        });
        true
    }
}
