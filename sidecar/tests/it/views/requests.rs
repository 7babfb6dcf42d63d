//! What can be asked of views, and what can't.

use super::{Gallery, lasting};
use crate::upstream::problem;

#[test]
fn a_request_that_cannot_be_answered_is_told_why() {
    let gallery = Gallery::open(
        "",
        &[("top", "a", ", orderBy: /n, limit: 5"), ("other", "a", ", orderBy: /n")],
        |_| lasting("[]"),
    );
    assert_eq!(gallery.until_whole("top").text(), "[]");
    for (path, status, kind, says) in [
        ("top?n=0", 400, "view-size", "at least 1"),
        ("top?n=6", 400, "view-size", "the view's limit is 5"),
        ("top?n=99999999999999999999", 400, "view-size", "the view's limit is 5"),
        ("top?n=", 400, "view-size", "at least 1"),
        ("top?n=-1", 400, "view-size", "at least 1"),
        ("top?n=+1", 400, "view-size", "at least 1"),
        ("top?n=1.0", 400, "view-size", "at least 1"),
        ("top?n=ten", 400, "view-size", "at least 1"),
        ("top?n=1&n=2", 400, "view-size", "one number"),
        ("top?limit=1", 400, "query", "a view takes `n` alone"),
        ("top?n=1&x", 400, "query", "a view takes `n` alone"),
        ("top?", 400, "query", "a view takes `n` alone"),
        ("nope", 404, "unknown-view", "it has: other, top"),
        ("nope?n=1", 404, "unknown-view", "it has: other, top"),
        ("top/a", 404, "unknown-view", "has no view `top/a`"),
        ("_top", 404, "unknown-view", "it has: other, top"),
        ("", 404, "unknown-view", "it has: other, top"),
    ] {
        let answer = gallery.view(path);
        assert_eq!((answer.status, problem(&answer).as_str()), (status, kind), "{path}: {answer:?}");
        let detail = answer.json().unwrap()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{path}: {detail}");
    }
    assert_eq!(gallery.view("top?n=5").status, 200);
    for method in ["PUT", "POST", "DELETE", "PATCH"] {
        let answer = gallery.sidecar.request(method, "/v1/views/top", &[], b"").unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(gallery.sidecar.get("/v1/views").unwrap().status, 404);
    // What a view is made of was fetched before: no request has it fetched for itself.
    for directive in ["no-cache", "max-age=0", "only-if-cached"] {
        assert_eq!(gallery.view_with("top", &[("cache-control", directive)]).status, 200, "{directive}");
    }
    assert_eq!(gallery.rest.count(), 1);
}

#[test]
fn where_there_are_no_views_that_is_said() {
    let gallery = Gallery::open("", &[], |_| lasting("[]"));
    let answer = gallery.view("top");
    assert_eq!((answer.status, problem(&answer).as_str()), (404, "unknown-view"));
    assert!(answer.text().contains("it has none"), "{answer:?}");
    assert_eq!(gallery.sidecar.status().unwrap()["views"], serde_json::json!({}));
}
