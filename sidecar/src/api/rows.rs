//! Rows of hydrating caches: what they are found by, and what a fill of one has to be.

use bytes::Bytes;
use hyper::StatusCode;

use super::problem::Problem;
use crate::{
    catalog::{Cache, Shape},
    codec::Codec,
    dependencies::On,
    engine::Engine,
    image::Image,
    key::{Key, KeyError, Scalar, decode},
};

/// The path's segment below which rows are found by other columns than their key.
const BY: &str = "_by/";

/// A row that an application fills.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The columns that the cache keeps.
    pub(super) body: Bytes,
    /// What else it is found by.
    pub(super) names: Vec<Key>,
    /// Which row it is, where the path doesn't say so.
    pub(super) on: Option<On>,
}

/// The key that the raw path after a cache's name spells: a row's own, or what it is found by.
pub(super) fn key(cache: &Cache, raw: &str) -> Result<Key, Problem> {
    let Some(rest) = raw.strip_prefix(BY) else {
        if raw.starts_with('_') {
            return Err(Problem::reserved());
        }
        return cache
            .with_shape(|shape| Key::from_path(raw, shape.forms.as_deref()))
            .map_err(|error| Problem::key(&error));
    };
    let (column, value) = rest.split_once('/').unwrap_or((rest, ""));
    let column = decode(column).map_err(|error| Problem::key(&error))?;
    let Some(lookup) = cache.lookups.iter().find(|lookup| lookup.column == column) else {
        let known: Vec<_> = cache.lookups.iter().map(|lookup| lookup.column.as_str()).collect();
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "unknown-lookup",
            "There is no such lookup",
            format!(
                "the cache `{}` finds rows by its key and by: {}; its lookups name more columns",
                cache.spec.name,
                if known.is_empty() { "nothing else".to_owned() } else { known.join(", ") }
            ),
        )
        .with("lookups", known));
    };
    let value =
        Key::from_path(value, lookup.shape().forms.as_deref()).map_err(|error| Problem::key(&error))?;
    Ok(Key::by(&lookup.column, &value))
}

/// A row that came in CBOR, as rows are stored: in JSON.
pub(super) fn in_json(cbor: &[u8]) -> Result<Bytes, Problem> {
    let json =
        Codec::Cbor.convert(cbor).map_err(|why| unfit(format!("its CBOR can't be read as JSON: {why}")))?;
    match json.first() {
        Some(b'{') => Ok(json),
        _ => Err(unfit("its CBOR isn't a map")),
    }
}

/// What a fill of this key is with this body; the body as it is where the cache neither projects nor has lookups.
pub(super) fn take(engine: &Engine, cache: &Cache, key: &Key, body: Bytes) -> Result<Row, Problem> {
    if cache.spec.columns.is_empty() && cache.lookups.is_empty() {
        return Ok(Row { body, ..Row::default() });
    }
    let text = std::str::from_utf8(&body).ok();
    let image = text.and_then(Image::read).ok_or_else(|| unfit("it isn't a JSON object"))?;
    let mut row = Row::default();
    if !cache.lookups.is_empty() {
        let columns = cache.spec.key.iter().flatten().map(|column| column.column.as_str());
        let own =
            spell(&image, columns, &cache.shape())?.ok_or_else(|| unfit("a column of its key is null"))?;
        for lookup in &cache.lookups {
            let value = spell(&image, [lookup.column.as_str()], &lookup.shape())?;
            row.names.extend(value.map(|value| Key::by(&lookup.column, &value)));
        }
        if key.is_lookup() {
            if !row.names.contains(key) {
                return Err(unfit("it is a row that isn't found by what the path says"));
            }
            // Its own place in the cache is filled with a lease for that.
            row.names.clear();
            row.on = Some(engine.on_own_row(cache, &own));
        } else if own != *key {
            return Err(unfit("it is another row than the path says"));
        }
    }
    row.body = match cache.spec.columns.as_slice() {
        [] => body,
        columns => image.project(columns).map_err(|missing| lacks(missing.0))?.into(),
    };
    Ok(row)
}

/// The key that these columns of a row make; `None` if one is null.
fn spell<'c>(
    image: &Image<'_>,
    columns: impl IntoIterator<Item = &'c str>,
    shape: &Shape,
) -> Result<Option<Key>, Problem> {
    let scalars: Vec<Scalar<'_>> =
        columns.into_iter().map(|c| image.column(c)).collect::<Result<_, _>>().map_err(|e| lacks(e.0))?;
    let forms = shape.forms.as_deref().unwrap_or_default().iter().copied();
    Key::from_event(scalars.into_iter().zip(forms))
        .map_err(|_| unfit("a column of its key or of a lookup has another form than events give it"))
}

fn lacks(column: &str) -> Problem {
    unfit(format!("it lacks the column `{column}`, which the cache's key, lookups or columns name"))
}

fn unfit(why: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "row",
        "The value isn't the row",
        format!("{why}: nothing was stored"),
    )
}

impl Problem {
    /// A key that can't be one.
    pub(super) fn key(error: &KeyError) -> Self {
        let (slug, title) = match error {
            KeyError::TooLong => ("key-too-long", "The key is too long"),
            KeyError::Segment | KeyError::Encoding => ("key-syntax", "The key is malformed"),
            KeyError::Columns { .. } | KeyError::Form { .. } => {
                ("key-form", "The key isn't one that changes would name")
            }
        };
        Self::bad_request(slug, title, error.to_string())
    }

    /// A path that is the API's own.
    pub(super) fn reserved() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "reserved",
            "The path is reserved",
            "segments that begin with `_` are the API's own: encode the underscore of a key as %5F",
        )
    }
}
