//! JSON as CBOR: the advice of RFC 8949, section 6.2, in the core deterministic encoding of section 4.2.1.

use std::borrow::Cow;

use ciborium_ll::{Encoder, Header, simple, tag};
use num_bigint::BigUint;
use serde_json::value::RawValue;

use super::{
    MOST_DEPTH, Unconvertible,
    number::{self, Integer, Number},
};

/// The same data in CBOR.
pub(super) fn convert(json: &[u8]) -> Result<Vec<u8>, Unconvertible> {
    // Whether it is JSON is decided here; what follows only cuts what is.
    let whole: &RawValue = serde_json::from_slice(json).map_err(|_| Unconvertible::Malformed)?;
    let mut cbor = Vec::with_capacity(json.len());
    Cutter { rest: whole.get() }.value(&mut cbor, 0)?;
    Ok(cbor)
}

/// A text without its quotes and escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Cuts a text that is JSON into its tokens.
struct Cutter<'a> {
    rest: &'a str,
}

/// Where an entry of a map is in what was written.
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

impl<'a> Cutter<'a> {
    fn value(&mut self, cbor: &mut Vec<u8>, depth: usize) -> Result<(), Unconvertible> {
        match self.peek() {
            b'{' => self.object(cbor, deeper(depth)?),
            b'[' => self.array(cbor, deeper(depth)?),
            b'"' => self.string(cbor),
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r']);
                match self.cut(end.unwrap_or(self.rest.len())) {
                    "true" => write(Header::Simple(simple::TRUE), cbor),
                    "false" => write(Header::Simple(simple::FALSE), cbor),
                    "null" => write(Header::Simple(simple::NULL), cbor),
                    digits => write_number(&number::read(digits)?, cbor),
                }
                Ok(())
            }
        }
    }

    fn array(&mut self, cbor: &mut Vec<u8>, depth: usize) -> Result<(), Unconvertible> {
        let (start, mut count) = (cbor.len(), 0);
        self.cut(1);
        while !self.ends(b']') {
            self.value(cbor, depth)?;
            count += 1;
        }
        cbor.splice(start..start, head(Header::Array(Some(count))));
        Ok(())
    }

    fn object(&mut self, cbor: &mut Vec<u8>, depth: usize) -> Result<(), Unconvertible> {
        let start = cbor.len();
        let mut entries = Vec::new();
        self.cut(1);
        while !self.ends(b'}') {
            let start = cbor.len();
            self.string(cbor)?;
            let key_end = cbor.len();
            self.peek();
            // The colon.
            self.cut(1);
            self.value(cbor, depth)?;
            entries.push(Entry { start, key_end, end: cbor.len() });
        }
        let key = |entry: &Entry| &cbor[entry.start..entry.key_end];
        let is_sorted = entries.is_sorted_by(|a, b| key(a) < key(b));
        let mut written = head(Header::Map(Some(entries.len())));
        if is_sorted {
            cbor.splice(start..start, written);
            return Ok(());
        }
        entries.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if entries.windows(2).any(|pair| key(&pair[0]) == key(&pair[1])) {
            return Err(Unconvertible::DuplicateKey);
        }
        written.reserve(cbor.len() - start);
        for entry in &entries {
            written.extend_from_slice(&cbor[entry.start..entry.end]);
        }
        cbor.truncate(start);
        cbor.append(&mut written);
        Ok(())
    }

    fn string(&mut self, cbor: &mut Vec<u8>) -> Result<(), Unconvertible> {
        self.peek();
        let mut end = 1;
        let bytes = self.rest.as_bytes();
        while let Some(byte) = bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let text: Text<'a> = serde_json::from_str(self.cut(end + 1)).map_err(|_| Unconvertible::Surrogate)?;
        write_text(&text.0, cbor);
        Ok(())
    }

    /// Takes what ends an array or object, or what is between two of its elements.
    fn ends(&mut self, end: u8) -> bool {
        let next = self.peek();
        if next == end || next == b',' {
            self.cut(1);
        }
        // The end of the text, which JSON doesn't have here, ends all.
        next == end || next == 0
    }

    /// The next byte that isn't space; 0 at the end.
    fn peek(&mut self) -> u8 {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.as_bytes().first().copied().unwrap_or(0)
    }

    /// Takes so many bytes.
    fn cut(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

fn deeper(depth: usize) -> Result<usize, Unconvertible> {
    if depth < MOST_DEPTH { Ok(depth + 1) } else { Err(Unconvertible::TooDeep) }
}

fn write(header: Header, cbor: &mut Vec<u8>) {
    // A vector takes all that is written.
    let _ = Encoder::from(cbor).push(header);
}

fn head(header: Header) -> Vec<u8> {
    let mut head = Vec::with_capacity(9);
    write(header, &mut head);
    head
}

fn write_text(text: &str, cbor: &mut Vec<u8>) {
    write(Header::Text(Some(text.len())), cbor);
    cbor.extend_from_slice(text.as_bytes());
}

fn write_number(number: &Number, cbor: &mut Vec<u8>) {
    match number {
        Number::Float(float) => write(Header::Float(*float), cbor),
        Number::Integer(integer) => write_integer(integer, cbor),
        Number::Fraction(exponent, mantissa) => {
            write(Header::Tag(number::FRACTION), cbor);
            write(Header::Array(Some(2)), cbor);
            let exponent = match u64::try_from(*exponent) {
                Ok(n) => Integer::Positive(n),
                Err(_) => Integer::Negative(exponent.unsigned_abs() - 1),
            };
            write_integer(&exponent, cbor);
            write_integer(mantissa, cbor);
        }
    }
}

fn write_integer(integer: &Integer, cbor: &mut Vec<u8>) {
    let mut big = |tag, n: &BigUint| {
        let bytes = n.to_bytes_be();
        write(Header::Tag(tag), cbor);
        write(Header::Bytes(Some(bytes.len())), cbor);
        cbor.extend_from_slice(&bytes);
    };
    match integer {
        Integer::Big(n) => big(tag::BIGPOS, n),
        Integer::BigNegative(n) => big(tag::BIGNEG, n),
        Integer::Positive(n) => write(Header::Positive(*n), cbor),
        Integer::Negative(n) => write(Header::Negative(*n), cbor),
    }
}
