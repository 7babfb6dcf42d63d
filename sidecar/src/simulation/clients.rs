//! What applications do: read through the cache, read the database, fill.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    account::Verdict,
    checker::{Violation, directives, quiet},
    database::{KEYS, Mark, Snapshot},
    kinds::{Kind, Name},
    loaders::is_loading,
    step::Said,
    world::{World, feed},
};
use crate::{
    catalog::Catalog,
    clock::Tick,
    continuity::Break,
    dependencies::On,
    engine::{Answer, BadLease, Fill, Hit, Terms, Wanted},
    entry::Value,
    image::Image,
    key::{Key, Scalar},
    position::Position,
};

/// A lease that an application holds, and what it has read with it.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) kind: Kind,
    pub(crate) key: u8,
    pub(crate) token: String,
    pub(crate) leased: u64,
    pub(crate) leased_at: u64,
    pub(crate) process: u64,
    pub(crate) generation: u64,
    pub(crate) read: Option<Reading>,
}

/// What was read of the database.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    snapshot: Snapshot,
    value: Option<String>,
    /// The position that it was read at, if the application tells.
    mark: Option<Mark>,
}

/// What was asked, of whatever keys.
struct Asked<'a> {
    kind: Kind,
    wanted: Wanted<'a>,
    mark: Option<Mark>,
    now: Tick,
    /// Through when everything was said to have been applied.
    through: Option<Tick>,
}

/// A fill that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Filled {
    pub(crate) kind: Kind,
    pub(crate) key: u8,
    /// The moment of its lease.
    pub(crate) leased: u64,
    pub(crate) leased_at: u64,
    pub(crate) stored: u64,
    /// When its life ends at the latest.
    pub(crate) ends: u64,
    /// How old it was then, in milliseconds.
    pub(crate) age: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) body: Option<String>,
    pub(crate) mark: Option<Mark>,
    /// What else the row is found by.
    pub(crate) codes: Vec<u8>,
}

impl Filled {
    /// Whether it is what is asked for.
    pub(crate) fn is_of(&self, kind: Kind, key: u8) -> bool {
        (self.kind, self.key) == (kind, key)
            || (self.kind, kind) == (Kind::Found, Kind::Lookup) && self.codes.contains(&key)
    }

    /// Whether it was read at a place of the log.
    pub(crate) fn is_placed(&self) -> bool {
        self.mark.as_ref().is_some_and(Mark::is_place)
    }
}

impl World {
    /// Reads a key; the lease, if it is a miss with one.
    pub(crate) fn get(&mut self, kind: Kind, key: u8, how: u8) -> Result<Option<Pending>, Violation> {
        Ok(self.look(kind, key, how)?.and_then(Result::err))
    }

    /// Reads a key: a hit, a lease, or neither.
    fn look(&mut self, kind: Kind, key: u8, how: u8) -> Result<Option<Result<Hit, Pending>>, Violation> {
        Ok(self.look_at(kind, &[key], how, |_| {})?.pop().flatten())
    }

    /// Reads keys of one cache at one instant, unless it is only one; `between` comes before each of them.
    pub(super) fn look_at(
        &mut self,
        kind: Kind,
        keys: &[u8],
        how: u8,
        mut between: impl FnMut(&mut Self),
    ) -> Result<Vec<Option<Result<Hit, Pending>>>, Violation> {
        let Some((catalog, cache)) = self.cache(kind) else { return Ok(Vec::new()) };
        let mark = self.wish(how);
        let position = mark.as_ref().map(|mark| mark.text.parse::<Position>().unwrap());
        let wanted = Wanted { min_position: position.as_ref(), ..wanted(how) };
        let now = self.clock().tick;
        let bound = catalog.freshness.bound.as_ref();
        let evidence =
            cache.feed.evidence(cache.attached.load(Ordering::Acquire), bound.map(|b| b.heartbeat));
        self.judge.applied_through(self, evidence.applied_through(bound))?;
        let through = evidence.applied_through(bound);
        let names: Vec<Key> = keys.iter().map(|key| kind.key(*key)).collect();
        let answers = if let [name] = names.as_slice() {
            vec![self.engine.get(&catalog, &cache, name, wanted, now)]
        } else {
            let engine = Arc::clone(&self.engine);
            let names = names.iter().inspect(|_| between(self));
            engine.get_all(&catalog, &cache, names, wanted, now)
        };
        // Of a batch each is judged by what has been applied when the last was read.
        let asked = Asked { kind, wanted, mark, now, through };
        keys.iter().zip(answers).map(|(key, answer)| self.answered(*key, &asked, answer)).collect()
    }

