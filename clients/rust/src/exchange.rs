//! Requests to the sidecar, over connections that are used again.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::{Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request,
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinHandle,
    time::{timeout, timeout_at},
};

use crate::{address::Place, answer::Response, health::Health};

const MOST_OF_A_BODY: usize = 64 << 20;
/// The sidecar closes an unused connection after 75 s.
const IDLE: Duration = Duration::from_mins(1);

/// A connection, which a task of its own drives.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// Ends with the connection. A request that is handed over in just that moment stays where it is, neither sent nor
    /// refused (as in tokio's issue 7714): its answer would be waited for in vain.
    task: JoinHandle<hyper::Result<()>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    Connect,
    Timeout,
    Closed,
    Garbled,
    Paused,
    /// A header that none can be sent for: the caller's mistake.
    Header,
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// How long the answer may be held back because it was asked for.
    pub(crate) wait: Duration,
    /// Whether it may be left unsent while the sidecar hangs. What drops values is tried in any case.
    pub(crate) pausable: bool,
    /// Whether it goes over a new connection, and so never twice: of one that was used before nobody knows whether it was
    /// closed before the request or because of it.
    pub(crate) once: bool,
}

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) places: Vec<Place>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_idle: usize,
    pub(crate) idle: Mutex<Vec<(Instant, Connection)>>,
    pub(crate) health: Health,
}

impl Unavailable {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Garbled => "garbled",
            Self::Paused => "paused",
            Self::Header => "header",
        }
    }
}

impl Exchange {
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Response, Unavailable> {
        let request = request(&ask)?;
        if ask.pausable && self.health.pauses(Instant::now()) {
            return Err(Unavailable::Paused);
        }
        let deadline = tokio::time::Instant::now() + self.timeout + ask.wait;
        let outcome = timeout_at(deadline, self.once_or_again(&request, ask.once)).await;
        let outcome = outcome.unwrap_or(Err(Unavailable::Timeout));
        match &outcome {
            Ok(_) => self.health.answered(),
            Err(Unavailable::Timeout) => self.health.timed_out(Instant::now()),
            Err(_) => {}
        }
        outcome
    }

    async fn once_or_again(
        &self,
        request: &Request<Full<Bytes>>,
        once: bool,
    ) -> Result<Response, Unavailable> {
        while let Some(mut connection) = if once { None } else { self.take() } {
            if connection.requests.ready().await.is_err() {
                continue;
            }
            // It may have been closed while it was idle. That request was never read.
            match self.send(connection, request.clone()).await {
                Err(Unavailable::Closed) => {}
                outcome => return outcome,
            }
        }
        self.send(self.connect().await?, request.clone()).await
    }

    async fn send(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Response, Unavailable> {
        let response = connection.answer(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MOST_OF_A_BODY).collect().await.map_err(|_| Unavailable::Garbled)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max_idle {
            idle.push((Instant::now(), connection));
        }
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((used, connection)) = idle.pop() {
            if used.elapsed() < IDLE && !connection.requests.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Connection, Unavailable> {
        let mut why = Unavailable::Connect;
        for place in &self.places {
            match timeout(self.connect_timeout, connect(place)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(_)) => why = Unavailable::Connect,
                Err(_) => why = Unavailable::Timeout,
            }
        }
        Err(why)
    }
}

async fn connect(place: &Place) -> io::Result<Connection> {
    match place {
        Place::Unix(path) => handshake(UnixStream::connect(path).await?).await,
        Place::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            handshake(stream).await
        }
    }
}

async fn handshake<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(stream: S) -> io::Result<Connection> {
    let (requests, connection) =
        Builder::new().handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when nobody has requests for it any more; what fails on it fails the request.
    Ok(Connection { requests, task: tokio::spawn(connection) })
}

impl Connection {
    /// Asks this, and waits for the answer's head for as long as there is a connection.
    async fn answer(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<hyper::Response<Incoming>, Unavailable> {
        let Self { requests, task } = self;
        let mut answer = pin!(requests.send_request(request));
        let answer = poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            ready!(Pin::new(&mut *task).poll(context)).ok();
            // The last that it did may have been to answer.
            Poll::Ready(match answer.as_mut().poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
        });
        match answer.await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) if error.is_parse() => Err(Unavailable::Garbled),
            Some(Err(_)) | None => Err(Unavailable::Closed),
        }
    }
}

fn request(ask: &Ask) -> Result<Request<Full<Bytes>>, Unavailable> {
    let mut request = Request::builder().method(&ask.method).uri(&ask.path);
    request = request.header(HOST, "freshet");
    for (name, value) in &ask.headers {
        let printable = value.bytes().all(|b| (b' '..=b'~').contains(&b));
        let value = HeaderValue::from_str(value).ok().filter(|_| printable).ok_or(Unavailable::Header)?;
        request = request.header(*name, value);
    }
    // What is left to fail is a path of more than 64 KiB.
    request.body(Full::new(ask.body.clone())).map_err(|_| Unavailable::Header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_that_nobody_will_take_is_not_waited_for() {
        let (stream, _peer) = tokio::io::duplex(64);
        // It is kept, and never runs: as it is between its last look for requests and its end.
        let (requests, _connection) = Builder::new().handshake(TokioIo::new(stream)).await.unwrap();
        let mut connection = Connection { requests, task: tokio::spawn(async { Ok(()) }) };
        let answer = connection.answer(Request::new(Full::default()));
        let answer = timeout(Duration::from_secs(5), answer).await.expect("it is waited for");
        assert_eq!(answer.unwrap_err(), Unavailable::Closed);
    }
}
