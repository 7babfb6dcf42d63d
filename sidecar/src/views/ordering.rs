//! What items are ordered by.

use std::cmp::Ordering;

use freshet_crds::{Order, OrderAs};
use jiff::{SignedDuration, civil::DateTime};
use serde_json::value::RawValue;

use super::decimal::Decimal;

/// A value that items are ordered by. Numbers are less than times, and times less than texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A number, exactly.
    Number(Decimal),
    /// An instant, to the nanosecond.
    Time(SignedDuration),
    /// A text, by its code points.
    Text(Box<str>),
}

/// A JSON value that is no object, array or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Decimal),
    /// A text.
    Text(Box<str>),
}

// === impl Scalar ===

impl Scalar {
    /// Reads a value; `None` if it is no scalar, null, or a text that isn't Unicode.
    #[must_use]
    pub fn read(value: &RawValue) -> Option<Self> {
        match value.get() {
            "true" => Some(Self::Bool(true)),
            "false" => Some(Self::Bool(false)),
            text if text.starts_with('"') => serde_json::from_str(text).ok().map(Self::Text),
            text => Decimal::read(text).map(Self::Number),
        }
    }
}

// === impl Rank ===

impl Rank {
    /// Bytes that it holds beside itself.
    #[must_use]
    pub fn weight(&self) -> u64 {
        match self {
            Self::Number(number) => number.weight(),
            Self::Time(_) => 0,
            Self::Text(text) => text.len() as u64,
        }
    }

    /// What a value is ordered as; `None` if it isn't of the kind that is asked for.
    #[must_use]
    pub fn read(value: &RawValue, kind: OrderAs) -> Option<Self> {
        match (Scalar::read(value)?, kind) {
            (Scalar::Number(number), OrderAs::Auto | OrderAs::Number) => Some(Self::Number(number)),
            (Scalar::Text(text), OrderAs::Auto) => Some(time(&text).map_or(Self::Text(text), Self::Time)),
            (Scalar::Text(text), OrderAs::Number) => Decimal::read(&text).map(Self::Number),
            (Scalar::Text(text), OrderAs::Text) => Some(Self::Text(text)),
            (Scalar::Text(text), OrderAs::Time) => time(&text).map(Self::Time),
            _ => None,
        }
    }
}

