//! The CRD's rules and the parser agree, at and around the edges of each field.

use kube::{
    CustomResourceExt as _,
    core::cel::{compile_schema, validate_compiled},
};

use super::shop_with;
use crate::{CacheBinding, binding::Binding};

const DURATIONS: &[&str] = &[
    "0s",
    "1ms",
    "0h1ms",
    "366d",
    "365d24h",
    "366d1ms",
    "8784h",
    "8785h",
    "527040m",
    "31622400s",
    "31622401s",
    "1m1ms",
    "999999999ms",
    "1d1d",
    "5ms5m",
    "m",
    "",
    "1w",
    "1.5s",
    "400d",
    "0000000001s",
    "1s\u{a0}",
];
const SIZES: &[&str] = &[
    "0",
    "1",
    "4096",
    "1048575",
    "1048576",
    "1024Ki",
    "1023Ki",
    "1M",
    "2M",
    "1Gi",
    "1025Mi",
    "1024Gi",
    "1025Gi",
    "1100G",
    "2048Gi",
    "2049Gi",
    "999999999999",
    "999999999999Gi",
    "3Mi",
    "4Mi",
    "16Mi",
    "17Mi",
    "1K",
    "1Ti",
    "1.5Mi",
    "",
    "-1",
    "1e9",
    "80Mi",
    "95Mi",
    "96Mi",
    "79Mi",
    "96Mi",
];
const CPUS: &[&str] = &[
    "0", "10m", "1", "0.5", "1.5", "1.0001", "999.999", "1000", "1m", "1501m", "1.5m", "", "1e3", ".5", "1.",
];
const TABLES: &[&str] = &[
    "a.b",
    "a.b.c",
    "a.b.c.d",
    "a",
    "a.",
    ".b",
    "a..b",
    "a b.c",
    "a\u{a0}b.c",
    "a\tb.c",
    "a\u{b}b.c",
    "a\u{2003}.b",
    "Ä.ö",
];

/// What is replaced in the good binding, by what, and the texts that follow it in quotes.
const SECRET_NAMES: &[&str] = &["redis", "a.b", "A", "a_b", "a-", "-a", ".a", "a.", "a b", "1", ""];

const URLS: &[&str] = &[
    "redis://",
    "redis://a@b",
    "redis://a?b",
    "rediss://a",
    "Redis://a",
    "",
    "redis://\u{a0}",
    "redis://a/",
    "redis://a/15",
    "redis://a/12345",
    "redis://a/b",
    "redis://a,b",
    "redis://a_b.c-d:1",
    "redis://a:0",
    "redis://a:01",
    "redis://a:65535",
    "redis://a:65536",
    "redis://a:99999",
    "redis://a:",
    "redis://[::1]",
    "redis://[::1]:6379/1",
    "redis://[::1",
    "redis://[]",
    "redis://[g]",
    "redis://a#b",
    "redis+tls://a",
    "redisss://a",
    "redis+sentinel://a",
    "redis+sentinel://a/",
    "redis+sentinel://a/m",
    "rediss+sentinel://a,b:26379,[::1]:1/my-master.1/3",
    "redis+sentinel://a/m/",
    "redis+sentinel://a/m/x",
    "redis+sentinel://a,/m",
    "redis+sentinel://a/m m",
    "redis+cluster://a",
];
const ONE_STREAM_URLS: &[&str] = &[
    "redis+cluster://a",
    "rediss+cluster://a:7000,b,[::1]:1/",
    "redis+cluster://a/0",
    "redis+cluster://a/1",
    "redis+cluster://a/00",
    "redis+cluster://,a",
    "redis+sentinel://a/m",
];

