use std::time::Duration;

use kube::{
    CustomResourceExt as _,
    core::cel::{CompiledSchema, compile_schema, validate_compiled},
};

use crate::{
    CacheBinding, Order, OrderAs, SaslMechanism,
    binding::{
        Binding, SaslSpec, StreamLayout, Test, TlsSpec, TransportSpec, UnfitNatsUrl, UrlSpec, ViewSpec,
    },
    manifest::{self, ReadError},
    nats_url::InvalidNatsUrl,
    quantity,
};

mod agreement;
mod schema;
mod tolerance;

const SHOP: &str = include_str!("../tests/shop.yaml");

pub(crate) fn shop_with(from: &str, to: &str) -> CacheBinding {
    assert!(SHOP.contains(from), "the fixture has no `{from}`");
    serde_yaml::from_str(&SHOP.replacen(from, to, 1)).unwrap()
}

/// The rules of the CRD, made ready once for many objects.
fn rules() -> CompiledSchema {
    compile_schema(&json(&CacheBinding::crd().spec.versions[0].schema)["openAPIV3Schema"])
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// Bad bindings: what is replaced in the good one, by what, and a word of the sentence that must be said.
/// The API server must refuse them too (`e2e`), so the list is data.
fn bad() -> Vec<(String, String, String)> {
    let text = include_str!("../tests/bad-bindings.yaml");
    let cases: Vec<std::collections::BTreeMap<String, String>> = serde_yaml::from_str(text).unwrap();
    cases
        .into_iter()
        .map(|mut c| (c.remove("replace").unwrap(), c.remove("by").unwrap(), c.remove("says").unwrap()))
        .collect()
}

#[test]
fn the_committed_crd_is_current() {
    assert!(crate::crd_yaml() == include_str!("../cachebindings.yaml"), "run `cargo xtask codegen`");
}

#[test]
fn a_manifest_that_asks_too_much_of_its_reader_is_refused() {
    let deep = format!("a: {}", "[".repeat(100_000));
    let long = format!("a: &a {}\nb: [{}]", "x".repeat(20_000), "*a,".repeat(1000));
    for (text, says) in [(deep, "no CacheBinding nests so deep"), (long, "aliases expand to more")] {
        let refused = manifest::read(&text).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    let tables = "&t inventory.product, *t, *t";
    let aliases = SHOP.replace("inventory.product, inventory.category", tables);
    assert_eq!(manifest::read(&aliases).unwrap().object.spec.caches[1].depends_on, ["inventory.product"; 3]);
    // Whatever YAML can say, where it isn't read.
    let odd = "later: [!t 1, ! x, ~, 1.5, .inf, -1, 18446744073709551615, true, {[a]: b}, \"{{{{\"]";
    let annotated = format!("metadata:\n  annotations: {{{}: 9.9.9}}", crate::names::RENDERED_BY);
    let rendered = format!("{}\n{odd}", SHOP.replacen("metadata:", &annotated, 1));
    assert_eq!(manifest::read(&rendered).unwrap().object.spec.caches.len(), 2);
}

#[test]
fn a_good_binding_parses() {
    let manifest = manifest::read(SHOP).unwrap();
    let binding = Binding::parse(&manifest.object).unwrap();
    manifest.object.validate_cel().unwrap();
    assert_eq!(binding.name, "shop");
    assert_eq!(binding.sources[0].layout, StreamLayout::PerTable { prefix: "shop".into() });
    let redis = binding.sources[0].transport.redis_stream().unwrap();
    assert_eq!(redis.url, UrlSpec::Plain("redis://redis:6379".parse().unwrap()));
    assert_eq!(binding.caches[0].ttl, Duration::from_mins(10));
    assert_eq!(binding.caches[1].ttl, Duration::from_hours(1));
    assert_eq!(binding.memory, 64 << 20);
}

#[test]
fn a_source_is_of_a_kind_with_all_that_it_says() {
    let text = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources:
  - name: log
    kafka:
      brokers: ['kafka-0.kafka', '[::1]:9093', 'kafka-0.kafka:9092']
      topicPrefix: shop
      tls: {}
      sasl: {mechanism: ScramSha512, secretRef: {name: kafka}}
  - name: all
    kafka: {brokers: [a], topic: shop.cdc}
  - name: bus
    natsJetStream:
      urlFrom: {secretKeyRef: {name: nats, key: url}}
      caFrom: {configMapKeyRef: {name: bundle, key: ca.crt}}
      clientCertificateFrom: {secretRef: {name: nats-client}}
      credentialsFrom: {secretKeyRef: {name: nats, key: user.creds}}
      stream: DebeziumStream
  caches:
  - {name: products, source: log, table: inventory.product}
  - {name: others, source: all, table: db.inventory.other}
  - {name: stocks, source: bus, table: inventory.stock, key: [{column: id}]}
  - {name: pages, source: bus, dependsOn: [inventory.product]}";
    let manifest = manifest::read(text).unwrap();
    manifest.object.validate_cel().unwrap();
    let sources = Binding::parse(&manifest.object).unwrap().sources;
    assert_eq!(sources[0].layout, StreamLayout::PerTable { prefix: "shop".into() });
    let TransportSpec::Kafka(kafka) = &sources[0].transport else { panic!() };
    let brokers: Vec<_> = kafka.brokers.iter().map(ToString::to_string).collect();
    assert_eq!(brokers, ["kafka-0.kafka:9092", "[::1]:9093"]);
    assert_eq!(kafka.tls, Some(TlsSpec::default()));
    let sasl = SaslSpec { mechanism: SaslMechanism::ScramSha512, secret: "kafka".into() };
    assert_eq!(kafka.sasl, Some(sasl));
    assert_eq!(sources[1].layout.stream(), Some("shop.cdc"));
    let TransportSpec::Kafka(plain) = &sources[1].transport else { panic!() };
    assert_eq!((&plain.tls, &plain.sasl), (&None, &None));
    assert_eq!(sources[2].layout.stream(), Some("DebeziumStream"));
    let TransportSpec::NatsJetStream(nats) = &sources[2].transport else { panic!() };
    assert_eq!(nats.tls.client_certificate.as_deref(), Some("nats-client"));
    assert_eq!(nats.credentials.as_ref().unwrap().key, "user.creds");
    // What a Secret says has to go with the rest.
    for (text, fits) in [
        ("tls://a\n", Ok(())),
        ("nats://a", Err(UnfitNatsUrl::NeedsTls)),
        ("tls://u:p@a", Err(UnfitNatsUrl::TwoLogins)),
        ("redis://a", Err(UnfitNatsUrl::Invalid(InvalidNatsUrl::Scheme))),
    ] {
        assert_eq!(nats.url(|| text.to_owned()).map(drop), fits, "{text}");
    }
    let spec = &manifest.object.spec;
    let secrets = |index: usize| {
        let keys = spec.sources[index].secret_keys();
        keys.iter().map(|from| format!("{}/{}", from.name, from.key)).collect::<Vec<_>>()
    };
    assert_eq!(secrets(0), ["kafka/password", "kafka/username"]);
    assert_eq!(secrets(1), [""; 0]);
    assert_eq!(secrets(2), ["nats/url", "nats/user.creds", "nats-client/tls.crt", "nats-client/tls.key"]);
    let maps: Vec<_> = spec.sources[2].config_map_keys().into_iter().map(|from| from.name).collect();
    assert_eq!(maps, ["bundle"]);
}

#[test]
fn a_kafka_has_brokers_and_few_of_them() {
    let with = |brokers: &[String]| {
        let kafka = format!("kafka: {{topic: shop, brokers: [{}]}}", brokers.join(", "));
        let kind = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";
        Binding::parse(&shop_with(kind, &kafka)).map_err(|faults| faults[0].to_string())
    };
    let names: Vec<_> = (0..17).map(|n| format!("kafka-{n}")).collect();
    assert!(with(&names[..16]).is_ok());
    for (brokers, says) in [
        (names.clone(), "one to 16"),
        (vec![], "one to 16"),
        (vec!["a".into(), "a".into()], "`a` is there twice"),
    ] {
        let refused = with(&brokers).unwrap_err();
        assert!(
            refused.starts_with("spec.sources[cdc].kafka.brokers: ") && refused.contains(says),
            "{refused}"
        );
    }
}

#[test]
fn a_binding_of_upstreams_alone_needs_no_source() {
    let text = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: github}
spec:
  caches:
  - name: repos
    upstream: {url: 'https://api.github.com/repos/', refresh: 5m, staleIfError: 1h, allow: ['*/*'],
      authFrom: {secretKeyRef: {name: github, key: token}}, rate: {requests: 5000, per: 1h, burst: 100}, paginate: {}}";
    let manifest = manifest::read(text).unwrap();
    let binding = Binding::parse(&manifest.object).unwrap();
    manifest.object.validate_cel().unwrap();
    assert!(binding.sources.is_empty() && binding.caches.is_empty());
    let upstream = &binding.upstreams[0];
    assert_eq!(upstream.url.to_string(), "https://api.github.com:443/repos");
    assert_eq!(upstream.auth.as_ref().unwrap().header.as_ref(), "authorization");
    assert_eq!((upstream.ttl, upstream.timeout), (Duration::from_hours(1), Duration::from_secs(10)));
    assert_eq!((upstream.max_pages, upstream.max_bytes), (Some(10), None));
    assert_eq!(upstream.rate.unwrap().burst, 100);
}

#[test]
fn a_view_parses_and_its_keys_are_ones_that_may_be_asked_for() {
    let text = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: github}
spec:
  caches:
  - {name: repos, upstream: {url: 'https://api.github.com/repos', allow: ['*/*']}}
  views:
  - {name: top, cache: repos, keys: [a/b, 'c/d?e=f/g'], orderBy: /stars, filter: [{pointer: /fork, equals: 'false', atLeast: 1}]}";
    let manifest = manifest::read(text).unwrap();
    let binding = Binding::parse(&manifest.object).unwrap();
    manifest.object.validate_cel().unwrap();
    let view = &binding.views[0];
    assert_eq!((view.limit, view.order, view.order_as), (100, Order::Descending, OrderAs::Auto));
    assert_eq!(view.order_by.to_string(), "/stars");
    assert_eq!(view.filter[0].tests, [Test::Equals("false".into()), Test::AtLeast("1".into())]);
    // Which patterns there are in another list the CRD's rules can't look at: it would cost too much.
    let other = manifest::read(&text.replace("[a/b, ", "[a/b/c, ")).unwrap();
    let refused = Binding::parse(&other.object).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].to_string().contains("the upstream's allow doesn't have this path"), "{}", refused[0]);
    let unquoted = manifest::read(&text.replace("equals: 'false'", "equals: false")).unwrap_err().to_string();
    assert!(unquoted.contains("text in quotes such as"), "{unquoted}");
}

