//! All rows of a table, as far as its log and its snapshots tell them: what a view over rows ranks.
//!
//! moka may drop any row at any time, and a view over what it has left would be wrong. A roster drops none. It is whole when
//! a snapshot was read to its last row, which Debezium's notifications prove: they say how many there were; and when the log
//! has passed everything that the snapshot can have seen, which a heartbeat proves that was made later. From then on each
//! transaction changes it, when it has ended and nothing before it was lost: what is shown never has half of one.
//!
//! What a snapshot says of a row is from some instant while it was taken. A commit that was delivered before needn't have been
//! visible to it, for as long as reads lag behind the log (`freshness.readLag`). So of rows that the log told something of in
//! that time both have to say the same; otherwise nobody knows the row until the log tells of it again. And of the time right
//! before the snapshot, the log has to have been read.
//!
//! Which snapshots count: the one that the stream begins with, and one that was asked for while the log was followed
//! (`execute-snapshot`, `blocking`), after which it goes on where it was. A snapshot that Debezium takes because it has lost its
//! place is followed by the log from a place of its own reading, and a commit can be in neither of both.
//!
//! Nothing here does I/O or reads a clock: times are milliseconds since the Unix epoch that the database and Debezium have
//! written.

use std::{collections::HashSet, sync::Arc};

use freshet_crds::binding::ViewSpec;

use super::ranking::Ranked;
use crate::{
    change::{Notice, TableId, TransactionId},
    continuity::Break,
    planted::{Bug, planted},
    position::Commit,
    upstream::allowance::{Allowance, Taken},
};

mod gone;
mod index;
mod rows;
mod staged;
mod terms;
mod why;

use gone::Gone;
use rows::{Row, Rows};
use staged::{Ended, Staged};
pub use terms::Terms;
use terms::millis;
pub use why::Why;

/// Bytes that the memory of a row takes of which the log has told lately.
const TOLD: u64 = 32;
/// The time of what the log has told since the last heartbeat.
const LATELY: u64 = u64::MAX;

/// What is known of a table's rows.
#[derive(Debug)]
pub struct Roster {
    table: TableId,
    state: State,
    /// Whether nothing came before what was read: a snapshot that comes now is what the stream begins with.
    from_nothing: bool,
    /// A heartbeat from which on the log was read without a loss.
    since: Option<u64>,
    /// When the snapshot began that was announced last, until it comes to the table.
    announced: Option<u64>,
    rows: Rows,
    /// Rows that the log has told to be deleted.
    gone: Gone,
    /// When the log has told last that all are: those that nobody knew of, too.
    cleared: Option<u64>,
    /// Rows that the log has told of since the last heartbeat: the next one is later than these commits.
    lately: HashSet<Arc<str>, ahash::RandomState>,
    /// What transactions do that don't count yet.
    staged: Staged,
    /// The newest heartbeat that doesn't count yet.
    beat: Option<u64>,
    /// Whether the log is being read once more, from before what was read already.
    behind: bool,
    taken: Option<Taken>,
}

#[derive(Debug)]
enum State {
    /// No snapshot has told what there was before the log.
    Unknown(Why),
    /// A snapshot is being read.
    Scanning(Scan),
    /// All rows are there.
    Whole,
}

#[derive(Debug)]
struct Scan {
    /// When it began.
    began: u64,
    /// Whether the stream begins with it.
    is_first: bool,
    /// How many different rows came.
    read: u64,
    /// How many there are, and when the last was read, once that is told.
    told: Option<(u64, u64)>,
    /// Whether the log was being followed before it and is to go on where it was, once a row has told.
    resumed: Option<bool>,
    /// Whether a new epoch has begun with it.
    broke: bool,
    /// Whether all have come.
    complete: bool,
}

/// What the log says of rows.
#[derive(Debug)]
pub enum Event {
    /// A row is this now; `None`: it was written, and what came of it isn't known.
    Is(Box<str>, Option<Box<str>>),
    /// A row is gone.
    Gone(Box<str>),
    /// All are.
    Cleared,
}

// === impl Event ===

impl Event {
    fn weight(&self) -> u64 {
        let texts = match self {
            Self::Is(key, json) => key.len() + json.as_ref().map_or(0, |json| json.len()),
            Self::Gone(key) => key.len(),
            Self::Cleared => 0,
        };
        (texts + size_of::<Self>()) as u64
    }
}

