//! Keys: one text for one row, whether it comes from a request's path or from a change event.
//!
//! A key is its columns' texts joined by `/`; a `/` or `%` inside a column is percent-encoded, so that the
//! joined text is unambiguous. Both sides build it with [`Key::from_columns`]; what a request may not say is
//! a text that the database would understand but no event would ever carry (`007` for `7`).
//!
//! Blanks at a text's end are no part of a key: `char(n)` and most collations take `ab` and `ab  ` for one, and an event
//! may carry either. So an event names both, and a request only the one without.

use std::borrow::Cow;

use freshet_crds::{KeyType, binding::ColumnSpec};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

mod looks;
mod written;

pub use looks::Looks;

/// Longest key in bytes, decoded.
pub const MAX_KEY: usize = freshet_crds::rest::MAX_KEY;

/// What a path spells otherwise. `/` and `%` are what the canonical text means by them.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The canonical text of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<str>);

/// Why a request's key is refused. All are the caller's to mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`MAX_KEY`] bytes.
    #[error("a key has at most {MAX_KEY} bytes")]
    TooLong,
    /// A segment is empty, `.` or `..`.
    #[error("a key has no empty, `.` or `..` segments")]
    Segment,
    /// Percent-encoding that isn't, or bytes that aren't UTF-8.
    #[error("a key is percent-encoded UTF-8")]
    Encoding,
    /// The number of segments isn't that of the key's columns.
    #[error("this cache's key has {expected} column(s), one path segment each, and the request has {found}")]
    Columns {
        /// Columns of the key.
        expected: usize,
        /// Segments in the request.
        found: usize,
    },
    /// The text isn't the one that change events carry.
    #[error("`{text}` isn't {form}: no change event would name it so")]
    Form {
        /// The offending text.
        text: String,
        /// What it should have been.
        form: &'static str,
    },
}

/// A column's value in an event's key or row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A JSON string, unescaped.
    Text(Cow<'a, str>),
    /// A JSON number as written.
    Number(&'a str),
    /// A JSON boolean.
    Bool(bool),
    /// JSON null: such a row can't be asked for.
    Null,
    /// An object or array: no text stands for it.
    Compound,
}

// === impl Scalar ===

impl Scalar<'_> {
    /// Whether it is a text that has blanks at its end, which its key hasn't.
    #[must_use]
    pub fn is_padded(&self) -> bool {
        matches!(self, Self::Text(text) if text.ends_with(' '))
    }
}

/// The form of one column's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// What it looks like.
    pub kind: KeyType,
    /// Whether upper and lower case are one.
    pub fold_case: bool,
    /// What events have shown of an [`KeyType::Auto`] column.
    pub shown: Looks,
}

// === impl Key ===

impl Key {
    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a request's path spells it, behind the cache's name.
    #[must_use]
    pub fn to_path(&self) -> String {
        let text = utf8_percent_encode(&self.0, PATH).to_string();
        // Such a beginning is the API's own.
        text.strip_prefix('_').map_or(text.clone(), |rest| format!("%5F{rest}"))
    }

    /// Joins column texts.
    pub fn from_columns<'a>(columns: impl IntoIterator<Item = Cow<'a, str>>) -> Self {
        let mut text = String::new();
        for (i, column) in columns.into_iter().enumerate() {
            if i > 0 {
                text.push('/');
            }
            for c in column.chars() {
                match c {
                    '/' => text.push_str("%2F"),
                    '%' => text.push_str("%25"),
                    c => text.push(c),
                }
            }
        }
        Self(text.into())
    }

    /// What a row is found by that has this text in another column. No row's own key is such a text, since a percent
    /// sign in one is followed by digits.
    #[must_use]
    pub fn by(column: &str, value: &Self) -> Self {
        let column = Self::from_columns([Cow::Borrowed(column)]);
        Self(format!("%_{}/{}", column.as_str(), value.as_str()).into())
    }

    /// Whether rows are found by it and it is none's own.
    #[must_use]
    pub fn is_lookup(&self) -> bool {
        self.0.starts_with("%_")
    }

    /// Reads the raw path after the cache's name.
    ///
    /// `forms` are the key's columns as far as they are known; `None` accepts any number of segments of any
    /// form.
    pub fn from_path(raw: &str, forms: Option<&[Form]>) -> Result<Self, KeyError> {
        // Decoded text is never longer than its encoding, and the encoding at most three times as long.
        if raw.len() > 3 * MAX_KEY {
            return Err(KeyError::TooLong);
        }
        let mut columns = Vec::with_capacity(1);
        for segment in raw.split('/') {
            let text = decode(segment)?;
            if text.is_empty() || text == "." || text == ".." {
                return Err(KeyError::Segment);
            }
            columns.push(text);
        }
        if columns.iter().map(|c| c.len() + 1).sum::<usize>() > MAX_KEY + 1 {
            return Err(KeyError::TooLong);
        }
        if let Some(forms) = forms {
            if forms.len() != columns.len() {
                return Err(KeyError::Columns { expected: forms.len(), found: columns.len() });
            }
            for (column, form) in columns.iter_mut().zip(forms) {
                form.check(column)?;
                form.fold(column);
            }
        }
        Ok(Self::from_columns(columns))
    }

    /// Builds the key that an event's columns spell; `None` if a request could never ask for such a row,
    /// `Err` if a column has no text of the declared form, so that nobody can say which key it is.
    pub fn from_event<'a>(
        columns: impl IntoIterator<Item = (Scalar<'a>, Form)>,
    ) -> Result<Option<Self>, Unaddressable> {
        let mut texts = Vec::with_capacity(1);
        for (scalar, form) in columns {
            let Some(mut text) = form.spell(scalar)? else { return Ok(None) };
            form.fold(&mut text);
            texts.push(text);
        }
        Ok(Some(Self::from_columns(texts)))
    }
}

