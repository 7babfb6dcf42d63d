//! JSON and CBOR: one made from the other for who asks for it.

use freshet_e2e::process::{Reply, http::Response};
use serde_json::json;

use crate::{
    bad_input::problem,
    shop::{Shop, ask},
    upstream::how,
    views::Gallery,
};

const CBOR: &str = "application/cbor";
const JSON: &str = "application/json";
const ROW: &str = "application/vnd.freshet.row+json";

/// `{"id": 7, "price": 18446744073709551616, "name": "hämmer"}` and what it is in CBOR.
const TEXT: &str = "{ \"id\": 7, \"price\": 18446744073709551616, \"name\": \"hämmer\" }";
const COMPACT: &str = "{\"id\":7,\"name\":\"hämmer\",\"price\":18446744073709551616}";
const BYTES: &[u8] = b"\xa3\x62id\x07\x64name\x67h\xc3\xa4mmer\x65price\xc2\x49\x01\0\0\0\0\0\0\0\0";

/// What the typed clients send.
const CLIENT: &str = "application/cbor, application/json;q=0.9, */*;q=0.1";

fn put(shop: &Shop, path: &str, content_type: &str, body: &[u8]) {
    let lease = shop.lease(path);
    let headers = [("freshet-lease", lease.as_str()), ("content-type", content_type)];
    assert_eq!(shop.sidecar.request("PUT", path, &headers, body).unwrap().status, 204, "{path}");
}

fn get(shop: &Shop, path: &str, accept: &str) -> Response {
    ask(&shop.sidecar.tcp(), "GET", path, &[("accept", accept)])
}

#[track_caller]
fn is(answer: &Response, content_type: &str, body: &[u8]) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{answer:?}");
    assert_eq!(answer.body, body, "{answer:?}");
}

#[test]
fn a_value_is_converted_for_who_asks_and_is_as_stored_for_others() {
    let shop = Shop::open();
    put(&shop, "/v1/products/1", JSON, TEXT.as_bytes());
    put(&shop, "/v1/products/2", CBOR, BYTES);
    for accept in ["*/*", "application/*", "text/html", "application/json, application/cbor", ""] {
        is(&get(&shop, "/v1/products/1", accept), JSON, TEXT.as_bytes());
        is(&get(&shop, "/v1/products/2", accept), CBOR, BYTES);
    }
    is(&shop.sidecar.get("/v1/products/1").unwrap(), JSON, TEXT.as_bytes());
    for accept in [CBOR, CLIENT, "application/json;q=0.5, */*"] {
        is(&get(&shop, "/v1/products/1", accept), CBOR, BYTES);
        is(&get(&shop, "/v1/products/2", accept), CBOR, BYTES);
    }
    for accept in [JSON, "application/json, application/cbor;q=0.1"] {
        is(&get(&shop, "/v1/products/1", accept), JSON, TEXT.as_bytes());
        is(&get(&shop, "/v1/products/2", accept), JSON, COMPACT.as_bytes());
    }
    for path in ["/v1/products/1", "/v1/products/2"] {
        for accept in [JSON, CBOR] {
            let (get, head) =
                (get(&shop, path, accept), ask(&shop.sidecar.tcp(), "HEAD", path, &[("accept", accept)]));
            assert_eq!(get.header("vary"), Some("Accept"));
            for name in ["etag", "vary", "content-type", "content-length"] {
                assert_eq!(head.header(name), get.header(name), "{name}");
            }
            // What is left of its life may be a second less.
            assert_eq!(how(&head), how(&get));
        }
    }
}

