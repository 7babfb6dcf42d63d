//! Values that depend on what their fills name.

use super::{Bench, READ, Terms};
use crate::{dependencies::On, engine::Wanted, key::Key};

const PAGES: &str = "{name: pages, mayDependOn: [s.t, s.u]}, {name: all, dependsOn: [s.u]}";

impl Bench {
    fn scope(&self, table: &str) -> std::sync::Arc<crate::dependencies::Scope> {
        let catalog = self.engine.catalog().unwrap();
        std::sync::Arc::clone(&catalog.feeds[0].1[table].scope)
    }

    /// `s.t`, `s.t/7` or `tag:x`, as a fill names them.
    fn on(&self, names: &[&str]) -> Vec<On> {
        let one = |name: &&str| match (name.strip_prefix("tag:"), name.split_once('/')) {
            (Some(tag), _) => self.engine.on_tag(tag),
            (None, None) => On::Table(self.scope(name)),
            (None, Some((table, key))) => {
                self.engine.on_row(&self.scope(table), &Key::from_path(key, None).unwrap())
            }
        };
        names.iter().map(one).collect()
    }

    fn fill_with(&self, path: &str, token: &str, names: &[&str]) -> bool {
        self.put_on(path, token, self.on(names))
    }

    fn put_on(&self, path: &str, token: &str, on: Vec<On>) -> bool {
        self.put_with(path, token, "x", Terms { on, ..Terms::default() }).unwrap()
    }

    fn stored(&self, path: &str, names: &[&str]) -> bool {
        self.fill_with(path, &self.lease(path).unwrap(), names) && self.is_cached(path)
    }

    fn row(&self, table: &str, id: u32) {
        let value = format!(
            "{{\"after\":{{\"id\":{id}}},\"source\":{{\"schema\":\"s\",\"table\":\"{table}\",\"ts_ms\":0}},\"op\":\"u\"}}"
        );
        assert_eq!(self.apply(&format!("{{\"id\":{id}}}"), &value), None);
    }

    fn is_cached(&self, path: &str) -> bool {
        matches!(self.answer(path, Wanted { lease: false, ..READ }), crate::engine::Answer::Hit(_))
    }
}

/// With both tables seen long ago, so that it is known how their keys look.
fn pages() -> Bench {
    let mut bench = Bench::new(PAGES, "");
    bench.row("t", 1);
    bench.row("u", 1);
    bench.pass(5000);
    bench
}

#[test]
fn a_change_of_a_row_voids_what_depends_on_it_and_nothing_else() {
    let bench = pages();
    for (path, names) in [
        ("pages/7", &["s.t/7"][..]),
        ("pages/8", &["s.t/8"]),
        ("pages/both", &["s.t/7", "s.t/8"]),
        ("pages/whole", &["s.t"]),
        ("pages/other", &["s.u/7", "s.u", "tag:7"]),
        ("pages/none", &[]),
    ] {
        assert!(bench.stored(path, names), "{path}");
    }
    bench.row("t", 7);
    for (path, cached) in [
        ("pages/7", false),
        ("pages/8", true),
        ("pages/both", false),
        ("pages/whole", false),
        ("pages/other", true),
        ("pages/none", true),
    ] {
        assert_eq!(bench.is_cached(path), cached, "{path}");
    }
}

#[test]
fn a_fill_is_refused_if_what_it_names_has_changed_since_its_lease() {
    let bench = pages();
    for (path, names, taken) in [
        ("pages/1", &["s.t/7"][..], false),
        ("pages/2", &["s.t"], false),
        ("pages/3", &["tag:home"], false),
        ("pages/4", &["s.u/7", "s.u", "tag:other"], true),
        // Nobody depends on rows of the table yet, so that nobody knows which have changed.
        ("pages/5", &["s.t/8"], false),
    ] {
        let fresh = pages();
        let token = fresh.lease(path).unwrap();
        fresh.row("t", 7);
        fresh.row("t", 7);
        fresh.engine.void_tag("home", fresh.now.tick);
        assert_eq!(fresh.fill_with(path, &token, names), taken, "{path}");
    }
    assert!(bench.stored("pages/8", &["s.t/8"]));
    let (seven, eight) = (bench.lease("pages/1").unwrap(), bench.lease("pages/2").unwrap());
    bench.row("t", 7);
    assert!(!bench.fill_with("pages/1", &seven, &["s.t/7"]));
    assert!(bench.fill_with("pages/2", &eight, &["s.t/8"]), "from here on rows are told apart");
}

#[test]
fn a_tag_voids_what_has_it() {
    let bench = pages();
    assert!(bench.stored("pages/1", &["tag:home"]) && bench.stored("pages/2", &["tag:other"]));
    bench.engine.void_tag("home", bench.now.tick);
    assert!(!bench.is_cached("pages/1") && bench.is_cached("pages/2"));
}

#[test]
fn a_fill_soon_after_a_change_of_what_it_names_is_held_off() {
    let mut bench = pages();
    assert!(bench.stored("pages/1", &["s.t/7"]));
    bench.row("t", 7);
    for (path, names, outcome) in [
        ("pages/1", &["s.t/7"][..], "hit x hold-off"),
        ("pages/2", &["s.t"], "hit x hold-off"),
        ("pages/3", &["s.t/8"], "hit x"),
    ] {
        assert!(bench.fill_with(path, &bench.lease(path).unwrap(), names));
        assert_eq!(bench.get(path), outcome, "{path}");
    }
    bench.pass(1000);
    assert!(!bench.is_cached("pages/1") && bench.is_cached("pages/3"));
}

