//! Whether a source's streams are still those that were read before, with nothing missing in between.
//!
//! A break is looked for, not assumed away: another server or history, a stream that is gone or was made anew, a place
//! that went back, and records that were added but never read, because they were removed first or because a failover
//! lost a tail and grew another. Any of them means a new epoch. What a transport can say of its streams differs, and is
//! in its [`ServerIdentity`] and [`StreamState`]: nothing here knows which transport it is.

use std::collections::BTreeMap;

use crate::{
    planted::{Bug, planted},
    position::Place,
};

mod broken;

pub use broken::Break;

/// Who a server is, as far as its records' history goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerIdentity {
    /// Differs wherever places would be those of another history.
    pub history: String,
    /// The number of the connection, of a transport that sends nothing once more: what is sent while there is no
    /// connection nobody will ever read.
    pub connection: Option<u64>,
}

/// A stream as its server sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// The place of the newest record ever added to it.
    pub last: Place,
    /// Records added over its lifetime; `None` of a server that doesn't count them and whose places may skip numbers: what
    /// it has not removed it delivers.
    pub added: Option<u64>,
    /// Records that are still there, or, of a server that doesn't count, places.
    pub length: u64,
    /// The place right before the first of them; [`StreamState::last`] if there is none.
    pub before: Place,
    /// The newest record that was removed by itself, not with all that were older.
    pub removed: Place,
    /// What tells the stream from others that had or will have its name, where the server says it.
    pub incarnation: Option<u128>,
}

/// Where the reading of a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Behind its last record.
    End,
    /// With the first record that it still has.
    First,
}

