//! How many bytes views may hold: beside the store, from which anything may be dropped at any time.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The part of a binding's `memory` that its views may hold.
const PART: u64 = 4;

/// What views hold, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Allowance(Arc<AtomicU64>);

/// Some of it, given back when this is dropped.
#[derive(Debug)]
pub struct Taken {
    from: Allowance,
    bytes: u64,
}

impl Allowance {
    /// The most bytes that the views of a binding of this `memory` may hold.
    #[must_use]
    pub fn most(memory: u64) -> u64 {
        memory / PART
    }

    /// Takes so many bytes, unless all that are taken would be more than there may be with this `memory`.
    #[must_use]
    pub fn take(&self, bytes: u64, memory: u64) -> Option<Taken> {
        let most = Self::most(memory);
        let fits = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Taken { from: self.clone(), bytes })
    }

    fn change(&self, from: u64, to: u64, memory: u64) -> bool {
        let most = Self::most(memory);
        let fits = |taken: u64| (taken - from).checked_add(to).filter(|all| *all <= most || to <= from);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// How many can still be taken with this `memory`.
    #[must_use]
    pub fn left(&self, memory: u64) -> u64 {
        Self::most(memory).saturating_sub(self.taken())
    }

    /// Whether more are taken than there may be with this `memory`: it was lowered since.
    #[must_use]
    pub fn is_exceeded(&self, memory: u64) -> bool {
        self.taken() > Self::most(memory)
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Taken {
    /// How many they are.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes so many in their place, unless there are no more; then all are given back. Less can be had with any `memory`.
    #[must_use]
    pub fn change(mut self, bytes: u64, memory: u64) -> Option<Self> {
        if !self.from.change(self.bytes, bytes, memory) {
            return None;
        }
        self.bytes = bytes;
        Some(self)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.from.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Allowance;

    #[test]
    fn no_more_is_taken_than_there_is_and_what_is_dropped_is_given_back() {
        let allowance = Allowance::default();
        let first = allowance.take(60, 400).unwrap();
        assert!(allowance.take(41, 400).is_none());
        let second = allowance.take(40, 400).unwrap();
        assert_eq!(allowance.taken(), 100);
        assert!(allowance.take(u64::MAX, 400).is_none());
        drop(first);
        assert_eq!(allowance.taken(), 40);
        assert!(allowance.take(1, 0).is_none(), "what is taken may be more than there is with less memory");
        assert!(allowance.is_exceeded(159) && !allowance.is_exceeded(160));
        let second = second.change(90, 400).unwrap();
        assert_eq!((second.bytes(), allowance.taken()), (90, 90));
        let second = second.change(50, 100).unwrap();
        assert_eq!(allowance.taken(), 50, "less is less, however much there may be");
        assert!(second.change(51, 200).is_none());
        assert_eq!(allowance.taken(), 0);
    }
}
