//! Many readers of one missing key: one loads, the others wait for it.

use std::{
    thread,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use freshet_e2e::process::http::{Connection, Response};

use crate::shop::{SOON, Shop, outcome};

const KEY: &str = "/v1/products/7";

fn waiting(shop: &Shop, seconds: &str) -> JoinHandle<Response> {
    let (target, prefer) = (shop.sidecar.tcp(), format!("wait={seconds}"));
    thread::spawn(move || {
        let headers = [("prefer", prefer.as_str())];
        let mut connection = Connection::open(&target).unwrap();
        connection.request("GET", KEY, &headers, b"").unwrap()
    })
}

/// The winner's lease.
fn first(shop: &Shop) -> String {
    let answer = shop.sidecar.get(KEY).unwrap();
    assert_eq!(answer.header("freshet-fill"), Some("you"));
    answer.header("freshet-lease").unwrap().to_owned()
}

/// Waits until so many reads have missed. Whoever waits is counted once.
pub(crate) fn until_waiting(shop: &mut Shop, misses: usize) {
    shop.sidecar
        .until("the readers wait", SOON, |sidecar| {
            let metrics = sidecar.metrics()?;
            let name = "freshet_cache_requests_total{cache=\"products\",outcome=\"miss\"} ";
            let count = metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<usize>().ok());
            ensure!(count == Some(misses), "{count:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn those_who_wait_get_what_the_first_one_loads() {
    let mut shop = Shop::open();
    let lease = first(&shop);
    let readers: Vec<_> = (0..16).map(|_| waiting(&shop, "15")).collect();
    until_waiting(&mut shop, readers.len() + 1);
    assert_eq!(shop.put(KEY, &lease, "loaded"), 204);
    for reader in readers {
        assert_eq!(outcome(&reader.join().unwrap()), "hit loaded");
    }
}

#[test]
fn when_the_loader_is_fenced_one_of_those_who_wait_loads() {
    let mut shop = Shop::open();
    let lease = first(&shop);
    let mut readers: Vec<_> = (0..8).map(|_| waiting(&shop, "15")).collect();
    until_waiting(&mut shop, readers.len() + 1);
    shop.change("product", "{\"id\":7}", "u", "{\"id\":7}");
    // The change makes the first one's read void, and one of those who wait the loader: it is answered, nobody else.
    let told = shop
        .sidecar
        .until("one of those who wait is told to load", SOON, |_| {
            readers.iter().position(JoinHandle::is_finished).context("nobody is")
        })
        .unwrap();
    let loader = readers.swap_remove(told).join().unwrap();
    assert_eq!((outcome(&loader).as_str(), loader.header("freshet-fill")), ("miss", Some("you")));
    assert_eq!(shop.put(KEY, loader.header("freshet-lease").unwrap(), "new"), 204);
    for reader in readers {
        assert_eq!(outcome(&reader.join().unwrap()), "hit new");
    }
    assert_eq!(shop.put(KEY, &lease, "late"), 409, "the first one's read is from before the change");
}

#[test]
fn when_the_loader_is_silent_for_ten_seconds_one_of_those_who_wait_loads() {
    let mut shop = Shop::open();
    let began = Instant::now();
    let lease = first(&shop);
    let mut readers: Vec<_> = (0..4).map(|_| waiting(&shop, "30")).collect();
    until_waiting(&mut shop, readers.len() + 1);
    let told = shop
        .sidecar
        .until("one of those who wait is told to load", Duration::from_secs(25), |_| {
            readers.iter().position(JoinHandle::is_finished).context("nobody is")
        })
        .unwrap();
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    let loader = readers.swap_remove(told).join().unwrap();
    assert_eq!((outcome(&loader).as_str(), loader.header("freshet-fill")), ("miss", Some("you")));
    assert!(!readers.iter().any(JoinHandle::is_finished), "nobody else is");
    assert_eq!(shop.put(KEY, loader.header("freshet-lease").unwrap(), "new"), 204);
    for reader in readers {
        assert_eq!(outcome(&reader.join().unwrap()), "hit new");
    }
    assert_eq!(shop.put(KEY, &lease, "late"), 409, "another value has come in between");
}

#[test]
fn whoever_does_not_wait_long_enough_is_told_who_loads() {
    let shop = Shop::open();
    first(&shop);
    let answer = waiting(&shop, "0.1").join().unwrap();
    assert_eq!((outcome(&answer).as_str(), answer.header("freshet-fill")), ("miss", Some("other")));
    assert!(answer.header("freshet-lease").is_some());
}
