//! The URL of a source's PostgreSQL: one server, one database.
//!
//! ```text
//! postgres://[user[:password]@]host[:port]/database
//! ```
//!
//! `postgresql` instead of `postgres` means the same. Whatever isn't a letter or digit is percent-encoded in user, password
//! and database. It has no parameters: how a connection is encrypted is said beside it.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::host_port::{HostPort, InvalidHostPort, host_port_rule};

/// The port of a server unless told otherwise.
pub const SERVER_PORT: u16 = 5432;
/// The user of a URL that names none.
pub const USER: &str = "freshet";
/// The form of a URL that carries no credentials, in words.
pub(crate) const URL_FORM: &str =
    "url is postgres://host[:port]/database, without parameters: encryption is said by tls, beside it";

/// A URL taken apart. Its `Debug` keeps the password to itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The server.
    pub at: HostPort,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Its password, where the server is to ask for one.
    pub password: Option<String>,
}

/// Why a text is no URL of PostgreSQL. No text of it carries a part of the URL, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPostgresUrl {
    /// It begins with something else.
    #[error("it doesn't begin with postgres://")]
    Scheme,
    /// The host is missing or has other characters than hosts have.
    #[error(
        "its host isn't one: it names one server (in a user or password, write %2F for a slash, %3F for ?, %23 for #, \
         %40 for @)"
    )]
    Host,
    /// The port isn't a number from 1 to 65535.
    #[error(
        "its port isn't a number from 1 to 65535 (in a user or password, write %2F for a slash, %3A for a colon, %40 for @)"
    )]
    Port,
    /// No database, or something that isn't one.
    #[error(
        "it doesn't name one database behind the host, percent-encoded (in a user or password, write %2F for a slash)"
    )]
    Database,
    /// Something follows the database.
    #[error("it has parameters or a fragment: nothing follows the database")]
    Parameters,
    /// Credentials that are empty, or something that isn't percent-encoded text.
    #[error("its credentials aren't user:password, percent-encoded")]
    Credentials,
}

// === impl PostgresUrl ===

impl PostgresUrl {
    /// Whether it carries credentials: such a URL belongs in a Secret.
    pub(crate) fn is_secret(text: &str) -> bool {
        text.contains('@')
    }
}

impl FromStr for PostgresUrl {
    type Err = InvalidPostgresUrl;

    fn from_str(text: &str) -> Result<Self, InvalidPostgresUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidPostgresUrl::Scheme)?;
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(InvalidPostgresUrl::Scheme);
        }
        if rest.contains(['?', '#']) {
            return Err(InvalidPostgresUrl::Parameters);
        }
        let (authority, database) = rest.split_once('/').ok_or(InvalidPostgresUrl::Database)?;
        let (login, at) = authority.rsplit_once('@').map_or((None, authority), |(l, at)| (Some(l), at));
        let (user, password) = login.map_or(Ok((USER.to_owned(), None)), login_of)?;
        let at = HostPort::read(at, SERVER_PORT)?;
        Ok(Self { at, database: database_of(database)?, user, password })
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresUrl")
            .field("at", &self.at)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &self.password.is_some())
            .finish()
    }
}

fn login_of(text: &str) -> Result<(String, Option<String>), InvalidPostgresUrl> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.is_empty() && !text.contains('\0') => Ok(text.into_owned()),
        _ => Err(InvalidPostgresUrl::Credentials),
    };
    match text.split_once(':') {
        None => Ok((decoded(text)?, None)),
        Some((user, password)) => Ok((decoded(user)?, Some(decoded(password)?))),
    }
}

/// A database's name: letters, digits, `.`, `_`, `~`, `$`, `-` and what isn't ASCII stand for themselves, and visible ASCII and blanks
/// may be percent-encoded.
fn database_of(text: &str) -> Result<String, InvalidPostgresUrl> {
    let (mut name, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        let c = match c {
            '%' => {
                let code = rest.as_str().get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
                let code = code.and_then(|code| u8::from_str_radix(code, 16).ok());
                rest.nth(1);
                code.filter(|code| (b' '..=b'~').contains(code)).map(char::from)
            }
            c if c.is_ascii_alphanumeric() || "._~$-".contains(c) || !c.is_ascii() => Some(c),
            _ => None,
        };
        name.push(c.ok_or(InvalidPostgresUrl::Database)?);
    }
    if name.is_empty() { Err(InvalidPostgresUrl::Database) } else { Ok(name) }
}

