//! What happened: to every change, to every key, to the streams.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    database::{Database, Event, Op, Record, Table},
    kinds::Kind,
    loaders::Loader,
    publishers::Tales,
    redis::Says,
};

/// What has become of a change.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what happened to it, in any combination")]
pub(crate) struct Fate {
    /// Its place in the log.
    pub(crate) record: usize,
    /// When it was first applied, or what lost it was noticed: the time and the moment.
    pub(crate) delivered: Option<(u64, u64)>,
    /// The moment at which it was last applied; zero: never.
    pub(super) heard: u64,
    /// When it was written to Redis.
    pub(crate) added: Option<u64>,
    /// Whether Redis didn't get it, and Debezium went on. When it is sent once more, what came since may tell before it
    /// does that it was lost.
    pub(crate) dropped: bool,
    /// How many entries had been added then.
    pub(super) number: u64,
    /// When it was lost, in running time.
    pub(super) lost: Option<u64>,
    /// Whether something that comes after it was stored before it.
    pub(super) late: bool,
    /// Whether it was lost before the streams had positions: nothing that is read tells that it was.
    pub(super) early: bool,
    /// Whether it was lost, or let go of for a snapshot, and then sent once more.
    pub(super) again: bool,
    /// Whether a snapshot told of it, instead of its event.
    pub(super) by_snapshot: bool,
}

/// What a hit was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) image: bool,
    /// Whether its position in the log is known.
    pub(crate) placed: bool,
    /// Whether it was filled under its row's key, and found by something else.
    pub(crate) found: bool,
    /// How many changes of its place it shows.
    pub(crate) shows: usize,
}

/// Keeps account of what happened. A moment is a point in the run: every step and every applied entry is one.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) moment: u64,
    pub(crate) fates: Vec<Fate>,
    /// Records of the log that have been seen.
    logged: usize,
    /// Before these moments nothing may be served any more.
    pub(super) epoch: u64,
    pub(super) unreadable: BTreeMap<Table, u64>,
    pub(super) deletes: BTreeMap<(Kind, u8), u64>,
    pub(super) definitions: BTreeMap<Kind, u64>,
    /// When a row of a snapshot was heard last.
    pub(super) snapshot_row: u64,
    /// Per table, when a snapshot was heard to have read it last.
    pub(super) scanned: BTreeMap<Table, u64>,
    /// Transactions whose ends were heard.
    pub(super) ended: BTreeSet<usize>,
    /// Whether this process has seen a heartbeat of the database, and of Debezium.
    pub(super) beats: [bool; 2],
    /// Per key: the most changes that a hit or a fill has shown.
    pub(super) shown: BTreeMap<(Kind, u8), usize>,
    /// Likewise, of hits that were read at a known position of the log, in this epoch.
    pub(super) placed: BTreeMap<(Kind, u8), usize>,
    /// Every change before this one was applied.
    pub(super) low: usize,
    /// Changes that Redis never got, of which nobody is known to know.
    pub(crate) missing: Vec<usize>,
    pub(crate) loaders: BTreeMap<(Kind, u8), Loader>,
    /// What others have told of and was heard.
    pub(super) told: Vec<Told>,
    /// What was said by those who number it.
    pub(super) tales: Tales,
    /// The newest heartbeat of the database that was heard: which record of its log it is.
    pub(crate) beat: Option<usize>,
}

/// What somebody has told of: all changes before this one, of a row or of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) table: Table,
    pub(super) key: Option<u8>,
    pub(super) events: usize,
    /// When it was heard, or is known to have been said: the time and the moment.
    pub(super) at: (u64, u64),
}

impl Judge {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn tick(&mut self) {
        self.moment += 1;
    }

