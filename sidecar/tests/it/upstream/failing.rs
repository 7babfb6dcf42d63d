//! What the application sees of an upstream that is slow, fails, lies about its length, sends garbage or leads elsewhere.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use freshet_e2e::process::{Gate, Reply, RestServer, Sidecar};

use super::{Front, how, manifest, problem, ttl};
use crate::shop::{SOON, executable};

/// Status, problem and sentence of an answer that is none.
fn told(front: &Front, path: &str) -> (u16, String, String) {
    let answer = front.get(path);
    assert_ne!(answer.status, 200, "{path}: {answer:?}");
    let kind = problem(&answer);
    assert_eq!(how(&answer), format!("fwd=uri-miss; detail={kind}"), "{answer:?}");
    let detail = answer.json().unwrap()["detail"].as_str().unwrap().to_owned();
    (answer.status, kind, detail)
}

fn assert_told(front: &Front, path: &str, status: u16, kind: &str, says: &str) {
    let (found, found_kind, detail) = told(front, path);
    assert_eq!((found, found_kind.as_str()), (status, kind), "{path}: {detail}");
    assert!(detail.contains(says), "{path}: {detail}");
    let fetches = &front.sidecar.status().unwrap()["caches"]["api"]["upstream"]["fetches"];
    assert!(fetches[kind].as_u64() > Some(0), "{fetches}");
}

#[test]
fn an_upstream_that_refuses_connections_is_a_bad_gateway() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sidecar =
        Sidecar::builder(executable(), &manifest(&format!("http://{closed}"), "", "")).start().unwrap();
    let front = Front { rest: RestServer::start(|_| Reply::json("1")).unwrap(), sidecar };
    assert_told(&front, "a", 502, "upstream-failed", "Connection refused");
    let status = front.sidecar.status().unwrap();
    let failing = &status["caches"]["api"]["upstream"]["failing"];
    assert!(failing["why"].as_str().unwrap().contains("Connection refused"), "{status}");
    let named = manifest("http://nowhere.invalid", "", "");
    let front = Front { sidecar: Sidecar::builder(executable(), &named).start().unwrap(), ..front };
    assert_told(&front, "a", 502, "upstream-failed", "http://nowhere.invalid:80: ");
}

#[test]
fn an_upstream_that_says_nothing_or_stops_in_between_is_too_late() {
    let front = Front::open(", timeout: 2s", |request| match request.target.as_str() {
        "/silent" => Reply::raw("").then_silent(),
        "/head" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Le").then_silent(),
        _ => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").then_silent(),
    });
    for (path, says) in [
        ("silent", "the upstream doesn't answer within 2s"),
        ("head", "the upstream doesn't answer within 2s"),
        ("body", "the upstream's answer doesn't end within 2s"),
    ] {
        assert_told(&front, path, 504, "upstream-timeout", says);
    }
}

#[test]
fn what_is_no_whole_answer_is_neither_passed_on_nor_stored() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let front = Front::open("", |request| match request.target.as_str() {
        "/closed" => Reply::raw(""),
        "/garbage" => Reply::raw("-ERR unknown command\r\n"),
        "/status" => Reply::raw("HTTP/1.1 abc OK\r\n\r\n"),
        "/header" => Reply::raw("HTTP/1.1 200 OK\r\nA\0B: c\r\n\r\n"),
        "/endless" => Reply::raw(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(300_000))),
        "/truncated" => Reply::json("12345").header("Content-Length", "10").closing(),
        "/lengths" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1"),
        "/negative" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n1"),
        "/cut" => Reply::raw(format!("{CHUNKED}5\r\n12345\r\n")),
        "/chunk" => Reply::raw(format!("{CHUNKED}5\r\n12345\r\nnot a size\r\n0\r\n\r\n")),
        "/longer" => Reply::raw(format!("{CHUNKED}5\r\n12345678\r\n0\r\n\r\n")),
        "/encoded" => Reply::json("x").header("Content-Encoding", "gzip"),
        _ => Reply::json("1"),
    });
    for path in [
        "closed",
        "garbage",
        "status",
        "header",
        "endless",
        "truncated",
        "lengths",
        "negative",
        "cut",
        "chunk",
        "longer",
        "encoded",
    ] {
        for _ in 0..2 {
            assert_told(&front, path, 502, "upstream-failed", "");
        }
    }
    let status = front.sidecar.status().unwrap();
    assert_eq!(status["caches"]["api"]["entries"], 0, "{status}");
    assert_eq!(front.get("good").text(), "1");
}

#[test]
fn what_follows_a_body_that_is_longer_than_it_says_is_no_other_answer() {
    let front = Front::open("", |request| {
        match request.target.as_str() {
        "/a" => Reply::raw(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhush",
        )
        .then_silent(),
        _ => Reply::json("good"),
    }
    });
    assert_eq!(front.get("a").text(), "12345");
    for path in ["b", "c"] {
        assert_eq!(front.get(path).text(), "good", "{path}");
    }
}

