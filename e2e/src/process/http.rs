//! A blocking HTTP/1.1 client for tests, over TCP and Unix sockets.
//!
//! Hand-written so that a test can also send what no decent client would: torn heads, oversized ones, wrong lengths.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a read or write may take. Longer than anything a test waits for on purpose (`Prefer: wait`, idle limits
/// are set lower).
const IO: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// Who looks at the answers to all requests of this process: the method, the path and the answer.
pub type Observer = fn(&str, &str, &Response);

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Has every answer to a request looked at from here on, once and for all.
pub fn observe(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

/// One GET on a connection of its own.
pub fn get(target: &Target, path: &str) -> Result<Response> {
    Connection::open(target)?.request("GET", path, &[], b"")
}

/// A connection that is made with the first request, and anew after one that failed.
#[derive(Debug)]
pub struct Client {
    target: Target,
    connection: Option<Connection>,
}

impl Client {
    /// A client that hasn't connected yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { target, connection: None }
    }

    /// Sends a request and reads its answer, as [`Connection::request`] does.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.target)?,
        };
        let answer = connection.request(method, path, headers, body.as_bytes())?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// An open connection; requests on it follow one another.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<Stream>,
}

impl Connection {
    /// Connects.
    pub fn open(target: &Target) -> Result<Self> {
        let stream = Stream::open(target).with_context(|| format!("connecting to {target:?}"))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer. `Host` is added, and `Content-Length` when there is a body or the
    /// method is one that has one; the connection stays open unless `headers` or the server say otherwise.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        self.send(format!("{head}\r\n").as_bytes())?;
        // Who refuses a body may answer, and close, before it has all come.
        let sent = self.send(body);
        let response = self.response(method).with_context(|| format!("{method} {path}"));
        let response = response.or_else(|error| sent.and(Err(error)))?;
        if let Some(observer) = OBSERVER.get() {
            observer(method, path, &response);
        }
        Ok(response)
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("sending")
    }

    /// Reads the answer to a request with this method (an answer to HEAD has no body).
    pub fn response(&mut self, method: &str) -> Result<Response> {
        let start = self.line()?;
        let Some((version, rest)) = start.split_once(' ') else { bail!("not a status line: {start:?}") };
        if !version.starts_with("HTTP/1.") {
            bail!("not HTTP/1: {start:?}");
        }
        let status = rest.split(' ').next().unwrap_or_default();
        let status = status.parse().with_context(|| format!("the status in {start:?}"))?;
        let headers = self.headers()?;
        let mut response = Response { status, headers, body: Vec::new() };
        if method != "HEAD" && status >= 200 && status != 204 && status != 304 {
            response.body = self.body(&response)?;
        }
        Ok(response)
    }

    /// Whether the server has closed its side; waits for that or for a byte, at most 30 s.
    pub fn closed(&mut self) -> Result<bool> {
        match self.stream.fill_buf() {
            Ok(rest) => Ok(rest.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error).context("waiting for the end of the connection"),
        }
    }

    /// The next line without its end, for bodies that are streams of lines.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).context("reading a line")? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn headers(&mut self) -> Result<Vec<(String, String)>> {
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(headers);
            }
            let Some((name, value)) = line.split_once(':') else { bail!("not a header: {line:?}") };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn body(&mut self, head: &Response) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        if head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            loop {
                let size = self.line()?;
                let digits = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).with_context(|| format!("chunk {size:?}"))?;
                if size == 0 {
                    self.headers().context("trailers")?;
                    return Ok(body);
                }
                self.exactly(size, &mut body)?;
                self.line()?;
            }
        }
        match head.header("content-length") {
            Some(length) => {
                let length = length.parse().with_context(|| format!("Content-Length {length:?}"))?;
                self.exactly(length, &mut body)?;
            }
            None => drop(self.stream.read_to_end(&mut body).context("reading to the end")?),
        }
        Ok(body)
    }

    fn exactly(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..]).context("reading a body")
    }
}

/// An answer, whole.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers in the server's order and spelling.
    pub headers: Vec<(String, String)>,
    /// The body without its transfer coding.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that aren't UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {:?}", self.text()))
    }
}

/// As a person reads it, because it stands in the messages of failed tests.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.text())
    }
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn open(target: &Target) -> io::Result<Self> {
        match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, IO)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(IO))?;
                stream.set_write_timeout(Some(IO))?;
                Ok(Self::Tcp(stream))
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(IO))?;
                stream.set_write_timeout(Some(IO))?;
                Ok(Self::Unix(stream))
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(buffer),
            Self::Unix(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers whatever comes with these bytes and closes.
    fn answering(answer: &'static [u8]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 3]).unwrap();
            stream.write_all(answer).unwrap();
            // Reading on until the client closes keeps the kernel from resetting the connection.
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        target
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let target = answering(
            b"HTTP/1.1 404 Not Found\r\nCACHE-status: freshet; fwd=miss\r\nContent-Length: 2\r\n\r\nno",
        );
        let response = get(&target, "/v1/a/1").unwrap();
        assert_eq!((response.status, response.text().as_str()), (404, "no"));
        assert_eq!(response.header("Cache-Status"), Some("freshet; fwd=miss"));
        assert_eq!(response.header("ETag"), None);
    }

    #[test]
    fn chunks_are_joined_and_the_connection_goes_on() {
        let target = answering(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\n\
              HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        );
        let mut connection = Connection::open(&target).unwrap();
        assert_eq!(connection.request("GET", "/", &[], b"").unwrap().text(), "abc0123456789abcdef");
        assert_eq!(connection.response("GET").unwrap().status, 304);
        assert!(connection.response("HEAD").unwrap().body.is_empty());
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(get(&answering(b"-ERR unknown command\r\n"), "/").is_err());
        assert!(get(&answering(b"HTTP/1.1 abc\r\n\r\n"), "/").is_err());
    }
}
