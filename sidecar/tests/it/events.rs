//! `GET /v1/events`: what becomes void is told, after it was done.

use std::{fmt::Write as _, time::Duration};

use anyhow::ensure;
use freshet_e2e::process::{
    Redis, Sidecar,
    http::{Connection, Target},
    until,
};
use serde_json::{Value, json};

use crate::{
    bad_input::problem,
    shop::{CACHES, SOON, STEADY, Shop, executable, manifest, outcome},
};

/// One who listens.
struct Listener {
    connection: Connection,
    /// The last id that was told, with an event or without.
    id: String,
}

/// What is told.
#[derive(Debug, PartialEq)]
struct Event {
    id: String,
    reset: bool,
    data: Value,
}

impl Listener {
    fn open(target: &Target, query: &str, last: Option<&str>) -> Self {
        let mut connection = Connection::open(target).unwrap();
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        let head = format!("GET /v1/events{query} HTTP/1.1\r\nhost: x\r\n{last}\r\n");
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.line().unwrap(), "HTTP/1.1 200 OK");
        let mut head = Vec::new();
        while let Some(line) = Some(connection.line().unwrap()).filter(|line| !line.is_empty()) {
            head.push(line);
        }
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        assert!(head.contains(&"cache-control: no-store".to_owned()), "{head:?}");
        let mut listener = Self { connection, id: String::new() };
        while listener.line().unwrap() != "retry: 1000" {}
        listener
    }

    /// Opens one and waits until it has its place.
    fn at_the_end(shop: &Shop, query: &str) -> Self {
        let mut listener = Self::open(&shop.sidecar.tcp(), query, None);
        while !listener.line().unwrap().starts_with("id: ") {}
        listener
    }

    /// The next line, without what frames the pieces of the body.
    fn line(&mut self) -> Option<String> {
        loop {
            let line = self.connection.line().ok()?;
            if line == "0" {
                return None;
            }
            if !line.is_empty() && line.bytes().all(|b| b.is_ascii_hexdigit()) {
                continue;
            }
            if let Some(id) = line.strip_prefix("id: ") {
                id.clone_into(&mut self.id);
            }
            return Some(line);
        }
    }

    /// The next event; `None` at the stream's end.
    fn next(&mut self) -> Option<Event> {
        let mut reset = false;
        loop {
            let line = self.line()?;
            reset |= line == "event: reset";
            if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).unwrap();
                return Some(Event { id: self.id.clone(), reset, data });
            }
        }
    }

    fn data(&mut self) -> Value {
        self.next().expect("the stream goes on").data
    }
}

fn row(table: &str, key: &str, op: &str, caches: &[&str]) -> Value {
    json!({"source": "cdc", "table": format!("inventory.{table}"), "key": key, "op": op, "caches": caches})
}

#[test]
fn a_change_is_told_when_it_has_been_applied() {
    let mut shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "");
    for n in 1..=20 {
        shop.fill("/v1/products/7", "old");
        shop.fill("/v1/pages/home", "old");
        shop.change("product", "{\"id\":7}", "u", &format!("{{\"id\":7,\"name\":\"new-{n}\"}}"));
        let mut whole = row("product", "", "update", &["pages"]);
        whole["key"] = Value::Null;
        assert_eq!(listener.data(), whole);
        assert_eq!(listener.data(), row("product", "7", "update", &["products", "rows"]));
        // At once: who is told finds nothing that is stale.
        assert_eq!(shop.get("/v1/rows/7"), format!("hit {{\"id\":7,\"name\":\"new-{n}\"}}"));
        assert_eq!(shop.get("/v1/products/7"), "miss");
        assert_eq!(shop.get("/v1/pages/home"), "miss");
    }
    for (op, name) in [("c", "create"), ("d", "delete")] {
        shop.change("stock", "{\"id\":5}", op, "{\"id\":5}");
        let event = listener.data();
        assert_eq!(event["op"], name, "{event}");
    }
    shop.change("stock", "default", "t", "null");
    let truncated = listener.data();
    assert_eq!((&truncated["op"], &truncated["key"]), (&json!("truncate"), &Value::Null), "{truncated}");
    shop.settle();
    assert_eq!(listener.data(), row("stock", "999", "update", &["stock"]));
}

#[test]
fn a_key_is_told_as_a_request_spells_it() {
    let shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "?cache=stock");
    shop.change("stock", "{\"house\":\"a/b c%?\",\"shelf\":\"_ü\"}", "u", "null");
    // The first of two columns teaches that there are two.
    let told = [listener.data(), listener.data()];
    assert_eq!(told[0]["key"], Value::Null);
    let key = told[1]["key"].as_str().unwrap().to_owned();
    assert_eq!(key, "a%2Fb%20c%25%3F/_%C3%BC");
    let path = format!("/v1/stock/{key}");
    shop.fill(&path, "x");
    shop.change("stock", "{\"house\":\"a/b c%?\",\"shelf\":\"_ü\"}", "d", "null");
    assert_eq!(listener.data()["key"], key.as_str());
    assert_eq!(shop.get(&path), "miss");
}

