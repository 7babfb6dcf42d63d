//! What is stored of a value.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned};

/// Why a value can't be encoded or decoded.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How values become bytes and back. A stored value that can't be decoded is loaded anew and replaced, so a changed codec
/// mends itself.
pub trait Codec<T> {
    /// Stored with the bytes.
    fn content_type(&self) -> Cow<'static, str>;
    /// The bytes of a value.
    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError>;
    /// The value of bytes.
    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError>;
    /// What reads are sent with as `Accept`: the types that are decoded. `None`: nothing, and what is stored comes as it is.
    fn accept(&self) -> Option<&'static str> {
        None
    }
    /// The value of bytes that are stored with this content type.
    fn decode_type(&self, content_type: &str, bytes: &[u8]) -> Result<T, BoxError> {
        let _ = content_type;
        self.decode(bytes)
    }
}

/// CBOR by serde. It reads JSON, too, as it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cbor;

/// What is stored is of a type that isn't read.
#[derive(Debug, thiserror::Error)]
#[error("the value is of type `{0}`, neither CBOR nor JSON")]
struct OtherType(String);

impl<T: Serialize + DeserializeOwned> Codec<T> for Cbor {
    fn content_type(&self) -> Cow<'static, str> {
        "application/cbor".into()
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        to_cbor(value)
    }

    fn decode(&self, mut bytes: &[u8]) -> Result<T, BoxError> {
        let value = ciborium::from_reader(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err("something is behind the value".into()) }
    }

    fn accept(&self) -> Option<&'static str> {
        Some("application/cbor, application/json, */*;q=0.1")
    }

    fn decode_type(&self, content_type: &str, bytes: &[u8]) -> Result<T, BoxError> {
        if is(content_type, "cbor") {
            self.decode(bytes)
        } else if is(content_type, "json") {
            Json.decode(bytes)
        } else {
            Err(OtherType(content_type.to_owned()).into())
        }
    }
}

/// A value's bytes as [`Cbor`] writes them, whatever is read again.
pub(crate) fn to_cbor<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, BoxError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)?;
    Ok(bytes)
}

/// Whether values of this type are written in `cbor`, or in `json`.
fn is(content_type: &str, codec: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.strip_suffix(codec).is_some_and(|before| before == "application/" || before.ends_with('+'))
}

/// JSON by serde. It reads CBOR, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn content_type(&self) -> Cow<'static, str> {
        "application/json".into()
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>, BoxError> {
        Ok(serde_json::to_vec(value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    fn accept(&self) -> Option<&'static str> {
        Some("application/json, application/cbor;q=0.9, */*;q=0.1")
    }

    fn decode_type(&self, content_type: &str, bytes: &[u8]) -> Result<T, BoxError> {
        if is(content_type, "cbor") { Cbor.decode(bytes) } else { self.decode(bytes) }
    }
}

/// Bytes as they are, with this content type.
#[derive(Clone, Debug)]
pub struct Bytes(pub Cow<'static, str>);

impl Codec<Vec<u8>> for Bytes {
    fn content_type(&self) -> Cow<'static, str> {
        self.0.clone()
    }

    fn encode(&self, value: &Vec<u8>) -> Result<Vec<u8>, BoxError> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        Ok(bytes.to_vec())
    }
}
