//! Upstream caches: what a REST service answers, read through.
//!
//! ```text
//! api ─► service ─► judge ── fresh ──────────────► served
//!           │         └── not ─► flights ─► fetch ─► land ─► store
//!        refresh ────────────────┘             │
//!                                   client, limiter, pages
//! ```
//!
//! No stream and no lease concerns them: what is stored is what the upstream has answered, for as long as it and the
//! binding say. What keeps an older answer from taking a newer one's place, or from coming back after a DELETE, is
//! [`flights`]. [`rest`], [`life`], [`limiter`], [`pages`], [`judge`], [`schedule`], [`pins`] and [`flights`] are functions of their
//! arguments; `places` says how many fetches nobody waits for; `reading` and `answers` stand between them and the store, and wait for nothing, so that the simulator has them,
//! too; [`client`] alone knows the network, [`fetch`] puts requests together, and [`service`] does the rest, on a
//! thread of its own, so that no handshake and no large body delays an answer.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use bytes::Bytes;
use freshet_crds::binding::UpstreamSpec;
use hyper::StatusCode;
use tokio::sync::{Semaphore, watch};

use crate::{
    catalog::CacheStats,
    clock::Tick,
    planted::{Bug, planted},
};

pub mod allowance;
pub(crate) mod answers;
pub mod client;
pub mod departure;
pub mod failure;
pub mod fetch;
pub mod flights;
pub mod judge;
pub mod life;
pub mod limiter;
pub mod pages;
pub mod pins;
mod places;
pub(crate) mod reading;
mod refresh;
pub mod schedule;
pub mod served;
pub mod service;
mod stats;

pub use freshet_crds::rest;
pub use stats::{Outcome, UpstreamStats};

use client::Client;
use departure::Landing;
use failure::Failure;
use fetch::Validators;
use flights::{Flights, Number};
use life::{Life, Says, Terms};
use limiter::{Limiter, Urgency};
use pins::Pins;
use places::{Place, Places};
use schedule::Schedule;

/// How many requests are sent to one upstream at once.
pub const AT_ONCE: usize = 16;
/// How many requests are sent to all upstreams at once.
pub const ALL_AT_ONCE: usize = 64;
/// How many files upstreams have open: the connections that are in use, and the idle ones of some.
pub const DESCRIPTORS: usize = ALL_AT_ONCE + 32;
/// How many fetches of one cache may be under way, those that wait for a connection included.
pub const MOST_FETCHES: usize = 1024;

/// A cache that reads a REST service through, as it runs.
#[derive(Debug)]
pub struct Upstream {
    /// Told apart from every other definition of a cache in this process.
    pub id: u32,
    /// Its definition.
    pub spec: UpstreamSpec,
    /// What it counts of reads and values.
    pub stats: Arc<CacheStats>,
    /// What it counts of requests to the upstream.
    pub fetches: UpstreamStats,
    /// The answers that views need.
    pub pins: Pins,
    terms: Terms,
    client: Client,
    limiter: Mutex<Limiter>,
    flights: Mutex<Flights<Flight>>,
    schedule: Mutex<Schedule>,
    slots: Semaphore,
    /// The most requests that a fetch has taken.
    requests: AtomicU32,
    background: Places,
}

/// What those wait for who have joined a fetch.
pub(crate) type Flight = watch::Receiver<Option<Landing>>;

/// What is known of an upstream's answer beside what all entries have.
#[derive(Debug)]
pub struct Origin {
    /// The status that it came with: 200, 404 or 410.
    pub status: u16,
    /// Its life.
    pub life: Life,
    /// What its head said of that.
    pub says: Says,
    /// With what the upstream can be asked about it.
    pub validators: Validators,
    /// The `Accept` that it was fetched with.
    pub accept: Option<Bytes>,
    /// Whether it depends on that.
    pub varies: bool,
    /// The fetch that brought it.
    pub number: Number,
    /// Whether it was asked for since.
    asked: AtomicU64,
    /// When a fetch of it has failed last, and how: 0 if it hasn't, since this came.
    failed: AtomicU64,
}

