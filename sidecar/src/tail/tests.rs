use std::{collections::BTreeMap, sync::Arc, time::Duration};

use freshet_crds::{Heartbeat, binding::Binding, manifest};

use super::{Parts, Plan, Record, Seen, Survey, Tail};
use crate::{
    bounds::tests::within,
    catalog::{Catalog, Newer},
    clock::{Now, Tick},
    coherence::Seq,
    continuity::{Break, ServerIdentity},
    engine::Engine,
    position::{Commit, Place, Position},
    record::{Batch, Reading},
    store::count,
    watermark::Reached,
};

mod publishers;
mod rosters;
mod warm;

/// A tail that is positioned before the first entry, fed by hand.
fn tail(layout: &str) -> (Tail, Plan) {
    let engine = Arc::new(Engine::new());
    install(&engine, layout, "{name: rows, table: s.t}");
    let feed = Arc::clone(&engine.catalog().unwrap().feeds[0].0);
    let mut tail = Tail::new(engine, feed);
    let plan = tail.plan().unwrap();
    let server = ServerIdentity { history: "a".into(), connection: None };
    let states = plan.streams.keys().map(|name| (name.clone(), None)).collect();
    tail.position(&plan, Survey { server, link: None, states }, Tick(1));
    (tail, plan)
}

fn install(engine: &Engine, layout: &str, caches: &str) {
    let heartbeat = if caches.contains("warmStart") { "Database" } else { "Debezium" };
    let text = format!(
        "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
           sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', {layout}}}}}],
           freshness: {{maxStaleness: 5s, heartbeat: {heartbeat}}},
           caches: [{caches}]}}}}"
    );
    let binding = Binding::parse(&manifest::read(&text).unwrap().object).unwrap();
    engine.install(Catalog::build(binding, Newer::default(), engine.catalog().as_deref()));
}

fn parts(parts: &[(&str, u32)]) -> Parts {
    Parts(parts.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect())
}

#[test]
fn parts_of_a_topic_are_followed_and_new_ones_from_their_first_record_on() {
    let (mut tail, mut plan) = tail("topicPrefix: shop");
    let table = "shop.s.t";
    let streams =
        |plan: &Plan| plan.streams.keys().filter(|s| s.starts_with(table)).cloned().collect::<Vec<_>>();
    // It wasn't there when it was positioned.
    tail.divide(&mut plan, parts(&[(table, 2)]), Tick(2));
    assert_eq!(streams(&plan), ["shop.s.t/0", "shop.s.t/1"]);
    assert!(!tail.lacks_positions(&plan));
    let batch = [("shop.s.t/0".to_owned(), rows(5, 1)), ("shop.s.t/1".to_owned(), rows(9, 1))];
    assert_eq!(tail.apply(reading(batch, 20), &plan, Now::read()), Ok(true));
    tail.divide(&mut plan, parts(&[(table, 3)]), Tick(3));
    let places = ["shop.s.t/0", "shop.s.t/1", "shop.s.t/2"].map(|stream| tail.place(stream));
    assert_eq!(places, [Some(at(5)), Some(at(9)), Some(Place::Start)]);
    // A reload knows the parts.
    let again = tail.plan().unwrap();
    assert_eq!(streams(&again), streams(&plan));
    assert!(!tail.lacks_positions(&again));
    let breaks = |tail: &Tail| tail.feed.with_report(|r| r.breaks.keys().copied().collect::<Vec<_>>());
    assert_eq!(breaks(&tail), []);
    tail.divide(&mut plan, Parts::default(), Tick(4));
    assert_eq!(breaks(&tail), [Break::StreamGone], "a topic doesn't lose parts but with all of it");
    assert!(tail.lacks_positions(&plan));
}

fn rows(from: u64, count: usize) -> Vec<Record> {
    let value = "{\"after\":null,\"source\":{\"schema\":\"s\",\"table\":\"t\"},\"op\":\"u\"}";
    (from..).map(|n| entry(n, &format!("{{\"id\":{n}}}"), value)).take(count).collect()
}

fn beat(n: u64) -> Record {
    let now = Now::read().wall_ms;
    entry(n, "{\"serverName\":\"shop\"}", &format!("{{\"ts_ms\":{now}}}"))
}

fn at(n: u64) -> Place {
    Place::Number(n)
}

/// What a read of so many records of each stream brings.
fn reading(streams: impl IntoIterator<Item = (String, Vec<Record>)>, count: usize) -> Reading {
    let batch = |(stream, records)| Batch { stream, records, through: None };
    let batches: Vec<_> = streams.into_iter().map(batch).collect();
    let at_end = batches.iter().all(|batch| batch.records.len() < count);
    Reading { batches, at_end }
}

