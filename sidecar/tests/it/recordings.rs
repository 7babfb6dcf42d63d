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

/// Puts entries into their streams, in the order in which they were written.
fn replay(redis: &Redis, entries: &[Value]) {
    for entry in entries {
        let fields = entry["fields"].as_array().unwrap().iter();
        let fields: Vec<_> = fields.map(|f| (f[0].as_str().unwrap(), f[1].as_str().unwrap())).collect();
        redis.xadd(entry["stream"].as_str().unwrap(), &fields).unwrap();
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
    if entries.iter().any(|entry| entry["stream"] == "shop.cdc") {
        text = text.replacen("topicPrefix: shop", "stream: shop.cdc", 1);
    }
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let place = |id, name| entries.iter().position(|entry| names(entry, id, name));
    let hammer = place(10, "hammer").unwrap();
    // The last product of the whole story, or of the short one that is recorded with schemas.
    let (id, name) = if place(41, "narrow").is_some() { (41, "narrow") } else { (30, "sawn") };
    assert!(place(id, name).is_some_and(|last| last > hammer), "{file} has another end");

    // The table as it was found: from here on the sidecar knows how keys look, and a change is a change of its row.
    replay(&shop.redis, &entries[..hammer]);
    shop.sidecar
        .until(&format!("{file}: the snapshot is applied"), SOON, |sidecar| {
            let status = sidecar.status()?;
            anyhow::ensure!(status["caches"]["stock"]["tableSeen"] == true, "{status}");
            anyhow::ensure!(status["caches"]["products"]["tableSeen"] == true, "{status}");
            anyhow::ensure!(status["sources"]["cdc"]["pending"] == 0, "{status}");
            Ok(())
        })
        .unwrap();
    for path in ["/v1/products/10", "/v1/products/77", "/v1/stock/berlin/42", "/v1/pages/home"] {
        shop.fill(path, "old");
    }
    replay(&shop.redis, &entries[hammer..=hammer]);
    shop.until_get("/v1/products/10", "miss");
    assert_eq!(shop.get("/v1/pages/home"), "miss", "{file}");
    let other = if unwrapped { "miss" } else { "hit old" };
    assert_eq!(shop.get("/v1/products/77"), other, "{file}: another row");
    assert_eq!(shop.get("/v1/stock/berlin/42"), "hit old", "{file}: another table");

    // All the rest: inserts, updates, deletes, changes of key, truncates, changes of the table.
    let (product, row) = (format!("/v1/products/{id}"), format!("/v1/rows/{id}"));
    shop.fill(&product, "old");
    replay(&shop.redis, &entries[hammer + 1..]);
    shop.until_get(&product, "miss");
    let trusted = !unwrapped && !["debezium-defaults", "null-as-default"].contains(&file);
    if trusted {
        shop.sidecar
            .until(&format!("{file}: the last image is served"), SOON, |sidecar| {
                let answer = sidecar.get(&row)?;
                anyhow::ensure!(answer.status == 200 && answer.json()?["name"] == name, "{answer:?}");
                Ok(())
            })
            .unwrap();
    } else {
        // Nulls may be defaults there, or the row may not be told from its envelope: no image is the truth.
        assert_eq!(shop.get(&row), "miss", "{file}");
    }
    assert_eq!(shop.get("/v1/products/10"), "miss", "{file}: it was deleted");
    let unreadable = shop.sidecar.status().unwrap()["sources"]["cdc"]["unreadable"].as_u64().unwrap();
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
