//! Numbers, exactly: none is rounded on the way.
//!
//! | JSON | CBOR |
//! |---|---|
//! | an integer | an integer, or a bignum (tags 2 and 3) beyond 64 bits |
//! | with a point or an exponent, just what a double's shortest text says | a float |
//! | any other with a point or an exponent, and `-0.0` | a decimal fraction (tag 4), and a float |
//!
//! RFC 8949 would have a bignum become a base64url text (section 6.1) and other decimals be rounded (section 6.2). JSON can say
//! all of these numbers.

use std::fmt::Write as _;

use num_bigint::BigUint;

use super::Unconvertible;
use crate::views::decimal::Decimal;

/// The tag of a decimal fraction.
pub(super) const FRACTION: u64 = 4;
/// Most bytes of a bignum.
const MOST_BYTES: usize = 1024;
/// Most digits of a number: what so many bytes come to.
const MOST_DIGITS: usize = 2467;
/// The largest exponent of a decimal fraction, in either direction.
const FARTHEST: u64 = 100_000_000_000_000_000;
/// Zeros that are written behind a point before an exponent takes their place.
const ZEROS: usize = 20;

/// An integer of any size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    /// `n`.
    Positive(u64),
    /// `-1 - n`.
    Negative(u64),
    /// `n`, which is larger than 64 bits.
    Big(BigUint),
    /// `-1 - n`, where `n` is larger than 64 bits.
    BigNegative(BigUint),
}

/// A JSON number as CBOR has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Number {
    /// An integer.
    Integer(Integer),
    /// A float.
    Float(f64),
    /// So many times this power of ten.
    Fraction(i64, Integer),
}

/// Reads a number as JSON writes it.
pub(super) fn read(text: &str) -> Result<Number, Unconvertible> {
    if !text.contains(['.', 'e', 'E']) {
        let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        // An integer has one zero.
        return if text == "-0" {
            Ok(Number::Float(-0.0))
        } else {
            Integer::read(is_negative, digits.as_bytes()).map(Number::Integer)
        };
    }
    let exact = Decimal::read(text).ok_or(Unconvertible::Malformed)?;
    let float: f64 = text.parse().map_err(|_| Unconvertible::Malformed)?;
    if float.is_finite() && Decimal::read(&format!("{float:e}")).as_ref() == Some(&exact) {
        return Ok(Number::Float(float));
    }
    let (is_negative, digits, exponent) = exact.parts();
    if exponent.unsigned_abs() > FARTHEST {
        return Err(Unconvertible::Number);
    }
    Ok(Number::Fraction(exponent, Integer::read(is_negative, digits)?))
}

// === impl Integer ===

impl Integer {
    /// Of digits in decimal.
    fn read(is_negative: bool, digits: &[u8]) -> Result<Self, Unconvertible> {
        if digits.len() > MOST_DIGITS {
            return Err(Unconvertible::Number);
        }
        let magnitude = BigUint::parse_bytes(digits, 10).ok_or(Unconvertible::Malformed)?;
        let zero = magnitude == BigUint::ZERO;
        let integer = match (is_negative && !zero, u64::try_from(&magnitude)) {
            (false, Ok(n)) => Self::Positive(n),
            (false, Err(_)) => Self::Big(magnitude),
            (true, _) => Self::of_negative(magnitude - 1_u8),
        };
        match &integer {
            Self::Big(n) | Self::BigNegative(n) if n.bits() > MOST_BYTES as u64 * 8 => {
                Err(Unconvertible::Number)
            }
            _ => Ok(integer),
        }
    }

    fn of_negative(n: BigUint) -> Self {
        u64::try_from(&n).map_or_else(|_| Self::BigNegative(n), Self::Negative)
    }

    /// Of a bignum's bytes, the first of which counts most; of tag 3 if it is negative.
    pub(super) fn of_bytes(is_negative: bool, bytes: &[u8]) -> Result<Self, Unconvertible> {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        if bytes.len() > MOST_BYTES {
            return Err(Unconvertible::Number);
        }
        let n = BigUint::from_bytes_be(bytes);
        Ok(match (is_negative, u64::try_from(&n)) {
            (false, Ok(n)) => Self::Positive(n),
            (false, Err(_)) => Self::Big(n),
            (true, _) => Self::of_negative(n),
        })
    }

    /// Whether it is negative, and its digits.
    fn digits(&self) -> (bool, String) {
        match self {
            Self::Positive(n) => (false, n.to_string()),
            Self::Negative(n) => (true, (u128::from(*n) + 1).to_string()),
            Self::Big(n) => (false, n.to_string()),
            Self::BigNegative(n) => (true, (n + 1_u8).to_string()),
        }
    }

    /// Writes it as JSON.
    pub(super) fn write(&self, json: &mut String) {
        let (is_negative, digits) = self.digits();
        json.extend(is_negative.then_some('-'));
        json.push_str(&digits);
    }
}

/// Writes a float as JSON; what isn't finite is `null`, as RFC 8949 has it.
pub(super) fn write_float(float: f64, json: &mut String) {
    if float.is_finite() {
        // The shortest text that means just this double, with a point or an exponent.
        let _ = write!(json, "{float:?}");
    } else {
        json.push_str("null");
    }
}

/// Writes a decimal fraction as JSON: so many times this power of ten.
pub(super) fn write_fraction(
    exponent: &Integer,
    mantissa: &Integer,
    json: &mut String,
) -> Result<(), Unconvertible> {
    let (is_negative, digits) = mantissa.digits();
    // They count as a part of the exponent when it is read again.
    let zeros = digits.bytes().rev().take_while(|digit| *digit == b'0').count() as u64;
    let (places, exponent) = match *exponent {
        Integer::Positive(n) if n <= FARTHEST - zeros => (None, n),
        Integer::Negative(n) if n < FARTHEST => (usize::try_from(n + 1).ok(), n + 1),
        _ => return Err(Unconvertible::Number),
    };
    json.extend(is_negative.then_some('-'));
    match places {
        Some(places) if places < digits.len() => {
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let _ = write!(json, "{whole}.{fraction}");
        }
        Some(places) if places - digits.len() <= ZEROS => {
            let _ = write!(json, "0.{digits:0>places$}");
        }
        Some(_) => {
            let _ = write!(json, "{digits}e-{exponent}");
        }
        // With a point, so that it isn't taken for an integer.
        None if exponent == 0 => {
            let _ = write!(json, "{digits}.0");
        }
        None => {
            let _ = write!(json, "{digits}e{exponent}");
        }
    }
    Ok(())
}
