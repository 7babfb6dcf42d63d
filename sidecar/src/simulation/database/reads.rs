//! What a read of the database sees, and what it misses.

use super::{Database, Event, KEYS, Op, Place, Row, Table, VISIBLE};

/// What a read saw: all commits up to some, except these.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    commits: usize,
    unseen: Vec<usize>,
}

impl Database {
    /// What a read sees that shows the state of `at`, a little before `now` on a replica.
    pub(crate) fn snapshot(&self, at: u64) -> Snapshot {
        let recent = self.commits.iter().enumerate().rev();
        let unseen = recent
            .take_while(|(_, commit)| commit.at + VISIBLE > at)
            .filter(|(_, commit)| commit.at > at || commit.visible > at)
            .map(|(i, _)| i)
            .collect();
        Snapshot { commits: self.commits.len(), unseen }
    }

    /// What a replica shows that has replayed the log up to somewhere: no more than a read there sees.
    pub(crate) fn replayed(&self, at: u64) -> Snapshot {
        let Snapshot { commits, unseen } = self.snapshot(at);
        Snapshot { commits: unseen.into_iter().min().unwrap_or(commits), unseen: Vec::new() }
    }

    /// What there is at a place, as a read saw it: the text that an application would cache.
    pub(crate) fn look(&self, place: Place, snapshot: &Snapshot) -> Option<String> {
        let row = |table, key| {
            let history = self.history.get(&Place::Row(table, key))?;
            let mut seen = history.iter().rev().filter(|e| snapshot.saw(self.events[**e].commit));
            let last = seen.next()?;
            let event = &self.events[*last];
            match event.op {
                // What a redefinition made of the row is told by nothing but its number; its code is as it was.
                Op::Redefine => {
                    let code =
                        seen.find_map(|e| self.events[*e].after.as_ref()).map_or(u8::MAX, |row| row.code);
                    Some((code, format!("{{\"id\":{key},\"code\":{code},\"redefined\":{last}}}")))
                }
                _ => event.after.as_ref().map(|row| (row.code, row.json())),
            }
        };
        match place {
            Place::Row(table, key) => row(table, key).map(|(_, text)| text),
            Place::Code(code) => {
                (0..KEYS).filter_map(|key| row(Table::B, key)).find(|(c, _)| *c == code).map(|(_, t)| t)
            }
            Place::Whole(_) => Some(format!("{place:?} at {}", self.writes)),
        }
    }

    /// All rows of a table, as a read saw them.
    pub(crate) fn rows_seen(&self, table: Table, snapshot: &Snapshot) -> Vec<Row> {
        let row = |key| {
            let history = self.history.get(&Place::Row(table, key))?;
            let seen = |e: &&usize| snapshot.saw(self.events[**e].commit);
            let last = *history.iter().rev().find(seen)?;
            match self.events[last].op {
                Op::Redefine => self.redefined.get(&(last, key)).cloned(),
                _ => self.events[last].after.clone().filter(|row| row.id == key),
            }
        };
        (0..=KEYS).filter_map(row).collect()
    }

    /// All rows of a table that there are.
    pub(crate) fn rows_of(&self, table: Table) -> Vec<Row> {
        self.rows.range((table, 0)..=(table, u8::MAX)).map(|(_, row)| row.clone()).collect()
    }

    /// The changes of a place that a read didn't see, oldest first.
    pub(crate) fn since<'a>(
        &'a self,
        place: Place,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = usize> + 'a {
        let oldest = snapshot.unseen.iter().min().copied().unwrap_or(snapshot.commits);
        let history = self.history.get(&place).map(Vec::as_slice).unwrap_or_default();
        let from = history.partition_point(|e| self.events[*e].commit < oldest);
        history[from..].iter().copied().filter(|e| !snapshot.saw(self.events[*e].commit))
    }

    /// The changes of a place.
    pub(crate) fn of(&self, place: Place) -> impl Iterator<Item = usize> + '_ {
        self.history.get(&place).into_iter().flatten().copied()
    }

    /// The changes of a place after one of them.
    pub(crate) fn after(&self, place: Place, event: usize) -> impl Iterator<Item = usize> + '_ {
        let history = self.history.get(&place).map(Vec::as_slice).unwrap_or_default();
        let from = history.partition_point(|e| *e <= event);
        history[from..].iter().copied()
    }

    /// Whether a transaction is a statement about definitions, which in a binlog has no end.
    pub(crate) fn is_definition(&self, commit: usize) -> bool {
        let definition = |event: &Event| matches!(event.op, Op::Redefine | Op::Truncate);
        self.events[self.commits[commit].events.clone()].iter().any(definition)
    }

    /// How many changes of a place there were.
    pub(crate) fn changes(&self, place: Place) -> usize {
        self.history.get(&place).map_or(0, Vec::len)
    }

    /// Which change made a row this, if any did.
    pub(crate) fn origin(&self, place: Place, json: &str) -> Option<usize> {
        let history = self.history.get(&place)?;
        let made = |e: &&usize| self.events[**e].after.as_ref().is_some_and(|row| row.json() == json);
        history.iter().rev().find(made).copied()
    }
}

impl Snapshot {
    /// Commits that it can have seen.
    pub(super) fn end(&self) -> usize {
        self.commits
    }

    pub(super) fn saw(&self, commit: usize) -> bool {
        commit < self.commits && !self.unseen.contains(&commit)
    }
}
