//! Reads that want at least a position, and fills that say at which they were read.

use std::thread;

use freshet_e2e::process::http::Response;

use crate::{
    log::{Log, STEADY},
    shop::{SOON, outcome},
    stampede::until_waiting,
};

const CACHES: &str = "
  - {name: products, table: inventory.product}";

fn get(log: &Log, headers: &[(&str, &str)]) -> Response {
    log.shop.sidecar.request("GET", "/v1/products/7", headers, b"").unwrap()
}

/// What an answer says besides its value.
pub(crate) fn detail(answer: &Response) -> String {
    let status = answer.header("cache-status").unwrap();
    status.rsplit_once("detail=").map_or_else(String::new, |(_, detail)| detail.to_owned())
}

#[test]
fn an_answer_reflects_at_least_the_position_that_is_asked_for() {
    let mut log = Log::open(CACHES, "  freshness: {readLag: 1h, maxStaleness: 1m}");
    log.shop.fill("/v1/products/7", "old");
    let (entries, position) = log.transaction("product", &[7]);
    let min = [("freshet-min-position", position.as_str())];
    let behind = get(&log, &min);
    assert_eq!((behind.status, detail(&behind).as_str()), (404, "behind"), "{behind:?}");
    assert!(behind.header("freshet-lease").is_some(), "the reader goes to the database itself");
    assert_eq!(log.shop.get("/v1/products/7"), "hit old", "whoever doesn't ask isn't concerned");
    log.send(&entries);
    log.read_up();
    let reached = get(&log, &min);
    assert_eq!(outcome(&reached), "miss");
    assert_eq!(detail(&reached), "", "the change has been applied: what was there is void");
    log.shop.fill("/v1/products/7", "new");
    let xid = format!("cdc=\"xid:{}\"", log.xid());
    // With its epoch, as pg_current_xact_id() gives it.
    let full = format!("cdc=\"xid:{}\"", (3u64 << 32) + u64::from(log.xid()));
    for min in [position.as_str(), &xid, &full] {
        let answer = get(&log, &[("freshet-min-position", min)]);
        // It was read within `readLag` of its change, and nothing proves that it has seen it.
        assert_eq!((outcome(&answer).as_str(), detail(&answer).as_str()), ("miss", "hold-off"), "{min}");
    }
    for (min, why) in [
        ("xid:100000", "position-unknown"),
        ("snap:7:7:", "position-unknown"),
        ("gtid:0-1-1", "position-unknown"),
        ("lsn:FFFF/0", "behind"),
    ] {
        assert_eq!(detail(&get(&log, &[("freshet-min-position", &format!("cdc=\"{min}\""))])), why, "{min}");
    }
}

#[test]
fn a_reader_waits_for_its_position_no_longer_than_it_prefers() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/8", "other");
    log.shop.fill("/v1/products/7", "old");
    let (entries, position) = log.transaction("product", &[8]);
    let min = [("freshet-min-position", position.as_str()), ("prefer", "respond-async, wait=0.2")];
    assert_eq!(detail(&get(&log, &min)), "behind");
    let waiting = thread::spawn({
        let target = log.shop.sidecar.tcp();
        let position = position.clone();
        move || {
            let headers = [("freshet-min-position", position.as_str()), ("prefer", "wait=15")];
            freshet_e2e::process::http::Connection::open(&target)
                .unwrap()
                .request("GET", "/v1/products/7", &headers, b"")
                .unwrap()
        }
    });
    // The reader waits: nothing else listens for the log.
    log.send(&entries);
    let answer = waiting.join().unwrap();
    assert_eq!(outcome(&answer), "hit old", "its own row wasn't changed");
    assert_eq!(answer.header("freshet-position"), Some(position.as_str()), "and it says how far it reflects");
}

/// Fills the row, and says how that went and what its hits are told with.
fn fill(log: &Log, position: Option<&str>) -> (u16, String) {
    let lease = log.shop.lease("/v1/products/7");
    let mut headers = vec![("freshet-lease", lease.as_str())];
    headers.extend(position.map(|position| ("freshet-position", position)));
    let status = log.shop.sidecar.request("PUT", "/v1/products/7", &headers, b"x").unwrap().status;
    (status, detail(&log.shop.sidecar.get("/v1/products/7").unwrap()))
}

#[test]
fn a_position_that_has_seen_the_commit_ends_the_hold_off() {
    let mut log = Log::open(CACHES, "  freshness: {readLag: 1h, maxStaleness: 1m}");
    let before = log.write("product", 1);
    let commit = log.write("product", 7);
    log.read_up();
    assert_eq!(fill(&log, None), (204, "hold-off".to_owned()));
    assert_eq!(fill(&log, Some(&before)), (204, "hold-off".to_owned()), "the read is from before the commit");
    assert_eq!(fill(&log, Some(&commit)), (204, String::new()));
    assert_eq!(fill(&log, Some(&before)).0, 409, "and what is known to be older doesn't come after it");
    let seen = format!("cdc=\"snap:{0}:{0}:\"", log.xid() + 1);
    assert_eq!(
        fill(&log, Some(&seen)),
        (204, "hold-off".to_owned()),
        "what came before the start nobody knows"
    );
}

#[test]
fn a_snapshot_that_has_seen_the_commit_ends_the_hold_off() {
    let mut log = Log::open(CACHES, "  freshness: {readLag: 10s, maxStaleness: 1m}");
    log.shop
        .sidecar
        .until("the hold-off of the start is over", SOON, |sidecar| {
            let status = sidecar.status()?;
            anyhow::ensure!(status["caches"]["products"]["heldOff"] == false, "{status}");
            Ok(())
        })
        .unwrap();
    log.write("product", 7);
    log.read_up();
    let seen = format!("cdc=\"snap:{0}:{0}:\"", log.xid() + 1);
    let unseen = format!("cdc=\"snap:{0}:{1}:{0}\"", log.xid(), log.xid() + 1);
    assert_eq!(fill(&log, Some(&unseen)), (204, "hold-off".to_owned()));
    assert_eq!(fill(&log, Some(&seen)), (204, String::new()));
}

#[test]
fn whoever_has_waited_for_its_position_is_told_to_load_what_is_not_there() {
    let mut log = Log::open(CACHES, STEADY);
    let (entries, position) = log.transaction("product", &[8]);
    let waiting = thread::spawn({
        let target = log.shop.sidecar.tcp();
        move || {
            let headers = [("freshet-min-position", position.as_str()), ("prefer", "wait=60")];
            freshet_e2e::process::http::Connection::open(&target)
                .unwrap()
                .request("GET", "/v1/products/9", &headers, b"")
                .unwrap()
        }
    });
    until_waiting(&mut log.shop, 1);
    log.send(&entries);
    let answer = waiting.join().unwrap();
    assert_eq!((outcome(&answer).as_str(), answer.header("freshet-fill")), ("miss", Some("you")));
}
