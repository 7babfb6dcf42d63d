//! The fence: what decides whether a value that was read before some change may still be stored or served.
//!
//! Every applied change and every fill takes the next [`Seq`]. A lease is the sequence at which a read began. A fill is
//! refused when anything it depends on was invalidated after its lease: its row, by a fixed array of hashed
//! slots that remembers the last invalidation whether the row is cached or not, and its cache as a whole, by
//! the cache's [`Fence`]. Rows that share a slot can only refuse each other's fills; the memory is bounded
//! and can't overflow into a wrong yes.
//!
//! Nothing here does I/O or reads a clock.

use std::{
    cmp::Ordering::{Equal, Greater, Less},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::Ordering::{Acquire, Release},
    },
    time::Duration,
};

use crate::{
    bounds::{Memory, room},
    clock::{Tick, millis},
    planted::{Bug, planted},
    position::{Position, RowVersion},
    publication::Stamp,
    sync::AtomicU64,
};

mod commits;
mod versions;

pub use commits::Commits;
pub use versions::Versions;

/// Rows whose invalidations are told apart, at most; a power of two.
pub const SLOTS: usize = 1 << 16;

/// What each of them takes, in bytes.
pub const SLOT_BYTES: usize = size_of::<Slot>();

/// The number of an applied change or a fill, counted from the sidecar's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// The number of a lease, counted from the sidecar's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseNumber(pub u64);

/// A row of a cache, hashed. Equal rows have equal hashes; others seldom do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHash(pub u64);

/// The last invalidation of a whole cache. Written under the history's lock, read by every hit without one.
#[derive(Debug, Default)]
pub struct Fence {
    seq: AtomicU64,
    at: AtomicU64,
    versions: Mutex<Versions>,
}

/// The invalidations of all rows and what is known of their images.
#[derive(Debug)]
pub struct History {
    seq: Seq,
    /// The last lease that was given.
    leases: LeaseNumber,
    slots: Box<[Slot]>,
    /// Allocated when the first cache hydrates.
    images: Box<[Image]>,
    /// The newest stamp of any publication of this slot. Allocated when the first cache is published.
    stamps: Box<[Option<Stamp>]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The last invalidation, and when it was.
    seq: Seq,
    at: Tick,
    /// The last lease that was given before the last fill, and the fill's own.
    filled: LeaseNumber,
    filled_by: LeaseNumber,
}

#[derive(Clone, Copy, Debug, Default)]
struct Image {
    /// The newest version seen of any row of this slot.
    version: Option<RowVersion>,
    /// When something was last known of it whose place in the log wasn't, by the wall clock: a fill, or a published change.
    unplaced_ms: u64,
}

/// Why an image didn't become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Defaults may stand where the row has NULL.
    NullsReplaced,
    /// A large value is missing, because it didn't change.
    NotWhole,
    /// It has no place in the database's log, or no time.
    NoPosition,
    /// Something newer is known of the row or its table, or may be.
    NotNewer,
    /// It was committed before a fill or a published change whose position nobody knows, as far as clocks tell.
    Outranked,
    /// Its key in the cache may be other rows', too.
    SharedKey,
    /// It hasn't a column that the cache keeps.
    ColumnMissing,
    /// It was published to begin in the future, as far as clocks tell.
    Ahead,
    /// It is larger than `maxValue`, or can't be decoded to no more than that.
    TooLarge,
}

/// Why a fill was not taken: something it depends on was invalidated after its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

/// When something was void last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Void {
    /// The sequence of what voided it; zero: it never was.
    pub seq: Seq,
    /// When that was.
    pub at: Tick,
}

/// A read of the database whose value is to be stored.
#[derive(Debug)]
pub struct Read<'a> {
    /// What had been applied when its lease was given.
    pub lease: Seq,
    /// When its lease was given.
    pub leased: Tick,
    /// How far reads may lag behind a change's delivery.
    pub lag: Duration,
    /// When the value came, by the wall clock.
    pub wall_ms: u64,
    /// The position it was read at, if the reader says so.
    pub position: Option<&'a Position>,
    /// The commits to hold that against.
    pub commits: &'a mut Commits,
    /// When anything was void last that the value depends on beside its row and its cache.
    pub others: Void,
}

/// How a fill is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The end of the hold-off, if the read may have missed a change that was delivered before it.
    pub hold_off: Option<Tick>,
}

// === impl Fence ===

impl Fence {
    /// Whether a value that was read at `seq` is still one of this cache.
    #[must_use]
    pub fn holds(&self, seq: Seq) -> bool {
        seq.0 >= self.seq.load(Acquire)
    }

    /// Whether any fill is held off now, because the whole cache was void within `lag`.
    #[must_use]
    pub fn holds_off(&self, now: Tick, lag: Duration) -> bool {
        self.last().ends(lag).is_some_and(|end| end > now)
    }

    /// When it was raised last.
    #[must_use]
    pub fn last(&self) -> Void {
        Void { seq: Seq(self.seq.load(Acquire)), at: Tick(self.at.load(Acquire)) }
    }

    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Void ===

impl Void {
    /// The later of both, in either regard.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self { seq: self.seq.max(other.seq), at: self.at.max(other.at) }
    }

