//! Views: the top of what named keys of an upstream cache hold, or of all rows of a table, in some order.
//!
//! ```text
//! put ─► pins ─► gather ─► rank ─► board ─► api
//!          ▲        │       │
//!        tend       │   ordering, filter, pointer
//!          │      judge
//!       flights
//! ```
//!
//! The keys are pinned: [`crate::upstream::pins`] holds their answers whatever the store drops, and changes with it. A view
//! is whole while each of its answers may be served, by the same rules as the cache's own; otherwise it says what is
//! missing. [`ranking`] and what it needs are functions of texts, wherever these come from; [`board`] is what was ranked
//! last and what it was ranked from; [`service`] does the rest, on the upstreams' thread, and ranks beside it.
//!
//! A view over rows has no part in that: [`roster`] holds all rows of a table and their order in each view, as the log tells them,
//! and [`rows`] shows the top of it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use freshet_crds::binding::ViewSpec;
use tracing::warn;

use crate::{clock::Tick, upstream::Upstream};

pub mod board;
pub mod decimal;
pub mod filter;
pub mod ordering;
pub mod pointer;
pub mod ranking;
pub mod roster;
pub mod rows;
pub mod service;

use board::{Board, Missing};
use filter::Filter;
use ranking::Ranked;

/// A view, as it runs.
#[derive(Debug)]
pub struct View {
    /// Its definition.
    pub spec: ViewSpec,
    /// The cache whose answers have its items.
    pub upstream: Arc<Upstream>,
    /// What it counts.
    pub stats: ViewStats,
    filter: Filter,
    board: ArcSwapOption<Board>,
    /// Held by who ranks.
    ranking: tokio::sync::Mutex<()>,
    /// Since when it is whole: 0 if it isn't.
    whole_since: AtomicU64,
    /// What was logged last of answers that can't be ranked.
    told: Mutex<String>,
}

/// What a view counts, from the start of its definition.
#[derive(Debug, Default)]
pub struct ViewStats {
    /// Reads answered from answers that are all fresh.
    pub hits: AtomicU64,
    /// Reads answered with something that is stale.
    pub stale_hits: AtomicU64,
    /// Reads of a view that wasn't whole.
    pub incomplete: AtomicU64,
    /// How often its items were ranked.
    pub ranked: AtomicU64,
}

/// How a view is doing.
#[derive(Clone, Debug)]
pub struct Report {
    /// The keys whose answers are missing, and why.
    pub missing: Vec<Missing>,
    /// How many items were ranked last, those beyond the limit included.
    pub items: usize,
    /// Bytes of the answers that it needs, which other views may need as well, and of what was ranked.
    pub bytes: u64,
    /// Since when it is whole.
    pub whole_since: Option<Tick>,
}

// === impl View ===

impl View {
    /// A view of which nothing is ranked yet.
    #[must_use]
    pub fn new(spec: ViewSpec, upstream: Arc<Upstream>) -> Self {
        let filter = Filter::new(&spec.filter);
        Self {
            spec,
            upstream,
            stats: ViewStats::default(),
            filter,
            board: ArcSwapOption::empty(),
            ranking: tokio::sync::Mutex::default(),
            whole_since: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    /// Since when it is whole, if it was when it was looked at last: several times a second.
    #[must_use]
    pub fn whole_since(&self) -> Option<Tick> {
        let since = self.whole_since.load(Ordering::Relaxed);
        (since > 0).then_some(Tick(since))
    }

    /// How it is doing.
    #[must_use]
    pub fn report(&self, now: Tick) -> Report {
        let board = self.last();
        let ranked = board.as_ref().and_then(|board| board.top(self).ok());
        let missing = match (self.gather(now), &board) {
            (Err(incomplete), _) => incomplete.missing,
            (Ok(_), Some(board)) => {
                board.top(self).err().map_or_else(Vec::new, |incomplete| incomplete.missing)
            }
            (Ok(_), None) => Vec::new(),
        };
        let held = self.upstream.pins.weight(self.spec.keys.iter().map(|key| &**key));
        Report {
            missing,
            items: ranked.map_or(0, |ranked| ranked.items),
            bytes: held + ranked.map_or(0, Ranked::weight),
            whole_since: self.whole_since(),
        }
    }

    /// Logs why answers can't be ranked, if that is news.
    fn tell(&self, board: &Board) {
        let Err(incomplete) = board.top(self) else { return };
        let why: Vec<_> =
            incomplete.missing.iter().map(|missing| format!("{}: {}", missing.key, missing.why)).collect();
        let why =
            if incomplete.no_room.is_some() { "there is no room for it".to_owned() } else { why.join("; ") };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != why {
            warn!(view = self.spec.name, why, "a view can't be ranked; the same again is not told");
            *told = why;
        }
    }

    fn note_whole(&self, is_whole: bool, now: Tick) {
        match (is_whole, self.whole_since()) {
            (true, None) => self.whole_since.store(now.0.max(1), Ordering::Relaxed),
            (false, Some(_)) => self.whole_since.store(0, Ordering::Relaxed),
            _ => {}
        }
    }
}