    fn answered(
        &mut self,
        key: u8,
        asked: &Asked<'_>,
        answer: Answer,
    ) -> Result<Option<Result<Hit, Pending>>, Violation> {
        let Asked { kind, wanted, mark, now, through } = asked;
        let kind = *kind;
        match answer {
            Answer::Hit(hit) => {
                self.say(|_| {
                    format!("{} {key}: hit {:?} {:?}", kind.name(), hit.entry.content_type, hit.detail)
                });
                directives(self, *wanted, &hit, *now, *through)?;
                let verdict = self.judge.hit(self, kind, key, &hit, mark.as_ref())?;
                self.judge.remember(kind, key, verdict);
                self.tally.count("hit");
                if let Some(mark) = mark {
                    self.tally.count("hit with a minimum");
                    self.say(|_| format!("reflects {}", mark.text));
                }
                if let Some(position) = &hit.position {
                    self.carried = self.db.mark_answered(std::str::from_utf8(position).unwrap());
                    self.tally.count("hit with a position");
                }
                self.tally.count(if verdict.image { "hit of an image" } else { "hit of a fill" });
                if verdict.found {
                    self.tally.count("hit of a row found");
                }
                if hit.detail == Some("hold-off") {
                    self.tally.count("hit in hold-off");
                }
                if hit.ttl < 0 {
                    self.tally.count("stale hit");
                }
                Ok(Some(Ok(hit)))
            }
            Answer::Miss(miss) => {
                self.tally.count(if miss.stale { "stale" } else { "miss" });
                self.say(|_| format!("{} {key}: miss, stale {}, {:?}", kind.name(), miss.stale, miss.detail));
                let Some(grant) = miss.lease else { return Ok(None) };
                if let Some(other) = self.judge.told(kind, key, &grant.token, grant.fill, self.now) {
                    is_loading(self, kind, key, &other)?;
                    self.tally.count("somebody else loads");
                }
                Ok(Some(Err(Pending {
                    kind,
                    key,
                    token: grant.token,
                    leased: self.judge.moment,
                    leased_at: self.now,
                    process: self.process,
                    generation: self.generations[&kind],
                    read: None,
                })))
            }
        }
    }

    /// Reads the database, or a replica that is so far behind; `placed` with the position of the log that the replica
    /// has replayed (1), or with the snapshot that the primary itself names (2).
    pub(crate) fn read(&mut self, pending: &mut Pending, lag: u64, placed: u8) {
        let (place, binlog) = (pending.kind.place(pending.key), self.setting.binlog);
        let at = self.now.saturating_sub(lag);
        let (snapshot, mark) = match placed {
            0 => (self.db.snapshot(at), None),
            2 if !binlog => {
                let snapshot = self.db.snapshot(self.now);
                let mark = self.db.mark_of_snapshot(&snapshot);
                (snapshot, Some(mark))
            }
            _ => {
                let snapshot = self.db.replayed(at);
                let mark = self.db.mark_replayed(&snapshot, binlog);
                (snapshot, mark)
            }
        };
        let value = self.db.look(place, &snapshot);
        pending.read = Some(Reading { snapshot, value, mark });
    }

    /// What a reader wants to see at least.
    pub(super) fn wish(&self, how: u8) -> Option<Mark> {
        let (newest, binlog) = (self.db.commits.len(), self.setting.binlog);
        match how {
            8 | 9 => self.db.mark_before(newest, binlog),
            10 => self.db.mark_before(newest.saturating_sub(2), binlog),
            11 if !binlog => Some(self.db.mark_of(newest - 1)),
            12 if !binlog => Some(self.db.mark_of_snapshot(&self.db.snapshot(self.now))),
            13 => Some(self.db.mark_ahead(binlog)),
            14.. => self.carried.clone(),
            _ => None,
        }
    }

