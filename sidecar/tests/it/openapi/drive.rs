//! Every kind of answer that the document describes is seen, and no other is.

use std::thread;

use anyhow::ensure;
use flate2::{Compression, write::GzEncoder};
use freshet_e2e::process::{
    Proxy, Redis, Reply, RestServer, Sidecar, Silence,
    http::{Connection, Response, Target},
    until,
};
use serde_json::json;

use super::{DOCUMENT, SEEN, watch};
use crate::{
    limits::{begin_upload, limited},
    shop::{App, SOON, Shop, executable, manifest, manifest_of, manifest_over},
};

const CACHES: &str = "
  - {name: products, table: inventory.product, ttl: 10m}
  - {name: rows, table: inventory.product, onChange: Hydrate}
  - {name: skus, table: inventory.product, onChange: Hydrate, columns: [sku]}
  - {name: pages, dependsOn: [inventory.product], fillDependencies: Required}";

const JSON: (&str, &str) = ("content-type", "application/json");

/// What goes with one stream for all.
const PUBLISHED: &str = "
  - {name: quotes, published: true}";

/// A path that the template stands for.
fn example(template: &str) -> String {
    template
        .replace("{cache}", "products")
        .replace("{key}", "1")
        .replace("{tag}", "home")
        .replace("{view}", "top")
}

/// What the operation takes, so that nothing else is wrong with the request.
fn usual(template: &str) -> (Vec<(&'static str, &'static str)>, &'static [u8]) {
    if template.ends_with("_batch") || template.ends_with("_publish") {
        (vec![JSON], b"{}")
    } else {
        (Vec::new(), b"")
    }
}

/// Reads the answer to what was sent by hand, and holds it against the document.
fn hear(connection: &mut Connection, method: &str, path: &str) -> Response {
    let answer = connection.response(method).unwrap();
    DOCUMENT.check(method, path, &answer);
    answer
}

