//! Media types whose values are JSON or CBOR, and what a reader's `Accept` says of them.

use bytes::Bytes;

use super::Codec;

/// A media type of one of the codecs: `application/json`, `application/cbor`, or one that ends in `+json` or `+cbor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// What is written so.
    pub codec: Codec,
    /// The type before its suffix; `None` of a codec's own.
    base: Option<&'a [u8]>,
    /// What is behind the type: nothing, or parameters.
    parameters: &'a [u8],
}

/// How closely an item of `Accept` names a type. The closest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Range {
    /// `*/*`.
    All,
    /// `application/*`, or whatever is before the slash.
    Kind,
    /// The codec's own type, of a type with its suffix: who reads CBOR reads what is written in it.
    Codec,
    /// The type itself.
    Type,
}

// === impl Media ===

impl<'a> Media<'a> {
    /// Of a Content-Type; `None` if values of it are neither JSON nor CBOR.
    #[must_use]
    pub fn of(content_type: &'a [u8]) -> Option<Self> {
        let end = content_type.iter().position(|b| *b == b';').unwrap_or(content_type.len());
        let (essence, parameters) = content_type.split_at(end);
        let essence = essence.trim_ascii();
        for codec in [Codec::Json, Codec::Cbor] {
            if essence.eq_ignore_ascii_case(codec.own().as_bytes()) {
                return Some(Self { codec, base: None, parameters });
            }
            let at = essence.len().saturating_sub(codec.suffix().len());
            let (base, suffix) = essence.split_at(at);
            if suffix.eq_ignore_ascii_case(codec.suffix().as_bytes()) && kind(base).is_some() {
                return Some(Self { codec, base: Some(base), parameters });
            }
        }
        None
    }

    /// The same of the other codec. It keeps its parameters, but for what only one codec or neither has: JSON's `charset`.
    #[must_use]
    pub fn other(&self) -> Self {
        let is_kept = self.base.is_some() && !contains_charset(self.parameters);
        let parameters = if is_kept { self.parameters } else { &[] };
        Self { codec: self.codec.other(), base: self.base, parameters }
    }

    /// As Content-Type has it.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self.base {
            None => Bytes::from_static(self.codec.own().as_bytes()),
            Some(base) => [base, self.codec.suffix().as_bytes(), self.parameters].concat().into(),
        }
    }

    /// How closely an item of `Accept`, without its parameters, names this type; `None` if it doesn't.
    #[must_use]
    pub fn is_in(&self, range: &[u8]) -> Option<Range> {
        if range == b"*/*" {
            return Some(Range::All);
        }
        if let Some(wanted) = range.strip_suffix(b"/*") {
            let own = kind(self.base.unwrap_or(self.codec.own().as_bytes()));
            return own.is_some_and(|own| own.eq_ignore_ascii_case(wanted)).then_some(Range::Kind);
        }
        let range = Media::of(range).filter(|range| range.codec == self.codec)?;
        match (range.base, self.base) {
            (None, None) => Some(Range::Type),
            (None, Some(_)) => Some(Range::Codec),
            (Some(range), Some(own)) if range.eq_ignore_ascii_case(own) => Some(Range::Type),
            (Some(_), _) => None,
        }
    }
}

/// What is before a type's slash.
fn kind(essence: &[u8]) -> Option<&[u8]> {
    let at = essence.iter().position(|b| *b == b'/')?;
    Some(&essence[..at])
}

fn contains_charset(parameters: &[u8]) -> bool {
    parameters.windows(7).any(|at| at.eq_ignore_ascii_case(b"charset"))
}

impl Codec {
    /// Its own type.
    fn own(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
        }
    }

    /// What types end in that are written in it.
    fn suffix(self) -> &'static str {
        match self {
            Self::Json => "+json",
            Self::Cbor => "+cbor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Codec, Media, Range};

    #[test]
    fn types_of_the_codecs_have_a_counterpart() {
        for (given, codec, other) in [
            ("application/json", Codec::Json, "application/cbor"),
            ("application/cbor", Codec::Cbor, "application/json"),
            ("Application/JSON ; charset=utf-8", Codec::Json, "application/cbor"),
            ("application/vnd.freshet.row+json", Codec::Json, "application/vnd.freshet.row+cbor"),
            ("application/senml+CBOR", Codec::Cbor, "application/senml+json"),
            ("application/ld+json;profile=\"x\"", Codec::Json, "application/ld+cbor;profile=\"x\""),
            ("application/ld+json; Charset=utf-8", Codec::Json, "application/ld+cbor"),
        ] {
            let media = Media::of(given.as_bytes()).unwrap_or_else(|| panic!("{given}"));
            assert_eq!((media.codec, &*media.other().to_bytes()), (codec, other.as_bytes()), "{given}");
        }
        for none in [
            "",
            "application/jsonl",
            "application/cbor-seq",
            "text/plain; a=+json",
            "application/octet-stream",
            "+json",
            "json",
            "application/problem+jsonx",
        ] {
            assert_eq!(Media::of(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_range_names_a_type_more_or_less_closely() {
        let row = Media::of(b"application/vnd.freshet.row+cbor").unwrap();
        let plain = Media::of(b"application/cbor").unwrap();
        for (range, of_row, of_plain) in [
            ("*/*", Some(Range::All), Some(Range::All)),
            ("application/*", Some(Range::Kind), Some(Range::Kind)),
            ("Application/*", Some(Range::Kind), Some(Range::Kind)),
            ("application/cbor", Some(Range::Codec), Some(Range::Type)),
            ("APPLICATION/CBOR", Some(Range::Codec), Some(Range::Type)),
            ("application/vnd.freshet.row+cbor", Some(Range::Type), None),
            ("application/vnd.freshet.other+cbor", None, None),
            ("application/json", None, None),
            ("text/*", None, None),
            ("*", None, None),
            ("", None, None),
        ] {
            assert_eq!(
                (row.is_in(range.as_bytes()), plain.is_in(range.as_bytes())),
                (of_row, of_plain),
                "{range}"
            );
        }
        assert!(Range::All < Range::Kind && Range::Kind < Range::Codec && Range::Codec < Range::Type);
    }
}
