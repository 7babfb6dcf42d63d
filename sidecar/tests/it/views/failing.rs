//! What a view says while something of it is missing or old.

use freshet_e2e::process::{Gate, Reply, until};

use super::{Gallery, lasting, missing, retry_after};
use crate::{
    shop::SOON,
    upstream::{how, ttl},
};

const TOP: &[(&str, &str, &str)] = &[("top", "a, b", ", orderBy: /n")];

#[test]
fn until_all_is_there_a_view_says_which_keys_are_missing() {
    let gate = Gate::default();
    let behind = gate.clone();
    let gallery = Gallery::open("", TOP, move |request| {
        let reply = lasting(format!("{{\"n\":1,\"at\":\"{}\"}}", request.target));
        if request.target == "/b" { reply.behind(&behind) } else { reply }
    });
    until("one key is there", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(missing(&answer).len() == 1, "{answer:?}");
        assert_eq!((answer.status, retry_after(&answer)), (503, 1));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let detail = answer.json()?["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.contains("1 of 2 keys of `api` are missing: `b`: it hasn't been fetched yet"),
            "{detail}"
        );
        Ok(())
    })
    .unwrap();
    let head = gallery.sidecar.request("HEAD", "/v1/views/top", &[], b"").unwrap();
    assert_eq!((head.status, head.body.len()), (503, 0));
    let status = gallery.sidecar.status().unwrap();
    let view = &status["views"]["top"];
    assert!(view["missing"]["b"].is_string() && view["wholeForMs"].is_null(), "{status}");
    assert!(view["incomplete"].as_u64() >= Some(2), "{status}");
    assert!(gallery.sidecar.metrics().unwrap().contains("freshet_view_missing_keys{view=\"top\"} 1.0"));
    gate.open();
    gallery.until_whole("top");
}

#[test]
fn what_is_deleted_is_void_in_the_view_at_once_and_fetched_anew() {
    let gallery = Gallery::open("", TOP, |request| match request.target.as_str() {
        "/a" => lasting("{\"n\":1}"),
        _ => lasting("{\"n\":2}"),
    });
    assert_eq!(gallery.until_whole("top").text(), "[{\"n\":2},{\"n\":1}]");
    let gate = Gate::default();
    let behind = gate.clone();
    gallery.rest.answer(move |_| lasting("{\"n\":3}").behind(&behind));
    for _ in 0..2 {
        gallery.delete("b");
        let answer = gallery.view("top");
        let found = missing(&answer);
        assert_eq!(found.len(), 1, "{answer:?}");
        assert!(found[0].0 == "b" && found[0].1.contains("was deleted"), "{answer:?}");
    }
    gate.open();
    gallery.until_view("top", "[{\"n\":3},{\"n\":1}]");
}

#[test]
fn an_upstream_that_fails_leaves_what_may_be_served_and_says_that_it_is_old() {
    let gallery = Gallery::open(", staleIfError: 1h", TOP, |_| {
        Reply::json("{\"n\":1}").header("Cache-Control", "max-age=2")
    });
    gallery.until_whole("top");
    gallery.rest.answer(|_| Reply::new(500, "secret"));
    until("it is served as it was, and marked", SOON, || {
        let answer = gallery.view("top");
        // For a moment between the end of its life and the first failure there is nothing to serve.
        anyhow::ensure!(how(&gallery.until_whole("top")) == "hit; detail=upstream-status", "{answer:?}");
        Ok(())
    })
    .unwrap();
    let answer = gallery.until_whole("top");
    assert!(ttl(&answer) < 0 && answer.header("age").unwrap().parse::<u64>().unwrap() >= 2, "{answer:?}");
    assert_eq!(answer.text(), "[{\"n\":1},{\"n\":1}]");
    assert!(gallery.sidecar.status().unwrap()["views"]["top"]["staleHits"].as_u64() > Some(0));
    gallery.rest.answer(|_| lasting("{\"n\":2}"));
    gallery.until_view("top", "[{\"n\":2},{\"n\":2}]");
    assert_eq!(how(&gallery.view("top")), "hit");
}

#[test]
fn what_is_fetched_late_is_served_stale_where_the_cache_would_serve_it() {
    let gallery = Gallery::open(", staleWhileRevalidate: 1h", TOP, |_| {
        Reply::json("{\"n\":1}").header("Cache-Control", "max-age=2")
    });
    gallery.until_whole("top");
    let gate = Gate::default();
    let behind = gate.clone();
    gallery.rest.answer(move |_| lasting("{\"n\":2}").behind(&behind));
    until("it is stale", SOON, || {
        let answer = gallery.view("top");
        assert_eq!(answer.text(), "[{\"n\":1},{\"n\":1}]", "nobody waits");
        anyhow::ensure!(how(&answer) == "hit; detail=stale-while-revalidate", "{answer:?}");
        Ok(())
    })
    .unwrap();
    gate.open();
    gallery.until_view("top", "[{\"n\":2},{\"n\":2}]");
}

