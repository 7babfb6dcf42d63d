//! Somebody who publishes all the time, on a connection of his own.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use async_nats::{Client, ConnectOptions};

use super::operations::{arrive, bounded};

/// A connection that publishes under one subject.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    subject: String,
}

impl Publisher {
    /// Connects to a server that lets anybody in.
    pub fn connect(address: SocketAddr, subject: &str) -> Result<Self> {
        let connecting = async {
            let options = ConnectOptions::new().max_reconnects(1);
            options.connect(address.to_string()).await.context("connecting")
        };
        Ok(Self { client: bounded(connecting)?, subject: subject.to_owned() })
    }

    /// Publishes messages in their order; returns when the server has them all.
    pub fn publish(&self, payloads: &[String]) -> Result<()> {
        let all = async {
            for payload in payloads {
                self.client.publish(self.subject.clone(), payload.clone().into()).await?;
            }
            arrive(&self.client).await
        };
        bounded(all).with_context(|| format!("publishing to {}", self.subject))
    }
}
