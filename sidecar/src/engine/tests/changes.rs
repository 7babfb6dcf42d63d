//! Changes that others tell of, beside what the database's own events say.

use super::Bench;
use crate::{coherence::Refusal, continuity::Break, key::Key, store::count};

impl Bench {
    /// Somebody tells of a change of `s.t`: of the row with this key, or of any.
    fn told(&self, op: &str, key: Option<&str>) {
        let key = key.map_or_else(String::new, |key| format!(",\"key\":{key}"));
        let said = format!("{{\"freshet\":1,\"kind\":\"change\",\"table\":\"s.t\",\"op\":\"{op}\"{key}}}");
        assert_eq!(self.apply("freshet", &said), None);
    }
}

#[test]
fn an_image_from_before_a_change_that_was_told_of_is_no_value() {
    let mut bench = Bench::new("{name: rows, table: s.t, onChange: Hydrate}", "");
    let mut lsn = 100;
    for (op, key) in [("update", Some("{\"id\":7}")), ("update", None), ("truncate", None)] {
        let (before, old) = (bench.now.wall_ms, lsn);
        bench.change(7, old, before, "old");
        assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"old\"}", "{op}");
        bench.pass(5000);
        bench.told(op, key);
        assert_eq!(bench.get("rows/7"), "miss", "{op}");
        bench.change(7, old, before, "old");
        assert_eq!(bench.get("rows/7"), "miss", "{op}: it was written again");
        bench.change(7, old + 1, before, "older than what was told of");
        assert_eq!(bench.get("rows/7"), "miss", "{op}");
        bench.pass(5000);
        bench.change(7, old + 2, bench.now.wall_ms, "new");
        assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"new\"}", "{op}");
        lsn += 10;
        bench.pass(5000);
    }
    bench.change(8, 1000, bench.now.wall_ms, "eight");
    bench.told("update", Some("{\"id\":7}"));
    assert_eq!(bench.get("rows/8"), "hit {\"id\":8,\"name\":\"eight\"}", "another row");
    let (_, cache) = bench.cache("rows");
    assert!(count(&cache.stats.refused[Refusal::Outranked as usize]) > 3);
}

#[test]
fn nor_one_from_before_something_that_may_have_been_such_a_change() {
    let mut bench = Bench::new("{name: rows, table: s.t, onChange: Hydrate}", "");
    bench.change(7, 100, bench.now.wall_ms, "old");
    bench.pass(5000);
    let broken = bench.apply("freshet", "{\"freshet\":2,\"kind\":\"change\"}");
    assert_eq!(broken, Some(Break::Unreadable), "it is of another version, and may be about anything");
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.break_epoch(&catalog.feeds[0].0, Break::Unreadable, false, bench.now.tick);
    bench.change(7, 101, bench.now.wall_ms - 4000, "older than what nobody could read");
    assert_eq!(bench.get("rows/7"), "miss");
    bench.pass(5000);
    bench.change(7, 102, bench.now.wall_ms, "new");
    assert_eq!(bench.get("rows/7"), "hit {\"id\":7,\"name\":\"new\"}");
    let feed = &catalog.feeds[0].0;
    bench.engine.doubt_images(&catalog, feed, bench.now.wall_ms + 3000, bench.now.tick);
    bench.change(7, 103, bench.now.wall_ms + 3500, "older than a lost message, as far as clocks tell");
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn what_was_told_of_before_a_cache_was_defined_so_counts_against_its_images() {
    let mut bench = Bench::new("{name: rows, table: s.t, onChange: Hydrate}", "");
    let define = |bench: &Bench, ttl: &str| {
        let rows = format!("{{name: rows, table: s.t, onChange: Hydrate, ttl: {ttl}}}");
        bench.install(&format!("{rows}, {{name: more, table: s.t, onChange: Hydrate, ttl: {ttl}}}"), "");
    };
    let attach = |bench: &Bench| {
        let catalog = bench.engine.catalog().unwrap();
        bench.engine.attach(catalog.fed_by(&catalog.feeds[0].0), bench.now.tick);
    };
    bench.told("update", None);
    let before = bench.now.wall_ms;
    define(&bench, "1h");
    // It is told while those who follow the streams don't know the new definitions.
    bench.pass(5000);
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.doubt_images(&catalog, &catalog.feeds[0].0, before + 2000, bench.now.tick);
    define(&bench, "2h");
    attach(&bench);
    bench.change(7, 101, before + 1000, "older than what was told of");
    assert_eq!((bench.get("rows/7"), bench.get("more/7")), ("miss".into(), "miss".into()));
    bench.change(7, 102, bench.now.wall_ms, "new");
    let new = "hit {\"id\":7,\"name\":\"new\"}";
    assert_eq!((bench.get("rows/7"), bench.get("more/7")), (new.into(), new.into()));
    // What is told of a row is no other row's, though its cache is attached once more.
    bench.told("update", Some("{\"id\":7}"));
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.break_epoch(&catalog.feeds[0].0, Break::StreamGone, true, bench.now.tick);
    attach(&bench);
    bench.change(8, 103, bench.now.wall_ms, "eight");
    assert_eq!(bench.get("rows/8"), "hit {\"id\":8,\"name\":\"eight\"}");
}

#[test]
fn keys_are_spelled_as_the_databases_own_events_spell_them() {
    let mut bench = Bench::new("{name: rows, table: s.t}", "");
    let (_, cache) = bench.cache("rows");
    let seen = |path: &str| cache.with_shape(|shape| Key::from_path(path, shape.forms.as_deref()).is_ok());
    bench.told("update", Some("{\"id\":7}"));
    assert!(!seen("07"), "nobody else has told how keys look");
    bench.told("update", Some("{\"id\":\"a\"}"));
    assert!(seen("a"));
    bench.event(7, "u", "\"lsn\":1");
    assert!(!seen("a") && seen("7"), "the database knows better");
    bench.pass(60_000);
    bench.fill("rows/7", "seven");
    bench.fill("rows/8", "eight");
    bench.told("update", Some("{\"id\":\"7\"}"));
    assert_eq!((bench.get("rows/7"), bench.get("rows/8")), ("miss".into(), "hit eight".into()), "one text");
    for odd in ["{\"id\":\"a\"}", "{\"id\":\"07\"}", "{\"id\":7,\"more\":1}", "{\"id\":7.0}", "{\"id\":true}"]
    {
        bench.fill("rows/7", "seven");
        bench.told("update", Some(odd));
        assert_eq!(bench.get("rows/7"), "miss", "{odd}: nobody can say which row is meant");
        assert!(!seen("a") && !seen("7/1") && seen("7"), "{odd} teaches nothing");
    }
}

#[test]
fn the_first_event_of_the_database_voids_nothing_where_keys_are_as_declared() {
    let bench = Bench::new("{name: rows, table: s.t, key: [{column: id, type: Integer}]}", "");
    bench.fill("rows/8", "eight");
    bench.event(7, "u", "\"lsn\":1");
    assert_eq!(bench.get("rows/8"), "hit eight");
}
