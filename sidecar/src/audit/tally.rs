//! What came out, counted.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::clock::{Tick, millis};

/// The bounds of the histogram of late values, in seconds.
pub const LATE_SECONDS: [u64; 5] = [1, 5, 10, 30, 60];

/// What came out of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What would be served is right.
    Consistent,
    /// It differed, and was gone this much later.
    Late(Duration),
    /// It is wrong.
    Inconsistent,
    /// Nothing is cached.
    Absent,
    /// Nothing is vouched for, so that nothing would be served unmarked.
    Unvouched,
    /// There is nothing to compare with.
    Unknown,
    /// The application didn't answer.
    Failed,
    /// There was no room to watch the key.
    Skipped,
}

/// What came out of all looks at a cache's keys.
#[derive(Debug, Default)]
pub struct AuditStats {
    outcomes: [AtomicU64; Outcome::NAMES.len()],
    late: [AtomicU64; LATE_SECONDS.len() + 1],
    late_ms: AtomicU64,
    /// When the last wrong value was found; zero: never.
    wrong: AtomicU64,
}

impl Outcome {
    /// The names of all.
    pub const NAMES: [&str; 8] =
        ["consistent", "late", "inconsistent", "absent", "unvouched", "unknown", "failed", "skipped"];

    fn index(self) -> usize {
        match self {
            Self::Consistent => 0,
            Self::Late(_) => 1,
            Self::Inconsistent => 2,
            Self::Absent => 3,
            Self::Unvouched => 4,
            Self::Unknown => 5,
            Self::Failed => 6,
            Self::Skipped => 7,
        }
    }

    /// Its name in status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

impl AuditStats {
    /// Counts what came out.
    pub fn count(&self, outcome: Outcome, now: Tick) {
        let bump = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        bump(&self.outcomes[outcome.index()]);
        match outcome {
            Outcome::Late(by) => {
                let bucket = LATE_SECONDS.iter().position(|bound| by <= Duration::from_secs(*bound));
                bump(&self.late[bucket.unwrap_or(LATE_SECONDS.len())]);
                self.late_ms.fetch_add(millis(by), Ordering::Relaxed);
            }
            Outcome::Inconsistent => self.wrong.store(now.0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// How often each outcome came, with its name.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(|counter| counter.load(Ordering::Relaxed));
        Outcome::NAMES.into_iter().zip(counts)
    }

    /// How many values were late by up to each of [`LATE_SECONDS`] and more than the one before, how many by more than
    /// all, and how late they were together, in seconds.
    #[must_use]
    pub fn late(&self) -> ([u64; LATE_SECONDS.len() + 1], f64) {
        let late = std::array::from_fn(|i| self.late[i].load(Ordering::Relaxed));
        (late, Duration::from_millis(self.late_ms.load(Ordering::Relaxed)).as_secs_f64())
    }

    /// When the last wrong value was found.
    #[must_use]
    pub fn last_inconsistent(&self) -> Option<Tick> {
        Some(self.wrong.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Tick)
    }
}
