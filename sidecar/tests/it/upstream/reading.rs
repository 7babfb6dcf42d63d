//! What is read, stored and served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use freshet_e2e::process::{Gate, Reply, Request, http::Connection, until};

use super::{Front, how, manifest, problem, ttl};
use crate::shop::SOON;

/// Answers with how often it was asked.
fn counting() -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let asked = AtomicU64::new(0);
    move |_| Reply::json((asked.fetch_add(1, Ordering::SeqCst) + 1).to_string())
}

#[test]
fn an_answer_is_read_through_once_and_served_from_then_on() {
    let front = Front::open("", |request| Reply::json(request.target.clone()).header("Set-Cookie", "hush"));
    let first =
        front.get_with("a/b?c=d%2Fe", &[("Cookie", "hush"), ("Authorization", "hush"), ("X-App", "hush")]);
    assert_eq!((first.status, first.text().as_str()), (200, "/a/b?c=d%2Fe"));
    assert_eq!(how(&first), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(
        ((3590..=3600).contains(&ttl(&first)), first.header("set-cookie")),
        (true, None),
        "the default ttl is an hour"
    );
    let asked = front.rest.last();
    for name in ["cookie", "authorization", "x-app", "accept", "if-none-match"] {
        assert_eq!(asked.header(name), None, "{asked:?}");
    }
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    assert!(asked.header("user-agent").unwrap().starts_with("freshet-sidecar/"));
    let second = front.get("a/b?c=d%2Fe");
    assert_eq!((how(&second).as_str(), second.text()), ("hit", first.text()));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_eq!(second.header("cache-control"), Some("no-cache"));
    assert_eq!(second.header("etag"), first.header("etag"));
    let tag = first.header("etag").unwrap();
    let known = front.get_with("a/b?c=d%2Fe", &[("If-None-Match", tag)]);
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag)));
    let head = front.sidecar.request("HEAD", "/v1/api/a/b?c=d%2Fe", &[], b"").unwrap();
    assert_eq!((head.status, head.body.len(), how(&head).as_str()), (200, 0, "hit"));
    assert_eq!(front.rest.count(), 1);
    assert_eq!(
        how(&front.get("a/b?c=d/e")),
        "fwd=uri-miss; fwd-status=200; stored",
        "another query is another key"
    );
    assert_eq!(front.rest.connections(), 1, "connections are kept open");
}

#[test]
fn a_head_reads_through_as_well_and_other_methods_are_refused() {
    let front = Front::open("", counting());
    let head = front.sidecar.request("HEAD", "/v1/api/a", &[], b"").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!((front.rest.last().method.as_str(), front.get("a").text().as_str()), ("GET", "1"));
    for method in ["PUT", "POST", "PATCH"] {
        let answer = front.sidecar.request(method, "/v1/api/a", &[], b"x").unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, DELETE")), "{method}");
    }
}

#[test]
fn what_is_gone_is_stored_and_passed_on() {
    let front = Front::open("", |request| {
        let status = if request.target == "/gone" { 410 } else { 404 };
        Reply::new(status, "no such thing")
            .header("Content-Type", "text/plain")
            .header("Cache-Control", "max-age=60")
    });
    for (path, status) in [("none", 404), ("gone", 410)] {
        assert_eq!(how(&front.get(path)), format!("fwd=uri-miss; fwd-status={status}; stored"));
        let answer = front.get(path);
        assert_eq!((answer.status, how(&answer).as_str()), (status, "hit"));
        assert_eq!(
            (answer.text().as_str(), answer.header("content-type")),
            ("no such thing", Some("text/plain"))
        );
        assert_eq!(answer.header("etag"), None);
        assert!((50..=60).contains(&ttl(&answer)), "{answer:?}");
    }
    assert_eq!(front.rest.count(), 2);
}

