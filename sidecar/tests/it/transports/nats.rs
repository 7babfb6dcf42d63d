//! A subject of NATS without JetStream, which keeps nothing: what isn't heard is noticed.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use freshet_e2e::process::{Nats, Proxy, Sidecar, nats::NatsBuilder};
use serde_json::Value;

use super::{
    CAUGHT_UP,
    broker::{Bus, Server, Source, value},
};
use crate::shop::{App, executable, manifest_over};

const CACHES: &str = "
  - {name: quotes, published: true}
  - {name: products, table: inventory.product, key: [{column: id}]}
  - {name: rows, table: inventory.product, key: [{column: id}], onChange: Hydrate}
  - {name: stock, table: inventory.stock, key: [{column: id}]}";

/// All subjects of a shop, or one.
pub(crate) struct Subject {
    nats: Nats,
    proxy: Proxy,
    /// What is subscribed to.
    filter: &'static str,
}

impl Subject {
    fn of(nats: NatsBuilder) -> Self {
        let nats = nats.start().unwrap();
        let proxy = Proxy::start(nats.address()).unwrap();
        Self { nats, proxy, filter: "shop.>" }
    }
}

impl Subject {
    /// One that can be published under through sidecars.
    pub(crate) fn one() -> Self {
        Self { filter: "shop.bus", ..Self::open() }
    }
}

impl Source for Subject {
    const NAME: &'static str = "nats";

    fn open() -> Self {
        Self::of(Nats::builder())
    }

    fn source(&self) -> String {
        format!("nats: {{url: 'nats://{}', subject: {}}}", self.proxy.address(), self.filter)
    }
}

impl Server for Subject {
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool = false;

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn restart(&mut self) {
        self.nats.restart().unwrap();
    }

    fn kill_and_restart(&mut self) {
        self.nats.kill().unwrap();
        self.nats.restart().unwrap();
    }

    fn pause(&mut self) {
        self.nats.pause().unwrap();
    }

    fn resume(&mut self) {
        self.nats.resume().unwrap();
    }
}

impl Bus for Subject {
    const KEEPS: bool = false;

    fn publish(&self, envelope: &Value) {
        self.nats.publish("shop.bus", &[], envelope.to_string().as_bytes()).unwrap();
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.nats.publish_many("shop.bus", envelope.to_string().as_bytes(), count).unwrap();
    }
}

/// A server, and a sidecar that hears through a proxy what Debezium writes about the shop.
struct Shop {
    subject: Subject,
    app: App,
}

impl Shop {
    fn open(nats: NatsBuilder) -> Self {
        let subject = Subject::of(nats);
        let app = App::open(&subject.source(), CACHES, "");
        Self { subject, app }
    }

    /// Writes what Debezium's sink for JetStream would.
    fn change(&self, op: &str, id: u64) {
        let row = format!("{{\"id\":{id}}}");
        let (before, after) = if op == "d" { (Some(&*row), None) } else { (None, Some(&*row)) };
        let value = value("product", op, before, after);
        self.subject.nats.publish("shop.inventory.product", &[], value.as_bytes()).unwrap();
    }

    /// Has something in each cache.
    fn fill(&mut self) {
        self.app.until_fills_last();
        self.app.fill("/v1/products/7", "x");
        self.app.fill("/v1/stock/7", "y");
        assert_eq!(
            (self.app.get("/v1/products/7"), self.app.get("/v1/stock/7")),
            ("hit x".into(), "hit y".into())
        );
    }

    /// Whatever `happens`, nothing that was there before is believed after it.
    fn is_noticed(&mut self, happens: impl FnOnce(&mut Self)) {
        let epoch = self.app.epoch();
        self.fill();
        happens(self);
        self.app.until_fresh_after(epoch);
        for path in ["/v1/products/7", "/v1/stock/7"] {
            assert_eq!(self.app.get(path), "miss", "{path}");
        }
        assert_eq!(self.app.breaks(), ["reconnected"]);
        // And it goes on.
        self.fill();
        self.change("u", 7);
        self.app.until_get("/v1/products/7", "miss");
        assert_eq!(self.app.get("/v1/stock/7"), "hit y");
    }
}

