//! What a change does to the caches: a pure function of the change and the tables that caches use.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use freshet_crds::OnChange;
use serde_json::value::RawValue;

use crate::{
    catalog::{Cache, Shape, Table},
    change::{Change, Columns, Op, RowChange, TableName},
    envelope,
    key::{Key, Scalar},
    position::RowVersion,
};

/// The tables of one source that caches use, by every spelling of their names.
pub type Tables = HashMap<String, Arc<Table>>;

/// One thing to do to one cache, in order.
#[derive(Debug)]
pub enum Effect<'a> {
    /// The row's value and leases are void.
    VoidRow {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The row.
        key: Key,
    },
    /// The row's image becomes its value if the history finds it newer. A [`Effect::VoidRow`] came before it.
    Hydrate {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The row.
        key: Key,
        /// The image, as sent.
        image: &'a RawValue,
        /// Its place in the database's log.
        version: RowVersion,
        /// When it was committed: milliseconds since the Unix epoch.
        commit_ms: u64,
    },
    /// All values and leases of the cache are void.
    VoidCache {
        /// This cache.
        cache: &'a Arc<Cache>,
    },
    /// The cache's keys turned out to have this shape; what was filled under another is void.
    Reshape {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The shape.
        shape: Shape,
    },
}

/// What a change does to the caches of its source. Heartbeats and changes of tables that no cache uses do
/// nothing.
#[must_use]
pub fn effects<'a>(change: &'a Change<'_>, tables: &'a Tables) -> Vec<Effect<'a>> {
    match change {
        Change::Row(row) => find(&row.table, tables).map(|table| row_effects(row, table)).unwrap_or_default(),
        Change::Table { table, .. } => {
            find(table, tables).map(|t| void_table(t).collect()).unwrap_or_default()
        }
        Change::Source(_) | Change::Heartbeat(_) | Change::Tombstone | Change::Other => Vec::new(),
    }
}

/// The table of a change, if some cache uses it.
#[must_use]
pub fn find<'t>(name: &TableName<'_>, tables: &'t Tables) -> Option<&'t Arc<Table>> {
    name.spellings().find_map(|spelling| tables.get(&spelling))
}

fn void_table(table: &Table) -> impl Iterator<Item = Effect<'_>> {
    table.rows.iter().chain(&table.dependents).map(|cache| Effect::VoidCache { cache })
}

fn row_effects<'a>(row: &'a RowChange<'_>, table: &'a Table) -> Vec<Effect<'a>> {
    let Some(key) = &row.key else { return void_table(table).collect() };
    let mut effects: Vec<_> = table.dependents.iter().map(|cache| Effect::VoidCache { cache }).collect();
    for cache in &table.rows {
        row_in_cache(row, key, cache, &mut effects);
    }
    effects
}

fn row_in_cache<'a>(
    row: &'a RowChange<'_>,
    event_key: &Columns<'_>,
    cache: &'a Arc<Cache>,
    effects: &mut Vec<Effect<'a>>,
) {
    let named = match &cache.spec.key {
        None => Some(event_key.clone()),
        Some(columns) => columns.iter().map(|c| column(event_key, &c.column)).collect(),
    };
    let (key_columns, identifies) = match named {
        // The event's key names the row before and after the change: a change of key is two events.
        Some(columns) => (columns, true),
        None => (after_columns(row, cache).unwrap_or_default(), false),
    };
    // A row that was there before may have had another key, which nothing here tells for sure: `before` holds
    // invented values outside the table's replica identity, and an event doesn't say what that is.
    if key_columns.is_empty() || (!identifies && row.op != Op::Create) {
        effects.push(Effect::VoidCache { cache });
        return;
    }
    let scalars: Vec<_> = key_columns.iter().map(|(_, scalar)| scalar).collect();
    let shape = match cache.shape().learn(&scalars) {
        Some(learned) => {
            effects.push(Effect::Reshape { cache, shape: learned.clone() });
            Arc::new(learned)
        }
        None => cache.shape(),
    };
    let forms = shape.forms.as_deref().unwrap_or_default();
    let spell = |columns: &Columns<'_>| {
        let scalars = columns.iter().map(|(_, scalar)| scalar.clone());
        Key::from_event(scalars.zip(forms.iter().copied()))
    };
    let key = match spell(&key_columns) {
        Ok(Some(key)) => key,
        Ok(None) => return,
        Err(_) => {
            effects.push(Effect::VoidCache { cache });
            return;
        }
    };
    // Without loss the other side of a key change is an event of its own; it is voided here as well because
    // that costs nothing.
    if let (true, Some(other)) = (identifies && cache.spec.key.is_none(), &row.other_key)
        && let Ok(Some(other)) = spell(other)
    {
        effects.push(Effect::VoidRow { cache, key: other });
    }
    effects.push(Effect::VoidRow { cache, key: key.clone() });
    if cache.spec.on_change == OnChange::Hydrate
        && let (Op::Create | Op::Update, Some(image), Some(version), Some(commit_ms)) =
            (row.op, row.after, row.version, row.commit_ms)
        && row.nulls_kept
        && is_whole(image.get())
    {
        effects.push(Effect::Hydrate { cache, key, image, version, commit_ms });
    }
}

fn after_columns<'a>(row: &RowChange<'a>, cache: &Cache) -> Option<Columns<'a>> {
    let after = envelope::columns(row.after?.get())?;
    cache.spec.key.as_ref()?.iter().map(|c| column(&after, &c.column)).collect()
}

fn column<'a>(columns: &Columns<'a>, name: &str) -> Option<(Cow<'a, str>, Scalar<'a>)> {
    columns.iter().find(|(n, _)| n == name).cloned()
}

/// Whether an image has every column's value: Debezium puts a placeholder where the database didn't log an
/// unchanged large one, as text or, for binary columns, in base64.
fn is_whole(image: &str) -> bool {
    !image.contains("__debezium_unavailable_value")
        && !image.contains("X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ")
}

#[cfg(test)]
mod tests;
