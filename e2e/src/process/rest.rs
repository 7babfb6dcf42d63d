//! A REST service that does what a test tells it to: answers, lies about lengths, breaks off, says nothing at all.
//!
//! It writes bytes rather than responses, because most of what it is for no library would send.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Certificate, until};

/// How long anything that a test waits for may take.
const SOON: Duration = Duration::from_secs(15);

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers in their order.
    pub headers: Vec<(String, String)>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    status: Option<(u16, Vec<(String, String)>)>,
    gate: Option<Gate>,
    body_gate: Option<Gate>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The connection stays open for further requests.
    Open,
    /// It is closed.
    Closed,
    /// It stays open, and nothing more comes.
    Silent,
}

/// Something that replies can be held back by until a test opens it.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

type Handler = Box<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A REST service on a free port of 127.0.0.1.
pub struct RestServer {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Mutex<Arc<Handler>>,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

// === impl Request ===

impl Request {
    /// The value of the first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn read(stream: &mut impl io::BufRead) -> io::Result<Option<Self>> {
        let mut line = || -> io::Result<String> {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            Ok(line.trim_end().to_owned())
        };
        let start = line()?;
        let mut words = start.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Some(Self { method, target, headers }));
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

// === impl Reply ===

impl Reply {
    /// An answer with this status and text.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let status = Some((status, Vec::new()));
        Self { bytes: body.into(), status, gate: None, body_gate: None, end: End::Open }
    }

    /// 200 with JSON.
    #[must_use]
    pub fn json(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body).header("Content-Type", "application/json")
    }

    /// These bytes and nothing else; then the connection is closed.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), status: None, gate: None, body_gate: None, end: End::Closed }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some((_, headers)) = &mut self.status {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Holds it back until the gate is open.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    /// Holds its body back until the gate is open; its head comes at once.
    #[must_use]
    pub fn body_behind(mut self, gate: &Gate) -> Self {
        self.body_gate = Some(gate.clone());
        self
    }

    /// Closes the connection behind it.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.end = End::Closed;
        self
    }

    /// Says nothing more behind it, and keeps the connection open.
    #[must_use]
    pub fn then_silent(mut self) -> Self {
        self.end = End::Silent;
        self
    }

    fn head(&self) -> Vec<u8> {
        let Some((status, headers)) = &self.status else { return Vec::new() };
        let mut head = format!("HTTP/1.1 {status} X\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) && *status != 304 {
            head.extend(["Content-Length: ", &self.bytes.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

// === impl Gate ===

impl Gate {
    /// Lets everything behind it through, from now on.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

// === impl RestServer ===

impl RestServer {
    /// Starts one that answers so.
    pub fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::serve(Box::new(handler), None)
    }

    /// Starts one that speaks TLS.
    pub fn start_tls(
        certificate: &Certificate,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let chain =
            CertificateDer::pem_slice_iter(certificate.certificate.as_bytes()).collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Self::serve(Box::new(handler), Some(Arc::new(config)))
    }

    fn serve(handler: Handler, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listening")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler: Mutex::new(Arc::new(handler)),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        });
        let scheme = if tls.is_some() { "https" } else { "http" };
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                // What breaks here is what a test has asked for, or a client that has gone.
                thread::spawn(move || drop(converse(&shared, stream, tls)));
            }
        });
        Ok(Self { address, scheme, shared })
    }

    /// Answers so from now on.
    pub fn answer(&self, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *self.shared.handler.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(handler));
    }

    /// Where it is: `http://127.0.0.1:…`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far, in the order in which their heads were read.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// Panics if there was none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test's helper")]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("nothing was asked")
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until there were so many requests.
    pub fn until_count(&self, count: usize) -> Result<()> {
        until(&format!("{count} requests"), SOON, || {
            let asked = self.count();
            ensure!(asked >= count, "there were {asked}");
            Ok(())
        })
    }
}

impl fmt::Debug for RestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The thread that accepts looks up.
        drop(TcpStream::connect(self.address));
    }
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn converse(shared: &Shared, stream: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(config)?, stream)),
    };
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream)? {
        shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        let handler = Arc::clone(&shared.handler.lock().unwrap_or_else(PoisonError::into_inner));
        let reply = handler(&request);
        if let Some(gate) = &reply.gate {
            gate.pass();
        }
        let mut written = reply.head();
        if let Some(gate) = &reply.body_gate {
            stream.get_mut().write_all(&written)?;
            stream.get_mut().flush()?;
            written.clear();
            gate.pass();
        }
        written.extend_from_slice(&reply.bytes);
        stream.get_mut().write_all(&written)?;
        stream.get_mut().flush()?;
        match reply.end {
            End::Open => {}
            End::Closed => return Ok(()),
            End::Silent => {
                // Until the client has had enough.
                let _ = stream.read(&mut [0]);
                return Ok(());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::http::{Connection, Target};

    #[test]
    fn it_answers_as_it_is_told_and_remembers_what_it_was_asked() {
        let server =
            RestServer::start(|request| Reply::json(request.target.clone()).header("ETag", "\"a\"")).unwrap();
        let mut connection = Connection::open(&Target::Tcp(server.address())).unwrap();
        let answer = connection.request("GET", "/a?b", &[("X-Y", "z")], b"").unwrap();
        assert_eq!(
            (answer.status, answer.text().as_str(), answer.header("etag")),
            (200, "/a?b", Some("\"a\""))
        );
        let gate = Gate::default();
        let behind = gate.clone();
        server.answer(move |_| Reply::new(503, "").behind(&behind));
        gate.open();
        assert_eq!(connection.request("GET", "/c", &[], b"").unwrap().status, 503);
        server.answer(|_| Reply::raw("HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nshort"));
        assert!(connection.request("GET", "/d", &[], b"").is_err());
        assert_eq!((server.count(), server.connections()), (3, 1));
        assert_eq!(server.requests()[0].header("x-y"), Some("z"));
    }
}
