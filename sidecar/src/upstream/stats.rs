//! What is counted of requests to an upstream.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::failure::Failure;
use crate::{clock::Tick, histogram::Histogram};

/// The buckets of how long fetches take.
const BOUNDS: [Duration; 10] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(10),
];

/// What became of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer was stored.
    Stored,
    /// The upstream said that what is stored is still so.
    Revalidated,
    /// Its answer was passed on and not stored.
    Passed,
    /// The upstream answered 5xx.
    ServerError,
    /// There was no answer.
    Failed(usize),
}

/// What is counted of requests to an upstream, from the start of its definition.
#[derive(Debug)]
pub struct UpstreamStats {
    outcomes: [AtomicU64; 4],
    failures: [AtomicU64; Failure::KINDS.len()],
    /// How long fetches took.
    pub durations: Histogram,
    /// How many were for nobody who waited.
    pub in_background: AtomicU64,
    last_failure: Mutex<Option<(Tick, String)>>,
}

// === impl UpstreamStats ===

impl Default for UpstreamStats {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            failures: Default::default(),
            durations: Histogram::new(&BOUNDS),
            in_background: AtomicU64::new(0),
            last_failure: Mutex::default(),
        }
    }
}

impl UpstreamStats {
    pub(super) fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Stored => &self.outcomes[0],
            Outcome::Revalidated => &self.outcomes[1],
            Outcome::Passed => &self.outcomes[2],
            Outcome::ServerError => &self.outcomes[3],
            Outcome::Failed(kind) => &self.failures[kind],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many fetches came to what.
    pub fn by_outcome(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = ["stored", "revalidated", "passed", "server-error"].into_iter().zip(&self.outcomes);
        outcomes
            .chain(Failure::KINDS.into_iter().zip(&self.failures))
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    /// Remembers why a fetch has failed; whether that is news.
    pub(super) fn note_failure(&self, at: Tick, why: String) -> bool {
        let mut last = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let news = last.as_ref().is_none_or(|(_, before)| *before != why);
        *last = Some((at, why));
        news
    }

    /// Forgets it: the upstream has answered.
    pub(super) fn note_answer(&self) {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the last fetch has failed, and when, unless one has had an answer since.
    #[must_use]
    pub fn last_failure(&self) -> Option<(Tick, String)> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
