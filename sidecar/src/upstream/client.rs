//! One request to an upstream: the connection, the head, the body, each within its bounds.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use freshet_connect::{Certificates, tls_client, tls_meaning};
use freshet_crds::binding::UpstreamSpec;
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::{Body as _, Incoming},
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{ALL_AT_ONCE, failure::Failure};
use crate::mounts::Mounts;

/// How long a connection may take to be made, at most.
const CONNECT: Duration = Duration::from_secs(3);
/// How many connections to one upstream are kept open, and for how long, while nothing is asked.
const IDLE: (usize, Duration) = (4, Duration::from_secs(30));
/// Largest head of an answer, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Most bytes of answers under way at once, over all upstreams; one larger answer may be under way alone.
const ROOM: u32 = 16 << 20;

/// What sends requests over an upstream's connections.
pub type Http = legacy::Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// What all upstreams share: how many requests are sent at once, and room for answers under way, in bytes.
#[derive(Clone, Debug)]
pub struct Room {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// The connections to one upstream.
#[derive(Debug, Default)]
pub struct Client(Mutex<Option<(Certificates, Http)>>);

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its head.
    pub head: HeaderMap,
    /// Its body, as it is.
    pub body: Bytes,
    /// How long it took to come, its body included.
    pub delay: Duration,
}

// === impl Room ===

impl Default for Room {
    fn default() -> Self {
        Self {
            requests: Arc::new(Semaphore::new(ALL_AT_ONCE)),
            bytes: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }
}

impl Room {
    /// Waits for a request's turn among those to all upstreams.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.requests.acquire().await.ok()
    }
}

// === impl Client ===

impl Client {
    /// The connections, made with what is mounted now: other authorities than before mean other connections.
    pub fn http(&self, spec: &UpstreamSpec, mounts: &Mounts) -> Result<Http, Failure> {
        let authorities =
            mounts.authorities(spec.ca.as_ref()).map_err(|error| Failure::Failed(error.to_string()))?;
        let certificates = Certificates { authorities, client: None };
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((with, http)) = &*made
            && *with == certificates
        {
            return Ok(http.clone());
        }
        let tls = tls_client(&certificates).map_err(|error| Failure::Failed(error.to_string()))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE.0)
            .pool_idle_timeout(IDLE.1)
            .http1_max_buf_size(MAX_HEAD)
            .build(connector.wrap_connector(tcp));
        *made = Some((certificates, http.clone()));
        Ok(http)
    }

    /// What requests carry beside what is asked for: the credentials, read anew each time.
    pub fn credentials(
        spec: &UpstreamSpec,
        mounts: &Mounts,
    ) -> Result<Option<(HeaderName, HeaderValue)>, Failure> {
        let Some(auth) = &spec.auth else { return Ok(None) };
        let fault = |why: &str| {
            let (name, key) = (&auth.secret.name, &auth.secret.key);
            Failure::Failed(format!("authFrom in Secret `{name}`, key `{key}`, can't be sent: {why}"))
        };
        let text = mounts
            .secret("authFrom", &auth.secret.name, &auth.secret.key)
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(fault("it is empty"));
        }
        let mut value =
            HeaderValue::from_bytes(text).map_err(|_| fault("it isn't one line of printable characters"))?;
        value.set_sensitive(true);
        let name = HeaderName::try_from(&*auth.header).map_err(|_| fault("its header is none"))?;
        Ok(Some((name, value)))
    }
}

/// Asks once. `most`: the largest body in bytes.
pub async fn ask(
    http: &Http,
    spec: &UpstreamSpec,
    uri: &Uri,
    headers: &HeaderMap,
    most: u64,
    room: &Room,
) -> Result<Answer, Failure> {
    let began = Instant::now();
    let deadline = began + spec.timeout;
    let mut request = Request::get(uri.clone());
    if let Some(all) = request.headers_mut() {
        all.extend(headers.clone());
        all.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("freshet-sidecar/", env!("CARGO_PKG_VERSION"))),
        );
        all.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let request = request
        .body(Empty::new())
        .map_err(|error| Failure::Failed(format!("the request can't be made: {error}")))?;
    let late = |what| Failure::Late(what, spec.timeout);
    let answer = timeout_at(deadline, http.request(request))
        .await
        .map_err(|_| late("the upstream doesn't answer"))?
        .map_err(|error| match failed(&error, spec) {
            Failure::Failed(text) if was_closed(&error) => Failure::Closed(text),
            failure => failure,
        })?;
    let (parts, body) = answer.into_parts();
    if parts.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Failure::Failed("it answers with a Content-Encoding, which wasn't asked for".into()));
    }
    let body = timeout_at(deadline, receive(body, most, room))
        .await
        .map_err(|_| late("the upstream's answer doesn't end"))?
        .map_err(|error| match error {
            Broken::TooLarge => {
                Failure::TooLarge(format!("its answer has more than {most} bytes, which maxBytes allows"))
            }
            Broken::Hyper(error) => failed(&error, spec),
        })?;
    // What its head says it said before its body came.
    let delay = began.elapsed();
    Ok(Answer { status: parts.status, head: parts.headers, body, delay })
}

enum Broken {
    TooLarge,
    Hyper(hyper::Error),
}

/// A body of at most `most` bytes, whatever its head says, in an allocation of just its length.
async fn receive(mut body: Incoming, most: u64, room: &Room) -> Result<Bytes, Broken> {
    let announced = body.size_hint().exact();
    if announced.is_some_and(|length| length > most) {
        return Err(Broken::TooLarge);
    }
    let needed = u32::try_from(announced.unwrap_or(most)).unwrap_or(u32::MAX).min(ROOM);
    // It is never closed.
    let _room = room.bytes.acquire_many(needed).await;
    let mut bytes =
        BytesMut::with_capacity(usize::try_from(announced.unwrap_or_default()).unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Broken::Hyper)?;
        let Some(piece) = frame.data_ref() else { continue };
        if (bytes.len() + piece.len()) as u64 > most {
            return Err(Broken::TooLarge);
        }
        bytes.extend_from_slice(piece);
    }
    Ok(if bytes.capacity() == bytes.len() { bytes.freeze() } else { Bytes::copy_from_slice(&bytes) })
}

/// What a client's error means, with its causes: the library's own text says only that it failed.
fn failed(error: &(dyn Error + 'static), spec: &UpstreamSpec) -> Failure {
    let causes = || std::iter::successors(Some(error), |&error| error.source());
    let tls = causes().find_map(|error| tls_in(error.downcast_ref()?));
    let tls = tls.map(|io| tls_meaning(io, &spec.url.at).to_string());
    let text = tls.unwrap_or_else(|| {
        let texts: Vec<_> = causes().map(ToString::to_string).collect();
        format!("{}: {}", spec.url.origin(), texts.join(": "))
    });
    Failure::Failed(text)
}

/// The error of I/O that has one of TLS within: it names what TLS has against a certificate, and is wrapped by others.
fn tls_in(error: &io::Error) -> Option<&io::Error> {
    let within = error.get_ref()?;
    if within.is::<rustls::Error>() { Some(error) } else { tls_in(within.downcast_ref()?) }
}

/// Whether the connection was closed instead of an answer, however that has shown.
fn was_closed(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|error| {
        let ended = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message);
        let broke = error.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
        });
        ended || broke
    })
}
