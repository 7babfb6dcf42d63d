//! Views that are ranked while what they are ranked from is fetched and deleted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use freshet_e2e::process::http::Connection;

use super::{Done, Gallery, lasting, missing};

/// What a view that is whole shows of both keys: the numbers that the service had counted to.
fn shown(text: &str) -> Vec<(String, u64)> {
    let items: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    items.iter().map(|item| (item["key"].as_str().unwrap().to_owned(), item["n"].as_u64().unwrap())).collect()
}

/// The service answers a number that is counted up. Whoever has deleted a key, or has had it fetched, sees no number from
/// before that in a view; and no number that a reader has seen goes back.
#[test]
fn no_view_shows_what_was_void_or_goes_back() {
    let count = Arc::new(AtomicU64::new(1));
    let counted = Arc::clone(&count);
    // With fillings, so that ranking takes a while.
    let filling: Vec<_> = (0..500).map(|n| format!("{{\"key\":\"filling\",\"n\":0,\"m\":{n}}}")).collect();
    let filling = format!(",{}", filling.join(","));
    let view = [
        ("top", "a, b", ", orderBy: /n, limit: 2"),
        ("low", "a, b", ", orderBy: /m, filter: [{pointer: /n, atLeast: 1}]"),
    ];
    let gallery = Gallery::with("", &view, "  memory: 256Mi", move |request| {
        let n = counted.load(Ordering::SeqCst);
        lasting(format!("[{{\"key\":\"{}\",\"n\":{n}}}{filling}]", &request.target[1..]))
    });
    gallery.until_whole("top");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for name in ["top", "low"] {
            let (gallery, done) = (&gallery, &done);
            scope.spawn(move || {
                let _done = Done(done);
                let mut connection = Connection::open(&gallery.sidecar.tcp()).unwrap();
                let mut last = [("a", 0), ("b", 0)];
                while !done.load(Ordering::SeqCst) {
                    let answer = connection.request("GET", &format!("/v1/views/{name}"), &[], b"").unwrap();
                    if answer.status != 200 {
                        assert!(!missing(&answer).is_empty(), "{answer:?}");
                        continue;
                    }
                    let items = shown(&answer.text());
                    assert_eq!(items.len(), 2, "{items:?}");
                    for (key, n) in items {
                        let before = last.iter_mut().find(|(name, _)| *name == key).unwrap();
                        assert!(n >= before.1, "{key} was {} and is {n}", before.1);
                        before.1 = n;
                    }
                }
            });
        }
        let _done = Done(&done);
        let mut connection = Connection::open(&gallery.sidecar.tcp()).unwrap();
        let (mut whole, mut broken) = (0, 0);
        for round in 0..200 {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            let key = ["a", "b"][round % 2];
            let path = format!("/v1/api/{key}");
            if round % 3 == 0 {
                assert_eq!(connection.request("DELETE", &path, &[], b"").unwrap().status, 204);
            } else {
                let fetched =
                    connection.request("GET", &path, &[("cache-control", "no-cache")], b"").unwrap();
                assert_eq!(fetched.status, 200, "{fetched:?}");
            }
            let answer = connection.request("GET", "/v1/views/top", &[], b"").unwrap();
            if answer.status == 200 {
                whole += 1;
                let items = shown(&answer.text());
                let found = items.iter().find(|(name, _)| name == key).unwrap().1;
                assert!(found >= n, "{key} is {found} after {n} (round {round})");
            } else {
                broken += 1;
            }
        }
        assert!(whole > 20 && broken > 20, "{whole} whole and {broken} not");
    });
}
