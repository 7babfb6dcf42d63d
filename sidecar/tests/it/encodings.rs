//! Values that are stored compressed, and conditional requests for them.

use std::io::{Read as _, Write as _};

use flate2::{Compression, write::GzEncoder};
use freshet_e2e::process::http::Response;
use freshet_sidecar::entry::OVERHEAD;
use serde_json::json;

use crate::{
    bad_input::problem,
    shop::{Shop, ask, outcome},
};

const VALUE: &[u8] = b"{\"name\":\"hammer\",\"words\":\"hammer hammer hammer hammer hammer hammer hammer\"}";

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    brotli::CompressorReader::new(plain, 4096, 5, 22).read_to_end(&mut encoded).unwrap();
    encoded
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(plain, ruzstd::encoding::CompressionLevel::Fastest)
}

fn put(shop: &Shop, path: &str, coding: &str, body: &[u8]) -> Response {
    let lease = shop.lease(path);
    let headers = [
        ("freshet-lease", lease.as_str()),
        ("content-type", "application/json"),
        ("content-encoding", coding),
    ];
    shop.sidecar.request("PUT", path, &headers, body).unwrap()
}

fn get(shop: &Shop, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    ask(&shop.sidecar.tcp(), method, path, headers)
}

#[test]
fn a_compressed_value_is_given_as_it_is_to_who_takes_it_and_decoded_to_others() {
    let shop = Shop::open();
    // Twice and in capitals, to see that the names are read as HTTP has them.
    for (coding, name, body) in [
        ("gzip", "gzip", gzip(VALUE)),
        ("X-GZIP", "gzip", gzip(VALUE)),
        ("br", "br", brotli(VALUE)),
        ("zstd", "zstd", zstd(VALUE)),
    ] {
        let path = format!("/v1/products/{}", coding.len());
        assert_eq!(put(&shop, &path, coding, &body).status, 204, "{coding}");
        for (accept, takes) in [
            (Some(name), true),
            (Some("*"), true),
            (Some("deflate, *;q=0.1"), true),
            (Some(&format!("identity, {name};q=0.5")), true),
            (Some(&format!("{name};q=0")), false),
            (Some(&format!("{name};q=0, *")), false),
            (Some("identity"), false),
            (Some("deflate"), false),
            (Some(""), false),
            (None, false),
        ] {
            let headers: Vec<_> = accept.into_iter().map(|accept| ("accept-encoding", accept)).collect();
            let answer = get(&shop, "GET", &path, &headers);
            assert_eq!(answer.status, 200);
            let (encoding, bytes) = if takes { (Some(name), &body[..]) } else { (None, VALUE) };
            assert_eq!(answer.header("content-encoding"), encoding, "{accept:?}");
            assert_eq!(answer.body, bytes, "{accept:?}");
            assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let head = get(&shop, "HEAD", &path, &headers);
            for name in
                ["etag", "vary", "content-encoding", "content-type", "content-length", "cache-control"]
            {
                assert_eq!(head.header(name), answer.header(name), "{name}");
            }
        }
        // Without regard to how it is stored.
        let batch = shop.sidecar.request(
            "POST",
            "/v1/products/_batch",
            &[("content-type", "application/json")],
            json!({"get": [coding.len().to_string()]}).to_string().as_bytes(),
        );
        let item = batch.unwrap().json().unwrap()["get"][0].clone();
        assert_eq!(item["value"], serde_json::from_slice::<serde_json::Value>(VALUE).unwrap());
        assert_eq!(item["etag"], get(&shop, "GET", &path, &[]).header("etag").unwrap());
    }
}

