//! Rows that are found by other columns than their key.

use super::{Answer, Bench, Fill, READ, Terms};
use crate::{entry::Value, key::Key};

const ROWS: &str = "{name: rows, table: s.t, key: [{column: id, type: Integer}], onChange: Hydrate, \
                    lookups: [{column: name}], ttlJitter: 0%}";

fn row() -> Key {
    Key::from_path("7", None).unwrap()
}

fn name() -> Key {
    Key::by("name", &Key::from_path("one", None).unwrap())
}

impl Bench {
    fn found(&self, key: &Key) -> Option<String> {
        let (catalog, cache) = self.cache("rows");
        match self.engine.get(&catalog, &cache, key, READ, self.now.tick) {
            Answer::Hit(hit) => Some(String::from_utf8(hit.entry.body.to_vec()).unwrap()),
            Answer::Miss(_) => None,
        }
    }

    fn lease_of(&self, key: &Key) -> String {
        let (catalog, cache) = self.cache("rows");
        match self.engine.get(&catalog, &cache, key, READ, self.now.tick) {
            Answer::Miss(miss) => miss.lease.unwrap().token,
            Answer::Hit(_) => panic!("it is cached"),
        }
    }

    /// Fills row 7 under one of its keys, as the API does.
    fn found_as(&self, key: &Key, token: &str, body: &'static str) -> bool {
        let (catalog, cache) = self.cache("rows");
        let lease = self.engine.lease(&cache, key, token).unwrap();
        let (on, names) = if key.is_lookup() {
            (vec![self.engine.on_own_row(&cache, &row())], Vec::new())
        } else {
            (Vec::new(), vec![name()])
        };
        let value = Value::new(body.into(), "text/plain".into());
        let fill = Fill { lease, value, terms: Terms { on, names, ..Terms::default() } };
        self.engine.fill(&catalog, &cache, key, fill, self.now).is_ok()
    }
}

#[test]
fn an_older_image_takes_no_place_of_what_was_found_since() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(9, 1, 0, "x");
    bench.pass(10_000);
    assert!(bench.found_as(&name(), &bench.lease_of(&name()), "newer"));
    bench.change(7, 2, bench.now.wall_ms - 5000, "one");
    assert_eq!(bench.found(&name()), None, "whoever has seen the newer one doesn't see the older one next");
    assert!(bench.found(&row()).is_some(), "nobody has read it by its key");
    bench.change(7, 3, bench.now.wall_ms + 5000, "one");
    assert_eq!(bench.found(&name()), bench.found(&row()));
    assert!(bench.found(&name()).is_some());
}

#[test]
fn a_fill_of_a_row_takes_no_place_of_what_was_found_since_its_lease() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(9, 1, 0, "x");
    bench.pass(10_000);
    let early = bench.lease_of(&row());
    assert!(bench.found_as(&name(), &bench.lease_of(&name()), "newer"));
    assert!(bench.found_as(&row(), &early, "older"));
    assert_eq!(bench.found(&name()).as_deref(), Some("newer"));
    bench.change(7, 2, 0, "x");
    assert!(bench.found_as(&row(), &bench.lease_of(&row()), "new"));
    assert_eq!(bench.found(&name()).as_deref(), Some("new"), "the name is the row's again");
}

#[test]
fn a_fill_of_a_row_counts_as_one_of_its_names() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(9, 1, 0, "x");
    bench.pass(10_000);
    let early = bench.lease_of(&name());
    assert!(bench.found_as(&row(), &bench.lease_of(&row()), "newer"));
    assert!(!bench.found_as(&name(), &early, "older"));
    assert_eq!(bench.found(&name()).as_deref(), Some("newer"));
}
