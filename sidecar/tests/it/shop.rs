//! The vocabulary: a Redis, a sidecar that follows it, and what an application does.

use std::{
    ops::{Deref, DerefMut},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use freshet_e2e::process::{
    Redis, Sidecar, SidecarBuilder,
    http::{Connection, Response, Target},
    until,
};

/// How long anything that should happen may take on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// The caches of most tests.
pub(crate) const CACHES: &str = "
  - {name: products, table: inventory.product, ttl: 10m}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: pages, dependsOn: [inventory.product, inventory.category]}
  - {name: stock, table: inventory.stock}";

/// What freshness is where neither a fill right after a change nor a busy machine is what a test is about.
pub(crate) const STEADY: &str = "  freshness: {maxStaleness: 1h, heartbeat: Debezium, readLag: 0s}";

/// The sidecar's executable.
pub(crate) fn executable() -> &'static str {
    env!("CARGO_BIN_EXE_freshet-sidecar")
}

/// A manifest over the streams of `shop` in `redis`; `more` is further YAML of the spec.
pub(crate) fn manifest(redis: &Redis, caches: &str, more: &str) -> String {
    manifest_of(&format!("url: '{}', topicPrefix: shop", redis.url()), caches, more)
}

/// A manifest over the source that these fields of a `redisStream` describe.
pub(crate) fn manifest_of(source: &str, caches: &str, more: &str) -> String {
    manifest_over(&format!("redisStream: {{{source}}}"), caches, more)
}

/// A manifest over this source, of whatever kind.
pub(crate) fn manifest_over(source: &str, caches: &str, more: &str) -> String {
    format!(
        "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: shop}}
spec:
  sources:
  - name: cdc
    {source}
  caches:{caches}
{more}"
    )
}

/// A Redis and a sidecar that follows it.
pub(crate) struct Shop {
    pub(crate) redis: Redis,
    pub(crate) app: App,
}

/// A sidecar, and what its application does.
pub(crate) struct App {
    pub(crate) sidecar: Sidecar,
}

impl Deref for Shop {
    type Target = App;
    fn deref(&self) -> &App {
        &self.app
    }
}

impl DerefMut for Shop {
    fn deref_mut(&mut self) -> &mut App {
        &mut self.app
    }
}

impl Shop {
    /// Where nothing is held off and nothing lags, however busy the machine is.
    pub(crate) fn open() -> Self {
        crate::openapi::watch();
        let redis = Self::redis();
        let sidecar = Sidecar::builder(executable(), &manifest(&redis, CACHES, STEADY));
        let mut shop = Self::of(redis, sidecar.start().unwrap());
        shop.until_vouched_for();
        shop
    }

    /// Where it is known that the tables are captured and how their keys look, from what happened before.
    fn redis() -> Redis {
        let redis = Redis::start().unwrap();
        for table in ["product", "category", "stock"] {
            redis
                .xadd(&format!("shop.inventory.{table}"), &[("{\"id\":1}", &event(table, "u", "null"))])
                .unwrap();
        }
        redis
    }

    /// Waits until it is known where reading begins, and vouches for what is read, as [`STEADY`] has it.
    pub(crate) fn until_vouched_for(&mut self) {
        self.sidecar
            .until("it is known where reading begins", SOON, |sidecar| {
                let status = sidecar.status()?;
                let positions = status["sources"]["cdc"]["position"].as_object();
                ensure!(positions.is_some_and(|positions| !positions.is_empty()), "{status}");
                Ok(())
            })
            .unwrap();
        crate::drift::beat(&self.redis, "shop");
        self.until_fresh();
    }

    /// With what a binding says of freshness that says nothing of it: what is right after a change is held off, and on a
    /// busy machine the source lags for moments.
    pub(crate) fn ordinary() -> Self {
        let redis = Self::redis();
        let sidecar = Sidecar::builder(executable(), &manifest(&redis, CACHES, ""));
        Self::with(redis, sidecar)
    }

    pub(crate) fn with(redis: Redis, sidecar: SidecarBuilder) -> Self {
        crate::openapi::watch();
        let mut shop = Self::of(redis, sidecar.start().unwrap());
        shop.until_fresh();
        shop.until_fills_last();
        shop
    }

    pub(crate) fn of(redis: Redis, sidecar: Sidecar) -> Self {
        Self { redis, app: App { sidecar } }
    }