#[test]
fn values_are_dropped_by_request_and_that_is_told() {
    let shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "");
    shop.sidecar.request("DELETE", "/v1/products/7", &[], b"").unwrap();
    let expected = json!({"source": "cdc", "table": null, "key": "7", "op": "drop", "caches": ["products"]});
    assert_eq!(listener.data(), expected);
}

#[test]
fn what_fills_depend_on_is_told_as_they_name_it() {
    let mut shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "?cache=stock");
    let dependents = json!(["pages", "products", "stock"]);
    let depend = |shop: &Shop, on: &str| {
        let lease = shop.lease("/v1/stock/1");
        let headers = [("freshet-lease", lease.as_str()), ("freshet-depends", on)];
        assert_eq!(shop.sidecar.request("PUT", "/v1/stock/1", &headers, b"x").unwrap().status, 204);
        assert_eq!(shop.get("/v1/stock/1"), "hit x");
    };
    let expected = |on: &str, op: &str| {
        json!({
            "source": "cdc", "table": "inventory.category", "key": null, "op": op, "on": on, "caches": dependents,
        })
    };
    // Nobody has named the table so far.
    shop.apply("category", "{\"id\":7}", "u", "null");
    depend(&shop, "inventory.category/7");
    shop.change("category", "{\"id\":7}", "u", "null");
    for on in ["inventory.category", "inventory.category/7"] {
        assert_eq!(listener.data(), expected(on, "update"));
    }
    assert_eq!(shop.get("/v1/stock/1"), "miss");
    depend(&shop, "tag:a%2Fb%20%C3%BC");
    assert_eq!(shop.sidecar.request("POST", "/v1/_tags/a%2Fb%20%C3%BC", &[], b"").unwrap().status, 204);
    let told = listener.data();
    assert_eq!(shop.get("/v1/stock/1"), "miss");
    let tag = json!({
        "source": null, "table": null, "key": null, "op": "tag", "on": "tag:a%2Fb%20%C3%BC", "caches": dependents,
    });
    assert_eq!(told, tag);
    // All of the table is all of its rows.
    shop.change("category", "default", "t", "null");
    let mut all = expected("", "truncate");
    all.as_object_mut().unwrap().remove("on");
    assert_eq!(listener.data(), all);
    shop.settle();
    assert_eq!(listener.data()["key"], "999");
}

#[test]
fn who_asks_for_some_caches_hears_of_no_others() {
    let mut shop = Shop::open();
    let mut some = Listener::at_the_end(&shop, "?cache=stock&cache=pages");
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    shop.settle();
    let told = [some.data(), some.data()];
    assert_eq!(told[0]["caches"], json!(["pages"]));
    assert_eq!(told[1], row("stock", "999", "update", &["stock"]));
    let ask = |method, path| shop.sidecar.request(method, path, &[], b"").unwrap();
    problem(&ask("GET", "/v1/events?cache=stock&cache=nope"), 404, "unknown-cache", "`nope`");
    problem(&ask("GET", "/v1/events?caches=stock"), 400, "query", "cache=<name>");
    problem(&ask("GET", "/v1/events?cache="), 400, "query", "cache=<name>");
    problem(&ask("POST", "/v1/events"), 405, "method-not-allowed", "GET, HEAD");
    let head = ask("HEAD", "/v1/events");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(head.header("content-length"), None);
}

#[test]
fn who_comes_back_misses_nothing_and_hears_nothing_twice() {
    let mut shop = Shop::open();
    let mut first = Listener::at_the_end(&shop, "");
    let begun = first.id.clone();
    let change = |shop: &mut Shop, id: u32| shop.apply("stock", &format!("{{\"id\":{id}}}"), "u", "null");
    for id in 1..=9 {
        change(&mut shop, id);
    }
    let keys = |listener: &mut Listener, ids: std::ops::RangeInclusive<u32>| {
        for id in ids {
            assert_eq!(listener.data()["key"], id.to_string());
        }
    };
    keys(&mut first, 1..=3);
    let seen = first.id.clone();
    drop(first);
    let mut again = Listener::open(&shop.sidecar.tcp(), "", Some(&seen));
    keys(&mut again, 4..=9);
    for id in 10..=11 {
        change(&mut shop, id);
    }
    keys(&mut again, 10..=11);
    // The place that a stream begins with is one, too.
    keys(&mut Listener::open(&shop.sidecar.tcp(), "", Some(&begun)), 1..=11);
}

