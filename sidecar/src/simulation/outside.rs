//! What happens in the database, in Debezium and in Redis.

use std::sync::Arc;

use super::{
    database::{Edit, KEYS, Record, Table},
    debezium::Settings,
    redis::{Entry, Redis, Says},
    step::Step,
    world::World,
};
use crate::position::Place;

impl World {
    /// What happens in the database, in Debezium and in Redis.
    pub(crate) fn outside(&mut self, step: Step) {
        let (now, table) = (self.now, |n: u8| Table::ALL[usize::from(n % 3)]);
        match step {
            Step::Put { table: t, key, noted, big, visible } => {
                self.commit(&[Edit::Put { table: table(t), key, noted, big }], visible);
            }
            Step::Remove { table: t, key, visible } => {
                self.commit(&[Edit::Delete { table: table(t), key }], visible);
            }
            Step::Move { table: t, from, to, visible } => {
                self.commit(&[Edit::Move { table: table(t), from, to }], visible);
            }
            Step::Swap { table: t, one, other, visible } => {
                let table = table(t);
                let spare = KEYS;
                let step = |from, to| Edit::Move { table, from, to };
                self.commit(
                    &[step(one, spare), step(other, one), step(spare, other), step(spare, one)],
                    visible,
                );
            }
            Step::Recode { key, code, visible } => self.commit(&[Edit::Recode { key, code }], visible),
            Step::Several { key, visible } => {
                let put = |(i, table): (usize, Table)| {
                    let key = (key + u8::try_from(i).unwrap()) % KEYS;
                    Edit::Put { table, key, noted: true, big: false }
                };
                let edits: Vec<Edit> = Table::ALL.into_iter().enumerate().map(put).collect();
                self.commit(&edits, visible);
            }
            Step::Truncate { tables, visible } => {
                let chosen = (0..3).filter(|n| tables & (1 << n) != 0).map(table).collect();
                self.commit(&[Edit::Truncate(chosen)], visible);
                self.tally.count("truncate");
            }
            // PostgreSQL says nothing of it; a `ttl` is all there is against that.
            Step::Redefine { table: t } if self.setting.binlog => {
                self.commit(&[Edit::Redefine(table(t))], 0);
                self.tally.count("redefine");
            }
            Step::OpenTransaction { table: t, key } => {
                self.db.open(Edit::Put { table: table(t), key, noted: true, big: true });
            }
            Step::CloseTransaction { visible } => {
                self.db.close(now, visible);
                self.learn();
            }
            Step::Beat => self.db.beat(now),
            Step::DatabaseFailover if self.setting.binlog => {
                self.db.fail_over();
                self.tally.count("database failover");
            }
            Step::Send { records } => {
                for _ in 0..records {
                    self.send_next();
                }
            }
            Step::SendReordered { first, second } => self.send_reordered(first.into(), second.into()),
            Step::Lose { what, entries } if self.keeps_books() => {
                self.sink.lose(what, entries, false);
                self.tally.count("lose");
            }
            Step::Lose { entries, .. } if self.counts_beats() => {
                self.sink.lose(0, entries, true);
                self.tally.count("lose heartbeats");
            }
            // Of heartbeats that come once more nobody can tell that others were lost before them.
            Step::SendAgain { .. } | Step::Restart { .. }
                if !self.keeps_books() && (self.sink.is_losing() || self.judge.misses_losses()) => {}
            Step::SendAgain { records } => {
                let from = self.debezium.sent.saturating_sub(records.into()).max(self.debezium.first);
                for record in from..self.debezium.sent {
                    self.send(record);
                }
                self.tally.count("duplicates");
            }
            // What is lost is found by the numbers that are written then.
            Step::Restart { settings: Some(_), .. }
                if self.sink.is_losing() || self.judge.misses_losses() => {}
            Step::Restart { back, settings } => self.restart_debezium(back.into(), settings),
            Step::Snapshot { lose } => self.snapshot_anew(lose.into()),
            Step::IncrementalSnapshot { table: t } => self.snapshot_beside(table(t)),
            Step::OwnBeat => self.debezium.own_beat(&mut self.redis, now),
            Step::Garbage { kind, table: t } => {
                self.debezium.garbage(kind, table(t), &mut self.redis, now);
                self.tally.count("garbage");
            }
            Step::Tell { table: t, key } => self.told(table(t), key),
            Step::Say { who, word, way } => self.publish(who, word, way),
            Step::Save => self.redis.save(),
            Step::SetClock { ahead } => {
                self.redis.set_clock(ahead);
                self.tally.count("clock jump");
            }
            other => {
                let gone = self.lose_in_redis(other);
                self.lose(&gone);
            }
        }
    }

    /// Somebody tells of all changes of a row, or of a table, that are committed.
    fn told(&mut self, table: Table, key: Option<u8>) {
        let key = key.filter(|_| table.has_key());
        let named = key.map_or_else(String::new, |key| format!(",\"key\":{{\"id\":{key}}}"));
        let name = table.name();
        let said =
            format!("{{\"freshet\":1,\"kind\":\"change\",\"table\":\"s.{name}\",\"op\":\"update\"{named}}}");
        let fields = Arc::new(vec![(b"freshet".to_vec(), said.into_bytes())]);
        let says = Says::Told { table, key, events: self.db.events.len() };
        self.redis.add(&self.debezium.table_stream(table), fields, says, self.now);
        self.tally.count("told");
    }