#[test]
fn a_connection_that_is_closed_while_it_is_kept_open_costs_one_more_request() {
    let front = Front::open("", |_| Reply::json("1").closing());
    for path in 0..50 {
        let answer = front.get(&path.to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[test]
fn what_ends_with_its_connection_is_whole() {
    let front =
        Front::open("", |_| Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it"));
    assert_eq!(front.get("a").text(), "all of it");
    assert_eq!(how(&front.get("a")), "hit");
}

#[test]
fn redirects_are_followed_to_the_same_place_only() {
    let other = RestServer::start(|_| Reply::json("hush")).unwrap();
    let elsewhere = other.url();
    let front = Front::open("", move |request| {
        let to = |place: &str| Reply::new(302, "").header("Location", place);
        match request.target.as_str() {
            "/a" => Reply::new(301, "moved").header("Location", "/b/c?d"),
            "/b/c?d" => to("../e"),
            "/e" => to("?f"),
            "/e?f" => Reply::json("here"),
            "/host" => to(&format!("{elsewhere}/a")),
            "/scheme" => to("https://127.0.0.1/"),
            "/credentials" => to(&format!("http://a:b@{}/", request.header("host").unwrap())),
            "/file" => to("file:///etc/passwd"),
            "/loop" => to("/loop"),
            "/nowhere" => Reply::new(302, "no place"),
            "/secret" => Reply::new(307, "").header("Location", "/e?f").header("Cache-Control", "no-store"),
            _ => Reply::new(404, ""),
        }
    });
    let answer = front.get("a");
    assert_eq!(
        (answer.text().as_str(), how(&answer).as_str()),
        ("here", "fwd=uri-miss; fwd-status=200; stored")
    );
    assert_eq!(front.rest.count(), 4);
    for path in ["host", "scheme", "credentials", "file"] {
        assert_told(&front, path, 502, "upstream-redirect", "it leads elsewhere");
    }
    let asked = front.rest.count();
    assert_told(&front, "loop", 502, "upstream-redirect", "more than 5 redirects");
    assert_eq!(front.rest.count(), asked + 6);
    assert_eq!(front.get("nowhere").status, 302);
    assert_eq!(how(&front.get("secret")), "fwd=uri-miss; fwd-status=200", "the way there isn't to be stored");
    assert_eq!(other.count(), 0);
}

#[test]
fn large_answers_are_refused_whatever_their_head_says() {
    let front = Front::open(", maxBytes: 10k", |request| {
        let body = "x".repeat(10_001);
        match request.target.as_str() {
            "/announced" => Reply::json(body),
            "/chunked" => Reply::raw(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            )),
            "/closing" => Reply::raw(format!("HTTP/1.1 200 OK\r\n\r\n{body}")),
            "/lying" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx").then_silent(),
            _ => Reply::json("x".repeat(10_000)),
        }
    });
    for path in ["announced", "chunked", "closing", "lying"] {
        assert_told(&front, path, 502, "upstream-too-large", "more than 10000 bytes");
    }
    assert_eq!(front.get("fits").body.len(), 10_000);
}

#[test]
fn by_default_an_answer_is_as_large_as_a_value_may_be() {
    let rest = RestServer::start(|request| Reply::json("x".repeat(request.target.len() - 1))).unwrap();
    let text = format!("{}\n  sidecar: {{maxValue: '7'}}", manifest(&rest.url(), "", ""));
    let front = Front { sidecar: Sidecar::builder(executable(), &text).start().unwrap(), rest };
    assert_eq!(front.get("1234567").status, 200);
    assert_eq!(problem(&front.get("12345678")), "upstream-too-large");
}

#[test]
fn an_old_answer_is_served_while_the_upstream_fails_and_only_the_first_waits_for_it() {
    let front = Front::open(", staleIfError: 1h, timeout: 2s", |_| {
        Reply::json("old").header("Cache-Control", "max-age=0").header("ETag", "\"a\"")
    });
    front.get("a");
    let slug = |status| if status == 500 { "upstream-status" } else { "upstream-failed" };
    for status in [500, 0] {
        front.rest.answer(move |_| if status == 0 { Reply::raw("") } else { Reply::new(status, "no") });
        let answer = front.get("a");
        assert_eq!((answer.status, answer.text().as_str()), (200, "old"));
        assert_eq!(how(&answer), format!("hit; detail={}", slug(status)));
        assert!(ttl(&answer) < 0, "{answer:?}");
        // Once it answers again, what it answers is served.
        front
            .rest
            .answer(|_| Reply::json("old").header("Cache-Control", "max-age=0").header("ETag", "\"a\""));
        until_how(&front, "a", "fwd=stale; fwd-status=200; stored");
    }
    // It doesn't answer: who asks first waits in vain, and all others aren't kept waiting.
    let gate = Gate::default();
    let behind = gate.clone();
    front.rest.answer(move |_| Reply::json("late").behind(&behind));
    assert_eq!(how(&front.get("a")), "hit; detail=upstream-timeout");
    let (began, asked) = (std::time::Instant::now(), front.rest.count());
    for _ in 0..20 {
        assert_eq!(how(&front.get("a")), "hit; detail=upstream-timeout");
    }
    // It is asked once more each second, by one of them.
    let (again, seconds) = (front.rest.count() - asked, began.elapsed().as_secs());
    assert!(again as u64 <= 1 + seconds, "{again} in {seconds} s");
    gate.open();
    // Who doesn't take what is old is told what is wrong.
    front.rest.answer(|_| Reply::raw(""));
    for directive in ["no-cache", "max-age=0"] {
        let answer = front.get_with("a", &[("Cache-Control", directive)]);
        if directive == "no-cache" {
            assert_eq!((answer.status, problem(&answer).as_str()), (502, "upstream-failed"), "{directive}");
        }
    }
    assert_eq!(front.get("b").status, 502, "nothing is stored of it");
}

/// Waits until a read is answered so.
fn until_how(front: &Front, path: &str, wanted: &str) {
    freshet_e2e::process::until(wanted, SOON, || {
        let found = how(&front.get(path));
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn who_has_waited_for_a_fetch_that_failed_gets_what_is_stored_by_then() {
    for deleted in [false, true] {
        let (gate, first) = (Gate::default(), AtomicBool::new(true));
        let front =
            Front::open(", staleIfError: 1h", |_| Reply::json("old").header("Cache-Control", "max-age=0"));
        front.get("a");
        let behind = gate.clone();
        front.rest.answer(move |_| {
            if first.swap(false, Ordering::SeqCst) {
                Reply::new(502, "").behind(&behind)
            } else {
                Reply::json("new").header("Cache-Control", "max-age=100")
            }
        });
        let early = thread::scope(|scope| {
            let early = scope.spawn(|| front.get("a"));
            front.rest.until_count(2).unwrap();
            if deleted {
                front.delete("a");
            } else {
                let newest = front.get_with("a", &[("Cache-Control", "no-cache")]);
                assert_eq!(newest.text(), "new");
            }
            gate.open();
            early.join().unwrap()
        });
        if deleted {
            assert_eq!(
                how(&early),
                "fwd=stale; fwd-status=502",
                "the application didn't want the old one any more"
            );
        } else {
            assert_eq!((how(&early).as_str(), early.text().as_str()), ("hit", "new"));
        }
    }
}

#[test]
fn an_upstream_that_wants_to_be_asked_each_time_is_never_served_stale() {
    for directive in ["max-age=0, must-revalidate", "no-cache", "max-age=0, stale-if-error=0"] {
        let front = Front::open(", staleIfError: 1h, staleWhileRevalidate: 1h", move |_| {
            Reply::json("old").header("Cache-Control", directive).header("ETag", "\"a\"")
        });
        let keeps_asking = directive.contains("stale-if-error");
        front.get("a");
        front.rest.answer(|_| Reply::new(503, "no"));
        let answer = front.get("a");
        if keeps_asking {
            assert_eq!(how(&answer), "hit; detail=stale-while-revalidate", "{directive}");
        } else {
            assert_eq!(
                (answer.status, how(&answer).as_str()),
                (503, "fwd=stale; fwd-status=503"),
                "{directive}"
            );
        }
    }
}

#[test]
fn an_old_answer_is_served_at_once_while_it_is_fetched_anew() {
    let gate = Gate::default();
    let front =
        Front::open(", staleWhileRevalidate: 1h", |_| Reply::json("1").header("Cache-Control", "max-age=0"));
    front.get("a");
    let behind = gate.clone();
    front.rest.answer(move |_| Reply::json("2").header("Cache-Control", "max-age=100").behind(&behind));
    for _ in 0..5 {
        let answer = front.get("a");
        assert_eq!(
            (how(&answer).as_str(), answer.text().as_str()),
            ("hit; detail=stale-while-revalidate", "1")
        );
    }
    front.rest.until_count(2).unwrap();
    gate.open();
    until_how(&front, "a", "hit");
    assert_eq!((front.get("a").text().as_str(), front.rest.count()), ("2", 2));
}

#[test]
fn the_log_tells_each_failure_once_and_when_it_is_over() {
    let front = Front::open("", |_| Reply::raw("garbage"));
    for _ in 0..3 {
        front.get("a");
    }
    front.rest.answer(|_| Reply::json("1"));
    front.get("a");
    let log = front.sidecar.log();
    assert_eq!(log.matches("the upstream fails").count(), 1, "{log}");
    assert_eq!(log.matches("the upstream answers again").count(), 1, "{log}");
}
