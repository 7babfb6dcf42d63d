//! A writer: one connection, one transaction after the other, every commit in the ledger.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::ledger::{Outcome, Rule, Violation};
use super::plan::{self, Change, Values};
use super::session::{Door, Session};
use super::shape::{HUGE, Key, PROBE, Rows, Source, Subject, Table};
use super::stage::{Stage, bump};
use super::teller::{self, Teller};
use crate::random::Random;

/// The pause between two transactions of a writer, at most, in milliseconds.
const PAUSE_MS: u64 = 400;

/// Something unusual that a fault asks of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Empties the table of scraps.
    Truncate,
    /// Swaps the keys of all its items in one transaction.
    Swaps,
    /// Adds a column to the notes, or drops it.
    Redefine,
    /// A transaction of so many rows.
    Huge(u32),
    /// Writes, and what is said of it is lost.
    Unsaid,
}

/// A [`Deed`] and where to tell that it is done.
pub(crate) type Request = (Deed, SyncSender<Result<()>>);

pub(crate) struct Writer {
    stage: Arc<Stage>,
    door: Door,
    number: u32,
    random: Random,
    values: Values,
    rows: Rows,
    session: Option<Session>,
    requests: Receiver<Request>,
    redefined: bool,
    /// Says what was committed, where nobody else does.
    teller: Option<Teller>,
    /// Nobody hears what is said next.
    unheard: bool,
}

impl Writer {
    pub(crate) fn new(
        stage: Arc<Stage>,
        door: Door,
        number: u32,
        random: Random,
        requests: Receiver<Request>,
        teller: Option<Teller>,
    ) -> Self {
        Self {
            stage,
            door,
            number,
            random,
            values: Values::of(number),
            rows: Rows::new(),
            session: None,
            requests,
            redefined: false,
            teller,
            unheard: false,
        }
    }

