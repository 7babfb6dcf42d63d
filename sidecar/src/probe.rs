//! `freshet-sidecar probe`: what the kubelet runs inside the container, whose image has no other program.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::args::{ADMIN_PORT, Probe, Which};

/// Shorter than the kubelet's own patience, so that the answer is ours.
const LIMIT: Duration = Duration::from_millis(800);

/// Asks the admin listener on this machine.
pub fn run(probe: &Probe) -> Result<(), String> {
    let path = match probe.which {
        Which::Startup => "/startupz",
        Which::Live => "/livez",
    };
    let given = probe.admin.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ADMIN_PORT));
    let address = match given.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), given.port()),
        // A dual-stack listener answers on IPv4 loopback too, but an IPv6-only one doesn't.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), given.port());
            if ask(v4, path).is_ok() {
                return Ok(());
            }
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), given.port())
        }
        _ => given,
    };
    match ask(address, path) {
        Ok(line) if line.contains(" 200 ") => Ok(()),
        Ok(line) => Err(format!("{path} answered `{}`", line.trim())),
        Err(error) => Err(format!("{address} doesn't answer: {error}")),
    }
}

/// The status line of an answer.
fn ask(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 64];
    let mut filled = 0;
    while filled < head.len() && !head[..filled].contains(&b'\n') {
        match stream.read(&mut head[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    let line = head[..filled].split(|b| *b == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}
