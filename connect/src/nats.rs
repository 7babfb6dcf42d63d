//! Connections to a source's NATS.
//!
//! `async-nats` mends its connections by itself, and says so too late for whoever must not miss a message. So each
//! connection is made to one server, and [`Link::is_unbroken`] tells whether it still is the one that was made.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, ServerError, connection::State};
use freshet_crds::{
    host_port::HostPort,
    nats_url::{NatsLogin, NatsUrl},
};
use rand::seq::SliceRandom as _;
use tokio::time::Instant;

use crate::{Certificates, ConnectError, Resolve, tls};

mod failure;
mod listening;
mod probe;

pub use async_nats::Message;
pub use listening::{Listening, listen};
pub use probe::{Found, Kept, NatsError, probe, probe_subject};

/// How often a silent server is asked whether it is still there.
const PING: Duration = Duration::from_secs(5);
/// How long a reply to a request may take.
const REPLY: Duration = Duration::from_secs(2);
/// What a connection holds where the server sends no more than it is asked for.
const ASKED_FOR: Holding = Holding { messages: 4096, block: u16::MAX };

/// Where a NATS is, with credentials and certificates. Its `Debug` keeps passwords and keys to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// Its servers, and the credentials that the URL has.
    pub url: NatsUrl,
    /// The certificates on both sides, where connections are encrypted.
    pub certificates: Certificates,
    /// A user's JWT and seed, as `nsc` writes them.
    pub credentials: Option<String>,
}

/// A connection to one server.
#[derive(Debug)]
pub struct Link {
    client: Client,
    at: HostPort,
    made: u64,
    denied: Arc<OnceLock<String>>,
}

/// What a connection holds of what the server has sent.
#[derive(Clone, Copy, Debug)]
struct Holding {
    /// Messages that each subscription holds until they are taken; what comes beyond is dropped, which readers notice.
    messages: usize,
    /// Bytes that are read at once.
    block: u16,
}

/// Connects to the first of the servers that takes us, tried in random order. `within` is how long all of them may take.
pub async fn connect(target: &Target, names: &impl Resolve, within: Duration) -> Result<Link, ConnectError> {
    connect_holding(ASKED_FOR, target, names, within).await
}

async fn connect_holding(
    holding: Holding,
    target: &Target,
    names: &impl Resolve,
    within: Duration,
) -> Result<Link, ConnectError> {
    let deadline = Instant::now() + within;
    let mut servers: Vec<_> = target.url.servers.iter().collect();
    servers.shuffle(&mut rand::rng());
    let mut left = u32::try_from(servers.len()).unwrap_or(u32::MAX);
    let mut failed = ConnectError::Timeout(target.url.servers[0].clone());
    for at in servers {
        // So that one that is dead leaves time for the others.
        let share = deadline.saturating_duration_since(Instant::now()) / left.max(1);
        left = left.saturating_sub(1);
        let tried = to_server(holding, target, at, names, share);
        failed = match tokio::time::timeout(share, tried).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => error,
            Err(_) => ConnectError::Timeout(at.clone()),
        };
        if matches!(failed, ConnectError::Refused(_)) {
            break;
        }
    }
    Err(failed)
}

async fn to_server(
    holding: Holding,
    target: &Target,
    at: &HostPort,
    names: &impl Resolve,
    within: Duration,
) -> Result<Link, ConnectError> {
    let addresses = names.resolve(&at.host, at.port).await.unwrap_or_default();
    let mut failed = ConnectError::NoAddress(at.host.clone());
    for address in addresses {
        let denied = Arc::default();
        let options = heeding(options(holding, target, at, within)?, &denied);
        match options.connect(server(address, target.url.tls)?).await {
            Ok(client) => {
                let made = client.statistics().connects.load(Ordering::Acquire);
                return Ok(Link { client, at: at.clone(), made, denied });
            }
            Err(error) => failed = failure::meaning(&error, at, target.url.tls),
        }
    }
    Err(failed)
}

fn options(
    holding: Holding,
    target: &Target,
    at: &HostPort,
    within: Duration,
) -> Result<ConnectOptions, ConnectError> {
    let mut options = ConnectOptions::new()
        .name("freshet")
        .ping_interval(PING)
        .connection_timeout(within)
        .request_timeout(Some(REPLY))
        .subscription_capacity(holding.messages)
        .read_buffer_capacity(holding.block)
        .ignore_discovered_servers()
        .max_reconnects(1);
    // It is told an address, and would compare the certificate with that. Where no TLS is wanted and a server insists on it,
    // it would ask the platform's authorities.
    options = if target.url.tls {
        let config = tls::client_of(tls::server_name(at)?, &target.certificates)?;
        options.tls_client_config(config).require_tls(true)
    } else {
        options.tls_client_config(tls::trusting_nobody()?)
    };
    match &target.url.login {
        NatsLogin::None => {}
        NatsLogin::Token(token) => options = options.token(token.clone()),
        NatsLogin::User { user, password } => {
            options = options.user_and_password(user.clone(), password.clone());
        }
    }
    if let Some(credentials) = &target.credentials {
        options = options.credentials(credentials).map_err(|_| ConnectError::BadCredentials)?;
    }
    Ok(options)
}

/// An address as `async-nats` takes it.
fn server(address: SocketAddr, encrypted: bool) -> Result<ServerAddr, ConnectError> {
    let scheme = if encrypted { "tls" } else { "nats" };
    let text = format!("{scheme}://{address}");
    text.parse().map_err(|_| ConnectError::NoAddress(address.ip().to_string()))
}

/// Remembers the first thing that the server doesn't permit, which it answers to nobody's request: who asks waits in
/// vain.
fn heeding(options: ConnectOptions, denied: &Arc<OnceLock<String>>) -> ConnectOptions {
    let denied = Arc::clone(denied);
    options.event_callback(move |event| {
        if let Event::ServerError(ServerError::Other(says)) = event
            && says.to_ascii_lowercase().starts_with("permissions violation")
        {
            denied.get_or_init(|| failure::brief(&says));
        }
        std::future::ready(())
    })
}

// === impl Link ===

impl Link {
    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The server.
    #[must_use]
    pub fn at(&self) -> &HostPort {
        &self.at
    }

    /// The first thing that the server hasn't permitted on this connection, in its words. To be asked when a reply didn't
    /// come.
    #[must_use]
    pub fn denied(&self) -> Option<&str> {
        self.denied.get().map(String::as_str)
    }

    /// Whether the connection is still the one that was made: of what came over another one something may be missing. To
    /// be asked after what has come was taken.
    #[must_use]
    pub fn is_unbroken(&self) -> bool {
        self.client.statistics().connects.load(Ordering::Acquire) == self.made
            && self.client.connection_state() == State::Connected
    }
}

// === impl Target ===

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("url", &self.url)
            .field("certificates", &self.certificates)
            .field("credentials", &self.credentials.is_some())
            .finish()
    }
}
