//! The books: whether everything that Debezium read arrived in Redis, by the numbers that it writes itself.
//!
//! Debezium's sink takes most errors of Redis for success, and goes on behind what is lost. Three numbers tell:
//!
//! * heartbeats are numbered, and each is one more than the one before; a new one with an old number shows that the
//!   database itself has gone back;
//! * the end of a transaction says how many events each table had in it, and each event which of them it is;
//! * an event of PostgreSQL names the newest commit before it (`source.sequence[0]`): a commit whose end never came was
//!   lost with all of its transaction. MariaDB numbers transactions, each one more than the one before in its domain.
//!   Of both, one that begins ends before the next begins; but MariaDB's statements about a definition don't, of which an
//!   event tells. Every heartbeat is a transaction, and so this is noticed within one heartbeat.
//!
//! Replays are no losses: numbers may go back at any time. With several streams the numbers of one are ahead of the
//! events of another, until all have been read to their ends; only then are the books settled.
//!
//! Nothing here does I/O or reads a clock.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    bounds::{Memory, room},
    change::{Change, End, Heartbeat, Mark, TableId, Transaction, TransactionId},
    continuity::Break,
    planted::{Bug, planted},
    position::{Commit, Gtid, RowVersion},
};

mod ended;

use ended::Ended;

/// Transactions that are kept until the books are settled, at most: while a backlog is read from several streams.
pub const UNSETTLED: usize = 1 << 16;
/// MariaDB's domains that are followed, at most: there is one unless it has several primaries.
pub const DOMAINS: usize = 64;

/// What was counted and isn't settled yet, and what the last numbers were.
#[derive(Debug, Default)]
pub struct Accounts {
    /// Whether all comes in one stream, and so in exact order.
    ordered: bool,
    /// The tables whose events come.
    followed: HashSet<TableId>,
    numbers: Numbers,
}

/// The numbers themselves: what is forgotten when reading begins elsewhere.
#[derive(Debug, Default)]
struct Numbers {
    /// The last heartbeat's.
    beat: Option<u64>,
    /// When the newest heartbeat was made, by the database's clock: milliseconds since the Unix epoch.
    beat_at: u64,
    /// The place in PostgreSQL's log that was there before any event: every commit that came later is among them.
    snapshot: Option<u64>,
    /// The newest commit whose end came. Only with transaction metadata do ends come at all.
    commit: Option<u64>,
    /// Newer commits that events say came before them, and newer commits that came, since the books were settled.
    preceding: Vec<u64>,
    commits: HashSet<u64>,
    /// The newest transaction of each of MariaDB's domains.
    domains: BTreeMap<u32, u64>,
    /// The transactions that haven't ended.
    open: HashMap<TransactionId, Open>,
    /// The transactions that began, until it is known how they ended, and the one that began last.
    begun: HashSet<TransactionId>,
    newest: Option<TransactionId>,
    /// MariaDB's that events named first, with domain and number, since the books were settled.
    named: Vec<(TransactionId, u32, u64)>,
    /// Those that an event has told to be statements about a table, since the books were settled: they may have no end.
    told: Vec<TransactionId>,
    /// Ends that aren't settled.
    ends: Vec<(TransactionId, End)>,
    ended: Ended,
    entered: Entered,
    /// What was found since the books were last settled.
    lost: Option<Break>,
    /// Whether a number was seen for the first time.
    began: bool,
    /// Whether messages were counted that didn't come: nothing names the commit before them, until the next heartbeat.
    doubt: bool,
}

/// A transaction of which events came.
#[derive(Debug, Default)]
struct Open {
    /// The last event of each table, by its place.
    last: Vec<(TableId, u64)>,
    /// Whether its end must come: MariaDB writes none after a DDL statement.
    must_end: bool,
    /// Whether an event of it has come since an end came last.
    is_new: bool,
    /// Whether it began before reading did: its first events are nobody's.
    entered: bool,
}

/// The transaction that was under way when reading began: its first events are nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Entered {
    /// Nothing has told so far.
    #[default]
    Unknown,
    /// A begin was the first to come.
    Nobody,
    This(TransactionId),
}

/// What settling the books has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Something was lost on the way to Redis.
    pub lost: Option<Break>,
    /// A number was seen for the first time: what was lost before it nobody would have noticed.
    pub began: bool,
    /// Whether a transaction is under way, events of which have been applied.
    pub open: bool,
    /// Whether a heartbeat may have been lost, and with it who would have told what was lost before it: whether that is so
    /// shows with the next one.
    pub doubt: bool,
}

