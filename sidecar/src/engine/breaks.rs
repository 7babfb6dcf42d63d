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
    let version = match change {
        Change::Source { .. } if planted(Bug::UnreadableIgnored) => return None,
        Change::Source { why, .. } => return Some((*why).into()),
        Change::Row(row) => {
            if feed.note_origin(row.origin) && !planted(Bug::SnapshotIgnored) {
                return Some(Break::SnapshotBegan);
            }
            row.version
        }
        Change::Table { why: Truncated, version, .. } => {
            feed.note_origin(Origin::Log);
            *version
        }
        _ => return None,
    };
    let Some(RowVersion::Binlog { server, .. }) = version else { return None };
    feed.note_database(server).then_some(Break::DatabaseChanged)
}