    /// When reads that lag by so much have seen what voided it; `None` if nothing did.
    fn ends(self, lag: Duration) -> Option<Tick> {
        (self.seq > Seq(0)).then(|| self.at + lag)
    }
}

// === impl Refusal ===

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NullsReplaced,
        Self::NotWhole,
        Self::NoPosition,
        Self::NotNewer,
        Self::Outranked,
        Self::SharedKey,
        Self::ColumnMissing,
        Self::Ahead,
        Self::TooLarge,
    ];

    /// Its name in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NullsReplaced => "nulls-replaced",
            Self::NotWhole => "not-whole",
            Self::NoPosition => "no-position",
            Self::NotNewer => "not-newer",
            Self::Outranked => "outranked",
            Self::SharedKey => "shared-key",
            Self::ColumnMissing => "column-missing",
            Self::Ahead => "ahead",
            Self::TooLarge => "too-large",
        }
    }

    /// What to do about it, where something can be done.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::NullsReplaced => Some(
                "set debezium.format.value.replace.null.with.default=false: defaults stand where rows have NULL",
            ),
            Self::NotWhole => {
                Some("unchanged large columns aren't in the events: REPLICA IDENTITY FULL sends them")
            }
            Self::NoPosition => Some("events without a position and a time can't be ordered"),
            Self::SharedKey => Some(
                "hydrate caches whose key is the event's whole key, and without blanks at its end: others' rows can share one",
            ),
            Self::ColumnMissing => Some(
                "the row has no such column: compare the cache's columns with the table and with column.include.list",
            ),
            Self::Ahead => {
                Some("a publication's start is in milliseconds since 1970, by a clock that is right")
            }
            Self::TooLarge => Some(
                "values larger than sidecar.maxValue aren't kept, nor those that aren't in their encoding",
            ),
            Self::NotNewer | Self::Outranked => None,
        }
    }
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self {
            seq: Seq(0),
            leases: LeaseNumber(0),
            slots: vec![Slot::default(); rows()].into(),
            images: Box::new([]),
            stamps: Box::new([]),
        }
    }
}

impl History {
    /// The sequence of the last applied change: what a lease given now carries.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Voids one row: its cached value, its leases, and whatever reads of it are under way. The void's sequence.
    pub fn void_row(&mut self, row: RowHash, now: Tick) -> Seq {
        self.seq.0 += 1;
        self.slots[index(row)] = Slot { seq: self.seq, at: now, ..Slot::default() };
        self.seq
    }

    /// Voids every value and lease of a cache.
    ///
    /// For a cache that hydrates, [`History::raise_floor`] belongs to it.
    pub fn void_cache(&mut self, fence: &Fence, now: Tick) {
        self.seq.0 += 1;
        fence.at.store(now.0, Release);
        fence.seq.store(self.seq.0, Release);
    }

    /// When a row was void last, or another that shares its slot.
    #[must_use]
    pub fn last(&self, row: RowHash) -> Void {
        let Slot { seq, at, .. } = self.slots[index(row)];
        Void { seq, at }
    }

    /// The number of a lease that is given now.
    pub fn next_lease(&mut self) -> LeaseNumber {
        self.leases.0 += 1;
        self.leases
    }

    /// Whether a fill of `row` was taken under another lease since this one was given.
    ///
    /// The other's read may have come later, and nothing applied so far tells which of the two has seen more.
    #[must_use]
    pub fn is_overtaken(&self, row: RowHash, lease: LeaseNumber) -> bool {
        let slot = self.slots[index(row)];
        slot.filled >= lease && slot.filled_by != lease
    }

    /// Remembers that a fill of `row` was taken under this lease: every other lease of it that was given so far is
    /// overtaken.
    pub fn note_fill(&mut self, row: RowHash, lease: LeaseNumber) {
        let slot = &mut self.slots[index(row)];
        (slot.filled, slot.filled_by) = (self.leases, lease);
    }

    /// Remembers a place in the log: what was written before may be read once more, and is no news.
    pub fn foresee(&self, fence: &Fence, version: RowVersion) {
        fence.versions().see(version);
    }

    /// Decides about a fill of `row`.
    ///
    /// A change can be delivered before it can be read: what was read under a lease that was given within the read lag
    /// of an invalidation is good until that time has passed, however late it comes, unless its position proves that
    /// it has seen the commit. A fill that was read at an earlier position than one before it is refused.
    pub fn admit(&mut self, fence: &Fence, row: RowHash, read: Read<'_>) -> Result<Admission, Fenced> {
        let own = self.last(row).later(fence.last());
        let last = if planted(Bug::DependencyUnfenced) { own } else { own.later(read.others) };
        if last.seq > read.lease && !planted(Bug::NoFence) {
            return Err(Fenced);
        }
        let (position, commits) = (read.position, read.commits);
        let older = position.is_some_and(|position| !commits.filled(row, position));
        if older && !planted(Bug::OlderFillTaken) {
            return Err(Fenced);
        }
        if let Some(image) = self.images.get_mut(index(row)) {
            image.unplaced_ms = image.unplaced_ms.max(read.wall_ms);
        }
        let hold_off = last.ends(read.lag).filter(|end| *end > read.leased);
        let sees_all = |position| {
            planted(Bug::ProofIgnored) || commits.proves(position, last.seq, read.leased, read.lag)
        };
        let proven = position.is_some_and(sees_all);
        Ok(Admission { hold_off: hold_off.filter(|_| !proven && !planted(Bug::HoldOffIgnored)) })
    }

