//! Debezium Server: reads the log and writes to Redis the bytes that the real one writes, and sometimes fewer.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use freshet_crds::topics::HEARTBEAT_TABLE;

use super::{
    database::{Beat, Commit, Database, Event, Op, Record, Row, Table},
    redis::{Fields, Redis, Says},
};

mod snapshots;

pub(crate) use snapshots::{Cause, Scan, Written};

/// The Unix time, in milliseconds, at which the simulation's clock is zero.
pub(crate) const EPOCH: u64 = 1_700_000_000_000;

/// What it calls logical messages where it counts them.
const MESSAGES: &str =
    "io.debezium.connector.postgresql.LogicalDecodingMessageMonitor$LogicalDecodingMessageId@21cb26d4";

const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// How it is set up. Any of it can change with a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches of its configuration")]
pub(crate) struct Settings {
    pub(crate) extended: bool,
    pub(crate) schemas: bool,
    /// `replace.null.with.default`.
    pub(crate) defaults: bool,
    pub(crate) tombstones: bool,
    /// `REPLICA IDENTITY FULL`, so that nothing is missing from an image.
    pub(crate) full: bool,
    /// `ExtractNewRecordState`.
    pub(crate) flattened: bool,
    /// `provide.transaction.metadata`.
    pub(crate) transactions: bool,
}

#[derive(Debug)]
pub(crate) struct Debezium {
    /// Everything goes into one stream.
    routed: bool,
    /// The log is MariaDB's.
    binlog: bool,
    /// Milliseconds that the database's clock is ahead of the sidecar's.
    ahead: i64,
    pub(crate) settings: Settings,
    /// Records of the log that were read.
    pub(crate) sent: usize,
    /// Those that were there before it began, with a snapshot: it never reads them.
    pub(crate) first: usize,
    /// Notifications that were written.
    notices: u64,
}

impl Settings {
    pub(crate) fn of(bits: u8) -> Self {
        let bit = |n: u8| bits & (1 << n) != 0;
        Self {
            extended: bit(0),
            schemas: bit(1) && bit(2),
            defaults: bit(2) && bit(3),
            tombstones: bit(4),
            full: bit(5),
            flattened: bits & 0xe0 == 0xe0,
            transactions: bit(1) || bit(3),
        }
    }
}

impl Debezium {
    pub(crate) fn new(routed: bool, binlog: bool, ahead: i64, settings: Settings) -> Self {
        Self { routed, binlog, ahead, settings, sent: 0, first: 0, notices: 0 }
    }

    /// Milliseconds since the Unix epoch, by the database's clock.
    fn wall(&self, at: u64) -> u64 {
        (EPOCH + at).saturating_add_signed(self.ahead)
    }

    pub(crate) fn stream(&self, topic: &str) -> String {
        if self.routed { "shop.cdc".to_owned() } else { topic.to_owned() }
    }

    pub(crate) fn table_stream(&self, table: Table) -> String {
        self.stream(&format!("shop.s.{}", table.name()))
    }

    /// Writes a record of the log to its stream; says which changes are in Redis now.
    pub(crate) fn send(&self, number: usize, db: &Database, redis: &mut Redis, now: u64) -> Vec<usize> {
        let (topic, key, value, says) = match db.log[number] {
            Record::Begin(_) | Record::End(_) if !self.settings.transactions => return Vec::new(),
            // A statement about definitions begins in MariaDB's log, and doesn't end.
            Record::End(commit) if self.binlog && db.is_definition(commit) => return Vec::new(),
            Record::Begin(commit) => self.marker(commit, false, db, now),
            Record::End(commit) => self.marker(commit, true, db, now),
            Record::Beat(beat) => {
                let (topic, key, value) =
                    if self.binlog { self.counted_beat(beat, db, now) } else { self.beat(beat, db, now) };
                (topic, key, value, Says::Beat(Some(number)))
            }
            Record::Change(index) => return self.change(index, db, redis, now),
        };
        let fields = self.fields(&key, &value, None);
        redis.add(&self.stream(&topic), fields, says, now);
        Vec::new()
    }