#[test]
fn what_voids_a_whole_table_voids_its_rows() {
    let truncate = "{\"source\":{\"schema\":\"s\",\"table\":\"t\",\"ts_ms\":0},\"op\":\"t\"}";
    for by_row in [false, true] {
        let bench = pages();
        if by_row {
            assert!(bench.stored("pages/0", &["s.t/1"]));
        }
        assert!(bench.stored("pages/1", &["s.t/7"]) && bench.stored("pages/2", &["s.u/7"]));
        let token = bench.lease("pages/3").unwrap();
        assert_eq!(bench.apply("null", truncate), None);
        assert!(!bench.is_cached("pages/1") && bench.is_cached("pages/2"));
        assert!(!bench.fill_with("pages/3", &token, &["s.t/7"]));
    }
}

#[test]
fn values_stay_over_a_reload_that_keeps_their_tables() {
    let bench = pages();
    assert!(bench.stored("pages/1", &["s.t/7"]) && bench.stored("pages/2", &["s.t"]));
    bench.install(&format!("{PAGES}, {{name: more, table: s.t}}"), "");
    assert!(bench.is_cached("pages/1") && bench.is_cached("pages/2"));
    bench.row("t", 7);
    assert!(
        !bench.is_cached("pages/1") && !bench.is_cached("pages/2"),
        "they are of the same tables as before"
    );
}

#[test]
fn values_end_with_a_table_that_nobody_follows_any_more() {
    let bench = Bench::new("{name: pages, dependsOn: [s.u]}, {name: rows, table: s.t}", "");
    assert!(bench.stored("pages/1", &["s.t/7"]) && bench.stored("pages/2", &["s.t"]));
    assert!(bench.stored("pages/3", &["s.u"]));
    let token = bench.lease("pages/4").unwrap();
    let on = bench.on(&["s.t"]);
    bench.install("{name: pages, dependsOn: [s.u]}", "");
    assert!(!bench.is_cached("pages/1") && !bench.is_cached("pages/2") && bench.is_cached("pages/3"));
    assert!(!bench.put_on("pages/4", &token, on), "nobody would see its changes");
}

#[test]
fn a_table_whose_stream_has_no_position_yet_is_nothing_to_depend_on() {
    let bench = pages();
    bench.install(&format!("{PAGES}, {{name: more, table: s.v}}"), "");
    let fill = |names: &[&str]| bench.fill_with("pages/1", &bench.lease("pages/1").unwrap(), names);
    assert!(fill(&["s.t"]) && !fill(&["s.v"]) && !fill(&["s.v/1"]));
    let catalog = bench.engine.catalog().unwrap();
    let token = bench.lease("pages/1").unwrap();
    bench.engine.attach(catalog.fed_by(&catalog.feeds[0].0), bench.now.tick);
    assert!(!bench.fill_with("pages/1", &token, &["s.v"]), "changes before the position weren't seen");
    assert!(fill(&["s.v"]) && fill(&["s.v/1"]));
}

#[test]
fn declared_forms_of_a_tables_columns_hold_for_its_rows() {
    let bench = Bench::new(
        "{name: pages, mayDependOn: [s.t]}, {name: rows, table: s.t, key: [{column: id, type: Text, collation: CaseInsensitive}]}",
        "",
    );
    let change = |id: &str| {
        let value = format!(
            "{{\"after\":{{\"id\":\"{id}\"}},\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"ts_ms\":0}},\"op\":\"u\"}}"
        );
        assert_eq!(bench.apply(&format!("{{\"id\":\"{id}\"}}"), &value), None);
    };
    // The first event tells the columns.
    change("zz");
    let on = |key: &str| {
        let scope = bench.scope("s.t");
        let key = scope.rows.with_shape(|shape| Key::from_path(key, shape.forms.as_deref())).unwrap();
        vec![bench.engine.on_row(&scope, &key)]
    };
    let stored = |path: &str, key: &str| bench.put_on(path, &bench.lease(path).unwrap(), on(key));
    assert!(stored("pages/1", "ABC") && stored("pages/2", "abd"));
    change("aBc");
    assert!(!bench.is_cached("pages/1") && bench.is_cached("pages/2"));
}

#[test]
fn marks_that_nobody_holds_are_dropped() {
    let bench = pages();
    for n in 0..20_000 {
        let path = format!("pages/{}", n % 10);
        let row = format!("s.t/{n}");
        assert!(bench.fill_with(&path, &bench.lease(&path).unwrap(), &[&row]), "{n}");
        if n % 1000 == 999 {
            let now = bench.now.tick;
            bench.engine.sweep(true, || now);
        }
    }
    let held = bench.engine.core().marks.held();
    assert!((10..10_000).contains(&held), "{held}");
    for n in 19_990..20_000 {
        assert!(bench.is_cached(&format!("pages/{}", n % 10)));
        bench.row("t", n);
        assert!(!bench.is_cached(&format!("pages/{}", n % 10)), "{n}");
    }
}
