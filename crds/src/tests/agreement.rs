//! The CRD's rules and the parser agree, at and around the edges of each field.

use kube::core::cel::validate_compiled;

use super::{json, rules, shop_with};
use crate::binding::Binding;

mod texts;

use texts::{
    AUTH_HEADERS, BROKERS, CHANNELS, CHECK_URLS, CPUS, DURATIONS, JET_STREAMS, NATS_URLS, NOTIFY_CHANNELS,
    ONE_STREAM_URLS, PATTERNS, POINTERS, POSTGRES_URLS, SECRET_NAMES, SHARES, SHARES_OF_16, SIZES, SUBJECTS,
    TABLES, TOPICS, UPSTREAM_URLS, URLS, VIEW_KEYS,
};

/// The last cache, of which an upstream cache takes the place.
const BEHIND: &str = "- name: pages\n    dependsOn: [inventory.product, inventory.category]";

/// An upstream cache with further YAML.
macro_rules! UPSTREAM {
    ($more:literal) => {
        concat!("- name: repos\n    upstream:\n      url: 'https://a'\n      ", $more)
    };
}

/// All that is behind the cache whose place an upstream cache takes, of which views follow.
const BEHIND_ALL: &str =
    "- name: pages\n    dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi";

/// A view over an upstream cache with further YAML.
macro_rules! VIEW {
    ($more:literal) => {
        concat!("- name: repos\n    upstream: {url: 'https://a'}\n  memory: 64Mi\n  views:\n  - ", $more)
    };
}

/// All from the layout of the source on, in place of which come a cache that starts warm and views over its rows.
const ALL_OF_ROWS: &str = "topicPrefix: shop
  freshness:
    maxStaleness: 10s
    heartbeat: Debezium
  caches:
  - name: products
    table: inventory.product
    key: [{column: id}]
    ttl: 10m
  - name: pages
    dependsOn: [inventory.product, inventory.category]
  memory: 64Mi";

/// A cache that starts warm and a view over its rows with further YAML.
macro_rules! ROWS {
    ($more:literal) => {
        concat!(
            "stream: shop.cdc\n  freshness: {heartbeat: Database}\n  caches:\n  - {name: pages, dependsOn: [a.b]}\n  ",
            "- {name: cold, table: a.b, onChange: Hydrate}\n  ",
            "- {name: products, table: a.b, onChange: Hydrate, warmStart: true}\n  views:\n  - ",
            $more
        )
    };
}

/// The kind of the source, in place of which comes another.
const KIND: &str = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";

/// All from the kind of the source on.
const OF_TABLES: &str = "redisStream:
      url: redis://redis:6379
      topicPrefix: shop
  freshness:
    maxStaleness: 10s
    heartbeat: Debezium
  caches:
  - name: products
    table: inventory.product
    key: [{column: id}]
    ttl: 10m
  - name: pages
    dependsOn: [inventory.product, inventory.category]
  memory: 64Mi";

/// A source of some kind, and a cache whose table follows.
macro_rules! CACHES {
    ($source:literal) => {
        concat!($source, "\n  caches:\n  - name: products\n    key: [{column: id}]\n    table: ")
    };
}

/// The same with a cache that starts warm, whose `onChange` follows.
macro_rules! WARM {
    ($source:literal) => {
        concat!(
            $source,
            "\n  freshness: {heartbeat: Database}\n  caches:\n  - name: products\n    table: a.b\n    ",
            "key: [{column: id}]\n    warmStart: true\n    onChange: "
        )
    };
}

/// The same with a cache of rows that declares no key, whose `ttl` follows.
macro_rules! KEYLESS {
    ($source:literal) => {
        concat!(
            $source,
            "\n  caches:\n  - name: keyed\n    table: a.b\n    key: [{column: id}]\n  ",
            "- name: products\n    table: a.b\n    ttl: "
        )
    };
}

