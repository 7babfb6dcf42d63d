//! What transactions do to a table's rows, until they have ended and nothing before them was lost.
//!
//! In the one stream transactions come one after the other, in the order of their commits. Debezium may write once more what it
//! had written, from any of them on; one that was cut off then comes again as well, or goes on where it was.

use std::collections::BTreeMap;

use super::{Event, Why};
use crate::{
    accounts::DOMAINS,
    change::TransactionId,
    continuity::Break,
    planted::{Bug, planted},
    position::Commit,
};

/// Transactions that don't count yet.
#[derive(Debug, Default)]
pub(super) struct Staged {
    parts: Vec<Part>,
    /// Bytes of what they do.
    bytes: u64,
    /// The newest one that has ended, of each part of the log that is numbered by itself: one of PostgreSQL's, MariaDB's domains,
    /// MySQL's servers.
    newest: BTreeMap<u128, u64>,
    /// The newest of all.
    last: Option<(u128, u64)>,
}

#[derive(Debug)]
struct Part {
    id: TransactionId,
    events: Vec<Event>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// Committed there.
    At(u128, u64),
    /// Nothing tells where it was committed.
    Unordered,
}

/// What counts from now on.
#[derive(Debug)]
pub(super) struct Ended {
    /// What transactions did, in their order.
    pub(super) events: Vec<Event>,
    /// Whether the last of them was read before, and others after it; `None` if none has ended.
    pub(super) behind: Option<bool>,
}

impl Staged {
    pub(super) fn weight(&self) -> u64 {
        self.bytes + (self.parts.len() * size_of::<Part>()) as u64
    }

    pub(super) fn tell(&mut self, event: Event, id: TransactionId) {
        self.bytes += event.weight();
        match self.parts.last_mut().filter(|part| part.id == id && part.end == End::Open) {
            Some(part) => part.events.push(event),
            None => self.parts.push(Part { id, events: vec![event], end: End::Open }),
        }
    }

    pub(super) fn end(&mut self, id: TransactionId, commit: Option<Commit>) {
        let end = match commit {
            Some(Commit::Postgres { lsn, .. }) => End::At(0, lsn),
            Some(Commit::Gtid(gtid)) => {
                let (of, number) = gtid.numbered();
                End::At(of, number)
            }
            None => End::Unordered,
        };
        match self.parts.last_mut().filter(|part| part.id == id && part.end == End::Open) {
            Some(part) => part.end = end,
            None => self.parts.push(Part { id, events: Vec::new(), end }),
        }
    }

    /// Takes those that have ended.
    pub(super) fn take(&mut self) -> Result<Ended, Why> {
        let (mut events, mut behind, mut open) = (Vec::new(), None, Vec::new());
        for part in std::mem::take(&mut self.parts) {
            let (of, number) = match part.end {
                End::Open => {
                    open.push(part);
                    continue;
                }
                End::Unordered => return Err(Why::NoTransactions),
                End::At(of, number) => (of, number),
            };
            let is_new = self.newest.get(&of).is_none_or(|newest| *newest < number);
            if is_new {
                if !open.is_empty() {
                    // It would have ended before.
                    return Err(Why::Lost(Break::EventsMissed));
                }
                if self.newest.len() >= DOMAINS && !self.newest.contains_key(&of) {
                    return Err(Why::Unknown);
                }
                self.newest.insert(of, number);
                self.last = Some((of, number));
            }
            // What was cut off comes once more as well.
            for part in open.drain(..) {
                self.bytes -= weight(&part.events);
            }
            behind = Some(!is_new && self.last != Some((of, number)) && !planted(Bug::ReplayShown));
            self.bytes -= weight(&part.events);
            events.extend(part.events);
        }
        self.parts = open;
        Ok(Ended { events, behind })
    }
}

fn weight(events: &[Event]) -> u64 {
    events.iter().map(Event::weight).sum()
}
