//! What tests do to a server by a client of their own.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode, stream::RawMessageErrorKind};
use async_nats::{Client, HeaderMap, Subscriber};
use futures::StreamExt as _;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{CALL, Nats, StreamConfig, StreamInfo};

/// The pause before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// Messages whose storing is awaited together.
const AT_ONCE: usize = 1000;
/// Messages, and their bytes, that are published on one connection: where somebody is slow the server makes publishers wait.
const BLOCK: (usize, usize) = (10_000, 8 << 20);
/// What async-nats runs on; the tests are synchronous.
static RUNTIME: LazyLock<Result<Runtime, std::io::Error>> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build());

/// A message as a stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it is in its stream, from 1 on.
    pub sequence: u64,
    /// Its subject.
    pub subject: String,
    /// Its headers, by name, in their order for each name.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// When the server stored it, in milliseconds since 1970.
    pub stored_ms: i64,
}

/// What somebody hears who listens to a subject.
#[derive(Debug)]
pub struct Subscription {
    messages: Subscriber,
    // Messages come only while it is there.
    _client: Client,
}

/// A message that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its subject.
    pub subject: String,
    /// Its headers, by name, in their order for each name.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl Subscription {
    /// The next message; an error if none comes within 5 s.
    pub fn hear(&mut self) -> Result<Heard> {
        let message = bounded(async { self.messages.next().await.context("the subscription has ended") });
        let message = message.context("waiting for a message")?;
        Ok(Heard {
            subject: message.subject.to_string(),
            headers: message.headers.as_ref().map(pairs).unwrap_or_default(),
            payload: message.payload.to_vec(),
        })
    }
}

impl Nats {
    /// Listens to a subject, which may have wildcards; returns when the server knows.
    pub fn subscribe(&self, subject: &str) -> Result<Subscription> {
        self.run(&format!("listening to {subject}"), async |client| {
            let messages = client.subscribe(subject.to_owned()).await?;
            client.flush().await?;
            Ok(Subscription { messages, _client: client })
        })
    }