// === impl Roster ===

impl Roster {
    /// Nothing is known of the rows of this table.
    #[must_use]
    pub fn new(table: TableId) -> Self {
        Self {
            table,
            state: State::Unknown(Why::NoSnapshot),
            from_nothing: false,
            since: None,
            announced: None,
            rows: Rows::default(),
            gone: Gone::default(),
            cleared: None,
            lately: HashSet::default(),
            staged: Staged::default(),
            beat: None,
            behind: false,
            taken: None,
        }
    }

    /// Ranks the rows for these views and no others.
    pub fn show(&mut self, views: &[&ViewSpec], terms: &Terms<'_>) {
        self.rows.show(views);
        self.weigh(terms);
    }

    /// Reading begins at some place of the stream, `from_nothing` if it is the first entry that there ever was: what comes
    /// tells all that is known.
    pub fn begin(&mut self, from_nothing: bool) {
        self.lose(Why::NoSnapshot);
        (self.announced, self.from_nothing) = (None, from_nothing);
    }

    /// Forgets the rows: what was known of them needn't be true any more, until a snapshot tells it anew.
    pub fn lose(&mut self, why: Why) {
        drop(self.rows.clear());
        self.gone = Gone::default();
        self.cleared = None;
        (self.staged, self.lately, self.beat, self.behind) =
            (Staged::default(), HashSet::default(), None, false);
        (self.since, self.from_nothing) = (None, false);
        // Nothing is lost of what wasn't there: why it wasn't says more.
        let why = match (&self.state, why) {
            (State::Unknown(known), Why::Lost(_) | Why::Unproven | Why::Unknown) => *known,
            _ => why,
        };
        self.state = State::Unknown(why);
        self.taken = None;
    }

    /// Learns that an epoch has ended. A snapshot is the end of one, too: what was told before it may lack something, and
    /// what is read of it doesn't.
    pub fn break_epoch(&mut self, why: Break) {
        match &mut self.state {
            // With its first row.
            State::Scanning(scan) if why == Break::SnapshotBegan && scan.read <= 1 && !scan.broke => {
                scan.broke = true;
            }
            _ if planted(Bug::RosterOutlivesEpoch) => {}
            _ => self.lose(Why::Lost(why)),
        }
    }

    /// Learns what a notification says about a snapshot.
    pub fn notice(&mut self, notice: &Notice, terms: &Terms<'_>) {
        match notice {
            Notice::Started { at } => self.announced = Some(*at),
            Notice::Reading { tables } => {
                if let Some(at) = self.announced.take_if(|_| tables.contains(&self.table)) {
                    self.scan(at, terms);
                }
            }
            Notice::Read { table, rows, at } if *table == self.table => {
                if let State::Scanning(scan) = &mut self.state {
                    scan.told = Some((*rows, *at));
                    self.finish(terms);
                }
            }
            Notice::Ended => {
                self.announced = None;
                if let State::Scanning(Scan { read, told, complete: false, .. }) = self.state {
                    self.lose(Why::Partial { read, of: told.map(|(rows, _)| rows) });
                }
            }
            Notice::Read { .. } | Notice::Other => {}
        }
    }

    /// Begins to read a snapshot that began at this time.
    fn scan(&mut self, began: u64, terms: &Terms<'_>) {
        let window = terms.window();
        let is_first = self.from_nothing;
        let is_known = self.since.is_some_and(|since| since.saturating_add(window) <= began);
        if !is_first && !is_known && !planted(Bug::ScanTooSoon) {
            let since = self.since;
            self.lose(Why::TooSoon);
            self.since = since;
            return;
        }
        // What is older every snapshot has seen, or something was missed since.
        self.state = State::Unknown(Why::NoSnapshot);
        self.rows.touch();
        self.forget_before(began.saturating_sub(window));
        self.rows.begin_scan();
        // A second one that nothing came before has begun because the first was cut off.
        self.from_nothing = false;
        self.state = State::Scanning(Scan {
            began,
            is_first,
            read: 0,
            told: None,
            resumed: None,
            broke: false,
            complete: false,
        });
        self.weigh(terms);
    }