fn entry(n: u64, key: &str, value: &str) -> Record {
    Record { place: at(n), written_ms: Some(n), fields: vec![(key.into(), value.into())] }
}

/// A heartbeat of the database.
fn numbered(n: u64, beat: u64) -> Record {
    let value = format!(
        "{{\"after\":{{\"id\":1,\"beat\":{beat},\"at_ms\":{beat}}},\"op\":\"u\",\"source\":{{\"db\":\"d\",\"table\":\"freshet_heartbeat\"}}}}"
    );
    entry(n, "{\"id\":1}", &value)
}

fn heard(tail: &Tail) -> Option<Tick> {
    tail.feed.evidence(true, Some(Heartbeat::Debezium)).heartbeat
}

#[test]
fn a_heartbeat_waits_for_what_is_unread_in_other_streams() {
    let (mut tail, plan) = tail("topicPrefix: shop");
    let (beats, table) = ("__debezium-heartbeat.shop", "shop.s.t");
    let reply = vec![(beats.to_owned(), vec![beat(1)]), (table.to_owned(), rows(1, 20))];
    assert_eq!(tail.apply(reading(reply, 20), &plan, Now::read()), Ok(false));
    assert_eq!(heard(&tail), None, "there may be changes from before it");
    assert_eq!(
        tail.apply(reading(vec![(table.to_owned(), rows(21, 20))], 20), &plan, Now::read()),
        Ok(false)
    );
    assert_eq!(heard(&tail), None);
    assert_eq!(tail.apply(reading(vec![(table.to_owned(), rows(41, 19))], 20), &plan, Now::read()), Ok(true));
    assert!(heard(&tail).is_some(), "every stream was read to its end after it");
}

#[test]
fn in_one_stream_a_heartbeat_counts_at_its_place() {
    let (mut tail, plan) = tail("stream: shop.cdc");
    let mut entries = rows(1, 19);
    entries.push(beat(20));
    assert_eq!(
        tail.apply(reading(vec![("shop.cdc".to_owned(), entries)], 20), &plan, Now::read()),
        Ok(false)
    );
    assert!(heard(&tail).is_some());
}

#[test]
fn what_is_caught_up_with_has_no_lag() {
    let (mut tail, plan) = tail("stream: shop.cdc");
    let now = Now { wall_ms: 5_000, ..Now::read() };
    let mut read = |from, count| {
        let complete =
            tail.apply(reading(vec![("shop.cdc".to_owned(), rows(from, count))], 20), &plan, now).unwrap();
        (complete, tail.feed.with_report(|r| r.lag_ms))
    };
    assert_eq!(read(981, 20), (false, 4_000), "since the newest entry applied");
    assert_eq!(read(1001, 1), (true, 0));
    assert_eq!(read(1002, 0), (true, 0), "idle");
    assert_eq!(tail.feed.delays.counts().sum::<u64>(), 21, "each entry's delay is counted");
}

#[test]
fn a_stream_that_is_dropped_loses_its_place_connected_or_not() {
    let layout = "topicPrefix: shop";
    let (mut tail, _) = tail(layout);
    assert!(tail.continuity.cursors().contains_key("shop.s.t"));
    install(&tail.engine, layout, "{name: rows, table: s.u}");
    // A session begins with the plan of the moment.
    tail.plan().unwrap();
    install(&tail.engine, layout, "{name: rows, table: s.t}");
    let plan = tail.plan().unwrap();
    assert!(!tail.continuity.cursors().contains_key("shop.s.t"), "what happened in between is unknown");
    assert!(tail.continuity.lacks(plan.streams.keys()));
}

#[test]
fn what_is_behind_a_streams_position_is_not_looked_back_at() {
    let (mut tail, plan) = tail("stream: shop.cdc");
    let beat = |n: u64| numbered(n, n);
    let read = |tail: &mut Tail, beats: &[u64]| {
        let entries = beats.iter().copied().map(beat).collect();
        assert_eq!(
            tail.apply(reading(vec![("shop.cdc".to_owned(), entries)], 20), &plan, Now::read()),
            Ok(true)
        );
        tail.feed.with_report(|r| r.breaks.len())
    };
    assert_eq!(read(&mut tail, &[5]), 0);
    // A reload looks back at a new stream, while 6 was lost and 7 is unread.
    tail.recall(&plan, "shop.cdc", &[beat(7)], Tick(2));
    assert_eq!(read(&mut tail, &[7]), 1, "one is missing");
}

