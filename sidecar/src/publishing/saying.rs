//! What is published, before it is an envelope's bytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::coding::Coding;

/// What a publisher says, without what tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// A key of a cache has this value.
    Value {
        /// The cache's name.
        cache: Arc<str>,
        /// The key's segments; at least one.
        key: Vec<String>,
        /// The bytes, and how an envelope writes them.
        body: Body,
        /// Their media type; `None` for the one that goes with the body.
        content_type: Option<String>,
        /// How they are compressed.
        coding: Option<Coding>,
        /// How long it is good from its start on: whole milliseconds, at least one.
        ttl: Duration,
    },
    /// A key of a cache has none.
    Delete {
        /// The cache's name.
        cache: Arc<str>,
        /// The key's segments; at least one.
        key: Vec<String>,
    },
    /// No key of a cache has one.
    Clear {
        /// The cache's name.
        cache: Arc<str>,
    },
    /// The publisher is there, and hasn't said anything since its last message.
    Beat,
    /// The publisher will say nothing more.
    Bye,
}

/// A value's bytes, and how an envelope that is a text writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// JSON, as it is.
    Json(Bytes),
    /// A text: UTF-8.
    Text(String),
    /// Any bytes, in base64.
    Binary(Bytes),
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who says it: 1 to 16 characters of visible ASCII.
    pub publisher: Arc<str>,
    /// Which of its messages it is, from 1.
    pub sequence: u64,
    /// When it became so: milliseconds since the Unix epoch. Of no meaning where nothing is said of a cache.
    pub start_ms: u64,
    /// What is said.
    pub says: Says,
}

// === impl Body ===

impl Body {
    /// The value's own bytes.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes.clone(),
            Self::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        }
    }

    /// The media type that they have where none is given.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
            Self::Text(_) => "text/plain; charset=utf-8",
            Self::Binary(_) => "application/octet-stream",
        }
    }
}
