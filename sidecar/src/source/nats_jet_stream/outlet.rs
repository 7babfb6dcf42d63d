//! Adds what is published under the source's subject, one message after the other: the next one isn't sent before the stream has
//! the one before it, since a leader that dies may lose one and its successor have the next.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{
        self, Context, ErrorCode,
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use bytes::Bytes;
use freshet_connect::{
    System,
    nats::{self, Link},
};
use tokio::time::timeout;

use super::{CONNECT, JetStream, access, within};
use crate::{
    envelope::write::whole,
    publishing::Envelope,
    source::transport::{Outlet, ReadError, WriteError, Writer},
};

/// By which the stream passes over what it has already.
const ID: &str = "Nats-Msg-Id";
/// The stream that has to be the one which takes it.
const STREAM: &str = "Nats-Expected-Stream";
/// As much as a message's headers are, at most.
const HEAD: usize = 512;

/// How often it is looked whether the server has said that it doesn't permit it.
const LOOK: Duration = Duration::from_millis(50);

/// What a stream never takes, however often it is asked.
const NEVER: [ErrorCode; 4] = [
    ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
    ErrorCode::STREAM_NOT_MATCH,
    ErrorCode::STREAM_SEALED,
];

/// A connection that writes.
pub(in crate::source) struct Adding {
    link: Link,
    context: Context,
    stream: String,
    subject: String,
    /// Most bytes of a message.
    most: usize,
}

impl Outlet for JetStream {
    type Writer = Adding;

    async fn open(&self) -> Result<Adding, WriteError> {
        let unavailable = |error: &dyn std::error::Error| WriteError::Unavailable(error.to_string());
        let target = access::nats(&self.nats, &self.mounts).map_err(|error| unavailable(&error))?;
        let link = nats::connect(&target, &System, CONNECT).await.map_err(|error| unavailable(&error))?;
        let context = jetstream::new(link.client().clone());
        let asked = async { context.get_stream(&self.stream).await.map_err(ReadError::failed) };
        let handle = within(super::REPLY, asked).await.map_err(|error| {
            WriteError::Unavailable(link.denied().map_or_else(|| error.to_string(), str::to_owned))
        })?;
        let subject = self.nats.publish_subject.clone().unwrap_or_default();
        if !handle.cached_info().config.subjects.iter().any(|pattern| captures(pattern, &subject)) {
            return Err(WriteError::Refused(format!(
                "the stream `{}` doesn't capture the subject `{subject}`: add it to the stream's, or name another publishSubject",
                self.stream
            )));
        }
        let of_stream = usize::try_from(handle.cached_info().config.max_message_size).ok();
        let of_server = link.client().server_info().max_payload;
        let most = of_stream.filter(|most| *most > 0).map_or(of_server, |most| most.min(of_server));
        Ok(Adding { link, context, stream: self.stream.clone(), subject, most })
    }
}

impl Writer for Adding {
    fn is_open(&self) -> bool {
        self.link.is_unbroken()
    }

    async fn write(&mut self, messages: &[Envelope], done: &mut usize) -> Result<(), WriteError> {
        let payloads = messages.iter().map(|message| self.payload(message));
        // Before anything is sent.
        let payloads: Vec<_> = payloads.collect::<Result<_, _>>()?;
        for (message, payload) in messages.iter().zip(payloads) {
            self.add(message, payload).await?;
            *done += 1;
        }
        Ok(())
    }
}

impl Adding {
    fn payload(&self, message: &Envelope) -> Result<Bytes, WriteError> {
        let payload = whole(message).ok_or_else(|| WriteError::Refused("a value isn't JSON".to_owned()))?;
        if payload.len() + HEAD > self.most {
            return Err(WriteError::Refused(format!(
                "a message of {} bytes is too large: with its headers it may have {} (the server's max_payload, or the stream's)",
                payload.len(),
                self.most
            )));
        }
        Ok(payload.into())
    }

    async fn add(&self, message: &Envelope, payload: Bytes) -> Result<(), WriteError> {
        let mut headers = HeaderMap::new();
        headers.insert(ID, format!("{}:{}", message.publisher, message.sequence));
        headers.insert(STREAM, self.stream.as_str());
        let said = PublishMessage::build().payload(payload).headers(headers);
        let meaning = |error: &PublishError| self.meaning(error);
        let sent = self.context.send_publish(self.subject.clone(), said).await;
        let mut acked = sent.map_err(|error| meaning(&error))?.into_future();
        loop {
            match timeout(LOOK, &mut acked).await {
                Ok(acked) => return acked.map(drop).map_err(|error| meaning(&error)),
                // What isn't permitted is answered to nobody.
                Err(_) => {
                    if let Some(denied) = self.link.denied() {
                        return Err(WriteError::Refused(denied.to_owned()));
                    }
                }
            }
        }
    }

    /// What an answer, or none, says of what was sent.
    fn meaning(&self, error: &PublishError) -> WriteError {
        let source = std::error::Error::source(error);
        let text = source.map_or_else(|| error.to_string(), ToString::to_string);
        if let Some(denied) = self.link.denied() {
            return WriteError::Refused(denied.to_owned());
        }
        match (error.kind(), source.and_then(|source| source.downcast_ref::<jetstream::Error>())) {
            // It has said so instead of adding it, and will say so again.
            (_, Some(said)) if NEVER.contains(&said.error_code()) => WriteError::Refused(text),
            (PublishErrorKind::MaxPayloadExceeded, _) => WriteError::Refused(text),
            (_, Some(said)) if said.code() == 429 => WriteError::Unavailable(text),
            // A leader that stops may say so of what its followers have.
            (_, Some(said)) if said.code() == 503 && !text.contains("closed") => {
                WriteError::Unavailable(text)
            }
            // It has the same still in hand, or nobody knows.
            (_, Some(_)) => WriteError::Unknown(text),
            // Of a cluster's stream that has no leader now.
            (PublishErrorKind::StreamNotFound, _) => {
                WriteError::Unavailable(format!("nothing takes the subject `{}` now", self.subject))
            }
            _ => WriteError::Unknown(text),
        }
    }
}

/// Whether a stream's subject, which may have wildcards, has this one.
fn captures(pattern: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in pattern.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::captures;

    #[test]
    fn wildcards_are_as_nats_has_them() {
        for (pattern, subject, is) in [
            ("shop.bus", "shop.bus", true),
            ("shop.>", "shop.bus", true),
            ("shop.>", "shop.bus.a", true),
            ("shop.>", "shop", false),
            ("shop.*", "shop.bus", true),
            ("shop.*", "shop.bus.a", false),
            ("*.bus", "shop.bus", true),
            ("shop", "shop.bus", false),
            ("shop.bus.a", "shop.bus", false),
        ] {
            assert_eq!(captures(pattern, subject), is, "{pattern} {subject}");
        }
    }
}
