//! Keys: columns as a path, and queries as a key.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The columns of a key: `7.into()`, or `Key::of(["berlin", "42"])`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Key(Vec<String>);

impl Key {
    /// A key of several columns, in order.
    #[must_use]
    pub fn of<C: ToString>(columns: impl IntoIterator<Item = C>) -> Self {
        Self(columns.into_iter().map(|column| column.to_string()).collect())
    }

    /// The key with further columns.
    #[must_use]
    pub fn and<C: Into<Self>>(mut self, column: C) -> Self {
        self.0.extend(column.into().0);
        self
    }

    /// The path, one segment per column.
    pub(crate) fn path(&self, cache: &str) -> String {
        let mut path = format!("/v1/{}", utf8_percent_encode(cache, &ESCAPED));
        for (n, column) in self.0.iter().enumerate() {
            let (start, rest) = match column.strip_prefix('_') {
                Some(rest) if n == 0 => ("%5F", rest),
                _ => ("", column.as_str()),
            };
            path.extend(["/", start]);
            path.extend(utf8_percent_encode(rest, &ESCAPED));
        }
        path
    }
}

/// A text as a segment of a path.
pub(crate) fn escape(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, &ESCAPED)
}

/// A dependency on all of a table, by the name that the binding has: `inventory.product`.
#[must_use]
pub fn table(name: &str) -> String {
    escape(name).to_string()
}

/// A dependency on a row, by its key's columns in the order of the table's change events.
///
/// ```
/// assert_eq!(freshet_client::row("inventory.category", 7), "inventory.category/7");
/// ```
#[must_use]
pub fn row(table: &str, key: impl Into<Key>) -> String {
    let columns = key.into().0;
    columns.iter().fold(self::table(table), |item, column| format!("{item}/{}", escape(column)))
}

/// A dependency on what [`Client::invalidate_tag`](crate::Client::invalidate_tag) says.
#[must_use]
pub fn tag(text: &str) -> String {
    format!("tag:{}", escape(text))
}

macro_rules! columns {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Key {
            fn from(column: $kind) -> Self {
                Self(vec![column.to_string()])
            }
        }
    )*};
}

columns!(&str String bool i8 i16 i32 i64 u8 u16 u32 u64 isize usize);

/// A parameter of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Parameter<'a> {
    /// A text.
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// A truth value.
    Bool(bool),
    /// SQL's NULL.
    Null,
}

impl<'a> From<&'a str> for Parameter<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Parameter<'_> {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<bool> for Parameter<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl<T: Into<Self>> From<Option<T>> for Parameter<'_> {
    fn from(parameter: Option<T>) -> Self {
        parameter.map_or(Self::Null, Into::into)
    }
}

/// The key of a whole query: `q-` and 32 hexadecimal digits, alike in all of Freshet's clients.
///
/// ```
/// let key = freshet_client::query_key("SELECT * FROM product WHERE id = $1", &[7.into()]);
/// assert_eq!(key, "q-dfa4a8c93c3974cb245bb0a116cf73b0");
/// ```
#[must_use]
pub fn query_key(text: &str, parameters: &[Parameter<'_>]) -> String {
    use std::fmt::Write as _;
    let items: Vec<_> = std::iter::once(&Parameter::Text(text)).chain(parameters).copied().collect();
    // Texts, integers, booleans and null are always JSON, and serde_json writes them as RFC 8785 has them.
    let canonical = serde_json::to_vec(&items).unwrap_or_default();
    let digest = Sha256::digest(canonical);
    digest.iter().take(16).fold("q-".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_segment_per_column() {
        assert_eq!(Key::from(7).path("products"), "/v1/products/7");
        assert_eq!(Key::of(["a/b", "50%"]).and(true).path("stock"), "/v1/stock/a%2Fb/50%25/true");
        assert_eq!(Key::of(["_x", "_y"]).path("c"), "/v1/c/%5Fx/_y");
        assert_eq!(Key::from("ä ~").path("c"), "/v1/c/%C3%A4%20~");
    }
}
