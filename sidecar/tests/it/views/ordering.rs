//! What views are made of, and in which order it comes.

use freshet_e2e::process::{Reply, until};

use super::{Gallery, lasting};
use crate::{
    shop::SOON,
    upstream::{how, ttl},
};

const FIRST: &str = r#"[
  {"name": "b", "stars": 100.50, "pushed": "2024-03-01T10:00:00+02:00", "archived": false},
  {"name":"a","stars":1e2,"pushed":"2024-03-01T09:00:00Z","archived":true},
  {"name": "é", "stars": 9007199254740993, "pushed": "2024-02-29T23:59:59.999Z", "archived": false} ]"#;
const SECOND: &str =
    r#" {"name":"Z","stars":9007199254740992,"pushed":"2023-01-01T00:00:00Z","archived":false} "#;
const THIRD: &str = r#"[{"name":"none","archived":false},{"name":"null","stars":null,"archived":false}]"#;

const VIEWS: &[(&str, &str, &str)] = &[
    ("stars", "first, second, third, gone", ", orderBy: /stars"),
    ("names", "first, second, third, gone", ", orderBy: /name, orderAs: Text, order: Ascending, limit: 4"),
    ("pushed", "gone, third, second, first", ", orderBy: /pushed, orderAs: Time"),
    (
        "active",
        "first, second, third, gone",
        ", orderBy: /stars, order: Ascending, filter: [{pointer: /archived, equals: 'false'}, {pointer: /stars, exists: true, atMost: '9007199254740992.5'}]",
    ),
];

fn gallery() -> Gallery {
    Gallery::open("", VIEWS, |request| match request.target.as_str() {
        "/first" => lasting(FIRST),
        "/second" => lasting(SECOND),
        "/third" => lasting(THIRD),
        _ => Reply::new(404, "{\"name\":\"not found\"}").header("Cache-Control", "max-age=3600"),
    })
}

