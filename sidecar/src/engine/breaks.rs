//! Which changes break the epoch of what they came through.

use crate::{
    change::{Change, Origin, TableReason::Truncated},
    continuity::Break,
    feed::Feed,
    planted::{Bug, planted},
    position::RowVersion,
};

/// Whether a change breaks its feed's epoch.
pub(super) fn breaks(feed: &Feed, change: &Change<'_>) -> Option<Break> {
    let (why, version) = match change {
        Change::Source { .. } if planted(Bug::UnreadableIgnored) => return None,
        Change::Source { why, version } => (Some((*why).into()), *version),
        Change::Row(row) => {
            if feed.note_origin(row.origin) && !planted(Bug::SnapshotIgnored) {
                return Some(Break::SnapshotBegan);
            }
            (None, row.version)
        }
        Change::Table { why: Truncated, version, .. } => {
            feed.note_origin(Origin::Log);
            (None, *version)
        }
        Change::Table { version, .. } => (None, *version),
        _ => return None,
    };
    match version {
        Some(RowVersion::Binlog { server, .. }) if feed.note_database(server) => Some(Break::DatabaseChanged),
        _ => why,
    }
}
