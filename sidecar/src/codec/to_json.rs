//! CBOR as JSON: the advice of RFC 8949, section 6.1.
//!
//! It gives what JSON can't say a substitute: bytes become a text in base64url, or what tags 21 to 23 say; a float that isn't
//! finite, `undefined` and unassigned simple values become `null`; other tags are left out, and what is in them stays. Keys
//! that are integers become their digits.

use std::borrow::Cow;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ciborium_ll::{Decoder, Header, simple, tag};

use super::{
    MOST_DEPTH, Unconvertible,
    number::{self, FRACTION, Integer},
};

/// The same data in JSON.
pub(super) fn convert(cbor: &[u8]) -> Result<String, Unconvertible> {
    let mut reader = Reader { rest: cbor };
    let mut json = String::with_capacity(cbor.len() * 2);
    let head = reader.head()?;
    reader.item(head, Within { depth: 0, bytes: Text::Base64Url }, &mut json)?;
    if reader.rest.is_empty() { Ok(json) } else { Err(Unconvertible::Malformed) }
}

/// Where an item is.
#[derive(Clone, Copy)]
struct Within {
    /// In how many others.
    depth: usize,
    /// What its byte strings become.
    bytes: Text,
}

/// How bytes are written as text.
#[derive(Clone, Copy)]
enum Text {
    Base64Url,
    Base64,
    Base16,
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The head of an item.
    fn head(&mut self) -> Result<Header, Unconvertible> {
        let mut decoder = Decoder::from(self.rest);
        let head = decoder.pull().map_err(|_| Unconvertible::Malformed)?;
        let length = decoder.offset();
        if let [0xf8, 0..32, ..] = self.rest {
            // What has one byte isn't written in two.
            return Err(Unconvertible::Malformed);
        }
        self.cut(length)?;
        Ok(head)
    }

