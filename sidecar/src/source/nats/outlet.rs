//! Publishes under the source's subject. A server acknowledges nothing, but takes what comes on a connection in its order: when
//! what we say to ourselves has come back, it has all that was said before.

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use freshet_connect::{
    System,
    nats::{self, Link},
};
use futures::StreamExt as _;

use super::{CONNECT, Nats, access};
use crate::{
    envelope::write::whole,
    publishing::Envelope,
    source::transport::{Outlet, WriteError, Writer},
};

/// A connection that publishes.
pub(in crate::source) struct Publishing {
    link: Link,
    subject: String,
    /// A subject of our own, by which we hear ourselves, and the number of what was said there last.
    inbox: String,
    echoes: Subscriber,
    asked: u64,
}

impl Outlet for Nats {
    type Writer = Publishing;

    async fn open(&self) -> Result<Publishing, WriteError> {
        let unavailable = |error: &dyn std::error::Error| WriteError::Unavailable(error.to_string());
        let target = access::nats(&self.server, &self.mounts).map_err(|error| unavailable(&error))?;
        let link = nats::connect(&target, &System, CONNECT).await.map_err(|error| unavailable(&error))?;
        let inbox = link.client().new_inbox();
        let echoes = link.client().subscribe(inbox.clone()).await.map_err(|error| unavailable(&error))?;
        Ok(Publishing { link, subject: self.subject.clone(), inbox, echoes, asked: 0 })
    }
}

impl Writer for Publishing {
    fn is_open(&self) -> bool {
        self.link.is_unbroken()
    }

    async fn write(&mut self, messages: &[Envelope], _done: &mut usize) -> Result<(), WriteError> {
        let payloads = messages.iter().map(|message| self.payload(message));
        // Before anything is sent.
        let payloads: Vec<_> = payloads.collect::<Result<_, _>>()?;
        let client = self.link.client().clone();
        for payload in payloads {
            self.send(&client, &self.subject, payload).await?;
        }
        self.asked += 1;
        let answer = self.asked.to_string();
        self.send(&client, &self.inbox, Bytes::from(answer.clone())).await?;
        while let Some(echo) = self.echoes.next().await {
            if *echo.payload == *answer.as_bytes() {
                // Lets the task go first that hears what isn't permitted: that was told before.
                tokio::task::yield_now().await;
                return match self.link.denied() {
                    Some(denied) => Err(WriteError::Refused(denied.to_owned())),
                    None if self.link.is_unbroken() => Ok(()),
                    None => Err(self.lost()),
                };
            }
        }
        Err(self.lost())
    }
}

impl Publishing {
    fn payload(&self, message: &Envelope) -> Result<Bytes, WriteError> {
        let payload = whole(message).ok_or_else(|| WriteError::Refused("a value isn't JSON".to_owned()))?;
        let most = self.link.client().server_info().max_payload;
        if payload.len() > most {
            let length = payload.len();
            return Err(WriteError::Refused(format!(
                "a message of {length} bytes is too large: the server's max_payload is {most}"
            )));
        }
        Ok(payload.into())
    }

    async fn send(&self, client: &Client, subject: &str, payload: Bytes) -> Result<(), WriteError> {
        client.publish(subject.to_owned(), payload).await.map_err(|_| self.lost())
    }

    fn lost(&self) -> WriteError {
        WriteError::Unknown(format!("the connection to {} is lost", self.link.at()))
    }
}