    /// A row's change as Debezium writes it (`compact`, without schemas).
    pub(crate) fn change(&self, table: &str, id: &str, op: &str, after: &str) -> String {
        self.redis.xadd(&format!("shop.inventory.{table}"), &[(id, &event(table, op, after))]).unwrap()
    }

    /// Changes another row and waits until the sidecar has applied it, and so everything before it.
    pub(crate) fn settle(&mut self) {
        self.apply("stock", "{\"id\":999}", "u", "{\"id\":999}");
    }

    /// Makes a change and waits until the sidecar has applied it.
    pub(crate) fn apply(&mut self, table: &str, id: &str, op: &str, after: &str) {
        let entry = self.change(table, id, op, after);
        let stream = format!("shop.inventory.{table}");
        self.sidecar
            .until("the change is applied", SOON, |sidecar| {
                let status = sidecar.status()?;
                ensure!(status["sources"]["cdc"]["position"][&stream] == *entry, "{status}");
                Ok(())
            })
            .unwrap();
    }
}

impl App {
    /// A sidecar that follows this source, once that is vouched for; `more` is further YAML of the spec.
    pub(crate) fn open(source: &str, caches: &str, more: &str) -> Self {
        let sidecar = Sidecar::builder(executable(), &manifest_over(source, caches, more)).start().unwrap();
        let mut app = Self { sidecar };
        app.until_fresh();
        app.until_fills_last();
        app
    }

    /// Waits until fills aren't held off any more: those right after the streams' positioning live as long as `readLag`.
    pub(crate) fn until_fills_last(&mut self) {
        self.sidecar
            .until("fills last", SOON, |sidecar| {
                let status = sidecar.status()?;
                let caches = status["caches"].as_object().unwrap();
                ensure!(caches.values().all(|cache| cache["heldOff"] != true), "{status}");
                Ok(())
            })
            .unwrap();
    }

    /// Waits until the source is vouched for.
    pub(crate) fn until_fresh(&mut self) {
        self.until_state("Fresh");
    }

    pub(crate) fn until_state(&mut self, state: &str) {
        self.sidecar
            .until(&format!("the source is {state}"), SOON, |sidecar| {
                let status = sidecar.status()?;
                ensure!(status["sources"]["cdc"]["state"] == state, "{status}");
                Ok(())
            })
            .unwrap();
    }

    /// Waits until the status says why there is no connection.
    pub(crate) fn until_reason(&mut self, says: &str) {
        self.sidecar
            .until(says, SOON, |sidecar| {
                let status = sidecar.status()?;
                let reason = status["sources"]["cdc"]["reason"].as_str().unwrap_or_default();
                ensure!(reason.contains(says), "{reason}");
                Ok(())
            })
            .unwrap();
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.sidecar.status().unwrap()["sources"]["cdc"]["epoch"].as_u64().unwrap()
    }

    /// Waits until the source is fresh in a later epoch.
    pub(crate) fn until_fresh_after(&mut self, epoch: u64) {
        self.sidecar
            .until("a new epoch", SOON, |sidecar| {
                let status = sidecar.status()?;
                let source = &status["sources"]["cdc"];
                ensure!(source["epoch"].as_u64() > Some(epoch) && source["state"] == "Fresh", "{status}");
                Ok(())
            })
            .unwrap();
    }

