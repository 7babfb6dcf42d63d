//! Changes whose transport carries no keys: what tells a row are the columns of it that a cache's `key` names.
//!
//! They have to be all of the table's primary key, which nothing here can check. What a row was before is sent of a
//! delete, and of an update where the replica identity is the whole row or the key itself has changed.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{Effect, rosters, row_in_cache, void_table};
use crate::{
    catalog::{Cache, Table},
    change::{Columns, Keyless, Op, RowChange},
    envelope,
    key::Scalar,
};

pub(super) fn row_effects<'a>(
    row: &'a RowChange<'_>,
    keyless: Keyless<'_>,
    table: &'a Table,
    effects: &mut Vec<Effect<'a>>,
) {
    let version = row.version;
    if table.rows.is_empty() {
        return effects.extend(void_table(table, version));
    }
    effects.extend(table.dependents.iter().map(|cache| Effect::VoidCache { cache, version }));
    for cache in &table.rows {
        if let Some(key) = key(row, keyless, cache) {
            row_in_cache(row, &key, cache, effects);
        } else {
            effects.push(Effect::VoidCache { cache, version });
            effects.extend(rosters::unknown(cache));
        }
    }
    // Nothing says by which columns a fill's row is meant.
    effects.push(Effect::VoidTable { scope: &table.scope, rows: true });
}

/// What a cache's `key` names of the row; `None` if that isn't known, or was something else before.
fn key<'r>(row: &RowChange<'r>, keyless: Keyless<'r>, cache: &Arc<Cache>) -> Option<Columns<'r>> {
    let names = cache.spec.key.as_ref()?;
    let of = |row: &'r RawValue| -> Option<Columns<'r>> {
        let columns = envelope::columns(row.get())?;
        // No column of a primary key is NULL: where one is, it isn't the key.
        let known = |(_, scalar): &(_, Scalar<'_>)| *scalar != Scalar::Null;
        names.iter().map(|name| super::column(&columns, &name.column).filter(known)).collect()
    };
    let before = keyless.before.filter(|before| before.get() != "null").map(of);
    match row.op {
        Op::Delete => before?,
        Op::Create | Op::Read => of(row.after?),
        Op::Update => {
            let after = of(row.after?)?;
            before.is_none_or(|before| before.as_ref() == Some(&after)).then_some(after)
        }
    }
}