#[test]
fn what_is_not_to_be_stored_is_passed_on() {
    let front = Front::open("", |request| match request.target.as_str() {
        "/private" => Reply::json("1").header("Cache-Control", "private, max-age=60"),
        "/no-store" => Reply::json("1").header("Cache-Control", "no-store"),
        "/vary" => Reply::json("1").header("Vary", "*"),
        "/forbidden" => Reply::new(403, "not you"),
        "/teapot" => Reply::new(418, "short"),
        "/failing" => Reply::new(500, "oh no"),
        "/ended" => Reply::json("1").header("Cache-Control", "max-age=0"),
        _ => Reply::new(204, "").header("Content-Length", "0"),
    });
    for (path, status) in [
        ("private", 200),
        ("no-store", 200),
        ("vary", 200),
        ("forbidden", 403),
        ("teapot", 418),
        ("failing", 500),
        ("empty", 204),
        ("ended", 200),
    ] {
        let before = front.rest.count();
        for _ in 0..2 {
            let answer = front.get(path);
            assert_eq!(how(&answer), format!("fwd=uri-miss; fwd-status={status}"), "{path}");
            assert_eq!((answer.status, answer.header("cache-control")), (status, Some("no-store")), "{path}");
        }
        assert_eq!(front.rest.count(), before + 2, "{path}");
    }
    assert_eq!(front.sidecar.status().unwrap()["caches"]["api"]["entries"], 0);
}

#[test]
fn many_readers_share_one_request_and_none_of_them_can_end_it() {
    let gate = Gate::default();
    let front = Front::open("", {
        let (gate, count) = (gate.clone(), counting());
        move |request| count(request).behind(&gate)
    });
    // It has asked and goes away.
    let mut gone = Connection::open(&front.sidecar.tcp()).unwrap();
    gone.send(b"GET /v1/api/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    front.rest.until_count(1).unwrap();
    drop(gone);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| front.get("a"))).collect();
        until("all of them wait", SOON, || {
            let status = front.sidecar.status()?;
            anyhow::ensure!(status["caches"]["api"]["misses"] == 101, "{status}");
            Ok(())
        })
        .unwrap();
        gate.open();
        for reader in readers {
            let answer = reader.join().unwrap();
            assert_eq!((answer.text().as_str(), answer.status), ("1", 200));
            assert_eq!(how(&answer), "fwd=uri-miss; fwd-status=200; stored; collapsed");
        }
    });
    assert_eq!((front.rest.count(), how(&front.get("a")).as_str()), (1, "hit"));
}

