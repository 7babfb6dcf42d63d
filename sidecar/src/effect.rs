//! What a change does to the caches: a pure function of the change and the tables that caches use.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use freshet_crds::OnChange;
use memchr::memmem::Finder;
use serde_json::value::RawValue;

use crate::{
    catalog::{Cache, Lookup, Shape, Table},
    change::{Change, Columns, Op, Origin, RowChange, TableName, TableReason},
    coherence::Refusal,
    dependencies::Scope,
    envelope,
    image::{Image, UNAVAILABLE},
    key::{Key, Scalar, Unaddressable},
    planted::{Bug, planted},
    position::RowVersion,
};

mod keyless;
mod lookups;
mod rosters;

pub use rosters::{Enrolment, Told};

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
    /// A row of a hydrating cache has changed, and there is no image to hydrate: its version is remembered.
    Note {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The row.
        key: Key,
        /// The change's place in the database's log.
        version: RowVersion,
    },
    /// A row's image can't become its value.
    Refuse {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// Why.
        why: Refusal,
    },
    /// The row's image becomes its value if the history finds it newer. A [`Effect::VoidRow`] came before it.
    Hydrate {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The row.
        key: Key,
        /// The image: as sent, or the columns of it that the cache keeps.
        image: Cow<'a, str>,
        /// What else it is found by.
        names: Vec<Key>,
        /// Its place in the database's log.
        version: RowVersion,
        /// When it was committed: milliseconds since the Unix epoch; 0 where that isn't known.
        commit_ms: u64,
        /// Since when it lives, likewise; `None`: from now on.
        since_ms: Option<u64>,
    },
    /// Somebody has told of a change whose place in the database's log nobody knows: what was committed before now, as far
    /// as clocks tell, isn't hydrated any more.
    Outrank {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The row; `None`: any.
        key: Option<Key>,
    },
    /// All values and leases of the cache are void.
    VoidCache {
        /// This cache.
        cache: &'a Arc<Cache>,
        /// The place in the database's log of what voids it: no image from before it is hydrated any more.
        version: Option<RowVersion>,
    },
    /// Every value that depends on the table is void, and, with `rows`, every one that depends on any of its rows.
    VoidTable {
        /// The table.
        scope: &'a Arc<Scope>,
        /// Whether each of its rows may have changed.
        rows: bool,
    },
    /// What is known of all rows of the cache's table has changed.
    Enrol {
        /// Of this cache, which a view ranks.
        cache: &'a Arc<Cache>,
        /// How.
        entry: Enrolment<'a>,
    },
    /// The cache's keys turned out to have this shape; what was filled under another is void.
    Reshape {
        /// Of this cache.
        cache: &'a Arc<Cache>,
        /// The lookup whose texts they are, if they aren't the key's.
        lookup: Option<&'a Lookup>,
        /// The shape.
        shape: Shape,
    },
}

/// What a change does to the caches of the tables that it concerns. Heartbeats and changes of tables that no
/// cache uses do nothing.
pub fn effects<'a>(change: &'a Change<'_>, tables: impl Iterator<Item = &'a Arc<Table>>) -> Vec<Effect<'a>> {
    let mut effects = Vec::new();
    for table in tables {
        match change {
            Change::Table { why, .. } if is_planted(*why) => {}
            Change::Tombstone(_) if planted(Bug::TombstoneIgnored) => {}
            Change::Row(row) | Change::Tombstone(row) => row_effects(row, table, &mut effects),
            Change::Table { why, version, mark, .. } => {
                effects.extend(void_table(table, *version));
                if version.is_none() && why.may_be_told() {
                    effects.extend(table.rows.iter().filter_map(|cache| outrank(cache, None)));
                }
                rosters::table(*why, mark, table, &mut effects);
            }
            Change::Source { .. }
            | Change::Heartbeat(_)
            | Change::Transaction(_)
            | Change::Garbage(_)
            | Change::Message(_)
            | Change::Notice(_)
            | Change::Published(_)
            | Change::Other => {}
        }
    }
    effects
}

/// Whether a planted bug lets this pass.
fn is_planted(why: TableReason) -> bool {
    planted(match why {
        TableReason::Truncated | TableReason::Changed { .. } => Bug::TruncateIgnored,
        TableReason::Redefined | TableReason::Described => Bug::RedefinitionIgnored,
        TableReason::Unreadable(_) => Bug::UnreadableIgnored,
    })
}

/// The tables that a change is about, as far as caches use them: one table can have several names.
pub fn concerned<'t>(change: &Change<'_>, tables: &'t Tables) -> impl Iterator<Item = &'t Arc<Table>> {
    let name = change.table();
    let named = name.into_iter().flat_map(TableName::spellings).filter_map(|name| tables.get(&name));
    // Of a name without its database any database's table may be meant.
    let suffix = name.filter(|name| name.database.is_empty()).map(|n| format!(".{}.{}", n.schema, n.table));
    let longer = suffix.into_iter().flat_map(|suffix| {
        tables.iter().filter(move |(name, _)| name.ends_with(&suffix)).map(|(_, table)| table)
    });
    named.chain(longer)
}