#[test]
fn what_has_ended_is_not_shown_where_the_cache_would_not_serve_it() {
    let gallery = Gallery::open("", TOP, |request| match request.target.as_str() {
        // It is kept for longer, to be revalidated.
        "/a" => Reply::json("{\"n\":1}").header("Cache-Control", "max-age=2").header("ETag", "\"x\""),
        _ => lasting("{\"n\":2}"),
    });
    gallery.until_whole("top");
    gallery.rest.answer(|_| Reply::new(500, "secret"));
    gallery.until_missing("top", "a", "it answers 500");
    let answer = gallery.view("top");
    assert!(!answer.text().contains("secret"), "{answer:?}");
    assert_eq!(gallery.get("a", &[]).status, 500, "nor does the cache serve it");
    gallery.rest.answer(|_| lasting("{\"n\":3}"));
    gallery.until_view("top", "[{\"n\":3},{\"n\":2}]");
}

#[test]
fn what_has_no_items_or_may_not_be_stored_is_told_with_its_key_and_without_its_content() {
    let keys = "garbage, scalar, scalars, unstored, forbidden, closed, brief, good";
    let gallery =
        Gallery::open("", &[("top", keys, ", orderBy: /n")], |request| match request.target.as_str() {
            "/garbage" => lasting("{\"secret\":"),
            "/scalar" => lasting("\"secret\""),
            "/scalars" => lasting("[{},\"secret\"]"),
            "/unstored" => Reply::json("[\"secret\"]").header("Cache-Control", "no-store"),
            "/forbidden" => Reply::new(403, "secret"),
            "/closed" => Reply::raw("secret"),
            "/brief" => Reply::json("[{}]").header("Cache-Control", "max-age=0"),
            _ => lasting("[{}]"),
        });
    for (key, says) in [
        ("unstored", "forbids that its answer is stored"),
        ("forbidden", "it answers 403"),
        ("closed", "fetching it has failed"),
        ("brief", "forbids that its answer is stored, or it ends at once"),
    ] {
        gallery.until_missing("top", key, says);
    }
    // What can't be ranked is told once all answers are there.
    let gone = |request: &freshet_e2e::process::Request| match request.target.as_str() {
        "/garbage" => lasting("{\"secret\":"),
        "/scalar" => lasting("\"secret\""),
        "/scalars" => lasting("[{},\"secret\"]"),
        _ => Reply::new(410, "\"secret\"").header("Cache-Control", "max-age=3600"),
    };
    gallery.rest.answer(gone);
    for (key, says) in [
        ("garbage", "isn't JSON"),
        ("scalar", "neither an object nor an array"),
        ("scalars", "element 1 of the answer"),
    ] {
        gallery.until_missing("top", key, says);
    }
    let answer = gallery.view("top");
    assert!(missing(&answer).len() == 3 && !answer.text().contains("secret"), "{answer:?}");
    let log = gallery.sidecar.log();
    assert!(log.contains("a view can't be ranked") && !log.contains("secret"), "{log}");
    gallery.rest.answer(|_| lasting("[]"));
    for key in ["garbage", "scalar", "scalars"] {
        gallery.delete(key);
    }
    gallery.until_view("top", "[{}]");
}

#[test]
fn an_upstream_that_wants_no_requests_gets_none_and_the_view_says_when() {
    let keys = (0..20).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let gallery = Gallery::open("", &[("top", &keys, ", orderBy: /n")], |_| {
        Reply::new(429, "").header("Retry-After", "3000")
    });
    until("it is known", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!((2900..=3000).contains(&retry_after(&answer)), "{answer:?}");
        Ok(())
    })
    .unwrap();
    let before = gallery.rest.count();
    assert!(before <= 4, "no more than there are places: {before}");
    assert_eq!(missing(&gallery.view("top")).len(), 20);
}

#[test]
fn a_rate_is_kept_to_and_its_last_token_left_to_readers() {
    let gallery =
        Gallery::open(", rate: {requests: 2, per: 1h}", &[("top", "a, b, c", ", orderBy: /n")], |_| {
            lasting("{\"n\":1}")
        });
    until("one is fetched", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(missing(&answer).len() == 2, "{answer:?}");
        assert!((1700..=1800).contains(&retry_after(&answer)), "{answer:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!((gallery.rest.count(), gallery.get("other", &[]).status), (1, 200));
}

/// With tokens for some of its pages only, they would be spent on the first ones over and over.
#[test]
fn a_list_is_fetched_when_there_are_tokens_for_all_of_its_pages() {
    // A token comes every 1.5 s, which is longer than a page waits for one.
    let upstream = ", paginate: {}, refresh: 1s, timeout: 1s, rate: {requests: 4, per: 6s}";
    let gallery = Gallery::open(upstream, &[("top", "list", ", orderBy: /n")], |request| {
        let next = match request.target.as_str() {
            "/list" => "</list?page=2>; rel=next",
            "/list?page=2" => "</list?page=3>; rel=next",
            _ => return lasting("[{\"n\":3}]"),
        };
        lasting("[{\"n\":1}]").header("Link", next)
    });
    gallery.until_whole("top");
    until("it is fetched twice more", SOON * 2, || {
        let asked = gallery.asked("/list?page=3");
        anyhow::ensure!(asked >= 3, "{asked} times");
        Ok(())
    })
    .unwrap();
    let (first, last) = (gallery.asked("/list"), gallery.asked("/list?page=3"));
    assert!(first <= last + 3, "{first} were begun and {last} came to their end");
}