#[test]
fn each_codec_has_a_tag_of_its_own_the_same_in_every_pod() {
    let (shop, other) = (Shop::open(), Shop::open());
    let path = "/v1/products/7";
    // What is stored differs in its spaces alone.
    put(&shop, path, JSON, TEXT.as_bytes());
    put(&other, path, JSON, COMPACT.as_bytes());
    let tag = |shop: &Shop, accept| get(shop, path, accept).header("etag").unwrap().to_owned();
    let (as_json, as_cbor) = (tag(&shop, JSON), tag(&shop, CBOR));
    assert_ne!(as_json, as_cbor);
    assert_eq!(tag(&other, CBOR), as_cbor);
    put(&other, path, CBOR, BYTES);
    assert_eq!(tag(&other, "*/*"), as_cbor, "it is the tag of what is stored so");
    for (accept, condition, status, tagged) in [
        (CBOR, &as_cbor, 304, &as_cbor),
        (CBOR, &as_json, 200, &as_cbor),
        (JSON, &as_json, 304, &as_json),
        (JSON, &as_cbor, 200, &as_json),
    ] {
        let headers = [("accept", accept), ("if-none-match", condition.as_str())];
        let answer = ask(&shop.sidecar.tcp(), "GET", path, &headers);
        assert_eq!((answer.status, answer.header("etag")), (status, Some(tagged.as_str())), "{accept}");
        assert_eq!((answer.body.is_empty(), answer.header("vary")), (status == 304, Some("Accept")));
    }
}

#[test]
fn what_cannot_be_converted_is_as_it_was_stored() {
    let shop = Shop::open();
    for (path, content_type, body, varies) in [
        ("/v1/products/1", JSON, &b"{not json"[..], true),
        ("/v1/products/2", CBOR, b"\x18", true),
        ("/v1/products/3", CBOR, b"\xa1\xf6\x00", true),
        ("/v1/products/4", JSON, b"{\"a\":1,\"a\":2}", true),
        ("/v1/products/5", "image/png", b"\x89PNG", false),
        ("/v1/products/6", "application/x-custom", b"{}", false),
    ] {
        put(&shop, path, content_type, body);
        for accept in [JSON, CBOR] {
            let answer = get(&shop, path, accept);
            is(&answer, content_type, body);
            assert_eq!(answer.header("vary"), varies.then_some("Accept"));
        }
    }
}