#[test]
fn each_form_has_a_tag_of_its_own_and_either_is_one_of_the_value() {
    let (shop, other) = (Shop::open(), Shop::open());
    let path = "/v1/products/7";
    let body = gzip(VALUE);
    let tag = |shop: &Shop, headers: &[(&str, &str)]| {
        get(shop, "GET", path, headers).header("etag").unwrap().to_owned()
    };
    let takes = ("accept-encoding", "gzip");
    for shop in [&shop, &other] {
        assert_eq!(put(shop, path, "gzip", &body).status, 204);
    }
    let (coded, plain) = (tag(&shop, &[takes]), tag(&shop, &[]));
    assert_ne!(coded, plain);
    assert_eq!(
        (tag(&other, &[takes]), tag(&other, &[])),
        (coded.clone(), plain.clone()),
        "the same in every pod"
    );
    for (accept, own) in [(Some(takes), &coded), (None, &plain)] {
        for (condition, tagged) in [
            (coded.as_str(), Some(&coded)),
            (plain.as_str(), Some(&plain)),
            (&format!("\"x\", W/{plain}"), Some(&plain)),
            ("*", Some(own)),
            ("\"x\"", None),
        ] {
            let headers: Vec<_> = accept.into_iter().chain([("if-none-match", condition)]).collect();
            for method in ["GET", "HEAD"] {
                let answer = get(&shop, method, path, &headers);
                assert_eq!(answer.status, if tagged.is_some() { 304 } else { 200 }, "{condition}");
                assert_eq!(answer.header("etag"), Some(tagged.unwrap_or(own).as_str()), "{condition}");
                assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
                assert!(answer.header("cache-status").unwrap().starts_with("freshet; hit"));
                assert_eq!(answer.status == 304, answer.header("content-length").is_none());
            }
        }
    }
    // Stored without a coding the value is the same, and its coding doesn't vary.
    shop.sidecar.request("DELETE", path, &[], b"").unwrap();
    assert_eq!(put(&shop, path, "identity", VALUE).status, 204);
    let answer = get(&shop, "GET", path, &[takes]);
    assert_eq!((answer.header("etag"), answer.header("vary")), (Some(plain.as_str()), Some("Accept")));
    assert_eq!(answer.header("content-encoding"), None, "nothing is compressed here");
}

