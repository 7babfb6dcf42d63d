//! What a fill says that its value depends on: tables, rows of tables and tags.

use std::{borrow::Cow, collections::BTreeSet};

use freshet_crds::{FillDependencies, OnChange};
use hyper::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::{
    catalog::{Cache, Catalog},
    dependencies::On,
    engine::Engine,
    key::{Key, KeyError, MAX_KEY, decode},
};

/// Most items of a header; a fill in a batch can have more.
pub(super) const IN_HEADER: usize = 64;

/// The items of `Freshet-Depends`, which may be several lines; `None` without it.
pub(super) fn header(headers: &HeaderMap) -> Result<Option<Vec<&str>>, Problem> {
    let mut items = None;
    for line in headers.get_all("freshet-depends") {
        let line = line.to_str().map_err(|_| bad("it has bytes that aren't ASCII: percent-encode them"))?;
        items.get_or_insert_with(Vec::new).extend(line.split(',').map(str::trim));
    }
    Ok(items)
}

/// What these items are, each once, in a fixed order.
///
/// An item is a table as the binding spells it, a table and a key with a slash in between, or `tag:` and a tag. All but
/// the binding's own slashes and colons are percent-encoded.
pub(super) fn resolve(
    engine: &Engine,
    catalog: &Catalog,
    cache: &Cache,
    items: Option<&[&str]>,
    most: usize,
) -> Result<Vec<On>, Problem> {
    let Some(items) = items else {
        return match cache.spec.fill_dependencies {
            FillDependencies::Optional => Ok(Vec::new()),
            FillDependencies::Required => Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "depends-required",
                "The value's dependencies are required",
                "this cache has fillDependencies: Required, so a fill names in Freshet-Depends what its value depends \
                 on: nothing was stored",
            )),
        };
    };
    if cache.spec.on_change == OnChange::Hydrate {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "depends-hydrated",
            "A row depends on nothing else",
            "this cache hydrates: its values are rows, and the next change's image would have no dependencies",
        ));
    }
    if items.len() > most {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "too-many-dependencies",
            "Too many dependencies",
            format!(
                "a value has at most {most} here, and this one {}: {IN_HEADER} in Freshet-Depends, {} in a batch's \
                 fill; name a table as a whole instead of many of its rows",
                items.len(),
                super::MAX_DEPENDENCIES
            ),
        )
        .with("limit", most));
    }
    let items: BTreeSet<&str> = items.iter().copied().collect();
    items.into_iter().map(|item| one(engine, catalog, cache, item)).collect()
}

fn one(engine: &Engine, catalog: &Catalog, cache: &Cache, item: &str) -> Result<On, Problem> {
    if let Some(tag) = item.strip_prefix("tag:") {
        return self::tag(tag).map(|tag| engine.on_tag(&tag)).map_err(|error| bad_item(item, &error));
    }
    let (name, key) = item.split_once('/').map_or((item, None), |(name, key)| (name, Some(key)));
    let name = decode(name).map_err(|error| bad_item(item, &error))?;
    if name.is_empty() {
        return Err(bad("an item is empty: items are separated by single commas"));
    }
    let tables = catalog.tables_of(cache);
    let Some(table) = tables.and_then(|tables| tables.get(&*name)) else {
        let mut known: Vec<_> = tables.into_iter().flat_map(|tables| tables.keys().cloned()).collect();
        known.sort_unstable();
        let name: String = name.chars().take(64).collect();
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "unknown-table",
            "Changes of the table aren't followed",
            format!(
                "nobody would notice a change of `{name}`, so nothing was stored: the caches of source `{}` have {}; \
                 add others to mayDependOn",
                cache.feed.spec.name,
                known.join(", ")
            ),
        )
        .with("tables", known));
    };
    let scope = &table.scope;
    let Some(key) = key else { return Ok(On::Table(std::sync::Arc::clone(scope))) };
    let key = scope.rows.with_shape(|shape| Key::from_path(key, shape.forms.as_deref()));
    key.map(|key| engine.on_row(scope, &key)).map_err(|error| bad_item(item, &error))
}

/// A tag's text.
pub(super) fn tag(raw: &str) -> Result<Cow<'_, str>, KeyError> {
    if raw.len() > 3 * MAX_KEY {
        return Err(KeyError::TooLong);
    }
    let tag = decode(raw)?;
    match tag.len() {
        0 => Err(KeyError::Segment),
        1..=MAX_KEY => Ok(tag),
        _ => Err(KeyError::TooLong),
    }
}

fn bad_item(item: &str, error: &KeyError) -> Problem {
    let item: String = item.chars().take(64).collect();
    bad(format!("`{item}`: {error}"))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::bad_request("depends", "The dependencies aren't understood", detail)
}