#[test]
fn a_compressed_value_is_converted_without_its_coding() {
    use std::io::Write as _;
    let shop = Shop::open();
    let (path, lease) = ("/v1/products/1", shop.lease("/v1/products/1"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(TEXT.as_bytes()).unwrap();
    let headers = [("freshet-lease", lease.as_str()), ("content-type", JSON), ("content-encoding", "gzip")];
    let body = gzip.finish().unwrap();
    assert_eq!(shop.sidecar.request("PUT", path, &headers, &body).unwrap().status, 204);
    let headers = [("accept", CBOR), ("accept-encoding", "gzip")];
    let answer = ask(&shop.sidecar.tcp(), "GET", path, &headers);
    is(&answer, CBOR, BYTES);
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
    let answer = ask(&shop.sidecar.tcp(), "GET", path, &[("accept", JSON), ("accept-encoding", "gzip")]);
    is(&answer, JSON, &body);
}

#[test]
fn a_hydrated_row_is_given_in_cbor() {
    let mut shop = Shop::open();
    shop.apply("product", "{\"id\":7}", "u", "{\"id\":7,\"price\":1.50}");
    shop.until_get("/v1/rows/7", "hit {\"id\":7,\"price\":1.50}");
    let row = get(&shop, "/v1/rows/7", CLIENT);
    is(&row, "application/vnd.freshet.row+cbor", b"\xa2\x62id\x07\x65price\xf9\x3e\x00");
    is(&get(&shop, "/v1/rows/7", "application/json"), ROW, b"{\"id\":7,\"price\":1.50}");
    is(
        &get(&shop, "/v1/rows/7", "application/vnd.freshet.row+cbor"),
        "application/vnd.freshet.row+cbor",
        &row.body,
    );
}

#[test]
fn a_row_is_filled_in_cbor_and_stored_in_json() {
    let shop = Shop::open();
    let put = |body: &[u8]| {
        let lease = shop.lease("/v1/rows/7");
        let headers =
            [("freshet-lease", lease.as_str()), ("content-type", "application/vnd.freshet.row+cbor")];
        shop.sidecar.request("PUT", "/v1/rows/7", &headers, body).unwrap()
    };
    assert_eq!(put(BYTES).status, 204);
    is(&shop.sidecar.get("/v1/rows/7").unwrap(), ROW, COMPACT.as_bytes());
    for (body, why) in [
        (&b"\xa1"[..], "it isn't well-formed"),
        (b"\xa1\xf6\x00", "neither a text nor an integer"),
        (b"\x80", "isn't a map"),
    ] {
        problem(&put(body), 422, "row", why);
    }
    is(&shop.sidecar.get("/v1/rows/7").unwrap(), ROW, COMPACT.as_bytes());
}

#[test]
fn a_batch_has_cbor_as_json_where_that_is_asked_for() {
    let shop = Shop::open();
    put(&shop, "/v1/products/1", CBOR, BYTES);
    put(&shop, "/v1/products/2", CBOR, b"\x18");
    let batch = |body: serde_json::Value| {
        let headers = [("content-type", JSON)];
        let body = body.to_string();
        let answer = shop.sidecar.request("POST", "/v1/products/_batch", &headers, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        (answer.text(), answer.json().unwrap())
    };
    let (_, plain) = batch(json!({"get": ["1"]}));
    assert_eq!((&plain["get"][0]["type"], plain["get"][0]["base64"].is_string()), (&json!(CBOR), true));
    let (text, converted) = batch(json!({"get": ["1", "2"], "convert": true}));
    assert!(text.contains(&format!("\"value\":{COMPACT}")), "{text}");
    let item = &converted["get"][0];
    let single = get(&shop, "/v1/products/1", JSON);
    assert_eq!((item["type"].as_str(), item["etag"].as_str()), (Some(JSON), single.header("etag")));
    assert_eq!(
        (&converted["get"][1]["type"], &converted["get"][1]["base64"]),
        (&json!(CBOR), &json!("GA=="))
    );
}

/// Lists in JSON and in CBOR, and a map whose key is no text.
fn answer(target: &str) -> Reply {
    match target {
        "/json" => Reply::json("[{\"n\": 1}, {\"n\": 3}, {\"n\": 2}]"),
        "/cbor" => {
            Reply::new(200, *b"\x83\xa1\x61n\x05\xa1\x61n\x07\xa1\x61n\x06").header("Content-Type", CBOR)
        }
        _ => Reply::new(200, *b"\x81\xa1\xf6\x00").header("Content-Type", "application/x+cbor"),
    }
}

#[test]
fn an_upstreams_answers_are_converted_and_its_views_read_both() {
    let by = ", orderBy: /n, order: Descending, limit: 4";
    let views = [("both", "json, cbor", by), ("bad", "json, odd", by)];
    let gallery = Gallery::open("", &views, |request| answer(&request.target));
    let whole = gallery.until_whole("both");
    is(&whole, JSON, b"[{\"n\":7},{\"n\":6},{\"n\":5},{\"n\": 3}]");
    assert_eq!(whole.header("vary"), Some("Accept"));
    let ask =
        |path: &str, headers: &[(&str, &str)]| gallery.sidecar.request("GET", path, headers, b"").unwrap();
    let cbor = ask("/v1/views/both?n=2", &[("accept", CLIENT)]);
    is(&cbor, CBOR, b"\x82\xa1\x61n\x07\xa1\x61n\x06");
    let tag = cbor.header("etag").unwrap();
    assert_ne!(ask("/v1/views/both?n=2", &[]).header("etag"), Some(tag));
    let known = ask("/v1/views/both?n=2", &[("accept", CLIENT), ("if-none-match", tag)]);
    assert_eq!((known.status, known.header("etag")), (304, Some(tag)));
    gallery.until_missing("bad", "odd", "CBOR can't be read as JSON: a map has a key");
    let json = ask("/v1/api/cbor", &[("accept", JSON)]);
    is(&json, JSON, b"[{\"n\":5},{\"n\":7},{\"n\":6}]");
    assert_eq!(json.header("vary"), Some("Accept"));
    is(&ask("/v1/api/cbor", &[]), CBOR, b"\x83\xa1\x61n\x05\xa1\x61n\x07\xa1\x61n\x06");
    is(&ask("/v1/api/json", &[("accept", CBOR)]), CBOR, b"\x83\xa1\x61n\x01\xa1\x61n\x03\xa1\x61n\x02");
    is(&ask("/v1/api/odd", &[("accept", JSON)]), "application/x+cbor", b"\x81\xa1\xf6\x00");
}
