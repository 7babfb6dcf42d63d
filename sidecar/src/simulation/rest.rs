//! A REST service that changes, answers late, and fails; and its readers, whom an upstream cache stands before.
//!
//! What `upstream` does without the network runs for real. A fetch is three steps, between which anything can happen: it
//! begins, the service says something, and that arrives.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{checker::Violation, shelf::MapShelf, world::World};
use crate::upstream::{
    Flight, Upstream,
    allowance::Allowance,
    answers::{Boarding, For, Keeper},
    judge::{Forward, Wants},
    reading::Begun,
    served::Served,
};

mod fetches;
mod judge;
mod saying;
mod views;

use fetches::Trip;
use saying::{Ends, Head};
use views::Ranking;
pub(crate) use views::view;

/// `ttl` of the cache in milliseconds.
const TTL: u64 = 5000;
/// `staleWhileRevalidate` in milliseconds.
const WHILE_REVALIDATE: u64 = 2000;
/// `staleIfError` in milliseconds.
const IF_ERROR: u64 = 4000;
/// Fetches for nobody that may be under way at once.
const IN_BACKGROUND: usize = 4;
/// Keys that are read.
const KEYS: u8 = 3;

/// The cache, as the binding defines it.
pub(crate) fn definition() -> String {
    format!(
        "{{name: rest, ttl: {TTL}ms, ttlJitter: 0%, upstream: {{url: 'http://rest', refresh: 3s,
           staleWhileRevalidate: {WHILE_REVALIDATE}ms, staleIfError: {IF_ERROR}ms}}}}"
    )
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A reader asks.
    Ask { key: u8, how: u8 },
    /// A reader asks, and if that needs a fetch, it is made at once.
    Through { key: u8, how: u8, head: u8 },
    /// The service answers a fetch: what it says is what there is at that time.
    Say { trip: u8, head: u8 },
    /// What it has said arrives.
    Land { trip: u8 },
    /// A fetch fails.
    Fail { trip: u8, how: u8 },
    /// What the service has changes.
    Change { key: u8, gone: bool },
    /// The application deletes what is stored.
    Delete { key: u8 },
    /// What is in use and due is fetched anew.
    Refresh,
    /// A reader asks for the view; `slow` if anything can happen while it is ranked.
    Look { slow: bool },
    /// What was slow to be ranked is shown.
    Show,
}

/// The service, its readers, and what is known of both.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// A moment of this world: every act is one.
    moment: u64,
    /// What views hold.
    allowance: Allowance,
    /// What is being ranked, and when it was asked for.
    ranking: Option<Ranking>,
    /// Per key, which of its versions there is, and whether that is that there is nothing.
    versions: BTreeMap<u8, (u64, bool)>,
    trips: Vec<Trip>,
    readers: Vec<Reader>,
    begun: u64,
    statements: Vec<Statement>,
    /// Per statement of a whole answer, those that were stored and say of it that it is so, in this order.
    renewals: BTreeMap<usize, Vec<usize>>,
    /// Per key, when it was deleted last.
    deleted: BTreeMap<u8, u64>,
    /// Per definition of the cache and key, and whether it is for those with an `Accept`, the newest fetch that has stored what
    /// answers them.
    stored: BTreeMap<(u32, u8, bool), u64>,
    /// Per key, when a fetch has failed last.
    failed: BTreeMap<u8, u64>,
}

/// What the service has said, when, and how long that is good for.
#[derive(Clone, Debug)]
struct Statement {
    key: u8,
    body: String,
    /// Which statement has the body: itself, or an earlier one.
    of: usize,
    /// The `Accept` that it was for, and whether it depends on that.
    accept: Option<Bytes>,
    varies: bool,
    /// It says that there is nothing.
    gone: bool,
    at: u64,
    ends: Ends,
    /// What it says of its life, for one that says nothing of it to inherit.
    head: Head,
    /// The fetch: when it began, its place among all, and the definition of the cache.
    began: u64,
    order: u64,
    upstream: u32,
    /// When it arrived.
    landed: u64,
}

