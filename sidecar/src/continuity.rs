//! Whether a set of Redis streams is still the one that was read before, with nothing missing in between.
//!
//! A break is looked for, not assumed away: another server or replication history, a stream that is gone or
//! was made anew, an id that went back, and entries that were added but never read, because they were trimmed
//! or deleted first or because a failover lost a tail and grew another. Any of them means a new epoch.
//! Redis 7.0's `entries-added` is what makes the count possible.

use std::{collections::BTreeMap, fmt};

use crate::{
    change::SourceReason,
    planted::{Bug, planted},
    position::EntryId,
};

/// Who a server is, as far as its data's history goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerIdentity {
    /// New with every start of a server.
    pub run_id: String,
    /// New with every promotion, and with every start without a replica's memory.
    pub replication_id: String,
    /// `master` or `slave`.
    pub role: String,
}

/// A stream as its server sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The newest id ever generated in it.
    pub last: EntryId,
    /// Entries added over its lifetime.
    pub added: u64,
    /// Entries that are still there.
    pub length: u64,
    /// The id right before the first of them; of none it says nothing.
    pub before: EntryId,
    /// The newest entry that was removed by itself, not with all that were older (`XDEL`, not `XTRIM`).
    pub removed: EntryId,
}

/// Where the reading of a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind its last entry.
    End,
    /// With the first entry that it still has.
    First,
}

/// How far a stream has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last entry that was applied.
    pub last: EntryId,
    /// Entries added up to and including that one.
    pub added: u64,
}

/// Why continuity broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Break {
    /// Another server, another start of it, or another history.
    ServerChanged,
    /// A stream is gone.
    StreamGone,
    /// A stream's ids went back.
    IdWentBack,
    /// Entries were added that were never read.
    EntriesMissed,
    /// The key holds something other than a stream.
    WrongType,
    /// A snapshot began: events may have been missed before it.
    SnapshotBegan,
    /// The database's log comes from another server.
    DatabaseChanged,
    /// An entry that can't be read and may concern any table.
    Unreadable,
    /// A schema change that names no table.
    SchemaChanged,
    /// Heartbeats were lost before they reached Redis, and so what was written with them.
    HeartbeatMissed,
    /// Events of a transaction were lost before they reached Redis.
    EventsMissed,
    /// Whole transactions were lost before they reached Redis.
    TransactionsMissed,
    /// More transactions were read than can be counted before all streams have been read to their ends.
    Unaccounted,
}

/// How far a set of streams of one server has been read.
#[derive(Debug, Default)]
pub struct Continuity {
    server: Option<ServerIdentity>,
    cursors: BTreeMap<String, Cursor>,
}

// === impl StreamState ===

impl StreamState {
    /// The place that reading starts from.
    fn cursor(self, start: Start) -> Cursor {
        match start {
            Start::First if self.length > 0 => {
                Cursor { last: self.before, added: self.added.saturating_sub(self.length) }
            }
            Start::First | Start::End => Cursor { last: self.last, added: self.added },
        }
    }

    /// Whether it has every entry that it ever had.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.length == self.added
    }

    /// Whether nothing is missing from among the entries that it has.
    #[must_use]
    pub fn has_no_holes(self) -> bool {
        self.length == 0 || self.removed <= self.before
    }
}

// === impl Continuity ===

impl Continuity {
    /// The streams with how far each was read.
    #[must_use]
    pub fn cursors(&self) -> &BTreeMap<String, Cursor> {
        &self.cursors
    }