/// The members of this name, in the order of the items.
fn members(text: &str, name: &str) -> Vec<String> {
    let items: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

#[test]
fn four_views_over_one_cache_order_by_numbers_texts_and_times_and_take_what_they_are_to() {
    let gallery = gallery();
    let names = |view: &str| members(&gallery.until_whole(view).text(), "name");
    assert_eq!(names("stars"), ["é", "Z", "b", "a", "none", "null"]);
    assert_eq!(names("names"), ["Z", "a", "b", "none"], "four, by code points");
    assert_eq!(names("pushed"), ["a", "b", "é", "Z", "none", "null"], "by the instant");
    assert_eq!(names("active"), ["b", "Z"]);
    assert_eq!(gallery.rest.count(), 4, "each key is fetched once, whatever views have it");
    let answer = gallery.view("active");
    let b = FIRST.lines().nth(1).unwrap().trim().trim_end_matches(',');
    assert_eq!(answer.text(), format!("[{b},{}]", SECOND.trim()), "items are as the upstream wrote them");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    assert_eq!(how(&answer), "hit");
    assert!((3500..=3600).contains(&ttl(&answer)), "{answer:?}");
    let status = gallery.sidecar.status().unwrap();
    let view = &status["views"]["stars"];
    assert_eq!(
        (&view["cache"], &view["keys"], &view["items"]),
        (&"api".into(), &4.into(), &6.into()),
        "{status}"
    );
    assert!(view["missing"].as_object().unwrap().is_empty() && view["hits"].as_u64() > Some(0), "{status}");
    assert!(view["bytes"].as_u64() > Some(1000), "{status}");
    until("it is known since when it is whole", SOON, || {
        let status = gallery.sidecar.status()?;
        anyhow::ensure!(status["views"]["stars"]["wholeForMs"].is_number(), "{status}");
        Ok(())
    })
    .unwrap();
    let metrics = gallery.sidecar.metrics().unwrap();
    for line in [
        "freshet_view_items{view=\"stars\"} 6.0",
        "freshet_view_missing_keys{view=\"stars\"} 0.0",
        "freshet_view_requests_total{view=\"names\",outcome=\"hit\"} ",
        "freshet_views_ranked_total{view=\"active\"} 1",
        "freshet_view_bytes{view=\"pushed\"} ",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[test]
fn a_request_says_how_many_it_wants_and_each_length_has_its_tag() {
    let gallery = gallery();
    gallery.until_whole("stars");
    let first = |n: &str| gallery.view(&format!("stars{n}"));
    let names = |n: &str| members(&first(n).text(), "name");
    assert_eq!(names("?n=1"), ["é"]);
    assert_eq!(names("?n=2"), ["é", "Z"]);
    assert_eq!(names("?n=100").len(), 6, "more than there are");
    let tags: Vec<_> = ["?n=1", "?n=2", ""].map(|n| first(n).header("etag").unwrap().to_owned()).into();
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    assert_eq!(first("?n=6").header("etag"), Some(tags[2].as_str()), "the same bytes");
    let same = gallery.view_with("stars?n=2", &[("if-none-match", &tags[1])]);
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(tags[1].as_str())));
    assert_eq!(gallery.view_with("stars?n=1", &[("if-none-match", &tags[1])]).status, 200);
    let head = gallery.sidecar.request("HEAD", "/v1/views/stars?n=2", &[], b"").unwrap();
    assert_eq!((head.status, head.header("etag"), head.body.len()), (200, Some(tags[1].as_str()), 0));
    assert_eq!(head.header("content-length").unwrap(), first("?n=2").body.len().to_string());
    let other = self::gallery();
    assert_eq!(other.until_whole("stars").header("etag"), Some(tags[2].as_str()), "the same in every pod");
}

#[test]
fn a_refresh_changes_the_order_and_what_has_just_been_stored_is_shown() {
    let view = [("top", "a, b", ", orderBy: /n")];
    let gallery = Gallery::open(", refresh: 1s", &view, |request| match request.target.as_str() {
        "/a" => lasting("[{\"n\":1},{\"n\":2}]"),
        _ => lasting("{\"n\":1.5}"),
    });
    assert_eq!(gallery.until_whole("top").text(), "[{\"n\":2},{\"n\":1.5},{\"n\":1}]");
    // Nobody asks for the keys, and they are fetched anew.
    gallery.rest.answer(|request| match request.target.as_str() {
        "/a" => lasting("[{\"n\":1}]"),
        _ => lasting("{\"n\":5}"),
    });
    gallery.until_view("top", "[{\"n\":5},{\"n\":1}]");
    for n in 10..30 {
        gallery.rest.answer(move |request| match request.target.as_str() {
            "/a" => lasting("[]"),
            _ => lasting(format!("{{\"n\":{n}}}")),
        });
        let fetched = gallery.get("b", &[("cache-control", "no-cache")]);
        assert_eq!(fetched.text(), format!("{{\"n\":{n}}}"));
        let shown = gallery.view("top").text();
        assert!(shown.starts_with(&format!("[{{\"n\":{n}}}")), "{shown}");
    }
}

#[test]
fn what_is_said_to_be_the_same_is_not_ranked_anew() {
    let gallery = Gallery::open(", refresh: 1s", &[("top", "a", ", orderBy: /n")], |request| {
        let reply = if request.header("if-none-match").is_some() {
            Reply::new(304, "")
        } else {
            Reply::json("[{\"n\":1}]")
        };
        reply.header("ETag", "\"x\"").header("Cache-Control", "max-age=3600")
    });
    gallery.until_whole("top");
    gallery.rest.until_count(4).unwrap();
    assert_eq!(gallery.view("top").text(), "[{\"n\":1}]");
    let status = gallery.sidecar.status().unwrap();
    assert_eq!(status["views"]["top"]["ranked"], 1, "{status}");
    assert!(status["caches"]["api"]["upstream"]["fetches"]["revalidated"].as_u64() >= Some(2), "{status}");
}

#[test]
fn all_pages_of_a_list_are_ranked_together() {
    let gallery =
        Gallery::open(", paginate: {}", &[("top", "list", ", orderBy: /n")], |request| {
            match request.target.as_str() {
                "/list" => lasting("[{\"n\":1}, {\"n\":4}]").header("Link", "</list?page=2>; rel=next"),
                _ => lasting("[{\"n\":3}]"),
            }
        });
    assert_eq!(gallery.until_whole("top").text(), "[{\"n\":4},{\"n\":3},{\"n\":1}]");
}
