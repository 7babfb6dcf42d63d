//! The application's API: values by key over HTTP/1.1, on TCP and on a Unix socket.

use std::{sync::Arc, time::Duration};

use hyper::{Request, body::Body as _, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tracing::debug;

use crate::{engine::Engine, metrics::ConnectionStats, status::BindingWatch, upstream::service::Service};
use connection::{Patience, Phase, Timed};
use problem::Problem;
use reply::Reply;

mod accept;
pub(crate) mod batch;
mod body;
pub(crate) mod connection;
mod depends;
pub(crate) mod directives;
mod events;
mod fill;
pub mod listen;
mod problem;
pub(crate) mod publish;
mod reply;
mod routes;
mod rows;
mod upstream;
mod views;
pub(crate) mod waiting;

/// Most tables, rows and tags that one value depends on.
pub const MAX_DEPENDENCIES: usize = 1000;
/// Largest request head in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// Most connections at once; one more is answered 503 and closed.
pub const MAX_CONNECTIONS: usize = 1024;
/// How long a request's head may take from its first byte.
pub const HEAD: Duration = Duration::from_secs(5);
/// How long a request's body may take.
pub const BODY: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer.
pub const WRITE: Duration = Duration::from_secs(10);
/// How long a connection may stay open between requests.
pub const IDLE: Duration = Duration::from_secs(75);
/// How long requests under way may take once the sidecar is told to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// What answers the application's requests.
#[derive(Clone)]
pub struct Api {
    engine: Arc<Engine>,
    upstreams: Arc<Service>,
    binding: BindingWatch,
    stats: Arc<ConnectionStats>,
    limit: usize,
    slots: Arc<Semaphore>,
    room: body::Room,
    outgoing: body::Room,
    streams: events::Streams,
}

impl Api {
    /// An API over `engine`, of at most `connections` at once, and never more than [`MAX_CONNECTIONS`].
    #[must_use]
    pub fn new(
        engine: Arc<Engine>,
        upstreams: Arc<Service>,
        binding: BindingWatch,
        stats: Arc<ConnectionStats>,
        connections: usize,
    ) -> Self {
        let limit = connections.min(MAX_CONNECTIONS);
        let room = body::Room::new();
        Self {
            engine,
            upstreams,
            binding,
            stats,
            limit,
            slots: Arc::new(Semaphore::new(limit)),
            outgoing: room.part(body::OUTGOING),
            room,
            streams: events::Streams::of(limit),
        }
    }

    /// Serves every listener until `stop` turns true, then lets what is under way end, for at most [`DRAIN`].
    pub async fn serve(self, listeners: Vec<listen::Listener>, mut stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(self.clone().accept(listener, stop.clone()));
        }
        stopped(&mut stop).await;
        let drained = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            debug!("requests under way were cut");
        }
    }

    async fn accept(self, listener: listen::Listener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut complaints = listen::Complaints::default();
        loop {
            let stream = tokio::select! {
                stream = listener.accept(&mut complaints) => stream,
                Some(_) = connections.join_next() => continue,
                () = stopped(&mut stop) => break,
            };
            match Arc::clone(&self.slots).try_acquire_owned() {
                Ok(slot) => connections.spawn(self.clone().converse(stream, slot, stop.clone())),
                Err(_) => connections.spawn(refuse(stream, self.limit)),
            };
        }
        // From here on new connections are refused by the kernel; those that are open end by themselves.
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    async fn converse(
        self,
        stream: listen::Stream,
        slot: OwnedSemaphorePermit,
        mut stop: watch::Receiver<bool>,
    ) {
        let patience = Patience::new();
        let io = TokioIo::new(Timed::new(stream, Arc::clone(&patience)));
        let stopping = stop.clone();
        let service = service_fn(|request| self.respond(request, &patience, &stopping));
        let mut http = http1::Builder::new();
        // The head's time limit is the connection's own (see `connection`), and a Date is of no use to anyone
        // on the same machine. Flushing whole pipelines at once is left off: hyper then holds answers back while
        // any byte of a further request lies in its buffer, errors about that request included.
        http.header_read_timeout(None).auto_date_header(false).max_buf_size(MAX_HEAD);
        let mut connection = std::pin::pin!(http.serve_connection(io, service));
        self.stats.opened();
        let mut stopping = false;
        loop {
            tokio::select! {
                end = connection.as_mut() => {
                    if let Err(error) = end {
                        debug!(%error, "connection ended");
                    }
                    break;
                }
                phase = patience.run_out() => {
                    if phase != Phase::Idle {
                        self.stats.cut();
                        debug!(?phase, "slow client was cut off");
                    }
                    break;
                }
                () = stopped(&mut stop), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
        self.stats.closed();
        drop(slot);
    }

    async fn respond(
        &self,
        mut request: Request<Incoming>,
        patience: &Arc<Patience>,
        stop: &watch::Receiver<bool>,
    ) -> Result<Reply, std::convert::Infallible> {
        let response = if patience.begin(!request.body().is_end_stream()) {
            Problem::fragment().response()
        } else {
            routes::answer(self, patience, stop, &mut request).await
        };
        body::drain(request.body_mut()).await;
        patience.enter(Phase::Answering);
        Ok(response)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it everything else.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Tells one client too many so.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, limit: usize) {
    let words = Problem::too_many_connections(limit).last_words();
    let answer = async {
        stream.write_all(&words).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(WRITE, answer).await;
}