#[test]
fn a_view_over_rows_is_of_columns_that_the_cache_has() {
    let text = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources: [{name: cdc, redisStream: {url: 'redis://redis', stream: shop.cdc}}]
  freshness: {heartbeat: Database}
  caches:
  - {name: products, table: inventory.product, columns: [id, a/b, price], onChange: Hydrate, warmStart: true}
  - {name: others, table: inventory.other, onChange: Hydrate, warmStart: true}
  - {name: repos, upstream: {url: 'https://a'}}
  views:
  - {name: cheapest, cache: products, orderBy: /price, order: Ascending, filter: [{pointer: /a~1b, exists: true}]}
  - {name: dearest, cache: products, orderBy: /price/amount, keys: []}
  - {name: stars, cache: repos, keys: [a], orderBy: ''}";
    let manifest = manifest::read(text).unwrap();
    let binding = Binding::parse(&manifest.object).unwrap();
    manifest.object.validate_cel().unwrap();
    let over_rows: Vec<_> = binding.views.iter().map(ViewSpec::is_over_rows).collect();
    assert_eq!(over_rows, [true, true, false]);
    assert_eq!(binding.ranked().map(|cache| cache.name.as_str()).collect::<Vec<_>>(), ["products"]);
    // Which columns there are in another list the CRD's rules can't look at: it would cost too much.
    for (from, to, path) in [
        ("orderBy: /price,", "orderBy: /Price,", "views[cheapest].orderBy: `Price`"),
        ("/a~1b", "/a/b", "views[cheapest].filter[/a/b].pointer: `a`"),
        ("/price/amount", "/", "views[dearest].orderBy: ``"),
    ] {
        let refused = Binding::parse(&manifest::read(&text.replace(from, to)).unwrap().object).unwrap_err();
        assert_eq!(refused.len(), 1, "{refused:?}");
        let refused = refused[0].to_string();
        assert!(
            refused.contains(path) && refused.contains("isn't among the cache's columns"),
            "{to}: {refused}"
        );
    }
    let all = manifest::read(&text.replace("columns: [id, a/b, price], ", "")).unwrap();
    assert!(Binding::parse(&all.object).is_ok(), "all columns there are");
}

