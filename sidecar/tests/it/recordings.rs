//! What the real Debezium wrote, put into real Redis again and followed by the sidecar as a process.

use std::{fs, path::Path};

use freshet_e2e::process::{Redis, Sidecar};
use serde_json::Value;

use crate::shop::{SOON, Shop, executable, manifest};

const CACHES: &str = "
  - {name: products, table: inventory.product}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: stock, table: inventory.stock}
  - {name: pages, dependsOn: [inventory.product]}";

/// A shop into whose streams a recording is put.
struct Stage {
    shop: Shop,
    /// The stream of heartbeats.
    control: &'static str,
    /// How many entries were put into streams that the sidecar follows.
    followed: u64,
}

impl Stage {
    /// Puts entries into their streams, in the order in which they were written, and waits until they are applied.
    fn replay(&mut self, entries: &[Value]) {
        const FOLLOWED: [&str; 6] = [
            "shop.cdc",
            "shop.inventory.product",
            "shop.inventory.stock",
            "shop.message",
            "shop.transaction",
            "__debezium-heartbeat.shop",
        ];
        for entry in entries {
            let fields = entry["fields"].as_array().unwrap().iter();
            let fields: Vec<_> = fields.map(|f| (f[0].as_str().unwrap(), f[1].as_str().unwrap())).collect();
            let stream = entry["stream"].as_str().unwrap();
            self.shop.redis.xadd(stream, &fields).unwrap();
            self.followed += u64::from(FOLLOWED.contains(&stream));
        }
        self.until_counted();
        // An entry is counted before it takes effect, and takes effect before the next one is counted.
        self.shop.redis.xadd(self.control, &[("{\"serverName\":\"shop\"}", "{\"ts_ms\":5}")]).unwrap();
        self.followed += 1;
        self.until_counted();
    }

    fn until_counted(&mut self) {
        let count = self.followed;
        self.shop
            .sidecar
            .until(&format!("{count} entries are counted"), SOON, |sidecar| {
                let status = sidecar.status()?;
                anyhow::ensure!(status["sources"]["cdc"]["entries"] == count, "{status}");
                Ok(())
            })
            .unwrap();
    }

    /// The name in the hydrated row with this id.
    fn image(&self, id: u32) -> Option<Value> {
        let answer = self.shop.answer(&format!("/v1/rows/{id}"));
        (answer.status == 200).then(|| answer.json().unwrap()["name"].clone())
    }
}

/// Whether an entry is of the product with this id and name; no other table has such names.
fn names(entry: &Value, id: u32, name: &str) -> bool {
    let text = entry["fields"].to_string().replace('\\', "");
    text.contains(&format!("\"id\":{id}")) && text.contains(&format!("\"name\":\"{name}\""))
}

fn story(path: &Path) {
    let file = path.file_stem().unwrap().to_str().unwrap();
    // Rows without an envelope void their table.
    let unwrapped = file.starts_with("unwrapped");
    let recording: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let entries = recording["entries"].as_array().unwrap();
    let redis = Redis::start().unwrap();
    let mut text = manifest(&redis, CACHES, "");
    let mut control = "__debezium-heartbeat.shop";
    if entries.iter().any(|entry| entry["stream"] == "shop.cdc") {
        text = text.replacen("topicPrefix: shop", "stream: shop.cdc", 1);
        control = "shop.cdc";
    }
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let mut stage = Stage { shop, control, followed: 0 };
    let place = |id, name| entries.iter().position(|entry| names(entry, id, name));
    let made = place(10, "hammer").unwrap();
    let changed = |entry: &Value| names(entry, 10, "hammer");
    let hammer = made + 1 + entries[made + 1..].iter().position(changed).unwrap();
    // The last product of the whole story, or of the short one that is recorded with schemas.
    let (id, name) = if place(41, "narrow").is_some() { (41, "narrow") } else { (30, "sawn") };
    assert!(place(id, name).is_some_and(|last| last > hammer), "{file} has another end");

    // The table as it was found, and a first transaction: from here on the sidecar knows how keys look and where numbers
    // stand, and a change is a change of its row.
    stage.replay(&entries[..hammer]);
    for path in ["/v1/products/10", "/v1/products/77", "/v1/stock/berlin/42", "/v1/pages/home"] {
        stage.shop.fill_to_last(path, "old");
    }
    stage.replay(&entries[hammer..=hammer]);
    assert_eq!(stage.shop.get("/v1/products/10"), "miss", "{file}");
    assert_eq!(stage.shop.get("/v1/pages/home"), "miss", "{file}");
    let other = if unwrapped { "miss" } else { "hit old" };
    assert_eq!(stage.shop.get("/v1/products/77"), other, "{file}: another row");
    assert_eq!(stage.shop.get("/v1/stock/berlin/42"), "hit old", "{file}: another table");
    // Where nulls may be defaults, or the row isn't told from its envelope, no image is the truth.
    let trusted = !unwrapped && !["debezium-defaults", "null-as-default"].contains(&file);
    let shown = |name: &str| trusted.then(|| Value::from(name));
    assert_eq!(stage.image(10), shown("hammer"), "{file}");

    // All the rest: inserts, updates, deletes, changes of key, truncates, changes of the table.
    let product = format!("/v1/products/{id}");
    stage.shop.fill(&product, "old");
    // The last image of the axe, unlike the hammer's, is whole: nothing but its delete ends it.
    let axe = place(31, "axe").unwrap();
    stage.replay(&entries[hammer + 1..=axe]);
    assert_eq!(stage.image(31), shown("axe"), "{file}");
    stage.replay(&entries[axe + 1..]);
    assert_eq!(stage.shop.get(&product), "miss", "{file}");
    assert_eq!(stage.image(id), shown(name), "{file}: the last image");
    assert_eq!(stage.image(31), None, "{file}: it was deleted");
    let unreadable = stage.shop.sidecar.status().unwrap()["sources"]["cdc"]["unreadable"].as_u64().unwrap();
    assert_eq!(unreadable > 0, unwrapped, "{file}: {unreadable}");
}

#[test]
fn every_recording_is_followed_from_redis() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        story(&path);
    }
}
