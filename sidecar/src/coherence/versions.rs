//! What is known of the versions of a hydrating cache as a whole.

use crate::{
    planted::{Bug, planted},
    position::RowVersion,
};

/// Servers whose versions are ranked, at most. A database's are its primary and whatever may take over.
const SERVERS: usize = 8;

/// The versions of each server that wrote the log, that of which came last at the end: versions of different servers
/// have no order. Of a server that isn't known any more the first image is refused, as of a new one.
#[derive(Debug, Default)]
pub struct Versions {
    of: Vec<OfServer>,
    /// When all of it was void last at a place that nobody knows, by the wall clock.
    unplaced_ms: u64,
    /// Whether what was known of it before its cache was defined so has been taken over.
    has_inherited: bool,
}

#[derive(Debug)]
struct OfServer {
    /// Nothing up to this is hydrated: the cache was void as a whole at this place in the log.
    floor: Option<RowVersion>,
    /// The same, by a change of all of it, which nothing takes back.
    changed: Option<RowVersion>,
    /// The newest seen of any row.
    newest: RowVersion,
}

impl Versions {
    /// Learns a place in the log.
    pub fn see(&mut self, version: RowVersion) {
        let at = self.of.iter().position(|known| version.partial_cmp(&known.newest).is_some());
        if at.is_none() && self.of.len() == SERVERS {
            self.of.remove(0);
        }
        let newest = match at.map(|at| self.of.remove(at)) {
            Some(known) if known.newest >= version => known,
            Some(known) => OfServer { newest: version, ..known },
            None => OfServer { floor: None, changed: None, newest: version },
        };
        self.of.push(newest);
    }

    /// The newest place of each server.
    pub fn newest(&self) -> impl Iterator<Item = RowVersion> {
        self.of.iter().map(|known| known.newest)
    }

    /// Whether an image was written after everything that voided its cache. Learns its place.
    pub(super) fn admits(&mut self, version: RowVersion) -> bool {
        self.see(version);
        let other_floor = self.of.iter().any(|known| known.floor.is_some());
        let Some(known) = self.of.last_mut() else { return false };
        match known.floor {
            Some(floor) => version > floor,
            // It can't be ranked with what voided the cache: it is refused, and the next are compared with it.
            None if other_floor => {
                known.floor = Some(known.newest);
                false
            }
            None => true,
        }
    }

    /// Remembers that all of it was void now, at a place that nobody knows.
    pub(super) fn outrank(&mut self, wall_ms: u64) {
        self.unplaced_ms = self.unplaced_ms.max(wall_ms);
    }

    /// Remembers the same of before its cache was defined so, once.
    pub(super) fn inherit(&mut self, wall_ms: u64) {
        if !std::mem::replace(&mut self.has_inherited, true) {
            self.outrank(wall_ms);
        }
    }

    /// When that was last; zero: never.
    pub(super) fn unplaced_ms(&self) -> u64 {
        self.unplaced_ms
    }

    /// Whether the newest change of all of the cache was this one.
    pub(super) fn has_changed_at(&self, version: RowVersion) -> bool {
        self.of.iter().any(|known| known.changed == Some(version))
    }

    /// Forgets all but what changes have made void: what is read next tells it again.
    pub(super) fn forget(&mut self) {
        let kept = |known: &OfServer| {
            let floor = known.changed?;
            Some(OfServer { floor: Some(floor), changed: Some(floor), newest: floor })
        };
        self.of = self.of.iter().filter_map(kept).collect();
    }

    /// Remembers that the cache was void as a whole at this place in the log; without one, at the newest places that
    /// are known.
    pub(super) fn raise_floor(&mut self, version: Option<RowVersion>) {
        if planted(Bug::FloorIgnored) {
            return;
        }
        let Some(version) = version else {
            return self.of.iter_mut().for_each(|known| known.floor = Some(known.newest));
        };
        self.see(version);
        if let Some(known) = self.of.last_mut() {
            let later = |place: Option<RowVersion>| place.filter(|place| *place >= version).or(Some(version));
            (known.floor, known.changed) = (later(known.floor), later(known.changed));
        }
    }
}
