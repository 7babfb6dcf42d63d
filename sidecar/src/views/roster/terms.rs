//! What the binding says of lags, clocks and memory.

use std::time::Duration;

use crate::upstream::allowance::Allowance;

/// What a roster needs to know with everything that it is told.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// For how long a commit that was delivered may not be visible to reads.
    pub lag: Duration,
    /// How far the database's clock and Debezium's can be apart.
    pub skew: Duration,
    /// What views hold.
    pub allowance: &'a Allowance,
    /// The binding's `memory`, in bytes.
    pub memory: u64,
}

// === impl Terms ===

impl Terms<'_> {
    /// For how long after a commit a snapshot may not have seen it, in milliseconds.
    pub(super) fn window(&self) -> u64 {
        millis(self.lag + self.skew)
    }
}

/// In whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
