//! A row as the JSON object that a change carries, or that an application fills: what its columns say, and those that a
//! cache keeps.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{envelope::scalar, key::Scalar};

/// What Debezium's default puts in the place of a large text that the database didn't log, because it didn't change.
pub(crate) const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A row's columns with their JSON, in the order in which they stand.
#[derive(Debug)]
pub struct Image<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A column that a row hasn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingColumn<'c>(pub &'c str);

impl<'a> Image<'a> {
    /// Reads a row; `None` for what is no JSON object.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        #[derive(Deserialize, PartialEq, Eq, Hash)]
        struct Name<'n>(#[serde(borrow)] Cow<'n, str>);
        struct Columns;
        impl<'de> serde::de::Visitor<'de> for Columns {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a row")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut columns = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    columns.push((name.0, value));
                }
                Ok(columns)
            }
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let columns = serde::Deserializer::deserialize_map(&mut json, Columns).ok()?;
        json.end().ok()?;
        Some(Self(columns))
    }

    /// What a column says.
    pub fn column<'c>(&self, name: &'c str) -> Result<Scalar<'a>, MissingColumn<'c>> {
        self.json(name).map(scalar)
    }

    /// The row with these columns alone, in this order, as compact JSON. Their values stand as they were.
    pub fn project<'c>(&self, columns: &'c [String]) -> Result<String, MissingColumn<'c>> {
        let mut text = String::from("{");
        for (i, name) in columns.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(self.json(name)?.get());
        }
        text.push('}');
        Ok(text)
    }

    fn json<'c>(&self, name: &'c str) -> Result<&'a RawValue, MissingColumn<'c>> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, json)| *json).ok_or(MissingColumn(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, MissingColumn};
    use crate::key::Scalar;

    #[test]
    fn columns_are_kept_as_they_stand_in_the_order_that_is_asked_for() {
        let row = Image::read(
            "{\"id\":7, \"na\\\"me\":\"h\\u00e4mmer\",\"price\":1.50,\"tags\":[1, 2],\"x\":null}",
        )
        .unwrap();
        let project = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            row.project(&names).map_err(|missing| missing.0.to_owned())
        };
        assert_eq!(project(&["price", "id"]).unwrap(), "{\"price\":1.50,\"id\":7}");
        assert_eq!(
            project(&["na\"me", "tags", "x"]).unwrap(),
            "{\"na\\\"me\":\"h\\u00e4mmer\",\"tags\":[1, 2],\"x\":null}"
        );
        assert_eq!(project(&[]).unwrap(), "{}");
        assert_eq!(project(&["id", "nope"]).unwrap_err(), "nope");
        assert_eq!(row.column("na\"me"), Ok(Scalar::Text("hämmer".into())));
        assert_eq!(row.column("nope"), Err(MissingColumn("nope")));
        for bad in ["", "[1]", "7", "{\"a\":1} x", "{\"a\":}", "{a:1}"] {
            assert!(Image::read(bad).is_none(), "{bad}");
        }
    }
}
