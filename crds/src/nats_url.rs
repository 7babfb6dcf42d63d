//! The URL of a source's NATS: servers of one cluster, any of which will do.
//!
//! ```text
//! nats://[user:password@]host[:port],…
//! nats://[token@]host[:port],…
//! ```
//!
//! `tls` instead of `nats` means TLS. Whatever isn't a letter or digit is percent-encoded in user, password and token.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::host_port::{HostPort, InvalidHostPort, host_port_rule};

/// The port of a server unless told otherwise.
pub const SERVER_PORT: u16 = 4222;
/// The form of a URL that carries no credentials, in words.
pub(crate) const URL_FORM: &str = "url is nats://host[:port], or several servers of one cluster: nats://host[:port],host[:port]; tls instead of nats means TLS";
/// Why certificates need TLS.
pub(crate) const CERTIFICATES_NEED_TLS: &str =
    "caFrom and clientCertificateFrom go with TLS: write tls instead of nats in the URL";

/// A URL taken apart. Its `Debug` keeps token and password to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsUrl {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// The servers; at least one.
    pub servers: Vec<HostPort>,
    /// What is said to be let in.
    pub login: NatsLogin,
}

/// What a client says to be let in, where the URL has it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nothing.
    #[default]
    None,
    /// A token.
    Token(String),
    /// A user.
    User {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
    },
}

/// Why a text is no URL of NATS. No text of it carries a part of the URL, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNatsUrl {
    /// It begins with something else.
    #[error("it begins with neither nats:// nor tls://")]
    Scheme,
    /// A host is missing or has other characters than hosts have.
    #[error(
        "one of its hosts isn't one: of several servers only the first has nats:// before it (in a user, password or \
         token, write %2F for a slash, %3F for ?, %23 for #, %40 for @)"
    )]
    Host,
    /// A port isn't a number from 1 to 65535.
    #[error(
        "one of its ports isn't a number from 1 to 65535 (in a user, password or token, write %2F for a slash, %40 for @)"
    )]
    Port,
    /// Something follows the servers.
    #[error(
        "something follows its servers: it has no path, query or fragment (in a user, password or token, write %2F for \
         a slash, %3F for ?, %23 for #)"
    )]
    Path,
    /// Credentials that are empty, or something that isn't percent-encoded text.
    #[error("its credentials aren't user:password or a token, percent-encoded")]
    Credentials,
}

// === impl NatsUrl ===

impl NatsUrl {
    /// Whether it carries credentials: such a URL belongs in a Secret.
    pub(crate) fn is_secret(text: &str) -> bool {
        text.contains('@')
    }
}

impl FromStr for NatsUrl {
    type Err = InvalidNatsUrl;

    fn from_str(text: &str) -> Result<Self, InvalidNatsUrl> {
        let (tls, rest) = match text.split_once("://") {
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            _ => return Err(InvalidNatsUrl::Scheme),
        };
        if rest.contains(['/', '?', '#']) {
            // Each server may have been written with a scheme of its own, as other clients take them.
            return Err(if rest.contains("://") { InvalidNatsUrl::Host } else { InvalidNatsUrl::Path });
        }
        let (login, servers) = rest.rsplit_once('@').map_or((None, rest), |(l, s)| (Some(l), s));
        let login = login.map_or(Ok(NatsLogin::None), login_of)?;
        let servers = HostPort::read_list(servers, SERVER_PORT)?;
        Ok(Self { tls, servers, login })
    }
}

fn login_of(text: &str) -> Result<NatsLogin, InvalidNatsUrl> {
    let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if !text.is_empty() => Ok(text.into_owned()),
        _ => Err(InvalidNatsUrl::Credentials),
    };
    match text.split_once(':') {
        None => Ok(NatsLogin::Token(decoded(text)?)),
        Some((user, password)) => Ok(NatsLogin::User { user: decoded(user)?, password: decoded(password)? }),
    }
}

// === impl InvalidNatsUrl ===

impl From<InvalidHostPort> for InvalidNatsUrl {
    fn from(why: InvalidHostPort) -> Self {
        match why {
            InvalidHostPort::Host => Self::Host,
            InvalidHostPort::Port => Self::Port,
        }
    }
}

// === impl NatsLogin ===

impl fmt::Debug for NatsLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token(…)"),
            Self::User { user, .. } => write!(f, "User({user:?}, …)"),
        }
    }
}

/// The CRD's rule for a URL without credentials: accepts what [`NatsUrl::from_str`] does.
pub(crate) fn url_rule(this: &str) -> String {
    let server = host_port_rule();
    format!("{this}.matches('^(nats|tls)://{server}(,{server})*$')")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    #[test]
    fn servers_of_one_cluster() {
        let url: NatsUrl = "nats://a,b.c:5000,[::1]".parse().unwrap();
        assert_eq!(url.servers, [at("a", SERVER_PORT), at("b.c", 5000), at("::1", SERVER_PORT)]);
        assert_eq!((url.tls, url.login), (false, NatsLogin::None));
        assert!("tls://a".parse::<NatsUrl>().unwrap().tls);
    }

    #[test]
    fn credentials_are_a_user_or_a_token_and_are_not_shown() {
        let url: NatsUrl = "tls://shop:hu%2Fsh%40@a:1,b".parse().unwrap();
        assert_eq!(url.login, NatsLogin::User { user: "shop".into(), password: "hu/sh@".into() });
        assert_eq!(url.servers, [at("a", 1), at("b", SERVER_PORT)]);
        let token: NatsUrl = "nats://hu%3Ash@a".parse().unwrap();
        assert_eq!(token.login, NatsLogin::Token("hu:sh".into()));
        assert!(!format!("{url:?} {token:?}").contains("hu"), "{url:?} {token:?}");
    }

    #[test]
    fn what_is_none_is_told_without_it() {
        for (text, fault) in [
            ("hush", InvalidNatsUrl::Scheme),
            ("http://hush", InvalidNatsUrl::Scheme),
            ("nats+tls://a", InvalidNatsUrl::Scheme),
            ("ws://a", InvalidNatsUrl::Scheme),
            ("nats://", InvalidNatsUrl::Host),
            ("nats://a,", InvalidNatsUrl::Host),
            ("nats://:hush", InvalidNatsUrl::Host),
            ("nats://a hush", InvalidNatsUrl::Host),
            ("nats://a,nats://b", InvalidNatsUrl::Host),
            ("nats://hu:sh@a,nats://hu:sh@b", InvalidNatsUrl::Host),
            ("nats://[::1", InvalidNatsUrl::Host),
            ("nats://a:0", InvalidNatsUrl::Port),
            ("nats://a:hush", InvalidNatsUrl::Port),
            ("nats://a:65536", InvalidNatsUrl::Port),
            ("nats://a/", InvalidNatsUrl::Path),
            ("nats://a/hush", InvalidNatsUrl::Path),
            ("nats://a?hush", InvalidNatsUrl::Path),
            ("nats://a#hush", InvalidNatsUrl::Path),
            ("nats://u:hu/sh@a", InvalidNatsUrl::Path),
            ("nats://@a", InvalidNatsUrl::Credentials),
            ("nats://hush:@a", InvalidNatsUrl::Credentials),
            ("nats://:hush@a", InvalidNatsUrl::Credentials),
            ("nats://%FF@a", InvalidNatsUrl::Credentials),
        ] {
            assert_eq!(text.parse::<NatsUrl>().unwrap_err(), fault, "{text}");
            assert!(!fault.to_string().contains("hush"));
        }
    }
}
