//! A database: tables with a few rows, transactions in commit order, and what a read sees of them.
//!
//! A commit is in the log at once and visible a little later, and the order of the two can differ between
//! transactions; a replica shows the past. Two transactions that touch one row are visible in their order, as row
//! locks make sure. Every write has a number of its own, so that a value says which write it is.

use std::collections::BTreeMap;

mod positions;
mod reads;

pub(crate) use positions::Mark;
pub(crate) use reads::Snapshot;

/// Rows per table.
pub(crate) const KEYS: u8 = 5;
/// Values of the column `code`.
pub(crate) const CODES: u8 = 8;
/// Milliseconds until a commit is visible, at most.
pub(crate) const VISIBLE: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Hydrated.
    A,
    /// Invalidated, and cached by a column that isn't its key as well.
    B,
    /// Without a key.
    K,
}

/// What a cached value can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Row(Table, u8),
    /// The row of [`Table::B`] with this code.
    Code(u8),
    Whole(Table),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: u8,
    pub(crate) code: u8,
    /// The number of the write.
    pub(crate) v: u64,
    pub(crate) noted: bool,
    /// A large value, by the number of the write that set it; zero: none.
    pub(crate) big: u64,
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put {
        table: Table,
        key: u8,
        noted: bool,
        big: bool,
    },
    Delete {
        table: Table,
        key: u8,
    },
    Move {
        table: Table,
        from: u8,
        to: u8,
    },
    Recode {
        key: u8,
        code: u8,
    },
    Truncate(Vec<Table>),
    /// A definition is changed in a way that changes every row, and the log says no more than that.
    Redefine(Table),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Update,
    Delete,
    Truncate,
    Redefine,
}

/// One change in the log: what becomes one event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// When it was committed.
    pub(crate) at: u64,
    pub(crate) commit: usize,
    pub(crate) lsn: u64,
    pub(crate) server: u64,
    pub(crate) table: Table,
    pub(crate) op: Op,
    pub(crate) key: u8,
    /// The key on the other side of a key change.
    pub(crate) other: Option<u8>,
    pub(crate) after: Option<Row>,
    /// Whether the large value was left as it was, so that the log doesn't have it.
    pub(crate) kept_big: bool,
    /// Its number within its transaction, from 1.
    pub(crate) order: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) at: u64,
    visible: u64,
    /// The transaction's number, given when it first wrote.
    pub(crate) xid: u64,
    /// Which commit it is, from 1: the number that MariaDB gives it.
    pub(crate) number: usize,
    pub(crate) lsn: u64,
    pub(crate) server: u64,
    /// The newest commit or message before it; zero: none.
    pub(crate) preceding: u64,
    pub(crate) events: std::ops::Range<usize>,
}

/// One record of the log, as Debezium reads it.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Begin(usize),
    Change(usize),
    End(usize),
    Beat(Beat),
}

/// A transaction that hasn't committed, with the place in the log that its write has.
#[derive(Clone, Debug)]
struct Open {
    edit: Edit,
    lsn: u64,
    xid: u64,
}

/// A heartbeat that goes through the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    pub(crate) number: u64,
    pub(crate) at: u64,
    pub(crate) lsn: u64,
    /// Its transaction, if it is in one.
    pub(crate) commit: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Database {
    /// Heartbeats are messages outside any transaction, as nobody should have them.
    bare_beats: bool,
    pub(crate) rows: BTreeMap<(Table, u8), Row>,
    pub(crate) events: Vec<Event>,
    pub(crate) commits: Vec<Commit>,
    pub(crate) log: Vec<Record>,
    /// What a redefinition has made of each row.
    redefined: BTreeMap<(usize, u8), Row>,
    /// The changes of each place, in commit order.
    history: BTreeMap<Place, Vec<usize>>,
    /// A row that a transaction has written and not committed.
    open: Option<Open>,
    /// The number of the newest transaction.
    xid: u64,
    writes: u64,
    lsn: u64,
    pub(crate) server: u64,
    beats: u64,
    /// The place of the newest commit or message.
    last: u64,
}

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::A, Self::B, Self::K];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::K => "k",
        }
    }

    pub(crate) fn has_key(self) -> bool {
        self != Self::K
    }
}

impl Row {
    /// Its JSON, as an application would read it.
    pub(crate) fn json(&self) -> String {
        let note = if self.noted { "\"n\"" } else { "null" };
        self.written(note, None)
    }

