//! Views over rows: the top of all rows of a table, as the cache keeps them.

use std::sync::{
    Arc, Mutex, PoisonError,
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

    /// Runs `f` on the roster.
    pub fn with<T>(&self, f: impl FnOnce(&mut Roster) -> T) -> T {
        let mut roster = self.roster.lock().unwrap_or_else(PoisonError::into_inner);
        let done = f(&mut roster);
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
        Self { spec, cache, stats: ViewStats::default(), board: ArcSwapOption::empty() }
    }

    /// Whether all of its rows are there.
    pub fn standing(&self) -> Result<(), Why> {
        let roster = self.cache.roster.load();
        roster.as_ref().map_or(Err(Why::Replaced), |roster| roster.with(|r| r.standing()))
    }

    /// How it is doing.
    #[must_use]
    pub fn report(&self) -> Report {
        let name = &self.spec.name;
        let told = |roster: &SharedRoster| {
            let since = roster.whole_since.load(Ordering::SeqCst);
            let since = (since > 0).then_some(Tick(since));
            roster.with(|r| (r.standing().err(), r.count(), r.items(name), r.weight(), since))
        };
        let roster = self.cache.roster.load();
        let (why, rows, items, held, whole_since) =
            roster.as_deref().map_or((Some(Why::Replaced), 0, 0, 0, None), told);
        let ranked = self.board.load().as_ref().map_or(0, |board| board.ranked.weight());
        Report { why, rows, items, bytes: held + ranked, whole_since }
    }

    /// The top, as of now.
    pub fn top(&self, allowance: &Allowance, memory: u64) -> Result<Arc<Ranked>, Why> {
        let shared = self.cache.roster.load();
        let Some(roster) = &*shared else { return Err(Why::Replaced) };
        let current = |version: u64| self.board.load_full().filter(|board| board.version == version);
        if let Some(board) = current(roster.version()) {
            return Ok(Arc::clone(&board.ranked));
        }
        roster.with(|rows| {
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