    /// Debezium's own heartbeat.
    pub(crate) fn own_beat(&self, redis: &mut Redis, now: u64) {
        let value = format!("{{\"ts_ms\":{}}}", self.wall(now));
        let fields = self.fields("{\"serverName\":\"shop\"}", &value, None);
        redis.add(&self.stream("__debezium-heartbeat.shop"), fields, Says::Beat(None), now);
    }

    /// A heartbeat that is a logical message.
    fn beat(&self, beat: Beat, db: &Database, now: u64) -> (String, String, String) {
        let Beat { number, at, lsn, commit } = beat;
        let content = BASE64_STANDARD.encode(format!("{number}:{}", self.wall(at)));
        let (ts, time) = (self.wall(now), self.wall(at));
        let commit = commit.map(|commit| &db.commits[commit]);
        // Outside any transaction a message is its own commit.
        let preceding = preceding(commit.map_or(lsn, |commit| commit.preceding));
        let xid = commit.map_or("null".to_owned(), |commit| commit.xid.to_string());
        let transaction = commit.map_or("null".to_owned(), |commit| self.within(commit, lsn, 1, 1));
        let value = format!(
            "{{\"op\":\"m\",\"ts_ms\":{ts},\"source\":{{\"connector\":\"postgresql\",\"ts_ms\":{time},\"snapshot\":{},\"db\":\"d\",\
             \"sequence\":\"[{preceding},\\\"{lsn}\\\"]\",\"schema\":\"\",\"table\":\"\",\"txId\":{xid},\"lsn\":{lsn}}},\
             \"transaction\":{transaction},\
             \"message\":{{\"prefix\":\"freshet-hb\",\"content\":\"{content}\"}}}}",
            self.no_snapshot(),
        );
        ("shop.message".to_owned(), "{\"prefix\":\"freshet-hb\"}".to_owned(), value)
    }

    /// A heartbeat that is a row.
    fn counted_beat(&self, beat: Beat, db: &Database, now: u64) -> (String, String, String) {
        let commit = &db.commits[beat.commit.expect("a row is written by a transaction")];
        let (at, lsn, server, n) = (self.wall(beat.at), beat.lsn, commit.server, beat.number);
        let (file, pos) = (lsn / 4096, lsn % 4096);
        let gtid = self.transaction(commit, lsn);
        let value = format!(
            "{{\"before\":null,\"after\":{{\"id\":1,\"beat\":{n},\"at_ms\":{at}}},\"source\":{{\"connector\":\"mariadb\",\
             \"ts_ms\":{at},\"snapshot\":{},\"db\":\"s\",\"table\":\"{HEARTBEAT_TABLE}\",\"server_id\":{server},\
             \"gtid\":\"{gtid}\",\"file\":\"bin.{file:06}\",\"pos\":{pos},\"row\":0}},\
             \"transaction\":{},\"op\":\"u\",\"ts_ms\":{}}}",
            self.no_snapshot(),
            self.within(commit, lsn, 1, 1),
            self.wall(now)
        );
        (format!("shop.s.{HEARTBEAT_TABLE}"), "{\"id\":1}".to_owned(), value)
    }

    /// An event's place in its transaction.
    fn within(&self, commit: &Commit, lsn: u64, order: u32, of_table: usize) -> String {
        if !self.settings.transactions {
            return "null".to_owned();
        }
        let id = self.transaction(commit, lsn);
        format!("{{\"id\":\"{id}\",\"total_order\":{order},\"data_collection_order\":{of_table}}}")
    }