    pub(crate) fn written(&self, note: &str, big: Option<&str>) -> String {
        let Self { id, code, v, .. } = self;
        let large = match (big, self.big) {
            (Some(placeholder), 1..) => format!("\"{placeholder}\""),
            (_, 0) => "null".to_owned(),
            (None, n) => format!("\"{n}{n}{n}\""),
        };
        format!("{{\"id\":{id},\"code\":{code},\"v\":{v},\"note\":{note},\"big\":{large}}}")
    }
}

impl Database {
    pub(crate) fn new(bare_beats: bool) -> Self {
        Self {
            bare_beats,
            rows: BTreeMap::new(),
            events: Vec::new(),
            commits: Vec::new(),
            log: Vec::new(),
            redefined: BTreeMap::new(),
            history: BTreeMap::new(),
            open: None,
            xid: 699,
            writes: 0,
            lsn: 1000,
            server: 1,
            beats: 0,
            last: 0,
        }
    }

    /// Runs a transaction; edits that make no sense at the time are left out.
    pub(crate) fn commit(&mut self, edits: &[Edit], now: u64, visible_in: u64) {
        self.transact(edits, None, now, visible_in);
    }

    /// Writes a row in a transaction that stays open: its place in the log is before those of what commits first.
    pub(crate) fn open(&mut self, edit: Edit) {
        if self.open.is_none() {
            self.lsn += 8;
            self.xid += 1;
            self.open = Some(Open { edit, lsn: self.lsn, xid: self.xid });
        }
    }

    /// Commits the open transaction.
    pub(crate) fn close(&mut self, now: u64, visible_in: u64) {
        if let Some(open) = self.open.take() {
            self.transact(std::slice::from_ref(&open.edit), Some(&open), now, visible_in);
        }
    }

    /// A heartbeat that goes through the log.
    pub(crate) fn beat(&mut self, now: u64) {
        self.beats += 1;
        self.lsn += 8;
        let commit = (!self.bare_beats).then_some(self.commits.len());
        let beat = Beat { number: self.beats, at: now, lsn: self.lsn, commit };
        if commit.is_none() {
            self.last = self.lsn;
            self.log.push(Record::Beat(beat));
            return;
        }
        self.xid += 1;
        let commit = self.end(self.events.len(), self.xid, now, now);
        self.log.extend([Record::Begin(commit), Record::Beat(beat), Record::End(commit)]);
    }

    /// Another server goes on with the data; its log begins anew.
    pub(crate) fn fail_over(&mut self) {
        self.open = None;
        self.server += 1;
        self.lsn = 1000;
    }

    fn transact(&mut self, edits: &[Edit], open: Option<&Open>, now: u64, visible_in: u64) {
        let (first, commit) = (self.events.len(), self.commits.len());
        for edit in edits {
            if self.is_locked(edit) {
                continue;
            }
            let at = open.map_or_else(
                || {
                    self.lsn += 8;
                    self.lsn
                },
                |open| open.lsn,
            );
            self.edit(edit, at, now, commit);
        }
        if self.events.len() == first {
            return;
        }
        for (i, event) in self.events[first..].iter_mut().enumerate() {
            event.order = u32::try_from(i).unwrap() + 1;
        }
        let xid = open.map_or(self.xid + 1, |open| open.xid);
        self.xid = self.xid.max(xid);
        let commit = self.end(first, xid, now, now + visible_in);
        self.log.push(Record::Begin(commit));
        self.log.extend(self.commits[commit].events.clone().map(Record::Change));
        self.log.push(Record::End(commit));
    }

    /// Commits a transaction with all events from this one on.
    fn end(&mut self, first: usize, xid: u64, at: u64, visible: u64) -> usize {
        self.lsn += 8;
        let (lsn, preceding, events) = (self.lsn, self.last, first..self.events.len());
        let (number, server) = (self.commits.len() + 1, self.server);
        self.commits.push(Commit { at, visible, xid, number, lsn, server, preceding, events });
        self.last = lsn;
        self.commits.len() - 1
    }

    fn is_locked(&self, edit: &Edit) -> bool {
        let Some(Open { edit: open, .. }) = &self.open else { return false };
        let touches = |edit: &Edit| -> Vec<(Table, Option<u8>)> {
            match edit {
                Edit::Put { table, key, .. } | Edit::Delete { table, key } => vec![(*table, Some(*key))],
                Edit::Move { table, from, to } => vec![(*table, Some(*from)), (*table, Some(*to))],
                // A code is unique, so that whoever takes one waits for others who may.
                Edit::Recode { .. } => vec![(Table::B, None)],
                Edit::Truncate(tables) => tables.iter().map(|table| (*table, None)).collect(),
                Edit::Redefine(table) => vec![(*table, None)],
            }
        };
        let held = touches(open);
        touches(edit).iter().any(|(table, key)| {
            held.iter()
                .any(|(t, k)| t == table && (k.is_none() || key.is_none() || k == key || *table == Table::B))
        })
    }

