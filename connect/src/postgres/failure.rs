//! Why a PostgreSQL can't be listened to, in words for whoever wrote the URL.

use std::{error::Error, io};

use freshet_crds::host_port::HostPort;
use tokio_postgres::error::{DbError, SqlState};

use super::Target;
use crate::{ConnectError, tls};

/// Longest part of what a server says that is repeated, in characters.
const SAYS: usize = 160;

/// Why a PostgreSQL can't be listened to. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What answers isn't a PostgreSQL.
    #[error("what answers at {0} isn't a PostgreSQL")]
    NotPostgres(HostPort),
    /// It speaks no TLS.
    #[error("{0} doesn't speak TLS: remove tls from the source, or give the server a certificate (ssl = on)")]
    HasNoTls(HostPort),
    /// It lets nobody in who comes as we do.
    #[error(
        "{0} has no entry in its pg_hba.conf for this user, database and address{without}",
        without = if *.1 { "" } else { ", at least not without TLS: is tls missing in the source?" }
    )]
    NoEntry(HostPort, bool),
    /// It wants a password, and there is none.
    #[error(
        "{0} wants a password, and the URL has none: put one that has it into a Secret, and name it in urlFrom"
    )]
    NoPassword(HostPort),
    /// There is no such database.
    #[error("{0} has no database {1:?}")]
    NoDatabase(HostPort, String),
    /// The user may not do what is needed.
    #[error("PostgreSQL doesn't permit it: {0}")]
    NotPermitted(String),
    /// It is a standby, where nobody can listen.
    #[error("{0} is a standby, which takes no LISTEN: the URL has to lead to the primary")]
    Standby(HostPort),
    /// Notifications don't reach us, or what we ask is answered by another session.
    #[error(
        "no notification comes through {0}: a pooler stands between that shares connections, and LISTEN needs a session \
         of its own (or the host's name leads to several servers)"
    )]
    Pooled(HostPort),
    /// More came between a question and its answer than is held.
    #[error("{0} has sent more than is held at once before it answers")]
    Flooded(HostPort),
    /// It said something else.
    #[error("PostgreSQL says: {0}")]
    Says(String),
}

/// The meaning of an error on the way to a session.
pub(super) fn meaning(error: &tokio_postgres::Error, target: &Target) -> PostgresError {
    let at = &target.url.at;
    if let Some(db) = error.as_db_error() {
        let code = db.code();
        if *code == SqlState::INVALID_CATALOG_NAME {
            return PostgresError::NoDatabase(at.clone(), target.url.database.clone());
        }
        if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION && db.message().contains("pg_hba.conf") {
            return PostgresError::NoEntry(at.clone(), target.tls.is_some());
        }
        return of_server(db, at);
    }
    if let Some(io) = below::<io::Error>(error) {
        return match (target.tls.is_some(), io.kind()) {
            (true, _) => tls::meaning(io, at).into(),
            // What it says is no message of the protocol.
            (
                false,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidData
                | io::ErrorKind::Other,
            ) => PostgresError::NotPostgres(at.clone()),
            (false, kind) => ConnectError::NoConnection(at.clone(), kind.to_string()).into(),
        };
    }
    // Only its text tells them apart.
    let text = error.to_string();
    if text.contains("password missing") || below_says(error, "password missing") {
        PostgresError::NoPassword(at.clone())
    } else if error.is_closed() || text.contains("unexpected message") || text.contains("parsing") {
        PostgresError::NotPostgres(at.clone())
    } else {
        PostgresError::Says(brief(&text))
    }
}

/// The meaning of an error of a session.
pub(super) fn said(error: &tokio_postgres::Error, at: &HostPort) -> PostgresError {
    match (error.as_db_error(), below::<io::Error>(error)) {
        (Some(db), _) => of_server(db, at),
        (None, Some(io)) => ConnectError::NoConnection(at.clone(), io.kind().to_string()).into(),
        (None, None) if error.is_closed() => {
            ConnectError::NoConnection(at.clone(), "it was closed".into()).into()
        }
        (None, None) => PostgresError::Says(brief(&error.to_string())),
    }
}

fn of_server(db: &DbError, at: &HostPort) -> PostgresError {
    let code = db.code();
    if *code == SqlState::INVALID_PASSWORD {
        ConnectError::Refused(at.clone()).into()
    } else if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        PostgresError::Standby(at.clone())
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE
        || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    {
        PostgresError::NotPermitted(brief(db.message()))
    } else {
        PostgresError::Says(brief(db.message()))
    }
}

/// The beginning of what a server says, without what a terminal would obey.
fn brief(says: &str) -> String {
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

fn below_says(error: &(dyn Error + 'static), words: &str) -> bool {
    let mut source = error.source();
    while let Some(this) = source {
        if this.to_string().contains(words) {
            return true;
        }
        source = this.source();
    }
    false
}
