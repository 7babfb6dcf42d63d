//! The other way in which Debezium can write: compact, with schemas, and one stream per table.

use std::fs;

use anyhow::ensure;
use freshet_e2e::cluster::checkout;
use freshet_e2e::process::until;
use freshet_e2e::shop::{PIPELINE, ROLLOUT, SOON};

use crate::stage::{Stage, replaced};

#[test]
fn compact_entries_with_schemas_in_streams_per_table_are_followed() {
    let (stage, _guard) = Stage::shared();
    stage.cluster.kubectl_fed(&["apply", "--filename", "-"], &second_debezium()).unwrap();
    stage.cluster.wait_for(PIPELINE, "deployment/debezium-compact", "rollout", ROLLOUT).unwrap();

    let place = stage.place("compact");
    let binding = place.manifest("00-binding.yaml").unwrap();
    place.apply(&replaced(&binding, "stream: shop.cdc", "topicPrefix: compact")).unwrap();
    place.apply(&place.manifest("10-shop.yaml").unwrap()).unwrap();
    place.await_fresh().unwrap();
    let replicas = place.replicas().unwrap();

    let id = stage.insert("9.50");
    for replica in &replicas {
        until("the hydrated row", SOON, || {
            let row = place.row(&replica.pod, id)?;
            ensure!(row.source == "cache" && row.product["price"] == "9.50", "{row:?}");
            Ok(())
        })
        .unwrap();
        place.await_product(&replica.pod, id, "cache", "9.50");
    }
    stage.set_price(id, "12.25");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "12.25");
    }
    let streams =
        stage.cluster.exec(PIPELINE, "statefulset/redis", &["redis-cli", "KEYS", "compact.*"]).unwrap();
    assert!(streams.lines().any(|name| name == "compact.inventory.product"), "{streams}");

    stage
        .cluster
        .kubectl(&["--namespace", PIPELINE, "delete", "deployment,configmap", "debezium-compact"])
        .unwrap();
    let slot =
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'compact'";
    // Until its connection has ended, the slot is in use.
    until("the slot is dropped", ROLLOUT, || stage.sql(slot)).unwrap();
}

/// The pipeline's Debezium once more beside it, under other names and with its defaults for what lands in Redis.
fn second_debezium() -> String {
    let path = checkout().join("examples/pipeline/30-debezium.yaml");
    let mut text = fs::read_to_string(path).unwrap();
    for (from, to) in [
        ("name: debezium, namespace", "name: debezium-compact, namespace"),
        ("configMap: {name: debezium}", "configMap: {name: debezium-compact}"),
        ("app: debezium", "app: debezium-compact"),
        ("message.format=extended", "message.format=compact"),
        ("key.schemas.enable=false", "key.schemas.enable=true"),
        ("value.schemas.enable=false", "value.schemas.enable=true"),
        ("topic.prefix=shop", "topic.prefix=compact"),
        ("slot.name=freshet_shop", "slot.name=compact"),
        // Its position needn't outlive it.
        (
            "io.debezium.storage.redis.offset.RedisOffsetBackingStore",
            "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        ),
    ] {
        text = replaced(&text, from, to);
    }
    // The heartbeats of the first one are in the log for both; and no routing.
    let kept = text
        .lines()
        .filter(|line| !line.contains("heartbeat.action.query") && !line.contains("debezium.transforms"));
    kept.collect::<Vec<_>>().join("\n")
}
