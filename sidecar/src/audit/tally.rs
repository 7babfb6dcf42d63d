//! What came out, counted.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{clock::Tick, histogram::Histogram};

const LATE: &[Duration] = &[
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

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
#[derive(Debug)]
pub struct AuditStats {
    /// How late values were.
    pub late: Histogram,
    outcomes: [AtomicU64; Outcome::NAMES.len()],
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

impl Default for AuditStats {
    fn default() -> Self {
        Self { late: Histogram::new(LATE), outcomes: Default::default(), wrong: AtomicU64::new(0) }
    }
}

impl AuditStats {
    /// Counts what came out.
    pub fn count(&self, outcome: Outcome, now: Tick) {
        self.outcomes[outcome.index()].fetch_add(1, Ordering::Relaxed);
        match outcome {
            Outcome::Late(by) => self.late.count(by),
            Outcome::Inconsistent => self.wrong.store(now.0, Ordering::Relaxed),
            _ => {}
        }
    }

    /// How often each outcome came, with its name.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.outcomes.iter().map(|counter| counter.load(Ordering::Relaxed));
        Outcome::NAMES.into_iter().zip(counts)
    }

    /// When the last wrong value was found.
    #[must_use]
    pub fn last_inconsistent(&self) -> Option<Tick> {
        Some(self.wrong.load(Ordering::Relaxed)).filter(|at| *at > 0).map(Tick)
    }
}
