//! Snapshots: rows as they were at some instant, and what Debezium tells of how far it is.

use super::{Debezium, EPOCH};
use crate::simulation::{
    database::{Commit, Database, Row, Table},
    redis::{Fields, Says},
};

/// Why there is a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There is no place in the log to go on from.
    NoPlace,
    /// It was asked for while the log was read, which then goes on behind this commit, the newest that was delivered.
    Asked(usize),
    /// It was asked for, and the log is read meanwhile.
    Incremental,
}

/// What a snapshot reads.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    pub(crate) cause: Cause,
    /// The tables, with their rows.
    pub(crate) tables: Vec<(Table, Vec<Row>)>,
    /// When it began and when it ended.
    pub(crate) times: (u64, u64),
    /// Whether notifications tell of it.
    pub(crate) told: bool,
    /// Whether the last row of each table comes after the table is told to have been read.
    pub(crate) kept_back: bool,
}

/// An entry of a stream.
pub(crate) type Written = (String, Fields, Says);

impl Debezium {
    /// What a snapshot writes.
    pub(crate) fn scan(&mut self, scan: &Scan, db: &Database) -> Vec<Written> {
        let (began, ended) = scan.times;
        let (mut written, mut at) = (Vec::new(), 0);
        let all: usize = scan.tables.iter().map(|(_, rows)| rows.len()).sum();
        let tell = |this: &mut Self, kind: &str, more: &str, at: u64, says: Says| {
            scan.told.then(|| this.notice(scan, kind, more, at, says))
        };
        let names: Vec<String> = scan.tables.iter().map(|(table, _)| format!("s.{}", table.name())).collect();
        let names = names.join(",");
        written.extend(tell(self, "STARTED", "", began, Says::Nothing));
        for (table, rows) in &scan.tables {
            let name = table.name();
            let reading =
                format!(",\"current_collection_in_progress\":\"s.{name}\",\"data_collections\":\"{names}\"");
            written.extend(tell(self, "IN_PROGRESS", &reading, began, Says::Nothing));
            for row in rows {
                written.push(self.row_read(scan, (*table, row), (at, all), db));
                at += 1;
            }
            let counted = if scan.cause == Cause::Incremental {
                String::new()
            } else {
                format!(",\"total_rows_scanned\":\"{}\"", rows.len())
            };
            let read = format!(
                ",\"scanned_collection\":\"s.{name}\"{counted},\"data_collections\":\"{names}\",\"status\":\"SUCCEEDED\""
            );
            let last = if scan.kept_back && !rows.is_empty() { written.pop() } else { None };
            let says = if scan.cause == Cause::Incremental { Says::Nothing } else { Says::Scanned(*table) };
            written.extend(tell(self, "TABLE_SCAN_COMPLETED", &read, ended, says));
            written.extend(last);
        }
        written.extend(tell(self, "COMPLETED", "", ended, Says::Nothing));
        written
    }

    /// What it tells when it needs no snapshot.
    pub(crate) fn skip(&mut self, now: u64) -> Written {
        let tables = Vec::new();
        let none = Scan { cause: Cause::NoPlace, tables, times: (now, now), told: true, kept_back: false };
        self.notice(&none, "SKIPPED", "", now, Says::Nothing)
    }

    /// A notification. Its time is Debezium's own, which isn't the database's.
    fn notice(&mut self, scan: &Scan, kind: &str, more: &str, at: u64, says: Says) -> Written {
        self.notices += 1;
        let (id, time) = (format!("{:08x}-9b1d-4c5e-8f00-000000000000", self.notices), EPOCH + at);
        let of = if scan.cause == Cause::Incremental { "Incremental Snapshot" } else { "Initial Snapshot" };
        let value = format!(
            "{{\"id\":\"{id}\",\"type\":\"{kind}\",\"aggregate_type\":\"{of}\",\
             \"additional_data\":{{\"connector_name\":\"shop\"{more}}},\"timestamp\":{time}}}"
        );
        let fields = self.fields(&format!("{{\"id\":\"{id}\"}}"), &value, None);
        (self.stream("shop.notifications"), fields, says)
    }

    /// The n-th row of all.
    fn row_read(
        &self,
        scan: &Scan,
        (table, row): (Table, &Row),
        (n, all): (usize, usize),
        db: &Database,
    ) -> Written {
        let mark = match n {
            _ if scan.cause == Cause::Incremental => "incremental",
            0 => "first",
            n if n + 1 == all => "last",
            _ => "true",
        };
        let names = if self.binlog { "\"db\":\"s\"" } else { "\"db\":\"d\",\"schema\":\"s\"" };
        let ts = self.wall(scan.times.1);
        let value = format!(
            "{{\"before\":null,\"after\":{},\"source\":{{\"ts_ms\":{ts},\"snapshot\":\"{mark}\",{names},\"table\":\"{}\"{}}},\
             \"op\":\"r\",\"ts_ms\":{ts}}}",
            self.image_of(row, false),
            table.name(),
            self.place_of(scan.cause, db),
        );
        let key = if table.has_key() { format!("{{\"id\":{}}}", row.id) } else { "default".to_owned() };
        (self.table_stream(table), self.fields(&key, &value, None), Says::SnapshotRow)
    }

    /// Where a snapshot says that it stands in the log.
    fn place_of(&self, cause: Cause, db: &Database) -> String {
        let newest = || db.commits.last().map_or(1, |commit| commit.lsn);
        match cause {
            Cause::Incremental => String::new(),
            Cause::NoPlace if self.binlog => {
                format!(",\"server_id\":{},\"file\":\"bin.000009\",\"pos\":1", db.server)
            }
            Cause::NoPlace => format!(",\"lsn\":{}", newest()),
            Cause::Asked(commit) => {
                let Commit { lsn, server, number, .. } = db.commits[commit];
                if self.binlog {
                    let (file, pos) = (lsn / 4096, lsn % 4096);
                    format!(
                        ",\"server_id\":0,\"gtid\":\"0-{server}-{number}\",\"file\":\"bin.{file:06}\",\"pos\":{pos}"
                    )
                } else {
                    format!(",\"sequence\":\"[\\\"{lsn}\\\",\\\"{lsn}\\\"]\",\"lsn\":{lsn}")
                }
            }
        }
    }
}
