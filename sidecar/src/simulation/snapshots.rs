//! When Debezium makes snapshots, and what it reads then.

use freshet_e2e::random::Random;

use super::{
    database::{Edit, Record, Snapshot, Table},
    debezium::{Cause, Scan, Written},
    world::World,
};
use crate::position::Place;

/// A snapshot that is asked for while the log is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Its tables, by the bits of their numbers.
    pub(crate) tables: u8,
    /// Milliseconds in which the pipeline does what it is there for, before and after.
    pub(crate) flow: (u64, u64),
    /// How far behind the server is that it reads, in milliseconds.
    pub(crate) lag: u64,
    /// How long it takes.
    pub(crate) took: u64,
    /// What is written meanwhile, which it doesn't see.
    pub(crate) put: Option<(u8, u8)>,
    /// Whether the last row of a table comes after its end is told.
    pub(crate) kept_back: bool,
    /// The entry from which on so many are lost.
    pub(crate) lost: Option<(u8, u8)>,
    /// How many entries are written before Debezium is restarted, which then goes on with the log.
    pub(crate) cut: Option<u8>,
}

impl World {
    /// Debezium begins: with what is in the log, or, where it tells of its snapshots, with one.
    pub(super) fn begin(&mut self) {
        let mut dice = Random::new(self.setting.seed ^ 0x1656_67b1);
        if !self.setting.ranks || dice.one_in(6) {
            return self.send_all();
        }
        for record in &self.db.log {
            if let Record::Change(event) = record {
                self.judge.snapshot(*event, self.redis.adds, self.now, self.running());
            }
        }
        self.debezium.sent = self.db.log.len();
        self.debezium.first = self.debezium.sent;
        if dice.one_in(4) {
            // Somebody reads already.
            (0..6).for_each(|_| self.pump());
        }
        for _ in 0..2 {
            let cut_off = dice.one_in(6);
            let mut written = self.scan_all(None, dice.one_in(2));
            let at = dice.below(written.len() as u64);
            if cut_off {
                written.truncate(usize::try_from(at).unwrap());
            } else if dice.one_in(8) {
                written.remove(usize::try_from(at).unwrap());
            }
            self.write(written);
            if !cut_off {
                return;
            }
        }
    }

    /// Debezium has lost its place, lets go of so many records, and begins anew.
    pub(super) fn snapshot_anew(&mut self, lose: usize) {
        let followed = |(table, _): &(Table, u8)| *table != Table::K;
        if !self.db.rows.keys().any(followed) {
            return;
        }
        // What the stream begins with is taken for the state at which the log goes on.
        let lag = (100 * lose as u64) % 700;
        let begun = self.redis.streams.values().any(|stream| stream.state.last > Place::Start);
        let seen = (self.setting.ranks && begun).then(|| self.db.snapshot(self.now.saturating_sub(lag)));
        let from = self.debezium.sent;
        self.debezium.sent = (from + lose).min(self.db.log.len());
        for record in &self.db.log[from..self.debezium.sent] {
            if let Record::Change(event) = record {
                self.judge.snapshot(*event, self.redis.adds, self.now, self.running());
            }
        }
        let written = self.scan_all(seen.as_ref(), lose.is_multiple_of(2));
        self.write(written);
        self.tally.count("snapshot");
    }

    /// Everything, as a read saw it; as it is, if none did.
    fn scan_all(&mut self, seen: Option<&Snapshot>, kept_back: bool) -> Vec<Written> {
        let rows = |table| match seen {
            Some(seen) => (table, self.db.rows_seen(table, seen)),
            None => (table, self.db.rows_of(table)),
        };
        let tables = Table::ALL.into_iter().map(rows).collect();
        let (times, told) = ((self.now, self.now), self.setting.ranks);
        let scan = Scan { cause: Cause::NoPlace, tables, times, told, kept_back };
        self.debezium.scan(&scan, &self.db)
    }

    /// Debezium reads a table piece by piece, while it goes on with the log.
    pub(super) fn snapshot_beside(&mut self, table: Table) {
        let tables = vec![(table, self.db.rows_of(table))];
        let (times, told) = ((self.now, self.now), self.setting.ranks);
        let scan = Scan { cause: Cause::Incremental, tables, times, told, kept_back: false };
        let written = self.debezium.scan(&scan, &self.db);
        self.write(written);
        self.tally.count("incremental snapshot");
    }

    /// Debezium stops reading the log, reads tables, and goes on where it was.
    pub(super) fn snapshot_asked(&mut self, asked: Asked) {
        if asked.flow.0 > 0 {
            self.flow(asked.flow.0);
        }
        let ended = |record: &Record| if let Record::End(commit) = record { Some(*commit) } else { None };
        let Some(newest) = self.db.log[..self.debezium.sent].iter().rev().find_map(ended) else { return };
        let began = self.now;
        let seen = self.db.snapshot(self.now.saturating_sub(asked.lag));
        let chosen = Table::ALL.into_iter().enumerate().filter(|(n, _)| asked.tables & (1 << n) != 0);
        let tables = chosen.map(|(_, table)| (table, self.db.rows_seen(table, &seen))).collect();
        if let Some((table, key)) = asked.put {
            let table = Table::ALL[usize::from(table) % Table::ALL.len()];
            self.commit(&[Edit::Put { table, key, noted: key.is_multiple_of(2), big: false }], 0);
        }
        self.now += asked.took;
        let times = (began, self.now);
        let scan =
            Scan { cause: Cause::Asked(newest), tables, times, told: true, kept_back: asked.kept_back };
        let mut written = self.debezium.scan(&scan, &self.db);
        if let Some(cut) = asked.cut {
            written.truncate(cut.into());
        }
        if let Some((from, n)) = asked.lost {
            let from = usize::from(from) % written.len().max(1);
            written.drain(from..(from + usize::from(n)).min(written.len()));
        }
        self.write(written);
        self.tally.count("snapshot asked for");
        if asked.flow.1 > 0 {
            self.flow(asked.flow.1);
        }
    }

    /// Entries come into the streams.
    pub(super) fn write(&mut self, written: impl IntoIterator<Item = Written>) {
        for (stream, fields, says) in written {
            self.redis.add(&stream, fields, says, self.now);
        }
    }
}