fn void_table(table: &Table, version: Option<RowVersion>) -> impl Iterator<Item = Effect<'_>> {
    let caches = table.rows.iter().chain(&table.dependents);
    let scope = Effect::VoidTable { scope: &table.scope, rows: true };
    caches.map(move |cache| Effect::VoidCache { cache, version }).chain([scope])
}

fn row_effects<'a>(row: &'a RowChange<'_>, table: &'a Table, effects: &mut Vec<Effect<'a>>) {
    let version = row.version;
    if let Some(keyless) = row.keyless {
        return keyless::row_effects(row, keyless, table, effects);
    }
    let Some(key) = &row.key else {
        effects.extend(void_table(table, version));
        effects.extend(table.rows.iter().filter_map(rosters::unknown));
        return;
    };
    if !planted(Bug::DependentsIgnored) {
        effects.extend(table.dependents.iter().map(|cache| Effect::VoidCache { cache, version }));
    }
    for cache in &table.rows {
        row_in_cache(row, key, cache, effects);
    }
    let Table { scope, .. } = table;
    // Which row has changed is told only where a value may depend on that; how keys look, the first event tells.
    let (by_row, unseen) = (scope.is_by_row(), scope.rows.with_shape(|shape| !shape.is_of_log()));
    effects.push(Effect::VoidTable { scope, rows: !by_row && !planted(Bug::RowsUntold) });
    if by_row || unseen {
        row_in_cache(row, key, &scope.rows, effects);
    }
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
    let known = identifies || row.op == Op::Create || planted(Bug::BeforeTrusted);
    let published = row.origin == Origin::Published;
    let void_all = |effects: &mut Vec<Effect<'a>>| {
        effects.push(Effect::VoidCache { cache, version: row.version });
        effects.extend(rosters::unknown(cache));
        effects.extend(outrank(cache, None).filter(|_| published));
    };
    if key_columns.is_empty() || !known {
        return void_all(effects);
    }
    let scalars: Vec<_> = key_columns.iter().map(|(_, scalar)| scalar).collect();
    // A binary log is MariaDB's or MySQL's.
    let collated = matches!(row.version, Some(RowVersion::Binlog { .. }));
    let known = cache.shape_of(key_columns.iter().map(|(name, _)| &**name));
    let learned = if published { known.hear(&scalars) } else { Ok(known.learn(&scalars, collated)) };
    let shape = match learned {
        Ok(Some(learned)) => {
            effects.push(Effect::Reshape { cache, lookup: None, shape: learned.clone() });
            Arc::new(learned)
        }
        Ok(None) => known,
        Err(Unaddressable) => return void_all(effects),
    };
    let forms = shape.forms.as_deref().unwrap_or_default();
    let spell = |columns: &Columns<'_>| {
        let scalars = columns.iter().map(|(_, scalar)| scalar.clone());
        Key::from_event(scalars.zip(forms.iter().copied()))
    };
    let key = match spell(&key_columns) {
        Ok(Some(key)) => key,
        Ok(None) => return effects.extend(rosters::unknown(cache)),
        Err(Unaddressable) => return void_all(effects),
    };
    // Without loss the other side of a key change is an event of its own; it is voided here as well because
    // that costs nothing.
    if let (true, Some(other)) = (identifies && cache.spec.key.is_none(), &row.other_key)
        && let Ok(Some(other)) = spell(other)
    {
        effects.push(Effect::VoidRow { cache, key: other.clone() });
        effects.extend(note(row, cache, other));
    }
    let moved = row.op == Op::Create && row.other_key.is_some();
    if !moved || !planted(Bug::KeyChangeOneSided) {
        effects.push(Effect::VoidRow { cache, key: key.clone() });
    }
    effects.extend(outrank(cache, Some(key.clone())).filter(|_| published));
    if cache.spec.on_change == OnChange::Hydrate {
        // Of other columns than the event's key, several rows can have the same; and of two texts that blanks tell apart
        // each may be a row's.
        let shared = !identifies || key_columns.len() < event_key.len();
        let shared = shared || key_columns.iter().any(|(_, scalar)| scalar.is_padded());
        effects.extend(rosters::row(row, cache, &key, shared));
        let Ok(found_by) = lookups::names(row, cache, collated, effects) else {
            effects.push(Effect::VoidCache { cache, version: row.version });
            return;
        };
        match offer(row, cache, shared) {
            Ok(Some((image, version, commit_ms))) => {
                let since_ms = row.commit_ms.filter(|_| row.is_old);
                effects.push(Effect::Hydrate {
                    cache,
                    key,
                    image,
                    names: found_by,
                    version,
                    commit_ms,
                    since_ms,
                });
            }
            Ok(None) => effects.extend(note(row, cache, key)),
            Err(why) => {
                effects.extend(note(row, cache, key));
                effects.push(Effect::Refuse { cache, why });
            }
        }
    }
}

