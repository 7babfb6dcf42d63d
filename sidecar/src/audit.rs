//! The audit: how much of what is served is right, measured by looking again.
//!
//! Some of the changes and fills are drawn by lot. Each one's key is looked at after a delay: an image that was
//! hydrated is compared with the last one that the stream has carried for the row, a value that the application filled
//! with what the application's own endpoint answers now ([`judge`]). What differs from the endpoint may only be a change
//! that is still on its way, so it is looked at again until every change that the endpoint can have seen has been
//! applied.
//!
//! Every pod draws for itself, and anew for each event: all pods together see more keys than one, and none is left
//! out for ever. That fills are drawn too finds what no change tells of: that a change never came.
//!
//! [`Audit`] and [`judge`] are pure: time, dice and observations are passed in. [`Audit`] lives under the engine's lock,
//! so that what is expected of a row and what is stored for it are of one instant. [`run`] and [`check`] are the edge.

use std::{
    cmp::Ordering::{Equal, Less},
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use freshet_crds::{OnChange, binding::AuditSpec, quantity::WHOLE};

use crate::{catalog::Cache, clock::Tick, coherence::RowHash, key::Key, position::RowVersion};

pub mod check;
pub mod judge;
pub mod run;
mod tally;

pub use judge::{Content, Expected};
pub use tally::{AuditStats, Outcome};

use judge::Suspicion;

/// Keys that are watched at once, at most: about 200 bytes each, and the key. What is drawn beyond is skipped.
pub const WATCHED: usize = 1 << 10;

/// Which keys are watched, and what the stream has said of them since.
#[derive(Debug)]
pub struct Audit {
    spec: AuditSpec,
    delay: Duration,
    seed: u64,
    drawn: u64,
    watched: HashMap<u64, Watch, ahash::RandomState>,
    /// What to look at, each in the order of time: every look is as much later than its making as every other.
    first: VecDeque<Appointment>,
    again: VecDeque<Appointment>,
    /// What happened to caches as a whole, by their ids.
    wholes: HashMap<u32, Whole, ahash::RandomState>,
    /// Counts voids of whole caches.
    order: u64,
    tickets: u64,
}

/// A row as the audit is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The definition of its cache.
    pub cache: u32,
    /// Its hash.
    pub hash: RowHash,
    /// Its key.
    pub key: &'a Key,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The definition of the cache.
    pub cache: u32,
    /// The key.
    pub key: Key,
    /// What was wrong the last time.
    pub suspicion: Option<Suspicion>,
    row: u64,
    ticket: u64,
}

#[derive(Debug)]
struct Watch {
    ticket: u64,
    cache: u32,
    key: Key,
    expected: Expected,
    /// How many caches had been void as a whole when that was learned.
    learned: u64,
    /// The newest version of the row that was seen.
    version: Option<RowVersion>,
}

#[derive(Debug)]
struct Appointment {
    at: Tick,
    row: u64,
    ticket: u64,
    suspicion: Option<Suspicion>,
}

#[derive(Debug, Default)]
struct Whole {
    void: u64,
    /// No image of this or an older version is one of the cache's any more.
    floor: Option<RowVersion>,
}

/// What a cache's values are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Hydrated values with the images in the stream.
    pub images: bool,
    /// Filled values with the application's answers.
    pub check: bool,
}

impl Measure {
    /// Of a cache under an audit; `None` if there is nothing to compare its values with.
    #[must_use]
    pub fn of(spec: &AuditSpec, cache: &Cache) -> Option<Self> {
        let images = cache.spec.on_change == OnChange::Hydrate;
        let check = spec.check.is_some();
        (images || check).then_some(Self { images, check })
    }
}

// === impl Audit ===

impl Audit {
    /// An audit of nothing so far. After a difference no look comes before reads have caught up (`read_lag`).
    #[must_use]
    pub fn new(spec: AuditSpec, read_lag: Duration, seed: u64) -> Self {
        let delay = spec.delay.max(read_lag);
        Self {
            spec,
            delay,
            seed,
            drawn: 0,
            watched: HashMap::default(),
            first: VecDeque::new(),
            again: VecDeque::new(),
            wholes: HashMap::default(),
            order: 0,
            tickets: 0,
        }
    }

    /// Whether it is one of these rules.
    #[must_use]
    pub fn is_of(&self, spec: &AuditSpec, read_lag: Duration) -> bool {
        (&self.spec, self.delay) == (spec, spec.delay.max(read_lag))
    }

    /// Forgets what it knows of all other caches.
    pub fn keep(&mut self, caches: &HashSet<u32>) {
        self.wholes.retain(|cache, _| caches.contains(cache));
        self.watched.retain(|_, watch| caches.contains(&watch.cache));
    }

    /// What a cache's values are compared with.
    #[must_use]
    pub fn measure(&self, cache: &Cache) -> Option<Measure> {
        Measure::of(&self.spec, cache)
    }

