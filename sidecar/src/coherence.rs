//! The fence: what decides whether a value that was read before some change may still be stored or served.
//!
//! Every applied change takes the next [`Seq`]. A lease is the sequence at which a read began. A fill is
//! refused when anything it depends on was invalidated after its lease: its row, by a fixed array of hashed
//! slots that remembers the last invalidation whether the row is cached or not, and its cache as a whole, by
//! the cache's [`Fence`]. Rows that share a slot can only refuse each other's fills; the memory is bounded
//! and can't overflow into a wrong yes.
//!
//! Nothing here does I/O or reads a clock.

use std::{
    cmp::Ordering,
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Release},
    },
    time::Duration,
};

use crate::{
    clock::{Now, Tick, millis},
    position::RowVersion,
};

/// Rows whose invalidations are told apart, at most. 16 bytes each; a power of two.
pub const SLOTS: usize = 1 << 16;

/// The number of an applied change, counted from the sidecar's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// A row of a cache, hashed. Equal rows have equal hashes; others seldom do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHash(pub u64);

/// The last invalidation of a whole cache. Written under the history's lock, read by every hit without one.
#[derive(Debug, Default)]
pub struct Fence {
    seq: AtomicU64,
    at: AtomicU64,
}

/// The invalidations of all rows and what is known of their images.
#[derive(Debug)]
pub struct History {
    seq: Seq,
    slots: Box<[Slot]>,
    /// Allocated when the first cache hydrates.
    images: Box<[Image]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    seq: Seq,
    at: Tick,
}

#[derive(Clone, Copy, Debug, Default)]
struct Image {
    /// The newest version seen of any row of this slot.
    version: Option<RowVersion>,
    /// When the last fill without a proven position was taken, by the wall clock.
    filled_ms: u64,
}

/// Why a fill was not taken: something it depends on was invalidated after its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fenced;

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

    fn at(&self) -> Option<Tick> {
        (self.seq.load(Acquire) > 0).then(|| Tick(self.at.load(Acquire)))
    }
}

// === impl History ===

impl Default for History {
    fn default() -> Self {
        Self { seq: Seq(0), slots: vec![Slot::default(); SLOTS].into(), images: Box::new([]) }
    }
}

impl History {
    /// The sequence of the last applied change: what a lease given now carries.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// Voids one row: its cached value, its leases, and whatever reads of it are under way.
    pub fn void_row(&mut self, row: RowHash, now: Tick) -> Seq {
        self.seq.0 += 1;
        self.slots[index(row)] = Slot { seq: self.seq, at: now };
        self.seq
    }

    /// Voids every value and lease of a cache.
    pub fn void_cache(&mut self, fence: &Fence, now: Tick) -> Seq {
        self.seq.0 += 1;
        fence.at.store(now.0, Release);
        fence.seq.store(self.seq.0, Release);
        self.seq
    }

    /// Decides about a fill of `row` that was read under a lease of `lease`.
    ///
    /// A fill that comes within `read_lag` of an invalidation is taken until that time has passed: a change
    /// can be delivered before it can be read.
    pub fn admit(
        &mut self,
        fence: &Fence,
        row: RowHash,
        lease: Seq,
        now: Now,
        read_lag: Duration,
    ) -> Result<Admission, Fenced> {
        let slot = self.slots[index(row)];
        if slot.seq > lease || !fence.holds(lease) {
            return Err(Fenced);
        }
        if let Some(image) = self.images.get_mut(index(row)) {
            image.filled_ms = image.filled_ms.max(now.wall_ms);
        }
        let row_at = (slot.seq > Seq(0)).then_some(slot.at);
        let hold_off = row_at.max(fence.at()).map(|at| at + read_lag).filter(|end| *end > now.tick);
        Ok(Admission { hold_off })
    }

    /// Makes room for what is known of images; needed before the first [`History::image`].
    pub fn keep_images(&mut self) {
        if self.images.is_empty() {
            self.images = vec![Image::default(); SLOTS].into();
        }
    }

    /// Whether a row's image may become its value: it is not older than any image seen of the row, and it was
    /// committed later than the last fill of the row whose position nobody knows, `clock_skew` granted.
    ///
    /// Either way its version is remembered, and outlives the value.
    pub fn image(&mut self, row: RowHash, version: RowVersion, commit_ms: u64, clock_skew: Duration) -> bool {
        let Some(known) = self.images.get_mut(index(row)) else { return false };
        let order = match known.version {
            None => Some(Ordering::Greater),
            Some(seen) => version.partial_cmp(&seen),
        };
        let Some(order) = order else {
            // Another server: this image can't be ranked, the next one can.
            known.version = Some(version);
            return false;
        };
        let newest = order.is_ge();
        if newest {
            known.version = Some(version);
        }
        let outranked =
            known.filled_ms > 0 && commit_ms <= known.filled_ms.saturating_add(millis(clock_skew));
        newest && !outranked
    }
}

fn index(row: RowHash) -> usize {
    usize::try_from(row.0 % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