/// What any operation answers to a head that can't be taken.
fn heads(target: &Target) {
    for (template, method, _) in DOCUMENT.operations() {
        let (method, path) = (method.to_ascii_uppercase(), example(template));
        let (headers, body) = usual(template);
        let mut garbled = Connection::open(target).unwrap();
        garbled.send(format!("{method} {path} HTTP/1.1\r\nbad header\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(hear(&mut garbled, &method, &path).status, 400);
        let ask = |path: &str, headers: &[(&str, &str)], body| {
            Connection::open(target).unwrap().request(&method, path, headers, body).unwrap().status
        };
        assert_eq!(ask(&format!("{path}#x"), &headers, body), 400);
        assert_eq!(ask(&format!("{path}?x=1"), &headers, body), 400);
        // Without a body: the connection is closed behind the head.
        assert_eq!(ask(&path, &[("x-long", &"x".repeat(20_000))], b""), 431);
    }
    for template in DOCUMENT.paths().keys() {
        let answer =
            Connection::open(target).unwrap().request("PATCH", &example(template), &[], b"").unwrap();
        assert_eq!(answer.status, 405, "{template}");
    }
}

/// What there is no room for.
fn crowds() {
    let (_folder, shop) = limited("-n 400");
    let target = shop.sidecar.socket();
    let mut streams = Vec::new();
    for method in ["GET", "HEAD"] {
        loop {
            let mut connection = Connection::open(&target).unwrap();
            connection.send(b"GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
            if connection.line().unwrap() != "HTTP/1.1 200 OK" {
                break;
            }
            streams.push(connection);
        }
        assert!(streams.len() > 20, "{}", streams.len());
        let answer = Connection::open(&target).unwrap().request(method, "/v1/events", &[], b"").unwrap();
        // A HEAD takes no stream's place.
        assert_eq!(answer.status, if method == "GET" { 503 } else { 200 });
    }
    let mut idle = Vec::new();
    while idle.len() < 400 {
        let mut connection = Connection::open(&target).unwrap();
        // One that is refused may be closed already.
        drop(connection.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"));
        if connection.response("GET").unwrap().status == 503 {
            break;
        }
        idle.push(connection);
    }
    for (template, method, _) in DOCUMENT.operations() {
        let mut refused = Connection::open(&target).unwrap();
        assert_eq!(hear(&mut refused, &method.to_ascii_uppercase(), &example(template)).status, 503);
    }
}

/// Bodies for which there is no room.
fn bodies() {
    let redis = Redis::start().unwrap();
    let source = format!("url: '{}', stream: cdc", redis.url());
    let text = manifest_of(&source, &[CACHES, PUBLISHED].concat(), "  sidecar: {maxValue: 8Mi}");
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let (target, lease) = (shop.sidecar.tcp(), shop.lease("/v1/products/1"));
    let _under_way = [(); 2].map(|()| begin_upload(&target, "/v1/products/1", &lease, 8 << 20));
    let ask = |method: &'static str, path: &'static str, header: (&'static str, String)| {
        let target = target.clone();
        thread::spawn(move || {
            let headers = [(header.0, header.1.as_str())];
            Connection::open(&target).unwrap().request(method, path, &headers, b"x").unwrap().status
        })
    };
    let waiting = [
        ask("PUT", "/v1/products/1", ("freshet-lease", lease)),
        ask("POST", "/v1/quotes/_publish", (JSON.0, JSON.1.to_owned())),
    ];
    let mut batch = Connection::open(&target).unwrap();
    assert_eq!(batch.request("POST", "/v1/products/_batch", &[JSON], b"{}").unwrap().status, 503);
    assert_eq!(waiting.map(|waiting| waiting.join().unwrap()), [503, 503]);
}

/// A body that breaks off.
fn broken(target: &Target, method: &str, path: &str, headers: &str) {
    let mut connection = Connection::open(target).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}transfer-encoding: chunked\r\n\r\nno chunk\r\n"
    );
    connection.send(head.as_bytes()).unwrap();
    assert_eq!(hear(&mut connection, method, path).status, 400);
}

fn reads(shop: &Shop) {
    let long = format!("/v1/products/{}", "x".repeat(1025));
    shop.fill("/v1/products/2", "x");
    let etag = shop.sidecar.get("/v1/products/2").unwrap().header("etag").unwrap().to_owned();
    for method in ["GET", "HEAD"] {
        for (path, header, status) in [
            ("/v1/products/2", None, 200),
            ("/v1/products/2", Some(("if-none-match", etag.as_str())), 304),
            ("/v1/products/3", None, 404),
            ("/v1/products/3", Some(("cache-control", "only-if-cached")), 504),
            ("/v1/products/3", Some(("cache-control", "max-age=x")), 400),
            ("/v1/products/3", Some(("freshet-min-position", "7")), 400),
            ("/v1/products/_x", None, 404),
            ("/v1/nope/1", None, 404),
            ("/v1/products/a//b", None, 400),
            ("/v1/products/007", None, 400),
            (&long, None, 400),
            ("/v1/status", None, 200),
            ("/openapi.json", None, 200),
            ("/v1/events?cache=nope", None, 404),
            ("/nope", None, 404),
            ("/v1/products", None, 404),
            ("/v1/_nope/x", None, 404),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            assert_eq!(shop.sidecar.request(method, path, &headers, b"").unwrap().status, status, "{path}");
        }
    }
    assert_eq!(shop.sidecar.request("HEAD", "/v1/events", &[], b"").unwrap().status, 200);
    // A stream has no end that could be waited for.
    let mut stream = Connection::open(&shop.sidecar.tcp()).unwrap();
    stream.send(b"GET /v1/events HTTP/1.0\r\nhost: x\r\n\r\n").unwrap();
    let head: Vec<_> = std::iter::from_fn(|| stream.line().ok().filter(|line| !line.is_empty())).collect();
    let headers = head[1..].iter().filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert!(head[0].ends_with(" 200 OK"), "{head:?}");
    DOCUMENT.check("GET", "/v1/events", &Response { status: 200, headers, body: b"id: 1-1".to_vec() });
}

fn fills(shop: &Shop) {
    let long = format!("/v1/products/{}", "x".repeat(1025));
    let large = vec![b'x'; (1 << 20) + 1];
    let bomb = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut encoder, &large).unwrap();
        encoder.finish().unwrap()
    };
    let many = vec!["tag:x"; 65].join(", ");
    for (path, headers, body, status) in [
        ("/v1/products/5", vec![], &b"x"[..], 204),
        ("/v1/products/5", vec![("freshet-lease", "AAAA")], b"x", 400),
        ("/v1/products/5", vec![("freshet-lease", "")], b"x", 400),
        ("/v1/products/5", vec![("freshet-absent", "1")], b"", 400),
        ("/v1/products/5", vec![("freshet-absent", "?1")], b"x", 400),
        ("/v1/products/5", vec![("freshet-position", "7")], b"x", 400),
        ("/v1/products/5", vec![("freshet-depends", "a,,b")], b"x", 400),
        ("/v1/products/5", vec![("freshet-depends", "inventory.nope")], b"x", 422),
        ("/v1/products/5", vec![("freshet-depends", &many)], b"x", 422),
        ("/v1/pages/5", vec![], b"x", 422),
        ("/v1/rows/5", vec![("freshet-depends", "tag:x")], b"{}", 422),
        ("/v1/rows/5", vec![], b"{}", 415),
        ("/v1/products/5", vec![("content-encoding", "deflate")], b"x", 415),
        ("/v1/products/5", vec![("content-encoding", "gzip")], b"x", 400),
        ("/v1/products/5", vec![("content-encoding", "gzip")], &bomb, 413),
        ("/v1/products/5", vec![("if-match", "*")], b"x", 400),
        ("/v1/products/5", vec![], &large, 413),
        ("/v1/products/_x", vec![], b"x", 404),
        ("/v1/nope/5", vec![], b"x", 404),
        ("/v1/products/a//b", vec![], b"x", 400),
        ("/v1/products/007", vec![], b"x", 400),
        (&long, vec![], b"x", 400),
    ] {
        let known = ["/v1/products/5", "/v1/pages/5", "/v1/rows/5"].contains(&path);
        let lease = if known { shop.lease(path) } else { String::new() };
        let own = headers.iter().any(|(name, _)| *name == "freshet-lease");
        let leased = (!own).then_some(("freshet-lease", lease.as_str()));
        let headers: Vec<_> = headers.into_iter().chain(leased).collect();
        let answer = shop.sidecar.request("PUT", path, &headers, body).unwrap();
        assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
    }
    assert_eq!(shop.sidecar.request("PUT", "/v1/products/5", &[], b"x").unwrap().status, 428);
    let lease = shop.lease("/v1/products/5");
    let drop = |path: &str, headers: &[(&str, &str)]| {
        shop.sidecar.request("DELETE", path, headers, b"").unwrap().status
    };
    assert_eq!(drop("/v1/products/5", &[]), 204);
    assert_eq!(shop.put("/v1/products/5", &lease, "x"), 409);
    for (path, status) in [
        ("/v1/products/_x", 404),
        ("/v1/nope/5", 404),
        ("/v1/products/a//b", 400),
        ("/v1/products/007", 400),
        (&long, 400),
    ] {
        assert_eq!(drop(path, &[]), status, "{path}");
    }
    assert_eq!(drop("/v1/products/5", &[("if-match", "*")]), 400);
    let lease = format!("freshet-lease: {}\r\n", shop.lease("/v1/products/5"));
    broken(&shop.sidecar.tcp(), "PUT", "/v1/products/5", &lease);
}

