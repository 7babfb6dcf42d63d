//! Fetches: each begins, hears what the service says at some time, and arrives at another, or fails.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use tokio::sync::watch;

use super::{Head, IN_BACKGROUND, Statement, Violation, World, body, statement};
use crate::{
    entry::Entry,
    upstream::{
        Flight, Upstream,
        answers::{Boarding, For, Ticket},
        client::Answer,
        departure::Landing,
        failure::Failure,
        flights::Number,
        judge::{SERVER_ERROR, Wants},
        life,
    },
};

/// A fetch under way.
#[derive(Debug)]
pub(super) struct Trip {
    /// Its place among all fetches, in the order in which they began.
    pub(super) order: u64,
    upstream: Arc<Upstream>,
    key: u8,
    accept: Option<Bytes>,
    number: Number,
    told: watch::Sender<Option<Landing>>,
    pub(super) flight: Flight,
    began: u64,
    began_at: u64,
    background: bool,
    /// What is stored, and the statement by which it is so.
    stored: Option<(Arc<Entry>, usize)>,
    etag: Option<Bytes>,
    /// What the service has said: what arrives, and which statement it is.
    said: Option<(Said, usize)>,
}

/// What arrives of what the service has said.
#[derive(Debug)]
enum Said {
    /// A whole answer.
    Whole(Answer),
    /// That what is stored is still so.
    Same(HeaderMap),
}

impl Trip {
    pub(super) fn is_answered(&self) -> bool {
        self.said.is_some()
    }
}

impl World {
    pub(super) fn depart(
        &mut self,
        upstream: &Arc<Upstream>,
        key: u8,
        accept: Option<Bytes>,
        ticket: Ticket,
        background: bool,
    ) -> u64 {
        let etag = ticket.validators().etag;
        let Ticket { number, told, flight, stored } = ticket;
        let rest = &mut self.rest;
        rest.begun += 1;
        let stored = stored.and_then(|entry| {
            let of = statement(&entry.content_type)?;
            Some((entry, *rest.renewals.get(&of)?.last()?))
        });
        rest.trips.push(Trip {
            order: rest.begun,
            upstream: Arc::clone(upstream),
            key,
            accept,
            number,
            told,
            flight,
            began: rest.moment,
            began_at: self.now,
            background,
            stored,
            etag,
            said: None,
        });
        rest.begun
    }

    pub(super) fn fetch_in_background(&mut self, upstream: &Arc<Upstream>, key: u8, accept: Option<Bytes>) {
        let places = self.rest.trips.iter().filter(|trip| trip.background).count();
        if places >= IN_BACKGROUND {
            return;
        }
        let (text, now) = (key.to_string(), self.clock().tick);
        let wants = Wants { accept: accept.clone(), ..Wants::default() };
        if let Ok(Boarding::Begun(ticket)) = upstream.board(self.keeper(), &text, &wants, For::Nobody, now) {
            self.depart(upstream, key, accept, ticket, true);
            self.tally.count("rest: in the background");
        }
    }

    pub(super) fn refresh(&mut self) {
        let Some(upstream) = self.upstream() else { return };
        while let Some(due) = upstream.pins.due(true, self.clock().tick) {
            self.fetch_in_background(&upstream, due.key.parse().unwrap(), None);
        }
        while let Some((key, accept, _)) = upstream.due(&self.engine, self.clock().tick) {
            self.fetch_in_background(&upstream, key.parse().unwrap(), accept);
        }
    }

    /// The service answers: with all of it, or that what is stored is still so.
    pub(super) fn answer(&mut self, order: u64, head: u8) {
        let (now, moment) = (self.now, self.rest.moment);
        let Some(at) = self.rest.trips.iter().position(|trip| trip.order == order) else { return };
        let (key, accept) = (self.rest.trips[at].key, self.rest.trips[at].accept.clone());
        let (version, gone) = self.rest.version(key);
        let rest = &mut self.rest;
        let (trip, n, mut head) = (&mut rest.trips[at], rest.statements.len(), Head::of(head));
        let variant = accept.as_ref().filter(|_| head.varies).map_or(&b"-"[..], |accept| accept);
        let variant = String::from_utf8_lossy(variant);
        let (etag, body) = (format!("\"{key}/{version}/{variant}\""), body(key, version, &variant));
        let same = trip.stored.as_ref().filter(|_| !gone && trip.etag.as_deref() == Some(etag.as_bytes()));
        let headers = head.headers((!gone).then_some(&*etag), n);
        let said = if let Some((_, before)) = same {
            let before = &rest.statements[*before];
            head = head.renewing(&before.head);
            let statement = Statement {
                varies: before.varies,
                of: before.of,
                ..Statement::of(trip, body, n, now, &head, gone)
            };
            (Said::Same(headers), statement)
        } else {
            let status = if gone { StatusCode::NOT_FOUND } else { StatusCode::OK };
            let whole = Answer { status, head: headers, body: body.clone().into(), delay: Duration::ZERO };
            (Said::Whole(whole), Statement::of(trip, body, n, now, &head, gone))
        };
        trip.said = Some((said.0, n));
        rest.statements.push(said.1);
        self.say(|_| format!("fetch {order}: said/{n} at moment {moment}"));
    }

