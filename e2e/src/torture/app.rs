//! What an application does with its sidecar: a read, and on a miss the database and a fill.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::ledger::{Read, Value};
use super::session::{Door, Session};
use super::shape::{Cache, Key, Source};
use super::stage::Stage;
use crate::process::http::{Client, Target};

/// A sidecar and the databases, as one application sees them.
pub(crate) struct App<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) sidecar: usize,
    client: Client,
    doors: Vec<Door>,
    sessions: Vec<(Source, Session)>,
}

/// One value of one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) source: Source,
    pub(crate) cache: Cache,
    pub(crate) number: u32,
}

/// What a read came to.
#[derive(Debug)]
pub(crate) enum Got {
    /// A value that was vouched for.
    Hit(Read),
    /// Nothing, and a lease if a fill would be taken.
    Miss { lease: Option<Lease>, vouched: bool },
}

/// The right to fill a place.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) place: Place,
    token: String,
    /// Which start of the sidecar gave it.
    instance: u64,
}

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Stored,
    Fenced,
    /// The lease is of an earlier start of the sidecar.
    Foreign,
}

/// An answer that the contract doesn't know, and so not one that a killed sidecar explains.
#[derive(Debug)]
pub(crate) struct Unexpected(String);

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unexpected {}

impl Place {
    pub(crate) fn key(self) -> Key {
        Key { source: self.source, subject: self.cache.subject(self.number) }
    }

    fn path(self) -> String {
        self.cache.path(self.source, self.number)
    }
}

impl<'a> App<'a> {
    pub(crate) fn new(stage: &'a Stage, sidecar: usize, target: Target, doors: Vec<Door>) -> Self {
        Self { stage, sidecar, client: Client::new(target), doors, sessions: Vec::new() }
    }

    /// Reads a place. With `reload`, what is cached isn't taken.
    pub(crate) fn get(&mut self, place: Place, reload: bool) -> Result<Got> {
        let instance = self.stage.instance(self.sidecar);
        let headers: &[(&str, &str)] = if reload { &[("cache-control", "no-cache")] } else { &[] };
        let sent = self.stage.now();
        let answer = self.client.request("GET", &place.path(), headers, "")?;
        let answered = self.stage.now();
        let status = answer.header("cache-status").unwrap_or_default().to_owned();
        let hit = status.starts_with("freshet; hit");
        let value: Value = match (answer.status, hit) {
            (200, true) => {
                let value = place.cache.value(place.number, &answer.text());
                Some(value.map_err(|error| Unexpected(format!("{error:#}")))?.into())
            }
            (404, true) => None,
            (404, false) if status.starts_with("freshet; fwd=") => {
                let token = answer.header("freshet-lease").map(str::to_owned);
                let lease = token.map(|token| Lease { place, token, instance });
                return Ok(Got::Miss { lease, vouched: !status.contains("fwd=stale") });
            }
            _ => bail!(Unexpected(format!("GET {}: {answer:?}", place.path()))),
        };
        let (sidecar, key, cache) = (self.sidecar, place.key(), place.cache);
        Ok(Got::Hit(Read { sidecar, instance, cache, key, value, sent, answered, status }))
    }

    /// Reads the database, in a snapshot of its own, and compares the answer with the ledger.
    pub(crate) fn load(&mut self, place: Place) -> Result<Value> {
        let key = place.key();
        let sent = self.stage.now();
        let rows = self.session(key.source)?.run(&key.subject.query());
        let rows = rows.inspect_err(|_| self.sessions.retain(|(source, _)| *source != key.source))?;
        let value: Value = key.subject.value(&rows).map(Into::into);
        let wrong = self.stage.ledger().read(key, &value, sent, self.stage.now());
        self.stage.report(wrong);
        Ok(value)
    }

    /// Brings what was read.
    pub(crate) fn fill(&mut self, lease: &Lease, value: &Value) -> Result<Filled> {
        let place = lease.place;
        let mut headers = vec![("freshet-lease", lease.token.as_str())];
        let body = value.as_ref().map(|value| place.cache.body(place.number, value));
        if body.is_none() {
            headers.push(("freshet-absent", "?1"));
        }
        headers.push(("content-type", place.cache.content_type()));
        let answer = self.client.request("PUT", &place.path(), &headers, &body.unwrap_or_default())?;
        match answer.status {
            204 => Ok(Filled::Stored),
            409 => Ok(Filled::Fenced),
            400 if lease.instance != self.stage.instance(self.sidecar) => Ok(Filled::Foreign),
            _ => bail!(Unexpected(format!("PUT {}: {answer:?}", place.path()))),
        }
    }

    fn session(&mut self, source: Source) -> Result<&mut Session> {
        if !self.sessions.iter().any(|(other, _)| *other == source) {
            let door = self.doors.iter().find(|door| door.source == source).context("a database")?;
            self.sessions.push((source, door.open()?));
        }
        let (_, session) =
            self.sessions.iter_mut().find(|(other, _)| *other == source).context("a session")?;
        Ok(session)
    }
}

/// How long a reader waits after a sidecar or database that isn't there.
pub(crate) const ABSENT: Duration = Duration::from_millis(50);
