//! Reads through: serves what is stored, fetches what isn't, and keeps what is in use.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, SemaphorePermit},
};

use super::{
    Flight, Upstream,
    allowance::Allowance,
    answers::{Boarding, For, Keeper, Ticket},
    client::Room,
    departure::{Departure, Landed, Landing},
    failure::Failure,
    fetch::Wish,
    judge::Wants,
    limiter::Urgency,
    places::Place,
    reading::{Begun, Hung},
    rest::Rest,
    served::{Refused, Served},
};
use crate::{catalog::Catalog, clock::Tick, engine::Engine, mounts::Mounts};

/// How long after a failed fetch of an answer the next one in the background begins at the earliest.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What upstream caches have in common: the store, the Secrets, the thread.
#[derive(Debug)]
pub struct Service {
    engine: Arc<Engine>,
    mounts: Mounts,
    runtime: Handle,
    room: Room,
    /// One for each reader who may wait.
    readers: Semaphore,
    /// What views hold of upstreams' answers.
    allowance: Allowance,
    /// Whoever ranks what views show has it: one at a time, because the texts that are ranked take memory.
    ranking: Semaphore,
    /// Told when a place for a fetch for which nobody waits may be free.
    pub(super) landed: Notify,
}

/// For whom something is fetched.
pub(super) enum Asker {
    /// For a reader, who waits for it.
    Reader,
    /// For nobody who waits, in one of the places that there are for this.
    Nobody {
        /// Given back when the fetch has ended.
        _place: Place,
        /// Whether a reader was served what has ended.
        served: bool,
    },
}

// === impl Service ===