const SHARES: &[&str] = &[
    "1%", "0%", "0.001%", "0.0001%", "0.000%", "00.1%", "99.999%", "100%", "100.0%", "100.000%", "100.001%",
    "101%", "099%", "1", "%", "", ".5%", "1.%", "-1%", "1 %", "1%%",
];
const CHECK_URLS: &[&str] = &[
    "http://127.0.0.1",
    "http://127.0.0.1/",
    "http://127.0.0.1:8080/freshet/check",
    "http://[::1]:1/a-b_c.d~e%20/!$&()*+,;=:@",
    "http://127.0.0.1:0",
    "http://127.0.0.1:01",
    "http://127.0.0.1:65535",
    "http://127.0.0.1:65536",
    "http://127.0.0.1:",
    "http://127.0.0.1:80a",
    "http://127.0.0.10/",
    "http://127.0.0.2/",
    "http://127x0x0x1/",
    "http://[::1",
    "http://::1/",
    "http://localhost/",
    "http://10.0.0.1/",
    "http://a@127.0.0.1/",
    "http://127.0.0.1@a/",
    "http://127.0.0.1/?a",
    "http://127.0.0.1?a",
    "http://127.0.0.1/#a",
    "http://127.0.0.1/a b",
    "http://127.0.0.1/\u{e4}",
    "http://127.0.0.1/'",
    "HTTP://127.0.0.1/",
    "https://127.0.0.1/",
    "127.0.0.1",
    "",
];

const UPSTREAM_URLS: &[&str] = &[
    "http://a",
    "https://a.b-c_d:8443/x/y.z~/(1),2",
    "https://[::1]:1/x",
    "http://127.0.0.1:65535/",
    "http://a/x/",
    "https://a/...",
    "https://a/.a/b..",
    "https://a:0",
    "https://a:65536",
    "https://a:",
    "https://",
    "https:///x",
    "https://a//",
    "https://a//x",
    "https://a/x//",
    "https://a/.",
    "https://a/..",
    "https://a/../b",
    "https://a/b/./c",
    "https://a/x?y",
    "https://a?y",
    "https://a/x#y",
    "https://a@b/x",
    "https://a:b@c/x",
    "https://a/%2e%2e/x",
    "https://a/x y",
    "https://a/\u{e4}",
    "https://a/'",
    "HTTPS://a",
    "ftp://a",
    "a",
    "",
];
const PATTERNS: &[&str] = &[
    "a", "a/b", "*", "**", "a/*", "*/a", "*/*/**", "a%20b", "a.b~c", "", "/", "/a", "a/", "a//b", "**/a",
    "a*", "***", "a/b*", "a b", "a?b", "a#b", "a'b", "\u{e4}",
];
const AUTH_HEADERS: &[&str] = &[
    "Authorization",
    "X-Api-Key",
    "x-1",
    "Cookie",
    "",
    "A b",
    "a:b",
    "a_b",
    "Host",
    "HOST",
    "content-length",
    "If-None-Match",
    "Accept",
    "Accept-X",
    "TE",
    "te-x",
];
/// Around a quarter of 64Mi.
const SHARES_OF_16: &[&str] = &["24.999%", "25%", "25.001%", "75%", "98%", "99%"];

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

const VIEW_KEYS: &[&str] = &[
    "a",
    "a/b",
    "a.b/c",
    "...",
    "..a",
    "a%20b",
    "a?q=../..&x=%2F",
    "a?",
    "a?b?c/d",
    "a;v=1/b",
    "@me:x'",
    "",
    "a//b",
    "a/",
    "/a",
    "?a",
    "a/?q",
    ".",
    "..",
    "a/../b",
    "a/%2e%2E/b",
    "a/.%2e",
    "./a",
    "a/..;x=1/b",
    "a/..%3Bx/b",
    "a/.;/b",
    "a%2Fb",
    "a%2fb",
    "a%5Cb",
    "a\\b",
    "a%",
    "a%2",
    "a%zz",
    "a b",
    "a?b=%",
    "a?b=\"",
    "a?b={c}",
    "\u{e4}",
    "a?b=\r\nHost: x",
    "a\n",
    "a/.a/..b",
    "a/%2e%2e%2e",
];
const POINTERS: &[&str] = &[
    "",
    "/",
    "/a",
    "/a/b",
    "//",
    "/a~1b/~0",
    "/~01",
    "/\u{e4} x",
    "a",
    "a/b",
    "/~",
    "/~2",
    "/a~",
    "#/a",
    " /a",
    "/a\n",
];

const FIELDS: &[(&str, &str, &[&str])] = &[
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
    let schema = json(&CacheBinding::crd().spec.versions[0].schema)["openAPIV3Schema"].take();
    let rules = compile_schema(&schema);
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

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

#[test]
fn what_the_crd_accepts_parses_and_nothing_else_does() {
    let schema = json(&CacheBinding::crd().spec.versions[0].schema)["openAPIV3Schema"].take();
    let rules = compile_schema(&schema);
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
