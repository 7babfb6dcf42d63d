//! Manifests that a newer operator rendered.

use std::collections::BTreeSet;

use super::SHOP;
use crate::manifest::{self, Manifest, ReadError};

const RENDERED: &str = "name: shop\n  annotations: {freshet.dev/rendered-by: 9.9.9}";

fn rendered(changes: &[(&str, &str)]) -> Manifest {
    let text = changes.iter().fold(SHOP.replacen("name: shop", RENDERED, 1), |text, (from, to)| {
        assert!(text.contains(from), "the fixture has no `{from}`");
        text.replacen(from, to, 1)
    });
    manifest::read(&text).unwrap()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn caches(manifest: &Manifest) -> Vec<String> {
    manifest.binding().unwrap().caches.into_iter().map(|cache| cache.name).collect()
}

#[test]
fn a_cache_with_an_unknown_field_is_off() {
    let manifest = rendered(&[
        ("    table: inventory.product", "    table: inventory.product\n    sharding: 3"),
        ("  memory: 64Mi", "  memory: 64Mi\n  colour: blue"),
    ]);
    assert_eq!(manifest.rendered_by.as_deref(), Some("9.9.9"));
    assert_eq!(manifest.newer.caches, names(&["products"]));
    assert_eq!(manifest.newer.fields, ["spec.colour"]);
    assert_eq!(caches(&manifest), ["pages"]);
}

#[test]
fn a_cache_of_a_newer_kind_is_off() {
    let repos = "  - {name: repos, search: {index: repos, refresh: 5m}}\n  memory: 64Mi";
    let manifest = rendered(&[("  memory: 64Mi", repos)]);
    assert_eq!(manifest.newer.caches, names(&["repos"]));
    assert_eq!(manifest.newer.fields, [""; 0]);
    assert_eq!(caches(&manifest), ["products", "pages"]);
}

#[test]
fn an_upstream_cache_with_an_unknown_field_is_off_and_one_without_is_lost_with_no_source() {
    let repos = "  - {name: repos, upstream: {url: \"https://example\", mirror: a}}
  - {name: users, upstream: {url: \"https://example\"}}\n  memory: 64Mi";
    let manifest = rendered(&[
        ("    redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop\n", "    pulsar: {}\n"),
        ("  memory: 64Mi", repos),
    ]);
    assert_eq!(manifest.newer.caches, names(&["products", "pages", "repos"]));
    let binding = manifest.binding().unwrap();
    assert_eq!((binding.caches.len(), binding.upstreams[0].name.as_str()), (0, "users"));
}

#[test]
fn a_cache_with_an_unknown_value_is_off() {
    for value in ["onChange: Patch", "key: [{column: id, type: Decimal}]", "table: {any: true}"] {
        let cache = format!("  - {{name: new, dependsOn: [a.b], {value}}}\n  memory: 64Mi");
        let manifest = rendered(&[("  memory: 64Mi", &cache)]);
        assert_eq!(manifest.newer.caches, names(&["new"]), "{value}");
        assert_eq!(caches(&manifest), ["products", "pages"], "{value}");
    }
}

#[test]
fn a_view_that_only_a_newer_version_knows_is_off() {
    let views = "  - {name: repos, upstream: {url: \"https://a\"}}
  - {name: users, upstream: {url: \"https://a\", mirror: b}}
  views:
  - {name: known, cache: repos, keys: [a], orderBy: /a}
  - {name: field, cache: repos, keys: [a], orderBy: /a, distinct: /b}
  - {name: condition, cache: repos, keys: [a], orderBy: /a, filter: [{pointer: /a, matches: b}]}
  - {name: value, cache: repos, keys: [a], orderBy: /a, orderAs: Version}
  - {name: cache, cache: users, keys: [a], orderBy: /a}
  memory: 64Mi";
    let manifest = rendered(&[("  memory: 64Mi", views)]);
    assert_eq!(manifest.newer.views, names(&["field", "condition", "value", "cache"]));
    assert_eq!(manifest.newer.fields, [""; 0]);
    let left: Vec<_> = manifest.binding().unwrap().views.into_iter().map(|view| view.name).collect();
    assert_eq!(left, ["known"]);
}

#[test]
fn an_audit_of_nothing_that_is_left_is_no_fault() {
    let audited = "  - {name: new, table: a.b, onChange: Hydrate, sharding: 3}\n  audit: {}\n  memory: 64Mi";
    let manifest = rendered(&[("  memory: 64Mi", audited)]);
    assert_eq!(caches(&manifest), ["products", "pages"]);
    let newer =
        rendered(&[("  memory: 64Mi", "  audit: {check: {url: 'http://[::1]', tls: {}}}\n  memory: 64Mi")]);
    assert_eq!(newer.newer.fields, ["spec.audit.check.tls"]);
    assert!(newer.binding().unwrap().audit.unwrap().check.is_some());
}

#[test]
fn a_source_of_a_newer_kind_is_left_out_with_its_caches() {
    for kind in [
        "pulsar: {url: \"pulsar://pulsar\"}",
        "redisStream: {cluster: [a, b], stream: all}",
        "redisStream: 7",
    ] {
        let manifest = rendered(&[
            ("  - name: cdc", &format!("  - {{name: n, {kind}}}\n  - name: cdc")),
            (
                "  - name: products",
                "  - {name: news, source: n, table: a.b}\n  - name: products\n    source: cdc",
            ),
            // Which of several sources is meant, only the newer version knows.
        ]);
        assert_eq!(manifest.newer.sources, names(&["n"]), "{kind}");
        assert_eq!(manifest.newer.caches, names(&["news", "pages"]), "{kind}");
        assert!(
            manifest.newer.fields[0].starts_with("spec.sources[n]"),
            "{kind}: {:?}",
            manifest.newer.fields
        );
        let binding = manifest.binding().unwrap();
        assert_eq!((binding.sources.len(), binding.sources[0].name.as_str()), (1, "cdc"), "{kind}");
        assert_eq!((binding.caches.len(), binding.caches[0].name.as_str()), (1, "products"), "{kind}");
    }
}

#[test]
fn a_source_that_works_without_what_is_unknown_goes_on() {
    let manifest = rendered(&[("topicPrefix: shop", "topicPrefix: shop\n      compression: 24h")]);
    assert_eq!(manifest.newer.fields, ["spec.sources[cdc].redisStream.compression"]);
    assert_eq!(caches(&manifest), ["products", "pages"]);
}

#[test]
fn of_a_binding_that_is_all_new_everything_is_off() {
    let manifest = rendered(&[(
        "    redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop\n",
        "    pulsar: {url: \"pulsar://pulsar\"}\n",
    )]);
    assert_eq!(manifest.newer.caches, names(&["products", "pages"]));
    let binding = manifest.binding().unwrap();
    assert!(binding.sources.is_empty() && binding.caches.is_empty());
}

#[test]
fn what_no_newer_version_explains_is_still_a_fault() {
    let text = SHOP.replacen("name: shop", RENDERED, 1);
    let faulty = manifest::read(&text.replacen("ttl: 10m", "ttl: 0s", 1)).unwrap();
    assert!(faulty.binding().unwrap_err()[0].message.contains("more than zero"));
    let error = manifest::read(&text.replacen("memory: 64Mi", "memory: [1]", 1)).unwrap_err();
    assert!(matches!(&error, ReadError::Malformed(text) if text.contains("spec.memory")), "{error}");
    let empty = manifest::read(&text.replacen("  - name: cdc\n", "  - nom: cdc\n", 1));
    assert!(matches!(empty, Err(ReadError::Malformed(_))), "{empty:?}");
}

#[test]
fn a_person_is_told_of_the_same_things() {
    let by_hand = |from: &str, to: &str| manifest::read(&SHOP.replacen(from, to, 1)).unwrap_err();
    let error = by_hand("    table: inventory.product", "    search: {index: repos}");
    assert!(
        matches!(&error, ReadError::UnknownField { path, .. } if path == "spec.caches[0].search"),
        "{error}"
    );
    let error = by_hand("    redisStream:", "    pulsar: {}\n    redisStream:");
    assert!(
        matches!(&error, ReadError::UnknownField { path, .. } if path == "spec.sources[0].pulsar"),
        "{error}"
    );
    let error = by_hand("ttl: 10m", "onChange: Patch");
    assert!(matches!(&error, ReadError::Malformed(text) if text.contains("onChange")), "{error}");
}
