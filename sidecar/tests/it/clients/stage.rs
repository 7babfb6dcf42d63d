//! A real sidecar on a real Redis, and what happens around a client.

use std::{collections::HashMap, path::PathBuf};

use anyhow::ensure;
use freshet_e2e::process::{Port, Sidecar};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{
    driver::Driver,
    language::Build,
    scenario::{Action, At, Broker, Call, Process, Row, Scenario, Step},
    strangers,
};
use crate::{
    log::{Log, STREAM},
    shop::{SOON, outcome},
    transports::redis_stream::envelopes,
};

const CACHES: &str = "
  - {name: products, table: inventory.product, ttl: 10m}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: pages, dependsOn: [inventory.category]}
  - {name: boards, dependsOn: [inventory.stock], mayDependOn: [inventory.category]}
  - {name: stock, table: inventory.stock, key: [{column: city}, {column: item}]}
  - {name: quotes, published: true}";

/// Nothing expires here, and nothing is held off: what has to be waited for is waited for by name.
const FRESHNESS: &str = "  freshness: {maxStaleness: 10m, readLag: 0s, clockSkew: 0s}";

type Entries = Vec<(String, String)>;

pub(super) struct Stage {
    log: Log,
    folder: TempDir,
    /// Where nobody listens.
    nobody: Port,
    strangers: HashMap<At, PathBuf>,
    named: HashMap<String, Value>,
    pending: HashMap<String, Entries>,
    running: Option<(At, Driver)>,
}

impl Stage {
    pub(super) fn open() -> Self {
        let mut log = Log::open(CACHES, FRESHNESS);
        // A table's first event voids what depends on it: it tells how its keys look.
        for table in ["product", "category", "stock"] {
            log.write(table, 1);
        }
        log.read_up();
        Self {
            log,
            folder: tempfile::tempdir().unwrap(),
            nobody: Port::free().unwrap(),
            strangers: HashMap::new(),
            named: HashMap::new(),
            pending: HashMap::new(),
            running: None,
        }
    }

    pub(super) fn play(&mut self, build: &Build, scenario: &Scenario) {
        let mut driver = self.driver(build, scenario.at);
        for (n, step) in scenario.steps.iter().enumerate() {
            let place = format!("{}, step {}", scenario.name, n + 1);
            match step {
                Step::Do(step) => self.act(&step.actions, 0, &place),
                Step::Call(call) => self.call(&mut driver, call, &place),
            }
        }
        self.running = Some((scenario.at, driver));
    }

    /// A program with a client that hasn't been used yet. One that runs is taken where it can be: some take a second to
    /// start.
    fn driver(&mut self, build: &Build, at: At) -> Driver {
        let running = self.running.take().filter(|(before, _)| *before == at);
        let mut driver = if let Some((_, driver)) = running {
            driver
        } else {
            let mut command = build.command();
            let (socket, url) = self.places(at);
            command.env("FRESHET_SOCKET", socket).env("FRESHET_URL", url);
            Driver::start(command)
        };
        // Where time-outs are what is looked at, they are what a client has by itself. Elsewhere nothing depends on how busy
        // the machine is.
        let timeout = (!matches!(at, At::Silent | At::Dripping)).then_some(30);
        driver.say(&json!({"call": "new", "timeout": timeout}));
        driver.hear();
        driver
    }

    /// A socket and a URL.
    fn places(&mut self, at: At) -> (PathBuf, String) {
        let nowhere = (self.folder.path().join("nobody.sock"), format!("http://{}", self.nobody.address()));
        let sidecar = &self.log.shop.sidecar;
        match at {
            At::Nowhere => nowhere,
            At::Socket => (sidecar.folder().join("freshet.sock"), nowhere.1),
            At::Url => {
                let freshet_e2e::process::http::Target::Tcp(address) = sidecar.tcp() else { unreachable!() };
                (nowhere.0, format!("http://{address}"))
            }
            other => {
                let folder = self.folder.path();
                let path = self.strangers.entry(other).or_insert_with(|| strangers::listen(folder, other));
                (path.clone(), nowhere.1)
            }
        }
    }

    fn call(&mut self, driver: &mut Driver, call: &Call, place: &str) {
        let missed = self.missed_before(&call.meanwhile);
        driver.say(&self.resolved(&Value::Object(call.asks.clone())));
        self.act(&call.meanwhile, missed, place);
        let mut loads = 0;
        let answer = loop {
            let mut said = driver.hear();
            if said["load"] != true {
                break said["answer"].take();
            }
            loads += 1;
            let load = call.load.as_ref().unwrap_or_else(|| panic!("{place}: the loader was called"));
            self.act(&load.during, 0, place);
            driver.say(&Value::Object(load.turn.clone()));
        };
        let Value::Object(mut answer) = answer else { panic!("{place}: {answer}") };
        answer.insert("loads".to_owned(), json!(loads));
        for (name, expected) in &call.expect {
            let found = answer.get(name).unwrap_or(&Value::Null);
            let expected = self.resolved(expected);
            assert!(matches(found, &expected), "{place}: {name} is {found}, not {expected}: {answer:?}");
        }
        for (name, variable) in &call.save {
            let value = answer.get(name).filter(|value| !value.is_null());
            let value = value.unwrap_or_else(|| panic!("{place}: no {name}: {answer:?}"));
            self.named.insert(variable.as_str().unwrap().to_owned(), value.clone());
        }
    }