#[test]
fn no_image_from_before_a_cache_was_there_becomes_its_value() {
    let layout = "stream: shop.cdc";
    let (mut tail, plan) = tail(layout);
    let image = |n: u64, lsn: u64| {
        let value = format!(
            "{{\"after\":{{\"id\":7}},\"op\":\"u\",\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":{lsn},\"ts_ms\":1}}}}"
        );
        vec![("shop.cdc".to_owned(), vec![entry(n, "{\"id\":7}", &value)])]
    };
    assert_eq!(tail.apply(reading(image(1, 100), 20), &plan, Now::read()), Ok(true));
    install(&tail.engine, layout, "{name: rows, table: s.t}, {name: images, table: s.t, onChange: Hydrate}");
    let plan = tail.plan().unwrap();
    tail.attach(&plan, Tick(2));
    let hydrated = |tail: &Tail| {
        let catalog = tail.engine.catalog().unwrap();
        count(&catalog.caches["images"].stats.hydrated)
    };
    assert_eq!(tail.apply(reading(image(2, 90), 20), &plan, Now::read()), Ok(true));
    assert_eq!(hydrated(&tail), 0, "Debezium wrote it once more");
    assert_eq!(tail.apply(reading(image(3, 110), 20), &plan, Now::read()), Ok(true));
    assert_eq!(hydrated(&tail), 1);
}

/// A change of the row 7 at a place of PostgreSQL's log, and the end of a transaction.
fn placed(n: u64, lsn: u64) -> Record {
    let value = format!(
        "{{\"after\":{{\"id\":7}},\"op\":\"u\",\"source\":{{\"schema\":\"s\",\"table\":\"t\",\"lsn\":{lsn},\"ts_ms\":1}}}}"
    );
    entry(n, "{\"id\":7}", &value)
}

fn end(n: u64, lsn: u64) -> Record {
    let id = format!("1:{lsn}");
    let value = format!("{{\"status\":\"END\",\"id\":\"{id}\",\"event_count\":1,\"data_collections\":[]}}");
    entry(n, &format!("{{\"id\":\"{id}\"}}"), &value)
}

/// Whether these entries of one stream for all prove that a read at this place has seen everything.
fn proves(tail: &mut Tail, plan: &Plan, entries: Vec<Record>, lsn: u64) -> bool {
    tail.apply(reading(vec![("shop.cdc".to_owned(), entries)], 20), plan, Now::read()).unwrap();
    is_proven(tail, &Position::Lsn(lsn))
}

fn is_proven(tail: &Tail, position: &Position) -> bool {
    tail.feed.with_commits(|commits| commits.proves(position, Seq(1), Tick(3), Duration::from_secs(1)))
}

/// The begin or end of one of MariaDB's transactions.
fn marker(n: u64, status: &str, gtid: &str) -> (String, Record) {
    let value = format!(
        "{{\"status\":\"{status}\",\"id\":\"{gtid}\",\"event_count\":null,\"data_collections\":null}}"
    );
    ("shop.transaction".to_owned(), entry(n, &format!("{{\"id\":\"{gtid}\"}}"), &value))
}

/// Whether these, read at once of several streams, prove that a read at this position has seen everything.
fn prove(tail: &mut Tail, plan: &Plan, entries: Vec<(String, Record)>, position: &str) -> bool {
    let mut streams: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (stream, entry) in entries {
        streams.entry(stream).or_default().push(entry);
    }
    assert_eq!(tail.apply(reading(streams, 20), plan, Now::read()), Ok(true));
    is_proven(tail, &position.parse().unwrap())
}

#[test]
fn commits_that_there_was_no_room_for_are_not_taken_for_seen() {
    for (room, proven) in [(2, true), (1, false)] {
        within([None, None, None, Some(room), None, None, None], || {
            let (mut tail, plan) = tail("stream: shop.cdc");
            assert!(!proves(&mut tail, &plan, vec![placed(1, 90)], 200), "no commit is known");
            for lsn in [100, 200] {
                tail.unsettled.push(Seen::Whole(Commit::Postgres { lsn, xid: None }));
            }
            tail.settle(true, Tick(2));
            assert_eq!(is_proven(&tail, &Position::Lsn(200)), proven, "{room}");
        });
    }
}

