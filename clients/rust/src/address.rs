//! Where the sidecar listens.

use std::path::PathBuf;

const SOCKET: &str = "/run/freshet/freshet.sock";
const URL: &str = "http://127.0.0.1:3737";

/// A Unix socket or a TCP port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    Tcp(String, u16),
}

/// A text that is no address of a sidecar's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sidecar's address is a socket's path or a URL like {URL}, not `{0}`")]
pub struct BadAddress(String);

/// Where to look, in this order.
pub(crate) fn places(
    given: Option<&str>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Place>, BadAddress> {
    if let Some(text) = given {
        return Ok(vec![parse(text)?]);
    }
    let said = ["FRESHET_SOCKET", "FRESHET_URL"].into_iter().filter_map(environment);
    let said = said.filter(|text| !text.is_empty()).map(|text| parse(&text));
    let said = said.collect::<Result<Vec<_>, _>>()?;
    if said.is_empty() { [SOCKET, URL].into_iter().map(parse).collect() } else { Ok(said) }
}

fn parse(text: &str) -> Result<Place, BadAddress> {
    if text.starts_with('/') {
        return Ok(Place::Unix(text.into()));
    }
    let tcp = || {
        let authority = text.strip_prefix("http://")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let odd = host.is_empty() || host.contains(['/', '?', '#', '@', '[', ']', ' ']);
        (!odd).then(|| Place::Tcp(host.to_owned(), port))
    };
    tcp().ok_or_else(|| BadAddress(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(said: &[(&str, &str)]) -> Vec<Place> {
        places(None, |name| said.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned()))
            .unwrap()
    }

    #[test]
    fn the_socket_comes_first_and_what_isnt_said_isnt_tried() {
        let (socket, tcp) = (Place::Unix("/s".into()), Place::Tcp("::1".to_owned(), 99));
        let (url, path) = (("FRESHET_URL", "http://[::1]:99"), ("FRESHET_SOCKET", "/s"));
        assert_eq!(found(&[url, path]), [socket.clone(), tcp.clone()]);
        assert_eq!(found(&[url, ("FRESHET_SOCKET", "")]), [tcp]);
        assert_eq!(found(&[path]), [socket]);
        assert_eq!(found(&[]), [Place::Unix(SOCKET.into()), Place::Tcp("127.0.0.1".to_owned(), 3737)]);
    }

    #[test]
    fn an_address_is_a_path_or_a_url() {
        assert_eq!(parse("http://sidecar/").unwrap(), Place::Tcp("sidecar".to_owned(), 80));
        for text in
            ["", "s.sock", "https://a", "http://", "http://a/b", "http://u@a", "http://a:b", "http://a?b"]
        {
            assert_eq!(parse(text), Err(BadAddress(text.to_owned())));
        }
    }
}
