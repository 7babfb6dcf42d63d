//! What a change says of all rows of a table, where a view ranks them.

use std::{borrow::Cow, sync::Arc};

use super::{Effect, is_routed, kept};
use crate::{
    catalog::{Cache, Table},
    change::{Mark, Op, Origin, RowChange, TableReason, TransactionId},
    key::Key,
    position::Commit,
    views::roster::Why,
};

/// What is known of a row, or of all.
#[derive(Debug)]
pub enum Enrolment<'a> {
    /// A snapshot has read it; `None`: and what it is can't be told.
    Read(Key, Option<Cow<'a, str>>),
    /// The log tells of it.
    Told {
        /// What.
        what: Told<'a>,
        /// In which transaction, if it says.
        transaction: Option<TransactionId>,
    },
    /// Nothing exact is known of any row any more.
    Unknown(Why),
}

/// What the log tells of a row, or of all.
#[derive(Debug)]
pub enum Told<'a> {
    /// It is this now; `None`: and what it is can't be told.
    Is(Key, Option<Cow<'a, str>>),
    /// It is gone.
    Gone(Key),
    /// All are.
    Cleared {
        /// Where that was committed, if it is all of its transaction, which no end follows: in a binary log.
        alone: Option<Commit>,
    },
}

/// An event of which nobody knows which row it is about.
pub(super) fn unknown(cache: &Arc<Cache>) -> Option<Effect<'_>> {
    cache.is_ranked().then_some(Effect::Enrol { cache, entry: Enrolment::Unknown(Why::Unknown) })
}

/// A change of a row with this key; `shared` if other rows may have it as well.
pub(super) fn row<'a>(
    row: &'a RowChange<'_>,
    cache: &'a Arc<Cache>,
    key: &Key,
    shared: bool,
) -> Option<Effect<'a>> {
    if !cache.is_ranked() {
        return None;
    }
    if shared || is_routed(row, cache) {
        return unknown(cache);
    }
    let image = || row.after.and_then(|image| kept(image, cache).ok());
    let what = match row.op {
        Op::Read => {
            let counts = matches!(row.origin, Origin::Snapshot { .. } | Origin::Beginning);
            // Whether defaults stand for NULLs in it, the next heartbeat tells.
            return counts.then(|| Effect::Enrol { cache, entry: Enrolment::Read(key.clone(), image()) });
        }
        Op::Create | Op::Update if row.mark.nulls_kept == Some(false) => {
            return Some(Effect::Enrol { cache, entry: Enrolment::Unknown(Why::NullsReplaced) });
        }
        Op::Create | Op::Update => Told::Is(key.clone(), image()),
        Op::Delete => Told::Gone(key.clone()),
    };
    Some(Effect::Enrol { cache, entry: Enrolment::Told { what, transaction: row.mark.transaction } })
}

/// A change of a whole table.
pub(super) fn table<'a>(why: TableReason, mark: &Mark, table: &'a Table, effects: &mut Vec<Effect<'a>>) {
    for cache in table.rows.iter().filter(|cache| cache.is_ranked()) {
        let entry = match why {
            TableReason::Truncated => {
                let what = Told::Cleared { alone: mark.gtid.map(Commit::Gtid) };
                Enrolment::Told { what, transaction: mark.transaction }
            }
            // It is about to read it.
            TableReason::Described => continue,
            TableReason::Changed { .. } | TableReason::Redefined | TableReason::Unreadable(_) => {
                Enrolment::Unknown(Why::Unknown)
            }
        };
        effects.push(Effect::Enrol { cache, entry });
    }
}
