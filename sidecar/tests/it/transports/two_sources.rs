//! Two sources of different transports in one binding: what becomes of one is no matter of the other's caches.

use anyhow::ensure;
use freshet_e2e::process::Sidecar;

use super::{
    broker::{Broker, Bus, Server, Source, value},
    jet_stream::JetStream,
    publications,
    redis_pub_sub::RedisPubSub,
};
use crate::shop::{App, SOON, executable};

struct Stage {
    kept: JetStream,
    sent: RedisPubSub,
    app: App,
}

impl Stage {
    fn open() -> Self {
        let (kept, sent) = (JetStream::open(), RedisPubSub::open());
        let text = format!(
            "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {{name: shop}}
spec:
  sources:
  - name: cdc
    {}
  - name: bus
    {}
  caches:
  - {{name: products, source: cdc, table: inventory.product, key: [{{column: id}}], onChange: Hydrate}}
  - {{name: quotes, source: bus, published: true}}",
            kept.source(),
            sent.source()
        );
        let mut stage =
            Self { kept, sent, app: App { sidecar: Sidecar::builder(executable(), &text).start().unwrap() } };
        stage.are("Fresh", "Fresh");
        stage.app.until_fills_last();
        stage
    }

    /// Waits until status says this of the sources.
    fn are(&mut self, cdc: &str, bus: &str) {
        self.app
            .sidecar
            .until("the sources are so", SOON, |sidecar| {
                let sources = &sidecar.status()?["sources"];
                let states = [&sources["cdc"]["state"], &sources["bus"]["state"]];
                ensure!(states == [cdc, bus], "{states:?}");
                Ok(())
            })
            .unwrap();
    }

    /// Both caches get a value.
    fn fill(&mut self, id: u64) -> [String; 2] {
        let row = format!("{{\"id\":{id}}}");
        self.kept.write("product", &row, Some(&value("product", "u", None, Some(&row))));
        self.sent.publish(&publications::value(&id.to_string(), "x"));
        let paths = [format!("/v1/products/{id}"), format!("/v1/quotes/{id}")];
        self.app.until_get(&paths[0], &format!("hit {row}"));
        self.app.until_get(&paths[1], "hit x");
        paths
    }

    fn epochs(&self) -> [u64; 2] {
        let status = self.app.sidecar.status().unwrap();
        ["cdc", "bus"].map(|name| status["sources"][name]["epoch"].as_u64().unwrap())
    }

    fn reason(&self, name: &str) -> Option<String> {
        let status = self.app.sidecar.status().unwrap();
        status["sources"][name]["reason"].as_str().map(str::to_owned)
    }
}

#[test]
fn a_source_that_is_down_leaves_the_other_ones_caches_alone() {
    let mut stage = Stage::open();
    let [product, quote] = stage.fill(7);
    let [cdc, bus] = stage.epochs();

    stage.sent.proxy().refuse();
    stage.are("Fresh", "Disconnected");
    assert_eq!(stage.app.get(&product), "hit {\"id\":7}");
    assert_eq!(stage.app.get(&quote), "stale disconnected");
    assert!(stage.reason("bus").is_some() && stage.reason("cdc").is_none());
    let row = "{\"id\":8}";
    stage.kept.write("product", row, Some(&value("product", "u", None, Some(row))));
    stage.app.until_get("/v1/products/8", "hit {\"id\":8}");
    stage.sent.proxy().pass();
    stage.are("Fresh", "Fresh");
    assert_eq!(stage.app.get(&quote), "miss", "nobody knows what was published meanwhile");
    assert_eq!(stage.epochs(), [cdc, bus + 1]);
    assert_eq!(stage.app.get(&product), "hit {\"id\":7}");

    let [product, quote] = stage.fill(9);
    stage.kept.proxy().refuse();
    stage.are("Disconnected", "Fresh");
    assert_eq!([&product, &quote].map(|path| stage.app.get(path)), ["stale disconnected", "hit x"]);
    assert!(stage.reason("cdc").is_some() && stage.reason("bus").is_none());
    stage.kept.proxy().pass();
    stage.are("Fresh", "Fresh");
    assert_eq!([&product, &quote].map(|path| stage.app.get(path)), ["hit {\"id\":9}", "hit x"]);
    assert_eq!(stage.epochs(), [cdc, bus + 1]);
}
