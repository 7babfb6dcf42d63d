//! `freshet-sidecar probe`: what the kubelet runs inside the container, whose image has no other program.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use crate::args::{ADMIN_PORT, Probe, Which};

/// For one address. Two of them take less than the kubelet's own patience (5 s as injected), so that the answer
/// is ours.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the admin listener on this machine; well is whoever answers 200.
pub fn run(probe: &Probe) -> Result<(), String> {
    let path = match probe.which {
        Which::Startup => "/startupz",
        Which::Live => "/livez",
    };
    let given = probe.admin.unwrap_or(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), ADMIN_PORT));
    let mut faults = Vec::new();
    for address in places(given) {
        match ask(address, path) {
            Ok(200) => return Ok(()),
            Ok(status) => faults.push(format!("{address}{path} answered {status}")),
            Err(error) => faults.push(format!("{address}{path} didn't answer: {error}")),
        }
    }
    Err(faults.join("; "))
}

/// Where a listener with this address is to be asked. One on IPv6's any-address takes IPv4 too, unless the machine
/// has only one of the two, or something else has taken the port on the other.
fn places(listener: SocketAddr) -> Vec<SocketAddr> {
    let at = |ip: IpAddr| SocketAddr::new(ip, listener.port());
    match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![at(Ipv4Addr::LOCALHOST.into())],
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![at(Ipv4Addr::LOCALHOST.into()), at(Ipv6Addr::LOCALHOST.into())]
        }
        _ => vec![listener],
    }
}

/// The status of an answer.
fn ask(address: SocketAddr, path: &str) -> io::Result<u16> {
    let deadline = Instant::now() + LIMIT;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_write_timeout(Some(LIMIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 64];
    let mut filled = 0;
    while filled < head.len() && !head[..filled].contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut head[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    let line = head[..filled].split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    status(&line).ok_or_else(|| io::Error::other(format!("`{}` isn't an HTTP status line", line.trim())))
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv6Addr, SocketAddr, TcpListener},
    };

    use super::{Probe, Which, places, run};

    /// Answers every connection to `listener` with these bytes.
    fn answering(listener: TcpListener, answer: &'static [u8]) {
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                // The whole request is read, so that closing doesn't reset the connection.
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer);
            }
        });
    }

    fn probe(admin: SocketAddr) -> Result<(), String> {
        run(&Probe { which: Which::Live, admin: Some(admin) })
    }

    #[test]
    fn only_a_200_is_well() {
        for (answer, says) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], None),
            (b"HTTP/1.0 200 OK\r\n\r\n", None),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Some("answered 503")),
            (b"HTTP/1.1 500 error 200 of them\r\n\r\n", Some("answered 500")),
            (b"", Some("isn't an HTTP status line")),
            (b"SSH-2.0 200 \r\n", Some("`SSH-2.0 200` isn't an HTTP status line")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            answering(listener, answer);
            let found = probe(address);
            assert_eq!(found.is_ok(), says.is_none(), "{:?}: {found:?}", String::from_utf8_lossy(answer));
            if let Some(says) = says {
                assert!(found.as_ref().unwrap_err().contains(says), "{found:?}");
            }
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_over_both_families() {
        let both = places((Ipv6Addr::UNSPECIFIED, 1).into());
        assert_eq!(both, ["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()]);
        assert_eq!(places("0.0.0.0:1".parse().unwrap()), ["127.0.0.1:1".parse().unwrap()]);
        let one: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        assert_eq!(places(one), [one]);
    }

    /// What injection sets is `[::]`, and something else may answer on the other family.
    #[test]
    fn an_answer_that_is_not_200_over_one_family_is_not_taken_for_health() {
        for (v4, v6, well) in [
            (&b""[..], None, false),
            (b"HTTP/1.1 503 no\r\n\r\n", None, false),
            (b"", Some(&b"HTTP/1.1 200 OK\r\n\r\n"[..]), true),
            (b"HTTP/1.1 200 OK\r\n\r\n", None, true),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            answering(listener, v4);
            if let Some(answer) = v6 {
                answering(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).unwrap(), answer);
            }
            let found = probe((Ipv6Addr::UNSPECIFIED, port).into());
            assert_eq!(found.is_ok(), well, "{v4:?} {v6:?}: {found:?}");
        }
    }
}
