//! A fetch from its departure to what it has come to: stored, passed on, or failed.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Origin, Outcome, Upstream,
    failure::Failure,
    fetch::{Change, Fetched, Wish, fetch},
    flights::Number,
    judge::SERVER_ERROR,
    life::Life,
    pins::Fault,
    service::{Asker, Service},
};
use crate::{clock::Tick, entry::Entry};

/// What a fetch has come to.
pub type Landing = Result<Arc<Landed>, Failure>;

/// An answer of the upstream's, as those get it who have waited for it.
#[derive(Debug)]
pub struct Landed {
    /// The status.
    pub status: StatusCode,
    /// The media type, empty if there is none.
    pub content_type: Bytes,
    /// The body.
    pub body: Bytes,
    /// Its life.
    pub life: Life,
    /// Whether it is stored.
    pub stored: bool,
    /// Whether the upstream has only said that what was stored is still so.
    pub revalidated: bool,
}

/// A fetch under way, which ends in any case.
pub(super) struct Departure {
    pub(super) service: Arc<Service>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) number: Number,
    pub(super) key: Box<str>,
    /// Whether it has been taken off the flights.
    pub(super) has_landed: bool,
    /// For whom it is.
    pub(super) asker: Asker,
}

impl Departure {
    /// Fetches, stores and counts.
    pub(super) async fn fly(mut self, wish: Wish, stored: Option<Arc<Entry>>, most: u64) -> Landing {
        let upstream = Arc::clone(&self.upstream);
        let began = Instant::now();
        let service = Arc::clone(&self.service);
        let change = fetch(&upstream, service.mounts(), service.room(), &wish, most).await;
        upstream.fetches.durations.count(began.elapsed());
        let accept = wish.accept.clone();
        let landing = match change {
            Ok(Change::New(answer)) => Ok(self.land(answer, accept, false)),
            Ok(Change::None { head, age, at }) => {
                let renewed =
                    stored.and_then(|entry| upstream.renewed(&entry, &head, age, at, rand::random()));
                let nothing = || Failure::Failed("it answers 304, and nothing is stored".into());
                renewed.ok_or_else(nothing).map(|answer| self.land(answer, accept, true))
            }
            Err(failure) => Err(failure),
        };
        self.note(&landing, wish.accept.is_none());
        landing
    }

    /// Stores an answer, if it may be.
    fn land(&mut self, answer: Fetched, accept: Option<Bytes>, revalidated: bool) -> Arc<Landed> {
        self.has_landed = true;
        let (place, when) = ((&*self.key, self.number), (Tick::now(), rand::random()));
        Arc::new(self.upstream.land(self.service.keeper(), place, answer, accept, revalidated, when))
    }

    /// Counts what has become of it, and notes a failure where it is stored what may be served instead; `is_for_views` if
    /// views would have asked the same.
    fn note(&self, landing: &Landing, is_for_views: bool) {
        let (upstream, now) = (&self.upstream, Tick::now());
        let (outcome, why) = match landing {
            Ok(landed) if landed.status.is_server_error() => {
                (Outcome::ServerError, Some((SERVER_ERROR, format!("it answers {}", landed.status))))
            }
            Ok(landed) if landed.revalidated => (Outcome::Revalidated, None),
            Ok(landed) if landed.stored => (Outcome::Stored, None),
            Ok(_) => (Outcome::Passed, None),
            Err(failure) => (Outcome::Failed(failure.kind()), Some((failure.kind(), failure.to_string()))),
        };
        upstream.fetches.count(outcome);
        let fault = match landing {
            Err(Failure::Limited(until, _)) => Fault::Limited(*until),
            Err(Failure::Late(..)) => Fault::Late,
            _ => Fault::Other,
        };
        let passed = match landing {
            // What had to be stored or dropped then has been, unless another fetch knows better.
            Ok(landed) if landed.stored || matches!(landed.status.as_u16(), 200 | 404 | 410) => None,
            Ok(landed) => Some(format!("it answers {}", landed.status)),
            Err(_) => None,
        };
        // What fails for an application's `Accept` need not fail for views, which send none.
        if let Some(why) = why.as_ref().map(|(_, why)| why.clone()).or(passed).filter(|_| is_for_views) {
            let why = match fault {
                Fault::Limited(_) => why,
                Fault::Late | Fault::Other => format!("fetching it has failed: {why}"),
            };
            upstream.pins.failed(&self.key, why, fault, now);
        }
        if matches!((&self.asker, landing), (Asker::Nobody { .. }, Err(Failure::Limited(..)))) {
            // It stood back for those who wait.
            return;
        }
        let cache = upstream.spec.name.as_str();
        let Some((kind, why)) = why else {
            if upstream.fetches.last_failure().is_some() {
                info!(cache, "the upstream answers again");
                upstream.fetches.note_answer();
            }
            return;
        };
        upstream.note_failed(self.service.keeper(), &self.key, now, kind);
        if upstream.fetches.note_failure(now, why.clone()) {
            warn!(cache, why, "the upstream fails; the same again is only counted");
        }
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        if !self.has_landed {
            self.upstream.crash(&self.key, self.number);
        }
        if matches!(self.asker, Asker::Nobody { .. }) {
            self.service.landed.notify_one();
        }
    }
}

impl Landed {
    /// What is stored, to those who come just as it is.
    pub(super) fn of(entry: &Entry, origin: &Origin, revalidated: bool) -> Self {
        Self {
            status: origin.status(),
            content_type: entry.content_type.clone(),
            body: entry.body.clone(),
            life: origin.life,
            stored: true,
            revalidated,
        }
    }
}