fn outrank(cache: &Arc<Cache>, key: Option<Key>) -> Option<Effect<'_>> {
    (cache.spec.on_change == OnChange::Hydrate).then_some(Effect::Outrank { cache, key })
}

fn note<'a>(row: &RowChange<'_>, cache: &'a Arc<Cache>, key: Key) -> Option<Effect<'a>> {
    let version = row.version.filter(|_| cache.spec.on_change == OnChange::Hydrate)?;
    Some(Effect::Note { cache, key, version })
}

/// The image of a row that was written, if it can become a value at all.
fn offer<'a>(
    row: &'a RowChange<'_>,
    cache: &Cache,
    shared: bool,
) -> Result<Option<(Cow<'a, str>, RowVersion, u64)>, Refusal> {
    let is_beginning = row.origin == Origin::Beginning;
    let is_written = matches!(row.op, Op::Create | Op::Update);
    let Some(image) = row.after.filter(|_| is_written || is_beginning) else { return Ok(None) };
    // Rows of several tables are routed to one, and can have one key there: no image is the row.
    if is_routed(row, cache) {
        return Ok(None);
    }
    if shared {
        return Err(Refusal::SharedKey);
    }
    let (Some(version), Some(commit_ms)) = (row.version, row.commit_ms) else {
        return Err(Refusal::NoPosition);
    };
    // Of what the stream begins with, the first event of the log will tell; nothing is vouched for before.
    if !is_beginning && row.mark.nulls_kept != Some(true) && !planted(Bug::NullDefaultHydrated) {
        return Err(Refusal::NullsReplaced);
    }
    // Without the transactions' numbers nothing tells what was lost behind it before reading began.
    if row.is_old && !is_beginning && row.mark.transaction.is_none() && !planted(Bug::UnnumberedHydrated) {
        return Err(Refusal::NotNewer);
    }
    let image = kept(image, cache)?;
    // A snapshot doesn't tell when it read a row: any fill may be younger.
    Ok(Some((image, version, if is_beginning { 0 } else { commit_ms })))
}

/// Whether a row was written into the stream of a cache's table by a router, from another table.
fn is_routed(row: &RowChange<'_>, cache: &Cache) -> bool {
    row.table.routed_to.is_some() && row.table.routed_to.as_deref() == cache.spec.table.as_deref()
}

/// What a cache keeps of an image.
fn kept<'a>(image: &'a RawValue, cache: &Cache) -> Result<Cow<'a, str>, Refusal> {
    let image = match cache.spec.columns.as_slice() {
        [] => Cow::Borrowed(image.get()),
        columns => {
            let row = Image::read(image.get()).ok_or(Refusal::ColumnMissing)?;
            Cow::Owned(row.project(columns).map_err(|_| Refusal::ColumnMissing)?)
        }
    };
    // What the cache doesn't keep needn't be there.
    if !is_whole(&image) && !planted(Bug::PlaceholderHydrated) {
        return Err(Refusal::NotWhole);
    }
    Ok(image)
}

fn after_columns<'a>(row: &RowChange<'a>, cache: &Cache) -> Option<Columns<'a>> {
    let after = envelope::columns(row.after?.get())?;
    cache.spec.key.as_ref()?.iter().map(|c| column(&after, &c.column)).collect()
}

fn column<'a>(columns: &Columns<'a>, name: &str) -> Option<(Cow<'a, str>, Scalar<'a>)> {
    columns.iter().find(|(n, _)| n == name).cloned()
}

/// Whether an image has every column's value: Debezium puts a placeholder where the database didn't log an
/// unchanged large one.
fn is_whole(image: &str) -> bool {
    static PLACEHOLDERS: LazyLock<[Finder<'static>; 6]> = LazyLock::new(|| {
        [
            // Texts, arrays of texts, hstore.
            UNAVAILABLE,
            // Binary, in base64 (of either alphabet) and in hexadecimal.
            "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ",
            "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565",
            // Arrays of UUIDs: the name-based UUID of the text.
            "b68a35a7-17ad-35b3-af2a-ae46edb4545a",
            // Arrays of numbers: the text's bytes, one an element.
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,",
            "[95.0,95.0,100.0,101.0,98.0,101.0,122.0,105.0,117.0,109.0,95.0,117.0,110.0,97.0,118.0,",
        ]
        .map(Finder::new)
    });
    PLACEHOLDERS.iter().all(|placeholder| placeholder.find(image.as_bytes()).is_none())
}

#[cfg(test)]
mod tests;