// === impl Accounts ===

impl Accounts {
    /// Notes whether all comes in one stream, and the tables whose events come.
    pub fn follow(&mut self, ordered: bool, followed: HashSet<TableId>) {
        (self.ordered, self.followed) = (ordered, followed);
    }

    /// Forgets all numbers: what comes next is read from elsewhere.
    pub fn reset(&mut self) {
        self.numbers = Numbers::default();
    }

    /// Learns the last numbers from an entry that came before the first one that will be read.
    pub fn recall(&mut self, change: &Change<'_>) {
        let numbers = &mut self.numbers;
        match change {
            Change::Heartbeat(heartbeat) => {
                numbers.beat = heartbeat.number.or(numbers.beat);
                if heartbeat.dated {
                    numbers.beat_at = numbers.beat_at.max(heartbeat.at_ms);
                }
            }
            Change::Transaction(Transaction { id, gtid, end }) => {
                if let Some(Gtid::MariaDb { domain, sequence, .. }) = gtid {
                    numbers.domains.insert(*domain, *sequence);
                }
                if let Some(End { commit: Some(Commit::Postgres { lsn, .. }), .. }) = end {
                    numbers.commit = numbers.commit.max(Some(*lsn));
                }
                if end.is_some() {
                    numbers.open.remove(id);
                    numbers.ended.push(*id);
                    numbers.ended.trim();
                } else if gtid.is_none() {
                    let entered = Open { must_end: true, entered: true, ..Open::default() };
                    numbers.open.insert(*id, entered);
                }
            }
            _ => {}
        }
        // Were its end among what is recalled, it would be newer than this.
        if let Some(Mark { transaction: Some(id), .. }) = change.mark() {
            numbers.entered = Entered::This(*id);
        }
    }

    /// Notes that a snapshot was read of which the log goes on from here, and that nothing came before it: the first numbers
    /// are compared with it.
    pub fn begin_after(&mut self, snapshot: RowVersion) {
        if let RowVersion::Postgres { lsn } = snapshot {
            self.numbers.snapshot = Some(lsn);
        }
        self.numbers.entered.begin();
    }

    /// Counts an entry.
    pub fn note(&mut self, change: &Change<'_>) {
        let numbers = &mut self.numbers;
        if numbers.unsettled() > room(Memory::Unsettled, UNSETTLED) {
            numbers.lose(Break::Unaccounted);
            (numbers.open, numbers.ends) = Default::default();
            (numbers.preceding, numbers.commits) = Default::default();
            (numbers.begun, numbers.named, numbers.told) = Default::default();
        }
        if let Change::Transaction(Transaction { id, gtid, end }) = change {
            gtid.inspect(|gtid| numbers.follow(*gtid));
            if end.is_none() && !matches!(gtid, Some(Gtid::MySql { .. })) {
                numbers.begin(*id);
            }
        }
        match change {
            // Everything is void with it, whatever was lost before.
            Change::Source { .. } => numbers.begun.clear(),
            Change::Table { mark: Mark { transaction: Some(id), lsn: None, .. }, .. } => {
                numbers.told.push(*id);
            }
            _ => {}
        }
        match change {
            Change::Transaction(Transaction { id, gtid, end: None }) => {
                // One that is read once more from its begin is counted once more.
                if self.ordered {
                    numbers.open.remove(id);
                    numbers.entered.begin();
                }
                // MariaDB's are known by their numbers.
                if gtid.is_none() && !numbers.ended.contains(*id) {
                    let open = numbers.open.entry(*id).or_default();
                    (open.must_end, open.is_new) = (true, true);
                }
            }
            Change::Transaction(Transaction { id, end: Some(end), .. }) => {
                if let Some(Commit::Postgres { lsn, .. }) = end.commit {
                    numbers.begin_commits(lsn);
                    numbers.commits.insert(lsn);
                }
                numbers.enter(*id);
                if !numbers.ended.contains(*id) {
                    // Begins and ends come in their order: what began before another one ended is over.
                    numbers.newest.take_if(|newest| newest != id);
                    numbers.ends.push((*id, end.clone()));
                    if self.ordered {
                        numbers.close(&self.followed);
                    }
                }
            }
            _ => {
                if let Some(mark) = change.mark() {
                    numbers.count(mark);
                }
            }
        }
        if let Change::Heartbeat(Heartbeat { number: Some(number), at_ms, dated, mark, .. }) = change {
            numbers.beat(*number, dated.then_some(*at_ms), mark.transaction.is_some());
        }
    }