#[test]
fn a_file_is_for_those_who_give_a_binding_by_hand() {
    let text = "apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: shop}
spec:
  sources: [{name: cdc, file: {path: '-', stream: shop.cdc}}]
  caches: [{name: products, table: inventory.product}]";
    let parse = |text: &str| Binding::parse(&manifest::read(text).unwrap().object);
    let binding = parse(text).unwrap();
    assert_eq!(binding.sources[0].transport.kind(), "file");
    for (from, to, says) in [
        ("'-'", "''", "a file has a path"),
        (", stream: shop.cdc", "", "exactly one of topicPrefix"),
        ("stream: shop.cdc}", "stream: a}, kafka: {brokers: [a], topic: b}", "exactly one kind"),
    ] {
        let faults = parse(&text.replace(from, to)).unwrap_err();
        assert!(faults[0].to_string().contains(says), "{to}: {}", faults[0]);
    }
    assert!(!crate::crd_yaml().contains("standard input"), "the cluster has no such files");
    assert!(manifest::read(text).unwrap().object.validate_cel().is_err(), "nor does it take them");
}

#[test]
fn bad_bindings_are_refused_by_the_crd_and_by_the_parser() {
    let rules = rules();
    for (from, to, says) in bad() {
        let object = shop_with(&from, &to);
        let faults = Binding::parse(&object).expect_err(&to);
        let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(text.contains(&says), "`{to}`: the parser says `{text}`, not `{says}`");
        let faults = validate_compiled(&rules, &json(&object), None).expect_err(&to);
        let faults = faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ");
        assert!(faults.contains(&says), "`{to}`: the CRD says `{faults}`, not `{says}`");
    }
}

