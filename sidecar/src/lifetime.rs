//! How long values live: no longer than their cache lets them, than whoever filled them says, and than the original does.

use std::time::Duration;

use freshet_crds::quantity::WHOLE;

use crate::clock::millis;

/// A lifetime as whoever began it tells it: from when, by the wall clock, and for how long. So it stays what it is on its
/// way through caches, each of which asks only what is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// How long it is.
    pub duration: Duration,
}

/// What bounds a value's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The cache's `ttl`.
    pub ttl: Duration,
    /// The greatest part of `ttl` by which it may be shortened, in thousandths of a percent.
    pub jitter: u32,
    /// Any number, the same for the same row: by which part it is shortened, so that what is stored together doesn't
    /// expire together.
    pub lot: u64,
    /// How long the value may live, as whoever fills it says.
    pub max_age: Option<Duration>,
}

// === impl Lifetime ===

impl Lifetime {
    /// The lifetime of what is this old now.
    #[must_use]
    pub fn aged(age: Duration, duration: Duration, now_ms: u64) -> Self {
        Self { start_ms: now_ms.saturating_sub(millis(age)), duration }
    }

    /// How much of it has passed. One that begins in the future has only just begun: another's clock is ahead.
    #[must_use]
    pub fn age(self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.start_ms))
    }

    /// How much of it is left; zero if it is over.
    #[must_use]
    pub fn remaining(self, now_ms: u64) -> Duration {
        self.duration.saturating_sub(self.age(now_ms))
    }
}

// === impl Bounds ===

impl Bounds {
    /// How long the value may live from its beginning on. Only the cache's `ttl` is shortened: what an application asks
    /// for by itself it gets to the second.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self.max_age {
            Some(max_age) if max_age <= self.ttl => max_age,
            _ => shortened(self.ttl, self.jitter, self.lot),
        }
    }
}

/// A duration without a part of it between nothing and `most` thousandths of a percent.
fn shortened(duration: Duration, most: u32, lot: u64) -> Duration {
    // 32 bits of the lot are a fraction of one; 2^32 times the longest `ttl` in milliseconds and all of `WHOLE` fits.
    let ms = u128::from(millis(duration));
    let less = (ms * u128::from(most) * u128::from(lot >> 32)) / (u128::from(WHOLE) << 32);
    duration.saturating_sub(Duration::from_millis(u64::try_from(less).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Bounds, Lifetime};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_left_counts_from_the_beginning_and_clocks_may_differ() {
        let life = Lifetime { start_ms: 10_000, duration: 5 * SECOND };
        assert_eq!(life.remaining(10_000), 5 * SECOND);
        assert_eq!(life.remaining(12_500), Duration::from_millis(2500));
        assert_eq!(life.remaining(15_000), Duration::ZERO);
        assert_eq!(life.remaining(u64::MAX), Duration::ZERO);
        assert_eq!(
            (life.remaining(9000), life.age(9000)),
            (5 * SECOND, Duration::ZERO),
            "its clock is ahead"
        );
        let endless = Lifetime { start_ms: 0, duration: Duration::MAX };
        assert!(endless.remaining(u64::MAX) > Duration::from_hours(24));
        let old = Lifetime::aged(Duration::MAX, SECOND, 10_000);
        assert_eq!(old.remaining(10_000), Duration::ZERO, "older than the clock itself");
        assert_eq!(Lifetime::aged(4 * SECOND, 5 * SECOND, 10_000).remaining(10_000), SECOND);
    }

    #[test]
    fn only_the_caches_own_ttl_is_shortened() {
        let bounds = |max_age, lot| Bounds { ttl: 100 * SECOND, jitter: 10_000, lot, max_age }.duration();
        assert_eq!(bounds(None, 0), 100 * SECOND);
        assert_eq!(bounds(None, 1 << 63), 95 * SECOND);
        assert_eq!(bounds(Some(99 * SECOND), 1 << 63), 99 * SECOND);
        assert_eq!(bounds(Some(100 * SECOND), 1 << 63), 100 * SECOND);
        assert_eq!(bounds(Some(101 * SECOND), 1 << 63), 95 * SECOND, "it is the ttl that ends it");
        assert_eq!(bounds(Some(Duration::ZERO), 1 << 63), Duration::ZERO);
    }

    #[test]
    fn lives_that_begin_together_end_at_different_times() {
        let mut hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut tenths = [0; 10];
        for row in 0..10_000 {
            let bounds =
                Bounds { ttl: 1000 * SECOND, jitter: 10_000, lot: hash(&mut hasher, row), max_age: None };
            let less = (1000 * SECOND).saturating_sub(bounds.duration());
            tenths[usize::try_from(less.as_secs() / 10).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (900..1100).contains(n)), "{tenths:?}");
    }

    fn hash(hasher: &mut ahash::RandomState, row: u32) -> u64 {
        std::hash::BuildHasher::hash_one(hasher, row)
    }

    proptest! {
        #[test]
        fn a_life_is_never_longer_than_asked_and_never_nothing(
            ttl in 1..=366 * 86_400_000_u64, jitter in 0..=50_000_u32, lot: u64,
        ) {
            let ttl = Duration::from_millis(ttl);
            let life = Bounds { ttl, jitter, lot, max_age: None }.duration();
            prop_assert!(life <= ttl && life >= ttl / 2 && !life.is_zero());
        }
    }
}
