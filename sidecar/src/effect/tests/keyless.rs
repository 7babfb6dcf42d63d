//! Changes without keys: a row is what a cache's `key` names of its columns.

use std::collections::BTreeSet;

use super::{Effect, catalog, concerned, effects, event, show};
use crate::{
    catalog::Catalog,
    envelope::{StreamRole, read},
    recorded::Recording,
};

const ROWS: &str = "{name: rows, table: s.t, key: [{column: id}]}";

/// The effects of an event, with those on the table's dependants.
fn run(catalog: &Catalog, value: &str) -> Vec<String> {
    let fields = [("topic", "shop.s.t"), ("value", value)].map(|(n, v)| (n.into(), v.as_bytes().to_vec()));
    let change = read(&StreamRole::Routed, &fields);
    let (_, tables) = &catalog.feeds[0];
    let show = |effect: &Effect<'_>| match effect {
        Effect::VoidTable { rows, .. } => Some(format!("void scope rows={rows}")),
        effect => show(effect),
    };
    let mut texts: Vec<_> = effects(&change, concerned(&change, tables)).iter().filter_map(show).collect();
    texts.sort();
    texts
}

/// What becomes of the one cache.
fn rows(value: &str) -> Vec<String> {
    let mut told = run(&catalog(ROWS), value);
    told.retain(|text| !text.starts_with("void scope"));
    told
}

fn changed(op: &str, before: &str, after: &str) -> String {
    event(op, after).replace("\"before\":null", &format!("\"before\":{before}"))
}

#[test]
fn a_row_is_what_the_key_names_of_it() {
    let row = "{\"id\":7,\"a\":1}";
    for op in ["c", "r", "u"] {
        assert_eq!(rows(&event(op, row)), ["void rows/7"], "{op}");
    }
    assert_eq!(rows(&changed("d", row, "null")), ["void rows/7"]);
    assert_eq!(rows(&changed("u", "{\"id\":7,\"a\":0}", row)), ["void rows/7"], "the same row before");
}

#[test]
fn whatever_else_the_row_may_have_been_all_are_void() {
    let row = "{\"id\":7,\"a\":1}";
    for (what, value) in [
        ("a change of key of which the whole row was said", changed("u", "{\"id\":8,\"a\":1}", row)),
        ("a delete that doesn't say of what", event("d", "null")),
        ("a delete that says another column", changed("d", "{\"a\":1}", "null")),
        ("an update that doesn't say what the row was called before", changed("u", "{\"a\":1}", row)),
        ("a row without the column", event("u", "{\"a\":1}")),
        ("a row that is no object", event("u", "[7]")),
        ("an update without a row", event("u", "null")),
        ("a truncate", event("t", "null")),
    ] {
        assert_eq!(rows(&value), ["void rows"], "{what}");
    }
}

#[test]
fn every_column_of_the_key_counts() {
    let both = catalog("{name: rows, table: s.t, key: [{column: b}, {column: id}]}");
    let told = |value: &str| -> Vec<String> {
        run(&both, value).into_iter().filter(|text| !text.starts_with("void scope")).collect()
    };
    assert_eq!(told(&event("u", "{\"id\":7,\"b\":\"x\"}")), ["void rows/x/7"], "in the order of the key");
    assert_eq!(told(&event("u", "{\"id\":7}")), ["void rows"]);
    let before = "{\"id\":7,\"b\":\"y\"}";
    assert_eq!(told(&changed("u", before, "{\"id\":7,\"b\":\"x\"}")), ["void rows"]);
}

#[test]
fn images_of_rows_hydrate() {
    let hydrating = catalog("{name: rows, table: s.t, key: [{column: id}], onChange: Hydrate}");
    let told = run(&hydrating, &event("u", "{\"id\":7,\"a\":1}"));
    assert!(
        told.contains(&"hydrate rows/7".to_owned()) && told.contains(&"void rows/7".to_owned()),
        "{told:?}"
    );
    let gone = run(&hydrating, &changed("d", "{\"id\":7}", "null"));
    assert!(
        gone.contains(&"void rows/7".to_owned()) && !gone.contains(&"hydrate rows/7".to_owned()),
        "{gone:?}"
    );
}

#[test]
fn dependants_of_the_table_are_void_and_so_is_every_row_that_a_fill_has_named() {
    let caches = "{name: pages, dependsOn: [s.t]}, {name: rows, table: s.t, key: [{column: id}]}";
    let told = run(&catalog(caches), &event("u", "{\"id\":7}"));
    assert_eq!(told, ["void pages", "void rows/7", "void scope rows=true"]);
    let alone = run(&catalog("{name: pages, dependsOn: [s.t]}"), &event("u", "{\"id\":7}"));
    assert!(alone.contains(&"void pages".to_owned()), "{alone:?}");
}

/// Whatever is void with Debezium's keys is void without them.
#[test]
fn the_same_rows_are_void_as_where_there_are_keys() {
    let caches = "{name: product, table: inventory.product, key: [{column: id}]},
        {name: category, table: inventory.category, key: [{column: id}]},
        {name: stock, table: inventory.stock, key: [{column: warehouse}, {column: shelf}]}";
    let voided = |recording: &Recording| -> BTreeSet<String> {
        let catalog = catalog(caches);
        let (_, tables) = &catalog.feeds[0];
        let mut voided = BTreeSet::new();
        for entry in &recording.entries {
            let change = entry.change();
            voided.extend(effects(&change, concerned(&change, tables)).iter().filter_map(show));
        }
        voided
    };
    let with = voided(&Recording::of_kafka("kafka"));
    let without = voided(&Recording::of_jet_stream("jetstream"));
    assert!(with.contains("void product/10") && with.contains("void stock/berlin/42"), "{with:?}");
    assert_eq!(without, with);
}