    /// Writes every row once, so that there is something to begin with.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let keys = Table::ALL.into_iter().flat_map(|t| t.ids(self.number).into_iter().map(move |id| (t, id)));
        let changes: Vec<_> = keys.map(|(table, id)| Change::Put(table, id, self.values.next())).collect();
        // In the ledger a group without rows has a value, too.
        let empty = self.changed(plan::difference(&plan::after(&self.rows, &changes), &self.rows));
        let sums = empty.into_iter().filter(|(key, _)| matches!(key.subject, Subject::Sum(_))).collect();
        let mut ledger = self.stage.ledger();
        let ticket = ledger.announce(sums, Duration::ZERO);
        let _ = ledger.settle(ticket, Outcome::Committed(Duration::ZERO), Duration::ZERO);
        drop(ledger);
        self.commit(&changes)
    }

    /// Writes until the run is over.
    pub(crate) fn run(mut self) {
        while !self.stage.is_over() {
            let pause = Duration::from_millis(self.random.below(PAUSE_MS));
            if let Ok((deed, done)) = self.requests.recv_timeout(pause) {
                let result = self.perform(deed);
                // Whoever asked may have given up.
                let _ = done.send(result);
                continue;
            }
            let changes = plan::transaction(&mut self.random, self.number, &self.rows, &mut self.values);
            if self.commit(&changes).is_err() {
                bump(&self.stage.counts.failed);
                self.session = None;
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn perform(&mut self, deed: Deed) -> Result<()> {
        match deed {
            Deed::Truncate => self.commit(&[Change::Truncate]),
            Deed::Swaps => {
                let changes = plan::swaps(self.number, &self.rows, &mut self.values);
                self.commit(&changes)
            }
            Deed::Unsaid => {
                let ids = Table::Item.ids(self.number);
                let changes: Vec<_> =
                    ids.into_iter().map(|id| Change::Put(Table::Item, id, self.values.next())).collect();
                self.unheard = true;
                let written = self.commit(&changes);
                self.unheard = false;
                written
            }
            Deed::Redefine => {
                let how = if self.redefined { "DROP COLUMN extra" } else { "ADD COLUMN extra INT DEFAULT 7" };
                self.execute(&format!("ALTER TABLE {} {how}", Table::Note.name()))?;
                self.redefined = !self.redefined;
                Ok(())
            }
            Deed::Huge(rows) => {
                let name = Table::Scrap.name();
                let last = HUGE + rows;
                let filling = match self.door.source {
                    Source::Postgres => {
                        format!("SELECT n, 0, 'huge' FROM generate_series({HUGE}, {last}) AS n")
                    }
                    Source::MariaDb => format!("SELECT seq, 0, 'huge' FROM shop.seq_{HUGE}_to_{last}"),
                };
                let changes: Vec<_> = Table::Scrap
                    .ids(self.number)
                    .into_iter()
                    .map(|id| Change::Put(Table::Scrap, id, self.values.next()))
                    .collect();
                let further = [
                    format!("DELETE FROM {name} WHERE id >= {HUGE}"),
                    format!("INSERT INTO {name} (id, grp, val) {filling}"),
                ];
                self.commit_with(&changes, &further)
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<()> {
        self.commit_with(changes, &[])
    }

    /// Makes the changes in one transaction, after further statements of no interest. Fails if it certainly didn't
    /// happen; otherwise waits until it is known whether it did.
    fn commit_with(&mut self, changes: &[Change], further: &[String]) -> Result<()> {
        let stage = Arc::clone(&self.stage);
        let _writing = stage.quiet.read().unwrap_or_else(PoisonError::into_inner);
        let next = plan::after(&self.rows, changes);
        let difference = plan::difference(&self.rows, &next);
        let own = changes.iter().flat_map(|change| plan::statements(&self.rows, change)).collect::<Vec<_>>();
        let statements: Vec<&str> = further.iter().chain(&own).map(String::as_str).collect();
        // MariaDB commits a TRUNCATE by itself: there the statement is the commit.
        let commits_itself = self.door.source == Source::MariaDb && changes.contains(&Change::Truncate);
        let (before, commit) = if commits_itself {
            (Vec::new(), statements[0])
        } else {
            ([&["BEGIN"], statements.as_slice()].concat(), "COMMIT")
        };
        for statement in before {
            self.execute(statement)?;
        }
        let ticket = stage.ledger().announce(self.changed(difference.clone()), stage.now());
        let committed = self.execute(commit);
        let happened = match committed {
            Ok(()) => Ok(()),
            Err(error) => {
                bump(&stage.counts.uncertain);
                self.session = None;
                if self.resolve(&difference)? { Ok(()) } else { Err(error) }
            }
        };
        if let (Ok(()), Some(teller)) = (&happened, &self.teller) {
            let was_there = |table, id| self.rows.contains_key(&(table, id));
            let truncated = changes.contains(&Change::Truncate);
            let whole = (!further.is_empty()).then_some(Table::Scrap);
            let says = teller::says(&difference, was_there, truncated, whole);
            if let Err(error) = teller.tell(says, self.unheard) {
                stage.report([Violation::new(Rule::World, stage.now(), format!("{error:#}"))]);
            }
        }
        let now = stage.now();
        let outcome = if happened.is_ok() { Outcome::Committed(now) } else { Outcome::Aborted };
        let violations = stage.ledger().settle(ticket, outcome, now);
        stage.report(violations);
        if happened.is_ok() {
            self.rows = next;
            bump(&stage.counts.transactions);
            stage.counts.changes.fetch_add(difference.len() as u64, Ordering::Relaxed);
        }
        happened
    }

    /// Whether a commit whose answer was lost has happened; waits for a database that can tell.
    fn resolve(&mut self, difference: &[(Subject, Option<String>)]) -> Result<bool> {
        let Some((subject, value)) = difference.first() else { return Ok(true) };
        while !self.stage.is_over() {
            if let Ok(rows) = self.rows_of(&subject.query()) {
                return Ok(subject.value(&rows) == *value);
            }
            self.session = None;
            thread::sleep(Duration::from_millis(100));
        }
        Err(anyhow!("the run ended before it was known whether a commit had happened"))
    }

    fn changed(&self, difference: Vec<(Subject, Option<String>)>) -> Vec<(Key, Option<Arc<str>>)> {
        let key = |subject| Key { source: self.door.source, subject };
        difference.into_iter().map(|(subject, value)| (key(subject), value.map(Into::into))).collect()
    }

    fn execute(&mut self, sql: &str) -> Result<()> {
        self.rows_of(sql).map(drop)
    }

    fn rows_of(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        if self.session.is_none() {
            self.session = Some(self.door.open()?);
        }
        self.session.as_mut().context("a session")?.run(sql)
    }
}

/// What makes the tables, for both databases.
pub(crate) fn tables(source: Source) -> String {
    let schema = match source {
        Source::Postgres => "CREATE SCHEMA shop",
        Source::MariaDb => "CREATE DATABASE shop",
    };
    let table = |table: Table| {
        let name = table.name();
        let probe = if table == Table::Scrap {
            String::new()
        } else {
            format!("; INSERT INTO {name} VALUES ({PROBE}, {PROBE}, 'probe')")
        };
        format!(
            "; CREATE TABLE {name} (id INT PRIMARY KEY, grp INT NOT NULL, val VARCHAR(64) NOT NULL){probe}"
        )
    };
    format!("{schema}{}", Table::ALL.map(table).concat())
}

/// The ledger's knowledge of what nobody writes.
pub(crate) fn announce_probes(stage: &Stage) -> Vec<Violation> {
    let rows = [Table::Item, Table::Note].map(|table| (Subject::Row(table, PROBE), "probe".to_owned()));
    let value = |subject: Subject| subject.value(&[]).map(|value| (subject, value));
    let group = value(Subject::Sum(super::shape::PROBE_GROUP));
    let subjects: Vec<_> = rows.into_iter().chain(group).collect();
    let changes = Source::ALL.into_iter().flat_map(|source| {
        subjects
            .iter()
            .map(move |(subject, value)| (Key { source, subject: *subject }, Some(value.as_str().into())))
    });
    let mut ledger = stage.ledger();
    let ticket = ledger.announce(changes.collect(), Duration::ZERO);
    ledger.settle(ticket, Outcome::Committed(Duration::ZERO), Duration::ZERO)
}
