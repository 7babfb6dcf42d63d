//! Connections to a source's server, made in the same way by sidecars and operator: to Redis, plain or TLS, to a
//! server, to the master that Sentinels name, or to the Cluster's node that has the stream; and to [`kafka`].
//!
//! A [`Target`] says where to and with which certificates; it holds bytes, because a sidecar reads them from files and
//! the operator from the API server. [`connect`] makes a [`Link`]: whoever holds it and loses it connects anew, which
//! is also how a new master is found. Nothing is kept between two connections, so that whatever has changed, a
//! certificate's file or a master, is seen by the next.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use freshet_crds::redis_url::{HostPort, Place, RedisUrl};
use redis::{PushInfo, aio::MultiplexedConnection};

mod cluster;
mod dial;
mod error;
pub mod kafka;
pub mod nats;
pub mod postgres;
mod sentinel;
mod tls;

pub use error::{ConnectError, Unusable, refusal};
pub use tls::{Certificates, client as tls_client, meaning as tls_meaning};

use dial::{Dialer, Driver, Hears};

/// How long each Sentinel may take for everything: what is left must be enough for the server.
const SENTINEL: Duration = Duration::from_secs(1);

/// Where to connect to. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The URL, with credentials.
    pub url: RedisUrl,
    /// The certificates of both sides, where the URL asks for TLS.
    pub certificates: Certificates,
    /// The stream whose node is looked for in a Cluster.
    pub stream: Option<String>,
}

/// How names become addresses.
pub trait Resolve: Clone + Send + Sync + 'static {
    /// The addresses of a host; an error or none at all when it has none.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// The machine's own way.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        tokio::net::lookup_host((host, port)).await.map(Iterator::collect)
    }
}

/// A connection that is closed when this is dropped.
pub struct Link {
    redis: MultiplexedConnection,
    at: HostPort,
    must_be_master: bool,
    // Both are held for their `Drop`s, too.
    driver: Driver,
    _watch: Option<Driver>,
}

// === impl Link ===

impl Link {
    /// The server that was connected to.
    #[must_use]
    pub fn at(&self) -> &HostPort {
        &self.at
    }

    /// Whether nobody has noticed yet that the connection is gone. What is sent on one that is gone has no known outcome.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.driver.has_ended()
    }

    /// Whether only a master is meant: one that is demoted is to be left, and its successor looked for.
    #[must_use]
    pub fn must_be_master(&self) -> bool {
        self.must_be_master
    }
}

impl Deref for Link {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.redis
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.redis
    }
}

/// Connects. `within` is how long one server may take for everything, credentials included; with Sentinels up to a
/// second comes on top.
///
/// While the link lives, the Sentinels are asked every two seconds, and where they have agreed on another master the
/// link breaks: a server that nobody demoted, because it can't be reached by them, would go on answering.
pub async fn connect(target: &Target, names: &impl Resolve, within: Duration) -> Result<Link, ConnectError> {
    connect_with(target, names, within, None).await
}

/// Connects as [`connect`] does, to a server that sends by itself, too: what is published to the channels that are subscribed
/// to on the link, and that the connection has ended. `hears` is told in the order in which it comes, between the answers, and
/// must not wait; once it answers `false` it is told nothing more. Needs Redis 6 or newer.
pub async fn connect_hearing(
    target: &Target,
    names: &impl Resolve,
    within: Duration,
    hears: impl Fn(PushInfo) -> bool + Send + Sync + 'static,
) -> Result<Link, ConnectError> {
    connect_with(target, names, within, Some(Arc::new(hears))).await
}

async fn connect_with(
    target: &Target,
    names: &impl Resolve,
    within: Duration,
    hears: Option<Hears>,
) -> Result<Link, ConnectError> {
    let url = &target.url;
    let asking = Dialer::new(names.clone(), url.tls, &target.certificates)?;
    let dialer = match hears {
        Some(hears) => asking.clone().hearing(hears),
        None => asking.clone(),
    };
    let (connected, must_be_master, watched) = match &url.place {
        Place::Server(at) => (dialer.dial(at, &url.credentials, url.database, within).await?, false, None),
        Place::Sentinel { sentinels, service, credentials } => {
            let asked = sentinel::Asked::new(sentinels, service, credentials);
            let master = asked.master(&asking).await?;
            let mut connected = dialer.dial(&master.at, &url.credentials, url.database, within).await?;
            sentinel::must_be_master(&mut connected, within).await?;
            (connected, true, Some((asked, master)))
        }
        Place::Cluster(seeds) => {
            let stream = target.stream.as_deref().unwrap_or_default();
            (cluster::owner(&dialer, seeds, stream, &url.credentials, within).await?, true, None)
        }
    };
    let watch = watched.map(|(asked, master)| asked.watch(asking, master, connected.driver.handle()));
    Ok(Link {
        redis: connected.redis,
        at: connected.at,
        must_be_master,
        driver: connected.driver,
        _watch: watch,
    })
}