    /// Whether some stream has no position yet.
    #[must_use]
    pub fn lacks<'a>(&self, mut streams: impl Iterator<Item = &'a String>) -> bool {
        self.server.is_none() || streams.any(|stream| !self.cursors.contains_key(stream))
    }

    /// Notes who the server is, and positions streams where reading is to start; streams positioned before keep
    /// their place. A stream that isn't there yet is positioned before its first entry.
    ///
    /// Where streams have positions, the server must be the one that they are positions of.
    pub fn attach(
        &mut self,
        server: ServerIdentity,
        streams: impl IntoIterator<Item = (String, Option<StreamState>)>,
        start: Start,
    ) -> Result<(), Break> {
        if !self.cursors.is_empty() {
            self.check_server(&server)?;
        }
        self.server = Some(server);
        for (name, state) in streams {
            self.cursors.entry(name).or_insert(state.unwrap_or_default().cursor(start));
        }
        Ok(())
    }

    /// Forgets all positions.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Forgets streams that are no longer followed.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.cursors.retain(|name, _| keep(name));
    }

    /// Counts an entry that was read.
    pub fn advance(&mut self, stream: &str, id: EntryId) -> Result<(), Break> {
        let Some(cursor) = self.cursors.get_mut(stream) else { return Ok(()) };
        if id <= cursor.last {
            return Err(Break::IdWentBack);
        }
        *cursor = Cursor { last: id, added: cursor.added.saturating_add(1) };
        Ok(())
    }

    /// Compares what the server says with what was read. The states must have been taken in one transaction
    /// with a read that reached the end of every stream, and after that read was counted.
    pub fn check<'a>(
        &self,
        server: &ServerIdentity,
        states: impl IntoIterator<Item = (&'a str, Option<StreamState>)>,
    ) -> Result<(), Break> {
        self.check_server(server)?;
        for (name, state) in states {
            let Some(cursor) = self.cursors.get(name) else { continue };
            match state {
                None if *cursor == Cursor::default() => {}
                None => return Err(Break::StreamGone),
                Some(state) if state.last < cursor.last => return Err(Break::IdWentBack),
                Some(_) if planted(Bug::CountIgnored) => {}
                Some(state) if state.last != cursor.last || state.added != cursor.added => {
                    return Err(Break::EntriesMissed);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Whether entries are gone that weren't read: more were added since than there are. What the server says must have been
    /// taken in one transaction with a read that was counted, whether that reached the streams' ends or not.
    pub fn check_unread<'a>(
        &self,
        mut states: impl Iterator<Item = (&'a str, Option<StreamState>)>,
    ) -> Result<(), Break> {
        let missed = states.any(|(name, state)| {
            let unread = |state: StreamState| {
                Some(state.added.checked_sub(self.cursors.get(name)?.added)? > state.length)
            };
            state.and_then(unread).unwrap_or(false)
        });
        if missed && !planted(Bug::CountIgnored) { Err(Break::EntriesMissed) } else { Ok(()) }
    }

    /// Compares the server alone, before anything that it sends is believed.
    pub fn check_server(&self, server: &ServerIdentity) -> Result<(), Break> {
        match &self.server {
            Some(known) if known != server && !planted(Bug::IdentityIgnored) => Err(Break::ServerChanged),
            _ => Ok(()),
        }
    }
}

// === impl Break ===

impl Break {
    /// Its name in status, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerChanged => "server-changed",
            Self::StreamGone => "stream-gone",
            Self::IdWentBack => "id-went-back",
            Self::EntriesMissed => "entries-missed",
            Self::WrongType => "wrong-type",
            Self::SnapshotBegan => "snapshot-began",
            Self::DatabaseChanged => "database-changed",
            Self::Unreadable => "unreadable",
            Self::SchemaChanged => "schema-changed",
            Self::HeartbeatMissed => "heartbeat-missed",
            Self::EventsMissed => "events-missed",
            Self::TransactionsMissed => "transactions-missed",
            Self::Unaccounted => "unaccounted",
        }
    }
}

impl From<SourceReason> for Break {
    fn from(why: SourceReason) -> Self {
        match why {
            SourceReason::Unreadable(_) => Self::Unreadable,
            SourceReason::Redefined => Self::SchemaChanged,
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Break, Continuity, Cursor, ServerIdentity, Start, StreamState};
    use crate::position::EntryId;

    fn server(run_id: &str) -> ServerIdentity {
        ServerIdentity { run_id: run_id.into(), replication_id: "r".into(), role: "master".into() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "a stream that is there")]
    fn state(ms: u64, added: u64) -> Option<StreamState> {
        Some(StreamState { last: EntryId { ms, n: 0 }, added, ..StreamState::default() })
    }

    fn attached() -> Continuity {
        let mut continuity = Continuity::default();
        continuity
            .attach(server("a"), [("s".to_owned(), state(100, 7)), ("t".to_owned(), None)], Start::End)
            .unwrap();
        continuity
    }

    #[test]
    fn nothing_happened() {
        let continuity = attached();
        assert_eq!(continuity.check(&server("a"), [("s", state(100, 7)), ("t", None)]), Ok(()));
    }

    #[test]
    fn every_entry_was_read() {
        let mut continuity = attached();
        continuity.advance("s", EntryId { ms: 101, n: 0 }).unwrap();
        continuity.advance("t", EntryId { ms: 5, n: 1 }).unwrap();
        let t = Some(StreamState { last: EntryId { ms: 5, n: 1 }, added: 1, ..StreamState::default() });
        assert_eq!(continuity.check(&server("a"), [("s", state(101, 8)), ("t", t)]), Ok(()));
    }

    #[test]
    fn breaks_are_found() {
        let continuity = attached();
        for (run_id, states, expected) in [
            ("b", state(100, 7), Break::ServerChanged),
            ("a", None, Break::StreamGone),
            ("a", state(99, 7), Break::IdWentBack),
            ("a", state(100, 8), Break::EntriesMissed),
            ("a", state(101, 8), Break::EntriesMissed),
            ("a", state(100, 6), Break::EntriesMissed),
        ] {
            assert_eq!(continuity.check(&server(run_id), [("s", states)]), Err(expected));
        }
        // The same process with another history, or as somebody's replica.
        let promoted = ServerIdentity { replication_id: "q".into(), ..server("a") };
        let demoted = ServerIdentity { role: "slave".into(), ..server("a") };
        for other in [promoted, demoted] {
            assert_eq!(continuity.check(&other, [("s", state(100, 7))]), Err(Break::ServerChanged));
        }
    }

    #[test]
    fn a_trim_before_reading_is_found_by_the_count() {
        let mut continuity = attached();
        // Entries 101 and 102 were added, 101 was trimmed before it could be read.
        continuity.advance("s", EntryId { ms: 102, n: 0 }).unwrap();
        assert_eq!(continuity.check(&server("a"), [("s", state(102, 9))]), Err(Break::EntriesMissed));
    }

    #[test]
    fn an_id_that_was_read_before_breaks() {
        let mut continuity = attached();
        assert_eq!(continuity.advance("s", EntryId { ms: 100, n: 0 }), Err(Break::IdWentBack));
    }

    #[test]
    fn new_streams_are_attached_beside_old_ones() {
        let mut continuity = attached();
        continuity.advance("s", EntryId { ms: 150, n: 0 }).unwrap();
        assert!(continuity.lacks(["u".to_owned()].iter()));
        let further = [("s".to_owned(), state(200, 9)), ("u".to_owned(), state(200, 3))];
        continuity.attach(server("a"), further, Start::End).unwrap();
        assert_eq!(continuity.cursors()["s"].last.ms, 150, "an old stream keeps its place");
        assert_eq!(continuity.cursors()["u"].added, 3);
    }
    #[test]
    fn a_new_stream_does_not_make_another_server_the_known_one() {
        let mut continuity = attached();
        let further = [("u".to_owned(), state(200, 3))];
        assert_eq!(continuity.attach(server("b"), further.clone(), Start::End), Err(Break::ServerChanged));
        assert!(!continuity.cursors().contains_key("u"));
        assert_eq!(continuity.check_server(&server("a")), Ok(()));
        continuity.reset();
        assert_eq!(continuity.attach(server("b"), further, Start::End), Ok(()));
    }

    #[test]
    fn what_is_still_there_is_read_from_its_first_entry_on() {
        let left = StreamState {
            last: EntryId { ms: 100, n: 0 },
            added: 9,
            length: 3,
            before: EntryId { ms: 90, n: 0 }.before(),
            removed: EntryId { ms: 80, n: 0 },
        };
        assert!(left.has_no_holes() && !left.is_whole());
        assert!(!StreamState { removed: EntryId { ms: 95, n: 0 }, ..left }.has_no_holes());
        let mut continuity = Continuity::default();
        let states = [("s".to_owned(), Some(left)), ("t".to_owned(), None)];
        continuity.attach(server("a"), states, Start::First).unwrap();
        assert_eq!(continuity.cursors()["t"], Cursor::default());
        for ms in [90, 95, 100] {
            assert_eq!(continuity.check(&server("a"), [("s", Some(left))]), Err(Break::EntriesMissed));
            continuity.advance("s", EntryId { ms, n: 0 }).unwrap();
        }
        assert_eq!(continuity.check(&server("a"), [("s", Some(left))]), Ok(()));
        // Of none that is left, reading starts at the end.
        let mut empty = Continuity::default();
        let none = StreamState { length: 0, ..left };
        empty.attach(server("a"), [("s".to_owned(), Some(none))], Start::First).unwrap();
        assert_eq!(empty.check(&server("a"), [("s", Some(none))]), Ok(()));
    }
}
