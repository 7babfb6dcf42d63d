//! Loopback ports for children that must be told their port.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

/// Below the range from which the kernel takes ports for outgoing connections, so that a port stays free while the
/// process that listens on it is being restarted.
const RANGE: std::ops::Range<u16> = 18_000..30_000;

/// A TCP port of 127.0.0.1 that is ours until this is dropped.
///
/// A file lock per port keeps concurrent test processes apart in the time between choosing a port and listening on
/// it, and while the listener is down on purpose.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Finds a port on which nothing listens and that no other test process holds.
    pub fn free() -> Result<Self> {
        // Per user, since one user can't open the lock files of another.
        let user = rustix::process::geteuid().as_raw();
        let locks = std::env::temp_dir().join(format!("freshet-ports-{user}"));
        fs::create_dir_all(&locks).with_context(|| format!("making {}", locks.display()))?;
        // Where to begin hardly matters; it is spread so that test processes don't all try the same ports first.
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
        let length = u32::from(RANGE.end - RANGE.start);
        let offset = (nanos / 1000) % length;
        for step in 0..length {
            let number = RANGE.start + u16::try_from((offset + step) % length)?;
            let path = locks.join(number.to_string());
            let lock = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _lock: lock });
            }
        }
        bail!("no free loopback port between {} and {}", RANGE.start, RANGE.end)
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:<number>`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::free().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
    }
}