// === impl Upstream ===

impl Upstream {
    /// A cache without values.
    #[must_use]
    pub fn new(id: u32, spec: UpstreamSpec) -> Self {
        let terms = Terms {
            ttl: spec.ttl,
            jitter: spec.ttl_jitter,
            stale_while_revalidate: spec.stale_while_revalidate,
            stale_if_error: spec.stale_if_error,
        };
        Self {
            id,
            stats: Arc::default(),
            fetches: UpstreamStats::default(),
            pins: Pins::new(spec.refresh),
            spec,
            terms,
            client: Client::default(),
            limiter: Mutex::default(),
            flights: Mutex::default(),
            schedule: Mutex::default(),
            slots: Semaphore::new(AT_ONCE),
            requests: AtomicU32::new(1),
            background: Places::default(),
        }
    }

    /// Until when the upstream takes no requests, if it has said so.
    #[must_use]
    pub fn held(&self, now: Tick) -> Option<Tick> {
        self.limiter().held(now)
    }

    /// When a fetch for which nobody waits may begin, as far as the rate and the upstream's word go.
    #[must_use]
    pub fn open_from(&self, now: Tick) -> Tick {
        self.ready(now).err().unwrap_or(now)
    }

    /// Whether there are tokens for a whole fetch for which nobody waits: with fewer, those of a list would be spent on its
    /// first pages for ever. If not, when there is another one.
    fn ready(&self, now: Tick) -> Result<(), Tick> {
        // On a copy: the tokens are taken by who sends the requests.
        let mut limiter = self.limiter().clone();
        let most = self.spec.rate.map_or(1, |rate| rate.burst.saturating_sub(1).max(1));
        let needed = self.requests.load(Ordering::Relaxed).clamp(1, most);
        (0..needed).try_for_each(|_| limiter.take(self.spec.rate, Urgency::Background, now))
    }

    /// Notes that a fetch takes so many requests, its pages and redirects.
    fn note_requests(&self, requests: u32) {
        self.requests.fetch_max(requests, Ordering::Relaxed);
    }

    /// How many fetches are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.flights().running()
    }

    /// A place for a fetch for which nobody waits, if it would have its tokens, too, were it made now.
    pub(crate) fn place(&self, now: Tick) -> Option<Place> {
        self.ready(now).ok()?;
        self.background.take()
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, Flights<Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Origin ===

impl Origin {
    /// Bytes it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let texts = len(&self.validators.etag) + len(&self.validators.last_modified) + len(&self.accept);
        (size_of::<Self>() + texts) as u64
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK)
    }

    /// Whether it answers requests with this `Accept`.
    #[must_use]
    pub fn answers(&self, accept: Option<&Bytes>) -> bool {
        !self.varies || self.accept.as_ref() == accept || planted(Bug::VaryForgotten)
    }

    /// When fetching it anew has failed last, if it has since it came, and the kind of failure.
    #[must_use]
    pub fn failed(&self) -> Option<(Tick, usize)> {
        let noted = self.failed.load(Ordering::Relaxed);
        (noted > 0).then(|| (Tick(noted >> 8), usize::try_from(noted & 0xff).unwrap_or_default()))
    }

    /// Whether fetching it anew has taken too long, when that was tried last.
    fn is_hung(&self) -> bool {
        self.failed().is_some_and(|(_, kind)| kind == Failure::LATE)
    }

    /// Notes that fetching it anew has failed.
    fn note_failure(&self, at: Tick, kind: usize) {
        // A clock of 56 bits of milliseconds lasts for two million years.
        self.failed.store(at.0.max(1) << 8 | kind as u64 & 0xff, Ordering::Relaxed);
    }

    fn note_asked(&self) {
        self.asked.store(1, Ordering::Relaxed);
    }

    fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }
}