#[test]
fn after_a_message_that_never_came_no_position_is_reached_until_the_next_heartbeat() {
    let (mut tail, plan) = tail("stream: shop.cdc");
    let silent = |n: u64| {
        let value = "{\"status\":\"END\",\"id\":\"3:200\",\"event_count\":1,\"data_collections\":\
                     [{\"data_collection\":\"m$LogicalDecodingMessageId@5\",\"event_count\":1}]}";
        entry(n, "{\"id\":\"3:200\"}", value)
    };
    let read = |tail: &mut Tail, entries: Vec<Record>| {
        tail.apply(reading(vec![("shop.cdc".to_owned(), entries)], 20), &plan, Now::read()).unwrap();
        tail.feed.reached(&Position::Lsn(150))
    };
    let begins = "{\"status\":\"BEGIN\",\"id\":\"3:190\",\"event_count\":null,\"data_collections\":null}";
    let begin = entry(3, "{\"id\":\"3:190\"}", begins);
    read(&mut tail, vec![numbered(1, 7), end(2, 100)]);
    assert_ne!(
        read(&mut tail, vec![begin, silent(4), placed(5, 210)]),
        Reached::Yes,
        "something may be missing"
    );
    assert_eq!(read(&mut tail, vec![numbered(6, 8)]), Reached::Yes);
}

#[test]
fn no_image_from_before_a_loss_makes_up_for_it() {
    let (mut tail, _) = tail("stream: shop.cdc");
    install(&tail.engine, "stream: shop.cdc", "{name: images, table: s.t, onChange: Hydrate}");
    let plan = tail.plan().unwrap();
    tail.attach(&plan, Tick(2));
    let hydrated = |tail: &mut Tail, entries: Vec<Record>| {
        tail.apply(reading(vec![("shop.cdc".to_owned(), entries)], 20), &plan, Now::read()).unwrap();
        count(&tail.engine.catalog().unwrap().caches["images"].stats.hydrated)
    };
    assert_eq!(hydrated(&mut tail, vec![placed(1, 90), end(2, 200)]), 1);
    tail.announce(Break::EventsMissed, false, Tick(3));
    assert_eq!(hydrated(&mut tail, vec![placed(3, 150)]), 1, "what ended at 200 may have changed it");
    assert_eq!(hydrated(&mut tail, vec![placed(4, 250)]), 2);
}

/// A snapshot begins in one of several streams, and another server's definition comes in one of its own: ahead of what
/// was written before.
#[test]
fn no_image_from_before_a_break_is_taken_after_it() {
    let layout = "topicPrefix: shop";
    let (mut tail, _) = tail(layout);
    let caches =
        "{name: images, table: s.t, onChange: Hydrate}, {name: others, table: s.a, onChange: Hydrate}";
    install(&tail.engine, layout, caches);
    let plan = tail.plan().unwrap();
    let server = ServerIdentity { history: "a".into(), connection: None };
    let states = plan.streams.keys().map(|name| (name.clone(), None)).collect();
    tail.position(&plan, Survey { server, link: None, states }, Tick(1));
    tail.attach(&plan, Tick(2));
    let source = |server: u8, pos: u64| {
        format!(
            "\"db\":\"s\",\"table\":\"t\",\"server_id\":{server},\"file\":\"b.1\",\"pos\":{pos},\"ts_ms\":1"
        )
    };
    let rows = |from: u64, server: u8, count: usize| {
        let image =
            |n| format!("{{\"after\":{{\"id\":7}},\"op\":\"u\",\"source\":{{{}}}}}", source(server, n));
        let rows = (from..).map(|n| entry(n, "{\"id\":7}", &image(n))).take(count).collect();
        ("shop.s.t".to_owned(), rows)
    };
    let altered = |n: u64| {
        let changes = "[{\"type\":\"ALTER\",\"id\":\"s.t\"}]";
        let value =
            format!("{{\"source\":{{{}}},\"ddl\":\"ALTER\",\"tableChanges\":{changes}}}", source(2, n));
        ("shop".to_owned(), vec![entry(n, "{\"databaseName\":\"s\"}", &value)])
    };
    let mut hydrated = |entries| {
        let whole = tail.apply(reading(entries, 20), &plan, Now::read()).unwrap();
        (whole, count(&tail.engine.catalog().unwrap().caches["images"].stats.hydrated))
    };
    assert_eq!(hydrated(vec![rows(1, 1, 2)]), (true, 2));
    assert_eq!(hydrated(vec![altered(100), rows(3, 1, 20)]), (false, 2), "there is more from before");
    assert_eq!(hydrated(vec![rows(23, 1, 2)]), (true, 2));
    assert_eq!(hydrated(vec![rows(101, 2, 1)]), (true, 2), "nothing ranks it with the row's last image");
    assert_eq!(hydrated(vec![rows(102, 2, 1)]), (true, 3));
    let began = "{\"after\":{\"id\":1},\"op\":\"r\",\"source\":{\"db\":\"s\",\"table\":\"a\",\"snapshot\":\"first\"}}";
    let began = ("shop.s.a".to_owned(), vec![entry(200, "{\"id\":1}", began)]);
    assert_eq!(hydrated(vec![began, rows(103, 2, 20)]), (false, 3));
    assert_eq!(hydrated(vec![rows(123, 2, 1)]), (true, 3));
    assert_eq!(hydrated(vec![rows(124, 2, 1)]), (true, 4));
}