    /// Puts in what has been named.
    fn resolved(&self, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                if let Some(name) = fields.get("$var") {
                    return self.named[name.as_str().unwrap()].clone();
                }
                let fields = fields.iter().map(|(name, value)| (name.clone(), self.resolved(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Value::Array(items) => items.iter().map(|item| self.resolved(item)).collect(),
            other => other.clone(),
        }
    }

    fn act(&mut self, actions: &[Action], missed: u64, place: &str) {
        for action in actions {
            self.act_once(action, missed, place);
        }
    }

    fn act_once(&mut self, action: &Action, before: u64, place: &str) {
        let sidecar = &mut self.log.shop.sidecar;
        match action {
            Action::Write { write: Row { table, id } } => {
                self.log.write(table, *id);
                self.log.read_up();
            }
            Action::Commit { commit: Row { table, id }, r#as } => {
                let (entries, position) = self.log.transaction(table, &[*id]);
                self.pending.insert(r#as.clone(), entries);
                self.named.insert(r#as.clone(), Value::String(position));
            }
            Action::Deliver { deliver } => self.log.send(&self.pending.remove(deliver).unwrap()),
            Action::Sidecar { sidecar: Process::Kill } => sidecar.kill().unwrap(),
            Action::Sidecar { sidecar: Process::Start } => {
                sidecar.start_again().unwrap();
                self.log.shop.until_state("Starting");
                self.log.heartbeat();
                self.log.shop.until_fresh();
            }
            Action::Redis { redis } => self.redis(redis),
            Action::Envelope { envelope } => {
                let mut said = envelopes(&self.log.shop.redis, STREAM);
                said.retain(|said| said["kind"] == "value");
                let last = said.last().unwrap_or_else(|| panic!("{place}: nothing was published"));
                for (name, expected) in envelope {
                    assert_eq!(last.get(name).unwrap_or(&Value::Null), expected, "{place}: {name} of {last}");
                }
            }
            Action::Find { get, is, accept } => {
                let accept: Vec<_> = accept.iter().map(|accept| ("accept", accept.as_str())).collect();
                let answer = sidecar.request("GET", get, &accept, b"").unwrap();
                assert_eq!(outcome(&answer), format!("hit {is}"), "{place}: {get}");
            }
            Action::Miss { get, r#as } => {
                let answer = sidecar.get(get).unwrap();
                let lease = answer.header("freshet-lease").unwrap_or_else(|| panic!("{place}: {answer:?}"));
                self.named.insert(r#as.clone(), Value::String(lease.to_owned()));
            }
            Action::Fill { put, lease, value } => {
                let lease = self.resolved(lease);
                let headers =
                    [("freshet-lease", lease.as_str().unwrap()), ("content-type", "application/json")];
                let answer = self.log.shop.sidecar.request("PUT", put, &headers, value.as_bytes()).unwrap();
                assert_eq!(answer.status, 204, "{place}: {answer:?}");
            }
            Action::UntilMissed { until_missed, reads } => sidecar
                .until(place, SOON, |sidecar| {
                    let now = misses(sidecar, until_missed);
                    ensure!(now >= before + reads, "{now} reads have missed, after {before}");
                    Ok(())
                })
                .unwrap(),
        }
    }

    fn redis(&mut self, broker: &Broker) {
        let redis = &mut self.log.shop.redis;
        match broker {
            Broker::Refuse => redis.command::<()>(&["ACL", "SETUSER", "default", "-xadd"]).unwrap(),
            Broker::Accept => redis.command::<()>(&["ACL", "SETUSER", "default", "+xadd"]).unwrap(),
            Broker::Pause => redis.pause().unwrap(),
            Broker::Resume => {
                redis.resume().unwrap();
                self.log.heartbeat();
                self.log.read_up();
                self.log.shop.until_fresh();
            }
        }
    }

    /// How many reads have missed of the cache whose misses these actions wait for.
    fn missed_before(&self, actions: &[Action]) -> u64 {
        let cache = actions.iter().find_map(|action| match action {
            Action::UntilMissed { until_missed, .. } => Some(until_missed),
            _ => None,
        });
        cache.map_or(0, |cache| misses(&self.log.shop.sidecar, cache))
    }
}

fn misses(sidecar: &Sidecar, cache: &str) -> u64 {
    sidecar.status().unwrap()["caches"][cache]["misses"].as_u64().unwrap()
}

/// Whether a value is what is expected: itself, or within `$from` and `$to`, or one of `$in`, or a text that begins like
/// `$like`.
fn matches(found: &Value, expected: &Value) -> bool {
    let Value::Object(fields) = expected else { return found == expected };
    if let (Some(from), Some(to)) = (fields.get("$from"), fields.get("$to")) {
        return found.as_i64() >= from.as_i64() && found.as_i64() <= to.as_i64() && found.is_i64();
    }
    if let Some(Value::Array(choices)) = fields.get("$in") {
        return choices.contains(found);
    }
    if let Some(start) = fields.get("$like") {
        return found.as_str().is_some_and(|text| text.starts_with(start.as_str().unwrap()));
    }
    found == expected
}