/// A reader that waits.
#[derive(Debug)]
struct Reader {
    key: u8,
    wants: Wants,
    asked: u64,
    upstream: Arc<Upstream>,
    forward: Forward,
    flight: Flight,
    collapsed: bool,
    /// What it waits for, by its order.
    trip: u64,
}

impl Rest {
    /// Another process has begun.
    pub(crate) fn restart(&mut self) {
        self.trips.clear();
        self.readers.clear();
        self.ranking = None;
        self.stored.clear();
        self.deleted.clear();
    }

    fn version(&mut self, key: u8) -> (u64, bool) {
        *self.versions.entry(key).or_insert((1, false))
    }
}

impl World {
    pub(crate) fn act(&mut self, act: Act) -> Result<(), Violation> {
        if !self.setting.reads_through {
            return Ok(());
        }
        self.rest.moment += 1;
        match act {
            Act::Ask { key, how } => {
                self.request(key, how)?;
            }
            Act::Through { key, how, head } => {
                if let Some(trip) = self.request(key, how)? {
                    self.answer(trip, head);
                    self.arrive(trip)?;
                }
            }
            Act::Say { trip, head } => {
                let silent = |trip: &&Trip| !trip.is_answered();
                if let Some(order) = self.trip(trip, silent) {
                    self.answer(order, head);
                }
            }
            Act::Land { trip } => {
                if let Some(order) = self.trip(trip, |trip| trip.is_answered()) {
                    self.arrive(order)?;
                }
            }
            Act::Fail { trip, how } => {
                if let Some(order) = self.trip(trip, |_| true) {
                    self.break_off(order, how)?;
                }
            }
            Act::Change { key, gone } => {
                let version = self.rest.version(key);
                self.rest.versions.insert(key, (version.0 + 1, gone));
            }
            Act::Delete { key } => {
                if let Some(upstream) = self.upstream() {
                    let now = self.clock().tick;
                    upstream.void(self.keeper(), &key.to_string(), now);
                    self.rest.deleted.insert(key, self.rest.moment);
                    self.tally.count("rest: delete");
                }
            }
            Act::Refresh => self.refresh(),
            Act::Look { slow } => self.look_at_view(slow)?,
            Act::Show => self.show_view()?,
        }
        Ok(())
    }

