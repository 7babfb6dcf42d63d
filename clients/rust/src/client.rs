//! The client.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::Method;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Answer, BadAddress, BoxError, Cbor, Codec, Fill, Key, Load, Outcome, Publication, PublishError,
    Published, Read, Status,
    address::places,
    exchange::{Ask, Exchange, Unavailable},
    fill::{Encoded, Stored},
    health::Health,
    key::escape,
};

/// Is told of a mistake: the cache and the problem.
pub type OnProblem = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Where the sidecar is and how long it may take.
#[derive(Clone)]
pub struct Config {
    /// A socket's path or a URL. `None`: `FRESHET_SOCKET` and `FRESHET_URL` are tried in this order, and without these the
    /// places where a sidecar listens by default.
    pub address: Option<String>,
    /// Bounds each request; a read that waits may take as much longer as it waits. Default: 250 ms.
    pub timeout: Duration,
    /// Bounds connecting. Default: 50 ms.
    pub connect_timeout: Duration,
    /// How long somebody else's load, or the log, is waited for unless a read says otherwise. Default: 1 s.
    pub wait: Duration,
    /// How many unused connections are kept. Default: 32.
    pub max_idle: usize,
    /// Is told of each kind of mistake once. `None`: a warning by `tracing`.
    pub on_problem: Option<OnProblem>,
}

/// Reads through one sidecar. A clone shares its connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    exchange: Exchange,
    wait: Duration,
    on_problem: Option<OnProblem>,
    told: Mutex<HashSet<(String, String)>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: None,
            timeout: Duration::from_millis(250),
            connect_timeout: Duration::from_millis(50),
            wait: Duration::from_secs(1),
            max_idle: 32,
            on_problem: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, timeout, connect_timeout, wait, max_idle, on_problem: _ } = self;
        let mut shown = f.debug_struct("Config");
        shown.field("address", address).field("timeout", timeout).field("connect_timeout", connect_timeout);
        shown.field("wait", wait).field("max_idle", max_idle).finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.exchange.places).finish()
    }
}

impl Client {
    /// A client of the sidecar beside this process. Nothing is connected before the first read.
    pub fn new() -> Result<Self, BadAddress> {
        Self::with(Config::default())
    }

    /// A client that is told more.
    pub fn with(config: Config) -> Result<Self, BadAddress> {
        let exchange = Exchange {
            places: places(config.address.as_deref(), |name| std::env::var(name).ok())?,
            timeout: config.timeout,
            connect_timeout: config.connect_timeout,
            max_idle: config.max_idle,
            idle: Mutex::default(),
            health: Health::default(),
        };
        let (wait, on_problem) = (config.wait, config.on_problem);
        Ok(Self(Arc::new(Inner { exchange, wait, on_problem, told: Mutex::default() })))
    }

    /// The cached value, or what `loader` reads, which is then stored as [CBOR](Cbor).
    ///
    /// `loader` reads the database, outside any transaction that has written; `None` stands for "there is no such row",
    /// which is cached, too. The error is the loader's.
    pub async fn get_or_load<T, E, L, F>(
        &self,
        cache: &str,
        key: impl Into<Key>,
        loader: L,
    ) -> Result<Answer<T>, E>
    where
        T: Serialize + DeserializeOwned,
        L: FnOnce(Fill) -> F,
        F: Future<Output = Result<Option<T>, E>>,
    {
        self.get_or_load_with(cache, key, Load::default(), &Cbor, loader).await
    }

    /// [`Client::get_or_load`] with more to say.
    pub async fn get_or_load_with<T, E, C, L, F>(
        &self,
        cache: &str,
        key: impl Into<Key>,
        load: Load,
        codec: &C,
        loader: L,
    ) -> Result<Answer<T>, E>
    where
        C: Codec<T>,
        L: FnOnce(Fill) -> F,
        F: Future<Output = Result<Option<T>, E>>,
    {
        let (key, wanted, wait) = (key.into(), &load.read, load.read.wait.unwrap_or(self.0.wait));
        let now = Read { wait: None, ..wanted.clone() };
        let waiting = Read { wait: Some(wait), ..wanted.clone() };
        // Whoever is behind waits for the log from the start. Whoever finds somebody loading asks again, and then waits: that
        // sidecar is known to answer.
        let accept = codec.accept();
        let mut found = if wanted.min_position.is_some() {
            self.read(cache, &key, &waiting, accept).await
        } else {
            let found = self.read(cache, &key, &now, accept).await;
            let loading = found.fill.as_deref() == Some("other") && !wanted.no_cache && !wait.is_zero();
            if loading { self.read(cache, &key, &waiting, accept).await } else { found }
        };
        if found.found {
            let Some(bytes) = &found.value else { return Ok(found.with(None)) };
            if let Ok(value) = codec.decode_type(found.content_type.as_deref().unwrap_or_default(), bytes) {
                return Ok(found.with(Some(value)));
            }
            self.tell(cache, "undecodable");
            // Another version of the application stored it. It is replaced.
            found = self.get(cache, &key, &Read { no_cache: true, ..Read::default() }).await;
            found.detail = Some("undecodable".to_owned());
        }
        let fill = Fill::new(load.stored());
        let value = loader(fill.clone()).await?;
        if let Some(lease) = &found.lease {
            found.stored = Some(self.store(cache, &key, lease, value.as_ref(), codec, fill.take()).await);
        }
        Ok(found.with(value))
    }

