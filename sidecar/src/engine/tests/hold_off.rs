use std::time::Duration;

use super::{Bench, ROWS, Terms};
use crate::position::{Commit, Position};

#[test]
fn a_fill_soon_after_a_change_is_held_off() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(7, 1, 0, "x");
    bench.pass(100);
    assert!(bench.fill("rows/7", "maybe old"));
    assert_eq!(bench.get("rows/7"), "hit maybe old hold-off");
    bench.pass(900);
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn a_read_that_may_have_missed_a_change_is_never_served_once_the_hold_off_has_passed() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(7, 1, 0, "x");
    bench.pass(100);
    let lease = bench.lease("rows/7").unwrap();
    bench.pass(1100);
    assert_eq!(bench.put("rows/7", &lease, "maybe old"), Ok(true));
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn a_read_right_after_the_streams_were_positioned_may_have_missed_what_came_before() {
    for more in ["", ", freshness: {maxStaleness: 5s, heartbeat: Database}"] {
        let mut bench = Bench::new(ROWS, "");
        bench.install("{name: rows, table: s.t, ttl: 2m}", more);
        let catalog = bench.engine.catalog().unwrap();
        bench.engine.attach(catalog.caches.values(), bench.now.tick);
        bench.pass(100);
        bench.event(9, "u", "\"lsn\":1");
        bench.engine.catalog().unwrap().feeds[0]
            .0
            .hold_heartbeat(freshet_crds::Heartbeat::Database, bench.now.tick);
        bench.engine.catalog().unwrap().feeds[0].0.confirm_heartbeats();
        assert!(bench.fill("rows/7", "maybe old"));
        assert_eq!(bench.get("rows/7"), "hit maybe old hold-off");
        bench.pass(1000);
        assert_eq!(bench.get("rows/7"), "miss");
    }
}

#[test]
fn a_fill_that_ends_before_its_hold_off_says_so_too() {
    let mut bench = Bench::new(ROWS, "");
    bench.change(7, 1, 0, "x");
    bench.pass(100);
    let lease = bench.lease("rows/7").unwrap();
    let terms = Terms { max_age: Some(Duration::from_millis(500)), ..Terms::default() };
    assert_eq!(bench.put_with("rows/7", &lease, "x", terms), Ok(true));
    assert_eq!(bench.get("rows/7"), "hit x hold-off");
    bench.pass(500);
    assert_eq!(bench.get("rows/7"), "miss");
}

#[test]
fn no_position_proves_that_a_read_has_seen_what_may_have_been_told_of() {
    let mut bench = Bench::new(ROWS, "");
    let catalog = bench.engine.catalog().unwrap();
    let feed = &catalog.feeds[0].0;
    for (lost, found) in [(false, "hit x"), (true, "hit x hold-off"), (false, "hit x")] {
        bench.change(7, 10, 0, "y");
        let end = Commit::Postgres { lsn: 20, xid: None };
        bench.engine.commit(feed, end, true, bench.now.tick);
        if lost {
            bench.engine.doubt_images(&catalog, feed, bench.now.wall_ms, bench.now.tick);
        }
        bench.pass(100);
        let lease = bench.lease("rows/7").unwrap();
        let terms = Terms { position: Some(Position::Lsn(30)), ..Terms::default() };
        assert_eq!(bench.put_with("rows/7", &lease, "x", terms), Ok(true));
        assert_eq!(bench.get("rows/7"), found);
        bench.pass(5000);
    }
}