    /// Settles the books: every entry has come that was written before the last one, of whatever stream.
    pub fn settle(&mut self) -> Settled {
        let numbers = &mut self.numbers;
        numbers.close(&self.followed);
        numbers.chain();
        let open = !numbers.open.is_empty();
        let settled = Settled { lost: numbers.lost, began: numbers.began, open, doubt: numbers.doubt };
        if numbers.lost.is_some() {
            // What came since isn't known to be whole, and begins anew.
            *numbers = Numbers { ended: std::mem::take(&mut numbers.ended), ..Numbers::default() };
        }
        numbers.began = false;
        settled
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> [(Memory, usize); 3] {
        let Numbers { ended, .. } = &self.numbers;
        [
            (Memory::Ended, ended.order.len()),
            (Memory::Ended, ended.ids.len()),
            (Memory::Unsettled, self.numbers.unsettled()),
        ]
    }
}

// === impl Entered ===

impl Entered {
    /// A transaction has begun, and everything has come that was written before.
    fn begin(&mut self) {
        if *self == Self::Unknown {
            *self = Self::Nobody;
        }
    }
}

// === impl Numbers ===

impl Numbers {
    /// What is kept until the books are settled.
    fn unsettled(&self) -> usize {
        let markers = self.ends.len() + self.begun.len() + self.named.len() + self.told.len();
        self.open.len() + markers + self.preceding.len() + self.commits.len()
    }

    /// Whether this transaction was under way when reading began. One whose begin was read wasn't.
    fn enter(&mut self, id: TransactionId) -> bool {
        if self.entered == Entered::Unknown && !self.begun.contains(&id) {
            self.entered = Entered::This(id);
        }
        self.entered == Entered::This(id)
    }

    /// Commits count from here on, unless they do already.
    fn begin_commits(&mut self, at: u64) {
        if self.commit.is_none() {
            self.began |= self.snapshot.is_none();
            self.commit = Some(self.snapshot.unwrap_or(at));
        }
    }

    fn begin(&mut self, id: TransactionId) {
        if !self.ended.contains(id) {
            self.begun.insert(id);
            self.newest = Some(id);
        }
    }

    fn beat(&mut self, number: u64, at_ms: Option<u64>, in_transaction: bool) {
        match self.beat {
            // A replayed one has its own time. Numbers that go back in new ones are another history's: a replica that
            // took over without the newest transactions, or a restored backup.
            Some(last) if number <= last && at_ms.is_some_and(|at| at > self.beat_at) => {
                self.lose(Break::DatabaseChanged);
            }
            Some(last) if number > last.saturating_add(1) && !planted(Bug::HeartbeatJumpIgnored) => {
                self.lose(Break::HeartbeatMissed);
            }
            Some(last) if number == last.saturating_add(1) => self.doubt = false,
            Some(_) => {}
            // Transactions' numbers notice more, as long as Debezium goes on to write them.
            None => {
                self.began |= self.commit.is_none() && (self.domains.is_empty() || !in_transaction);
                self.doubt = false;
            }
        }
        self.beat = Some(number);
        self.beat_at = self.beat_at.max(at_ms.unwrap_or(0));
    }

    fn follow(&mut self, gtid: Gtid) {
        let Gtid::MariaDb { domain, sequence, .. } = gtid else { return };
        let Some(newest) = self.domains.get_mut(&domain) else {
            if self.domains.len() < DOMAINS {
                self.began = true;
                self.domains.insert(domain, sequence);
            }
            return;
        };
        let gap = sequence > newest.saturating_add(1);
        *newest = sequence.max(*newest);
        if gap && !planted(Bug::GtidGapIgnored) {
            self.lose(Break::TransactionsMissed);
        }
    }

    fn count(&mut self, mark: &Mark) {
        // The first event after Debezium's start names no commit before it.
        if self.commit.is_none()
            && mark.transaction.is_some()
            && let Some(before) = mark.preceding.or(mark.lsn)
        {
            self.begin_commits(before);
        }
        if let Some(preceding) = mark.preceding {
            if mark.transaction.is_none() && mark.lsn == Some(preceding) {
                // A message outside any transaction is taken for a commit by the events behind it.
                self.commits.insert(preceding);
            } else if self.commit.is_some_and(|commit| preceding > commit)
                && self.preceding.last() != Some(&preceding)
            {
                self.preceding.push(preceding);
            }
        }
        let (Some(id), Some((table, place))) = (mark.transaction, mark.place) else { return };
        if self.ended.contains(id) {
            return;
        }
        let entered = self.enter(id);
        let open = self.open.entry(id).or_insert_with(|| {
            if let Some(Gtid::MariaDb { domain, sequence, .. }) = mark.gtid {
                self.named.push((id, domain, sequence));
            }
            Open::default()
        });
        open.must_end |= mark.lsn.is_some();
        open.is_new = true;
        let at = open.last.iter().position(|(t, _)| *t == table).unwrap_or_else(|| {
            open.last.push((table, 0));
            open.last.len() - 1
        });
        let last = &mut open.last[at].1;
        let gap = place > last.saturating_add(1) && !entered && !open.entered;
        *last = place.max(*last);
        if gap && !planted(Bug::EndCountIgnored) {
            self.lose(Break::EventsMissed);
        }
    }

