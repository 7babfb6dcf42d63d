//! What Redis never got, and when somebody must have noticed.

use super::{
    checker::Judge,
    database::{Database, Record},
};

impl Judge {
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