const FIELDS: &[(&str, &str, &[&str])] = &[
    (KIND, "kafka:\n      topicPrefix: shop\n      brokers:\n      - ", BROKERS),
    (KIND, "kafka:\n      brokers: [a]\n      topicPrefix: ", TOPICS),
    (KIND, "kafka:\n      brokers: [a]\n      topic: ", TOPICS),
    (KIND, "kafka:\n      brokers: [a]\n      topicPrefix: shop\n      topic: ", TOPICS),
    (
        KIND,
        "kafka:\n      brokers: [a]\n      topic: shop\n      tls: {}\n      sasl:\n        secretRef: {name: kafka}\n        mechanism: ",
        &["Plain", "ScramSha256", "ScramSha512"],
    ),
    (
        KIND,
        "kafka:\n      brokers: [a]\n      topic: shop\n      sasl:\n        mechanism: Plain\n        secretRef:\n          name: ",
        SECRET_NAMES,
    ),
    (
        KIND,
        "kafka:\n      brokers: [a]\n      topic: shop\n      tls:\n        clientCertificateFrom:\n          secretRef:\n            name: ",
        SECRET_NAMES,
    ),
    (
        KIND,
        "kafka:\n      brokers: [a]\n      topic: shop\n      tls:\n        caFrom:\n          configMapKeyRef:\n            key: ca.crt\n            name: ",
        SECRET_NAMES,
    ),
    (KIND, "nats:\n      url: nats://a\n      subject: ", SUBJECTS),
    (KIND, "nats:\n      subject: bus\n      url: ", NATS_URLS),
    (KIND, "redisPubSub:\n      url: redis://a\n      channel: ", CHANNELS),
    (KIND, "redisPubSub:\n      channel: bus\n      url: ", ONE_STREAM_URLS),
    (KIND, "natsJetStream:\n      url: nats://a\n      stream: ", JET_STREAMS),
    (KIND, "natsJetStream:\n      url: nats://a\n      stream: shop\n      publishSubject: ", SUBJECTS),
    (KIND, "natsJetStream:\n      stream: DebeziumStream\n      url: ", NATS_URLS),
    (
        KIND,
        "natsJetStream:\n      stream: DebeziumStream\n      caFrom: {secretKeyRef: {name: nats, key: ca.crt}}\n      url: ",
        NATS_URLS,
    ),
    (
        KIND,
        "natsJetStream:\n      stream: DebeziumStream\n      urlFrom: {secretKeyRef: {name: nats, key: url}}\n      url: ",
        &["nats://a"],
    ),
    (
        KIND,
        "natsJetStream:\n      stream: DebeziumStream\n      urlFrom:\n        secretKeyRef:\n          key: url\n          name: ",
        SECRET_NAMES,
    ),
    (
        KIND,
        "natsJetStream:\n      url: nats://a\n      stream: DebeziumStream\n      credentialsFrom:\n        secretKeyRef:\n          key: user.creds\n          name: ",
        SECRET_NAMES,
    ),
    (KIND, "postgresNotify:\n      channel: freshet\n      url: ", POSTGRES_URLS),
    (KIND, "postgresNotify:\n      url: postgres://a/b\n      channel: ", NOTIFY_CHANNELS),
    (
        KIND,
        "postgresNotify:\n      channel: freshet\n      urlFrom: {secretKeyRef: {name: db, key: url}}\n      url: ",
        &["postgres://a/b"],
    ),
    (
        KIND,
        "postgresNotify:\n      channel: freshet\n      urlFrom:\n        secretKeyRef:\n          key: url\n          name: ",
        SECRET_NAMES,
    ),
    (
        KIND,
        "postgresNotify:\n      channel: freshet\n      url: postgres://a/b\n      tls:\n        clientCertificateFrom:\n          secretRef:\n            name: ",
        SECRET_NAMES,
    ),
    (OF_TABLES, CACHES!("postgresNotify: {url: 'postgres://a/b', channel: c}"), TABLES),
    (
        OF_TABLES,
        "postgresNotify: {url: 'postgres://a/b', channel: c}\n  caches:\n  - name: products\n    table: a.b\n    onChange: ",
        &["Invalidate", "Hydrate"],
    ),
    (
        "name: cdc\n    redisStream:",
        "name: cdc\n    kafka: {brokers: [a], topic: b}\n    redisStream:\n      stream: ",
        &["all"],
    ),
    // What a layout needs, whatever the kind is.
    (OF_TABLES, CACHES!("kafka: {brokers: [a], topicPrefix: shop}"), TABLES),
    (OF_TABLES, CACHES!("kafka: {brokers: [a], topic: shop}"), TABLES),
    (OF_TABLES, CACHES!("natsJetStream: {url: 'nats://a', stream: shop}"), TABLES),
    (OF_TABLES, CACHES!("redisStream: {url: 'redis://a', stream: shop}"), TABLES),
    (OF_TABLES, WARM!("kafka: {brokers: [a], topicPrefix: shop}"), &["Hydrate"]),
    (OF_TABLES, WARM!("kafka: {brokers: [a], topic: shop}"), &["Hydrate", "Invalidate"]),
    (OF_TABLES, WARM!("natsJetStream: {url: 'nats://a', stream: shop}"), &["Hydrate", "Invalidate"]),
    (OF_TABLES, WARM!("redisStream: {url: 'redis://a', topicPrefix: shop}"), &["Hydrate"]),
    (OF_TABLES, KEYLESS!("natsJetStream: {url: 'nats://a', stream: shop}"), &["1m"]),
    (OF_TABLES, KEYLESS!("nats: {url: 'nats://a', subject: shop}"), &["1m"]),
    (OF_TABLES, KEYLESS!("kafka: {brokers: [a], topic: shop}"), &["1m"]),
    (
        OF_TABLES,
        "natsJetStream: {url: 'nats://a', stream: shop}\n  caches:\n  - name: pages\n    dependsOn:\n    - ",
        TABLES,
    ),
    (
        ALL_OF_ROWS,
        ROWS!("name: top\n    orderBy: /price\n    cache: "),
        &["products", "cold", "pages", "nope", ""],
    ),
    (ALL_OF_ROWS, ROWS!("name: top\n    cache: products\n    orderBy: "), POINTERS),
    (
        ALL_OF_ROWS,
        ROWS!(
            "name: top\n    cache: products\n    orderBy: /a\n    filter:\n    - exists: true\n      pointer: "
        ),
        POINTERS,
    ),
    (ALL_OF_ROWS, ROWS!("name: top\n    cache: products\n    orderBy: /a\n    keys:\n    - "), &["a", "_"]),
    (BEHIND_ALL, VIEW!("name: top\n    cache: repos\n    orderBy: "), &["", "/a"]),
    (
        BEHIND_ALL,
        VIEW!("cache: repos\n    keys: [a]\n    orderBy: ''\n    name: "),
        &["a", "a-1", "views", "A", "a-", "", "a.b"],
    ),
    (
        BEHIND_ALL,
        VIEW!("name: top\n    keys: [a]\n    orderBy: ''\n    cache: "),
        &["repos", "products", "nope", ""],
    ),
    (BEHIND_ALL, VIEW!("name: top\n    cache: repos\n    orderBy: ''\n    keys:\n    - "), VIEW_KEYS),
    (BEHIND_ALL, VIEW!("name: top\n    cache: repos\n    keys: [a]\n    orderBy: "), POINTERS),
    (
        BEHIND_ALL,
        VIEW!(
            "name: top\n    cache: repos\n    keys: [a]\n    orderBy: /a\n    filter:\n    - exists: true\n      pointer: "
        ),
        POINTERS,
    ),
    (
        BEHIND_ALL,
        VIEW!(
            "name: top\n    cache: repos\n    keys: [a]\n    orderBy: /a\n    orderAs: Time\n    order: Ascending\n    filter:\n    - pointer: /b\n      equals: "
        ),
        &["x", "", "0.5"],
    ),
    ("ttl: 10m", "ttl: ", DURATIONS),
    ("maxStaleness: 10s", "maxStaleness: ", DURATIONS),
    ("maxStaleness: 10s", "readLag: ", DURATIONS),
    ("topicPrefix: shop", "topicPrefix: shop\n      retention: ", DURATIONS),
    (
        "topicPrefix: shop",
        "topicPrefix: shop\n      retention: ",
        &["1m", "59s", "59s999ms", "60s", "60000ms", "59999ms", "0m60s"],
    ),
    ("maxStaleness: 10s", "clockSkew: ", DURATIONS),
    ("maxStaleness: 10s", "onStale: Serve\n    serveStaleFor: ", DURATIONS),
    ("memory: 64Mi", "memory: ", SIZES),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    maxValue: ", SIZES),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    resources:\n      limits:\n        memory: ", SIZES),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    resources:\n      requests:\n        memory: ", SIZES),
    (
        "memory: 64Mi",
        "memory: 64Mi\n  sidecar:\n    resources:\n      limits: {cpu: 1500m}\n      requests:\n        cpu: ",
        CPUS,
    ),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    resources:\n      limits:\n        cpu: ", CPUS),
    ("table: inventory.product", "table: ", TABLES),
    ("topicPrefix: shop", "topicPrefix: ", TABLES),
    ("topicPrefix: shop", "stream: ", TABLES),
    ("url: redis://redis:6379", "url: ", URLS),
    ("url: redis://redis:6379\n      topicPrefix: shop", "stream: all\n      url: ", ONE_STREAM_URLS),
    (
        "url: redis://redis:6379",
        "clientCertificateFrom: {secretRef: {name: redis}}\n      url: ",
        &["redis://a", "rediss://a", "redis+sentinel://a/m", "rediss+sentinel://a/m"],
    ),
    (
        "url: redis://redis:6379",
        "url: rediss://a\n      clientCertificateFrom:\n        secretRef:\n          name: ",
        SECRET_NAMES,
    ),
    (
        "url: redis://redis:6379",
        "url: rediss://a\n      caFrom:\n        configMapKeyRef:\n          key: ca.crt\n          name: ",
        SECRET_NAMES,
    ),
    (
        "url: redis://redis:6379",
        "url: rediss://a\n      caFrom:\n        secretKeyRef:\n          key: ca.crt\n          name: ",
        SECRET_NAMES,
    ),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    imagePullSecrets:\n    - name: ", SECRET_NAMES),
    (
        "url: redis://redis:6379",
        "urlFrom:\n        secretKeyRef:\n          key: k\n          name: ",
        SECRET_NAMES,
    ),
    ("memory: 64Mi", "memory: 64Mi\n  audit:\n    check: {url: 'http://[::1]/'}\n    sample: ", SHARES),
    ("memory: 64Mi", "memory: 64Mi\n  audit:\n    check: {url: 'http://[::1]/'}\n    delay: ", DURATIONS),
    ("memory: 64Mi", "memory: 64Mi\n  audit:\n    check:\n      url: ", CHECK_URLS),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    onChange: Hydrate\n  audit: {}\n  memory: ",
        &["64Mi"],
    ),
    ("dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi", "mayDependOn:\n    - ", TABLES),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    onChange: Hydrate\n    fillDependencies: ",
        &["Optional", "Required"],
    ),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    onChange: Hydrate\n    mayDependOn:\n    - ",
        TABLES,
    ),
    (BEHIND, "- name: repos\n    upstream:\n      url: ", UPSTREAM_URLS),
    (
        BEHIND,
        "- name: repos\n    upstream:\n      caFrom: {secretKeyRef: {name: a, key: b}}\n      url: ",
        UPSTREAM_URLS,
    ),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    ttl: ", DURATIONS),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    source: ", &["cdc", "other"]),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    table: ", &["a.b"]),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    onChange: ", &["Invalidate", "Hydrate"]),
    (BEHIND, "- upstream: {url: 'https://a'}\n    name: ", &["a", "A", "views"]),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    ttlJitter: ", SHARES),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a'}\n    share: ", SHARES),
    (BEHIND, "- name: repos\n    upstream: {url: 'https://a', maxBytes: 16Mi}\n    share: ", SHARES_OF_16),
    (
        BEHIND,
        "- name: pages\n    dependsOn: [a.b]\n    share: 50%\n  - name: repos\n    upstream:\n      url: 'https://a'\n      maxBytes: ",
        &["1Mi", "32Mi", "33554433", "40Mi", "64Mi"],
    ),
    (BEHIND, UPSTREAM!("refresh: "), DURATIONS),
    (BEHIND, UPSTREAM!("refresh: "), &["999ms", "1s", "1000ms"]),
    (BEHIND, UPSTREAM!("staleIfError: "), DURATIONS),
    (BEHIND, UPSTREAM!("staleWhileRevalidate: "), DURATIONS),
    (BEHIND, UPSTREAM!("timeout: "), DURATIONS),
    (BEHIND, UPSTREAM!("maxBytes: "), SIZES),
    (BEHIND, UPSTREAM!("allow:\n      - "), PATTERNS),
    (BEHIND, UPSTREAM!("rate:\n        requests: 1\n        per: "), DURATIONS),
    (BEHIND, UPSTREAM!("authFrom:\n        secretKeyRef: {name: a, key: b}\n        header: "), AUTH_HEADERS),
    (BEHIND, UPSTREAM!("authFrom:\n        secretKeyRef:\n          key: k\n          name: "), SECRET_NAMES),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    columns: [id]\n    onChange: ",
        &["Hydrate", "Invalidate"],
    ),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    key: [{column: id}]\n    lookups: [{column: sku}]\n    onChange: ",
        &["Hydrate", "Invalidate"],
    ),
    (
        "dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "table: a.b\n    onChange: Hydrate\n    lookups: [{column: sku}]\n    ttl: ",
        &["1m"],
    ),
    (
        "heartbeat: Debezium\n  caches:\n  - name: products",
        "heartbeat: Database\n  caches:\n  - name: products\n    warmStart: true\n    onChange: ",
        &["Hydrate", "Invalidate"],
    ),
    (
        "topicPrefix: shop\n  freshness:\n    maxStaleness: 10s\n    heartbeat: Debezium\n  caches:\n  - name: products",
        "stream: shop.cdc\n  freshness:\n    heartbeat: Database\n  caches:\n  - name: products\n    onChange: Hydrate\n    warmStart: true\n    ttlJitter: ",
        &["5%"],
    ),
    (
        "topicPrefix: shop\n  freshness:\n    maxStaleness: 10s\n    heartbeat: Debezium\n  caches:\n  - name: products",
        "stream: shop.cdc\n  caches:\n  - name: products\n    onChange: Hydrate\n    warmStart: true\n    ttlJitter: ",
        &["5%"],
    ),
    (
        "memory: 64Mi",
        "memory: 64Mi\n  sidecar:\n    startDeadline: 1m\n    startGate: ",
        &["None", "Listening", "Synced"],
    ),
    ("memory: 64Mi", "memory: 64Mi\n  sidecar:\n    startGate: Synced\n    startDeadline: ", DURATIONS),
    ("name: products", "name: ", &["a", "-", "a-", "A", "views", "a.b", "1"]),
    ("ttl: 10m", "ttlJitter: ", SHARES),
    ("ttl: 10m", "ttlJitter: ", &["49.999%", "50%", "50.0%", "50.001%", "51%", "00%", "5%"]),
    ("ttl: 10m", "share: ", SHARES),
    ("ttl: 10m", "share: ", &["1.562%", "1.563%", "25%", "98.437%", "98.438%"]),
    (
        "ttl: 10m\n  - name: pages\n    dependsOn: [inventory.product, inventory.category]",
        "share: 40%\n  - name: pages\n    dependsOn: [a.b]\n    share: ",
        &["1.562%", "1.563%", "59.999%", "60%", "60.001%", "61%", "100%"],
    ),
    (
        "ttl: 10m\n  - name: pages\n    dependsOn: [inventory.product, inventory.category]",
        "share: 40%\n  - name: more\n    table: a.c\n  - name: pages\n    dependsOn: [a.b]\n    share: ",
        &["1%", "50%", "58.437%", "58.438%", "60%", "60.001%"],
    ),
    (
        "ttl: 10m\n  - name: pages\n    dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "share: 25%\n  - name: pages\n    dependsOn: [a.b]\n  memory: ",
        SIZES,
    ),
    (
        "ttl: 10m\n  - name: pages\n    dependsOn: [inventory.product, inventory.category]\n  memory: 64Mi",
        "share: 25%\n  - name: pages\n    dependsOn: [a.b]\n  memory: 64Mi\n  sidecar:\n    maxValue: ",
        SIZES,
    ),
    ("metadata:\n  name: shop", "metadata:\n  name: ", &["true", "false", "a", "a.b", "TRUE"]),
];

