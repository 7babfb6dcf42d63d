//! The stream of a NATS with JetStream.

use anyhow::{Context as _, Result};
use freshet_e2e::process::debezium::Sink;
use freshet_e2e::process::nats::{Nats, Stored, VERSION};
use serde::Serialize;

use super::{Entry, Server};

/// A NATS in which Debezium makes its stream.
pub(super) struct Stream {
    nats: Nats,
}

impl Server for Stream {
    type Entry = StreamMessage;

    const BEAT: &str = "__debezium-heartbeat";

    fn start() -> Result<Self> {
        Ok(Self { nats: Nats::builder().jetstream().start()? })
    }

    fn sink(&self) -> Sink<'_> {
        Sink::JetStream(&self.nats)
    }

    fn version(&self) -> Result<(&'static str, String)> {
        Ok(("nats", VERSION.trim_start_matches('v').to_owned()))
    }

    fn entries(&self) -> Result<Vec<StreamMessage>> {
        self.nats.messages(Sink::STREAM)?.into_iter().map(StreamMessage::of).collect()
    }
}

/// One message of the stream. The sink writes none without a value, and no key.
#[derive(Serialize)]
pub(super) struct StreamMessage {
    subject: String,
    sequence: u64,
    /// When the server stored it, in milliseconds since 1970.
    timestamp: i64,
    headers: Vec<(String, String)>,
    payload: String,
}

impl StreamMessage {
    fn of(message: Stored) -> Result<Self> {
        Ok(Self {
            subject: message.subject,
            sequence: message.sequence,
            timestamp: message.stored_ms,
            headers: message.headers,
            payload: String::from_utf8(message.payload).context("not text")?,
        })
    }
}

impl Entry for StreamMessage {
    fn holds(&self, text: &str) -> bool {
        self.payload.contains(text) || self.subject.contains(text)
    }
}