    /// What is cached, as the bytes that are stored; on a miss with a lease for [`Client::put`].
    pub async fn get(&self, cache: &str, key: &Key, wanted: &Read) -> Answer<bytes::Bytes> {
        self.read(cache, key, wanted, None).await
    }

    async fn read(
        &self,
        cache: &str,
        key: &Key,
        wanted: &Read,
        accept: Option<&'static str>,
    ) -> Answer<bytes::Bytes> {
        let wait = wanted.wait.unwrap_or_default();
        let mut headers = Vec::new();
        if !wait.is_zero() {
            headers.push(("prefer", format!("wait={}", wait.as_secs_f64())));
        }
        if let Some(position) = &wanted.min_position {
            headers.push(("freshet-min-position", position.clone()));
        }
        if wanted.no_cache {
            headers.push(("cache-control", "no-cache".to_owned()));
        }
        headers.extend(accept.map(|accept| ("accept", accept.to_owned())));
        let ask = Ask {
            method: Method::GET,
            path: key.path(cache),
            headers,
            body: bytes::Bytes::new(),
            wait,
            pausable: true,
            once: false,
        };
        let answer = match self.0.exchange.ask(ask).await {
            Ok(response) => response.answer(),
            Err(Unavailable::Header) => Answer::nothing(Status::Refused, "header"),
            Err(why) => Answer::nothing(Status::Unavailable, why.as_str()),
        };
        let failed = matches!(answer.status, Status::Refused | Status::Unavailable);
        if let Some(detail) = answer.detail.as_deref().filter(|detail| failed && *detail != "paused") {
            self.tell(cache, detail);
        }
        answer
    }

    /// Stores what was read after the lease was given; `None` stands for "there is no such row". Of `load` only what is
    /// said of storing counts.
    pub async fn put<T, C: Codec<T>>(
        &self,
        cache: &str,
        key: &Key,
        lease: &str,
        value: Option<&T>,
        load: Load,
        codec: &C,
    ) -> Outcome {
        self.store(cache, key, lease, value, codec, load.stored()).await
    }

    /// Drops a value in this pod. It is tried even while reads are paused.
    pub async fn delete(&self, cache: &str, key: &Key) -> Outcome {
        let (path, body) = (key.path(cache), bytes::Bytes::new());
        let ask = Ask {
            method: Method::DELETE,
            path,
            headers: Vec::new(),
            body,
            wait: Duration::ZERO,
            pausable: false,
            once: false,
        };
        self.0.exchange.ask(ask).await.map_or(Outcome::Unavailable, |response| response.outcome())
    }

    /// Voids what depends on a tag in this pod. As [`Client::delete`], it is always tried.
    pub async fn invalidate_tag(&self, text: &str) -> Outcome {
        let (path, body) = (format!("/v1/_tags/{}", escape(text)), bytes::Bytes::new());
        let ask = Ask {
            method: Method::POST,
            path,
            headers: Vec::new(),
            body,
            wait: Duration::ZERO,
            pausable: false,
            once: false,
        };
        self.0.exchange.ask(ask).await.map_or(Outcome::Unavailable, |response| response.outcome())
    }

    /// Tells every pod whose sidecar follows the cache's source what is so from now on. The cache is `published`.
    ///
    /// It answers when the source has all of it, and this pod's reads see it, within 6 s and [`Config::timeout`]. Nothing is
    /// tried again by itself: whoever publishes once more, later, wins over what others have published meanwhile, and only the
    /// application knows what holds by then. As [`Client::delete`], it is always tried.
    pub async fn publish(&self, cache: &str, publication: Publication) -> Result<Published, PublishError> {
        self.0.exchange.ask(publication.ask(cache)?).await?.published()
    }

    async fn store<T, C: Codec<T>>(
        &self,
        cache: &str,
        key: &Key,
        lease: &str,
        value: Option<&T>,
        codec: &C,
        stored: Stored,
    ) -> Outcome {
        let outcome = match encoded(codec, value).map(|value| stored.ask(&key.path(cache), lease, value)) {
            Err(_) => Outcome::Refused("unencodable".to_owned()),
            Ok(ask) => match self.0.exchange.ask(ask).await {
                Ok(response) => response.outcome(),
                Err(Unavailable::Header) => Outcome::Refused("header".to_owned()),
                Err(_) => Outcome::Unavailable,
            },
        };
        if let Outcome::Refused(problem) = &outcome {
            self.tell(cache, problem);
        }
        outcome
    }

    fn tell(&self, cache: &str, problem: &str) {
        let mistake = (cache.to_owned(), problem.to_owned());
        if !self.0.told.lock().unwrap_or_else(PoisonError::into_inner).insert(mistake) {
            return;
        }
        if let Some(tell) = &self.0.on_problem {
            tell(cache, problem);
        } else {
            tracing::warn!(cache, problem, "freshet");
        }
    }
}

/// A value's bytes and type; without them there is no such row.
fn encoded<T, C: Codec<T>>(codec: &C, value: Option<&T>) -> Result<Option<Encoded>, BoxError> {
    let encoded = value.map(|value| Ok((codec.content_type().into_owned(), codec.encode(value)?)));
    encoded.transpose()
}