    /// Learns from a row of a snapshot, whatever its table, whether the log was being followed before and is to go on where it
    /// was.
    pub fn note_snapshot(&mut self, resumed: bool) {
        let State::Scanning(scan) = &mut self.state else { return };
        scan.resumed = Some(resumed);
        if scan.is_first == resumed && !planted(Bug::PlaceLostTaken) {
            self.lose(if resumed { Why::TooSoon } else { Why::PlaceLost });
        }
    }

    /// Takes a row that a snapshot has read; `None` is one whose columns aren't what they should be.
    pub fn read(&mut self, key: &str, json: Option<&str>, terms: &Terms<'_>) {
        let State::Scanning(scan) = &mut self.state else { return };
        let known = self.rows.get(key);
        if known.is_some_and(|row| row.read) {
            return;
        }
        scan.read += 1;
        let told = known.and_then(|row| row.told);
        let differs = match known {
            Some(row) => row.json.as_deref() != json,
            None => self.cleared.is_some() || self.gone.contains(key),
        };
        // Of what the log told right before nobody knows which of the two is right.
        let json = json.filter(|_| !differs || planted(Bug::SnapshotOverLog));
        self.rows.put(key, Row { json: json.map(Into::into), told, read: true });
        self.finish(terms);
        self.weigh(terms);
    }

    /// Notes that all rows of the snapshot have come, if so.
    fn finish(&mut self, terms: &Terms<'_>) {
        let State::Scanning(scan) = &mut self.state else { return };
        let Some((rows, _)) = scan.told else { return };
        let read = scan.read;
        if read > rows {
            return self.lose(Why::Partial { read, of: Some(rows) });
        }
        if (read < rows && !planted(Bug::RowsUncounted)) || scan.complete {
            return;
        }
        scan.complete = true;
        // What the log has told of and the snapshot doesn't have: its insert wasn't visible yet, or its delete is still to
        // come, or was missed.
        if !planted(Bug::UnreadKept) {
            self.rows.doubt_unread();
        }
        self.weigh(terms);
    }

    /// Takes what the log says in this transaction: it counts when that has ended.
    pub fn tell(&mut self, event: Event, transaction: Option<TransactionId>, terms: &Terms<'_>) {
        self.from_nothing = false;
        let Some(id) = transaction else { return self.lose(Why::NoTransactions) };
        if planted(Bug::HalfTransaction) {
            return self.apply(event);
        }
        self.staged.tell(event, id);
        self.weigh(terms);
    }

    /// Notes that a transaction has ended, and where it was committed, if that is said.
    pub fn end(&mut self, id: TransactionId, commit: Option<Commit>, terms: &Terms<'_>) {
        self.from_nothing = false;
        self.staged.end(id, commit);
        self.weigh(terms);
    }

    /// Notes a heartbeat of the database, by its clock; whether NULLs come as such.
    pub fn beat(&mut self, at: u64, nulls_kept: Option<bool>) {
        self.from_nothing = false;
        match nulls_kept {
            Some(false) => self.lose(Why::NullsReplaced),
            Some(true) => self.beat = self.beat.max(Some(at)),
            None => {}
        }
        self.since.get_or_insert(at);
    }

    /// Takes for true what transactions did that have ended, and what heartbeats prove: nothing that came before them was
    /// lost.
    pub fn settle(&mut self, terms: &Terms<'_>) {
        // First: what has ended since it was made may be later.
        if let Some(beat) = self.beat.take() {
            self.pass(beat, terms);
        }
        match self.staged.take() {
            Err(why) => return self.lose(why),
            Ok(Ended { events, behind }) => {
                for event in events {
                    self.apply(event);
                }
                if let Some(behind) = behind.filter(|behind| *behind != self.behind) {
                    self.behind = behind;
                    self.rows.touch();
                }
            }
        }
        self.weigh(terms);
    }

