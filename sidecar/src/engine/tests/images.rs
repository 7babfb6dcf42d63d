use std::collections::BTreeMap;

use super::Bench;
use crate::{coherence::Refusal, continuity::Break, recorded::Recording, store::count};

const HYDRATED: &str = "{name: rows, table: s.t, onChange: Hydrate}";

#[test]
fn images_become_values_unless_something_newer_is_known() {
    let mut bench = Bench::new(HYDRATED, "");
    bench.change(7, 100, 0, "new");
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"new\"}");
    bench.change(7, 90, 0, "old");
    assert_eq!(bench.get("rows/7"), "miss", "a replayed older image voids and nothing else");
    bench.change(7, 100, 0, "new");
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"new\"}");
    bench.pass(10_000);
    bench.fill("rows/7", "filled");
    bench.change(7, 110, bench.now.wall_ms, "before the fill, as far as clocks tell");
    assert_eq!(bench.get("rows/7"), "miss");
    bench.change(7, 120, bench.now.wall_ms + 1001, "after");
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"after\"}");
}

#[test]
fn an_older_image_never_brings_a_row_back() {
    let bench = Bench::new(HYDRATED, "");
    let image = |lsn: u64| bench.event(7, "u", &format!("\"lsn\":{lsn}"));
    image(110);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
    bench.event(7, "d", "\"lsn\":120");
    image(110);
    assert_eq!(bench.get("rows/7"), "miss", "the row was deleted");
    image(130);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
    bench.event(7, "u", "\"lsn\":140,\"snapshot\":\"false\"");
    image(130);
    assert_eq!(bench.get("rows/7"), "miss", "a newer image wasn't fit to be hydrated");
    image(150);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
    bench.apply("default", "{\"source\":{\"schema\":\"s\",\"table\":\"t\",\"lsn\":160},\"op\":\"t\"}");
    image(150);
    assert_eq!(bench.get("rows/7"), "miss", "the table was truncated");
    image(170);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
    assert_eq!(bench.apply("{\"id\":7}", "what is this"), Some(Break::Unreadable));
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.break_epoch(&catalog.feeds[0].0, Break::Unreadable, false, bench.now.tick);
    image(170);
    assert_eq!(bench.get("rows/7"), "miss", "what couldn't be read may have been its delete");
    let (_, cache) = bench.cache("rows");
    let refused = |why: Refusal| count(&cache.stats.refused[why as usize]);
    assert_eq!((refused(Refusal::NotNewer), refused(Refusal::NullsReplaced)), (4, 1));
}

/// With a stream per table, a schema change of several tables comes in a stream of its own: their images from before it
/// may be read after it.
#[test]
fn an_image_from_before_a_schema_change_is_no_value() {
    let bench = Bench::new(HYDRATED, "");
    let place = |pos: u32| format!("\"server_id\":1,\"file\":\"binlog.000002\",\"pos\":{pos}");
    assert_eq!(bench.event(7, "u", &place(100)), None);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
    let renamed = "[{\"type\":\"ALTER\",\"id\":\"s.t\"},{\"type\":\"CREATE\",\"id\":\"s.u\"}]";
    let change = format!(
        "{{\"source\":{{\"db\":\"s\",{}}},\"ddl\":\"RENAME …\",\"tableChanges\":{renamed}}}",
        place(120)
    );
    let broken = bench.apply("{\"databaseName\":\"s\"}", &change);
    assert_eq!(broken, Some(Break::SchemaChanged));
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.break_epoch(&catalog.feeds[0].0, Break::SchemaChanged, false, bench.now.tick);
    assert_eq!(bench.event(7, "u", &place(110)), None);
    assert_eq!(bench.get("rows/7"), "miss", "it was written before");
    assert_eq!(bench.event(7, "u", &place(130)), None);
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7}");
}

/// Debezium may begin anew before the place at which the streams were positioned.
#[test]
fn images_from_before_the_streams_positions_are_no_news() {
    let bench = Bench::new(HYDRATED, "");
    let (_, cache) = bench.cache("rows");
    bench.engine.foresee([&cache], crate::position::RowVersion::Postgres { lsn: 200 });
    // What is known by then counts.
    cache.attached.store(false, std::sync::atomic::Ordering::Release);
    bench.engine.attach([&cache], bench.now.tick);
    bench.change(7, 200, 0, "before");
    assert_eq!(bench.get("rows/7"), "miss");
    bench.change(7, 201, 0, "after");
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"after\"}");
}

#[test]
fn a_change_that_is_sent_twice_voids_twice() {
    let bench = Bench::new("{name: rows, table: s.t}", "");
    for _ in 0..2 {
        bench.change(7, 100, 0, "x");
        assert_eq!(bench.get("rows/7"), "miss");
        let lease = bench.lease("rows/7").unwrap();
        assert_eq!(bench.put("rows/7", &lease, "read"), Ok(true));
        let late = bench.lease("rows/7").unwrap();
        bench.change(7, 100, 0, "x");
        assert_eq!((bench.get("rows/7").as_str(), bench.put("rows/7", &late, "late")), ("miss", Ok(false)));
    }
}

/// Nothing is computed with what can't be held: numbers beyond 2^53, digits of decimals, what isn't a number.
#[test]
fn images_are_kept_byte_for_byte() {
    let bench = Bench::new(HYDRATED, "");
    let image = "{\"id\":7,\"n\":9007199254740993,\"f\":1.10,\"d\":\"1.50\",\"x\":\"NaN\",\"e\":1.0E400 , \"s\":\"\\u00e9\"}";
    let source = "{\"schema\":\"s\",\"table\":\"t\",\"lsn\":9,\"ts_ms\":0}";
    bench.apply("{\"id\":7}", &format!("{{\"after\":{image},\"source\":{source},\"op\":\"u\"}}"));
    assert_eq!(bench.get("rows/7"), format!("hit {image}"));
}

/// Applying what the real Debezium wrote leaves, for every product, its last image or nothing.
#[test]
fn recorded_changes_end_in_the_last_images() {
    for name in ["compact", "compact-schemas", "extended", "extended-schemas", "one-stream"] {
        let bench = Bench::new("{name: products, table: inventory.product, onChange: Hydrate}", "");
        let catalog = bench.engine.catalog().unwrap();
        let (feed, tables) = &catalog.feeds[0];
        let recording = Recording::load(name);
        let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
        for entry in &recording.entries {
            let change = entry.change();
            if let crate::change::Change::Row(row) = &change
                && row.table.table == "product"
                && let Some(crate::key::Scalar::Number(id)) = row.key.as_ref().map(|key| &key[0].1)
            {
                last.insert((*id).to_owned(), row.after.map(|after| after.get().to_owned()));
            }
            if let Some(why) = bench.engine.apply(&catalog, feed, tables, &change, bench.now) {
                bench.engine.break_epoch(feed, why, false, bench.now.tick);
            }
        }
        let mut hits = 0;
        for (id, image) in &last {
            let found = bench.get(&format!("products/{id}"));
            if let Some(found) = found.strip_prefix("hit ") {
                hits += 1;
                assert_eq!(Some(found), image.as_deref(), "{name}: {id}");
            }
        }
        assert!(hits >= 4, "{name}: {hits} of {}", last.len());
    }
}