#[test]
fn what_breaks_an_epoch_is_told_as_a_reset() {
    let mut shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "");
    let seen = listener.id.clone();
    let epoch = shop.epoch();
    shop.redis.command::<String>(&["FLUSHALL"]).unwrap();
    shop.until_fresh_after(epoch);
    let all = json!(["pages", "products", "rows", "stock"]);
    for listener in [&mut listener, &mut Listener::open(&shop.sidecar.tcp(), "", Some(&seen))] {
        for reason in ["epoch", "positioned"] {
            let event = listener.next().unwrap();
            assert!(event.reset);
            let expected = json!({
                "source": "cdc", "table": null, "key": null, "op": "reset", "caches": all, "reason": reason,
            });
            assert_eq!(event.data, expected);
        }
    }
}

#[test]
fn who_cannot_be_told_what_it_missed_is_told_so() {
    let mut shop = Shop::open();
    let id = Listener::at_the_end(&shop, "").id;
    let (instance, _) = id.split_once('-').unwrap();
    let other = format!("{:016x}-0", 1);
    for foreign in ["0", other.as_str(), &format!("{instance}-99"), "é"] {
        let event = Listener::open(&shop.sidecar.tcp(), "?cache=stock", Some(foreign)).next().unwrap();
        let expected = json!({
            "source": null, "table": null, "key": null, "op": "reset", "caches": ["stock"], "reason": "instance",
        });
        assert_eq!((event.reset, event.data, event.id), (true, expected, id.clone()), "{foreign}");
    }
    shop.sidecar.kill().unwrap();
    shop.sidecar.start_again().unwrap();
    shop.until_vouched_for();
    let mut listener = Listener::open(&shop.sidecar.tcp(), "", Some(&id));
    let told = listener.data();
    assert_eq!(told["reason"], "instance", "the process is another");
    assert_eq!(told["caches"], json!(["pages", "products", "rows", "stock"]));
    shop.settle();
    assert_eq!(listener.data()["key"], "999", "it goes on from there");
}

/// So many changes of rows with long keys, at once.
fn flood(shop: &Shop, changes: usize) {
    let script = "for i = 1, tonumber(ARGV[1]) do \
                  redis.call('XADD', KEYS[1], '*', '{\"id\":\"' .. i .. ARGV[2] .. '\"}', ARGV[3]) end";
    let event = crate::shop::event("stock", "u", "null");
    let long = "x".repeat(900);
    shop.redis
        .command::<Option<String>>(&[
            "EVAL",
            script,
            "1",
            "shop.inventory.stock",
            &changes.to_string(),
            &long,
            &event,
        ])
        .unwrap();
}

#[test]
fn the_log_of_events_is_bounded_for_who_comes_late_and_who_is_slow() {
    let mut shop = Shop::open();
    let early = Listener::at_the_end(&shop, "").id;
    // A Unix socket holds little of what isn't read.
    let mut slow = Listener::open(&shop.sidecar.socket(), "", None);
    flood(&shop, 6000);
    until("all of it is applied", SOON, || {
        let metrics = shop.sidecar.metrics()?;
        // The first text where integers were voids the cache as a whole.
        ensure!(metrics.contains("freshet_events_total 6001"), "{metrics}");
        Ok(())
    })
    .unwrap();
    let mut late = Listener::open(&shop.sidecar.tcp(), "", Some(&early));
    assert_eq!(late.data()["reason"], "expired");
    let (mut told, mut reset) = (0, None);
    while reset.is_none() {
        let event = slow.next().unwrap();
        told += 1;
        reset = event.reset.then_some(event.data);
    }
    assert_eq!(reset.unwrap()["reason"], "slow");
    assert!(told < 6000, "{told}");
    shop.settle();
    assert_eq!(slow.data()["op"], "update", "it goes on from there");
    let metrics = shop.sidecar.metrics().unwrap();
    for line in [
        "freshet_event_streams 2.0",
        "freshet_event_resets_total{reason=\"expired\"} 1",
        "freshet_event_resets_total{reason=\"slow\"} 1",
        "freshet_event_resets_total{reason=\"instance\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", shop.sidecar.process().pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: usize = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident < 56 * 1024, "{resident} KiB are resident with 4 MiB of events");
}