#[test]
fn what_debezium_writes_into_a_stream_is_heard_by_a_subscriber_too() {
    let mut shop = Shop::open(Nats::builder());
    let epoch = shop.app.epoch();
    shop.fill();
    shop.change("c", 7);
    shop.app.until_get("/v1/rows/7", "hit {\"id\":7}");
    assert_eq!(shop.app.get("/v1/products/7"), "miss");
    shop.change("d", 7);
    shop.app.until_get("/v1/rows/7", "miss");
    shop.subject.nats.publish("other", &[], b"unheard").unwrap();
    shop.app.fill("/v1/products/8", "x");
    let truncated = value("product", "t", None, None);
    shop.subject.nats.publish("shop.inventory.product", &[], truncated.as_bytes()).unwrap();
    shop.app.until_get("/v1/products/8", "miss");
    assert_eq!(shop.app.get("/v1/stock/7"), "hit y");
    let status = shop.app.sidecar.status().unwrap();
    assert_eq!(
        (shop.app.epoch(), status["sources"]["cdc"]["unreadable"].as_u64()),
        (epoch, Some(0)),
        "{status}"
    );
}

/// It makes another one by itself, and says so to nobody.
#[test]
fn what_the_client_may_have_missed_between_its_connections_is_noticed() {
    let mut shop = Shop::open(Nats::builder());
    shop.is_noticed(|shop| assert_eq!(shop.subject.proxy.cut(), 1));
}

/// Between servers of a cluster a message may be lost though no connection of ours is.
#[test]
fn a_publisher_that_numbers_is_to_be_heard_of() {
    let mut shop = Shop::open(Nats::builder());
    let epoch = shop.app.epoch();
    shop.fill();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let said = format!(
        "{{\"freshet\":1,\"kind\":\"value\",\"cache\":\"quotes\",\"key\":\"a\",\"text\":\"z\",\"start\":{now},\
         \"ttl\":600000,\"publisher\":\"p\",\"sequence\":1}}"
    );
    shop.subject.nats.publish("shop.bus", &[], said.as_bytes()).unwrap();
    shop.app.until_get("/v1/quotes/a", "hit z");
    shop.app.until_fresh_after(epoch);
    assert_eq!(shop.app.breaks(), ["messages-missed"]);
    assert_eq!((shop.app.get("/v1/quotes/a"), shop.app.get("/v1/stock/7")), ("miss".into(), "miss".into()));
}

#[test]
fn a_sidecar_that_is_too_slow_is_cut_off_and_knows() {
    let mut shop = Shop::open(Nats::builder().max_pending(4 << 20));
    // The proxy would hold for it what the server can't.
    let source = format!("nats: {{url: 'nats://{}', subject: shop.>}}", shop.subject.nats.address());
    shop.app = App::open(&source, CACHES, "");
    shop.is_noticed(|shop| {
        let text = "x".repeat(1 << 19);
        let bulk = format!("{{\"freshet\":1,\"kind\":\"value\",\"cache\":\"others\",\"key\":\"a\",\"start\":1,\"ttl\":1,\"text\":\"{text}\"}}");
        shop.app.sidecar.process().pause().unwrap();
        shop.change("u", 7);
        shop.subject.nats.publish_many("shop.bus", bulk.as_bytes(), 100).unwrap();
        assert_eq!(shop.subject.nats.monitor("varz").unwrap()["slow_consumers"], 1);
        shop.app.sidecar.process().resume().unwrap();
    });
}

/// The client takes all that comes from the network and drops what nobody has room for: it mustn't come to that.
#[test]
fn a_burst_is_applied_or_noticed() {
    const COUNT: u64 = 100_000;
    let mut shop = Shop::open(Nats::builder());
    let (epoch, entries) = (shop.app.epoch(), shop.app.entries().unwrap());
    shop.fill();
    let other = value("product", "u", None, Some("{\"id\":0}"));
    shop.subject
        .nats
        .publish_many("shop.inventory.product", other.as_bytes(), COUNT.try_into().unwrap())
        .unwrap();
    shop.change("u", 7);
    let is_noticed = shop
        .app
        .sidecar
        .until("all is applied, or a new epoch is there", CAUGHT_UP, |sidecar| {
            let status = sidecar.status()?;
            let source = &status["sources"]["cdc"];
            let is_applied = source["entries"].as_u64() >= Some(entries + COUNT + 1);
            let is_noticed = source["epoch"].as_u64() > Some(epoch);
            ensure!(source["state"] == "Fresh" && (is_applied || is_noticed), "{source}");
            Ok(is_noticed)
        })
        .unwrap();
    assert_eq!(shop.app.get("/v1/products/7"), "miss");
    assert_eq!(shop.app.get("/v1/stock/7"), if is_noticed { "miss" } else { "hit y" });
    assert!(shop.subject.nats.monitor("varz").unwrap()["slow_consumers"] == 0 || is_noticed);
}

