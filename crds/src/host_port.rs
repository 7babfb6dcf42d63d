//! A host with its port, as URLs and lists of servers have them.

use std::fmt;

/// The regular expression of a port in the CRD's rules.
pub(crate) const PORT_RULE: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A host with its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port, never zero.
    pub port: u16,
}

/// Why a text is no host with a port. No text of it carries a part of the other, which may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHostPort {
    /// The host is missing or has other characters than hosts have.
    #[error("the host isn't one")]
    Host,
    /// The port isn't a number from 1 to 65535.
    #[error("the port isn't a number from 1 to 65535")]
    Port,
}

// === impl HostPort ===

impl HostPort {
    /// Reads `host[:port]`; an IPv6 address is in brackets. `default` is the port where none is given.
    pub fn read(text: &str, default: u16) -> Result<Self, InvalidHostPort> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or(InvalidHostPort::Host)?;
            let is_address =
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b));
            let port = if port.is_empty() {
                None
            } else {
                Some(port.strip_prefix(':').ok_or(InvalidHostPort::Host)?)
            };
            (Some(host).filter(|_| is_address), port)
        } else {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            (Some(host).filter(|host| !host.is_empty() && host.bytes().all(is_name)), port)
        };
        let host = host.ok_or(InvalidHostPort::Host)?.to_owned();
        let Some(port) = port else { return Ok(Self { host, port: default }) };
        let digits = !port.starts_with('0') && port.bytes().all(|b| b.is_ascii_digit());
        let port =
            Some(port).filter(|_| digits).and_then(|port| port.parse().ok()).ok_or(InvalidHostPort::Port)?;
        Ok(Self { host, port })
    }

    /// Reads several of them, with commas between; at least one.
    pub(crate) fn read_list(list: &str, default: u16) -> Result<Vec<Self>, InvalidHostPort> {
        list.split(',').map(|item| Self::read(item, default)).collect()
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What names of hosts are made of.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// The regular expression of a host with or without a port in the CRD's rules: accepts what [`HostPort::read`] does.
pub(crate) fn host_port_rule() -> String {
    format!(r"([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:{PORT_RULE})?")
}
