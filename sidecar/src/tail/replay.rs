//! What a stream that is read from its first entry on says of the log before that entry.
//!
//! Images are hydrated that are newer than all that is known of their rows. Of what was removed from the stream before
//! its first entry nothing is known, and Debezium may write it once more: it has to be ranked with what is read. What an
//! event tells of the commits before it does that; and of a stream that still has every entry there is nothing to rank.
//!
//! Such a stream begins with a snapshot, unless Debezium was told to make none. What that read is the table as it was
//! where the log goes on, if its slot was made with it, which no event tells: then its rows are images like any other. A
//! snapshot that comes later isn't: a change that was delivered before it needn't have been visible to it. One that was asked for
//! while the log was followed tells so itself, also where the stream has nothing from before it.

use crate::{
    change::{Change, End, Op, Origin, RowChange, Transaction},
    planted::{Bug, planted},
    position::{Commit, Place, RowVersion},
};

/// How a stream began that is read from its first entry on.
#[derive(Debug, Default)]
pub(super) struct Replay {
    before: Before,
    /// The last entry that was there already.
    until: Place,
}

/// What is known of the log before what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Before {
    /// Whatever images have to be ranked with, they are.
    #[default]
    Ranked,
    /// There was nothing, if a snapshot comes first; and all that was read since is that snapshot's, of this place in the log.
    Nothing { snapshot: Option<RowVersion> },
    /// Entries that were removed.
    Removed,
}

/// What follows from an entry for the images of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follows {
    /// Nothing but what the entry says.
    Nothing,
    /// It is a row of the snapshot that the stream begins with, of this place in the log; `began` if it is the first, and
    /// came after reading began: what was filled before may be from before the snapshot.
    Beginning {
        /// The place.
        at: RowVersion,
        /// Whether what was filled so far is void.
        began: bool,
    },
    /// No image up to this place is hydrated.
    Floor(RowVersion),
    /// What was taken for rows has defaults where they have NULL.
    NullsReplaced,
}

impl Replay {
    /// Reading begins with a stream's first entry; `until` is the last that it has, and `whole` whether none was removed.
    pub(super) fn begin(until: Place, whole: bool) -> Self {
        let before = if whole { Before::Nothing { snapshot: None } } else { Before::Removed };
        Self { before, until }
    }

    /// Whether an entry was there before reading began: it says nothing about how long changes take.
    pub(super) fn is_old(&self, place: Place) -> bool {
        place <= self.until
    }

    /// Learns what an entry tells, before it is applied.
    pub(super) fn see(&mut self, place: Place, change: &mut Change<'_>) -> Follows {
        if let Change::Row(row) = change {
            row.is_old = self.is_old(place);
        }
        match self.before {
            Before::Ranked => Follows::Nothing,
            Before::Nothing { snapshot } => self.see_first(snapshot, place, change),
            Before::Removed => self.see_left(change),
        }
    }

    fn see_left(&mut self, change: &Change<'_>) -> Follows {
        let Some((floor, whole)) = floor(change) else { return Follows::Nothing };
        self.before = if whole { Before::Ranked } else { Before::Removed };
        Follows::Floor(floor)
    }

    fn see_first(&mut self, snapshot: Option<RowVersion>, place: Place, change: &mut Change<'_>) -> Follows {
        if let Change::Row(row) = change
            && let RowChange {
                op: Op::Read, origin: Origin::Snapshot { resumed: false, .. }, version, ..
            } = **row
        {
            // The rows of one snapshot have one place. Those of the next may lack what came in between.
            let Some(version) = version.filter(|version| snapshot.is_none_or(|known| known == *version))
            else {
                self.before = Before::Ranked;
                return Follows::Nothing;
            };
            row.origin = Origin::Beginning;
            self.before = Before::Nothing { snapshot: Some(version) };
            let began = snapshot.is_none() && !self.is_old(place) && !planted(Bug::BeginningInEpoch);
            return Follows::Beginning { at: version, began };
        }
        if snapshot.is_none() {
            // Nothing tells what there was before: the stream may have been made anew.
            return self.see_left(change);
        }
        let Some(kept) = change.mark().and_then(|mark| mark.nulls_kept) else { return Follows::Nothing };
        self.before = Before::Ranked;
        if kept { Follows::Nothing } else { Follows::NullsReplaced }
    }
}

