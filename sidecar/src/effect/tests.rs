use std::sync::Arc;

use freshet_crds::{binding::Binding, manifest};

use super::{Effect, concerned, effects};
use crate::{
    catalog::{Catalog, Newer},
    envelope::{StreamRole, read},
    key::Key,
    recorded::Recording,
    views::rows::SharedRoster,
};

mod keyless;

fn catalog(caches: &str) -> Catalog {
    let text = format!(
        "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
           sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', stream: all}}}}],
           caches: [{caches}]}}}}"
    );
    Catalog::build(Binding::parse(&manifest::read(&text).unwrap().object).unwrap(), Newer::default(), None)
}

/// The effects of one entry as text; shapes are learned as the engine would.
fn run(catalog: &Catalog, key: &str, value: &str) -> Vec<String> {
    let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
    let change = read(&StreamRole::Routed, &fields);
    let (_, tables) = &catalog.feeds[0];
    let mut texts: Vec<_> = effects(&change, concerned(&change, tables)).iter().filter_map(show).collect();
    texts.sort();
    texts
}

fn show(effect: &Effect<'_>) -> Option<String> {
    match effect {
        Effect::VoidRow { cache, .. } | Effect::VoidCache { cache, .. } if cache.is_scope => None,
        Effect::VoidTable { .. } => None,
        Effect::VoidRow { cache, key } => Some(format!("void {}/{}", cache.spec.name, key.as_str())),
        Effect::Note { cache, key, .. } => Some(format!("note {}/{}", cache.spec.name, key.as_str())),
        Effect::Refuse { cache, why } => Some(format!("refuse {} {}", cache.spec.name, why.as_str())),
        Effect::Hydrate { cache, key, .. } => Some(format!("hydrate {}/{}", cache.spec.name, key.as_str())),
        Effect::VoidCache { cache, .. } => Some(format!("void {}", cache.spec.name)),
        Effect::Outrank { cache, key: Some(key) } => {
            Some(format!("outrank {}/{}", cache.spec.name, key.as_str()))
        }
        Effect::Outrank { cache, key: None } => Some(format!("outrank {}", cache.spec.name)),
        Effect::Enrol { cache, entry } => Some(format!("enrol {} {entry:?}", cache.spec.name)),
        Effect::Reshape { cache, lookup, shape } => {
            match lookup {
                Some(lookup) => lookup.set_shape(shape.clone()),
                None => cache.set_shape(shape.clone()),
            }
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
    let found = run(&catalog, "{\"id\":7}", &event("u", "{\"id\":7}"));
    assert_eq!(found, ["void long/7", "void pages", "void rows/7"], "however the table is spelled");
}

#[test]
fn what_names_no_database_concerns_every_spelling() {
    let catalog = catalog(
        "{name: rows, table: s.t}, {name: long, table: postgres.s.t}, {name: pages, dependsOn: [db.s.t]}, {name: others, table: s.tt}",
    );
    let (_, tables) = &catalog.feeds[0];
    let role = StreamRole::Table("s.t".into());
    for (value, expected) in [
        ("not JSON", ["void long", "void pages", "void rows"]),
        ("default", ["void long/7", "void pages", "void rows/7"]),
    ] {
        let fields = [(b"{\"id\":7}".to_vec(), value.as_bytes().to_vec())];
        let change = read(&role, &fields);
        let mut found: Vec<_> =
            effects(&change, concerned(&change, tables)).iter().filter_map(show).collect();
        found.sort();
        assert_eq!(found, expected, "{value}");
    }
}

/// `ByLogicalTableRouter` writes rows of `t_shard1` into the stream of `t_all`.
#[test]
fn rows_that_are_routed_into_a_tables_stream_void_its_rows() {
    let catalog = catalog(
        "{name: all, table: s.t_all, onChange: Hydrate}, {name: shard, table: s.t, onChange: Hydrate}, {name: pages, dependsOn: [s.t_all]}, {name: others, table: s.u}",
    );
    let (_, tables) = &catalog.feeds[0];
    let role = StreamRole::Table("s.t_all".into());
    let shard = "{\"id\":7,\"__dbz__physicalTableIdentifier\":\"shop.s.t\"}";
    let run = |key: &str, value: &str| {
        let fields = [(key.as_bytes().to_vec(), value.as_bytes().to_vec())];
        let change = read(&role, &fields);
        let mut found: Vec<_> =
            effects(&change, concerned(&change, tables)).iter().filter_map(show).collect();
        found.sort();
        found
    };
    let (written, own) = (event("u", "{\"id\":7}"), event("u", "{\"id\":7}").replace("\"t\"", "\"t_all\""));
    // Rows of several tables can have one key there: what one of them looks like isn't known for the other.
    let both = ["hydrate shard/7", "note all/7", "void all/7", "void pages", "void shard/7"];
    assert_eq!(run(shard, &written), both);
    let deleted = ["note all/7", "note shard/7", "void all/7", "void pages", "void shard/7"];
    assert_eq!(run(shard, &event("d", "null")), deleted);
    for (key, value) in [("default", event("t", "null")), ("not JSON", event("u", "null"))] {
        assert_eq!(run(key, &value), ["void all", "void pages", "void shard"], "{value}");
    }
    assert_eq!(run("{\"id\":7}", &own), ["hydrate all/7", "void all/7", "void pages"], "its own rows");
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
    // What can't be hydrated is known of nevertheless.
    let noted = ["note rows/7", "void rows/7"];
    assert_eq!(run(&catalog, "{\"id\":7}", &event("d", "null")), noted);
    assert_eq!(run(&catalog, "{\"id\":7}", &event("r", "{\"id\":7}")), noted);
}

/// Tenants' rows can have the same number: one's image isn't the other's value.
#[test]
fn images_of_rows_that_share_a_key_are_not_hydrated() {
    let (tenants, row) = ("{\"tenant\":1,\"id\":7}", "{\"tenant\":1,\"id\":7,\"code\":\"a\"}");
    let shared =
        |name: &str, key: &str| format!("{{name: {name}, table: s.t, onChange: Hydrate, key: [{key}]}}");
    let found = |cache: &str, key: &str, op: &str| run(&catalog(cache), key, &event(op, row));
    let refused = ["note ids/7", "refuse ids shared-key", "void ids/7"];
    for op in ["c", "u"] {
        assert_eq!(found(&shared("ids", "{column: id}"), tenants, op), refused, "{op}");
    }
    let whole = shared("ids", "{column: id}, {column: tenant}");
    assert_eq!(found(&whole, tenants, "u"), ["hydrate ids/7/1", "void ids/7/1"]);
    let other = ["note codes/a", "refuse codes shared-key", "void codes/a"];
    assert_eq!(found(&shared("codes", "{column: code}"), tenants, "c"), other);
    // `ab ` is the row of `ab` in a column of type char(3), and another one in one of type text.
    let plain = "{name: ids, table: s.t, onChange: Hydrate}";
    let padded = ["note ids/ab", "refuse ids shared-key", "void ids/ab"];
    assert_eq!(found(plain, "{\"id\":\"ab \"}", "u"), padded);
    assert_eq!(found(plain, "{\"id\":\"abc\"}", "u"), ["hydrate ids/abc", "void ids/abc"]);
}

#[test]
fn what_is_declared_is_not_void_because_of_a_first_event() {
    let reshapes = |catalog: &Catalog, key: &str| {
        let fields = [(key.as_bytes().to_vec(), event("u", "null").into_bytes())];
        let change = read(&StreamRole::Routed, &fields);
        let effects = effects(&change, concerned(&change, &catalog.feeds[0].1));
        // A reshape to the forms that are known already voids nothing.
        let of_values = |effect: &Effect<'_>| {
            matches!(effect, Effect::Reshape { cache, shape, .. }
                if !cache.is_scope && shape.forms != cache.shape().forms)
        };
        effects.iter().any(of_values)
    };
    for (key, shown, learns) in [
        ("key: [{column: id, type: Integer}]", "7", false),
        ("key: [{column: id, type: Text}]", "\"x\"", false),
        ("key: [{column: id}]", "7", true),
        ("ttl: 1m", "7", true),
    ] {
        let catalog = catalog(&format!("{{name: rows, table: s.t, {key}}}"));
        assert_eq!(reshapes(&catalog, &format!("{{\"id\":{shown}}}")), learns, "{key}");
    }
}

/// MariaDB takes `ab` and `AB` for one, and no event says so.
#[test]
fn an_event_of_a_binary_log_shows_that_texts_are_compared_by_a_collation() {
    let binlog = event("u", "null").replace("\"lsn\":5", "\"server_id\":1,\"file\":\"bin.1\",\"pos\":5");
    for (event, taken) in [(event("u", "null"), true), (binlog, false)] {
        let catalog = catalog("{name: rows, table: s.t}");
        assert_eq!(run(&catalog, "{\"id\":\"ab\"}", &event), ["void rows/ab"]);
        let shape = catalog.caches["rows"].shape();
        assert_eq!(Key::from_path("AB", shape.forms.as_deref()).is_ok(), taken);
    }
}

#[test]
fn images_that_are_not_whole_or_not_true_only_void() {
    let catalog = catalog("{name: rows, table: s.t, onChange: Hydrate}");
    let bytes: Vec<String> = b"__debezium_unavailable_value".iter().map(u8::to_string).collect();
    for placeholder in [
        "\"__debezium_unavailable_value\"",
        "[\"__debezium_unavailable_value\"]",
        "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
        "\"5f5f646562657a69756d5f756e617661696c61626c655f76616c7565\"",
        "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]",
        &format!("[{}]", bytes.join(",")),
        &format!("[{}.0]", bytes.join(".0,")),
    ] {
        let image = event("u", &format!("{{\"id\":7,\"large\":{placeholder}}}"));
        let expected = ["note rows/7", "refuse rows not-whole", "void rows/7"];
        assert_eq!(run(&catalog, "{\"id\":7}", &image), expected, "{placeholder}");
    }
    let defaults = event("u", "{\"id\":7}").replace("\"snapshot\":null", "\"snapshot\":\"false\"");
    let expected = ["note rows/7", "refuse rows nulls-replaced", "void rows/7"];
    assert_eq!(run(&catalog, "{\"id\":7}", &defaults), expected);
    let unordered = event("u", "{\"id\":7}").replace("\"lsn\":5,", "");
    assert_eq!(run(&catalog, "{\"id\":7}", &unordered), ["refuse rows no-position", "void rows/7"]);
    // Nobody hydrates here, and so nothing is refused.
    let plain = self::catalog("{name: rows, table: s.t}");
    assert_eq!(run(&plain, "{\"id\":7}", &defaults), ["void rows/7"]);
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
fn spellings_that_events_show_are_those_that_requests_must_use() {
    let catalog = catalog("{name: rows, table: s.t}");
    let cache = &catalog.caches["rows"];
    let takes = |text: &str| Key::from_path(text, cache.shape().forms.as_deref()).is_ok();
    let shows = |value: &str| run(&catalog, &format!("{{\"id\":{value}}}"), &event("u", "null"));
    shows("\"7.00\"");
    assert_eq!(["7.00", "8.25", "7.0", "7", "7e0"].map(takes), [true, true, false, false, false]);
    let learned = cache.shape();
    shows("\"9.99\"");
    assert!(std::sync::Arc::ptr_eq(&learned, &cache.shape()), "nothing new, nothing void");
    shows("\"7.0\"");
    assert_eq!(["7.00", "7.0", "7"].map(takes), [false; 3], "which of them names a row?");
    shows("\"007\"");
    assert_eq!(["7.00", "7.0", "7", "007"].map(takes), [true; 4], "a text, whose spellings are other rows");
    assert!(takes("SKU-1") && !takes("+7"));
}

#[test]
fn uuids_are_spelled_as_events_show_them() {
    let (lower, bare) = ("6f96a0f1-3c0e-4c6b-9a53-0a6c2f3f0b1d", "6f96a0f13c0e4c6b9a530a6c2f3f0b1d");
    let upper = lower.to_uppercase();
    for (shown, taken) in
        [(lower, [true, false, false]), (&upper, [false, true, false]), (bare, [false, false, true])]
    {
        let catalog = catalog("{name: rows, table: s.t}");
        run(&catalog, &format!("{{\"id\":\"{shown}\"}}"), &event("u", "null"));
        let shape = catalog.caches["rows"].shape();
        let takes = |text: &str| Key::from_path(text, shape.forms.as_deref()).is_ok();
        assert_eq!([lower, &upper, bare].map(takes), taken, "{shown}");
    }
}

#[test]
fn booleans_are_spelled_as_events_show_them() {
    let catalog = catalog("{name: rows, table: s.t}");
    let cache = &catalog.caches["rows"];
    let takes = |text: &str| Key::from_path(text, cache.shape().forms.as_deref()).is_ok();
    let shows = |value: &str| run(&catalog, &format!("{{\"id\":{value}}}"), &event("u", "null"));
    // All of these are one row to a database.
    let others = ["TRUE", "t", "yes", "on", "1", "true%20", "tru"];
    assert_eq!(others.map(takes), [true; 7], "nothing is known yet");
    assert_eq!(shows("true"), ["void rows/true"]);
    assert_eq!(others.map(takes), [false; 7]);
    assert!(takes("true") && takes("false"));
    let learned = cache.shape();
    assert_eq!(shows("false"), ["void rows/false"]);
    assert!(std::sync::Arc::ptr_eq(&learned, &cache.shape()), "nothing new, nothing void");
    shows("\"yes\"");
    assert!(["TRUE", "yes", "1"].iter().all(|text| takes(text)), "a text, whose spellings are other rows");
}

#[test]
fn integers_are_learned_from_numbers_and_unlearned_from_texts() {
    let catalog = catalog("{name: rows, table: s.t}");
    let kind = || catalog.caches["rows"].shape().forms.clone().unwrap()[0].kind;
    run(&catalog, "{\"id\":-7}", &event("u", "null"));
    assert_eq!(kind(), freshet_crds::KeyType::Integer);
    assert_eq!(run(&catalog, "{\"id\":\"seven\"}", &event("u", "null")), ["void rows/seven"]);
    assert_eq!(kind(), freshet_crds::KeyType::Auto);
}

#[test]
fn every_recorded_change_voids_its_row() {
    for name in ["compact", "extended", "one-stream"] {
        let recording = Recording::load(name);
        let catalog = catalog("{name: product, table: inventory.product}");
        let (_, tables) = &catalog.feeds[0];
        let mut voided = std::collections::BTreeSet::new();
        for entry in &recording.entries {
            let change = entry.change();
            voided.extend(effects(&change, concerned(&change, tables)).iter().filter_map(show));
        }
        for id in ["1", "10", "2", "20", "3", "4", "-1", "30", "31", "41"] {
            assert!(voided.contains(&format!("void product/{id}")), "{name}: {id}");
        }
        assert!(!voided.contains("void product"), "{name}: no change of the script concerns the whole table");
    }
}

/// What rosters are told of one entry.
fn enrolled(caches: &str, key: &str, value: &str) -> Vec<String> {
    let catalog = catalog(caches);
    for cache in catalog.caches.values() {
        cache.roster.store(Some(Arc::new(SharedRoster::new("s.t"))));
    }
    let mut told = run(&catalog, key, value);
    told.retain(|text| text.starts_with("enrol"));
    told
}

#[test]
fn rosters_are_told_of_rows_that_a_key_tells_apart_and_of_anything_else_that_nothing_is_known() {
    let rows = "{name: rows, table: s.t, onChange: Hydrate, columns: [id, a]}";
    let [created, read, gone] = ["c", "r", "d"].map(|op| event(op, "{\"id\":7,\"b\":1,\"a\":2}"));
    let told = |what: &str| format!("enrol rows Told {{ what: {what}, transaction: None }}");
    let is = "Is(Key(\"7\"), Some(\"{\\\"id\\\":7,\\\"a\\\":2}\"))";
    assert_eq!(enrolled(rows, "{\"id\":7}", &created), [told(is)]);
    assert_eq!(enrolled(rows, "{\"id\":7}", &gone), [told("Gone(Key(\"7\"))")]);
    let read_ = "enrol rows Read(Key(\"7\"), Some(\"{\\\"id\\\":7,\\\"a\\\":2}\"))";
    assert_eq!(
        enrolled(rows, "{\"id\":7}", &read.replace("\"snapshot\":null", "\"snapshot\":\"true\"")),
        [read_]
    );
    let incremental = read.replace("\"snapshot\":null", "\"snapshot\":\"incremental\"");
    assert_eq!(enrolled(rows, "{\"id\":7}", &incremental), [""; 0], "it replaces nothing");
    assert_eq!(
        enrolled(rows, "{\"id\":7}", &event("u", "{\"id\":7}")),
        [told("Is(Key(\"7\"), None)")],
        "a column is missing"
    );
    assert_eq!(enrolled(rows, "{}", &event("t", "null")), [told("Cleared { alone: None }")]);
    let unknown = ["enrol rows Unknown(Unknown)"];
    assert_eq!(enrolled(rows, "default", &created), unknown, "it has no key");
    assert_eq!(enrolled(rows, "{\"id\":[7]}", &created), unknown, "nobody can spell it");
    let part = "{name: rows, table: s.t, onChange: Hydrate, key: [{column: id}]}";
    assert_eq!(enrolled(part, "{\"id\":7,\"other\":1}", &created), unknown, "several rows have it");
}