#[test]
fn duplicate_names_are_refused() {
    let object = shop_with("name: pages", "name: products");
    assert!(Binding::parse(&object).unwrap_err()[0].message.contains("twice"));
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let text = SHOP.replacen("    table: inventory.product", "    tabel: inventory.product", 1);
    let line = text.lines().position(|l| l.contains("tabel")).unwrap() + 1;
    let error = manifest::read(&text).unwrap_err();
    assert_eq!(error, ReadError::UnknownField { path: "spec.caches[0].tabel".into(), line: Some(line) });
}

#[test]
fn a_wrong_type_is_named_with_its_line() {
    let text = SHOP.replacen("ttl: 10m", "ttl: [10m]", 1);
    let line = text.lines().position(|l| l.contains("[10m]")).unwrap() + 1;
    let error = manifest::read(&text).unwrap_err().to_string();
    assert!(error.contains("spec.caches[0].ttl") && error.contains(&format!("line {line}")), "{error}");
}

#[test]
fn what_is_not_a_binding_is_told_so() {
    let error = manifest::read("apiVersion: v1\nkind: Pod\n").unwrap_err();
    assert_eq!(error, ReadError::WrongKind { found: "v1 Pod".into() });
    assert!(matches!(manifest::read("a: [").unwrap_err(), ReadError::Malformed(_)));
    assert!(matches!(manifest::read("").unwrap_err(), ReadError::Malformed(_) | ReadError::WrongKind { .. }));
}