    fn edit(&mut self, edit: &Edit, lsn: u64, now: u64, commit: usize) {
        self.writes += 1;
        let v = self.writes;
        let blank = Event {
            at: now,
            commit,
            lsn,
            server: self.server,
            table: Table::A,
            op: Op::Update,
            key: 0,
            other: None,
            after: None,
            kept_big: false,
            order: 0,
        };
        match *edit {
            Edit::Put { table, key, noted, big } => {
                let old = self.rows.get(&(table, key)).cloned();
                let Some(code) = old.as_ref().map(|old| old.code).or_else(|| self.free_code(table)) else {
                    return;
                };
                let kept_big = !big && old.is_some();
                let large = if big { v } else { old.as_ref().map_or(0, |old| old.big) };
                let row = Row { id: key, code, v, noted, big: large };
                let op = if old.is_some() { Op::Update } else { Op::Create };
                self.happen(Event { table, op, key, after: Some(row), kept_big, ..blank });
            }
            Edit::Delete { table, key } => {
                if self.rows.contains_key(&(table, key)) {
                    self.happen(Event { table, op: Op::Delete, key, ..blank });
                }
            }
            Edit::Move { table, from, to } => {
                let Some(row) = self.rows.get(&(table, from)).cloned() else { return };
                if from == to || self.rows.contains_key(&(table, to)) {
                    return;
                }
                let row = Row { id: to, v, ..row };
                self.happen(Event { table, op: Op::Delete, key: from, other: Some(to), ..blank.clone() });
                let other = Some(from);
                self.happen(Event { table, op: Op::Create, key: to, other, after: Some(row), ..blank });
            }
            Edit::Recode { key, code } => {
                let Some(row) = self.rows.get(&(Table::B, key)).cloned() else { return };
                if self.rows.iter().any(|((table, _), row)| *table == Table::B && row.code == code) {
                    return;
                }
                let row = Row { code, v, ..row };
                let kept_big = true;
                self.happen(Event { table: Table::B, key, after: Some(row), kept_big, ..blank });
            }
            Edit::Truncate(ref tables) => {
                for table in tables {
                    self.happen(Event { table: *table, op: Op::Truncate, ..blank.clone() });
                }
            }
            Edit::Redefine(table) => self.happen(Event { table, op: Op::Redefine, ..blank }),
        }
    }

    fn happen(&mut self, event: Event) {
        let (index, table, key) = (self.events.len(), event.table, event.key);
        let mut places = vec![Place::Whole(table)];
        match event.op {
            Op::Truncate | Op::Redefine => {
                let rows: Vec<u8> =
                    self.rows.keys().filter(|(t, _)| *t == table).map(|(_, key)| *key).collect();
                for key in rows {
                    self.touch(table, key, None, &mut places);
                    if event.op == Op::Redefine {
                        self.writes += 1;
                        let row = self.rows.get_mut(&(table, key)).unwrap();
                        row.v = self.writes;
                        self.redefined.insert((index, key), row.clone());
                    } else {
                        self.rows.remove(&(table, key));
                    }
                }
            }
            Op::Create | Op::Update | Op::Delete => {
                self.touch(table, key, event.after.as_ref(), &mut places);
                match event.after.clone() {
                    Some(row) => self.rows.insert((table, key), row),
                    None => self.rows.remove(&(table, key)),
                };
            }
        }
        places.sort_unstable();
        places.dedup();
        for place in places {
            let history = self.history.entry(place).or_default();
            // Whoever waited for a row's lock saw the transaction that held it.
            if let Some(last) = history.last()
                && !matches!(place, Place::Whole(_))
                && let Some(commit) = self.commits.get_mut(self.events[*last].commit)
            {
                commit.visible = commit.visible.min(event.at);
            }
            history.push(index);
        }
        self.events.push(event);
    }

    fn touch(&self, table: Table, key: u8, after: Option<&Row>, places: &mut Vec<Place>) {
        places.push(Place::Row(table, key));
        if table == Table::B {
            let before = self.rows.get(&(table, key));
            places.extend(before.into_iter().chain(after).map(|row| Place::Code(row.code)));
        }
    }

    fn free_code(&self, table: Table) -> Option<u8> {
        let taken = |code: &u8| self.rows.iter().any(|((t, _), row)| *t == table && row.code == *code);
        (0..CODES).find(|code| !taken(code))
    }
}