    /// Makes room for what is known of images; needed before the first [`History::image`].
    pub fn keep_images(&mut self) {
        if self.images.is_empty() {
            self.images = vec![Image::default(); rows()].into();
        }
    }

    /// The same, for what is published.
    pub fn keep_stamps(&mut self) {
        self.keep_images();
        if self.stamps.is_empty() {
            self.stamps = vec![None; rows()].into();
        }
    }

    /// Decides about a row's image: it may become the row's value if nothing newer is known of the row, nothing
    /// as new of its whole cache, and it was committed later than the last fill or published change of the row whose
    /// position nobody knows, `clock_skew` granted.
    ///
    /// Either way its version is remembered, and outlives the value. An image of the very version that is known
    /// is taken: it is the same event again, or the second half of a key change, whose delete of the old key
    /// and create of the new one share a version, where a case-insensitive key makes them one row. (No other
    /// two events of one row share one: every change of a row is a log record of its own.)
    pub fn image(
        &mut self,
        fence: &Fence,
        row: RowHash,
        version: RowVersion,
        commit_ms: u64,
        clock_skew: Duration,
    ) -> Result<(), Refusal> {
        if !self.note(fence, row, version) && !planted(Bug::HydrateWithoutVersion) {
            return Err(Refusal::NotNewer);
        }
        let of_row = self.images.get(index(row)).map_or(0, |known| known.unplaced_ms);
        let unplaced_ms = of_row.max(fence.versions().unplaced_ms());
        let outranked = commit_ms <= unplaced_ms.saturating_add(millis(clock_skew));
        if unplaced_ms > 0 && outranked && !planted(Bug::CommitTimeIgnored) {
            return Err(Refusal::Outranked);
        }
        Ok(())
    }

    /// Remembers the version of a row's change, whatever the change was; whether nothing newer is known.
    ///
    /// Rows that share a slot, and changes of other rows that were written later and arrive earlier, can only
    /// refuse each other's images.
    pub fn note(&mut self, fence: &Fence, row: RowHash, version: RowVersion) -> bool {
        let above = fence.versions().admits(version);
        if let RowVersion::Published(stamp) = version {
            // Beside those of rows: nothing ranks the one with the other.
            let Some(known) = self.stamps.get_mut(index(row)) else { return false };
            let newest = known.is_none_or(|known| known <= stamp);
            *known = (*known).max(Some(stamp));
            return above && newest;
        }
        let Some(known) = self.images.get_mut(index(row)) else { return false };
        let newest = match known.version.map(|seen| version.partial_cmp(&seen)) {
            None | Some(Some(Greater | Equal)) => true,
            Some(Some(Less)) => return false,
            Some(None) => false,
        };
        known.version = Some(version);
        above && newest
    }

    /// Remembers that a row, or any row of its cache, has changed at a place in the log that nobody knows.
    pub fn outrank(&mut self, fence: &Fence, row: Option<RowHash>, wall_ms: u64) {
        if planted(Bug::ToldIgnored) {
            return;
        }
        match row.map(|row| self.images.get_mut(index(row))) {
            Some(Some(image)) => image.unplaced_ms = image.unplaced_ms.max(wall_ms),
            Some(None) => {}
            None => fence.versions().outrank(wall_ms),
        }
    }

    /// Remembers what others have said of a cache's rows before it was defined so: no image from before is hydrated. Later it
    /// hears of them itself.
    pub fn inherit(&self, fence: &Fence, wall_ms: u64) {
        if !planted(Bug::ToldOfOther) {
            fence.versions().inherit(wall_ms);
        }
    }

    /// Forgets what is known of a hydrating cache as a whole, but for changes of all of it. What is known of its rows stays.
    pub fn forget_floor(&mut self, fence: &Fence) {
        fence.versions().forget();
    }

    /// Remembers that a hydrating cache was void as a whole at this place in the log; without one, at the newest
    /// places that are known: no image from before is hydrated any more.
    pub fn raise_floor(&mut self, fence: &Fence, version: Option<RowVersion>) {
        fence.versions().raise_floor(version);
    }

    /// Whether it was this that all of a cache was void by last.
    #[must_use]
    pub fn was_void_at(&self, fence: &Fence, version: RowVersion) -> bool {
        fence.versions().has_changed_at(version)
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [(Memory, usize); 2] {
        [(Memory::Rows, self.slots.len()), (Memory::Rows, self.images.len())]
    }
}

/// How many rows are told apart.
fn rows() -> usize {
    room(Memory::Rows, SLOTS)
}

fn index(row: RowHash) -> usize {
    usize::try_from(row.0 % rows() as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
