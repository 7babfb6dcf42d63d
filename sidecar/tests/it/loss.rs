//! What is lost on the way from Debezium to Redis, noticed by Debezium's own numbers.

use anyhow::ensure;

use crate::{
    log::{Log, STEADY},
    shop::SOON,
};

const CACHES: &str = "
  - {name: products, table: inventory.product}";

/// Waits for an epoch's end of this reason, and counts those so far.
fn lost(log: &mut Log, why: &str) {
    log.shop
        .sidecar
        .until(&format!("a new epoch: {why}"), SOON, |sidecar| {
            let status = sidecar.status()?;
            ensure!(status["sources"]["cdc"]["epochChanges"][why] == 1, "{status}");
            Ok(())
        })
        .unwrap();
    assert_eq!(log.shop.get("/v1/products/7"), "miss", "everything is void");
    // All is void once more with the first number that is known again, and that may be still to come.
    log.heartbeat();
    log.read_up();
    log.shop.fill("/v1/products/7", "again");
    assert_eq!(log.shop.get("/v1/products/7"), "hit again", "and filled anew");
}

#[test]
fn nothing_is_lost_and_nothing_is_void() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/7", "x");
    let (entries, _) = log.transaction("product", &[1, 2, 3]);
    log.send(&entries);
    // What was sent may be sent again, from anywhere in the batch.
    log.send(&entries);
    log.send(&entries[2..]);
    log.heartbeat();
    log.write("other", 1);
    log.heartbeat();
    log.read_up();
    assert_eq!(log.shop.epoch(), 1);
    assert_eq!(log.shop.get("/v1/products/7"), "hit x");
}

#[test]
fn a_lost_change_is_noticed_at_its_transactions_end() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/7", "x");
    let (mut entries, _) = log.transaction("product", &[1, 7, 3]);
    entries.remove(2);
    log.send(&entries);
    lost(&mut log, "events-missed");
}

/// Of a batch that Redis took in part Debezium's sink sends the rest again: its changes have gaps then.
#[test]
fn changes_in_another_order_than_the_databases_count_as_lost() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/7", "x");
    let (mut entries, _) = log.transaction("product", &[1, 2, 3]);
    entries.swap(1, 2);
    log.send(&entries);
    lost(&mut log, "events-missed");
}

#[test]
fn a_lost_transaction_is_noticed_at_the_next_heartbeat() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/7", "x");
    let _lost = log.transaction("product", &[7]);
    log.heartbeat();
    lost(&mut log, "transactions-missed");
}

#[test]
fn lost_heartbeats_are_noticed_at_the_next_one() {
    let mut log = Log::open(CACHES, STEADY);
    log.shop.fill("/v1/products/7", "x");
    let all = log.heartbeat_entries();
    // Where transactions aren't told of, its number is all that is missing.
    let (_, value) = &all[0];
    let bare = |value: &str| value.replace("\"sequence\"", "\"_\"").replace("\"transaction\"", "\"_\"");
    let mut next = log.heartbeat_entries();
    next.truncate(1);
    assert_ne!(bare(value), bare(&next[0].1));
    next[0].1 = bare(&next[0].1);
    log.send(&next);
    lost(&mut log, "heartbeat-missed");
}
