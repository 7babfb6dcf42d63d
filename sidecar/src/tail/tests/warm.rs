//! Caches that start with what the stream still tells of.

use super::{
    Arc, Break, Catalog, Engine, Now, Place, Plan, Record, ServerIdentity, Survey, Tail, Tick, at, beat,
    count, entry, install, numbered, reading,
};
use crate::{
    coherence::Refusal,
    continuity::StreamState,
    engine::{Answer, Fill, Wanted},
    entry::Value,
    key::Key,
    planted::{self, Bug},
};

/// How long ago everything was committed, in milliseconds.
const AGE: u64 = 60_000;

const CACHES: &str = "{name: images, table: s.t, onChange: Hydrate, warmStart: true}";

fn installed() -> Tail {
    let engine = Arc::new(Engine::new());
    install(&engine, "stream: shop.cdc", CACHES);
    let feed = Arc::clone(&engine.catalog().unwrap().feeds[0].0);
    Tail::new(engine, feed)
}

/// A tail that has read a stream with these entries, of which `removed` aren't there any more.
fn warm(removed: u64, entries: Vec<Record>) -> (Tail, Plan) {
    let mut tail = installed();
    let plan = tail.plan().unwrap();
    position(&mut tail, &plan, removed, &entries);
    read(&mut tail, &plan, entries);
    (tail, plan)
}

/// Positions a tail at a stream's first entry.
fn position(tail: &mut Tail, plan: &Plan, removed: u64, entries: &[Record]) {
    let server = ServerIdentity { history: "a".into(), connection: None };
    let length = entries.len() as u64;
    let state = StreamState {
        last: entries.last().map_or(Place::Start, |record| record.place),
        added: Some(removed + length),
        length,
        before: entries.first().map_or(Place::Start, |record| record.place.before()),
        removed: Place::Start,
        incarnation: None,
    };
    let states = vec![("shop.cdc".to_owned(), Some(state))];
    tail.position(plan, Survey { server, link: None, states }, Tick(1));
    tail.attach(plan, Tick(2));
}

fn read(tail: &mut Tail, plan: &Plan, entries: Vec<Record>) {
    let whole = tail.apply(reading([("shop.cdc".to_owned(), entries)], 50), plan, Now::read());
    assert_eq!(whole, Ok(true));
}

/// A row that a snapshot read at this place.
fn snapshot(n: u64, id: u64, lsn: u64) -> Record {
    event(n, id, "r", &format!("\"snapshot\":\"true\",\"lsn\":{lsn}"), "null")
}

/// A row that a transaction has written, whose end comes by itself.
fn written(n: u64, id: u64, lsn: u64, preceding: Option<u64>) -> Record {
    let preceding = preceding.map_or("null".to_owned(), |lsn| format!("\\\"{lsn}\\\""));
    let place = format!("\"lsn\":{lsn},\"sequence\":\"[{preceding},\\\"{lsn}\\\"]\"");
    let transaction = format!("{{\"id\":\"{lsn}:{lsn}\",\"total_order\":1,\"data_collection_order\":1}}");
    event(n, id, "u", &place, &transaction)
}

fn event(n: u64, id: u64, op: &str, place: &str, transaction: &str) -> Record {
    let ts = Now::read().wall_ms - AGE;
    let source = format!("{{\"db\":\"d\",\"schema\":\"s\",\"table\":\"t\",\"ts_ms\":{ts},{place}}}");
    let value = format!(
        "{{\"after\":{{\"id\":{id},\"n\":{n}}},\"op\":\"{op}\",\"source\":{source},\"transaction\":{transaction}}}"
    );
    entry(n, &format!("{{\"id\":{id}}}"), &value)
}

fn ended(n: u64, of: u64, commit: u64) -> Record {
    let id = format!("{of}:{commit}");
    let value = format!(
        "{{\"status\":\"END\",\"id\":\"{id}\",\"event_count\":1,\"data_collections\":[{{\"data_collection\":\"s.t\",\"event_count\":1}}]}}"
    );
    entry(n, &format!("{{\"id\":\"{id}\"}}"), &value)
}