/// The newest place in the log that may have been removed before this entry, if it tells of any, and whether nothing that
/// was removed can be newer.
fn floor(change: &Change<'_>) -> Option<(RowVersion, bool)> {
    let postgres = |lsn| RowVersion::Postgres { lsn };
    if let Change::Transaction(Transaction { end: Some(End { commit, .. }), .. }) = change {
        let Some(Commit::Postgres { lsn, .. }) = commit else { return None };
        return Some((postgres(*lsn), true));
    }
    let newest = change.newest()?;
    match (newest, change.mark().and_then(|mark| mark.preceding)) {
        // PostgreSQL writes one transaction after the other in the order of their commits: what came before is older than
        // the last of them, or is of the same one and came before in it.
        (RowVersion::Postgres { lsn }, Some(commit)) => {
            Some((postgres(commit.max(lsn.saturating_sub(1))), true))
        }
        (RowVersion::Postgres { .. }, None) => Some((newest, false)),
        // A binary log has one order, and so have publications.
        (RowVersion::Binlog { .. } | RowVersion::Published(_), _) => Some((newest.before(), true)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Before, Follows, Replay};
    use crate::{
        change::{Change, End, Mark, Op, Origin, RowChange, TableName, Transaction, TransactionId},
        position::{Commit, Place, RowVersion},
    };

    /// An entry that was there when reading began, and one that wasn't.
    const OLD: Place = Place::Number(1);
    const NEW: Place = Place::Number(2);

    fn lsn(lsn: u64) -> RowVersion {
        RowVersion::Postgres { lsn }
    }

    fn row(op: Op, origin: Origin, version: Option<RowVersion>, mark: Mark) -> Change<'static> {
        Change::Row(Box::new(RowChange {
            table: TableName { database: "".into(), schema: "s".into(), table: "t".into(), routed_to: None },
            op,
            key: None,
            other_key: None,
            keyless: None,
            after: None,
            version,
            commit_ms: Some(1),
            origin,
            is_old: false,
            mark,
        }))
    }

    fn read(version: Option<RowVersion>) -> Change<'static> {
        row(Op::Read, Origin::Snapshot { first: false, resumed: false }, version, Mark::default())
    }

    fn written(at: u64, preceding: Option<u64>, nulls_kept: bool) -> Change<'static> {
        let mark = Mark { lsn: Some(at), preceding, nulls_kept: Some(nulls_kept), ..Mark::default() };
        row(Op::Update, Origin::Log, Some(lsn(at)), mark)
    }

    fn origin(change: &Change<'_>) -> Origin {
        let Change::Row(row) = change else { panic!("a row") };
        row.origin
    }

    #[test]
    fn a_whole_stream_begins_with_its_snapshot() {
        let mut replay = Replay::begin(OLD, true);
        for _ in 0..2 {
            let mut first = read(Some(lsn(10)));
            assert_eq!(replay.see(OLD, &mut first), Follows::Beginning { at: lsn(10), began: false });
            assert_eq!(origin(&first), Origin::Beginning);
        }
        assert_eq!(replay.see(OLD, &mut written(12, None, true)), Follows::Nothing);
        let mut later = read(Some(lsn(10)));
        assert_eq!(replay.see(OLD, &mut later), Follows::Nothing, "the log has begun");
        assert_eq!(origin(&later), Origin::Snapshot { first: false, resumed: false });
    }

    #[test]
    fn what_was_filled_before_a_snapshot_that_comes_is_void_with_its_first_row() {
        let mut replay = Replay::begin(OLD, true);
        let mut see = |id| replay.see(id, &mut read(Some(lsn(10))));
        assert_eq!(see(NEW), Follows::Beginning { at: lsn(10), began: true });
        assert_eq!(see(NEW), Follows::Beginning { at: lsn(10), began: false });
    }

    #[test]
    fn another_snapshot_is_none_of_it() {
        for (first, other) in [(Some(lsn(10)), Some(lsn(11))), (None, None)] {
            let mut replay = Replay::begin(OLD, true);
            replay.see(OLD, &mut read(first));
            let mut next = read(other);
            assert_eq!(replay.see(OLD, &mut next), Follows::Nothing);
            assert_eq!(origin(&next), Origin::Snapshot { first: false, resumed: false });
            assert_eq!(replay.before, Before::Ranked);
        }
    }

    #[test]
    fn the_first_event_of_the_log_tells_of_nulls() {
        let begun = || {
            let mut replay = Replay::begin(OLD, true);
            replay.see(OLD, &mut read(Some(lsn(10))));
            replay
        };
        assert_eq!(begun().see(OLD, &mut written(12, None, false)), Follows::NullsReplaced);
        let mark = Mark { nulls_kept: Some(false), ..Mark::default() };
        assert_eq!(begun().see(OLD, &mut Change::Message(mark)), Follows::NullsReplaced);
        assert_eq!(begun().see(OLD, &mut Change::Other), Follows::Nothing);
        let mut empty = Replay::begin(OLD, true);
        assert_eq!(
            empty.see(OLD, &mut written(12, Some(9), false)),
            Follows::Floor(lsn(11)),
            "there was no snapshot"
        );
    }

    #[test]
    fn a_snapshot_that_was_asked_for_is_none_that_a_stream_began_with() {
        let mut replay = Replay::begin(OLD, true);
        let resumed =
            || row(Op::Read, Origin::Snapshot { first: true, resumed: true }, Some(lsn(10)), Mark::default());
        for _ in 0..2 {
            let mut read = resumed();
            assert_eq!(replay.see(OLD, &mut read), Follows::Nothing);
            assert_eq!(origin(&read), Origin::Snapshot { first: true, resumed: true });
        }
        assert_eq!(
            replay.see(OLD, &mut written(12, Some(9), false)),
            Follows::Floor(lsn(11)),
            "the stream was emptied"
        );
    }

    #[test]
    fn what_was_removed_is_ranked_by_the_commits_before_what_is_left() {
        let begin = || Replay::begin(OLD, false);
        let mut replay = begin();
        assert_eq!(
            replay.see(OLD, &mut written(20, None, true)),
            Follows::Floor(lsn(20)),
            "it tells of none"
        );
        assert_eq!(
            replay.see(OLD, &mut written(30, Some(40), true)),
            Follows::Floor(lsn(40)),
            "a long transaction"
        );
        assert_eq!(replay.see(OLD, &mut written(50, Some(45), true)), Follows::Nothing);
        assert_eq!(
            begin().see(OLD, &mut written(50, Some(45), true)),
            Follows::Floor(lsn(49)),
            "or of its own one"
        );
        let end = End { commit: Some(Commit::Postgres { lsn: 60, xid: None }), events: Vec::new() };
        let mut end = Change::Transaction(Transaction { id: TransactionId(1), gtid: None, end: Some(end) });
        assert_eq!(begin().see(OLD, &mut end), Follows::Floor(lsn(60)));
        let binlog = |offset, row| RowVersion::Binlog { server: 1, file: 2, offset, row };
        let mut first = row(Op::Update, Origin::Log, Some(binlog(7, 0)), Mark::default());
        assert_eq!(begin().see(OLD, &mut first), Follows::Floor(binlog(6, u64::MAX)));
        assert_eq!(
            begin().see(OLD, &mut read(Some(lsn(70)))),
            Follows::Nothing,
            "a snapshot's rows rank nothing"
        );
    }
}