    fn marker(&self, number: usize, end: bool, db: &Database, now: u64) -> (String, String, String, Says) {
        let commit = &db.commits[number];
        let is_beat = commit.events.is_empty();
        let ts = self.wall(now);
        let (status, lsn) = if end { ("END", commit.lsn) } else { ("BEGIN", commit.lsn - 1) };
        let id = self.transaction(commit, lsn);
        let counts = if end {
            let data = &db.events[commit.events.clone()];
            let of = |table: Table| data.iter().filter(|e| e.table == table && e.op != Op::Redefine).count();
            let mut collections: Vec<String> = Table::ALL
                .into_iter()
                .filter(|table| of(*table) > 0)
                .map(|t| format!("{{\"data_collection\":\"s.{}\",\"event_count\":{}}}", t.name(), of(t)))
                .collect();
            if is_beat {
                let name = if self.binlog { "s.freshet_heartbeat" } else { MESSAGES };
                collections.push(format!("{{\"data_collection\":\"{name}\",\"event_count\":1}}"));
            }
            let all = data.len() + usize::from(is_beat);
            format!("\"event_count\":{all},\"data_collections\":[{}]", collections.join(","))
        } else {
            "\"event_count\":null,\"data_collections\":null".to_owned()
        };
        let value = format!("{{\"status\":\"{status}\",\"id\":\"{id}\",{counts},\"ts_ms\":{ts}}}");
        let says = if end { Says::End(number) } else { Says::Nothing };
        ("shop.transaction".to_owned(), format!("{{\"id\":\"{id}\"}}"), value, says)
    }

    fn change(&self, index: usize, db: &Database, redis: &mut Redis, now: u64) -> Vec<usize> {
        let event = &db.events[index];
        let stream = self.table_stream(event.table);
        let says = Says::Change(index);
        if event.op == Op::Redefine {
            let value = format!(
                "{{\"source\":{},\"databaseName\":\"s\",\"schemaName\":null,\"ddl\":\"ALTER\",\
                 \"tableChanges\":[{{\"type\":\"ALTER\",\"id\":\"\\\"s\\\".\\\"{}\\\"\"}}],\"ts_ms\":{}}}",
                self.source(event, db, "null"),
                event.table.name(),
                self.wall(now)
            );
            let fields = self.fields("{\"databaseName\":\"s\"}", &value, None);
            let added = redis.add(&self.stream("shop"), fields, says, now);
            return if added { vec![index] } else { Vec::new() };
        }
        let keyed = event.table.has_key() && event.op != Op::Truncate;
        let key = if keyed { format!("{{\"id\":{}}}", event.key) } else { "default".to_owned() };
        let headers = event.other.filter(|_| keyed).map(|other| {
            let name = if event.op == Op::Create { "__DEBEZIUM.OLDKEY" } else { "__DEBEZIUM.NEWKEY" };
            (name, format!("{{\"id\":{other}}}"))
        });
        let flattened = self.settings.flattened && !self.routed && event.op != Op::Truncate;
        let mut added = false;
        if !(flattened && event.op == Op::Delete && keyed) {
            let value = if flattened { self.image(event) } else { self.envelope(index, db, now) };
            let fields = self.fields(&key, &value, headers.as_ref().map(|(n, v)| (*n, v.as_str())));
            added |= redis.add(&stream, fields, says, now);
        }
        if event.op == Op::Delete && keyed && (self.settings.tombstones || flattened) {
            let fields = self.fields(&key, "default", headers.as_ref().map(|(n, v)| (*n, v.as_str())));
            // After its delete it says nothing that has to be heard.
            added |= redis.add(&stream, fields, if added { Says::Nothing } else { says }, now);
        }
        if added { vec![index] } else { Vec::new() }
    }

    /// The name of a transaction, in an entry that was written at this place of the log.
    fn transaction(&self, commit: &Commit, lsn: u64) -> String {
        if self.binlog {
            format!("0-{}-{}", commit.server, commit.number)
        } else {
            format!("{}:{lsn}", commit.xid)
        }
    }

    fn image(&self, event: &Event) -> String {
        let Some(row) = &event.after else { return "null".to_owned() };
        self.image_of(row, event.kept_big && !self.settings.full)
    }

    fn image_of(&self, row: &Row, hidden: bool) -> String {
        let note = match (row.noted, self.settings.defaults) {
            (true, _) => "\"n\"",
            (false, true) => "\"dflt\"",
            (false, false) => "null",
        };
        row.written(note, hidden.then_some(PLACEHOLDER))
    }