fn catalog(tail: &Tail) -> Arc<Catalog> {
    tail.engine.catalog().unwrap()
}

/// Which entry's image is there of each of these rows; 0 for none.
fn held(tail: &Tail, ids: &[u64]) -> Vec<u64> {
    let cache = &catalog(tail).caches["images"];
    let held = |id: &u64| {
        let key = Key::from_path(&id.to_string(), cache.shape().forms.as_deref()).unwrap();
        let entry = tail.engine.current(cache, &key, Tick(3));
        entry.map_or(0, |entry| {
            let row: serde_json::Value = serde_json::from_slice(&entry.body).unwrap();
            row["n"].as_u64().unwrap()
        })
    };
    ids.iter().map(held).collect()
}

fn refused(tail: &Tail, why: Refusal) -> u64 {
    count(&catalog(tail).caches["images"].stats.refused[why as usize])
}

fn breaks(tail: &Tail) -> Vec<Break> {
    tail.feed.with_report(|report| report.breaks.keys().copied().collect())
}

#[test]
fn what_a_stream_still_tells_lives_from_its_commit_on() {
    let (mut tail, plan) = warm(0, vec![snapshot(1, 1, 10)]);
    let catalog = catalog(&tail);
    let cache = &catalog.caches["images"];
    let left = |tail: &Tail, id: &str| {
        let key = Key::from_path(id, cache.shape().forms.as_deref()).unwrap();
        let now = Tick::now();
        let entry = tail.engine.current(cache, &key, now).unwrap();
        (entry.age(now).as_secs(), entry.expires.since(now).as_secs())
    };
    read(&mut tail, &plan, vec![written(2, 2, 20, None)]);
    let ((old, before), (new, after)) = (left(&tail, "1"), left(&tail, "2"));
    assert!((60..70).contains(&old) && new < 10, "{old} s and {new} s");
    // A life is shortened by lot, by a tenth at most.
    assert!(before <= 3540 && after > 3200, "{before} s and {after} s are left");
    install(&tail.engine, "stream: shop.cdc", &CACHES.replace("warmStart", "ttl: 1m, warmStart"));
    let mut short = Tail::new(Arc::clone(&tail.engine), Arc::clone(&tail.feed));
    let plan = short.plan().unwrap();
    let entries = vec![snapshot(1, 1, 10), written(2, 2, 20, None)];
    position(&mut short, &plan, 0, &entries);
    read(&mut short, &plan, entries);
    assert_eq!(held(&short, &[1, 2]), [0, 0], "their lives are over");
}

#[test]
fn keys_that_look_otherwise_take_no_row_from_those_that_come() {
    let text = |n, id: &str| {
        let source = format!(
            "{{\"db\":\"d\",\"schema\":\"s\",\"table\":\"t\",\"ts_ms\":{},\"snapshot\":\"true\",\"lsn\":10}}",
            Now::read().wall_ms
        );
        let value = format!("{{\"after\":{{\"id\":\"{id}\",\"n\":{n}}},\"op\":\"r\",\"source\":{source}}}");
        entry(n, &format!("{{\"id\":\"{id}\"}}"), &value)
    };
    let (tail, _) = warm(0, vec![text(1, "ABCD"), text(2, "A-1"), text(3, "x y")]);
    assert_eq!(refused(&tail, Refusal::NotNewer), 0);
    assert!(count(&catalog(&tail).caches["images"].stats.entries) >= 1, "the last is there");
}

#[test]
fn what_a_truncate_made_void_stays_so_after_a_loss_of_place() {
    let (mut tail, plan) = warm(0, vec![written(1, 1, 20, Some(10)), written(2, 1, 30, Some(10))]);
    let truncate =
        "{\"op\":\"t\",\"source\":{\"db\":\"d\",\"schema\":\"s\",\"table\":\"t\",\"lsn\":40,\"ts_ms\":1}}";
    read(&mut tail, &plan, vec![entry(3, "default", truncate)]);
    tail.lose(Break::ServerChanged, Tick(3));
    let shorter = vec![written(1, 1, 20, Some(10)), written(2, 1, 30, Some(10))];
    position(&mut tail, &plan, 0, &shorter);
    read(&mut tail, &plan, shorter);
    assert_eq!(held(&tail, &[1]), [0]);
}

