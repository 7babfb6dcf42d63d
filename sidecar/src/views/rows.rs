//! Views over rows: the top of all rows of a table, as the cache keeps them.

use std::sync::{
    Arc, Mutex, PoisonError, TryLockError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use freshet_crds::binding::ViewSpec;

use super::{
    ViewStats,
    ranking::Ranked,
    roster::{Roster, Why},
};
use crate::{
    catalog::Cache,
    change::TableId,
    clock::Tick,
    upstream::allowance::{Allowance, Taken},
};

/// A roster that one thread changes and others read.
#[derive(Debug)]
pub struct SharedRoster {
    roster: Mutex<Roster>,
    /// Counts the changes of what is shown.
    version: AtomicU64,
    /// Since when it is whole: 0 if it isn't.
    whole_since: AtomicU64,
}

/// A view over rows, as it runs.
#[derive(Debug)]
pub struct RowView {
    /// Its definition.
    pub spec: ViewSpec,
    /// The cache whose rows it ranks.
    pub cache: Arc<Cache>,
    /// What it counts.
    pub stats: ViewStats,
    board: ArcSwapOption<Board>,
    /// What was reported last.
    reported: ArcSwapOption<Report>,
}

/// What was shown last.
#[derive(Debug)]
struct Board {
    /// The version that it is of.
    version: u64,
    ranked: Arc<Ranked>,
    _taken: Taken,
}

/// What is shown.
#[derive(Debug)]
pub struct Top {
    /// The rows.
    pub ranked: Arc<Ranked>,
    /// How fresh they are.
    pub freshness: Freshness,
}

/// How fresh what is shown is.
#[derive(Debug)]
pub struct Freshness {
    /// Whole seconds since the database last proved that all its changes had been applied.
    pub age: u64,
    /// Whole seconds for which that proves enough; negative: for how long it hasn't.
    pub ttl: i64,
    /// Why something is shown that isn't fresh, if it is.
    pub detail: Option<&'static str>,
    /// The position that it reflects at least, as a header's text.
    pub position: Option<Bytes>,
}

/// How a view over rows is doing.
#[derive(Clone, Debug)]
pub struct Report {
    /// Why it isn't whole.
    pub why: Option<Why>,
    /// Rows that are known to be there.
    pub rows: usize,
    /// Those that are the view's, those beyond the limit included.
    pub items: usize,
    /// Bytes of all rows, which other views may need as well, and of what was ranked.
    pub bytes: u64,
    /// Since when it is whole.
    pub whole_since: Option<Tick>,
}

// === impl SharedRoster ===

impl SharedRoster {
    /// Nothing is known of the rows of this table.
    #[must_use]
    pub fn new(table: &str) -> Self {
        Self {
            roster: Mutex::new(Roster::new(TableId::of(table))),
            version: AtomicU64::new(0),
            whole_since: AtomicU64::new(0),
        }
    }

    /// Runs `f` on the roster. A large transaction may be told to it just now, which takes a while: who answers requests
    /// asks [`SharedRoster::try_with`].
    pub fn with<T>(&self, f: impl FnOnce(&mut Roster) -> T) -> T {
        self.with_locked(&mut self.roster.lock().unwrap_or_else(PoisonError::into_inner), f)
    }

    /// Runs `f` on the roster unless it is being changed just now.
    pub fn try_with<T>(&self, f: impl FnOnce(&mut Roster) -> T) -> Option<T> {
        match self.roster.try_lock() {
            Ok(mut roster) => Some(self.with_locked(&mut roster, f)),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.with_locked(&mut poisoned.into_inner(), f)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn with_locked<T>(&self, roster: &mut Roster, f: impl FnOnce(&mut Roster) -> T) -> T {
        let done = f(roster);
        if roster.take_changed() {
            self.version.fetch_add(1, Ordering::SeqCst);
            let since = self.whole_since.load(Ordering::SeqCst);
            match roster.standing() {
                Ok(()) if since == 0 => self.whole_since.store(Tick::now().0.max(1), Ordering::SeqCst),
                Err(_) if since > 0 => self.whole_since.store(0, Ordering::SeqCst),
                _ => {}
            }
        }
        done
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}

// === impl RowView ===

impl RowView {
    /// A view of which nothing is shown yet.
    #[must_use]
    pub fn new(spec: ViewSpec, cache: Arc<Cache>) -> Self {
        Self {
            spec,
            cache,
            stats: ViewStats::default(),
            board: ArcSwapOption::empty(),
            reported: ArcSwapOption::empty(),
        }
    }

    /// Why its rows aren't all there, if that is known at once.
    #[must_use]
    pub fn missing(&self) -> Option<Why> {
        match &*self.cache.roster.load() {
            None => Some(Why::Replaced),
            Some(roster) => roster.try_with(|r| r.standing().err()).flatten(),
        }
    }

    /// How it is doing, or was before its rows were changed as they are just now.
    #[must_use]
    pub fn report(&self) -> Arc<Report> {
        let name = &self.spec.name;
        let ranked = self.board.load().as_ref().map_or(0, |board| board.ranked.weight());
        let told = |roster: &SharedRoster| {
            roster.try_with(|r| {
                let since = roster.whole_since.load(Ordering::SeqCst);
                Report {
                    why: r.standing().err(),
                    rows: r.count(),
                    items: r.items(name),
                    bytes: r.weight() + ranked,
                    whole_since: (since > 0).then_some(Tick(since)),
                }
            })
        };
        let nothing = |why| Report { why: Some(why), rows: 0, items: 0, bytes: 0, whole_since: None };
        let report = match self.cache.roster.load().as_deref() {
            None => Some(nothing(Why::Replaced)),
            Some(roster) => told(roster),
        };
        match (report, self.reported.load_full()) {
            (None, Some(before)) => before,
            (report, _) => {
                let report = Arc::new(report.unwrap_or_else(|| nothing(Why::Reading { read: 0, of: None })));
                self.reported.store(Some(Arc::clone(&report)));
                report
            }
        }
    }

    /// The top, as of now; `None` if the rows are being changed just now.
    pub fn top(&self, allowance: &Allowance, memory: u64) -> Option<Result<Arc<Ranked>, Why>> {
        let shared = self.cache.roster.load();
        let Some(roster) = &*shared else { return Some(Err(Why::Replaced)) };
        let current = |version: u64| self.board.load_full().filter(|board| board.version == version);
        if let Some(board) = current(roster.version()) {
            return Some(Ok(Arc::clone(&board.ranked)));
        }
        roster.try_with(|rows| {
            // Nothing changes while this is held.
            let version = roster.version();
            if let Some(board) = current(version) {
                return Ok(Arc::clone(&board.ranked));
            }
            let ranked = Arc::new(rows.top(&self.spec.name)?);
            self.stats.ranked.fetch_add(1, Ordering::Relaxed);
            // What was shown before makes room.
            self.board.store(None);
            // Without room it is ranked anew for each reader.
            if let Some(taken) = allowance.take(ranked.weight(), memory) {
                let board = Board { version, ranked: Arc::clone(&ranked), _taken: taken };
                self.board.store(Some(Arc::new(board)));
            }
            Ok(ranked)
        })
    }
}
