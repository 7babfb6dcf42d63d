use freshet_crds::{binding::Binding, manifest};

use super::{Effect, effects};
use crate::{
    catalog::{Catalog, Newer},
    envelope::{StreamRole, read},
    recorded::Recording,
};

fn catalog(caches: &str) -> Catalog {
    let text = format!(
        "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
           sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', topicPrefix: shop}}}}],
           caches: [{caches}]}}}}"
    );
    Catalog::build(Binding::parse(&manifest::read(&text).unwrap().object).unwrap(), Newer::default(), None)
}

/// The effects of one entry as text; shapes are learned as the engine would.
fn run(catalog: &Catalog, key: &str, value: &str) -> Vec<String> {
    let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
    let change = read(&StreamRole::Routed, &fields);
    let (_, tables) = &catalog.feeds[0];
    let mut texts: Vec<_> = effects(&change, tables).iter().filter_map(show).collect();
    texts.sort();
    texts
}

fn show(effect: &Effect<'_>) -> Option<String> {
    match effect {
        Effect::VoidRow { cache, key } => Some(format!("void {}/{}", cache.spec.name, key.as_str())),
        Effect::Hydrate { cache, key, .. } => Some(format!("hydrate {}/{}", cache.spec.name, key.as_str())),
        Effect::VoidCache { cache } => Some(format!("void {}", cache.spec.name)),
        Effect::Reshape { cache, shape } => {
            cache.set_shape(shape.clone());
            None
        }
    }
}

fn event(op: &str, after: &str) -> String {
    format!(
        "{{\"before\":null,\"after\":{after},\"source\":{{\"db\":\"postgres\",\"schema\":\"s\",\"table\":\"t\",\
         \"snapshot\":null,\"lsn\":5,\"ts_ms\":9}},\"op\":\"{op}\",\"ts_ms\":10}}"
    )
}

#[test]
fn a_row_voids_its_key_and_what_depends_on_its_table() {
    let catalog = catalog(
        "{name: rows, table: s.t}, {name: pages, dependsOn: [s.t, s.u]}, {name: others, table: s.u}, {name: long, table: postgres.s.t}",
    );
    assert_eq!(run(&catalog, "{\"id\":7}", &event("u", "{\"id\":7}")), ["void pages", "void rows/7"]);
}

#[test]
fn a_row_of_another_table_does_nothing() {
    let catalog = catalog("{name: rows, table: s.u}");
    assert!(run(&catalog, "{\"id\":7}", &event("u", "{\"id\":7}")).is_empty());
}

#[test]
fn hydration_follows_the_void() {
    let catalog = catalog("{name: rows, table: s.t, onChange: Hydrate}");
    let both = ["hydrate rows/7", "void rows/7"];
    assert_eq!(run(&catalog, "{\"id\":7}", &event("c", "{\"id\":7}")), both);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("u", "{\"id\":7}")), both);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("d", "null")), ["void rows/7"]);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("r", "{\"id\":7}")), ["void rows/7"]);
}

#[test]
fn images_that_are_not_whole_or_not_true_only_void() {
    let catalog = catalog("{name: rows, table: s.t, onChange: Hydrate}");
    let placeholder = event("u", "{\"id\":7,\"text\":\"__debezium_unavailable_value\"}");
    assert_eq!(run(&catalog, "{\"id\":7}", &placeholder), ["void rows/7"]);
    let binary = event("u", "{\"id\":7,\"raw\":\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"}");
    assert_eq!(run(&catalog, "{\"id\":7}", &binary), ["void rows/7"]);
    let defaults = event("u", "{\"id\":7}").replace("\"snapshot\":null", "\"snapshot\":\"false\"");
    assert_eq!(run(&catalog, "{\"id\":7}", &defaults), ["void rows/7"]);
    let unordered = event("u", "{\"id\":7}").replace("\"lsn\":5,", "");
    assert_eq!(run(&catalog, "{\"id\":7}", &unordered), ["void rows/7"]);
}

#[test]
fn a_key_of_other_columns_is_known_for_new_rows_only() {
    let catalog = catalog("{name: skus, table: s.t, key: [{column: sku}]}");
    let row = "{\"id\":7,\"sku\":\"a\"}";
    assert_eq!(run(&catalog, "{\"id\":7}", &event("c", row)), ["void skus/a"]);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("u", row)), ["void skus"]);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("d", "null")), ["void skus"]);
    assert_eq!(
        run(&catalog, "{\"id\":7}", &event("c", "{\"id\":7}")),
        ["void skus"],
        "the column isn't in the event"
    );
    assert!(
        run(&catalog, "{\"id\":7}", &event("c", "{\"id\":7,\"sku\":null}")).is_empty(),
        "no request can name it"
    );
}

#[test]
fn columns_are_put_in_the_bindings_order() {
    let catalog = catalog(
        "{name: stock, table: s.t, key: [{column: shelf}, {column: house}]}, {name: plain, table: s.t}",
    );
    let found = run(&catalog, "{\"house\":\"a/b\",\"shelf\":3}", &event("u", "null"));
    assert_eq!(found, ["void plain/a%2Fb/3", "void stock/3/a%2Fb"]);
}

#[test]
fn a_table_without_a_key_is_voided_whole() {
    let catalog = catalog("{name: rows, table: s.t}, {name: pages, dependsOn: [s.t]}");
    for (key, op) in [("default", "u"), ("default", "t"), ("{\"id\":1}", "?")] {
        assert_eq!(run(&catalog, key, &event(op, "null")), ["void pages", "void rows"], "{op}");
    }
}

#[test]
fn a_key_of_another_type_than_declared_voids_the_cache() {
    let catalog = catalog("{name: rows, table: s.t, key: [{column: id, type: Integer}]}");
    assert_eq!(run(&catalog, "{\"id\":\"seven\"}", &event("u", "null")), ["void rows"]);
    assert_eq!(run(&catalog, "{\"id\":{\"scale\":0}}", &event("u", "null")), ["void rows"]);
}

#[test]
fn a_first_event_teaches_the_keys_shape() {
    let catalog = catalog("{name: rows, table: s.t}");
    let cache = &catalog.caches["rows"];
    assert_eq!(cache.shape().forms, None);
    run(&catalog, "{\"a\":1,\"b\":\"x\"}", &event("u", "null"));
    let forms = cache.shape().forms.clone().unwrap();
    assert_eq!(forms.len(), 2);
    assert_eq!(forms[0].kind, freshet_crds::KeyType::Integer);
    assert_eq!(forms[1].kind, freshet_crds::KeyType::Auto);
}

#[test]
fn every_recorded_change_voids_its_row() {
    for name in ["compact", "extended", "one-stream"] {
        let recording = Recording::load(name);
        let catalog = catalog("{name: product, table: inventory.product}");
        let (_, tables) = &catalog.feeds[0];
        let mut voided = std::collections::BTreeSet::new();
        for entry in &recording.entries {
            voided.extend(effects(&entry.change(), tables).iter().filter_map(show));
        }
        for id in ["1", "10", "2", "20", "3", "4", "-1", "30", "31", "41"] {
            assert!(voided.contains(&format!("void product/{id}")), "{name}: {id}");
        }
        assert!(!voided.contains("void product"), "{name}: no change of the script concerns the whole table");
    }
}