    /// Notes that a row has changed, or is void for another reason: no image that came before may be served. Whether
    /// there was room for it, if it was drawn.
    pub fn changed(&mut self, row: Row<'_>, now: Tick) -> bool {
        let room = self.draw(row, now);
        let order = self.order;
        if let Some(watch) = self.watch(row) {
            (watch.expected, watch.learned) = (Expected::Nothing, order);
        }
        room
    }

    /// Notes that the application has filled a row. Whether there was room for it, if it was drawn.
    pub fn filled(&mut self, row: Row<'_>, now: Tick) -> bool {
        self.draw(row, now)
    }

    /// Notes the version of a change without an image, after [`Audit::changed`].
    pub fn noted(&mut self, row: Row<'_>, version: RowVersion) {
        if let Some(watch) = self.watch(row) {
            watch.is_newest(version);
        }
    }

    /// Notes a row's image, after [`Audit::changed`], and makes its digest if anybody wants to know.
    pub fn image(&mut self, row: Row<'_>, version: RowVersion, digest: impl FnOnce() -> u128) {
        let floor = self.wholes.get(&row.cache).and_then(|whole| whole.floor);
        let order = self.order;
        let Some(watch) = self.watch(row) else { return };
        let above = floor.is_none_or(|floor| !matches!(version.partial_cmp(&floor), Some(Less | Equal)));
        if watch.is_newest(version) && above {
            (watch.expected, watch.learned) = (Expected::Image(digest()), order);
        }
    }

    /// Notes that a cache is void as a whole, at this place in the log if that is known.
    pub fn voided(&mut self, cache: u32, version: Option<RowVersion>) {
        self.order += 1;
        let whole = self.wholes.entry(cache).or_default();
        whole.void = self.order;
        if let Some(version) = version
            && whole.floor.is_none_or(|floor| version.partial_cmp(&floor) != Some(Less))
        {
            whole.floor = Some(version);
        }
    }

    /// The next thing to look at. It stays watched until it is concluded or put off.
    pub fn due(&mut self, now: Tick) -> Option<Look> {
        loop {
            let queue = [&mut self.again, &mut self.first]
                .into_iter()
                .find(|queue| queue.front().is_some_and(|appointment| appointment.at <= now))?;
            let Appointment { row, ticket, suspicion, .. } = queue.pop_front()?;
            if let Some(watch) = self.watched.get(&row).filter(|watch| watch.ticket == ticket) {
                return Some(Look { cache: watch.cache, key: watch.key.clone(), suspicion, row, ticket });
            }
        }
    }

    /// What the stream says that a key's hydrated value has to be.
    #[must_use]
    pub fn expected(&self, look: &Look) -> Expected {
        let watch = self.watched.get(&look.row).filter(|watch| watch.ticket == look.ticket);
        let Some(watch) = watch else { return Expected::Unknown };
        let void = self.wholes.get(&watch.cache).map_or(0, |whole| whole.void);
        if watch.learned < void { Expected::Nothing } else { watch.expected }
    }

    /// Ends a look.
    pub fn conclude(&mut self, look: &Look) {
        if self.watched.get(&look.row).is_some_and(|watch| watch.ticket == look.ticket) {
            self.watched.remove(&look.row);
        }
    }

    /// Puts a look off by the delay.
    pub fn put_off(&mut self, look: &Look, suspicion: Option<Suspicion>, now: Tick) {
        let Look { row, ticket, .. } = *look;
        self.again.push_back(Appointment { at: now + self.delay, row, ticket, suspicion });
    }

    /// Draws a lot for an event, and begins to watch its key if that wins.
    fn draw(&mut self, row: Row<'_>, now: Tick) -> bool {
        let known = self.watched.get(&row.hash.0).is_some_and(|watch| watch.cache == row.cache);
        self.drawn += 1;
        let lot = xxhash_rust::xxh3::xxh3_64_with_seed(&self.drawn.to_le_bytes(), self.seed);
        if known || lot % u64::from(WHOLE) >= u64::from(self.spec.share) {
            return true;
        }
        // Appointments of what is watched no more count as well: they are memory, too.
        if self.first.len() + self.again.len() >= WATCHED || self.watched.len() >= WATCHED {
            return false;
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let watch = Watch {
            ticket,
            cache: row.cache,
            key: row.key.clone(),
            expected: Expected::Unknown,
            learned: self.order,
            version: None,
        };
        self.watched.insert(row.hash.0, watch);
        self.first.push_back(Appointment { at: now + self.delay, row: row.hash.0, ticket, suspicion: None });
        true
    }

    fn watch(&mut self, row: Row<'_>) -> Option<&mut Watch> {
        self.watched.get_mut(&row.hash.0).filter(|watch| watch.cache == row.cache)
    }
}

// === impl Watch ===

impl Watch {
    /// Remembers a version; whether none that is known is newer. Versions without an order come as they are meant.
    fn is_newest(&mut self, version: RowVersion) -> bool {
        if self.version.is_some_and(|known| version.partial_cmp(&known) == Some(Less)) {
            return false;
        }
        self.version = Some(version);
        true
    }
}

#[cfg(test)]
mod tests;
