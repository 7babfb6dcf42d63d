//! A key or row as its columns in order, read without building a tree.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{Deserializer as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{change::Columns, key::Scalar};

/// The column that Debezium's `ByLogicalTableRouter` adds to keys.
const PHYSICAL_TABLE: &str = "__dbz__physicalTableIdentifier";

/// Reads a JSON object, wrapped with its schema or not, as columns in the order in which they stand.
#[must_use]
pub fn columns(text: &str) -> Option<Columns<'_>> {
    let mut json = serde_json::Deserializer::from_str(unwrap(text));
    let columns = json.deserialize_map(ColumnsVisitor).ok()?;
    json.end().ok()?;
    Some(columns)
}

/// The payload of `{"schema":{…},"payload":…}`, or the text itself.
pub(super) fn unwrap(text: &str) -> &str {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        schema: &'a RawValue,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    // A row may have columns of these names, but their values are no JSON objects.
    if !text.trim_start().starts_with("{\"schema\":{") {
        return text;
    }
    match serde_json::from_str::<Wrapped<'_>>(text) {
        Ok(wrapped) if wrapped.schema.get().starts_with('{') => wrapped.payload.get(),
        _ => text,
    }
}

struct ColumnsVisitor;

impl<'de> Visitor<'de> for ColumnsVisitor {
    type Value = Columns<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns<'de>, A::Error> {
        let mut columns = Columns::with_capacity(1);
        while let Some((name, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if name.0 != PHYSICAL_TABLE {
                columns.push((name.0, scalar(value)));
            }
        }
        Ok(columns)
    }
}

/// A string that borrows when it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a column's JSON says.
pub(crate) fn scalar(value: &RawValue) -> Scalar<'_> {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(text).map_or(Scalar::Compound, |t| Scalar::Text(t.0)),
        Some(b'{' | b'[') | None => Scalar::Compound,
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'n') => Scalar::Null,
        Some(_) => Scalar::Number(text),
    }
}