#[test]
fn an_answer_that_ended_is_revalidated_and_a_304_renews_it() {
    let version = Arc::new(AtomicU64::new(1));
    let front = Front::with("", "ttl: 1h, ", {
        let version = Arc::clone(&version);
        move |request| {
            let tag = format!("W/\"{}\"", version.load(Ordering::SeqCst));
            let known = request.header("if-none-match") == Some(&tag);
            let reply = if known { Reply::new(304, "") } else { Reply::json(tag.clone()) };
            let life = if known { "max-age=60" } else { "max-age=0" };
            reply
                .header("ETag", &tag)
                .header("Cache-Control", life)
                .header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
        }
    });
    let first = front.get("a");
    assert_eq!(how(&first), "fwd=uri-miss; fwd-status=200; stored");
    assert_eq!(ttl(&first), -1, "it is stored to be revalidated");
    let second = front.get("a");
    assert_eq!((how(&second).as_str(), second.text()), ("fwd=stale; fwd-status=304; stored", first.text()));
    assert_eq!(front.rest.last().header("if-modified-since"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert_eq!(second.header("content-type"), Some("application/json"));
    let third = front.get("a");
    assert!(how(&third) == "hit" && (50..=60).contains(&ttl(&third)), "{third:?}");
    // A reader who takes nothing older than nothing has it revalidated, too, and gets what is new.
    version.store(2, Ordering::SeqCst);
    assert_eq!(how(&front.get("a")), "hit");
    let reloaded = front.get_with("a", &[("Cache-Control", "no-cache")]);
    assert_eq!(how(&reloaded), "fwd=request; fwd-status=200; stored");
    assert_eq!(
        (reloaded.text().as_str(), front.rest.last().header("if-none-match")),
        ("W/\"2\"", Some("W/\"1\""))
    );
}

#[test]
fn a_304_about_another_answer_is_asked_again_without_a_condition() {
    let front = Front::open("", |request| match request.header("if-none-match") {
        Some(_) => Reply::new(304, "").header("ETag", "\"other\""),
        None => Reply::json("1").header("ETag", "\"a\"").header("Cache-Control", "no-cache"),
    });
    front.get("a");
    let again = front.get("a");
    assert_eq!((how(&again).as_str(), again.text().as_str()), ("fwd=stale; fwd-status=200; stored", "1"));
    assert_eq!(front.rest.count(), 3);
    front.rest.answer(|_| Reply::new(304, ""));
    assert_eq!(problem(&front.get("b")), "upstream-failed");
}

#[test]
fn answers_have_the_share_of_memory_that_their_cache_has() {
    let front = Front::with(", maxBytes: 256Ki", "share: 2%, ", |_| Reply::json("x".repeat(200 << 10)));
    for path in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        assert_eq!(front.get(path).status, 200, "{path}");
    }
    until("what doesn't fit is dropped", SOON, || {
        let cache = &front.sidecar.status()?["caches"]["api"];
        assert_eq!(cache["limitBytes"], 1_342_177);
        anyhow::ensure!(cache["bytes"].as_u64() < Some(1_342_177), "{cache}");
        anyhow::ensure!(cache["entries"].as_u64() > Some(1), "{cache}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_takes_only_what_is_cached_is_told_when_nothing_is() {
    let front = Front::open("", counting());
    let only = [("Cache-Control", "only-if-cached")];
    let answer = front.get_with("a", &only);
    assert_eq!(
        (answer.status, problem(&answer).as_str(), how(&answer).as_str()),
        (504, "not-cached", "fwd=uri-miss")
    );
    assert_eq!(front.rest.count(), 0);
    front.get("a");
    assert_eq!(how(&front.get_with("a", &only)), "hit");
}

#[test]
fn a_delete_drops_the_answer_and_what_is_being_fetched_is_not_stored() {
    let (gate, version) = (Gate::default(), Arc::new(AtomicU64::new(1)));
    let front = Front::open("", {
        let (gate, version) = (gate.clone(), Arc::clone(&version));
        move |_| {
            // What is read before the gate is what is answered behind it.
            let version = version.load(Ordering::SeqCst);
            let reply = Reply::json(version.to_string());
            if version == 1 { reply.behind(&gate) } else { reply }
        }
    });
    thread::scope(|scope| {
        let early = scope.spawn(|| front.get("a"));
        front.rest.until_count(1).unwrap();
        version.store(2, Ordering::SeqCst);
        front.delete("a");
        // Whoever asks from now on isn't told what was read before.
        let late = front.get("a");
        assert_eq!(
            (late.text().as_str(), how(&late).as_str()),
            ("2", "fwd=uri-miss; fwd-status=200; stored")
        );
        gate.open();
        let early = early.join().unwrap();
        assert_eq!((early.text().as_str(), how(&early).as_str()), ("1", "fwd=uri-miss; fwd-status=200"));
    });
    assert_eq!((front.get("a").text().as_str(), front.rest.count()), ("2", 2));
    front.delete("a");
    assert_eq!(how(&front.get("a")), "fwd=uri-miss; fwd-status=200; stored");
}

#[test]
fn no_reader_gets_what_was_there_before_a_delete_that_came_before() {
    let version = Arc::new(AtomicU64::new(0));
    let front = Front::open(", staleWhileRevalidate: 1h, staleIfError: 1h", {
        let (version, asked) = (Arc::clone(&version), AtomicU64::new(0));
        move |_| {
            let text = version.load(Ordering::SeqCst).to_string();
            // Some are stored, some end at once, some fail.
            match asked.fetch_add(1, Ordering::SeqCst) % 5 {
                0 => Reply::json(text).header("Cache-Control", "max-age=0"),
                1 => Reply::new(500, text),
                2 => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"),
                _ => Reply::json(text),
            }
        }
    });
    // Every version up to this one is void.
    let void = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut connection = Connection::open(&front.sidecar.tcp()).unwrap();
                while done.load(Ordering::SeqCst) == 0 {
                    let least = void.load(Ordering::SeqCst);
                    let answer = connection.request("GET", "/v1/api/a", &[], b"").unwrap();
                    if answer.header("content-type") != Some("application/problem+json") {
                        let seen: u64 = answer.text().parse().unwrap();
                        assert!(seen >= least, "{seen} was void: {least} is the least. {answer:?}");
                    }
                }
            });
        }
        for _ in 0..300 {
            let next = version.fetch_add(1, Ordering::SeqCst) + 1;
            front.delete("a");
            void.store(next, Ordering::SeqCst);
            front.get("a");
        }
        done.store(1, Ordering::SeqCst);
    });
    assert!(front.rest.count() > 300);
}