impl Service {
    /// A service whose fetches run on `runtime`, and of whose readers three quarters of `connections` may wait at once: the
    /// others are left to the other caches.
    #[must_use]
    pub fn new(engine: Arc<Engine>, mounts: Mounts, runtime: Handle, connections: usize) -> Self {
        let readers = Semaphore::new((connections * 3 / 4).max(1));
        Self {
            allowance: engine.allowance.clone(),
            engine,
            mounts,
            runtime,
            room: Room::default(),
            readers,
            ranking: Semaphore::new(1),
            landed: Notify::new(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What runs what must not delay the API's answers.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits for a turn to rank.
    pub(crate) async fn turn_to_rank(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.ranking.acquire().await.ok()
    }

    /// What views hold.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Where answers are kept.
    pub(super) fn keeper(&self) -> Keeper<'_> {
        Keeper { engine: &self.engine, allowance: &self.allowance }
    }

    pub(super) fn mounts(&self) -> &Mounts {
        &self.mounts
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// Answers a request.
    pub async fn read(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        rest: Rest<'_>,
        wants: &Wants,
    ) -> Result<Served, Refused> {
        let now = Tick::now();
        let forward = match upstream.begin(self.keeper(), rest.as_str(), wants, now) {
            Begun::Served { served, refresh } => {
                if let Some(place) = refresh.and_then(|Hung(hung)| upstream.place(now)?.of(hung)) {
                    let accept = wants.accept.clone();
                    self.begin_in_background(catalog, upstream, rest.as_str(), accept, (place, true));
                }
                return Ok(served);
            }
            Begun::Refused(refused) => return Err(refused),
            Begun::Waits(forward) => forward,
        };
        let (landing, collapsed) = self.fetch(catalog, upstream, rest.as_str(), wants).await;
        upstream.end(self.keeper(), rest.as_str(), wants, forward, (landing, collapsed), Tick::now())
    }

    /// Drops what is stored of a key, and keeps fetches that are under way from storing it anew.
    pub fn delete(&self, upstream: &Upstream, rest: Rest<'_>) {
        upstream.void(self.keeper(), rest.as_str(), Tick::now());
        // Whoever asks may have found the cache before it was defined anew.
        let current =
            self.engine.catalog().and_then(|catalog| catalog.upstreams.get(&upstream.spec.name).cloned());
        if let Some(current) = current.filter(|current| current.id != upstream.id) {
            current.void(self.keeper(), rest.as_str(), Tick::now());
        }
    }

    /// Pins these keys of an upstream and no others.
    pub(crate) fn pin(&self, upstream: &Upstream, keys: &BTreeSet<&str>, now: Tick) {
        upstream.pin(self.keeper(), keys, rand::random(), now);
    }

    /// The binding's `memory` in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.engine.catalog().map_or(0, |catalog| catalog.memory)
    }

    /// The answer of a fetch that is under way, or of a new one; whether it was under way.
    async fn fetch(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        wants: &Wants,
    ) -> (Landing, bool) {
        let Ok(_reader) = self.readers.try_acquire() else {
            let until = Tick::now() + PAUSE;
            return (Err(Failure::Limited(until, "too many readers wait for upstreams")), false);
        };
        let mut again = false;
        loop {
            let (flight, joined) = match self.join_or_begin(catalog, upstream, key, wants, Asker::Reader) {
                Ok(flight) => flight,
                Err(landing) => return (landing, false),
            };
            match landed(flight).await {
                // Perhaps one for which nobody waited, and that stood back: one reader's is next, which the others join.
                Err(Failure::Limited(..)) if joined && !again => again = true,
                // It was under way for longer than the reader takes: the next one is younger.
                Ok(landed) if joined && !again && is_too_old(&landed, wants) => again = true,
                landing => return (landing, joined),
            }
        }
    }

    /// Fetches for nobody who waits, unless somebody does already. `place`: one of the upstream's for this.
    pub(crate) fn begin_in_background(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        accept: Option<Bytes>,
        (place, served): (Place, bool),
    ) {
        let asker = Asker::Nobody { _place: place, served };
        let wants = Wants { accept, ..Wants::default() };
        if let Ok((_, false)) = self.join_or_begin(catalog, upstream, key, &wants, asker) {
            upstream.fetches.in_background.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A fetch to wait for and whether it was under way, or what has landed in the meantime.
    fn join_or_begin(
        self: &Arc<Self>,
        catalog: &Catalog,
        upstream: &Arc<Upstream>,
        key: &str,
        wants: &Wants,
        asker: Asker,
    ) -> Result<(Flight, bool), Landing> {
        let (whom, urgency) = match asker {
            Asker::Reader => (For::Reader, Urgency::Awaited),
            Asker::Nobody { served: true, .. } => (For::Served, Urgency::Background),
            Asker::Nobody { .. } => (For::Nobody, Urgency::Background),
        };
        let ticket = match upstream.board(self.keeper(), key, wants, whom, Tick::now())? {
            Boarding::Joined(flight) => return Ok((flight, true)),
            Boarding::Begun(ticket) => ticket,
        };
        let wish =
            Wish { rest: key.into(), accept: wants.accept.clone(), validators: ticket.validators(), urgency };
        let Ticket { number, told, flight, stored } = ticket;
        let most = upstream.spec.max_bytes.unwrap_or(catalog.sidecar.max_value);
        let departure = Departure {
            service: Arc::clone(self),
            upstream: Arc::clone(upstream),
            number,
            key: key.into(),
            has_landed: false,
            asker,
        };
        self.runtime.spawn(async move {
            told.send_replace(Some(departure.fly(wish, stored, most).await));
        });
        Ok((flight, false))
    }
}

/// Whether an answer that others have asked for is older than a reader takes.
fn is_too_old(landed: &Landed, wants: &Wants) -> bool {
    wants.max_age.is_some_and(|most| landed.life.age(Tick::now()) > most)
}

/// What becomes of a fetch. A fetcher that ends unexpectedly has ended, too.
async fn landed(mut flight: Flight) -> Landing {
    match flight.wait_for(Option::is_some).await {
        Ok(landing) => {
            landing.clone().unwrap_or_else(|| Err(Failure::Failed("it has ended without an answer".into())))
        }
        Err(_) => Err(Failure::Failed("it has ended without an answer".into())),
    }
}