    /// Publishes a message without asking whether anything has stored it; returns when the server has it.
    pub fn publish(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Result<()> {
        self.run(&format!("publishing to {subject}"), async |client| {
            let payload = payload.to_vec().into();
            client.publish_with_headers(subject.to_owned(), map(headers), payload).await?;
            arrive(&client).await
        })
    }

    /// [`Nats::publish`] of the same message so many times; returns when the server has them all.
    pub fn publish_many(&self, subject: &str, payload: &[u8], count: usize) -> Result<()> {
        let payload = bytes::Bytes::copy_from_slice(payload);
        let block = BLOCK.0.min(BLOCK.1 / payload.len().max(1)).max(1);
        for from in (0..count).step_by(block) {
            self.run(&format!("publishing to {subject}"), async |client| {
                for _ in from..count.min(from + block) {
                    client.publish(subject.to_owned(), payload.clone()).await?;
                }
                arrive(&client).await
            })?;
        }
        Ok(())
    }

    /// Publishes a message to a stream, and returns its sequence there when the stream has it.
    pub fn store(&self, subject: &str, headers: &[(&str, &str)], payload: &[u8]) -> Result<u64> {
        self.jetstream(&format!("storing under {subject}"), async |jetstream| {
            let payload = payload.to_vec().into();
            let ack = jetstream.publish_with_headers(subject.to_owned(), map(headers), payload).await?;
            Ok(ack.await?.sequence)
        })
    }

    /// [`Nats::store`] of the same message so many times, in their order.
    pub fn store_many(&self, subject: &str, payload: &[u8], count: usize) -> Result<()> {
        let payload = bytes::Bytes::copy_from_slice(payload);
        for from in (0..count).step_by(AT_ONCE) {
            self.jetstream(&format!("storing under {subject}"), async |jetstream| {
                let mut acks = Vec::with_capacity(AT_ONCE);
                for _ in from..count.min(from + AT_ONCE) {
                    acks.push(jetstream.publish(subject.to_owned(), payload.clone()).await?);
                }
                for ack in acks {
                    ack.await?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes a stream that stores what is published to these subjects, in files, with all other settings as the
    /// server has them by default.
    pub fn create_stream(&self, name: &str, subjects: &[&str]) -> Result<()> {
        let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
        self.create_stream_with(&StreamConfig { name: name.to_owned(), subjects, ..StreamConfig::default() })
    }

    /// Makes a stream with these settings.
    pub fn create_stream_with(&self, config: &StreamConfig) -> Result<()> {
        self.jetstream(&format!("making the stream {}", config.name), async |jetstream| {
            loop {
                let Err(error) = jetstream.create_stream(config).await else { return Ok(()) };
                let code = match error.kind() {
                    CreateStreamErrorKind::JetStream(error) => error.error_code(),
                    _ => return Err(error.into()),
                };
                // The files of one that had the name until just now may not all be gone.
                if code != ErrorCode::STREAM_CREATE {
                    return Err(error.into());
                }
                tokio::time::sleep(AGAIN).await;
            }
        })
    }

    /// Deletes a stream with its messages.
    pub fn delete_stream(&self, name: &str) -> Result<()> {
        self.jetstream(&format!("deleting the stream {name}"), async |jetstream| {
            jetstream.delete_stream(name).await?;
            Ok(())
        })
    }

    /// What the server says of a stream: its settings, first and last sequence, number of messages, and when it was
    /// made.
    pub fn stream(&self, name: &str) -> Result<StreamInfo> {
        self.jetstream(&format!("asking for the stream {name}"), async |jetstream| {
            Ok(jetstream.get_stream(name).await?.cached_info().clone())
        })
    }

    /// Removes all messages of a stream, which goes on counting where it was.
    pub fn purge(&self, name: &str) -> Result<()> {
        self.jetstream(&format!("purging the stream {name}"), async |jetstream| {
            jetstream.get_stream(name).await?.purge().await?;
            Ok(())
        })
    }

    /// Removes the messages of a stream before this sequence.
    pub fn purge_before(&self, name: &str, sequence: u64) -> Result<()> {
        self.jetstream(&format!("purging the stream {name} before {sequence}"), async |jetstream| {
            jetstream.get_stream(name).await?.purge().sequence(sequence).await?;
            Ok(())
        })
    }

    /// Deletes one message of a stream.
    pub fn delete_message(&self, name: &str, sequence: u64) -> Result<()> {
        self.jetstream(&format!("deleting message {sequence} of {name}"), async |jetstream| {
            if !jetstream.get_stream(name).await?.delete_message(sequence).await? {
                bail!("the server has not done it");
            }
            Ok(())
        })
    }

    /// All messages that a stream has, in order.
    pub fn messages(&self, name: &str) -> Result<Vec<Stored>> {
        self.jetstream(&format!("reading the stream {name}"), async |jetstream| {
            let stream = jetstream.get_stream(name).await?;
            let state = stream.cached_info().state.clone();
            let mut messages = Vec::new();
            for sequence in state.first_sequence..=state.last_sequence {
                match stream.get_raw_message(sequence).await {
                    Ok(message) => messages.push(stored(&message)),
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {}
                    Err(error) => return Err(error).with_context(|| format!("message {sequence}")),
                }
            }
            Ok(messages)
        })
    }

    /// The messages that a stream has from this sequence on, in order, so many at most.
    pub fn messages_from(&self, name: &str, first: u64, most: usize) -> Result<Vec<Stored>> {
        self.jetstream(&format!("reading the stream {name} from {first}"), async |jetstream| {
            let config = pull::Config {
                deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first.max(1) },
                ack_policy: AckPolicy::None,
                memory_storage: true,
                inactive_threshold: CALL,
                ..pull::Config::default()
            };
            let consumer = jetstream.create_consumer_on_stream(config, name).await?;
            let mut batch = consumer.fetch().max_messages(most).messages().await?;
            let mut messages = Vec::new();
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| anyhow!("{error}"))?;
                let info = message.info().map_err(|error| anyhow!("{error}"))?;
                messages.push(Stored {
                    sequence: info.stream_sequence,
                    stored_ms: milliseconds(info.published.unix_timestamp_nanos()),
                    subject: message.subject.to_string(),
                    headers: message.headers.as_ref().map(pairs).unwrap_or_default(),
                    payload: message.payload.to_vec(),
                });
            }
            Ok(messages)
        })
    }

    fn jetstream<T>(&self, what: &str, work: impl AsyncFnOnce(jetstream::Context) -> Result<T>) -> Result<T> {
        self.run(what, async |client| work(jetstream::new(client)).await)
    }

    /// Connects, and does something within [`CALL`].
    fn run<T>(&self, what: &str, work: impl AsyncFnOnce(Client) -> Result<T>) -> Result<T> {
        let all = async {
            let client = self.options()?.connect(self.url()).await.context("connecting")?;
            work(client).await
        };
        bounded(all).with_context(|| what.to_owned())
    }
}

/// Returns when the server has all that the client has said.
pub(super) async fn arrive(client: &Client) -> Result<()> {
    // It says it to ourselves, too, after all before it; a flush only hands it to the network.
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, bytes::Bytes::new()).await?;
    echo.next().await.context("the connection has ended").map(drop)
}

pub(super) fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = RUNTIME.as_ref().map_err(|error| anyhow::anyhow!("no runtime: {error}"))?;
    runtime.block_on(async { timeout(CALL, work).await })?
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    map
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let pairs = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())));
    // The map's own order is another one each time.
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    pairs
}

fn stored(message: &jetstream::message::StreamMessage) -> Stored {
    Stored {
        sequence: message.sequence,
        subject: message.subject.to_string(),
        headers: pairs(&message.headers),
        payload: message.payload.to_vec(),
        stored_ms: milliseconds(message.time.unix_timestamp_nanos()),
    }
}

fn milliseconds(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds / 1_000_000).unwrap_or_default()
}
