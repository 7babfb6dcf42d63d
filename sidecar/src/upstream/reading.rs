//! What a reader gets: at once, or when the fetch has landed that it waits for.
//!
//! Nothing here waits, and time is passed in.

use std::sync::atomic::Ordering;

use super::{
    Upstream,
    answers::Keeper,
    departure::Landing,
    judge::{Forward, SERVER_ERROR, Verdict, Wants, judge, may_serve_on_error, name},
    served::{Refused, Served},
    service::PAUSE,
};
use crate::{clock::Tick, store::Shelf};

/// Whether fetching an answer has taken too long when that was tried last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hung(pub(crate) bool);

/// What becomes of a request at once.
pub(crate) enum Begun {
    /// It is answered.
    Served {
        /// With this.
        served: Served,
        /// Whether that is to be fetched anew meanwhile, and then whether that has taken too long before.
        refresh: Option<Hung>,
    },
    /// It takes nothing that would have to be fetched.
    Refused(Refused),
    /// It waits for a fetch, for this reason.
    Waits(Forward),
}

impl Upstream {
    /// Begins to answer a request.
    pub(crate) fn begin<S: Shelf>(
        &self,
        keeper: Keeper<'_, S>,
        key: &str,
        wants: &Wants,
        now: Tick,
    ) -> Begun {
        let stats = &self.stats;
        let stored = keeper.stored(self, key, wants.accept.as_ref());
        let origin = stored.as_deref().and_then(|entry| entry.origin.as_deref());
        let forward = match (judge(origin, wants, now), &stored, origin) {
            (Verdict::Serve, Some(entry), Some(origin)) => {
                stats.hits.fetch_add(1, Ordering::Relaxed);
                origin.note_asked();
                return Begun::Served { served: Served::hit(entry, origin, now, None), refresh: None };
            }
            (Verdict::ServeStale(detail), Some(entry), Some(origin)) => {
                stats.stale_hits.fetch_add(1, Ordering::Relaxed);
                origin.note_asked();
                let paused = origin.failed().is_none_or(|(at, _)| now.since(at) >= PAUSE);
                let refresh = paused.then(|| Hung(origin.is_hung()));
                return Begun::Served { served: Served::hit(entry, origin, now, Some(detail)), refresh };
            }
            (Verdict::Fetch(forward), _, _) => forward,
            // What is served is stored.
            _ => Forward::UriMiss,
        };
        stats.misses.fetch_add(1, Ordering::Relaxed);
        if wants.only_if_cached {
            return Begun::Refused(Refused::NotCached(forward));
        }
        Begun::Waits(forward)
    }

    /// Answers a request whose fetch has landed; `collapsed` if that was under way before.
    pub(crate) fn end<S: Shelf>(
        &self,
        keeper: Keeper<'_, S>,
        key: &str,
        wants: &Wants,
        forward: Forward,
        (landing, collapsed): (Landing, bool),
        now: Tick,
    ) -> Result<Served, Refused> {
        // Not what was stored when it was asked for: that may have been deleted since, or a later fetch may have stored.
        let on_error = |why: &str| {
            let entry = keeper.stored(self, key, wants.accept.as_ref())?;
            let origin = entry.origin.as_deref().filter(|origin| may_serve_on_error(origin, wants, now))?;
            self.stats.stale_hits.fetch_add(1, Ordering::Relaxed);
            let why = (!origin.life.is_fresh(now)).then_some(why);
            Some(Served::hit(&entry, origin, now, why))
        };
        match landing {
            Ok(landed) => {
                let instead = landed.status.is_server_error().then(|| on_error(name(SERVER_ERROR))).flatten();
                Ok(instead.unwrap_or_else(|| Served::fetched(&landed, forward, collapsed, now)))
            }
            Err(failure) => on_error(failure.as_str()).ok_or(Refused::Failed(forward, failure)),
        }
    }
}