    /// Fills with what was read; whether it was stored.
    pub(crate) fn fill(&mut self, pending: Pending, said: Said) -> Result<bool, Violation> {
        let Some((catalog, cache)) = self.cache(pending.kind) else { return Ok(false) };
        let Pending {
            kind,
            key,
            token,
            leased,
            leased_at,
            process,
            generation,
            read: Some(Reading { snapshot, value: body, mark }),
        } = pending
        else {
            return Ok(false);
        };
        let lease = match self.engine.lease(&cache, &kind.key(key), &token) {
            Ok(_) if process != self.process => {
                return Err(Violation::new("lease", "a lease from before the restart was good".to_owned()));
            }
            Ok(lease) => lease,
            Err(BadLease::Foreign) if process != self.process => return Ok(false),
            Err(bad) => return Err(Violation::new("lease", format!("a good lease was refused: {bad:?}"))),
        };
        let value = Value {
            absent: body.is_none(),
            ..Value::new(body.clone().unwrap_or_default().into(), format!("fill/{}", self.fills.len()).into())
        };
        let position = mark.as_ref().map(|mark| mark.text.parse().unwrap());
        let Some(on) = self.on(&catalog, kind, key) else {
            self.say(|_| format!("{} {key}: names a table that nobody follows", kind.name()));
            return Ok(false);
        };
        let (mut on, mut codes) = (on, Vec::new());
        if let (Kind::Lookup | Kind::Found, Some(body)) = (kind, &body) {
            // As the API does it: the value says which row it is, and what else it is found by.
            let Some((id, code)) = Image::read(body).and_then(|row| {
                let number = |name| match row.column(name) {
                    Ok(Scalar::Number(number)) => number.parse::<u8>().ok(),
                    _ => None,
                };
                number("id").zip(number("code"))
            }) else {
                return Ok(false);
            };
            match kind {
                Kind::Lookup => on.push(self.engine.on_own_row(&cache, &key_of(id))),
                _ => codes.push(code),
            }
        }
        let names = codes.iter().map(|code| Kind::Lookup.key(*code)).collect();
        let max_age = (said.max_age < u64::MAX).then(|| Duration::from_millis(said.max_age));
        let age = Duration::from_millis(said.age);
        let ttl = kind.ttl(self.details.get(&kind.cache()).copied().unwrap_or_default());
        let ends = (self.now + ttl.min(said.max_age)).saturating_sub(said.age);
        let depends = !on.is_empty();
        let terms = Terms { max_age, age, position, on, names };
        let fill = Fill { lease, value, terms };
        let (stored, age) = (self.now, said.age);
        let filled = Filled { kind, key, leased, leased_at, stored, ends, age, snapshot, body, mark, codes };
        let fenced = self.engine.fill(&catalog, &cache, &kind.key(key), fill, self.clock()).is_err();
        self.judge.loaded(kind, key, &token, !fenced);
        if fenced {
            self.tally.count("fenced");
            self.say(|_| format!("{} {key}: fenced", kind.name()));
            return Ok(false);
        }
        if generation != self.generations[&kind] {
            let what = format!("a lease for an earlier definition of {} was good", kind.name());
            return Err(Violation::new("definition", what));
        }
        self.judge.stored(self, &filled)?;
        let place = kind.place(key);
        let shows = self.db.changes(place) - self.db.since(place, &filled.snapshot).count();
        // Whoever filled it has seen that much, hit or not.
        self.judge.remember(kind, key, Verdict { image: false, placed: false, found: false, shows });
        self.say(|w| format!("{} {key}: stored fill/{}", kind.name(), w.fills.len()));
        if filled.mark.is_some() {
            self.tally.count("stored with a position");
        }
        if depends {
            self.tally.count("stored with dependencies");
        }
        if filled.age > 0 {
            self.tally.count("stored with an age");
        }
        if !filled.codes.is_empty() {
            self.tally.count("stored with names");
        }
        self.fills.push(filled);
        self.tally.count("stored");
        Ok(true)
    }

    pub(crate) fn use_cache(&mut self, kind: Kind, key: u8, lag: u64, placed: u8) -> Result<(), Violation> {
        if let Some(mut pending) = self.get(kind, key, 0)? {
            self.read(&mut pending, lag, placed);
            self.fill(pending, Said::NOTHING)?;
        }
        Ok(())
    }