    /// Debezium goes back so many records, and may write in another format from then on.
    fn restart_debezium(&mut self, back: usize, settings: Option<u8>) {
        self.go_back(back);
        let settings = settings.map_or(self.debezium.settings, Settings::of);
        if settings != self.debezium.settings {
            self.tally.count("change of format");
        }
        self.debezium.settings = settings;
        self.tally.count("debezium restart");
        if self.setting.ranks {
            let skipped = self.debezium.skip(self.now);
            self.write([skipped]);
        }
    }

    /// Debezium reads so many records once more.
    pub(super) fn go_back(&mut self, back: usize) {
        self.debezium.sent = self.debezium.sent.saturating_sub(back).max(self.debezium.first);
    }

    fn lose_in_redis(&mut self, step: Step) -> Vec<Entry> {
        let name = |redis: &Redis, n: u8| {
            let count = redis.streams.len().max(1);
            redis.streams.keys().nth(usize::from(n) % count).cloned().unwrap_or_default()
        };
        // A stream that is gone and made anew before its first entry was read looks as if nothing had been: only what
        // counts before Redis can tell.
        let unread = |n: u8| {
            let name = name(&self.redis, n);
            let first = self.redis.streams.get(&name).and_then(|stream| stream.entries.first());
            // Where it is read from there.
            let first = first.filter(|_| self.setting.warm);
            let is_before = |place| place == Place::Start || first.is_some_and(|first| place < first.place());
            self.follower.place(&name).is_some_and(is_before)
        };
        if let Step::DeleteStream { stream } | Step::Overwrite { stream } = step
            && unread(stream)
        {
            return Vec::new();
        }
        let (what, gone) = match step {
            Step::Trim { stream, keep } => ("trim", self.redis.trim(&name(&self.redis, stream), keep.into())),
            Step::DeleteEntry { stream, newest } => {
                ("xdel", self.redis.remove(&name(&self.redis, stream), newest.into()))
            }
            Step::DeleteStream { stream } => ("del", self.redis.delete(&name(&self.redis, stream))),
            Step::Overwrite { stream } if !self.redis.streams.is_empty() => {
                ("overwrite", self.redis.overwrite(&name(&self.redis, stream)))
            }
            Step::RestartRedis => {
                self.follower.cut();
                ("redis restart", self.redis.restart())
            }
            Step::Failover { lose, same_process } => {
                if !same_process {
                    self.follower.cut();
                }
                (
                    if same_process { "promotion" } else { "failover" },
                    self.redis.fail_over(lose.into(), same_process),
                )
            }
            _ => return Vec::new(),
        };
        self.tally.count(what);
        gone
    }

    /// Entries are gone from Redis: whoever hasn't read them never will.
    fn lose(&mut self, gone: &[Entry]) {
        if !gone.is_empty() {
            let unread = self.unread();
            self.judge.lose(&unread, self.debezium.sent, self.running());
        }
    }

    pub(crate) fn commit(&mut self, edits: &[Edit], visible: u64) {
        self.db.commit(edits, self.now, visible);
        self.learn();
    }

    /// Takes note of what was committed.
    pub(crate) fn learn(&mut self) {
        self.judge.learn(&self.db);
        if self.setting.ranks {
            self.states.note(&self.db);
        }
    }

    pub(super) fn send_next(&mut self) {
        if self.debezium.sent < self.db.log.len() {
            self.debezium.sent += 1;
            self.send(self.debezium.sent - 1);
        }
    }

    pub(crate) fn send_all(&mut self) {
        while self.debezium.sent < self.db.log.len() {
            self.send_next();
        }
    }

    fn send(&mut self, record: usize) {
        if self.sink.loses(record, &self.db) {
            return self.judge.drop(record, &self.db);
        }
        let added = self.debezium.send(record, &self.db, &mut self.redis, self.now);
        if let Record::Change(event) = self.db.log[record] {
            // The sink takes any refusal for success; and where ids went back, what is added may never be read.
            let stream = self.debezium.table_stream(self.db.events[event].table);
            let ahead = self.follower.place(&stream).is_none() || self.unread().contains(&event);
            let read = added.contains(&event) && ahead;
            self.judge.sent(event, read.then_some(self.redis.adds), self.now, self.running());
        }
    }

    fn send_reordered(&mut self, first: usize, second: usize) {
        let from = self.debezium.sent;
        // Of what is out of order the books can't say what is missing.
        if self.sink.is_losing() || self.judge.misses_losses() {
            return;
        }
        let end = (from + first + second).min(self.db.log.len());
        let middle = (from + first).min(end);
        if middle == end {
            return;
        }
        self.debezium.sent = end;
        for record in (middle..end).chain(from..middle) {
            self.send(record);
        }
        for record in &self.db.log[from..middle] {
            if let Record::Change(event) = record {
                self.judge.late(*event);
            }
        }
        self.tally.count("reordered");
    }

    pub(crate) fn flow(&mut self, ms: u64) {
        let end = self.now + ms;
        loop {
            self.now = end.min(self.now + 200);
            if self.now >= self.last_beat + 500 {
                self.last_beat = self.now;
                self.db.beat(self.now);
                self.debezium.own_beat(&mut self.redis, self.now);
            }
            self.send_all();
            self.pump();
            self.pump();
            if self.now >= end {
                return;
            }
        }
    }
}
