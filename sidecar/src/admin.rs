//! The admin listener: health, metrics and status, on the pod's address. No values ever.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::{debug, info, warn};

use crate::{
    api::{
        self,
        connection::{Patience, Phase, Timed},
        listen::{Complaints, RETRY_ACCEPT},
    },
    args::ADMIN_PORT,
    clock::Tick,
    engine::Engine,
    gate::Gate,
    metrics::{self, ConnectionStats},
    status::{self, BindingWatch},
};

/// Most connections at once from other machines and pods; scrapers need a few.
const MAX_CONNECTIONS: usize = 64;
/// Most connections at once from this machine beyond those: whoever fills the others can't keep the kubelet's
/// probes, which run inside the pod, from being answered.
const MAX_LOCAL_CONNECTIONS: usize = 16;
/// Descriptors that the admin listener may come to need.
pub const DESCRIPTORS: usize = MAX_CONNECTIONS + MAX_LOCAL_CONNECTIONS + 1;

/// Changes the log level: takes a level's name, says whether it is one.
pub type SetLevel = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the admin listener answers from.
pub struct Admin {
    /// The state.
    pub engine: Arc<Engine>,
    /// The binding's state.
    pub binding: BindingWatch,
    /// The API's connections.
    pub connections: Arc<ConnectionStats>,
    /// What the application's start waits for.
    pub gate: Gate,
    /// Changes the log level.
    pub set_level: SetLevel,
}

/// Binds the admin address: the one given, or both families' any-address on the usual port. Where there is no
/// IPv6, IPv4's stands for it.
pub fn bind(address: Option<SocketAddr>) -> io::Result<TcpListener> {
    let wanted = address.unwrap_or(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), ADMIN_PORT));
    match listen(wanted) {
        Err(_) if wanted.ip() == Ipv6Addr::UNSPECIFIED => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), wanted.port()))
        }
        bound => bound,
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            // Whether an IPv6 any-address takes IPv4 too is a system setting; probes need it to.
            let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
            socket.set_only_v6(false)?;
            socket.set_nonblocking(true)?;
            TcpSocket::from_std_stream(socket.into())
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

impl Admin {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener) {
        let admin = Arc::new(self);
        let slots = Slots::default();
        let mut complaints = Complaints::default();
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    // One too many is closed at once: left in the backlog it would keep those behind it waiting.
                    let Some(slot) = slots.take(peer.ip()) else { continue };
                    let admin = Arc::clone(&admin);
                    tokio::spawn(async move {
                        admin.converse(stream, peer).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    if complaints.due() {
                        warn!(%error, "can't accept admin connections");
                    }
                    tokio::time::sleep(RETRY_ACCEPT).await;
                }
            }
        }
    }

    async fn converse(&self, stream: TcpStream, peer: SocketAddr) {
        let patience = Patience::new();
        let io = TokioIo::new(Timed::new(stream, Arc::clone(&patience)));
        let service = service_fn(async |request: Request<Incoming>| {
            patience.begin(!request.body().is_end_stream());
            let response = self.answer(request, peer).await;
            patience.enter(Phase::Answering);
            Ok::<_, std::convert::Infallible>(response)
        });
        let mut http = http1::Builder::new();
        // A client's time is the application's API's, and so kept by the connection itself.
        http.header_read_timeout(None).max_buf_size(api::MAX_HEAD);
        tokio::select! {
            end = http.serve_connection(io, service) => {
                if let Err(error) = end {
                    debug!(%error, "admin connection ended");
                }
            }
            phase = patience.run_out() => debug!(?phase, "slow admin client was cut off"),
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match path.as_str() {
            "/log-level" if request.method() == Method::PUT => self.log_level(request, peer).await,
            "/livez" if read => text(StatusCode::OK, "ok\n"),
            "/startupz" if read => match self.gate.try_open(self.engine.catalog().as_deref(), Tick::now()) {
                Ok(_) => text(StatusCode::OK, "ok\n"),
                Err(missing) => {
                    let mut reply = typed(missing.join("\n") + "\n", "text/plain; charset=utf-8");
                    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    reply
                }
            },
            "/readyz" if read => {
                if status::is_fresh(&self.engine, Tick::now()) {
                    text(StatusCode::OK, "fresh\n")
                } else {
                    let mut reply = self.status();
                    *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    reply
                }
            }
            "/status" if read => self.status(),
            "/metrics" if read => typed(
                metrics::scrape(&self.engine, &self.connections),
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ),
            "/livez" | "/startupz" | "/readyz" | "/status" | "/metrics" | "/log-level" => {
                text(StatusCode::METHOD_NOT_ALLOWED, "GET, or PUT for /log-level\n")
            }
            _ => text(StatusCode::NOT_FOUND, "/livez /readyz /startupz /metrics /status /log-level\n"),
        }
    }

    /// Takes a level's name as the body, from this machine only.
    async fn log_level(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        if !peer.ip().to_canonical().is_loopback() {
            return text(StatusCode::FORBIDDEN, "the log level is changed on loopback only\n");
        }
        let body = Limited::new(request.into_body(), 64).collect().await;
        let Ok(body) = body else { return text(StatusCode::BAD_REQUEST, "send a level's name\n") };
        let level = String::from_utf8_lossy(&body.to_bytes()).trim().to_lowercase();
        if (self.set_level)(&level) {
            info!(level, "log level changed");
            text(StatusCode::OK, "changed\n")
        } else {
            text(StatusCode::BAD_REQUEST, "a level is error, warn, info, debug or trace\n")
        }
    }

    fn status(&self) -> Response<Full<Bytes>> {
        let mut document = status::report(&self.engine, &self.binding, Tick::now());
        document["start"] = self.gate.report(self.engine.catalog().as_deref(), Tick::now());
        typed(document.to_string(), "application/json")
    }
}

/// Room for connections: some for everyone, some for this machine alone.
struct Slots {
    everyone: Arc<Semaphore>,
    local: Arc<Semaphore>,
}

impl Default for Slots {
    fn default() -> Self {
        let semaphore = |n| Arc::new(Semaphore::new(n));
        Self { everyone: semaphore(MAX_CONNECTIONS), local: semaphore(MAX_LOCAL_CONNECTIONS) }
    }
}

impl Slots {
    /// A slot for a connection from `peer`, if there is one left.
    fn take(&self, peer: IpAddr) -> Option<OwnedSemaphorePermit> {
        let take = |slots: &Arc<Semaphore>| Arc::clone(slots).try_acquire_owned().ok();
        if peer.to_canonical().is_loopback() {
            take(&self.local).or_else(|| take(&self.everyone))
        } else {
            take(&self.everyone)
        }
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = typed(body.to_owned(), "text/plain; charset=utf-8");
    *response.status_mut() = status;
    response
}

fn typed(body: String, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{MAX_CONNECTIONS, MAX_LOCAL_CONNECTIONS, Slots};

    #[test]
    fn other_pods_cannot_take_the_room_of_the_pod_itself() {
        let slots = Slots::default();
        let [pod, local, mapped]: [IpAddr; 3] =
            ["10.0.0.7", "::1", "::ffff:127.0.0.1"].map(|text| text.parse().unwrap());
        let mut held: Vec<_> = (0..MAX_CONNECTIONS).map(|_| slots.take(pod).unwrap()).collect();
        assert!(slots.take(pod).is_none(), "one too many");
        held.extend((0..MAX_LOCAL_CONNECTIONS).map(|_| slots.take(mapped).unwrap()));
        assert!(slots.take(local).is_none(), "there is an end to it");
        drop(held.remove(0));
        assert!(slots.take(local).is_some(), "what is free is for everyone");
    }
}
