//! How many requests an upstream is sent, and how many readers may wait for it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use freshet_e2e::process::{Gate, Reply, RestServer, Sidecar, http::Connection, until};

use super::{Front, how, manifest, problem, retry_after};
use crate::shop::{SOON, executable};

#[test]
fn a_rate_that_is_used_up_is_told_with_when_to_come_again() {
    let front = Front::open(", rate: {requests: 2, per: 1h}", |_| Reply::json("1"));
    assert_eq!((front.get("a").status, front.get("b").status), (200, 200));
    let answer = front.get("c");
    assert_eq!((answer.status, problem(&answer).as_str()), (503, "upstream-limited"));
    assert_eq!(how(&answer), "fwd=uri-miss; detail=upstream-limited");
    assert!((1790..=1800).contains(&retry_after(&answer)), "{answer:?}");
    assert_eq!(how(&front.get("a")), "hit", "what is stored is served");
    front.delete("a");
    assert_eq!(front.get("a").status, 503, "what is asked anew is a request, too");
    assert_eq!(front.rest.count(), 2);
}

#[test]
fn a_token_comes_when_it_is_said_to() {
    let front = Front::open(", rate: {requests: 10, per: 1s, burst: 1}", |_| Reply::json("1"));
    front.get("a");
    freshet_e2e::process::until("a token has come", crate::shop::SOON, || {
        let status = front.get("b").status;
        anyhow::ensure!(status == 200, "{status}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_is_stored_is_served_stale_while_the_upstream_is_limited() {
    let front = Front::open(", rate: {requests: 1, per: 1h}, staleIfError: 1h", |_| {
        Reply::json("1").header("Cache-Control", "max-age=0")
    });
    front.get("a");
    for _ in 0..2 {
        let answer = front.get("a");
        assert_eq!((answer.text().as_str(), how(&answer).as_str()), ("1", "hit; detail=upstream-limited"));
    }
    assert_eq!(front.rest.count(), 1);
}

#[test]
fn an_upstream_that_wants_fewer_requests_is_left_alone() {
    for path in ["429", "403", "200"] {
        let front = Front::open("", |request| match request.target.as_str() {
            "/429" => Reply::new(429, "slow down").header("Retry-After", "3000"),
            "/403" => {
                Reply::new(403, "").header("X-RateLimit-Remaining", "0").header("X-RateLimit-Reset", "3000")
            }
            "/200" => Reply::json("1").header("RateLimit", "\"default\";r=0;t=3000"),
            _ => Reply::json("1"),
        });
        let answer = front.get(path);
        if path == "200" {
            assert_eq!(how(&answer), "fwd=uri-miss; fwd-status=200; stored");
            assert_eq!(how(&front.get(path)), "hit");
        } else {
            assert_eq!((answer.status, problem(&answer).as_str()), (503, "upstream-limited"), "{path}");
            assert!((2990..=3000).contains(&retry_after(&answer)), "{answer:?}");
        }
        assert_eq!(front.get("other").status, 503, "{path}");
        assert_eq!(front.rest.count(), 1, "{path}");
        let held = front.sidecar.status().unwrap()["caches"]["api"]["upstream"]["heldForMs"].as_u64();
        assert!(held > Some(2_900_000), "{path}: {held:?}");
        let metrics = front.sidecar.metrics().unwrap();
        let seconds = metrics
            .lines()
            .find_map(|line| line.strip_prefix("freshet_upstream_held_seconds{cache=\"api\"} "));
        assert!(seconds.unwrap().parse::<f64>().unwrap() > 2900.0, "{metrics}");
    }
}

#[test]
fn pages_wait_for_their_tokens() {
    let front =
        Front::open(", paginate: {}, rate: {requests: 20, per: 1s, burst: 1}", |request| {
            match request.target.as_str() {
                "/a?4" => Reply::json("[4]"),
                target => {
                    let n = target.split_once('?').map_or(1, |(_, n)| n.parse::<u64>().unwrap());
                    Reply::json(format!("[{n}]")).header("Link", &format!("</a?{}>; rel=next", n + 1))
                }
            }
        });
    assert_eq!(front.get("a").text(), "[1,2,3,4]");
}

#[test]
fn readers_who_wait_for_an_upstream_leave_connections_to_the_others() {
    let gate = Gate::default();
    let behind = gate.clone();
    let rest = RestServer::start(move |_| Reply::json("1").behind(&behind)).unwrap();
    // With few files there are few connections, and less is to be opened here.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("limited");
    fs::write(&script, format!("#!/bin/sh\nulimit -n 300 || exit 9\nexec {} \"$@\"\n", executable()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let sidecar = Sidecar::builder(script, &manifest(&rest.url(), "", "")).start().unwrap();
    let front = Front { rest, sidecar };
    let log = front.sidecar.log();
    let connections = log.split("\"connections\":").nth(1).unwrap_or_else(|| panic!("{log}"));
    let connections: usize =
        connections.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    let mut waiting = Vec::new();
    for n in 0..connections * 3 / 4 {
        let mut reader = Connection::open(&front.sidecar.tcp()).unwrap();
        reader.send(format!("GET /v1/api/{n} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        waiting.push(reader);
    }
    until("all of them wait", SOON, || {
        let misses = &front.sidecar.status()?["caches"]["api"]["misses"];
        anyhow::ensure!(*misses == waiting.len(), "{misses}");
        Ok(())
    })
    .unwrap();
    front.rest.until_count(16).unwrap();
    let answer = front.get("one-more");
    assert_eq!((answer.status, problem(&answer).as_str()), (503, "upstream-limited"));
    assert!(answer.text().contains("too many readers wait"), "{answer:?}");
    assert_eq!(front.rest.count(), 16, "no more are sent at once");
    gate.open();
    for reader in &mut waiting {
        assert_eq!(reader.response("GET").unwrap().status, 200);
    }
    assert_eq!(front.get("one-more").status, 200);
}