#[test]
fn what_cannot_be_decoded_or_is_too_large_when_it_is_is_never_stored() {
    let shop = Shop::open();
    let path = "/v1/products/7";
    problem(&put(&shop, path, "gzip", VALUE), 400, "encoding", "says `gzip`");
    problem(&put(&shop, path, "br", &gzip(VALUE)), 400, "encoding", "says `br`");
    problem(&put(&shop, path, "zstd", &zstd(VALUE)[..9]), 400, "encoding", "says `zstd`");
    problem(&put(&shop, path, "gzip", b""), 400, "encoding", "can't be decoded");
    let bomb = vec![b' '; (1 << 20) + 1];
    for (coding, body) in [("gzip", gzip(&bomb)), ("br", brotli(&bomb)), ("zstd", zstd(&bomb))] {
        problem(&put(&shop, path, coding, &body), 413, "value-too-large", "1048576 bytes");
        assert_eq!(put(&shop, path, coding, &body).header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(shop.get(path), "miss");
    for coding in ["deflate", "compress", "gzip, br", "gzip, gzip"] {
        let answer = put(&shop, path, coding, VALUE);
        problem(&answer, 415, "media-type", "gzip, br, zstd");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, br, zstd"));
    }
    let lease = shop.lease("/v1/rows/7");
    let row = ("content-type", "application/vnd.freshet.row+json");
    let headers = [("freshet-lease", lease.as_str()), row, ("content-encoding", "gzip")];
    let answer = shop.sidecar.request("PUT", "/v1/rows/7", &headers, &gzip(b"{}")).unwrap();
    problem(&answer, 415, "media-type", "holds rows");
    // An absence has nothing to decode.
    let lease = shop.lease(path);
    let absent = [("freshet-lease", lease.as_str()), ("freshet-absent", "?1"), ("content-encoding", "gzip")];
    assert_eq!(shop.sidecar.request("PUT", path, &absent, b"").unwrap().status, 204);
    assert_eq!(shop.get(path), "absent");
}

#[test]
fn a_change_voids_a_compressed_value_as_any() {
    let mut shop = Shop::open();
    let plain = VALUE.repeat(100);
    assert_eq!(put(&shop, "/v1/products/7", "gzip", &gzip(&plain)).status, 204);
    let bytes = shop.sidecar.status().unwrap()["caches"]["products"]["bytes"].as_u64().unwrap();
    // The key, the type, and what a coding costs are few bytes beside a plain value as large as this.
    let [least, most] = [gzip(&plain).len(), plain.len()].map(|length| OVERHEAD + length as u64);
    assert!((least..most).contains(&bytes), "{bytes}");
    shop.change("product", "{\"id\":7}", "u", "null");
    shop.until_get("/v1/products/7", "miss");
}

#[test]
fn conditions_are_looked_at_where_there_is_a_value_only() {
    let mut shop = Shop::open();
    shop.settle();
    let path = "/v1/products/7";
    let any = [("if-none-match", "*")];
    for method in ["GET", "HEAD"] {
        assert_eq!(outcome(&get(&shop, method, path, &any)), "miss", "a miss is one, whatever is had");
    }
    let lease = shop.lease(path);
    let absent = [("freshet-lease", lease.as_str()), ("freshet-absent", "?1")];
    assert_eq!(shop.sidecar.request("PUT", path, &absent, b"").unwrap().status, 204);
    for method in ["GET", "HEAD"] {
        let answer = get(&shop, method, path, &any);
        assert_eq!((outcome(&answer).as_str(), answer.header("etag")), ("absent", None));
    }
    shop.fill(path, "x");
    let tag = get(&shop, "GET", path, &[]).header("etag").unwrap().to_owned();
    let lines = [("if-none-match", "\"y\""), ("if-none-match", tag.as_str())];
    assert_eq!(get(&shop, "GET", path, &lines).status, 304, "in any of its lines");
    // Where a 200 wouldn't be a hit there is no 304.
    let reload = [("if-none-match", tag.as_str()), ("cache-control", "no-cache")];
    let answer = get(&shop, "GET", path, &reload);
    assert_eq!((answer.status, answer.header("freshet-lease").is_some()), (404, true));
    // No other condition of a read is looked at: nothing has a date, and a cache may leave If-Match to the origin.
    let others = [
        ("if-match", "\"y\""),
        ("if-modified-since", "Sun, 22 Nov 2026 00:00:00 GMT"),
        ("range", "bytes=0-0"),
    ];
    let answer = get(&shop, "GET", path, &others);
    assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
}

#[test]
fn a_fill_has_no_condition_but_its_lease() {
    let shop = Shop::open();
    shop.fill("/v1/products/7", "x");
    for condition in ["if-match", "if-none-match", "if-unmodified-since"] {
        for method in ["PUT", "DELETE"] {
            let lease = shop.lease("/v1/products/7");
            let headers = [("freshet-lease", lease.as_str()), (condition, "*")];
            let answer = shop.sidecar.request(method, "/v1/products/7", &headers, b"").unwrap();
            problem(&answer, 400, "precondition", "lease");
        }
    }
    assert_eq!(shop.get("/v1/products/7"), "hit x");
}

#[test]
fn a_head_is_a_get_without_its_body_for_every_kind_of_answer() {
    let shop = Shop::open();
    shop.fill("/v1/products/1", "x");
    for path in [
        "/v1/products/1",
        "/v1/products/2",
        "/v1/products/007",
        "/v1/products/a//b",
        "/v1/nope/1",
        "/v1/status",
        "/v1/events?cache=nope",
        "/nope",
    ] {
        let (answer, head) = (get(&shop, "GET", path, &[]), get(&shop, "HEAD", path, &[]));
        let named = |answer: &Response| {
            let names = answer.headers.iter().filter(|(name, _)| !name.starts_with("freshet-"));
            // A HEAD needn't say that there is nothing; and times change, and the status's length with them.
            let fixed =
                |name: &str, text: &str| name != "content-length" || (path != "/v1/status" && text != "0");
            let untimed = |name: &str, text: &str| match name {
                "age" | "cache-status" => text.replace(|c: char| c.is_ascii_digit(), ""),
                _ => text.to_owned(),
            };
            names
                .filter(|(name, text)| fixed(name, text))
                .map(|(name, text)| (name.clone(), untimed(name, text)))
                .collect::<Vec<_>>()
        };
        assert_eq!((head.status, named(&head)), (answer.status, named(&answer)), "{path}");
        assert_eq!(head.header("freshet-lease"), None);
        assert!(head.body.is_empty());
    }
}