#[test]
fn who_has_not_seen_a_statement_about_a_table_proves_nothing_by_the_commit_before_it() {
    let altered = |n: u64, gtid: &str| {
        let value = format!(
            "{{\"source\":{{\"db\":\"s\",\"gtid\":\"{gtid}\"}},\"ddl\":\"ALTER\",\
             \"tableChanges\":[{{\"type\":\"ALTER\",\"id\":\"\\\"s\\\".\\\"t\\\"\"}}]}}"
        );
        ("shop".to_owned(), entry(n, "{\"databaseName\":\"s\"}", &value))
    };
    let (mut tail, plan) = tail("topicPrefix: shop");
    let whole = [("BEGIN", "0-1-4"), ("END", "0-1-4"), ("BEGIN", "0-1-5")];
    let mut read: Vec<_> = (1..).zip(whole).map(|(n, (status, gtid))| marker(n, status, gtid)).collect();
    read.push(altered(4, "0-1-5"));
    assert!(!prove(&mut tail, &plan, read, "gtid:0-1-4"), "it has been applied");
    // Of another domain, what comes next says nothing of it.
    let read = vec![marker(5, "BEGIN", "1-1-7"), marker(6, "END", "1-1-7")];
    assert!(!prove(&mut tail, &plan, read, "gtid:0-1-4,1-1-7"));
    assert!(is_proven(&tail, &"gtid:0-1-5,1-1-7".parse().unwrap()));
}

/// PostgreSQL writes the changes of several transactions among each other, and each transaction where it commits.
#[test]
fn what_is_under_way_does_not_count_as_applied_through_the_commit_before_it() {
    let (mut tail, plan) = tail("topicPrefix: shop");
    let early = |n: u64| ("shop.s.t".to_owned(), placed(n, 30));
    let read =
        vec![marker(1, "BEGIN", "4:20"), marker(2, "END", "4:40"), marker(3, "BEGIN", "5:30"), early(4)];
    assert!(!prove(&mut tail, &plan, read, "lsn:0/28"), "it is of the fifth");
    assert!(prove(&mut tail, &plan, vec![marker(5, "END", "5:50")], "lsn:0/32"));
}

#[test]
fn what_has_begun_may_have_been_applied_in_part() {
    let (mut tail, plan) = tail("topicPrefix: shop");
    let flattened = |n: u64| ("shop.s.t".to_owned(), entry(n, "{\"id\":7}", "{\"id\":7}"));
    let read = vec![
        marker(1, "BEGIN", "0-1-4"),
        marker(2, "END", "0-1-4"),
        marker(3, "BEGIN", "0-1-5"),
        // Rows without an envelope name no transaction.
        flattened(4),
    ];
    assert!(!prove(&mut tail, &plan, read, "gtid:0-1-4"), "this row may be of the next");
    let read = vec![marker(5, "END", "0-1-5")];
    assert!(!prove(&mut tail, &plan, read, "gtid:0-1-4"));
    assert!(is_proven(&tail, &"gtid:0-1-5".parse().unwrap()));
}

#[test]
fn the_end_of_a_transaction_that_is_read_once_more_proves_nothing() {
    let (mut tail, plan) = tail("stream: shop.cdc");
    // Whoever read at 150 hasn't seen what was committed behind 190, and came to Redis before anything was read.
    tail.continuity.reset();
    tail.recall(&plan, "shop.cdc", &[placed(1, 190)], Tick(2));
    assert!(!proves(&mut tail, &plan, vec![placed(2, 90), end(3, 100)], 150), "it is read once more");
    assert!(proves(&mut tail, &plan, vec![placed(4, 190), end(5, 200)], 200));
}

#[test]
fn where_the_log_ends_outlives_an_epoch_and_no_other_database() {
    for (why, known) in
        [(Break::EventsMissed, true), (Break::ServerChanged, true), (Break::DatabaseChanged, false)]
    {
        let (mut tail, plan) = tail("stream: shop.cdc");
        // The transaction at 190 is under way when something is lost.
        assert!(proves(&mut tail, &plan, vec![placed(1, 170), end(2, 180), placed(3, 190)], 180));
        tail.announce(why, false, Tick(2));
        assert_eq!(proves(&mut tail, &plan, vec![placed(4, 170), end(5, 185)], 186), !known, "{why}");
    }
}