    /// Takes note of new changes in the log.
    pub(crate) fn learn(&mut self, db: &Database) {
        for (record, what) in db.log.iter().enumerate().skip(self.logged) {
            if let Record::Change(_) = what {
                let fate = Fate {
                    record,
                    delivered: None,
                    heard: 0,
                    added: None,
                    dropped: false,
                    number: 0,
                    lost: None,
                    late: false,
                    early: false,
                    again: false,
                    by_snapshot: false,
                };
                self.fates.push(fate);
            }
        }
        self.logged = db.log.len();
    }

    pub(crate) fn sent(&mut self, event: usize, added: Option<u64>, now: u64, running: u64) {
        let fate = &mut self.fates[event];
        match added {
            None => fate.lost = Some(running),
            Some(number) if fate.added.is_none() || fate.lost.is_some() && !fate.again => {
                // That it was lost has to be noticed all the same.
                fate.again = fate.lost.is_some();
                // What counts for a position is the first time: whatever came of it is past then.
                fate.number = if fate.number == 0 { number } else { fate.number };
                fate.added = Some(now);
            }
            Some(_) => {}
        }
    }

    pub(crate) fn late(&mut self, event: usize) {
        self.fates[event].late = true;
    }

    /// An entry was handed to the core.
    pub(crate) fn hear(&mut self, says: Says, now: u64) {
        self.moment += 1;
        let moment = self.moment;
        match says {
            Says::Change(event) => {
                let fate = &mut self.fates[event];
                fate.dropped &= fate.delivered.is_some();
                fate.delivered.get_or_insert((now, moment));
                fate.heard = moment;
            }
            Says::Beat(record) => {
                self.beats[usize::from(record.is_none())] = true;
                self.beat = self.beat.max(record);
            }
            Says::Garbage(of) => self.hear_garbage(of),
            Says::Said(tale) => {
                let told = self.tales.hear(tale, true, (now, moment));
                self.told.extend(told);
            }
            Says::Unread { tale, of } => {
                self.hear_garbage(of);
                let told = self.tales.hear(tale, false, (now, moment));
                self.told.extend(told);
            }
            Says::SnapshotRow => self.snapshot_row = moment,
            Says::Scanned(table) => {
                self.scanned.insert(table, moment);
            }
            Says::End(commit) => {
                self.ended.insert(commit);
            }
            Says::Told { table, key, events } => {
                self.told.push(Told { table, key, events, at: (now, moment) });
            }
            Says::Nothing => {}
        }
    }

    fn hear_garbage(&mut self, of: Option<Table>) {
        let concerned = Table::ALL.into_iter().filter(|table| of.is_none_or(|of| of == *table));
        self.unreadable.extend(concerned.map(|table| (table, self.moment)));
    }

    /// A new epoch began while entries were applied from `start` on. What was sent before needs no event any more, and
    /// none will come of it but of what is still unread: for the first time, as what was lost the epoch makes up for.
    /// But not of what a snapshot that is still ahead tells of instead.
    pub(crate) fn epoch(
        &mut self,
        start: u64,
        unread: &[usize],
        snapshot_ahead: bool,
        sent: usize,
        now: u64,
    ) {
        self.epoch = start;
        self.placed.clear();
        self.loaders.clear();
        let moment = self.moment;
        let unread: Vec<usize> = unread.iter().copied().filter(|event| !self.fates[*event].again).collect();
        // What never reached Redis may lie behind what was read: it is noticed when that is.
        let over = |fate: &Fate| fate.was_in_redis() && !(snapshot_ahead && fate.by_snapshot);
        for (_, fate) in self.gone(&unread, sent).filter(|(_, fate)| over(fate)) {
            fate.delivered = Some((now, moment));
        }
    }

    /// The streams of these tables have positions from now on, at the end of so many entries: what came before is past.
    pub(crate) fn position(&mut self, tables: &[Table], db: &Database, adds: u64, sent: usize, now: u64) {
        let moment = self.moment;
        for (event, fate) in self.gone(&[], sent) {
            let past = fate.added.is_none() || fate.number <= adds;
            if past && tables.contains(&db.events[event].table) {
                fate.delivered = Some((now, moment));
                fate.early = fate.dropped;
            }
        }
    }

