//! What views hold themselves, and what of it is dropped.

use freshet_e2e::process::{Gate, Reply, until};

use super::{Gallery, lasting, missing, retry_after};
use crate::{shop::SOON, upstream::how};

/// An item of so many bytes, about.
fn item(n: u32, bytes: usize) -> String {
    format!("{{\"n\":{n},\"filling\":\"{}\"}}", "x".repeat(bytes))
}

const SMALL: &str = "  memory: 1Mi\n  sidecar: {maxValue: 512Ki}";

#[test]
fn what_the_cache_pushes_out_stays_in_the_view() {
    let view = [("top", "0, 1, 2, 3", ", orderBy: /n")];
    let gallery = Gallery::with("", &view, SMALL, |request| {
        let n = request.target[1..].parse().unwrap();
        lasting(item(n, 20_000))
    });
    gallery.until_whole("top");
    // Three times as much as there is memory, each asked for more often than what the view holds.
    for _ in 0..3 {
        for n in 100..160 {
            assert_eq!(gallery.get(&n.to_string(), &[]).status, 200);
        }
    }
    let answer = gallery.view("top");
    assert_eq!((answer.status, how(&answer).as_str()), (200, "hit"), "{answer:?}");
    let asked: Vec<_> = (0..4).map(|n| gallery.asked(&format!("/{n}"))).collect();
    assert_eq!(asked, [1; 4], "none is fetched for that");
    for n in 0..4 {
        assert_eq!(how(&gallery.get(&n.to_string(), &[])), "hit", "the cache has what the view has");
    }
    // It is fetched anew at once.
    let gate = Gate::default();
    let behind = gate.clone();
    gallery.rest.answer(move |_| lasting(item(3, 20_000)).behind(&behind));
    gallery.delete("3");
    assert_ne!(
        how(&gallery.get("3", &[("cache-control", "only-if-cached")])),
        "hit",
        "what is deleted is so in both"
    );
    gate.open();
}

#[test]
fn what_views_hold_is_bounded_and_beyond_it_they_say_so() {
    let views = [("few", "a", ", orderBy: /n"), ("many", "a, b, c", ", orderBy: /n, limit: 1")];
    let gallery = Gallery::with("", &views[..1], SMALL, |_| lasting(item(1, 90_000)));
    gallery.until_whole("few");
    gallery.rebind("", &views, SMALL);
    until("there is no room for the third", SOON, || {
        let answer = gallery.view("many");
        let found = missing(&answer);
        anyhow::ensure!(
            found.iter().any(|(_, why)| why.contains("views hold at most 262144 bytes")),
            "{answer:?}"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(gallery.view("few").status, 200, "what is held stays");
    let status = gallery.sidecar.status().unwrap();
    let bytes = status["views"]["few"]["bytes"].as_u64().unwrap();
    assert!((180_000..200_000).contains(&bytes), "the answer and what is ranked of it: {status}");
    // With more memory there is room.
    gallery.rebind("", &views, "  memory: 4Mi\n  sidecar: {maxValue: 512Ki}");
    gallery.until_whole("many");
}

#[test]
fn another_representation_for_an_application_leaves_the_view_as_it_is() {
    let gallery = Gallery::open("", &[("top", "a", ", orderBy: /n")], |request| {
        let reply = match request.header("accept") {
            Some("text/html") => Reply::new(200, "<p>").header("Content-Type", "text/html"),
            _ => Reply::json("{\"n\":1}"),
        };
        reply.header("Cache-Control", "max-age=3600").header("Vary", "Accept")
    });
    gallery.until_whole("top");
    for _ in 0..3 {
        assert_eq!(gallery.get("a", &[("accept", "text/html")]).text(), "<p>");
        assert_eq!(gallery.view("top").text(), "[{\"n\":1}]");
        let plain = gallery.get("a", &[]);
        assert_eq!((plain.text().as_str(), how(&plain).as_str()), ("{\"n\":1}", "hit"));
    }
    assert_eq!(gallery.rest.count(), 2);
    gallery.rest.answer(|_| lasting("{\"n\":2}"));
    gallery.delete("a");
    gallery.until_view("top", "[{\"n\":2}]");
}

#[test]
fn with_less_memory_the_largest_answers_are_dropped_at_once_and_come_back_with_more() {
    let views = [("few", "a", ", orderBy: /n"), ("many", "a, b, c", ", orderBy: /n, limit: 1")];
    let large = "  memory: 4Mi\n  sidecar: {maxValue: 512Ki}";
    let gallery = Gallery::with("", &views, large, |request| {
        lasting(match request.target.as_str() {
            "/a" => item(3, 50_000),
            "/b" => item(2, 60_000),
            _ => item(1, 120_000),
        })
    });
    let few = gallery.until_whole("few").body;
    gallery.until_whole("many");
    let held = || gallery.sidecar.status().unwrap()["views"]["many"]["bytes"].as_u64().unwrap();
    assert!(held() > 230_000, "{}", held());
    let asked = gallery.rest.count();
    gallery.rebind("", &views, SMALL);
    gallery.until_missing("many", "c", "views hold at most 262144 bytes");
    let answer = gallery.view("many");
    assert_eq!(missing(&answer).len(), 1, "{answer:?}");
    assert!(held() < 170_000, "a and b, and what was ranked last: {}", held());
    assert_eq!((gallery.view("few").body, gallery.rest.count()), (few, asked), "nothing is fetched for that");
    gallery.rebind("", &views, large);
    gallery.until_whole("many");
    assert_eq!((gallery.asked("/a"), gallery.asked("/b"), gallery.asked("/c")), (1, 1, 2));
}

#[test]
fn where_what_is_ranked_has_no_room_it_is_said_that_this_will_last() {
    let gallery = Gallery::with("", &[("top", "a", ", orderBy: /n")], SMALL, |_| lasting(item(1, 150_000)));
    let answer = until("there is no room", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(answer.text().contains("what was ranked doesn't fit"), "{answer:?}");
        Ok(answer)
    })
    .unwrap();
    assert_eq!((answer.status, retry_after(&answer)), (503, 30));
}