    /// What an event of the log says of snapshots: where defaults stand for NULLs, its schema's.
    fn no_snapshot(&self) -> &'static str {
        if self.settings.defaults { "\"false\"" } else { "null" }
    }

    fn envelope(&self, index: usize, db: &Database, now: u64) -> String {
        let event = &db.events[index];
        let op = match event.op {
            Op::Create => "c",
            Op::Update => "u",
            Op::Delete => "d",
            Op::Truncate | Op::Redefine => "t",
        };
        let before = if event.op == Op::Delete {
            // All but the key is made up.
            format!("{{\"id\":{},\"code\":0,\"v\":0,\"note\":null,\"big\":null}}", event.key)
        } else {
            "null".to_owned()
        };
        let commit = &db.commits[event.commit];
        let before_it = &db.events[commit.events.start..index];
        let of_table = before_it.iter().filter(|e| e.table == event.table).count() + 1;
        let transaction = self.within(commit, event.lsn, event.order, of_table);
        format!(
            "{{\"before\":{before},\"after\":{},\"source\":{},\"transaction\":{transaction},\"op\":\"{op}\",\"ts_ms\":{}}}",
            self.image(event),
            self.source(event, db, self.no_snapshot()),
            self.wall(now)
        )
    }

    fn source(&self, event: &Event, db: &Database, snapshot: &str) -> String {
        let (at, table, lsn) = (self.wall(event.at), event.table.name(), event.lsn);
        if self.binlog {
            let (file, pos, server) = (lsn / 4096, lsn % 4096, event.server);
            return format!(
                "{{\"connector\":\"mariadb\",\"name\":\"shop\",\"ts_ms\":{at},\"snapshot\":{snapshot},\"db\":\"s\",\"table\":\"{table}\",\
                 \"server_id\":{server},\"gtid\":\"{}\",\"file\":\"bin.{file:06}\",\"pos\":{pos},\"row\":{}}}",
                self.transaction(&db.commits[event.commit], lsn),
                event.order
            );
        }
        let commit = &db.commits[event.commit];
        let (preceding, xid) = (preceding(commit.preceding), commit.xid);
        format!(
            "{{\"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":{at},\"snapshot\":{snapshot},\"db\":\"d\",\
             \"sequence\":\"[{preceding},\\\"{lsn}\\\"]\",\"schema\":\"s\",\"table\":\"{table}\",\"txId\":{xid},\"lsn\":{lsn}}}"
        )
    }

    /// Something that no reader understands.
    pub(crate) fn garbage(&self, kind: u8, table: Table, redis: &mut Redis, now: u64) {
        let named = format!("\"source\":{{\"db\":\"s\",\"schema\":\"s\",\"table\":\"{}\"}}", table.name());
        let (key, value, knows_table) = match kind % 4 {
            0 => ("{\"id\":1}", "{\"op\":\"u\",".to_owned(), false),
            1 => ("{\"id\":1}", format!("{{\"op\":\"x\",\"after\":null,{named}}}"), true),
            2 => ("[1]", format!("{{\"op\":\"u\",\"after\":null,{named}}}"), true),
            _ => ("{\"id\":1}", "{\"op\":\"u\",\"after\":null,\"source\":{}}".to_owned(), false),
        };
        let fields = self.fields(key, &value, None);
        let concerned = (knows_table || !self.routed).then_some(table);
        redis.add(&self.table_stream(table), fields, Says::Garbage(concerned), now);
    }

    fn fields(&self, key: &str, value: &str, header: Option<(&str, &str)>) -> Fields {
        let wrap = |text: &str| {
            if self.settings.schemas && text != "default" {
                format!("{{\"schema\":{{\"type\":\"struct\",\"optional\":false}},\"payload\":{text}}}")
                    .into_bytes()
            } else {
                text.as_bytes().to_vec()
            }
        };
        if !self.settings.extended {
            return Arc::new(vec![(wrap(key), wrap(value))]);
        }
        let mut fields = vec![
            (b"key".to_vec(), wrap(key)),
            (b"value".to_vec(), wrap(value)),
            (b"__DEBEZIUM.CONTEXT.TASKID".to_vec(), b"\"0\"".to_vec()),
        ];
        fields.extend(header.map(|(name, value)| (name.as_bytes().to_vec(), wrap(value))));
        Arc::new(fields)
    }
}

/// The newest commit before an event, in the text that names it.
fn preceding(lsn: u64) -> String {
    if lsn == 0 { "null".to_owned() } else { format!("\\\"{lsn}\\\"") }
}
