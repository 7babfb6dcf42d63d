//! What a view of rows shows of a stream, as MariaDB's connector writes it.

use super::{
    Arc, Binding, Catalog, Engine, Newer, Now, Plan, Record, ServerIdentity, Survey, Tail, Tick, at, entry,
    manifest, reading,
};
use crate::{upstream::allowance::Allowance, views::roster::Why};

/// When it begins, in milliseconds since the Unix epoch.
const T: u64 = 1_700_000_000_000;

struct Stream {
    engine: Arc<Engine>,
    tail: Tail,
    plan: Plan,
    entries: u64,
    transactions: u64,
}

impl Stream {
    /// One that is being followed, with a snapshot that was asked for, of one row.
    fn whole() -> Self {
        let engine = Arc::new(Engine::new());
        let text = "{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {name: t}, spec: {
            sources: [{name: cdc, redisStream: {url: 'redis://localhost', stream: shop.cdc}}],
            freshness: {maxStaleness: 5s, heartbeat: Database, readLag: 1s, clockSkew: 500ms},
            caches: [{name: rows, table: s.t, onChange: Hydrate, warmStart: true}],
            views: [{name: all, cache: rows, orderBy: /id, limit: 9}]}}";
        let binding = Binding::parse(&manifest::read(text).unwrap().object).unwrap();
        engine.install(Catalog::build(binding, Newer::default(), None));
        let feed = Arc::clone(&engine.catalog().unwrap().feeds[0].0);
        let mut tail = Tail::new(Arc::clone(&engine), feed);
        let plan = tail.plan().unwrap();
        let server = ServerIdentity { history: "a".into(), connection: None };
        tail.position(
            &plan,
            Survey { server, link: None, states: vec![("shop.cdc".to_owned(), None)] },
            Tick(1),
        );
        tail.attach(&plan, Tick(2));
        let mut stream = Self { engine, tail, plan, entries: 0, transactions: 0 };
        stream.beat(T);
        // With the first transaction numbers begin.
        stream.beat(T + 5_000);
        stream.beat(T + 10_000);
        stream.snapshot(T + 10_100, "{\"id\":1,\"note\":null}");
        stream.beat(T + 12_000);
        assert_eq!(stream.shown(), Ok("[{\"id\":1,\"note\":null}]".to_owned()));
        stream
    }

    fn next(&mut self, key: &str, value: &str) -> Record {
        self.entries += 1;
        entry(self.entries, key, value)
    }

    fn read(&mut self, entries: Vec<Record>) {
        let whole = self.tail.apply(reading([("shop.cdc".to_owned(), entries)], 50), &self.plan, Now::read());
        assert_eq!(whole, Ok(true));
    }

    fn marker(&mut self, status: &str, counts: &str) -> Record {
        let id = format!("0-1-{}", self.transactions);
        let value = format!("{{\"status\":\"{status}\",\"id\":\"{id}\",{counts},\"ts_ms\":{T}}}");
        self.next(&format!("{{\"id\":\"{id}\"}}"), &value)
    }

    fn begin(&mut self) -> Record {
        self.transactions += 1;
        self.marker("BEGIN", "\"event_count\":null,\"data_collections\":null")
    }

    fn end(&mut self, table: &str) -> Record {
        let counts = format!(
            "\"event_count\":1,\"data_collections\":[{{\"data_collection\":\"s.{table}\",\"event_count\":1}}]"
        );
        self.marker("END", &counts)
    }

    /// An event of the transaction that is under way; `snapshot` is what it says of snapshots.
    fn event(&mut self, (table, op, snapshot): (&str, &str, &str), id: u64, after: &str, at: u64) -> Record {
        let (n, pos) = (self.transactions, self.entries * 10);
        let value = format!(
            "{{\"before\":null,\"after\":{after},\"source\":{{\"connector\":\"mariadb\",\"ts_ms\":{at},\"snapshot\":{snapshot},\
             \"db\":\"s\",\"table\":\"{table}\",\"server_id\":1,\"gtid\":\"0-1-{n}\",\"file\":\"bin.000001\",\"pos\":{pos},\"row\":0}},\
             \"transaction\":{{\"id\":\"0-1-{n}\",\"total_order\":1,\"data_collection_order\":1}},\"op\":\"{op}\",\"ts_ms\":{at}}}"
        );
        self.next(&format!("{{\"id\":{id}}}"), &value)
    }

    fn beat(&mut self, at: u64) {
        let begin = self.begin();
        let after = format!("{{\"id\":1,\"beat\":{},\"at_ms\":{at}}}", self.transactions);
        let beat = self.event(("freshet_heartbeat", "u", "null"), 1, &after, at);
        let end = self.end("freshet_heartbeat");
        self.read(vec![begin, beat, end]);
    }

    fn write(&mut self, id: u64, after: &str, snapshot: &str, at: u64) {
        let begin = self.begin();
        let event = self.event(("t", "u", snapshot), id, after, at);
        let end = self.end("t");
        self.read(vec![begin, event, end]);
    }

    fn snapshot(&mut self, at: u64, row: &str) {
        let notice = |this: &mut Self, kind: &str, more: &str| {
            let value = format!(
                "{{\"id\":\"n\",\"type\":\"{kind}\",\"aggregate_type\":\"Initial Snapshot\",\
                 \"additional_data\":{{\"connector_name\":\"shop\"{more}}},\"timestamp\":{at}}}"
            );
            this.next("{\"id\":\"n\"}", &value)
        };
        let n = self.transactions;
        let read = format!(
            "{{\"before\":null,\"after\":{row},\"source\":{{\"ts_ms\":{at},\"snapshot\":\"first\",\"db\":\"s\",\"table\":\"t\",\
             \"server_id\":0,\"gtid\":\"0-1-{n}\",\"file\":\"bin.000001\",\"pos\":1}},\"op\":\"r\",\"ts_ms\":{at}}}"
        );
        let entries = vec![
            notice(self, "STARTED", ""),
            notice(self, "IN_PROGRESS", ",\"data_collections\":\"s.t\""),
            self.next("{\"id\":1}", &read),
            notice(
                self,
                "TABLE_SCAN_COMPLETED",
                ",\"scanned_collection\":\"s.t\",\"total_rows_scanned\":\"1\"",
            ),
            notice(self, "COMPLETED", ""),
        ];
        self.read(entries);
    }

    fn shown(&self) -> Result<String, Why> {
        shown(&self.engine.catalog().unwrap())
    }
}