    /// The one stream is read from its first entry on, and says this: changes are applied once more, or for the first time.
    /// What came between them and isn't there was lost, and that is to be noticed again. What stands behind something
    /// later is sent once more: it was applied before, or was lost and stands behind what tells of that.
    /// Without `books` nobody notices what was lost before reading began.
    pub(crate) fn replay(&mut self, says: &[Says], books: bool, sent: usize, now: u64, running: u64) {
        let moment = self.moment;
        let (mut first, mut newest) = (None, 0);
        let mut stands = vec![None; self.fates.len()];
        for says in says {
            let record = match says {
                Says::Change(event) => self.fates[*event].record,
                Says::Beat(Some(record)) => *record,
                _ => continue,
            };
            first.get_or_insert(record);
            if let Says::Change(event) = says {
                stands[*event].get_or_insert(record >= newest);
            }
            newest = newest.max(record);
        }
        for (event, fate) in self.fates.iter_mut().enumerate() {
            match stands[event] {
                Some(true) => (fate.delivered, fate.heard, fate.lost, fate.early) = (None, 0, None, false),
                Some(false) if !fate.dropped && !fate.again => {}
                None if fate.record >= sent && fate.added.is_none() => {}
                _ if first.is_some_and(|first| fate.record > first) && (books || fate.dropped) => {
                    (fate.delivered, fate.heard, fate.lost, fate.early) = (None, 0, Some(running), false);
                    if fate.dropped && !self.missing.contains(&event) {
                        self.missing.push(event);
                    }
                }
                _ if fate.delivered.is_none() => {
                    fate.delivered = Some((now, moment));
                    fate.early = fate.dropped || fate.lost.is_some();
                }
                _ => {}
            }
        }
        self.low = 0;
        self.beats = [false; 2];
        self.beat = None;
        self.ended.clear();
        self.scanned.clear();
    }

    pub(crate) fn delete(&mut self, kind: Kind, key: u8) {
        self.deletes.insert((kind, key), self.moment);
        self.loaders.remove(&(kind, key));
    }

    /// A tag that the values of this key have is void. Whoever is loading one isn't known to have it.
    pub(crate) fn void_tag(&mut self, kind: Kind, key: u8) {
        self.deletes.insert((kind, key), self.moment);
    }

    pub(crate) fn redefine(&mut self, kind: Kind) {
        self.definitions.insert(kind, self.moment);
        self.shown.retain(|(k, _), _| *k != kind);
        self.loaders.retain(|(k, _), _| *k != kind);
        self.placed.retain(|(k, _), _| *k != kind);
    }

    /// When it was heard first that others tell of a change, or known that they have.
    pub(super) fn told_of(&self, number: usize, event: &Event) -> Option<(u64, u64)> {
        let of_all = matches!(event.op, Op::Truncate | Op::Redefine);
        let is_it = |told: &&Told| {
            told.events > number
                && told.table == event.table
                && told.key.is_none_or(|key| key == event.key && !of_all)
        };
        self.told.iter().find(is_it).map(|told| told.at)
    }

    /// Another process has begun.
    pub(crate) fn restart(&mut self) {
        self.told.clear();
        self.tales.begin_anew();
        self.epoch = self.moment;
        self.beats = [false; 2];
        self.shown.clear();
        self.loaders.clear();
        self.placed.clear();
        self.scanned.clear();
    }

    pub(crate) fn remember(&mut self, kind: Kind, key: u8, verdict: Verdict) {
        let shown = self.shown.entry((kind, key)).or_default();
        *shown = verdict.shows.max(*shown);
        if verdict.placed {
            let shown = self.placed.entry((kind, key)).or_default();
            *shown = verdict.shows.max(*shown);
        }
    }
}
