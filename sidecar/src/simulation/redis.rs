//! Redis: streams with ids and counts as version 7 keeps them, and what can happen to them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    continuity::{ServerIdentity, StreamState},
    position::{EntryId, Place},
};

pub(crate) type Fields = Arc<Vec<(Vec<u8>, Vec<u8>)>>;

/// What an entry says, for whoever knows what really happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// A change: its number.
    Change(usize),
    /// A heartbeat of the database: which record of its log it is; or of Debezium alone.
    Beat(Option<usize>),
    /// The end of a transaction.
    End(usize),
    /// A row of a snapshot.
    SnapshotRow,
    /// A snapshot has read this table.
    Scanned(super::database::Table),
    /// Somebody who has seen so many changes tells of this row, or of any of this table.
    Told { table: super::database::Table, key: Option<u8>, events: usize },
    /// A message of somebody who numbers them.
    Said(usize),
    /// Such a message that can't be read and may concern this table, or any.
    Unread { tale: usize, of: Option<super::database::Table> },
    /// Something that can't be read and may concern this table, or any.
    Garbage(Option<super::database::Table>),
    /// Nothing about any row.
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) fields: Fields,
    pub(crate) says: Says,
    /// How the stream stood before it was added.
    before: StreamState,
}

impl Entry {
    pub(crate) fn place(&self) -> Place {
        self.id.into()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) entries: Vec<Entry>,
    pub(crate) state: StreamState,
}

#[derive(Clone, Debug)]
pub(crate) struct Redis {
    pub(crate) streams: BTreeMap<String, Stream>,
    /// Keys that hold something other than a stream.
    pub(crate) wrong: Vec<String>,
    run: u64,
    replication: u64,
    made: u64,
    /// Milliseconds that its clock is ahead; its ids follow it.
    ahead: u64,
    /// Entries that were ever added.
    pub(crate) adds: u64,
    saved: Option<BTreeMap<String, Stream>>,
}

impl Redis {
    pub(crate) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            wrong: Vec::new(),
            run: 1,
            replication: 1,
            made: 1,
            ahead: 600_000,
            adds: 0,
            saved: None,
        }
    }

    pub(crate) fn identity(&self) -> ServerIdentity {
        ServerIdentity { history: format!("{} {}", self.run, self.replication), connection: None }
    }

    /// Adds an entry; whether it is there now. What the sink takes for success isn't always one.
    pub(crate) fn add(&mut self, stream: &str, fields: Fields, says: Says, now: u64) -> bool {
        if self.wrong.iter().any(|key| key == stream) {
            return false;
        }
        let Stream { entries, state } = self.streams.entry(stream.to_owned()).or_default();
        let ms = now + self.ahead;
        let id = match state.last {
            Place::Entry(last) if ms <= last.ms => EntryId { ms: last.ms, n: last.n + 1 },
            _ => EntryId { ms, n: 0 },
        };
        self.adds += 1;
        entries.push(Entry { id, fields, says, before: *state });
        *state = StreamState { last: id.into(), added: Some(state.added.unwrap_or_default() + 1), ..*state };
        true
    }

    /// The entries of a stream behind an id, at most so many.
    pub(crate) fn read(&self, stream: &str, after: Place, count: usize) -> Vec<Entry> {
        let Some(stream) = self.streams.get(stream) else { return Vec::new() };
        stream.entries.iter().filter(|entry| entry.place() > after).take(count).cloned().collect()
    }

    pub(crate) fn state(&self, stream: &str) -> Option<StreamState> {
        self.streams.get(stream).map(|Stream { entries, state }| StreamState {
            length: entries.len() as u64,
            before: entries.first().map_or(state.last, |first| first.place().before()),
            ..*state
        })
    }

    /// Drops a stream's oldest entries. Nothing but the entries tells of it.
    pub(crate) fn trim(&mut self, stream: &str, keep: usize) -> Vec<Entry> {
        let Some(stream) = self.streams.get_mut(stream) else { return Vec::new() };
        let cut = stream.entries.len().saturating_sub(keep);
        stream.entries.drain(..cut).collect()
    }

    /// Drops one entry: the n-th newest.
    pub(crate) fn remove(&mut self, stream: &str, newest: usize) -> Vec<Entry> {
        let Some(stream) = self.streams.get_mut(stream) else { return Vec::new() };
        match stream.entries.len().checked_sub(newest + 1) {
            Some(i) => {
                let gone = stream.entries.remove(i);
                stream.state.removed = stream.state.removed.max(gone.place());
                vec![gone]
            }
            None => Vec::new(),
        }
    }

    /// Deletes a key. It takes its time: in the same millisecond a stream of as many entries would have the same ids,
    /// and nothing at all would tell it from the one before.
    pub(crate) fn delete(&mut self, stream: &str) -> Vec<Entry> {
        self.ahead += 1;
        self.wrong.retain(|key| key != stream);
        self.streams.remove(stream).map(|stream| stream.entries).unwrap_or_default()
    }

    /// Another value takes the stream's key.
    pub(crate) fn overwrite(&mut self, stream: &str) -> Vec<Entry> {
        let gone = self.delete(stream);
        self.wrong.push(stream.to_owned());
        gone
    }

    pub(crate) fn save(&mut self) {
        self.saved = Some(self.streams.clone());
    }

    /// Starts again from what was saved.
    pub(crate) fn restart(&mut self) -> Vec<Entry> {
        let old = std::mem::replace(&mut self.streams, self.saved.clone().unwrap_or_default());
        self.wrong.clear();
        self.made += 1;
        (self.run, self.replication) = (self.made, self.made);
        let kept = |name: &str, entry: &Entry| {
            self.streams.get(name).is_some_and(|s| s.entries.iter().any(|e| e.id == entry.id))
        };
        let entries =
            old.into_iter().flat_map(|(name, s)| s.entries.into_iter().map(move |e| (name.clone(), e)));
        entries.filter(|(name, entry)| !kept(name, entry)).map(|(_, entry)| entry).collect()
    }

    /// A replica takes over that never had the newest entries of each stream. Read through an address that stays
    /// with the same process, that is all there is to see of it.
    pub(crate) fn fail_over(&mut self, lose: usize, same_process: bool) -> Vec<Entry> {
        self.made += 1;
        self.replication = self.made;
        if !same_process {
            self.run = self.made;
        }
        let mut gone = Vec::new();
        for stream in self.streams.values_mut() {
            for _ in 0..lose {
                if let Some(entry) = stream.entries.pop() {
                    stream.state = entry.before;
                    gone.push(entry);
                }
            }
        }
        self.streams.retain(|_, stream| stream.state.last > Place::Start);
        gone
    }

    /// Sets the clock to so many milliseconds ahead of ours.
    pub(crate) fn set_clock(&mut self, ahead: u64) {
        self.ahead = ahead;
    }
}