fn shown(catalog: &Catalog) -> Result<String, Why> {
    let top = catalog.row_views["all"].top(&Allowance::default(), 1 << 30).unwrap()?;
    Ok(top.first(9).0.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect())
}

#[test]
fn a_truncation_counts_though_no_end_follows_it() {
    let mut stream = Stream::whole();
    let begin = stream.begin();
    let truncated = stream.event(("t", "t", "null"), 0, "null", T + 13_000);
    stream.read(vec![begin, truncated.clone()]);
    assert_eq!(stream.shown(), Ok("[]".to_owned()));
    stream.write(2, "{\"id\":2,\"note\":null}", "null", T + 14_000);
    assert_eq!(stream.shown(), Ok("[{\"id\":2,\"note\":null}]".to_owned()));
    let again = Record { place: at(99), ..truncated };
    stream.read(vec![again]);
    assert_eq!(stream.shown(), Err(Why::Behind), "it is read once more");
}

#[test]
fn a_row_with_defaults_for_nulls_is_never_shown() {
    let mut stream = Stream::whole();
    stream.write(2, "{\"id\":2,\"note\":\"none\"}", "\"false\"", T + 13_000);
    assert_eq!(stream.shown(), Err(Why::NullsReplaced), "before a heartbeat tells");
}

#[test]
fn heartbeats_outside_transactions_prove_nothing_to_it() {
    let mut stream = Stream::whole();
    let after = format!("{{\"id\":1,\"beat\":{},\"at_ms\":{}}}", stream.transactions + 1, T + 13_000);
    let value = format!(
        "{{\"after\":{after},\"op\":\"u\",\"source\":{{\"db\":\"s\",\"table\":\"freshet_heartbeat\",\"snapshot\":null}}}}"
    );
    let beat = stream.next("{\"id\":1}", &value);
    stream.read(vec![beat]);
    assert_eq!(stream.shown(), Err(Why::NoTransactions));
}

/// What is read by the definition of before a reload is told to the rows that the next one has; and a request that began before
/// has that definition, too.
#[test]
fn rows_that_are_handed_on_miss_nothing_and_those_that_are_not_are_shown_to_nobody() {
    let mut stream = Stream::whole();
    let before = stream.engine.catalog().unwrap();
    let defined = |stream: &Stream, columns: &str, epoch: &str| {
        let text = format!(
            "{{apiVersion: freshet.dev/v1alpha1, kind: CacheBinding, metadata: {{name: t}}, spec: {{
            sources: [{{name: cdc, redisStream: {{url: 'redis://localhost', stream: shop.cdc}}}}],
            freshness: {{maxStaleness: 5s, heartbeat: Database, readLag: 1s, clockSkew: 500ms}}, epoch: '{epoch}',
            caches: [{{name: rows, table: s.t, onChange: Hydrate, warmStart: true, ttl: 9m{columns}}}],
            views: [{{name: all, cache: rows, orderBy: /id, limit: 9}}]}}}}"
        );
        let binding = Binding::parse(&manifest::read(&text).unwrap().object).unwrap();
        let next = Catalog::build(binding, Newer::default(), stream.engine.catalog().as_deref());
        stream.engine.install(next);
    };
    let whole = stream.shown();
    defined(&stream, "", "");
    assert_eq!((shown(&before), stream.shown()), (whole.clone(), whole), "the rows are as they were");
    stream.write(2, "{\"id\":2,\"note\":null}", "null", T + 13_000);
    let written = stream.shown();
    assert!(written.as_ref().is_ok_and(|text| text.contains("{\"id\":2")), "{written:?}");
    assert_eq!(shown(&before), written);
    defined(&stream, ", columns: [id]", "");
    assert_eq!(
        (shown(&before), stream.shown()),
        (Err(Why::Replaced), Err(Why::NoSnapshot)),
        "they aren't any more"
    );
}

#[test]
fn nobody_waits_for_rows_that_are_being_changed() {
    let mut stream = Stream::whole();
    let catalog = stream.engine.catalog().unwrap();
    let view = &catalog.row_views["all"];
    let top = || view.top(&Allowance::default(), 1 << 30).map(|top| top.is_ok());
    let roster = view.cache.roster.load_full().unwrap();
    assert!(stream.shown().is_ok());
    let before = view.report();
    assert_eq!(roster.with(|_| top()), Some(true), "what was shown last is still the table");
    stream.write(2, "{\"id\":2,\"note\":null}", "null", T + 13_000);
    let (changing, report) = roster.with(|_| ((top(), view.missing()), view.report()));
    assert_eq!((changing, report.rows, report.why), ((None, None), before.rows, None));
    assert_eq!((top(), view.report().rows), (Some(true), before.rows + 1));
}
