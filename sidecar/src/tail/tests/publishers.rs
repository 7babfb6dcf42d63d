//! Those who number what they say, and what follows from a number that is left out.

use super::{at, install, reading, tail};
use crate::{
    clock::{Now, Tick},
    continuity::{Break, ServerIdentity},
    record::Record,
    store::count,
    tail::{Survey, Tail},
};

/// A message with a number that nobody has to look at, written at this time.
fn said(n: u64, sequence: u64, written_ms: u64) -> Record {
    let said = format!(
        "{{\"freshet\":1,\"kind\":\"change\",\"table\":\"s.x\",\"op\":\"update\",\"publisher\":\"p\",\"sequence\":{sequence}}}"
    );
    Record {
        place: at(n),
        written_ms: Some(written_ms),
        fields: vec![(b"freshet".to_vec(), said.into_bytes())],
    }
}

fn breaks(tail: &Tail) -> Vec<Break> {
    tail.feed.with_report(|r| r.breaks.keys().copied().collect())
}

#[test]
fn numbers_of_a_stream_that_is_added_hide_no_gap_in_those_that_are_followed() {
    let layout = "topicPrefix: shop";
    let (mut tail, plan) = tail(layout);
    let read = |tail: &mut Tail, plan: &_, records: Vec<Record>| {
        tail.apply(reading([("shop.s.t".to_owned(), records)], 20), plan, Now::read()).unwrap();
        breaks(tail)
    };
    assert_eq!(read(&mut tail, &plan, vec![said(1, 1, 1), said(2, 2, 2)]), []);
    install(&tail.engine, layout, "{name: rows, table: s.t}, {name: more, table: s.u}");
    let plan = tail.plan().unwrap();
    // The third is lost.
    tail.recall(&plan, "shop.s.u", &[said(1, 4, 4)], Tick(2));
    let server = ServerIdentity { history: "a".into(), connection: None };
    let states = plan.streams.keys().map(|name| (name.clone(), None)).collect();
    tail.position(&plan, Survey { server, link: None, states }, Tick(3));
    assert_eq!(read(&mut tail, &plan, vec![said(3, 5, 5)]), [Break::MessagesMissed]);
}

#[test]
fn what_a_lost_message_may_have_told_of_is_as_late_as_its_loss_is_noticed() {
    let (mut tail, _) = tail("stream: shop.cdc");
    install(&tail.engine, "stream: shop.cdc", "{name: images, table: s.t, onChange: Hydrate}");
    let plan = tail.plan().unwrap();
    tail.attach(&plan, Tick(2));
    let now = Now { tick: Tick(100_000), wall_ms: 1_000_000 };
    let image = |n: u64, commit_ms: u64| {
        let event = format!(
            "{{\"after\":{{\"id\":{n}}},\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":{n},\"ts_ms\":{commit_ms}}},\"op\":\"u\"}}"
        );
        super::entry(n, &format!("{{\"id\":{n}}}"), &event)
    };
    let hydrated = |tail: &mut Tail, records: Vec<Record>| {
        tail.apply(reading([("shop.cdc".to_owned(), records)], 20), &plan, now).unwrap();
        count(&tail.engine.catalog().unwrap().caches["images"].stats.hydrated)
    };
    assert_eq!(hydrated(&mut tail, vec![said(1, 1, 1), image(2, 999_000)]), 1);
    // By its own clock the transport has written it long ago.
    assert_eq!(hydrated(&mut tail, vec![said(3, 3, 500_000), image(4, 999_000)]), 1);
    assert_eq!(breaks(&tail), [Break::MessagesMissed]);
    assert_eq!(hydrated(&mut tail, vec![image(5, 1_002_000)]), 2);
}