/// Which of two items comes first, by what they are ordered by. Those without come last in either order.
#[must_use]
pub fn compare(order: Order, a: Option<&Rank>, b: Option<&Rank>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if order == Order::Descending => b.cmp(a),
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

/// The instant that a text of RFC 3339's form means, since the Unix epoch: date, time and offset, with at most nine decimals
/// of a second. The years 0000 to 9999, whole: their ends are often written for ever and never.
#[must_use]
pub fn time(text: &str) -> Option<SignedDuration> {
    const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
    // What else jiff reads as a date with a time isn't of this form.
    let bytes = text.as_bytes();
    let is_form = bytes.len() >= 20
        && b"dddd-dd-ddTdd:dd:dd".iter().zip(bytes).all(|(form, byte)| match form {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b't'),
            other => byte == other,
        });
    let behind = bytes.get(19..).filter(|_| is_form)?;
    let digits = match behind.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            Some(digits).filter(|digits| (1..=9).contains(digits))? + 1
        }
        None => 0,
    };
    let (local, offset) = (text.get(..19 + digits)?, behind.get(digits..)?);
    let number = |tens: &u8, ones: &u8| {
        let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
        Some(digit(tens)? * 10 + digit(ones)?)
    };
    let minutes = match offset {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), a, b, b':', c, d] => {
            let (hours, minutes) = (number(a, b).filter(|n| *n < 24)?, number(c, d).filter(|n| *n < 60)?);
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let local: DateTime = local.parse().ok()?;
    Some(local.duration_since(EPOCH) - SignedDuration::from_mins(minutes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::{OrderAs, Rank, time};

    fn rank(json: &str, kind: OrderAs) -> Option<Rank> {
        Rank::read(serde_json::from_str::<&RawValue>(json).unwrap(), kind)
    }

    #[test]
    fn times_are_instants_whatever_their_offset() {
        let same = [
            "2024-02-29T12:00:00Z",
            "2024-02-29T13:00:00+01:00",
            "2024-02-29t07:00:00.000-05:00",
            "2024-02-29T12:00:00z",
        ];
        for text in same {
            assert_eq!(time(text), time(same[0]), "{text}");
            assert!(time(text).is_some(), "{text}");
        }
        assert!(time("2024-02-29T23:59:59.999999999Z") < time("2024-03-01T00:00:00+00:00"));
        assert!(time("2024-06-01T10:00:00+02:00") < time("2024-06-01T09:00:00+00:00"));
        assert!(time("9999-12-30T00:00:00Z") < time("9999-12-31T23:59:59.999999999Z"));
        assert!(time("9999-12-31T23:59:59-23:59") > time("9999-12-31T23:59:59Z"));
        assert!(
            time("0000-01-01T00:00:00+23:59")
                .is_some_and(|time| Some(time) < self::time("0000-01-01T00:00:00Z"))
        );
        for text in [
            "",
            "2024",
            "2024-02-29",
            "2024-02-30T12:00:00Z",
            "2024-02-29T12:00:00",
            "2024-02-29 12:00:00Z",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:00Z",
            "20240229T120000Z",
            "2024-02-29T12:00:00.Z",
            "2024-02-29T12:00:00.1234567890Z",
            "2024-02-29T12:00:00+0100",
            "2024-02-29T12:00:00+01",
            "2024-02-29T12:00:00+24:00",
            "2024-02-29T12:00:00+01:60",
            "2024-02-29T12:00:00+01:00[Europe/Paris]",
            "2024-02-29T12:00:00Z ",
            "2024-02-29T12:00:00\u{e9}",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_what_is_asked_for_or_nothing() {
        let (number, text, when) = ("7", "\"7\"", "\"2024-02-29T12:00:00Z\"");
        let kind = |json: &str, kind| match rank(json, kind) {
            Some(Rank::Number(_)) => "number",
            Some(Rank::Time(_)) => "time",
            Some(Rank::Text(_)) => "text",
            None => "none",
        };
        for (json, kinds) in [
            (number, ["number", "number", "none", "none"]),
            (text, ["text", "number", "text", "none"]),
            (when, ["time", "none", "text", "time"]),
            ("\"a\"", ["text", "none", "text", "none"]),
            ("null", ["none"; 4]),
            ("true", ["none"; 4]),
            ("[1]", ["none"; 4]),
            ("{}", ["none"; 4]),
            ("\"\\ud800\"", ["none"; 4]),
        ] {
            let found = [OrderAs::Auto, OrderAs::Number, OrderAs::Text, OrderAs::Time].map(|k| kind(json, k));
            assert_eq!(found, kinds, "{json}");
        }
        assert_eq!(rank("\"\\u00e9\"", OrderAs::Text), rank("\"é\"", OrderAs::Text));
        assert_eq!(rank("\"7\"", OrderAs::Number), rank("7.0", OrderAs::Number));
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,2})?(e-?[0-9])?",
            "[a-cé\u{10ffff}]{0,2}".prop_map(|text| format!("\"{text}\"")),
            "202[34]-0[1-3]-0[1-9]T1[0-2]:00:00(Z|[+-]0[0-2]:30)".prop_map(|text| format!("\"{text}\"")),
        ]
    }

    proptest! {
        /// Whatever is compared, the order is total.
        #[test]
        fn the_order_is_total(a in scalar(), b in scalar(), c in scalar()) {
            let [a, b, c] = [a, b, c].map(|json| rank(&json, OrderAs::Auto).unwrap());
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a == b, a.cmp(&b).is_eq());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