#[test]
fn json_is_read_too() {
    let object: serde_json::Value = serde_yaml::from_str(SHOP).unwrap();
    manifest::read(&serde_json::to_string_pretty(&object).unwrap()).unwrap();
}

#[test]
fn quantities() {
    assert_eq!(quantity::duration("1h30m"), Some(Duration::from_mins(90)));
    assert_eq!(quantity::duration("500ms"), Some(Duration::from_millis(500)));
    for bad in ["", "10", "m", "1w", "-1s", "1.5s", "400d", "99999999999s", "1s "] {
        assert_eq!(quantity::duration(bad), None, "{bad}");
    }
    assert_eq!(quantity::bytes("64Mi"), Some(64 << 20));
    assert_eq!(quantity::bytes("1M"), Some(1_000_000));
    for bad in ["", "Mi", "1X", "1.5Mi", "-1", "9999999999999"] {
        assert_eq!(quantity::bytes(bad), None, "{bad}");
    }
    for (text, thousandths) in
        [("10m", 10), ("0.5", 500), ("2", 2000), ("1.25", 1250), ("0", 0), ("999.999", 999_999)]
    {
        assert_eq!(quantity::cpu(text), Some(thousandths), "{text}");
    }
    for bad in ["", "m", "1.5m", "1000", "0.0001", "1.", ".5", "-1", "+1", "1e3", "1234567m"] {
        assert_eq!(quantity::cpu(bad), None, "{bad}");
    }
}

#[test]
fn resources_have_no_others_than_cpu_and_memory() {
    for (given, path) in [
        ("{claims: [{name: gpu}]}", "spec.sidecar.resources.claims"),
        ("{limits: {memry: 1Gi}}", "spec.sidecar.resources.limits.memry"),
        ("{requests: {nvidia.com/gpu: \"1\"}}", "spec.sidecar.resources.requests.nvidia.com/gpu"),
    ] {
        let text =
            SHOP.replacen("memory: 64Mi", &format!("memory: 64Mi\n  sidecar: {{resources: {given}}}"), 1);
        let ReadError::UnknownField { path: found, .. } = manifest::read(&text).unwrap_err() else {
            panic!("{given}")
        };
        assert_eq!(found, path);
    }
}

#[test]
fn an_amount_without_quotes_is_a_whole_number() {
    let with = |given: &str| {
        manifest::read(&SHOP.replacen(
            "memory: 64Mi",
            &format!("memory: 64Mi\n  sidecar: {{resources: {given}}}"),
            1,
        ))
    };
    let read = with("{limits: {cpu: 2, memory: 134217728}}").unwrap();
    let written = serde_yaml::to_string(&read.object.spec.sidecar).unwrap();
    assert!(written.contains("cpu: '2'") && written.contains("memory: '134217728'"), "{written}");
    let refused = with("{limits: {cpu: 0.5}}").unwrap_err().to_string();
    assert!(refused.contains("a whole number, or text such as \"0.5\""), "{refused}");
}

#[test]
fn a_table_of_three_parts_goes_with_one_stream() {
    let text = SHOP.replacen("topicPrefix: shop", "stream: all", 1).replacen(
        "table: inventory.product",
        "table: postgres.inventory.product",
        1,
    );
    let object = manifest::read(&text).unwrap().object;
    object.validate_cel().unwrap();
    assert_eq!(
        Binding::parse(&object).unwrap().caches[0].table.as_deref(),
        Some("postgres.inventory.product")
    );
}
