//! What writers, readers and the director share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ledger::{Ledger, Moment, Violation};

/// Shared by all threads of a run.
#[derive(Debug)]
pub(crate) struct Stage {
    start: Instant,
    /// The run is over.
    over: AtomicBool,
    /// A fault is on, or hasn't been recovered from.
    fault: AtomicBool,
    /// Held by every writer during a transaction; whoever takes it whole has the databases to himself.
    pub(crate) quiet: RwLock<()>,
    pub(crate) ledger: Mutex<Ledger>,
    violations: Mutex<Vec<Violation>>,
    pub(crate) counts: Counts,
    /// How often each sidecar was started.
    pub(crate) instances: Vec<AtomicU64>,
    /// For how long a value may have been overwritten.
    pub(crate) bound: Option<Duration>,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) calm_reads: AtomicU64,
    pub(crate) calm_hits: AtomicU64,
    pub(crate) not_vouched: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) fills_accepted: AtomicU64,
    pub(crate) fills_fenced: AtomicU64,
    pub(crate) fills_refused: AtomicU64,
    pub(crate) fills_given_up: AtomicU64,
    pub(crate) fills_late: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) uncertain: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What was counted of all operations, as it is reported.
#[derive(Clone, Debug, Serialize)]
pub struct Operations {
    /// Answers of the cache's reads.
    pub reads: u64,
    /// Hits among them.
    pub hits: u64,
    /// Reads outside faults.
    pub calm_reads: u64,
    /// Hits among those.
    pub calm_hits: u64,
    /// Misses because nothing was vouched for.
    pub not_vouched: u64,
    /// Requests that a sidecar that was down or stopped didn't answer.
    pub unanswered: u64,
    /// Fills stored.
    pub fills_accepted: u64,
    /// Fills refused because of a change in between.
    pub fills_fenced: u64,
    /// Fills refused for another reason: leases from before a restart.
    pub fills_refused: u64,
    /// Leases that were never used.
    pub fills_given_up: u64,
    /// Fills that came some time after the read.
    pub fills_late: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Rows and groups that they changed.
    pub changes: u64,
    /// Commits whose answer was lost.
    pub uncertain: u64,
    /// Transactions that failed before their commit.
    pub failed: u64,
}

impl Stage {
    pub(crate) fn new(sidecars: usize, bound: Option<Duration>) -> Self {
        Self {
            start: Instant::now(),
            over: AtomicBool::new(false),
            fault: AtomicBool::new(true),
            quiet: RwLock::new(()),
            ledger: Mutex::default(),
            violations: Mutex::default(),
            counts: Counts::default(),
            instances: (0..sidecars).map(|_| AtomicU64::new(1)).collect(),
            bound,
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.start.elapsed()
    }

    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Notes whether all should be well.
    pub(crate) fn set_fault(&self, on: bool) {
        self.fault.store(on, Ordering::Release);
    }

    pub(crate) fn has_fault(&self) -> bool {
        self.fault.load(Ordering::Acquire)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn instance(&self, sidecar: usize) -> u64 {
        self.instances[sidecar].load(Ordering::Acquire)
    }

    /// Notes violations, for [`Stage::take_violations`].
    pub(crate) fn report(&self, violations: impl IntoIterator<Item = Violation>) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).extend(violations);
    }

    pub(crate) fn take_violations(&self) -> Vec<Violation> {
        std::mem::take(&mut self.violations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counts {
    pub(crate) fn operations(&self) -> Operations {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Operations {
            reads: count(&self.reads),
            hits: count(&self.hits),
            calm_reads: count(&self.calm_reads),
            calm_hits: count(&self.calm_hits),
            not_vouched: count(&self.not_vouched),
            unanswered: count(&self.unanswered),
            fills_accepted: count(&self.fills_accepted),
            fills_fenced: count(&self.fills_fenced),
            fills_refused: count(&self.fills_refused),
            fills_given_up: count(&self.fills_given_up),
            fills_late: count(&self.fills_late),
            transactions: count(&self.transactions),
            changes: count(&self.changes),
            uncertain: count(&self.uncertain),
            failed: count(&self.failed),
        }
    }
}

/// Adds one.
pub(crate) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
