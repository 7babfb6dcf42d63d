//! NATS JetStream: a stream in files for each database, with its Debezium's topics as subjects.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Carries, Entry, Keeps, Newest};
use crate::process::debezium::{Settings, Sink};
use crate::process::nats::{Stored, StreamConfig};
use crate::process::{Child, Nats};
use crate::torture::shape::Source;

/// How long messages stay: for the disk's sake, and longer than anybody is stopped.
const AGE: Duration = Duration::from_mins(10);

/// Messages that are read at once.
const BLOCK: usize = 50_000;

/// The server and its streams.
pub(crate) struct Streams {
    nats: Nats,
}

impl Streams {
    /// Starts a server, and makes a stream for each database.
    pub(super) fn start(sources: &[Source]) -> Result<Self> {
        let streams = Self { nats: Nats::builder().jetstream().start()? };
        sources.iter().try_for_each(|source| streams.make(*source))?;
        Ok(streams)
    }

    /// The server.
    pub(crate) fn nats(&self) -> &Nats {
        &self.nats
    }

    /// Makes a database's stream.
    pub(crate) fn make(&self, source: Source) -> Result<()> {
        let name = source.name();
        self.nats.create_stream_with(&StreamConfig {
            name: name.to_owned(),
            // Changes of definitions, everything else, and Debezium's own heartbeats.
            subjects: vec![name.to_owned(), format!("{name}.>"), format!("__debezium-heartbeat.{name}")],
            max_age: AGE,
            ..StreamConfig::default()
        })
    }

    /// Starts the server again, and then once more without what was stored meanwhile.
    pub(crate) fn restart_without(
        &mut self,
        meanwhile: impl FnOnce(&Newest<'_>) -> Result<()>,
    ) -> Result<()> {
        self.nats.restart_without(|nats| {
            meanwhile(&|stream| newest(nats, stream, None, 1)?.pop().context("an empty stream"))
        })
    }
}

impl Carries for Streams {
    fn first_word(&self) -> &'static [u8] {
        // The server says who it is as soon as somebody comes.
        &[]
    }

    fn process(&mut self) -> Option<&mut Child> {
        Some(self.nats.process())
    }

    fn restart(&mut self) -> Result<()> {
        self.nats.restart()
    }
}

impl Keeps for Streams {
    fn sink(&self) -> Sink<'_> {
        (&self.nats).into()
    }

    fn settings(&self, settings: Settings, source: Source, sink: SocketAddr) -> Settings {
        settings
            .set("debezium.sink.nats-jetstream.url", &format!("nats://{sink}"))
            .set("debezium.sink.nats-jetstream.stream-name", source.name())
            .set("debezium.sink.nats-jetstream.create-stream", "false")
    }

    fn added(&self, stream: &str) -> Result<u64> {
        Ok(self.nats.stream(stream)?.state.last_sequence)
    }

    fn after(&self, stream: &str, mark: &str) -> Result<Vec<Entry>> {
        let first = mark.parse::<u64>().context("a sequence")? + 1;
        Ok(self.nats.messages_from(stream, first, BLOCK)?.iter().map(entry).collect())
    }

    fn newest(&self, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>> {
        newest(&self.nats, stream, before, most)
    }
}

fn newest(nats: &Nats, stream: &str, before: Option<&str>, most: usize) -> Result<Vec<Entry>> {
    let end = match before {
        Some(mark) => mark.parse().context("a sequence")?,
        None => nats.stream(stream)?.state.last_sequence + 1,
    };
    let first = end.saturating_sub(most as u64).max(1);
    let read = nats.messages_from(stream, first, most)?;
    Ok(read.iter().rev().filter(|message| message.sequence < end).map(entry).collect())
}

fn entry(message: &Stored) -> Entry {
    let headers = message.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Entry::new(message.sequence.to_string(), None, Some(&message.payload), headers)
}
