//! Why there is no connection, in words for whoever wrote the URL.

use freshet_crds::{binding::UnfitUrl, redis_url::HostPort};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Longest part of what a server says that is repeated, in characters.
const SAYS: usize = 120;

/// Why there is no connection. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The URL can't be used for this source.
    #[error(transparent)]
    Url(#[from] UnfitUrl),
    /// The host's name has no address.
    #[error("host {0} can't be resolved")]
    NoAddress(String),
    /// No answer in time.
    #[error("{0} doesn't answer in time")]
    Timeout(HostPort),
    /// No connection, or one that broke.
    #[error("no connection to {0}: {1}")]
    NoConnection(HostPort, String),
    /// The connection was closed instead of an answer.
    #[error(
        "{0} closes the connection without an answer: if that is its TLS port, the URL begins with rediss"
    )]
    Closed(HostPort),
    /// What answers isn't a Redis.
    #[error("what answers at {0} isn't a Redis")]
    NotRedis(HostPort),
    /// It doesn't speak TLS.
    #[error("{0} doesn't answer by TLS: is this the plain port? TLS has a port of its own (tls-port)")]
    NotTls(HostPort),
    /// The certificates of the authorities can't be used.
    #[error("caFrom can't be used: {0}")]
    BadAuthorities(String),
    /// Our own certificate or its key can't be used.
    #[error("clientCertificateFrom can't be used: {0}")]
    BadClientCertificate(String),
    /// The server's certificate isn't one that is trusted.
    #[error("the certificate of {0} isn't trusted: {1}")]
    Untrusted(HostPort, String),
    /// The server wants a client's certificate, or another one.
    #[error("{0} refuses us: {1}")]
    ClientRefused(HostPort, String),
    /// TLS failed in another way.
    #[error("TLS with {0} fails: {1}")]
    Tls(HostPort, String),
    /// It speaks TLS alone.
    #[error("{0} wants TLS: write tls instead of nats in the URL")]
    WantsTls(HostPort),
    /// It speaks no TLS: a NATS does on the same port, or nowhere.
    #[error("{0} doesn't speak TLS: write nats instead of tls in the URL, or give the server a certificate")]
    HasNoTls(HostPort),
    /// What answers isn't a NATS.
    #[error("what answers at {0} isn't a NATS")]
    NotNats(HostPort),
    /// The credentials of a NATS can't be used.
    #[error("credentialsFrom can't be used: it isn't a file with a user's JWT and seed, as nsc writes it")]
    BadCredentials,
    /// Wrong credentials, or none where some are needed.
    #[error("{0} refuses the credentials")]
    Refused(HostPort),
    /// The Sentinels don't lead to a master.
    #[error("no master: {0}")]
    NoMaster(String),
    /// The Cluster doesn't lead to the stream's node.
    #[error("no node of the Cluster: {0}")]
    NoNode(String),
    /// The server answers, but not to us, or not so.
    #[error(transparent)]
    Redis(#[from] Unusable),
}

/// What a server has against a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Wrong user or password, or none where one is needed.
    #[error("Redis refuses the credentials: {0}")]
    Refused(String),
    /// The user may not do what is needed.
    #[error("Redis doesn't permit it: {0}")]
    NotPermitted(String),
    /// It is cut off.
    #[error("no connection: {0}")]
    Lost(String),
    /// It said something else.
    #[error("Redis says: {0}")]
    Other(String),
}

// === impl Unusable ===

impl Unusable {
    /// What an error that a server answered means, by its code.
    pub(crate) fn of(code: &str, says: &str) -> Self {
        let says = says.chars().take(SAYS).collect();
        match code {
            "WRONGPASS" | "NOAUTH" => Self::Refused(says),
            "NOPERM" => Self::NotPermitted(says),
            _ => Self::Other(says),
        }
    }
}

/// What an error of the client means, where it isn't the connection's making. Of what the server says, only the
/// beginning is kept.
#[must_use]
pub fn refusal(error: &RedisError) -> Unusable {
    let says: String = error.detail().unwrap_or(error.category()).chars().take(SAYS).collect();
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => Unusable::Refused(says),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Unusable::NotPermitted(says),
        (ErrorKind::Io, _) => Unusable::Lost(error.to_string()),
        (_, Some(code)) => Unusable::Other(format!("{code} {says}")),
        _ => Unusable::Other(says),
    }
}