#[test]
fn a_stream_that_is_trimmed_while_it_is_read_is_noticed_at_once() {
    let mut tail = installed();
    let plan = tail.plan().unwrap();
    let entries: Vec<_> = (1..=9).map(|n| snapshot(n, n, 10)).collect();
    position(&mut tail, &plan, 0, &entries);
    let server = ServerIdentity { history: "a".into(), connection: None };
    let mut check = |length: u64, some: &[Record]| {
        let before = at(10 - length).before();
        let state = StreamState {
            last: at(9),
            added: Some(9),
            length,
            before,
            removed: Place::Start,
            incarnation: None,
        };
        let states = vec![("shop.cdc".to_owned(), Some(state))];
        let survey = Survey { server: server.clone(), link: None, states };
        let read = vec![("shop.cdc".to_owned(), some.to_vec())];
        tail.check(&plan, &survey, reading(read, 2), Tick(3), Now::read());
        breaks(&tail)
    };
    assert_eq!(check(9, &entries[..2]), [], "seven are unread");
    assert_eq!(check(5, &entries[2..4]), [], "five are unread, and there");
    assert_eq!(check(2, &entries[4..6]), [Break::EntriesMissed]);
}

#[test]
fn a_stream_that_is_whole_tells_all_rows() {
    let begin = || vec![snapshot(1, 1, 10), snapshot(2, 2, 10), snapshot(3, 3, 10)];
    let (mut tail, plan) = warm(0, begin());
    assert_eq!(held(&tail, &[1, 2, 3, 4]), [1, 2, 3, 0]);
    // The first number of the log: it follows on the snapshot, and so nothing has to be void.
    read(&mut tail, &plan, vec![written(4, 2, 20, None), ended(5, 20, 30), written(6, 4, 40, Some(30))]);
    assert_eq!(held(&tail, &[1, 2, 3, 4]), [1, 4, 3, 6]);
    assert_eq!(breaks(&tail), []);
    assert_eq!(tail.feed.delays.counts().sum::<u64>(), 3, "what was there says nothing of delays");
    // One commit before it never came.
    read(&mut tail, &plan, vec![ended(7, 40, 50), written(8, 4, 70, Some(60))]);
    assert_eq!(held(&tail, &[1, 4]), [0, 0]);
    assert_eq!(breaks(&tail), [Break::TransactionsMissed]);

    // The transaction between the snapshot and the first event was lost.
    let mut entries = begin();
    entries.push(written(4, 2, 40, Some(30)));
    let (tail, _) = warm(0, entries);
    assert_eq!((held(&tail, &[1, 2, 3]), breaks(&tail)), (vec![0; 3], vec![Break::TransactionsMissed]));
}

#[test]
fn a_snapshot_that_comes_after_reading_began_voids_what_was_filled_before() {
    let (mut tail, plan) = warm(0, Vec::new());
    let lease = |tail: &Tail| {
        let catalog = catalog(tail);
        let cache = Arc::clone(&catalog.caches["images"]);
        (cache.fence.last().seq, cache)
    };
    let (before, cache) = lease(&tail);
    read(&mut tail, &plan, vec![snapshot(1, 1, 10), snapshot(2, 2, 10)]);
    assert!(!cache.fence.holds(before), "a row that was deleted meanwhile has no event");
    assert_eq!((held(&tail, &[1, 2]), breaks(&tail)), (vec![1, 2], vec![Break::SnapshotBegan]));
    read(&mut tail, &plan, vec![written(3, 2, 20, None)]);
    assert_eq!(held(&tail, &[1, 2]), [1, 3]);
}