#[test]
fn a_view_has_bounds_and_what_is_within_them_the_rules_take() {
    let long = format!("/{}", "\u{e4}".repeat(255));
    let keys: Vec<_> = (0..65).map(|n| n.to_string()).collect();
    let conditions: Vec<_> = (0..9).map(|n| format!("{{pointer: /{n}, exists: true}}")).collect();
    let view =
        |name: &str, more: &str| format!("- {{name: {name}, cache: repos, keys: [a], orderBy: /a{more}}}");
    let cases = [
        (true, view("a", ", limit: 1")),
        (true, view("a", ", limit: 1000")),
        (false, view("a", ", limit: 0")),
        (false, view("a", ", limit: 1001")),
        (false, view("a", ", filter: [{pointer: /a}]")),
        (true, view("a", ", filter: [{pointer: /a, equals: 1, notEquals: '2', atLeast: -3, atMost: '4.5'}]")),
        (true, view("a", &format!(", filter: [{}]", conditions[..8].join(",")))),
        (false, view("a", &format!(", filter: [{}]", conditions.join(",")))),
        (false, view("a", &format!(", filter: [{{pointer: /a, equals: '{}'}}]", "\u{e4}".repeat(257)))),
        (true, view("a", &format!(", filter: [{{pointer: '{long}', equals: '{}'}}]", "\u{e4}".repeat(256)))),
        (false, view("a", &format!(", filter: [{{pointer: '{long}x', exists: true}}]"))),
        (true, "- {name: a, cache: repos, orderBy: '', keys: [a, b]}".into()),
        (false, "- {name: a, cache: repos, orderBy: '', keys: []}".into()),
        (false, format!("- {{name: a, cache: repos, orderBy: '', keys: [{}]}}", keys.join(","))),
        (true, (0..16).map(|n| view(&format!("v{n}"), "")).collect::<Vec<_>>().join("\n  ")),
        (false, (0..17).map(|n| view(&format!("v{n}"), "")).collect::<Vec<_>>().join("\n  ")),
    ];
    let rules = rules();
    for (good, views) in cases {
        let to =
            format!("- name: repos\n    upstream: {{url: 'https://a'}}\n  memory: 64Mi\n  views:\n  {views}");
        let object = shop_with(BEHIND_ALL, &to);
        assert_eq!(Binding::parse(&object).is_ok(), good, "{views}");
        // The bounds themselves are the schema's, which the API server holds.
        let passes = validate_compiled(&rules, &json(&object), None).is_ok();
        assert!(passes || !good, "{views}");
    }
}

#[test]
fn what_the_crd_accepts_parses_and_nothing_else_does() {
    let rules = rules();
    let (mut accepted, mut refused) = (0, 0);
    for (from, to, texts) in FIELDS {
        for text in *texts {
            let object = shop_with(from, &format!("{to}{}", json(text)));
            let parsed = Binding::parse(&object);
            match validate_compiled(&rules, &json(&object), None) {
                Ok(()) => {
                    accepted += 1;
                    assert!(parsed.is_ok(), "the CRD accepts {to:?} {text:?}: {parsed:?}");
                }
                Err(faults) => {
                    refused += 1;
                    assert!(parsed.is_err(), "the parser accepts {to:?} {text:?}: {faults}");
                }
            }
        }
    }
    assert!(
        accepted > 50 && refused > 50,
        "{accepted} accepted, {refused} refused: the rules can't be right"
    );
}
