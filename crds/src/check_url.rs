//! The URL at which a sidecar asks its application what it would fill.
//!
//! ```text
//! http://127.0.0.1[:port][/path]
//! http://[::1][:port][/path]
//! ```
//!
//! The application is in the sidecar's pod, and the sidecar asks nobody else: who may write a binding can't make pods
//! send requests elsewhere, nothing has to be encrypted, and no name has to be looked up.

use std::{fmt, str::FromStr};

/// The form of the URL, in words.
pub(crate) const URL_FORM: &str = "url is http://127.0.0.1[:port][/path] or http://[::1][:port][/path], without credentials and query: the \
                                   application's own endpoint, in the sidecar's pod. The sidecar asks nobody else";
/// What may be in the path besides letters and digits.
const PATH_MARKS: &str = "/._~!$&()*+,;=:@%-";

/// A URL of this form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckUrl(Box<str>);

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{URL_FORM}")]
pub struct InvalidCheckUrl;

impl CheckUrl {
    /// The text, to which a query can be appended.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CheckUrl {
    type Err = InvalidCheckUrl;

    fn from_str(text: &str) -> Result<Self, InvalidCheckUrl> {
        let rest = text.strip_prefix("http://").ok_or(InvalidCheckUrl)?;
        let rest = ["127.0.0.1", "[::1]"].iter().find_map(|host| rest.strip_prefix(host));
        let rest = rest.ok_or(InvalidCheckUrl)?;
        let (port, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let port_is_good = match port.strip_prefix(':') {
            None => port.is_empty(),
            Some(digits) => {
                !digits.starts_with('0')
                    && digits.bytes().all(|b| b.is_ascii_digit())
                    && digits.parse::<u16>().is_ok()
            }
        };
        let path_is_good = path.chars().all(|c| c.is_ascii_alphanumeric() || PATH_MARKS.contains(c));
        if port_is_good && path_is_good { Ok(Self(text.into())) } else { Err(InvalidCheckUrl) }
    }
}

impl fmt::Display for CheckUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The CEL rule of such a URL.
pub(crate) fn url_rule(this: &str) -> String {
    let port = crate::host_port::PORT_RULE;
    format!(r"{this}.matches('^http://(127[.]0[.]0[.]1|\\[::1\\])(:{port})?(/[A-Za-z0-9{PATH_MARKS}]*)?$')")
}
