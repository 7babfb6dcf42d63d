//! The engine with its binding, and the answers as the ledger takes them.

use std::sync::{Arc, LazyLock};

use freshet_crds::{binding::Binding, manifest};

use super::{
    CACHES, KEYS, LSN, PLACES, WALL,
    acts::Setting,
    ledger::{Ledger, Row, Shown, Strict, cache_of, lsn},
};
use crate::{
    catalog::{Cache, Catalog, Newer},
    clock::{Now, Tick},
    engine::{Engine, Hit},
    entry::Value,
    key::Key,
    position::Position,
    store::Shelf,
    sync::schedule::Schedule,
};

static BINDING: LazyLock<Binding> = LazyLock::new(|| {
    let text = "{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {name: t}, spec: {
        sources: [{name: cdc, redisStream: {url: 'redis://localhost', topicPrefix: shop}}],
        caches: [{name: rows, table: s.t}, {name: images, table: s.t, onChange: Hydrate, share: 25%}, {name: pages, dependsOn: [s.t]}]}}";
    Binding::parse(&manifest::read(text).unwrap().object).unwrap()
});

/// What the threads of a run share.
#[derive(Debug)]
pub(super) struct World<S: Shelf> {
    pub(super) engine: Engine<S>,
    pub(super) ledger: Ledger,
    pub(super) setting: Setting,
    /// Shuttle's time stands still.
    began: Tick,
}

/// What a read of the database found.
pub(super) struct Found {
    pub(super) value: Value,
    /// The last write of its place that it shows, and of all.
    pub(super) write: u64,
    pub(super) at: u64,
}

impl<S: Shelf> World<S> {
    /// A world in which the source is followed.
    pub(super) fn new(setting: Setting) -> Self {
        let world =
            Self { engine: Engine::seeded(1), ledger: Ledger::default(), setting, began: Tick::now() };
        world.install(|_| {});
        let catalog = world.engine.catalog().unwrap();
        let feed = &catalog.feeds[0].0;
        feed.set_connected(true);
        // Freshness is another matter: it is vouched for until long after the run.
        feed.set_proven(Tick(u64::MAX));
        world.engine.attach(catalog.caches.values(), world.tick());
        world
    }

    pub(super) fn tick(&self) -> Tick {
        if Schedule::current() == Schedule::Shuttle { self.began } else { Tick::now() }
    }

    pub(super) fn now(&self) -> Now {
        Now { tick: self.tick(), wall_ms: wall(self.ledger.committed()) + 1 }
    }

    pub(super) fn strict(&self) -> Strict {
        // Definitions that come and go take each other's loads for void.
        Strict { lag: self.setting.lag, winners: !self.setting.redefines }
    }

    /// Installs the binding, changed from what it is.
    pub(super) fn install(&self, change: impl FnOnce(&mut Binding)) {
        let old = self.engine.catalog();
        let mut binding = BINDING.clone();
        if let Some(old) = &old {
            binding.memory = old.memory;
            for cache in &mut binding.caches {
                cache.ttl = old.caches[&cache.name].spec.ttl;
            }
        }
        if !self.setting.lag {
            binding.freshness.read_lag = std::time::Duration::ZERO;
        }
        change(&mut binding);
        self.engine.install(Catalog::build(binding, Newer::default(), old.as_deref()));
    }

    pub(super) fn cache(catalog: &Catalog, place: usize) -> Arc<Cache> {
        Arc::clone(&catalog.caches[CACHES[cache_of(place)]])
    }

    /// The places of those caches that give no lease yet.
    pub(super) fn detached(catalog: &Catalog) -> Vec<usize> {
        let detached =
            |place: &usize| !Self::cache(catalog, *place).attached.load(std::sync::atomic::Ordering::Acquire);
        (0..PLACES).filter(detached).collect()
    }

    /// Reads a place in the database, which is so many writes behind.
    pub(super) fn find(&self, place: usize, lease: u64, lag: u64) -> Found {
        let at = self.ledger.committed().saturating_sub(lag);
        let write = self.ledger.last(place, at);
        let lease = if self.setting.stamped { lease } else { 0 };
        let body = value(place % KEYS, write, lease).into();
        Found { value: Value::new(body, "application/json".into()), write, at }
    }

    /// What a hit shows.
    pub(super) fn shown(hit: &Hit, min: Option<u64>) -> Shown {
        let body = std::str::from_utf8(&hit.entry.body).unwrap();
        let number = |name: &str| {
            let (_, rest) = body.split_once(name).unwrap();
            rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap()].parse::<u64>().unwrap()
        };
        let position = hit.position.as_ref().map(|text| {
            let text = std::str::from_utf8(text).unwrap();
            let position = text.strip_prefix("cdc=\"").and_then(|text| text.strip_suffix('"')).unwrap();
            let Position::Lsn(lsn) = position.parse().unwrap() else { panic!("{text}") };
            lsn / LSN
        });
        Shown {
            write: number("\"v\":"),
            lease: Some(number("\"l\":")).filter(|lease| *lease > 0),
            hold_off: hit.entry.hold_off,
            position,
            min,
        }
    }
}

pub(super) fn key(place: usize) -> Key {
    Key::from_path(&(place % KEYS + 1).to_string(), None).unwrap()
}

fn value(key: usize, write: u64, lease: u64) -> String {
    format!("{{\"id\":{},\"v\":{write},\"l\":{lease}}}", key + 1)
}

fn wall(write: u64) -> u64 {
    WALL.0 + write * WALL.1
}

/// A write as Debezium's sink writes it to the stream.
pub(super) fn event(write: u64, row: Row) -> [(Vec<u8>, Vec<u8>); 1] {
    let source =
        format!("{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":{},\"ts_ms\":{}}}", lsn(write), wall(write));
    let (key, value) = match row {
        Some(row) => (
            format!("{{\"id\":{}}}", row + 1),
            format!("{{\"after\":{},\"source\":{source},\"op\":\"u\",\"ts_ms\":1}}", value(row, write, 0)),
        ),
        None => ("default".to_owned(), format!("{{\"source\":{source},\"op\":\"t\"}}")),
    };
    [(key.into_bytes(), value.into_bytes())]
}