#[test]
fn a_snapshot_that_comes_later_is_none_of_the_beginning() {
    // The first one was broken off: what was deleted before the second, it still has.
    let (tail, _) = warm(0, vec![snapshot(1, 1, 10), snapshot(2, 2, 10), snapshot(3, 1, 15)]);
    assert_eq!((held(&tail, &[1, 2]), breaks(&tail)), (vec![0; 2], vec![Break::SnapshotBegan]));
    let after_the_log = vec![written(1, 1, 10, None), snapshot(2, 2, 20)];
    let (tail, _) = warm(0, after_the_log);
    assert_eq!((held(&tail, &[1, 2]), breaks(&tail)), (vec![0; 2], vec![Break::SnapshotBegan]));
    // Something was there before it.
    let (tail, _) = warm(1, vec![snapshot(1, 1, 10)]);
    assert_eq!((held(&tail, &[1]), breaks(&tail)), (vec![0], vec![Break::SnapshotBegan]));
}

#[test]
fn a_snapshot_with_defaults_for_nulls_is_void_with_the_first_event_that_tells() {
    let told = "\"lsn\":20,\"snapshot\":\"false\"";
    for (second, held_then) in [(event(2, 2, "u", told, "null"), [0, 0]), (written(2, 2, 20, None), [1, 2])] {
        let (mut tail, plan) = warm(0, vec![snapshot(1, 1, 10)]);
        read(&mut tail, &plan, vec![second]);
        assert_eq!(held(&tail, &[1, 2]), held_then);
    }
    let (mut tail, plan) = warm(0, vec![snapshot(1, 1, 10)]);
    read(&mut tail, &plan, vec![event(2, 2, "u", told, "null")]);
    assert_eq!(refused(&tail, Refusal::NullsReplaced), 2, "the snapshot's, and the event's own");
}

#[test]
fn what_was_removed_and_is_written_once_more_is_no_news() {
    let left = || {
        vec![written(11, 1, 50, Some(45)), ended(12, 50, 60), written(13, 2, 55, Some(60)), ended(14, 55, 70)]
    };
    let (mut tail, plan) = warm(9, left());
    // Its first number voids what came before it, and an image that may be older than what was removed isn't taken.
    assert_eq!(held(&tail, &[1, 2]), [0, 13]);
    assert_eq!(breaks(&tail), []);
    // Debezium writes once more what it wrote since an offset that is older than the first entry.
    let again = [(31, 3, 30, 20), (33, 3, 40, 35), (35, 1, 50, 45), (37, 2, 55, 60)];
    for (n, id, lsn, preceding) in again {
        let end = ended(n + 1, lsn, if lsn == 55 { 70 } else { lsn + 10 });
        read(&mut tail, &plan, vec![written(n, id, lsn, Some(preceding)), end]);
        assert_eq!(held(&tail, &[3]), [0], "another change of the row may have been removed");
    }
    read(&mut tail, &plan, vec![written(40, 3, 80, Some(70))]);
    assert_eq!(held(&tail, &[3]), [40]);
    // A transaction that began long before.
    let (mut tail, plan) = warm(9, vec![ended(11, 1, 100)]);
    let next = written(14, 1, 105, Some(102));
    read(&mut tail, &plan, vec![written(12, 1, 95, Some(100)), ended(13, 95, 102), next]);
    assert_eq!(held(&tail, &[1]), [14]);
    assert_eq!(refused(&tail, Refusal::NotNewer), 1);
}

/// What came after it may have been lost before reading began, and nobody counts.
#[test]
fn what_is_read_again_without_transactions_numbers_is_not_taken() {
    let bare = |n: u64, lsn: u64| {
        let place = format!("\"lsn\":{lsn},\"sequence\":\"[\\\"5\\\",\\\"{lsn}\\\"]\"");
        event(n, n, "u", &place, "null")
    };
    let read_before = || {
        let (tail, _) = warm(0, vec![bare(1, 10)]);
        held(&tail, &[1])
    };
    assert_eq!(read_before(), [0]);
    assert_eq!(planted::tests::with(Some(Bug::UnnumberedHydrated), read_before), [1]);
    let (mut tail, plan) = warm(0, vec![bare(1, 10)]);
    read(&mut tail, &plan, vec![bare(2, 20)]);
    assert_eq!(held(&tail, &[1, 2]), [0, 2], "what comes while the stream is followed is");
}