/// An event's key columns that have no text of the declared form.
#[derive(Debug, PartialEq, Eq)]
pub struct Unaddressable;

// === impl Form ===

impl Form {
    /// The form that a binding declares.
    #[must_use]
    pub fn declared(column: &ColumnSpec) -> Self {
        Self { kind: column.kind, fold_case: column.fold_case, shown: Looks::NONE }
    }

    /// A column of which nothing was declared.
    pub const AUTO: Self = Self { kind: KeyType::Auto, fold_case: false, shown: Looks::NONE };

    /// The form with what this event's text shows; `None` if it shows nothing new. `collated` if it is of a database that
    /// compares texts by a collation.
    #[must_use]
    pub fn learn(self, scalar: &Scalar<'_>, collated: bool) -> Option<Self> {
        let shown = match scalar {
            // Such collations seldom stop at case.
            _ if self.fold_case && collated => self.shown.with_collation(),
            _ if self.kind != KeyType::Auto => return None,
            Scalar::Text(text) => self.shown.with_text(text.trim_end_matches(' '), collated),
            Scalar::Number(text) => self.shown.with_number(text),
            Scalar::Bool(_) => self.shown.with_bool(),
            // Neither has a text that a request could spell otherwise.
            Scalar::Null | Scalar::Compound => self.shown,
        };
        (shown != self.shown).then_some(Self { shown, ..self })
    }

    /// Whether an event of the database could carry this value, as far as is known.
    #[must_use]
    pub fn fits(self, scalar: &Scalar<'_>) -> bool {
        matches!(self.spell(scalar.clone()), Ok(Some(text)) if self.check(&text).is_ok())
    }

    /// The text of an event's value, before its case is folded; `None` if no request could ask for it.
    fn spell(self, scalar: Scalar<'_>) -> Result<Option<Cow<'_, str>>, Unaddressable> {
        let text = match scalar {
            Scalar::Text(text) => trim(text),
            Scalar::Number(text) => Cow::Borrowed(text),
            Scalar::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Scalar::Null => return Ok(None),
            Scalar::Compound => return Err(Unaddressable),
        };
        let text = if self.kind == KeyType::Uuid { Cow::Owned(text.to_ascii_lowercase()) } else { text };
        // An Auto column's event text is canonical by definition: it is what events carry.
        if self.kind != KeyType::Auto && self.check(&text).is_err() {
            return Err(Unaddressable);
        }
        Ok(Some(text))
    }

    fn check(self, text: &str) -> Result<(), KeyError> {
        let printable = || text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let form = match self.kind {
            _ if text.ends_with(' ') => "a text without blanks at its end",
            KeyType::Integer if is_integer(text) => return Ok(()),
            KeyType::Integer => "a decimal integer without leading zeros, plus sign or blanks",
            KeyType::Uuid if is_uuid(text) => return Ok(()),
            KeyType::Uuid => "a UUID in lower case with dashes",
            KeyType::Auto => match self.shown.refuses(text) {
                Some(form) => form,
                None => return Ok(()),
            },
            KeyType::Text if self.fold_case && self.shown.is_collated() && !printable() => {
                "of printable ASCII characters, of which MariaDB and MySQL take none for another"
            }
            KeyType::Text => return Ok(()),
        };
        Err(KeyError::Form { text: text.chars().take(64).collect(), form })
    }

    fn fold(self, text: &mut Cow<'_, str>) {
        if self.fold_case && text.chars().any(|c| !c.is_lowercase()) {
            // Letter by letter, as databases do it: a final sigma isn't another letter.
            *text = Cow::Owned(text.chars().flat_map(char::to_lowercase).collect());
        }
    }
}

fn trim(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches(' ')),
        Cow::Owned(text) => Cow::Owned(text.trim_end_matches(' ').to_owned()),
    }
}

/// The text of a path's segment.
pub(crate) fn decode(segment: &str) -> Result<Cow<'_, str>, KeyError> {
    let bytes = segment.as_bytes();
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(segment));
    }
    let hex = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
    let broken = |i: usize| bytes[i] == b'%' && !(hex(bytes.get(i + 1)) && hex(bytes.get(i + 2)));
    if (0..bytes.len()).any(broken) {
        return Err(KeyError::Encoding);
    }
    percent_encoding::percent_decode(bytes).decode_utf8().map_err(|_| KeyError::Encoding)
}

/// `0`, or an optional minus sign and digits that don't begin with zero.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || (!digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

#[cfg(test)]
mod tests;