#[test]
fn who_takes_nothing_is_cut() {
    let shop = Shop::open();
    let _deaf = Listener::open(&shop.sidecar.socket(), "", None);
    flood(&shop, 2000);
    until("the client is cut", Duration::from_secs(30), || {
        let metrics = shop.sidecar.metrics()?;
        ensure!(metrics.contains("freshet_connections_cut_total 1"), "{metrics}");
        ensure!(metrics.contains("freshet_event_streams 0.0"), "{metrics}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_quiet_stream_is_kept_alive_and_its_place_with_it() {
    let mut shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "?cache=pages");
    let begun = listener.id.clone();
    shop.settle();
    assert_eq!(listener.line().as_deref(), Some(""));
    assert_eq!(listener.line().as_deref(), Some(""), "between the pieces");
    assert_eq!(listener.line().as_deref(), Some(":"), "a comment");
    assert!(listener.line().unwrap().starts_with("id: "));
    assert_ne!(listener.id, begun, "it is past what it isn't interested in");
    shop.change("category", "{\"id\":1}", "u", "null");
    assert_eq!(listener.data()["caches"], json!(["pages"]));
}

#[test]
fn a_reload_is_told_to_whom_it_concerns() {
    let mut shop = Shop::open();
    let (mut all, mut stock) = (Listener::at_the_end(&shop, ""), Listener::at_the_end(&shop, "?cache=stock"));
    let mut rows = Listener::at_the_end(&shop, "?cache=rows");
    let other =
        CACHES.replace("ttl: 10m", "ttl: 11m").replace("  - {name: stock, table: inventory.stock}", "");
    shop.sidecar.rebind(&manifest(&shop.redis, &other, STEADY)).unwrap();
    let told = all.data();
    assert_eq!((&told["op"], &told["reason"]), (&json!("reset"), &json!("binding")));
    assert_eq!(told["caches"], json!(["products", "stock"]));
    assert_eq!(stock.data()["reason"], "binding");
    assert_eq!(stock.next(), None, "there is nothing more to tell");
    shop.until_fresh();
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    assert_eq!(rows.data()["key"], "7", "it is as it was");
}

#[test]
fn streams_end_when_the_sidecar_stops() {
    let mut shop = Shop::open();
    let mut listener = Listener::at_the_end(&shop, "");
    let began = std::time::Instant::now();
    shop.sidecar.stop().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(listener.next(), None);
}

#[test]
fn a_stream_that_has_much_to_tell_ends_when_the_sidecar_stops() {
    const CHANGES: usize = 2000;
    let mut shop = Shop::open();
    // A Unix socket holds little of what isn't read.
    let mut slow = Listener::open(&shop.sidecar.socket(), "", None);
    flood(&shop, CHANGES);
    until("all of it is applied", SOON, || {
        let metrics = shop.sidecar.metrics()?;
        ensure!(metrics.contains(&format!("freshet_events_total {}", CHANGES + 1)), "{metrics}");
        Ok(())
    })
    .unwrap();
    let pid = shop.sidecar.process().pid().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    until("nobody is let in", SOON, || {
        ensure!(Connection::open(&shop.sidecar.socket()).is_err(), "it still listens");
        Ok(())
    })
    .unwrap();
    let mut told = 0;
    while slow.next().is_some() {
        told += 1;
    }
    assert!((1..CHANGES / 2).contains(&told), "{told} events were told");
    assert_eq!(shop.sidecar.process().wait(SOON).unwrap().code(), Some(0));
}

#[test]
fn streams_are_bounded_in_number() {
    let shop = Shop::open();
    let mut held: Vec<_> = (0..256).map(|_| Listener::open(&shop.sidecar.socket(), "", None)).collect();
    problem(&shop.sidecar.get("/v1/events").unwrap(), 503, "too-many-streams", "at most 256");
    assert!(shop.sidecar.metrics().unwrap().contains("freshet_event_streams 256.0"));
    held.truncate(10);
    until("there is room again", SOON, || {
        let metrics = shop.sidecar.metrics()?;
        ensure!(metrics.contains("freshet_event_streams 10.0"), "{metrics}");
        Ok(())
    })
    .unwrap();
    Listener::at_the_end(&shop, "");
}

#[test]
fn events_can_be_awaited_before_there_is_a_binding() {
    let redis = Redis::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binding.yaml");
    let sidecar = Sidecar::builder(executable(), "").binding_file(&path).start().unwrap();
    let mut shop = Shop::of(redis, sidecar);
    let mut listener = Listener::at_the_end(&shop, "?cache=products");
    let mut none = Listener::at_the_end(&shop, "?cache=nothing");
    shop.sidecar.rebind(&manifest(&shop.redis, CACHES, "")).unwrap();
    assert_eq!(listener.data()["reason"], "positioned");
    shop.until_fresh();
    assert_eq!(outcome(&shop.sidecar.get("/v1/products/7").unwrap()), "miss");
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    assert_eq!(none.next(), None, "the binding has no such cache");
    let mut text = String::new();
    while !text.contains("\"7\"") {
        write!(text, "{}", listener.data()).unwrap();
    }
}