    /// What a fill of a key says that its value depends on; `None` if it names a table that nobody follows.
    fn on(&self, catalog: &Catalog, kind: Kind, key: u8) -> Option<Vec<On>> {
        let scope = |table: &str| catalog.feeds[0].1.get(table).map(|table| Arc::clone(&table.scope));
        let on = kind.names(key).into_iter().map(|name| match name {
            Name::Table(table) => Some(On::Table(scope(table)?)),
            Name::Row(table, key) => Some(self.engine.on_row(&scope(table)?, &key_of(key))),
            Name::Tag(key) => Some(self.engine.on_tag(&key.to_string())),
        });
        on.collect()
    }

    /// Ends all faults and waits: everything must become right, and be cached again.
    pub(crate) fn settle(&mut self) -> Result<(), Violation> {
        self.say(|_| "all faults end".to_owned());
        for key in self.redis.wrong.clone() {
            self.redis.delete(&key);
        }
        self.db.close(self.now, 0);
        self.learn();
        self.judge.tick();
        // Who reads few entries at once takes a while to read all of a stream once more.
        self.flow(if self.setting.warm { 60_000 } else { 20_000 });
        for kind in self.setting.kinds().iter().copied() {
            for key in 0..KEYS {
                let fillable = |(catalog, _): &(Arc<Catalog>, _)| self.on(catalog, kind, key).is_some();
                if self.cache(kind).as_ref().is_none_or(|cache| !fillable(cache)) {
                    continue;
                }
                self.judge.tick();
                let first = self.look(kind, key, 0)?;
                let hit = match first {
                    Some(Ok(hit)) => hit,
                    Some(Err(mut pending)) => {
                        self.read(&mut pending, 0, 0);
                        if !self.fill(pending, Said::NOTHING)? {
                            return Err(Violation::new(
                                "recovery",
                                format!("{} {key} can't be filled", kind.name()),
                            ));
                        }
                        match self.look(kind, key, 0)? {
                            Some(Ok(hit)) => hit,
                            _ => {
                                return Err(Violation::new(
                                    "recovery",
                                    format!("{} {key} isn't cached", kind.name()),
                                ));
                            }
                        }
                    }
                    None => {
                        return Err(Violation::new("recovery", format!("{} {key} is refused", kind.name())));
                    }
                };
                quiet(self, kind, key, &hit)?;
                if self.keeps_books() && !matches!(self.look(kind, key, 8)?, Some(Ok(_))) {
                    let what = format!("{} {key} isn't known to be the newest", kind.name());
                    return Err(Violation::new("recovery", what));
                }
            }
        }
        self.settle_rest()?;
        self.settle_views()?;
        let stats = |kind: Kind| self.cache(kind).map(|(_, cache)| Arc::clone(&cache.stats));
        let caches = self.setting.kinds().iter().copied().filter(|kind| kind.cache() == *kind);
        let stats: Vec<_> = caches.filter_map(stats).collect();
        for stats in stats {
            *self.tally.0.entry("hydrated").or_default() += stats.hydrated.load(Ordering::Relaxed);
        }
        let unaccounted = feed(&self.engine).with_report(|r| r.breaks.get(&Break::Unaccounted).copied());
        *self.tally.0.entry("unaccounted").or_default() += unaccounted.unwrap_or_default();
        Ok(())
    }
}

pub(super) fn wanted(how: u8) -> Wanted<'static> {
    let read = Wanted { lease: true, ..Wanted::default() };
    match how {
        1 => Wanted { reload: true, ..read },
        2 => Wanted { max_age: Some(Duration::from_secs(1)), ..read },
        3 => Wanted { max_staleness: Some(Duration::from_millis(500)), ..read },
        4 => Wanted { max_staleness: Some(Duration::from_secs(3)), ..read },
        6 => Wanted::default(),
        _ => read,
    }
}

impl Kind {
    /// The key under which a value is asked for.
    pub(crate) fn key(self, key: u8) -> Key {
        match self {
            Self::Lookup => Key::by("code", &key_of(key)),
            _ => key_of(key),
        }
    }
}

pub(crate) fn key_of(key: u8) -> Key {
    Key::from_path(&key.to_string(), None).unwrap()
}
