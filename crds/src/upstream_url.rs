//! The URL of an upstream, below which an upstream cache's values are.
//!
//! ```text
//! http://host[:port][/path]
//! https://host[:port][/path]
//! ```
//!
//! It carries neither credentials nor a query, so that it can be shown; the path has no empty segments and none that mean
//! another, so that what is below it stays there.

use std::{fmt, str::FromStr};

use crate::host_port::{HostPort, host_port_rule};

/// The form of the URL, in words.
pub(crate) const URL_FORM: &str = "url is http://host[:port][/path] or https://host[:port][/path], without credentials (authFrom names those), \
                                   query and percent-encoding; the path has no empty, `.` or `..` segments";
/// Why authorities need TLS.
pub(crate) const CA_NEEDS_TLS: &str = "caFrom goes with TLS: write https instead of http in the URL";
/// What may be in the path besides letters and digits.
const PATH_MARKS: &str = "._~!$&()*+,;=:@-";

/// A URL of this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Where the upstream is.
    pub at: HostPort,
    /// Its path without a slash at the end: empty, or beginning with a slash.
    pub path: Box<str>,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{URL_FORM}")]
pub struct InvalidUpstreamUrl;

impl UpstreamUrl {
    /// Scheme, host and port, as in `https://api.example:443`: what requests and redirects never leave.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.at)
    }
}

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstreamUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamUrl> {
        let (tls, rest) = match text.split_once("://").ok_or(InvalidUpstreamUrl)? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return Err(InvalidUpstreamUrl),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let at = HostPort::read(authority, if tls { 443 } else { 80 }).map_err(|_| InvalidUpstreamUrl)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_good = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.chars().all(|c| c.is_ascii_alphanumeric() || PATH_MARKS.contains(c))
        };
        if path.split('/').skip(1).all(is_good) {
            Ok(Self { tls, at, path: path.into() })
        } else {
            Err(InvalidUpstreamUrl)
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// The CEL rule of such a URL.
pub(crate) fn url_rule(this: &str) -> String {
    let host = host_port_rule();
    format!(
        "{this}.matches('^https?://{host}(/[A-Za-z0-9{PATH_MARKS}]+)*/?$') && \
         !{this}.matches('://.*/[.]{{1,2}}(/|$)')"
    )
}