#[test]
fn where_entries_are_missing_in_between_nothing_is_read_again() {
    let cursor = || {
        let mut tail = installed();
        let plan = tail.plan().unwrap();
        let holed = StreamState {
            last: at(9),
            added: Some(9),
            length: 5,
            before: at(2),
            removed: at(4),
            incarnation: None,
        };
        let server = ServerIdentity { history: "a".into(), connection: None };
        let states = vec![("shop.cdc".to_owned(), Some(holed))];
        tail.position(&plan, Survey { server, link: None, states }, Tick(1));
        tail.place("shop.cdc").unwrap()
    };
    assert_eq!(cursor(), at(9));
    assert_eq!(
        planted::tests::with(Some(Bug::HolesIgnored), cursor),
        at(2),
        "the rule is what keeps it from that"
    );
}

#[test]
fn after_a_loss_of_place_all_is_read_again() {
    let entries = vec![snapshot(1, 1, 10), written(2, 2, 20, None), ended(3, 20, 30)];
    let (mut tail, plan) = warm(0, entries.clone());
    assert_eq!(held(&tail, &[1, 2]), [1, 2]);
    read(&mut tail, &plan, vec![beat(4)]);
    assert!(super::heard(&tail).is_some());
    tail.lose(Break::ServerChanged, Tick(3));
    assert_eq!(held(&tail, &[1, 2]), [0, 0]);
    position(&mut tail, &plan, 0, &entries);
    assert_eq!(super::heard(&tail), None, "nothing is vouched for before it is read again");
    read(&mut tail, &plan, entries);
    assert_eq!(held(&tail, &[1, 2]), [1, 2]);
    // The new server lacks the end of the stream: of that row more is known.
    read(&mut tail, &plan, vec![written(5, 1, 40, Some(30))]);
    tail.lose(Break::ServerChanged, Tick(4));
    let shorter = vec![snapshot(1, 1, 10), written(2, 2, 20, None)];
    position(&mut tail, &plan, 0, &shorter);
    read(&mut tail, &plan, shorter);
    assert_eq!(held(&tail, &[1, 2]), [0, 2]);
}

#[test]
fn a_loss_within_what_is_left_is_found() {
    let left = vec![numbered(1, 7), written(2, 1, 50, Some(45)), ended(3, 50, 60), numbered(4, 9)];
    let (tail, _) = warm(9, left);
    assert_eq!((held(&tail, &[1]), breaks(&tail)), (vec![0], vec![Break::HeartbeatMissed]));
}

#[test]
fn a_fill_while_the_stream_is_read_outranks_what_was_read_before_it() {
    let entries = vec![snapshot(1, 1, 10), snapshot(2, 2, 10)];
    let mut tail = installed();
    let plan = tail.plan().unwrap();
    position(&mut tail, &plan, 0, &entries);
    let catalog = catalog(&tail);
    let cache = &catalog.caches["images"];
    // Its keys are known before the first event.
    let key = Key::from_path("1", cache.shape().forms.as_deref()).unwrap();
    let wanted = Wanted { lease: true, ..Wanted::default() };
    let Answer::Miss(miss) = tail.engine.get(&catalog, cache, &key, wanted, Tick(3)) else {
        panic!("nothing is vouched for yet")
    };
    let lease = tail.engine.lease(cache, &key, &miss.lease.unwrap().token).unwrap();
    let value = Value::new("{\"id\":1,\"n\":99}".into(), "text/plain".into());
    let fill = Fill { lease, value, terms: crate::engine::Terms::default() };
    tail.engine.fill(&catalog, cache, &key, fill, Now::read()).unwrap();
    read(&mut tail, &plan, entries);
    assert_eq!(held(&tail, &[1, 2]), [0, 2], "a snapshot doesn't say when it read a row");
    assert_eq!(refused(&tail, Refusal::Outranked), 1);
}