// === impl InvalidPostgresUrl ===

impl From<InvalidHostPort> for InvalidPostgresUrl {
    fn from(why: InvalidHostPort) -> Self {
        match why {
            InvalidHostPort::Host => Self::Host,
            InvalidHostPort::Port => Self::Port,
        }
    }
}

/// The CRD's rule for a URL without credentials: accepts what [`PostgresUrl::from_str`] does.
pub(crate) fn url_rule(this: &str) -> String {
    let database = r"([A-Za-z0-9._~$-]|[^\\x00-\\x7f]|%[2-6][0-9A-Fa-f]|%7[0-9A-Ea-e])+";
    format!("{this}.matches('^postgres(ql)?://{}/{database}$')", host_port_rule())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_and_a_database() {
        let url: PostgresUrl = "postgres://db/shop".parse().unwrap();
        assert_eq!((url.at.to_string().as_str(), url.database.as_str()), ("db:5432", "shop"));
        assert_eq!((url.user.as_str(), url.password), (USER, None));
        let url: PostgresUrl = "postgresql://[::1]:6432/the%20sh%2Fop".parse().unwrap();
        assert_eq!((url.at.port, url.database.as_str()), (6432, "the sh/op"));
    }

    #[test]
    fn credentials_are_percent_encoded_and_the_password_is_not_shown() {
        let url: PostgresUrl = "postgres://sh%40op:hu%2Fsh%3A@db:1/shop".parse().unwrap();
        assert_eq!((url.user.as_str(), url.password.as_deref()), ("sh@op", Some("hu/sh:")));
        assert!(!format!("{url:?}").contains("hu/sh"), "{url:?}");
        let url: PostgresUrl = "postgres://cert@db/shop".parse().unwrap();
        assert_eq!((url.user.as_str(), url.password), ("cert", None));
    }

    #[test]
    fn what_is_none_is_told_without_it() {
        for (text, fault) in [
            ("hush", InvalidPostgresUrl::Scheme),
            ("mysql://a/hush", InvalidPostgresUrl::Scheme),
            ("jdbc:postgresql://a/hush", InvalidPostgresUrl::Scheme),
            ("postgres:///hush", InvalidPostgresUrl::Host),
            ("postgres://a hush/b", InvalidPostgresUrl::Host),
            ("postgres://a,b/hush", InvalidPostgresUrl::Host),
            ("postgres://a:0/hush", InvalidPostgresUrl::Port),
            ("postgres://a:hush/b", InvalidPostgresUrl::Port),
            ("postgres://a", InvalidPostgresUrl::Database),
            ("postgres://a/", InvalidPostgresUrl::Database),
            ("postgres://a/b/hush", InvalidPostgresUrl::Database),
            ("postgres://a/%", InvalidPostgresUrl::Database),
            ("postgres://a/%2", InvalidPostgresUrl::Database),
            ("postgres://a/%00", InvalidPostgresUrl::Database),
            ("postgres://a/%+1", InvalidPostgresUrl::Database),
            ("postgres://a/hu sh", InvalidPostgresUrl::Database),
            ("postgres://a/b?sslmode=hush", InvalidPostgresUrl::Parameters),
            ("postgres://a/b#hush", InvalidPostgresUrl::Parameters),
            ("postgres://@a/b", InvalidPostgresUrl::Credentials),
            ("postgres://hush:@a/b", InvalidPostgresUrl::Credentials),
            ("postgres://:hush@a/b", InvalidPostgresUrl::Credentials),
            ("postgres://%FF@a/b", InvalidPostgresUrl::Credentials),
            ("postgres://u:hu/sh@a/b", InvalidPostgresUrl::Port),
        ] {
            assert_eq!(text.parse::<PostgresUrl>().unwrap_err(), fault, "{text}");
            assert!(!fault.to_string().contains("hush"));
        }
    }
}
