//! The pipeline of `examples/pipeline/`, applied as a user applies it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use freshet_e2e::cluster::Cluster;
use freshet_e2e::shop;
use serde_json::Value;

/// A pipeline that has been applied and is up; applying it again changes nothing.
struct Pipeline {
    cluster: Cluster,
}

impl Pipeline {
    fn up() -> Self {
        // Tests run side by side, and two creations of one object don't.
        static APPLYING: Mutex<()> = Mutex::new(());
        let _one = APPLYING.lock().unwrap();
        let cluster = Cluster::attach("").unwrap();
        shop::apply_pipeline(&cluster).unwrap();
        shop::await_pipeline(&cluster).unwrap();
        Self { cluster }
    }

    fn sql(&self, statement: &str) -> String {
        shop::sql(&self.cluster, statement).unwrap()
    }

    /// The values of the stream's entries that are JSON objects, from the given entry id on.
    fn entries(&self, from: &str) -> Vec<Value> {
        let command = ["redis-cli", "--json", "XRANGE", "shop.cdc", from, "+"];
        let text = self.cluster.exec("shop", "statefulset/redis", &command).unwrap();
        let entries: Vec<(String, Vec<String>)> = serde_json::from_str(&text).unwrap();
        let values = entries.into_iter().map(|(id, fields)| {
            let value = fields.chunks(2).find(|pair| pair[0] == "value").map(|pair| pair[1].clone());
            let value = value.unwrap_or_else(|| panic!("entry {id} has no value: {fields:?}"));
            serde_json::from_str(&value).unwrap_or_else(|error| panic!("entry {id}: {error}: {value}"))
        });
        values.collect()
    }

    /// The entries from now on, once `enough` of them are there.
    fn entries_until(&self, from: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let start = Instant::now();
        loop {
            let entries = self.entries(from);
            if enough(&entries) {
                return entries;
            }
            assert!(start.elapsed() < Duration::from_mins(1), "not within a minute; there is {entries:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// An id that later entries are after, by Redis's clock.
    fn now(&self) -> String {
        let time = self.cluster.exec("shop", "statefulset/redis", &["redis-cli", "TIME"]).unwrap();
        let (seconds, micros) = time.trim().split_once('\n').unwrap();
        format!("{seconds}{:03}", micros.parse::<u32>().unwrap() / 1000)
    }
}

#[test]
fn a_changed_row_shows_in_the_stream() {
    let pipeline = Pipeline::up();
    let from = pipeline.now();
    // Each run a row of its own, so that a cluster can be used again.
    let id = pipeline.sql("SELECT coalesce(max(id), 0) + 1 FROM inventory.product").parse::<u64>().unwrap();
    let start = Instant::now();
    pipeline.sql(&format!(
        "INSERT INTO inventory.product (id, name, price, note) VALUES ({id}, 'plum', 9.5, NULL)"
    ));
    pipeline.sql(&format!("UPDATE inventory.product SET price = 12.25 WHERE id = {id}"));
    pipeline.sql(&format!("DELETE FROM inventory.product WHERE id = {id}"));
    let of_row = |entry: &&Value| {
        let image = if entry["op"] == "d" { &entry["before"] } else { &entry["after"] };
        entry["source"]["table"] == "product" && image["id"] == id
    };
    let entries =
        pipeline.entries_until(&from, |all| all.iter().filter(of_row).any(|entry| entry["op"] == "d"));
    eprintln!("insert, update and delete by kubectl exec, and the last one seen: {:?}", start.elapsed());
    let changes: Vec<&Value> = entries.iter().filter(of_row).collect();
    let ops: Vec<_> = changes.iter().map(|entry| entry["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["c", "u", "d"]);
    let inserted = &changes[0]["after"];
    assert_eq!(inserted["name"], "plum");
    assert_eq!(inserted["price"], "9.50", "numeric as text with its scale");
    assert_eq!(inserted["note"], Value::Null, "a NULL stays one where the column has a DEFAULT");
    assert_eq!(changes[1]["after"]["price"], "12.25");
    assert!(entries.iter().any(|entry| entry["status"] == "END" && entry["event_count"] == 1));
}

#[test]
fn heartbeats_come_through_the_write_ahead_log() {
    let pipeline = Pipeline::up();
    let beats = |entries: &[Value]| -> Vec<Value> {
        let of_freshet =
            entries.iter().filter(|it| it["op"] == "m" && it["message"]["prefix"] == "freshet-hb");
        of_freshet.cloned().collect()
    };
    let from = pipeline.now();
    let entries = pipeline.entries_until(&from, |entries| beats(entries).len() >= 3);
    let numbers: Vec<u64> = beats(&entries)
        .iter()
        .map(|beat| {
            let content = beat["message"]["content"].as_str().unwrap();
            let text = pipeline.sql(&format!("SELECT convert_from(decode('{content}', 'base64'), 'UTF8')"));
            let (number, millis) = text.split_once(':').unwrap();
            assert!(millis.parse::<u64>().unwrap() > 1_700_000_000_000, "the database's time in ms: {text}");
            number.parse().unwrap()
        })
        .collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "numbered without a gap: {numbers:?}");
}