    /// Everything has been read that was committed before this heartbeat.
    fn pass(&mut self, beat: u64, terms: &Terms<'_>) {
        for key in std::mem::take(&mut self.lately) {
            self.rows.date(&key, beat);
            self.gone.date(&key, beat);
        }
        self.cleared = self.cleared.map(|told| told.min(beat));
        let is_past = |at: u64| beat > at.saturating_add(millis(terms.skew));
        match &self.state {
            State::Scanning(Scan { complete: true, told: Some((_, read_at)), is_first, resumed, .. })
                if is_past(*read_at) || planted(Bug::ScanUnpassed) =>
            {
                match resumed {
                    _ if *is_first || *resumed == Some(true) || planted(Bug::PlaceLostTaken) => {
                        self.state = State::Whole;
                        self.rows.touch();
                    }
                    Some(_) => self.lose(Why::PlaceLost),
                    None => self.lose(Why::NoRows),
                }
            }
            // Nothing of the log comes while a snapshot is taken: its end won't come any more.
            State::Scanning(Scan { complete: false, began, read, told, .. }) if is_past(*began) => {
                let (read, of) = (*read, told.map(|(rows, _)| rows));
                self.lose(Why::Partial { read, of });
                self.since = Some(beat);
            }
            State::Scanning(_) => {}
            State::Unknown(_) | State::Whole => self.forget_before(beat.saturating_sub(terms.window())),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Is(key, json) => {
                let read = self.rows.get(&key).is_some_and(|row| row.read);
                self.gone.remove(&key);
                self.lately.insert(self.rows.put(&key, Row { json, told: Some(LATELY), read }));
            }
            Event::Gone(key) => {
                let key = self.rows.remove(&key).unwrap_or_else(|| key.into());
                self.lately.insert(Arc::clone(&key));
                self.gone.insert(key, LATELY);
            }
            Event::Cleared => {
                let keys: Vec<_> = self.rows.clear().collect();
                self.lately.extend(keys.iter().cloned());
                for key in keys {
                    self.gone.insert(key, LATELY);
                }
                self.cleared = Some(LATELY);
            }
        }
    }

    /// Forgets what the log told before this time, as far as no snapshot needs it: where all rows are there, only which were
    /// deleted.
    fn forget_before(&mut self, at: u64) {
        self.gone.forget_before(at);
        self.cleared.take_if(|told| *told < at);
        if !matches!(self.state, State::Whole) {
            self.rows.forget_before(at);
        }
    }

    /// Takes as many bytes as it needs, or drops all.
    fn weigh(&mut self, terms: &Terms<'_>) {
        /// Taken at once, since more is taken with every row.
        const STEP: u64 = 1 << 16;
        let needed = self.rows.weight() + self.staged.weight() + self.gone.weight();
        let needed = needed + self.lately.len() as u64 * TOLD;
        if needed == 0 {
            self.taken = None;
        }
        let has = self.taken.as_ref().map_or(0, Taken::bytes);
        if needed <= has && has <= needed + 2 * STEP {
            return;
        }
        let wanted = needed.next_multiple_of(STEP);
        let taken = match self.taken.take() {
            Some(taken) => taken.change(wanted, terms.memory),
            None => terms.allowance.take(wanted, terms.memory),
        };
        match taken {
            Some(taken) => self.taken = Some(taken),
            None => self.lose(Why::NoRoom { most: Allowance::most(terms.memory), needed }),
        }
    }

    /// The top of a view, by its name.
    pub fn top(&self, view: &str) -> Result<Ranked, Why> {
        self.standing()?;
        self.rows.top(view).ok_or(Why::Replaced)
    }

    /// Whether what is shown is the table.
    pub fn standing(&self) -> Result<(), Why> {
        match &self.state {
            State::Unknown(why) => Err(*why),
            State::Scanning(Scan { complete: true, .. }) => Err(Why::NotPassed),
            State::Scanning(Scan { read, told, .. }) => {
                Err(Why::Reading { read: *read, of: told.map(|(rows, _)| rows) })
            }
            State::Whole if self.behind => Err(Why::Behind),
            State::Whole => match self.rows.unclear() {
                0 => Ok(()),
                rows => Err(Why::Unclear { rows }),
            },
        }
    }

    /// Rows that are there, known or not.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Rows of a view, those beyond its limit included; 0 where they aren't all there.
    #[must_use]
    pub fn items(&self, view: &str) -> usize {
        if self.standing().is_ok() { self.rows.items(view) } else { 0 }
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.taken.as_ref().map_or(0, Taken::bytes)
    }

    /// Whether what is shown may be another than when this was asked last.
    pub fn take_changed(&mut self) -> bool {
        self.rows.take_changed()
    }
}

#[cfg(test)]
mod tests;