    fn cut(&mut self, length: usize) -> Result<&'a [u8], Unconvertible> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Unconvertible::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn item(&mut self, head: Header, within: Within, json: &mut String) -> Result<(), Unconvertible> {
        match head {
            Header::Positive(n) => Integer::Positive(n).write(json),
            Header::Negative(n) => Integer::Negative(n).write(json),
            Header::Float(float) => number::write_float(float, json),
            Header::Simple(simple::TRUE) => json.push_str("true"),
            Header::Simple(simple::FALSE) => json.push_str("false"),
            Header::Simple(_) => json.push_str("null"),
            Header::Text(length) => write_string(&self.text(length)?, json),
            Header::Bytes(length) => {
                let bytes = self.bytes(length)?;
                json.push('"');
                within.bytes.write(&bytes, json);
                json.push('"');
            }
            Header::Array(length) => self.array(length, within.deeper()?, json)?,
            Header::Map(length) => self.map(length, within.deeper()?, json)?,
            Header::Tag(tag) => self.tagged(tag, within, json)?,
            Header::Break => return Err(Unconvertible::Malformed),
        }
        Ok(())
    }

    /// The head of the next of `left` elements, or of however many there are before a break.
    fn next(&mut self, left: &mut Option<usize>) -> Result<Option<Header>, Unconvertible> {
        match left {
            Some(0) => Ok(None),
            Some(left) => {
                *left -= 1;
                self.head().map(Some)
            }
            None => Ok(Some(self.head()?).filter(|head| *head != Header::Break)),
        }
    }

    fn array(
        &mut self,
        mut left: Option<usize>,
        within: Within,
        json: &mut String,
    ) -> Result<(), Unconvertible> {
        let start = json.len();
        json.push('[');
        while let Some(head) = self.next(&mut left)? {
            if json.len() > start + 1 {
                json.push(',');
            }
            self.item(head, within, json)?;
        }
        json.push(']');
        Ok(())
    }

    fn map(
        &mut self,
        mut left: Option<usize>,
        within: Within,
        json: &mut String,
    ) -> Result<(), Unconvertible> {
        let mut keys = Vec::new();
        json.push('{');
        while let Some(head) = self.next(&mut left)? {
            if !keys.is_empty() {
                json.push(',');
            }
            let start = json.len();
            match head {
                Header::Text(length) => write_string(&self.text(length)?, json),
                Header::Positive(_) | Header::Negative(_) => {
                    json.push('"');
                    self.item(head, within, json)?;
                    json.push('"');
                }
                Header::Break => return Err(Unconvertible::Malformed),
                _ => return Err(Unconvertible::Key),
            }
            keys.push(start..json.len());
            json.push(':');
            let head = self.head()?;
            self.item(head, within, json)?;
        }
        json.push('}');
        // A text is written in one way: where the keys are equal, these are.
        keys.sort_unstable_by(|a, b| json[a.clone()].cmp(&json[b.clone()]));
        if keys.windows(2).any(|pair| json[pair[0].clone()] == json[pair[1].clone()]) {
            return Err(Unconvertible::DuplicateKey);
        }
        Ok(())
    }

    fn tagged(&mut self, tag: u64, mut within: Within, json: &mut String) -> Result<(), Unconvertible> {
        let head = self.head()?;
        match tag {
            tag::BIGPOS | tag::BIGNEG => {
                self.bignum(tag, head)?.write(json);
                return Ok(());
            }
            FRACTION => {
                let Header::Array(mut left @ (None | Some(2))) = head else {
                    return Err(Unconvertible::Malformed);
                };
                let exponent = self.element(&mut left)?;
                let exponent = self.integer(exponent)?;
                let mantissa = self.element(&mut left)?;
                let mantissa = self.integer(mantissa)?;
                if self.next(&mut left)?.is_some() {
                    return Err(Unconvertible::Malformed);
                }
                return number::write_fraction(&exponent, &mantissa, json);
            }
            21 => within.bytes = Text::Base64Url,
            22 => within.bytes = Text::Base64,
            23 => within.bytes = Text::Base16,
            _ => {}
        }
        self.item(head, within.deeper()?, json)
    }

    fn element(&mut self, left: &mut Option<usize>) -> Result<Header, Unconvertible> {
        self.next(left)?.ok_or(Unconvertible::Malformed)
    }

    fn integer(&mut self, head: Header) -> Result<Integer, Unconvertible> {
        match head {
            Header::Positive(n) => Ok(Integer::Positive(n)),
            Header::Negative(n) => Ok(Integer::Negative(n)),
            Header::Tag(tag @ (tag::BIGPOS | tag::BIGNEG)) => {
                let head = self.head()?;
                self.bignum(tag, head)
            }
            _ => Err(Unconvertible::Malformed),
        }
    }

    fn bignum(&mut self, tag: u64, head: Header) -> Result<Integer, Unconvertible> {
        let Header::Bytes(length) = head else { return Err(Unconvertible::Malformed) };
        Integer::of_bytes(tag == tag::BIGNEG, &self.bytes(length)?)
    }

    /// A byte string, whole or in pieces.
    fn bytes(&mut self, length: Option<usize>) -> Result<Cow<'a, [u8]>, Unconvertible> {
        let Some(length) = length else {
            let mut all = Vec::new();
            loop {
                match self.head()? {
                    Header::Bytes(Some(length)) => all.extend_from_slice(self.cut(length)?),
                    Header::Break => return Ok(all.into()),
                    _ => return Err(Unconvertible::Malformed),
                }
            }
        };
        self.cut(length).map(Cow::Borrowed)
    }

    /// A text, whole or in pieces, each of which is one.
    fn text(&mut self, length: Option<usize>) -> Result<Cow<'a, str>, Unconvertible> {
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| Unconvertible::Malformed);
        let Some(length) = length else {
            let mut all = String::new();
            loop {
                match self.head()? {
                    Header::Text(Some(length)) => all.push_str(utf8(self.cut(length)?)?),
                    Header::Break => return Ok(all.into()),
                    _ => return Err(Unconvertible::Malformed),
                }
            }
        };
        utf8(self.cut(length)?).map(Cow::Borrowed)
    }
}

impl Within {
    fn deeper(self) -> Result<Self, Unconvertible> {
        if self.depth < MOST_DEPTH {
            Ok(Self { depth: self.depth + 1, ..self })
        } else {
            Err(Unconvertible::TooDeep)
        }
    }
}

impl Text {
    fn write(self, bytes: &[u8], json: &mut String) {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        match self {
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.encode_string(bytes, json),
            Self::Base64 => BASE64_STANDARD.encode_string(bytes, json),
            Self::Base16 => {
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                json.extend(digits.map(|digit| char::from(HEX[usize::from(digit)])));
            }
        }
    }
}

/// Writes a text as JSON, quotes included.
fn write_string(text: &str, json: &mut String) {
    let quoted = serde_json::Value::from(text).to_string();
    json.push_str(&quoted);
}
