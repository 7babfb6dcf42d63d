//! What has kept a server from taking us.

use std::{error::Error, io};

use async_nats::{ConnectErrorKind, ServerError};
use freshet_crds::host_port::HostPort;

use crate::{ConnectError, tls};

/// Longest part of what a server says that is repeated, in characters.
const SAYS: usize = 160;

/// The meaning of an error of `async-nats`; `encrypted`: the URL says so.
pub(super) fn meaning(error: &async_nats::ConnectError, at: &HostPort, encrypted: bool) -> ConnectError {
    let at = at.clone();
    let kind = error.kind();
    if matches!(kind, ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication) {
        return ConnectError::Refused(at);
    }
    if let Some(ServerError::Other(says)) = below(error) {
        return said(at, says);
    }
    if let Some(io) = below::<io::Error>(error) {
        return of_io(io, at, encrypted);
    }
    match kind {
        ConnectErrorKind::TimedOut => ConnectError::Timeout(at),
        // We have no authorities then, and it wants TLS all the same.
        ConnectErrorKind::Tls if !encrypted => ConnectError::WantsTls(at),
        // It has no other words for a server that hangs up, or begins with something else.
        ConnectErrorKind::Io => ConnectError::NotNats(at),
        kind => ConnectError::NoConnection(at, kind.to_string()),
    }
}

fn of_io(error: &io::Error, at: HostPort, encrypted: bool) -> ConnectError {
    let is_tls = error.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some());
    match error.kind() {
        _ if encrypted && is_tls => match tls::meaning(error, &at) {
            ConnectError::NotTls(at) => ConnectError::HasNoTls(at),
            other => other,
        },
        _ if is_tls => ConnectError::WantsTls(at),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => ConnectError::NotNats(at),
        io::ErrorKind::TimedOut => ConnectError::Timeout(at),
        // What it hangs up on is what came last: our side of TLS, or our credentials.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            if encrypted =>
        {
            tls::meaning(error, &at)
        }
        kind => ConnectError::NoConnection(at, kind.to_string()),
    }
}

/// What a server has said instead of letting us in.
fn said(at: HostPort, says: &str) -> ConnectError {
    let lower = says.to_ascii_lowercase();
    // `User Authentication Expired`, `Account Authentication Expired`, `User Authentication Revoked`.
    if lower.contains("authentication expired") || lower.contains("authentication revoked") {
        return ConnectError::Refused(at);
    }
    ConnectError::NoConnection(at, format!("it says: {}", brief(says)))
}

/// The beginning of what a server says, without what a terminal would obey.
pub(super) fn brief(says: &str) -> String {
    says.chars().filter(|c| !c.is_control()).take(SAYS).collect()
}

/// The first error of this type that another one comes from.
fn below<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut source = error.source();
    while let Some(this) = source {
        if let Some(found) = this.downcast_ref() {
            return Some(found);
        }
        source = this.source();
    }
    None
}
