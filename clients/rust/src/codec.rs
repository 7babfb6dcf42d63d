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
}

/// JSON by serde.
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
