//! What is done with a request, by what is stored.

use std::time::Duration;

use bytes::Bytes;

use super::{Origin, failure::Failure};
use crate::clock::Tick;

/// What a reader will accept.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// Nothing that the upstream doesn't say is still so.
    pub reload: bool,
    /// Nothing older than this.
    pub max_age: Option<Duration>,
    /// Nothing that isn't stored.
    pub only_if_cached: bool,
    /// What it wants to be answered with: the text of its `Accept`.
    pub accept: Option<Bytes>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is stored is served.
    Serve,
    /// What is stored is served, marked, and fetched anew.
    ServeStale(&'static str),
    /// It is fetched.
    Fetch(Forward),
}

/// Why something is fetched, in the words of RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Nothing is stored.
    UriMiss,
    /// What is stored is for another `Accept`.
    VaryMiss,
    /// What is stored has ended.
    Stale,
    /// The request takes less than what is stored.
    Request,
}

// === impl Forward ===

impl Forward {
    /// Its name in `Cache-Status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
        }
    }
}

/// What is done with a request.
#[must_use]
pub fn judge(stored: Option<&Origin>, wants: &Wants, now: Tick) -> Verdict {
    let Some(origin) = stored else { return Verdict::Fetch(Forward::UriMiss) };
    if !origin.answers(wants.accept.as_ref()) {
        return Verdict::Fetch(Forward::VaryMiss);
    }
    if wants.reload || wants.max_age.is_some_and(|most| origin.life.age(now) > most) {
        return Verdict::Fetch(Forward::Request);
    }
    if origin.life.is_fresh(now) {
        return Verdict::Serve;
    }
    if now < origin.life.while_revalidate {
        return Verdict::ServeStale("stale-while-revalidate");
    }
    match origin.failed() {
        // Whoever asked first has waited for the failure: nobody else has to, until it is over.
        Some((_, kind)) if now < origin.life.if_error => Verdict::ServeStale(name(kind)),
        _ => Verdict::Fetch(Forward::Stale),
    }
}

/// Whether what is stored may be served because the upstream has failed.
#[must_use]
pub fn may_serve_on_error(origin: &Origin, wants: &Wants, now: Tick) -> bool {
    let taken = !wants.reload && wants.max_age.is_none_or(|most| origin.life.age(now) <= most);
    taken && origin.answers(wants.accept.as_ref()) && now < origin.life.if_error
}

/// The kind of failure that stands for a 5xx.
pub(super) const SERVER_ERROR: usize = Failure::KINDS.len();

/// What a failure is called in `Cache-Status`.
#[must_use]
pub fn name(kind: usize) -> &'static str {
    Failure::KINDS.get(kind).copied().unwrap_or("upstream-status")
}