#[test]
fn who_wants_the_newest_does_not_get_what_was_asked_before() {
    let (gate, version) = (Gate::default(), Arc::new(AtomicU64::new(1)));
    let front = Front::open("", {
        let (gate, version) = (gate.clone(), Arc::clone(&version));
        move |_| {
            let version = version.load(Ordering::SeqCst);
            let reply = Reply::json(version.to_string());
            if version == 1 { reply.behind(&gate) } else { reply }
        }
    });
    thread::scope(|scope| {
        let early = scope.spawn(|| front.get("a"));
        front.rest.until_count(1).unwrap();
        version.store(2, Ordering::SeqCst);
        let newest = front.get_with("a", &[("Cache-Control", "no-cache")]);
        assert_eq!(
            (newest.text().as_str(), how(&newest).as_str()),
            ("2", "fwd=uri-miss; fwd-status=200; stored")
        );
        gate.open();
        assert_eq!(
            how(&early.join().unwrap()),
            "fwd=uri-miss; fwd-status=200",
            "it is older than what is stored"
        );
    });
    assert_eq!(front.get("a").text(), "2");
}

#[test]
fn answers_that_depend_on_accept_are_for_those_who_ask_the_same() {
    let front = Front::open("", |request| {
        let accept = request.header("accept").unwrap_or("none").to_owned();
        let reply = Reply::new(200, accept.clone()).header("Content-Type", "text/plain");
        if request.target == "/any" { reply } else { reply.header("Vary", "Origin, Accept") }
    });
    let (json, html) = ([("Accept", "application/json")], [("Accept", "text/html")]);
    assert_eq!(front.get_with("a", &json).text(), "application/json");
    assert_eq!(how(&front.get_with("a", &json)), "hit");
    let other = front.get_with("a", &html);
    assert_eq!(
        (how(&other).as_str(), other.text().as_str()),
        ("fwd=vary-miss; fwd-status=200; stored", "text/html")
    );
    assert_eq!(front.get("a").text(), "none");
    assert_eq!(how(&front.get_with("a", &[("Accept", "*/*")])), "hit", "that is what no Accept means");
    assert_eq!(front.get_with("any", &json).text(), "application/json");
    assert_eq!(how(&front.get_with("any", &html)), "hit", "the upstream doesn't say that it depends on it");
}

#[test]
fn only_what_is_allowed_is_asked_and_nothing_that_could_mean_another_path() {
    let front = Front::open(", allow: ['users/*', 'search/**']", |_| Reply::json("1"));
    for path in ["users/a", "users/a?x=/../b", "search/a/b"] {
        assert_eq!(front.get(path).status, 200, "{path}");
    }
    let asked = front.rest.count();
    for path in ["users", "users/a/b", "admin", "%75sers/a"] {
        let answer = front.get(path);
        assert_eq!((answer.status, problem(&answer).as_str()), (403, "not-allowed"), "{path}");
        assert!(answer.text().contains("users/*, search/**"), "{answer:?}");
    }
    for path in [
        "",
        "users//a",
        "users/",
        "users/..",
        "users/%2e%2E",
        "users/..;a",
        "users%2Fa",
        "users/a%5cb",
        "users/%zz",
    ] {
        let answer = front.get(path);
        assert_eq!((answer.status, problem(&answer).as_str()), (400, "key-syntax"), "{path}");
    }
    let long = front.get(&"a".repeat(1025));
    assert_eq!((long.status, problem(&long).as_str()), (400, "key-too-long"));
    assert_eq!(problem(&front.get("_batch")), "reserved");
    assert_eq!(problem(&front.sidecar.get("/v1/other/a").unwrap()), "unknown-cache");
    assert_eq!(front.rest.count(), asked);
}

#[test]
fn a_changed_definition_starts_empty_and_the_same_keeps_its_values() {
    let mut front = Front::open("", counting());
    assert_eq!(front.get("a").text(), "1");
    let other = "  - {name: other, upstream: {url: 'http://127.0.0.1:1'}}";
    front.sidecar.rebind(&format!("{}\n{other}", manifest(&front.rest.url(), "", ""))).unwrap();
    until_cache(&mut front, "other");
    assert_eq!(how(&front.get("a")), "hit");
    let text =
        format!("{}\n{}", manifest(&front.rest.url(), ", timeout: 9s", ""), other.replace("other", "third"));
    front.sidecar.rebind(&text).unwrap();
    until_cache(&mut front, "third");
    assert_eq!(front.get("a").text(), "2");
}

fn until_cache(front: &mut Front, name: &str) {
    front
        .sidecar
        .until(&format!("the binding has {name}"), SOON, |sidecar| {
            let status = sidecar.status()?;
            anyhow::ensure!(status["caches"].get(name).is_some(), "{status}");
            Ok(())
        })
        .unwrap();
}