fn batches_and_tags(shop: &Shop) {
    let many = format!("{{\"get\":[{}]}}", vec!["\"1\""; 1001].join(","));
    for (path, headers, body, status) in [
        ("/v1/products/_batch", vec![JSON], "{\"get\":[\"1\",\"2\",\"007\"],\"put\":[{\"key\":\"1\"}]}", 200),
        ("/v1/products/_batch", vec![JSON], "{", 400),
        ("/v1/products/_batch", vec![JSON, ("cache-control", "max-age=x")], "{}", 400),
        ("/v1/products/_batch", vec![JSON, ("freshet-min-position", "7")], "{}", 400),
        ("/v1/products/_batch", vec![], "{}", 415),
        ("/v1/products/_batch", vec![JSON], &many, 413),
        ("/v1/nope/_batch", vec![JSON], "{}", 404),
        ("/v1/_tags/home", vec![], "", 204),
        ("/v1/_tags/a/b", vec![], "", 400),
        ("/v1/_tags/%zz", vec![], "", 400),
        (&format!("/v1/_tags/{}", "x".repeat(1025)), vec![], "", 400),
    ] {
        let answer = shop.sidecar.request("POST", path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
    }
    broken(&shop.sidecar.tcp(), "POST", "/v1/products/_batch", "content-type: application/json\r\n");
}

fn rows(shop: &Shop) {
    let row =
        [("freshet-lease", &*shop.lease("/v1/skus/1")), ("content-type", "application/vnd.freshet.row+json")];
    let answer = shop.sidecar.request("PUT", "/v1/skus/1", &row, b"{}").unwrap();
    assert_eq!(answer.status, 422, "{answer:?}");
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let answer = shop.sidecar.request(method, "/v1/rows/_by/sku/1", &[], b"").unwrap();
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

/// What is published, and all that keeps it from that.
fn publishing() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::start(redis.socket_address()).unwrap();
    let source = format!("redisStream: {{url: 'redis://{}', stream: bus}}", proxy.address());
    let app = App::open(&source, &[CACHES, PUBLISHED].concat(), "");
    let (good, many) = (json!({"clear": true}), json!({"delete": vec!["a"; 1001]}));
    let large = json!({"put": [{"key": "a", "text": "x".repeat((1 << 20) + 1), "ttl": 1}]});
    for (path, headers, body, status) in [
        ("quotes", vec![JSON], &good, 200),
        ("quotes", vec![JSON], &json!({}), 400),
        ("quotes", vec![("content-type", "\u{e4}")], &good, 400),
        ("quotes", vec![], &good, 415),
        ("quotes", vec![JSON], &many, 413),
        ("quotes", vec![JSON], &large, 413),
        ("nope", vec![JSON], &good, 404),
        ("products", vec![JSON], &good, 409),
    ] {
        let (path, body) = (format!("/v1/{path}/_publish"), body.to_string());
        let answer = app.sidecar.request("POST", &path, &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{path} {body}: {answer:?}");
    }
    broken(&app.sidecar.tcp(), "POST", "/v1/quotes/_publish", "content-type: application/json\r\n");
    let status = || app.publish(&good).status;
    // What is written isn't read.
    redis.command::<()>(&["ACL", "SETUSER", "default", "-xread"]).unwrap();
    until("what is under way has ended", SOON, || {
        ensure!(status() == 202);
        Ok(())
    })
    .unwrap();
    redis.command::<()>(&["ACL", "SETUSER", "default", "-xadd"]).unwrap();
    assert_eq!(status(), 502);
    redis.command::<()>(&["ACL", "SETUSER", "default", "+@all"]).unwrap();
    assert!(matches!(status(), 200 | 202));
    proxy.silence(Silence::ToServer);
    assert_eq!((status(), status()), (504, 503));
    let recorded = manifest_over("file: {path: '-', stream: bus}", PUBLISHED, "");
    let sidecar = Sidecar::builder(executable(), &recorded).start().unwrap();
    let answer = crate::publish::publish(&sidecar.tcp(), "/v1/quotes/_publish", &good);
    assert_eq!(answer.status, 409, "{answer:?}");
}

/// An upstream that answers well, and all that goes wrong with one.
fn upstreams() {
    let rest = RestServer::start(|request| match request.target.as_str() {
        "/failed" => Reply::raw(""),
        "/large" => Reply::json("x".repeat(2000)),
        "/away" => Reply::new(302, "").header("Location", "http://example.invalid/"),
        "/late" => Reply::raw("").then_silent(),
        "/limited" => Reply::new(429, "").header("Retry-After", "60"),
        "/forbidden" => Reply::new(403, "no"),
        _ => Reply::json("1"),
    })
    .unwrap();
    let allow = "[failed, large, away, late, limited, forbidden, good]";
    let more = format!(", maxBytes: 1000, timeout: 2s, allow: {allow}");
    let text = crate::upstream::manifest(&rest.url(), &more, "");
    let sidecar = Sidecar::builder(executable(), &text).start().unwrap();
    let ask = |method: &str, path: &str| {
        sidecar.request(method, &format!("/v1/api/{path}"), &[], b"").unwrap().status
    };
    for method in ["GET", "HEAD"] {
        for (path, status) in [
            ("good", 200),
            ("forbidden", 403),
            ("other", 403),
            ("failed", 502),
            ("large", 502),
            ("away", 502),
            ("late", 504),
        ] {
            assert_eq!(ask(method, path), status, "{method} {path}");
        }
    }
    assert_eq!((ask("PUT", "good"), ask("DELETE", "other"), ask("DELETE", "good")), (405, 403, 204));
    // From here on nothing is asked any more.
    ask("GET", "limited");
    assert_eq!((ask("GET", "good"), ask("HEAD", "good")), (503, 503));
}

/// A view that is whole, and one that can't be.
fn views() {
    let gallery = crate::views::Gallery::open(
        "",
        &[("top", "good", ", orderBy: /n, limit: 5"), ("never", "bad", ", orderBy: /n")],
        |request| if request.target == "/bad" { Reply::new(500, "") } else { Reply::json("[{\"n\":1}]") },
    );
    let etag = gallery.until_whole("top").header("etag").unwrap().to_owned();
    for method in ["GET", "HEAD"] {
        for (path, header, status) in [
            ("top?n=1", None, 200),
            ("top", Some(("if-none-match", etag.as_str())), 304),
            ("top?n=6", None, 400),
            ("nope", None, 404),
            ("never", None, 503),
        ] {
            let headers: Vec<_> = header.into_iter().collect();
            let answer =
                gallery.sidecar.request(method, &format!("/v1/views/{path}"), &headers, b"").unwrap();
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        }
    }
    row_views();
}

/// What a view over rows is asked for.
fn row_views() {
    let redis = Redis::start().unwrap();
    let sidecar = crate::row_views::sidecar(&redis);
    for (name, text, status) in [
        ("freshet-max-staleness", "soon", 400),
        ("freshet-min-position", "cdc=7", 400),
        ("freshet-min-position", "cdc=\"lsn:0/1\"", 503),
    ] {
        let answer = sidecar.request("GET", "/v1/views/rich", &[(name, text)], b"").unwrap();
        assert_eq!(answer.status, status, "{name}: {text}: {answer:?}");
    }
}

#[test]
fn all_that_is_described_is_answered_and_nothing_else_is() {
    watch();
    let crowded = [crowds, bodies, publishing].map(thread::spawn);
    let redis = Redis::start().unwrap();
    let event = crate::shop::event("product", "u", "null");
    redis.xadd("shop.inventory.product", &[("{\"id\":1}", &event)]).unwrap();
    let text = manifest(&redis, CACHES, "");
    let shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    heads(&shop.sidecar.tcp());
    reads(&shop);
    fills(&shop);
    batches_and_tags(&shop);
    rows(&shop);
    upstreams();
    views();
    for crowd in crowded {
        crowd.join().unwrap();
    }
    // What is answered and not described has failed at once.
    let seen = SEEN.lock().unwrap().clone();
    let unseen: Vec<_> = DOCUMENT.kinds().difference(&seen).cloned().collect();
    assert!(unseen.is_empty(), "described, and never answered: {unseen:#?}");
}
