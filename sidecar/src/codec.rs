//! Codecs: the two ways to write the same data that are understood here, JSON and CBOR, and one made from the other.
//!
//! Values are bytes with a media type, and are served as they were stored. Something looks inside only where a reader asks
//! for the other codec, or where a view ranks what an upstream has answered in CBOR. All other types are passed through.
//!
//! What is made is a function of the bytes alone, so that it has the same entity tag in all pods: CBOR is written in the core
//! deterministic encoding of RFC 8949, section 4.2.1; JSON without spaces, members in the order in which they stand. What can't
//! be said in the other codec isn't converted at all, but for what section 6.1 gives a substitute for.

use bytes::Bytes;

mod media;
mod number;
mod to_cbor;
mod to_json;

pub use media::{Media, Range};

/// How many arrays, maps and tags may be within each other.
const MOST_DEPTH: usize = 128;

/// How data are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// JSON, RFC 8259.
    Json,
    /// CBOR, RFC 8949.
    Cbor,
}

/// Why bytes can't be written in the other codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconvertible {
    /// They aren't what their type says, or not whole, or something is behind them.
    #[error("it isn't well-formed")]
    Malformed,
    /// Too many arrays, maps and tags are within each other.
    #[error("it nests deeper than {MOST_DEPTH}")]
    TooDeep,
    /// A map has a key twice. CBOR forbids that, and of JSON nobody knows which counts.
    #[error("a map has a key twice")]
    DuplicateKey,
    /// A key is neither a text nor an integer of 64 bits.
    #[error("a map has a key that is neither a text nor an integer")]
    Key,
    /// A text has half a surrogate pair, which is no character.
    #[error("a text has half a surrogate pair")]
    Surrogate,
    /// A number has more digits, or a larger exponent, than anybody computes with.
    #[error("a number has too many digits")]
    Number,
}

// === impl Codec ===

impl Codec {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Json => Self::Cbor,
            Self::Cbor => Self::Json,
        }
    }

    /// The same data in the other codec; `bytes` are of this one.
    pub fn convert(self, bytes: &[u8]) -> Result<Bytes, Unconvertible> {
        match self {
            Self::Json => to_cbor::convert(bytes).map(Bytes::from),
            Self::Cbor => to_json::convert(bytes).map(Bytes::from),
        }
    }
}

#[cfg(test)]
mod tests;
