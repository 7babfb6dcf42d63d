//! What is done with a request, by what is stored.

use std::time::Duration;

use bytes::Bytes;

use super::{Origin, failure::Failure};
use crate::{
    clock::Tick,
    planted::{Bug, planted},
};

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
    let windows =
        if planted(Bug::WindowsMixedUp) { origin.life.if_error } else { origin.life.while_revalidate };
    if now < windows {
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
pub(crate) const SERVER_ERROR: usize = Failure::KINDS.len();

/// What a failure is called in `Cache-Status`.
#[must_use]
pub fn name(kind: usize) -> &'static str {
    Failure::KINDS.get(kind).copied().unwrap_or("upstream-status")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{
        fetch::Validators,
        flights::Number,
        life::{Life, Says},
    };

    /// Fresh until 10 s, served while it is fetched until 20 s, and when that fails until 30 s.
    fn origin(accept: Option<&'static str>, varies: bool) -> Origin {
        let life = Life {
            received: Tick(5_000),
            age: Duration::from_secs(1),
            fresh: Tick(10_000),
            while_revalidate: Tick(20_000),
            if_error: Tick(30_000),
        };
        let (says, validators, accept) = (Says::default(), Validators::default(), accept.map(Bytes::from));
        let (asked, failed) = (0.into(), 0.into());
        Origin { status: 200, life, says, validators, accept, varies, number: Number(1), asked, failed }
    }

    #[test]
    fn what_is_stored_is_served_as_long_as_it_may_be() {
        let (wants, origin) = (Wants::default(), origin(None, false));
        let at = |ms| judge(Some(&origin), &wants, Tick(ms));
        assert_eq!(judge(None, &wants, Tick(0)), Verdict::Fetch(Forward::UriMiss));
        assert_eq!((at(9_999), at(10_000)), (Verdict::Serve, Verdict::ServeStale("stale-while-revalidate")));
        assert_eq!((at(19_999), at(20_000)), (at(10_000), Verdict::Fetch(Forward::Stale)));
        origin.note_failure(Tick(20_000), 1);
        assert_eq!(origin.failed(), Some((Tick(20_000), 1)));
        assert_eq!(
            (at(29_999), at(30_000)),
            (Verdict::ServeStale("upstream-timeout"), Verdict::Fetch(Forward::Stale))
        );
        origin.note_failure(Tick(20_000), SERVER_ERROR);
        assert_eq!(at(29_999), Verdict::ServeStale("upstream-status"));
    }

    #[test]
    fn a_request_can_take_less() {
        let origin = origin(None, false);
        let at = |wants: &Wants, ms| judge(Some(&origin), wants, Tick(ms));
        let reload = Wants { reload: true, ..Wants::default() };
        let young = Wants { max_age: Some(Duration::from_secs(3)), ..Wants::default() };
        assert_eq!(at(&reload, 6_000), Verdict::Fetch(Forward::Request));
        assert_eq!(
            (at(&young, 7_000), at(&young, 7_001)),
            (Verdict::Serve, Verdict::Fetch(Forward::Request))
        );
        let on_error = |wants: &Wants, ms| may_serve_on_error(&origin, wants, Tick(ms));
        assert!(on_error(&Wants::default(), 29_999) && on_error(&young, 7_000));
        assert!(
            !on_error(&Wants::default(), 30_000) && !on_error(&reload, 6_000) && !on_error(&young, 7_001)
        );
    }

    #[test]
    fn what_depends_on_accept_answers_the_same_accept() {
        let wants =
            |accept: Option<&'static str>| Wants { accept: accept.map(Bytes::from), ..Wants::default() };
        let is_served =
            |origin: &Origin, accept| judge(Some(origin), &wants(accept), Tick(6_000)) == Verdict::Serve;
        let json = Some("application/json");
        assert!(is_served(&origin(json, true), json) && is_served(&origin(None, true), None));
        assert!(is_served(&origin(json, false), None) && is_served(&origin(None, false), json));
        assert!(!is_served(&origin(json, true), None) && !is_served(&origin(None, true), json));
        assert!(!may_serve_on_error(&origin(json, true), &wants(None), Tick(6_000)));
    }
}
