//! Time, read at the edge and passed into the core.

use std::{
    ops::Add,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since the machine started, sleep included (`CLOCK_BOOTTIME`): a process that was stopped, or
/// a machine that slept, finds its deadlines passed when it wakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

/// One instant, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and ages.
    pub tick: Tick,
    /// Milliseconds since the Unix epoch, to compare with times that came from elsewhere.
    pub wall_ms: u64,
}

// === impl Tick ===

impl Tick {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self(u64::try_from(t.tv_sec).unwrap_or(0) * 1000 + u64::try_from(t.tv_nsec).unwrap_or(0) / 1_000_000)
    }

    /// The time from `earlier` to this, zero if it isn't earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back, at most to the machine's start.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis(by)))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }
}

// === impl Now ===

impl Now {
    /// Reads both clocks.
    #[must_use]
    pub fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { tick: Tick::now(), wall_ms: millis(wall) }
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