    /// Holds the transactions that ended against what was counted of them.
    fn close(&mut self, followed: &HashSet<TableId>) {
        let ends = std::mem::take(&mut self.ends);
        if !ends.is_empty() {
            // Whatever came to an end since then, nothing else can be under way. Its own end was lost when it was sent
            // once more, or its commit will be missed.
            self.open.retain(|id, open| open.is_new || ends.iter().any(|(ended, _)| ended == id));
            self.open.values_mut().for_each(|open| open.is_new = false);
        }
        for (id, end) in ends {
            if self.ended.contains(id) {
                continue;
            }
            // One of PostgreSQL's of which nothing came but its end. Whatever came before it may be lost, too.
            let began = self.open.contains_key(&id) || !matches!(end.commit, Some(Commit::Postgres { .. }));
            let open = self.open.remove(&id).unwrap_or_default();
            let complete = end.events.iter().all(|(table, count)| {
                let came = open.last.iter().find(|(t, _)| t == table).map_or(0, |(_, last)| *last);
                came == *count || came == 0 && !followed.contains(table)
            });
            let silent = open.last.is_empty() && end.events.iter().any(|(of, _)| *of == TableId::MESSAGES);
            self.doubt |= silent && self.beat.is_some() && !planted(Bug::SilenceTrusted);
            let entered = open.entered || self.entered == Entered::This(id);
            if !(complete && began || entered || planted(Bug::EndCountIgnored)) {
                self.lose(Break::EventsMissed);
            }
            self.ended.push(id);
        }
        let told = std::mem::take(&mut self.told);
        let lacks_end = |id: &TransactionId| !self.ended.contains(*id) && !told.contains(id);
        // Every begin has come that was written before its events. Where it was lost, the ones before it are over all the
        // same; and of two that lack their ends one is enough.
        let named = std::mem::take(&mut self.named);
        for (id, domain, sequence) in named.into_iter().filter(|(id, ..)| lacks_end(id)).take(2) {
            if planted(Bug::NamedIgnored) || !self.begun.insert(id) {
                continue;
            }
            self.newest = Some(id);
            if self.domains.get(&domain).is_some_and(|newest| sequence > newest.saturating_add(1)) {
                self.lost.get_or_insert(Break::TransactionsMissed);
            }
        }
        // Debezium writes one transaction after the other: one can be under way, the others' ends were lost.
        let newest = self.newest.take();
        let unended = self.begun.iter().any(|id| Some(*id) != newest && lacks_end(id));
        self.begun.retain(|id| Some(*id) == newest && lacks_end(id));
        self.newest = newest.filter(|newest| self.begun.contains(newest));
        if let Some(newest) = newest {
            self.entered.begin();
            // What began before has ended, or won't.
            self.open.retain(|id, open| open.must_end || *id == newest);
        }
        if unended && !planted(Bug::UnendedIgnored) {
            self.lose(Break::EventsMissed);
        }
        self.ended.trim();
        if self.open.len() > 1 {
            if self.open.values().filter(|open| open.must_end).count() > 1 {
                self.lose(Break::EventsMissed);
            }
            self.open.clear();
        }
    }

    /// Holds the commits that events name against those that came.
    fn chain(&mut self) {
        let commits = std::mem::take(&mut self.commits);
        let unknown = |preceding: &u64| !commits.contains(preceding);
        let named = |known: u64| self.preceding.iter().any(|p| *p > known && unknown(p));
        if self.commit.is_some_and(named) && !planted(Bug::ChainIgnored) {
            self.lose(Break::TransactionsMissed);
        }
        self.preceding.clear();
        if self.commit.is_some() {
            self.commit = commits.into_iter().max().max(self.commit);
        }
    }

    fn lose(&mut self, why: Break) {
        self.lost.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests;