/// A server that lets in the user `freshet`, who may do this, and all others.
fn permitting(permissions: &str) -> NatsBuilder {
    Nats::builder().set("authorization", &users(permissions)).set("no_auth_user", "admin")
}

fn users(permissions: &str) -> String {
    format!(
        "{{users: [{{user: admin, password: admin}}, {{user: freshet, password: change-me, permissions: {permissions}}}]}}"
    )
}

/// A sidecar with the credentials of this URL.
fn by(kind: &str, url: &str) -> App {
    let source = format!("{kind}, urlFrom: {{secretKeyRef: {{name: nats, key: url}}}}}}");
    let builder =
        Sidecar::builder(executable(), &manifest_over(&source, CACHES, "")).secret("nats", "url", url);
    App { sidecar: builder.start().unwrap() }
}

#[test]
fn who_is_not_let_in_or_may_not_listen_is_told() {
    let mut nats = permitting("{publish: \"_INBOX.>\", subscribe: [\"_INBOX.>\", \"other\"]}")
        .jetstream()
        .start()
        .unwrap();
    let address = nats.address();
    let wrong = by("nats: {subject: shop.>", &format!("nats://freshet:hush@{address}"));
    let denied = by("nats: {subject: shop.>", &format!("nats://freshet:change-me@{address}"));
    let stream = by("natsJetStream: {stream: shop", &format!("nats://freshet:change-me@{address}"));
    let mut apps = [wrong, denied, stream];
    let says = [
        "refuses the credentials",
        "NATS doesn't permit it: Permissions Violation for Subscription to \"shop.>\"",
        "NATS doesn't permit it: Permissions Violation for Publish to \"$JS.API.STREAM.INFO.shop\"",
    ];
    for (app, says) in apps.iter_mut().zip(says) {
        app.until_reason(says);
        assert_eq!(app.get("/v1/products/7"), "stale disconnected");
        assert!(!app.sidecar.log().contains("change-me") && !app.sidecar.log().contains("hush"));
    }
    // Who may listen from now on does, and who may no longer knows.
    let [_, mut app, _] = apps;
    let may = |subject: &str| {
        users(&format!("{{publish: \"_INBOX.>\", subscribe: [\"_INBOX.>\", \"{subject}\"]}}"))
    };
    nats.reload_with("authorization", &may("shop.>")).unwrap();
    app.until_fresh();
    app.until_fills_last();
    app.fill("/v1/products/7", "x");
    nats.reload_with("authorization", &may("other")).unwrap();
    app.until_get("/v1/products/7", "stale disconnected");
    app.until_reason("Permissions Violation for Subscription to \"shop.>\"");
    nats.reload_with("authorization", &may("shop.>")).unwrap();
    app.until_fresh();
    assert_eq!(app.get("/v1/products/7"), "miss");
}

#[test]
fn the_rights_in_the_guide_are_enough_for_a_subject_of_nats() {
    let guide = include_str!("../../../../docs/guides/nats.md");
    let core = guide.split_once("## A subject without a stream\n").unwrap().1;
    let permissions = core.split("```\npermissions: ").nth(1).unwrap().split("```").next().unwrap();
    let nats = permitting(permissions).start().unwrap();
    let mut app = by("nats: {subject: shop.>", &format!("nats://freshet:change-me@{}", nats.address()));
    app.until_fresh();
    for id in [2, 3] {
        let row = value("product", "u", None, Some(&format!("{{\"id\":{id}}}")));
        nats.publish("shop.inventory.product", &[], row.as_bytes()).unwrap();
        app.until_get(&format!("/v1/rows/{id}"), &format!("hit {{\"id\":{id}}}"));
    }
    let log = nats.log();
    assert!(!log.contains("Violation"), "something else was asked for: {log}");
    assert_eq!(app.breaks(), [""; 0]);
}