    fn keeper(&self) -> Keeper<'_, MapShelf> {
        Keeper { engine: &self.engine, allowance: &self.rest.allowance }
    }

    fn upstream(&self) -> Option<Arc<Upstream>> {
        self.engine.catalog()?.upstreams.get("rest").cloned()
    }

    /// One of the fetches under way.
    fn trip(&self, n: u8, like: impl Fn(&&Trip) -> bool) -> Option<u64> {
        let trips: Vec<u64> = self.rest.trips.iter().filter(like).map(|trip| trip.order).collect();
        trips.get(usize::from(n) % trips.len().max(1)).copied()
    }

    /// A reader asks; the fetch that has begun for it, if one has.
    fn request(&mut self, key: u8, how: u8) -> Result<Option<u64>, Violation> {
        let Some(upstream) = self.upstream() else { return Ok(None) };
        let (wants, now, asked) = (wants(how), self.clock().tick, self.rest.moment);
        let text = key.to_string();
        let forward = match upstream.begin(self.keeper(), &text, &wants, now) {
            Begun::Served { served, refresh } => {
                self.judge_stored(upstream.id, key, &wants, asked, &served)?;
                if refresh.is_some() {
                    self.fetch_in_background(&upstream, key, wants.accept);
                }
                return Ok(None);
            }
            Begun::Refused(_) => return Ok(None),
            Begun::Waits(forward) => forward,
        };
        let (flight, trip, collapsed) = match upstream.board(self.keeper(), &text, &wants, For::Reader, now) {
            Ok(Boarding::Joined(flight)) => {
                let trip = self.rest.trips.iter().find(|trip| trip.flight.same_channel(&flight));
                let order = trip.map(|trip| trip.order);
                self.tally.count("rest: joined");
                (flight, order.unwrap_or_default(), true)
            }
            Ok(Boarding::Begun(ticket)) => {
                let flight = ticket.flight.clone();
                let order = self.depart(&upstream, key, wants.accept.clone(), ticket, false);
                (flight, order, false)
            }
            Err(landing) => {
                if let Ok(served) = upstream.end(self.keeper(), &text, &wants, forward, (landing, false), now)
                {
                    self.judge_stored(upstream.id, key, &wants, asked, &served)?;
                }
                return Ok(None);
            }
        };
        self.rest.readers.push(Reader { key, wants, asked, upstream, forward, flight, collapsed, trip });
        Ok((!collapsed).then_some(trip))
    }

    /// Those who have waited for a fetch get what it has come to: this statement, if it has brought one.
    fn wake(&mut self, order: u64, brought: Option<usize>) -> Result<(), Violation> {
        let (ready, rest) = self.rest.readers.drain(..).partition(|reader| reader.trip == order);
        self.rest.readers = rest;
        let (ready, now): (Vec<Reader>, _) = (ready, self.clock().tick);
        for reader in ready {
            let Reader { key, wants, asked, upstream, forward, flight, collapsed, .. } = reader;
            let Some(landing) = flight.borrow().clone() else {
                return Err(Violation::new("rest: told", format!("who waited for fetch {order} isn't told")));
            };
            let text = key.to_string();
            let Ok(served) = upstream.end(self.keeper(), &text, &wants, forward, (landing, collapsed), now)
            else {
                continue;
            };
            match brought.filter(|_| !served.cache_status.starts_with("freshet; hit")) {
                Some(statement) => self.judge_fetched(key, &wants, asked, &served, statement)?,
                None if served.status.is_server_error() => {}
                None => self.judge_stored(upstream.id, key, &wants, asked, &served)?,
            }
        }
        Ok(())
    }

    /// When all has come to an end, the newest is served.
    pub(crate) fn settle_rest(&mut self) -> Result<(), Violation> {
        while let Some(order) = self.rest.trips.first().map(|trip| trip.order) {
            self.rest.moment += 1;
            self.answer(order, 0);
            self.arrive(order)?;
        }
        if !self.setting.reads_through {
            return Ok(());
        }
        for key in 0..KEYS {
            for how in [RELOAD, 0] {
                self.act(Act::Through { key, how, head: 0 })?;
            }
            let version = self.rest.version(key).0;
            let upstream = self.upstream();
            let stored = upstream.and_then(|upstream| self.engine.answer(upstream.id, &key.to_string()));
            let newest = body(key, version, "");
            let newest = newest.trim_end_matches("\"}");
            let is_newest = stored.is_some_and(|entry| entry.body.starts_with(newest.as_bytes()));
            if !is_newest {
                return Err(Violation::new("rest: recovery", format!("{key} isn't stored as it is now")));
            }
        }
        Ok(())
    }
}

/// Asks for what the upstream says now.
const RELOAD: u8 = 7;

fn wants(how: u8) -> Wants {
    let accept = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    match how {
        6 => Wants { max_age: Some(Duration::from_secs(1)), ..Wants::default() },
        RELOAD => Wants { reload: true, ..Wants::default() },
        8 => Wants { only_if_cached: true, ..Wants::default() },
        9.. => Wants { accept: accept("text/html"), ..Wants::default() },
        _ => Wants::default(),
    }
}

/// What the service says of a version.
fn body(key: u8, version: u64, variant: &str) -> String {
    format!("{{\"key\":{key},\"version\":{version},\"for\":\"{variant}\"}}")
}

/// The statement whose body an answer has.
fn statement(content_type: &[u8]) -> Option<usize> {
    std::str::from_utf8(content_type).ok()?.strip_prefix("said/")?.parse().ok()
}