    /// What the service has said arrives: it is stored if it may be, and told to those who wait.
    pub(super) fn arrive(&mut self, order: u64) -> Result<(), Violation> {
        let Some(trip) = self.take_off(order) else { return Ok(()) };
        let Some((said, n)) = trip.said else { return Ok(()) };
        let (key, at) = (trip.key.to_string(), self.clock());
        let delay = Duration::from_millis(self.now - trip.began_at);
        let (fetched, revalidated) = match said {
            Said::Whole(answer) => (Some(trip.upstream.fetched(Answer { delay, ..answer }, at)), false),
            Said::Same(head) => {
                let age = life::age(&head, delay);
                let stored = trip.stored.as_ref();
                (stored.and_then(|(entry, _)| trip.upstream.renewed(entry, &head, age, at, 0)), true)
            }
        };
        let Some(fetched) = fetched else { return Ok(()) };
        let place = (&*key, trip.number);
        let landed =
            trip.upstream.land(self.keeper(), place, fetched, trip.accept, revalidated, (at.tick, 0.0));
        let rest = &mut self.rest;
        rest.statements[n].landed = rest.moment;
        if landed.stored {
            rest.renewals.entry(rest.statements[n].of).or_default().push(n);
            let said = &rest.statements[n];
            for accept in [false, true] {
                if !said.varies || said.accept.is_some() == accept {
                    let newest = rest.stored.entry((trip.upstream.id, trip.key, accept)).or_default();
                    *newest = order.max(*newest);
                }
            }
        }
        self.tally.count(match (landed.stored, revalidated) {
            (true, false) => "rest: stored",
            (true, true) => "rest: revalidated",
            (false, _) => "rest: not stored",
        });
        trip.told.send_replace(Some(Ok(Arc::new(landed))));
        self.wake(order, Some(n))
    }

    pub(super) fn break_off(&mut self, order: u64, how: u8) -> Result<(), Violation> {
        let Some(trip) = self.take_off(order) else { return Ok(()) };
        let (key, at) = (trip.key.to_string(), self.clock());
        self.rest.failed.insert(trip.key, self.rest.moment);
        self.tally.count("rest: failed");
        let (landing, kind) = if how.is_multiple_of(3) {
            let status = StatusCode::BAD_GATEWAY;
            let answer = Answer { status, head: HeaderMap::new(), body: Bytes::new(), delay: Duration::ZERO };
            let fetched = trip.upstream.fetched(answer, at);
            let place = (&*key, trip.number);
            let landed =
                trip.upstream.land(self.keeper(), place, fetched, trip.accept, false, (at.tick, 0.0));
            (Ok(Arc::new(landed)), SERVER_ERROR)
        } else {
            let failure = if how % 3 == 1 {
                Failure::Failed("it is down".into())
            } else {
                Failure::Late("the upstream doesn't answer", Duration::from_secs(1))
            };
            trip.upstream.crash(&key, trip.number);
            let kind = failure.kind();
            (Err(failure), kind)
        };
        trip.upstream.note_failed(self.keeper(), &key, at.tick, kind);
        trip.told.send_replace(Some(landing));
        self.wake(order, None)
    }

    fn take_off(&mut self, order: u64) -> Option<Trip> {
        let at = self.rest.trips.iter().position(|trip| trip.order == order)?;
        Some(self.rest.trips.remove(at))
    }
}

impl Statement {
    fn of(trip: &Trip, body: String, n: usize, at: u64, head: &Head, gone: bool) -> Self {
        Self {
            key: trip.key,
            body,
            of: n,
            accept: trip.accept.clone(),
            varies: head.varies,
            gone,
            at,
            ends: head.ends(),
            head: head.clone(),
            began: trip.began,
            order: trip.order,
            upstream: trip.upstream.id,
            landed: 0,
        }
    }
}
