//! Transports that keep nothing. What was committed is said once, and whoever doesn't listen then never hears it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Carries;
use crate::process::nats::Publisher;
use crate::process::{Child, Nats, Redis};
use crate::torture::shape::Source;

/// How long a server may take to say that it has what was said.
const ANSWER: Duration = Duration::from_secs(5);

/// Through which it is said.
pub(crate) enum Ether {
    Redis(Redis),
    Nats(Nats),
    /// The database itself.
    Postgres,
}

/// Where something is said of a source.
#[derive(Clone, Debug)]
pub(crate) enum Saying {
    Channel(SocketAddr, &'static str),
    Subject(SocketAddr, &'static str),
}

/// A connection on which it is.
pub(crate) enum Voice {
    Redis(redis::Connection, &'static str),
    Nats(Publisher),
}

impl Ether {
    /// Where whoever writes to a database says what he has committed; `None`: its triggers do.
    pub(crate) fn saying(&self, source: Source) -> Option<Saying> {
        match self {
            Self::Redis(redis) => Some(Saying::Channel(redis.socket_address(), source.name())),
            Self::Nats(nats) => Some(Saying::Subject(nats.address(), source.name())),
            Self::Postgres => None,
        }
    }

    /// What people call it.
    pub(super) fn told(&self) -> &'static str {
        match self {
            Self::Redis(_) => "Redis",
            Self::Nats(_) => "NATS",
            Self::Postgres => "Postgres",
        }
    }
}

impl Carries for Ether {
    fn first_word(&self) -> &'static [u8] {
        match self {
            Self::Redis(_) => b"PING\r\n",
            Self::Nats(_) => &[],
            // The question for TLS.
            Self::Postgres => &[0, 0, 0, 8, 4, 210, 22, 47],
        }
    }

    fn process(&mut self) -> Option<&mut Child> {
        match self {
            Self::Redis(redis) => Some(redis.process()),
            Self::Nats(nats) => Some(nats.process()),
            Self::Postgres => None,
        }
    }

    fn restart(&mut self) -> Result<()> {
        match self {
            Self::Redis(redis) => redis.restart(),
            Self::Nats(nats) => nats.restart(),
            Self::Postgres => bail!("the database isn't restarted by this"),
        }
    }
}

impl Saying {
    /// Connects.
    pub(crate) fn open(&self) -> Result<Voice> {
        match self {
            Self::Channel(address, channel) => {
                let client = redis::Client::open(format!("redis://{address}"))?;
                let connection = client.get_connection_with_timeout(ANSWER).context("connecting to Redis")?;
                connection.set_read_timeout(Some(ANSWER))?;
                connection.set_write_timeout(Some(ANSWER))?;
                Ok(Voice::Redis(connection, channel))
            }
            Self::Subject(address, subject) => Ok(Voice::Nats(Publisher::connect(*address, subject)?)),
        }
    }
}

impl Voice {
    /// Says these messages in their order; returns when the server has them.
    pub(crate) fn say(&mut self, messages: &[String]) -> Result<()> {
        match self {
            Self::Redis(connection, channel) => {
                let mut pipe = redis::pipe();
                for message in messages {
                    pipe.cmd("PUBLISH").arg(&**channel).arg(message).ignore();
                }
                pipe.query(connection).context("publishing")
            }
            Self::Nats(publisher) => publisher.publish(messages),
        }
    }
}