    /// What became of a cache's fills, as the metrics count them.
    pub(crate) fn fills(&self, cache: &str) -> [(&'static str, u64); 4] {
        let metrics = self.sidecar.metrics().unwrap();
        ["fenced", "held-off", "refused", "stored"].map(|outcome| {
            let name = format!("freshet_fills_total{{cache=\"{cache}\",outcome=\"{outcome}\"}} ");
            let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
            (outcome, count.unwrap_or_else(|| panic!("no {name}in\n{metrics}")).parse().unwrap())
        })
    }

    /// Why epochs have ended.
    pub(crate) fn breaks(&self) -> Vec<String> {
        let status = self.sidecar.status().unwrap();
        status["sources"]["cdc"]["epochChanges"].as_object().unwrap().keys().cloned().collect()
    }

    /// What a read comes to, once the source isn't lagging: on a busy machine each does for moments.
    pub(crate) fn get(&self, path: &str) -> String {
        outcome(&self.answer(path))
    }

    /// The answer to a read, once the source isn't lagging.
    pub(crate) fn answer(&self, path: &str) -> Response {
        let began = Instant::now();
        loop {
            let answer = self.sidecar.get(path).unwrap();
            if outcome(&answer) != "stale lagging" || began.elapsed() > SOON {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `hit <body>`, `absent`, `miss` or `stale <reason>`.
    pub(crate) fn get_now(&self, path: &str) -> String {
        outcome(&self.sidecar.get(path).unwrap())
    }

    /// Waits until a read answers so.
    pub(crate) fn until_get(&mut self, path: &str, expected: &str) {
        self.sidecar
            .until(&format!("{path} is `{expected}`"), SOON, |sidecar| {
                let found = outcome(&sidecar.get(path)?);
                ensure!(found == expected, "{found}; {}", sidecar.status()?["sources"]);
                Ok(())
            })
            .unwrap();
    }

    /// A lease for a path, whatever is cached.
    pub(crate) fn lease(&self, path: &str) -> String {
        let headers = [("cache-control", "no-cache")];
        let answer = self.sidecar.request("GET", path, &headers, b"").unwrap();
        answer.header("freshet-lease").unwrap_or_else(|| panic!("no lease: {answer:?}")).to_owned()
    }

    pub(crate) fn put(&self, path: &str, lease: &str, body: &str) -> u16 {
        let headers = [("freshet-lease", lease), ("content-type", "text/plain")];
        self.sidecar.request("PUT", path, &headers, body.as_bytes()).unwrap().status
    }

    /// Reads and fills, as an application does on a miss.
    pub(crate) fn fill(&self, path: &str, body: &str) {
        assert_eq!(self.put(path, &self.lease(path), body), 204, "{path}");
    }

    /// Has `body` served there for as long as nothing changes: a fill right after a change of its row is kept for a moment
    /// only.
    pub(crate) fn fill_to_last(&self, path: &str, body: &str) {
        until("a fill lasts", SOON, || {
            self.fill(path, body);
            let answer = self.sidecar.get(path)?;
            let status = answer.header("cache-status").unwrap_or_default();
            ensure!(outcome(&answer) == format!("hit {body}") && !status.contains("hold-off"), "{answer:?}");
            Ok(())
        })
        .unwrap();
    }

    /// How many records the sidecar has applied.
    pub(crate) fn entries(&self) -> Result<u64> {
        Ok(self.sidecar.status()?["sources"]["cdc"]["entries"].as_u64().unwrap_or(0))
    }

    /// Waits until the sidecar has applied so many records.
    pub(crate) fn until_applied(&mut self, count: u64) {
        self.sidecar
            .until("the change is applied", SOON, |sidecar| {
                let status = sidecar.status()?;
                let now = status["sources"]["cdc"]["entries"].as_u64().unwrap_or(0);
                ensure!(now >= count, "{now} entries are applied");
                Ok(())
            })
            .unwrap();
    }
}

/// An event's value.
pub(crate) fn event(table: &str, op: &str, after: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LSN: AtomicU64 = AtomicU64::new(1000);
    let lsn = LSN.fetch_add(8, Ordering::Relaxed);
    // Far in the future: never outranked by a fill.
    format!(
        "{{\"before\":null,\"after\":{after},\"source\":{{\"connector\":\"postgresql\",\"db\":\"postgres\",\
         \"schema\":\"inventory\",\"table\":\"{table}\",\"snapshot\":null,\"lsn\":{lsn},\"ts_ms\":4000000000000}},\
         \"op\":\"{op}\",\"ts_ms\":1}}"
    )
}

/// What an answer says, by its Cache-Status.
pub(crate) fn outcome(answer: &Response) -> String {
    let status = answer.header("cache-status").unwrap_or_else(|| panic!("no Cache-Status: {answer:?}"));
    match (answer.status, status.contains("; hit")) {
        (200, true) => format!("hit {}", answer.text()),
        (404, true) => "absent".to_owned(),
        (404, false) if status.contains("fwd=stale") => {
            format!("stale {}", status.rsplit_once("detail=").map_or("", |(_, detail)| detail))
        }
        (404, false) => "miss".to_owned(),
        _ => panic!("{answer:?}"),
    }
}

/// One request on a new connection.
pub(crate) fn ask(target: &Target, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    Connection::open(target).unwrap().request(method, path, headers, b"").unwrap()
}