/// How far a stream has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The last record that was applied.
    pub last: Place,
    /// Records added up to and including that one, where the server counts them.
    pub added: u64,
    /// Which stream it is the place in, once that is known.
    pub incarnation: Option<u128>,
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
                let added = self.added.map_or(0, |added| added.saturating_sub(self.length));
                Cursor { last: self.before, added, incarnation: self.incarnation }
            }
            Start::First | Start::End => Cursor {
                last: self.last,
                added: self.added.unwrap_or_default(),
                incarnation: self.incarnation,
            },
        }
    }

    /// Whether it has every record that it ever had.
    #[must_use]
    pub fn is_whole(self) -> bool {
        match self.added {
            Some(added) => self.length == added,
            None => self.before == Place::Start && self.has_no_holes(),
        }
    }

    /// Whether nothing is missing from among the records that it has.
    #[must_use]
    pub fn has_no_holes(self) -> bool {
        self.length == 0 || self.removed <= self.before
    }

    /// Records that were added behind a cursor.
    #[must_use]
    pub fn unread(self, cursor: Cursor) -> u64 {
        if let Some(added) = self.added {
            return added.saturating_sub(cursor.added);
        }
        let next = |place: Place| place.number().map_or(0, |number| number.saturating_add(1));
        next(self.last).saturating_sub(next(cursor.last))
    }

    /// Whether records that were added behind a cursor are there no more.
    fn has_lost_behind(self, cursor: Cursor) -> bool {
        match self.added {
            Some(_) => self.unread(cursor) > self.length,
            None => cursor.last < self.before,
        }
    }

    /// Whether a cursor has read all of it.
    fn is_read_by(self, cursor: Cursor) -> bool {
        self.last == cursor.last && self.added.is_none_or(|added| added == cursor.added)
    }

    /// Whether it is another stream than the one that a cursor is of.
    fn is_another_than(self, cursor: Cursor) -> bool {
        matches!((self.incarnation, cursor.incarnation), (Some(is), Some(was)) if is != was)
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

    /// Counts a record that was read.
    pub fn advance(&mut self, stream: &str, place: Place) -> Result<(), Break> {
        let Some(cursor) = self.cursors.get_mut(stream) else { return Ok(()) };
        if place <= cursor.last {
            return Err(Break::IdWentBack);
        }
        *cursor = Cursor { last: place, added: cursor.added.saturating_add(1), ..*cursor };
        Ok(())
    }

    /// Notes that there is no record up to here that wasn't read: places may skip numbers.
    pub fn pass(&mut self, stream: &str, through: Place) {
        if let Some(cursor) = self.cursors.get_mut(stream) {
            cursor.last = cursor.last.max(through);
        }
    }

    /// Positions a stream before its first record: it didn't exist when the others were positioned.
    pub fn begin(&mut self, stream: &str) {
        self.cursors.entry(stream.to_owned()).or_default();
    }

    /// Compares what the server says with what was read, to the end of every stream. The states must have been taken in
    /// one moment with that read, which was counted.
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
                Some(state) if !state.is_read_by(*cursor) => return Err(Break::EntriesMissed),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Whether records are gone that weren't read. What the server says must have been taken in one moment with a read
    /// that was counted, whether that reached the streams' ends or not.
    pub fn check_unread<'a>(
        &self,
        mut states: impl Iterator<Item = (&'a str, Option<StreamState>)>,
    ) -> Result<(), Break> {
        let missed = states.any(|(name, state)| {
            let lost = |state: StreamState| Some(state.has_lost_behind(*self.cursors.get(name)?));
            state.and_then(lost).unwrap_or(false)
        });
        if missed && !planted(Bug::CountIgnored) { Err(Break::EntriesMissed) } else { Ok(()) }
    }

    /// Whether the streams are those that were read before, to be asked before anything that was read of them is believed.
    /// What tells one that wasn't there before from others is learned.
    pub fn check_streams<'a>(
        &mut self,
        states: impl Iterator<Item = (&'a str, Option<StreamState>)>,
    ) -> Result<(), Break> {
        for (name, state) in states {
            let (Some(cursor), Some(state)) = (self.cursors.get_mut(name), state) else { continue };
            if state.is_another_than(*cursor) {
                return Err(Break::StreamGone);
            }
            cursor.incarnation = state.incarnation;
        }
        Ok(())
    }

    /// Compares the server alone, before anything that it sends is believed.
    pub fn check_server(&self, server: &ServerIdentity) -> Result<(), Break> {
        match &self.server {
            Some(known) if known.history != server.history && !planted(Bug::IdentityIgnored) => {
                Err(Break::ServerChanged)
            }
            Some(known) if known.connection != server.connection => Err(Break::Reconnected),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Break, Continuity, Cursor, ServerIdentity, Start, StreamState};
    use crate::position::{EntryId, Place};

    fn server(run_id: &str) -> ServerIdentity {
        ServerIdentity { history: run_id.into(), connection: None }
    }

    fn at(ms: u64) -> Place {
        EntryId { ms, n: 0 }.into()
    }

    #[expect(clippy::unnecessary_wraps, reason = "a stream that is there")]
    fn state(ms: u64, added: u64) -> Option<StreamState> {
        Some(StreamState { last: at(ms), added: Some(added), ..StreamState::default() })
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
        continuity.advance("s", at(101)).unwrap();
        continuity.advance("t", at(5)).unwrap();
        let t = state(5, 1);
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
    }

    #[test]
    fn what_is_sent_between_two_connections_is_lost_where_nothing_is_sent_again() {
        let on = |connection| ServerIdentity { connection: Some(connection), ..server("a") };
        let mut continuity = Continuity::default();
        continuity.attach(on(1), [("s".to_owned(), state(100, 7))], Start::End).unwrap();
        assert_eq!(continuity.check_server(&on(1)), Ok(()));
        assert_eq!(continuity.check_server(&on(2)), Err(Break::Reconnected));
    }

    #[test]
    fn a_stream_of_the_same_name_is_another_one() {
        let made =
            |incarnation| Some(StreamState { incarnation: Some(incarnation), ..state(100, 7).unwrap() });
        let mut continuity = Continuity::default();
        let streams = [("s".to_owned(), made(1)), ("t".to_owned(), None)];
        continuity.attach(server("a"), streams, Start::End).unwrap();
        assert_eq!(continuity.check_streams([("s", made(1)), ("t", made(5))].into_iter()), Ok(()));
        assert_eq!(continuity.check_streams([("s", made(2))].into_iter()), Err(Break::StreamGone));
        let anew = continuity.check_streams([("t", made(6))].into_iter());
        assert_eq!(anew, Err(Break::StreamGone), "which one it is was learned when it came");
    }

    #[test]
    fn places_may_skip_numbers_where_the_server_does_not_count() {
        let state = |before, last| {
            let [before, last] = [before, last].map(Place::Number);
            StreamState { last, before, length: 9, added: None, ..StreamState::default() }
        };
        let mut continuity = Continuity::default();
        continuity.attach(server("a"), [("s".to_owned(), Some(state(0, 10)))], Start::End).unwrap();
        continuity.advance("s", Place::Number(15)).unwrap();
        let check = |continuity: &Continuity, is| {
            continuity.check(&server("a"), [("s", Some(is))])?;
            continuity.check_unread([("s", Some(is))].into_iter())
        };
        assert_eq!(check(&continuity, state(0, 15)), Ok(()));
        assert_eq!(check(&continuity, state(0, 17)), Err(Break::EntriesMissed), "not read to its end");
        continuity.pass("s", Place::Number(17));
        assert_eq!(check(&continuity, state(16, 17)), Ok(()), "nothing was there but numbers");
        assert_eq!(state(16, 30).unread(continuity.cursors()["s"]), 13);
        let removed = |before| continuity.check_unread([("s", Some(state(before, 30)))].into_iter());
        assert_eq!(removed(17), Ok(()));
        assert_eq!(removed(18), Err(Break::EntriesMissed), "18 was removed before it was read");
        continuity.pass("s", Place::Number(3));
        assert_eq!(continuity.cursors()["s"].last, Place::Number(17), "places don't go back");
    }

    #[test]
    fn a_trim_before_reading_is_found_by_the_count() {
        let mut continuity = attached();
        // Entries 101 and 102 were added, 101 was trimmed before it could be read.
        continuity.advance("s", at(102)).unwrap();
        assert_eq!(continuity.check(&server("a"), [("s", state(102, 9))]), Err(Break::EntriesMissed));
    }

    #[test]
    fn an_id_that_was_read_before_breaks() {
        let mut continuity = attached();
        assert_eq!(continuity.advance("s", at(100)), Err(Break::IdWentBack));
    }

    #[test]
    fn new_streams_are_attached_beside_old_ones() {
        let mut continuity = attached();
        continuity.advance("s", at(150)).unwrap();
        assert!(continuity.lacks(["u".to_owned()].iter()));
        let further = [("s".to_owned(), state(200, 9)), ("u".to_owned(), state(200, 3))];
        continuity.attach(server("a"), further, Start::End).unwrap();
        assert_eq!(continuity.cursors()["s"].last, at(150), "an old stream keeps its place");
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
            last: at(100),
            added: Some(9),
            length: 3,
            before: at(90).before(),
            removed: at(80),
            incarnation: None,
        };
        assert!(left.has_no_holes() && !left.is_whole());
        assert!(!StreamState { removed: at(95), ..left }.has_no_holes());
        let mut continuity = Continuity::default();
        let states = [("s".to_owned(), Some(left)), ("t".to_owned(), None)];
        continuity.attach(server("a"), states, Start::First).unwrap();
        assert_eq!(continuity.cursors()["t"], Cursor::default());
        for ms in [90, 95, 100] {
            assert_eq!(continuity.check(&server("a"), [("s", Some(left))]), Err(Break::EntriesMissed));
            continuity.advance("s", at(ms)).unwrap();
        }
        assert_eq!(continuity.check(&server("a"), [("s", Some(left))]), Ok(()));
        // Of none that is left, reading starts at the end.
        let mut empty = Continuity::default();
        let none = StreamState { length: 0, ..left };
        empty.attach(server("a"), [("s".to_owned(), Some(none))], Start::First).unwrap();
        assert_eq!(empty.check(&server("a"), [("s", Some(none))]), Ok(()));
    }
}
