//! How a loaded value is stored.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::Method;
use serde_json::{Value, json};

use crate::exchange::Ask;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How a loaded value is stored. The loader gets it and may say more: what a page depends on is often known only when it
/// was read.
#[derive(Clone, Debug, Default)]
pub struct Fill(Arc<Mutex<Stored>>);

/// More dependencies than this don't fit a header: they are sent as a batch.
const MOST_DEPENDS: usize = 64;

/// A value's type and bytes.
pub(crate) type Encoded = (String, Vec<u8>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) depends: Vec<String>,
    pub(crate) position: Option<String>,
    pub(crate) max_age: Option<Duration>,
}

impl Fill {
    pub(crate) fn new(stored: Stored) -> Self {
        Self(Arc::new(Mutex::new(stored)))
    }

    /// Adds what [`table`](crate::table), [`row`](crate::row) or [`tag`](crate::tag) make: `inventory.category/7`, say.
    pub fn depends_on(&self, item: impl Into<String>) {
        self.stored().depends.push(item.into());
    }

    /// At which position the value was read: `cdc="snap:725:727:725"`.
    pub fn position(&self, position: impl Into<String>) {
        self.stored().position = Some(position.into());
    }

    /// How long the value may live, below the cache's `ttl`, in whole seconds.
    pub fn max_age(&self, age: Duration) {
        self.stored().max_age = Some(age);
    }

    pub(crate) fn take(&self) -> Stored {
        std::mem::take(&mut self.stored())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    /// The request that stores a value at this path; without one, that there is no such row.
    pub(crate) fn ask(self, path: &str, lease: &str, value: Option<Encoded>) -> Ask {
        if self.depends.len() > MOST_DEPENDS {
            return self.batch(path, lease, value);
        }
        let mut headers = vec![("freshet-lease", lease.to_owned())];
        if !self.depends.is_empty() {
            headers.push(("freshet-depends", self.depends.join(", ")));
        }
        if let Some(position) = self.position {
            headers.push(("freshet-position", position));
        }
        if let Some(age) = self.max_age {
            headers.push(("cache-control", format!("max-age={}", age.as_secs())));
        }
        let body = if let Some((content_type, bytes)) = value {
            headers.push(("content-type", content_type));
            bytes.into()
        } else {
            headers.push(("freshet-absent", "?1".to_owned()));
            bytes::Bytes::new()
        };
        Ask {
            method: Method::PUT,
            path: path.to_owned(),
            headers,
            body,
            wait: Duration::ZERO,
            pausable: true,
            once: false,
        }
    }

    fn batch(self, path: &str, lease: &str, value: Option<Encoded>) -> Ask {
        let mut parts = path.splitn(4, '/').skip(2);
        let (cache, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let mut item = json!({"key": key, "lease": lease, "depends": self.depends});
        if let Some((content_type, bytes)) = value {
            item["type"] = content_type.into();
            item["base64"] = BASE64_STANDARD.encode(bytes).into();
        } else {
            item["absent"] = Value::Bool(true);
        }
        if let Some(position) = self.position {
            item["position"] = position.into();
        }
        if let Some(age) = self.max_age {
            item["maxAge"] = age.as_secs().into();
        }
        Ask {
            method: Method::POST,
            path: format!("/v1/{cache}/_batch"),
            headers: vec![("content-type", "application/json".to_owned())],
            body: json!({"put": [item]}).to_string().into(),
            wait: Duration::ZERO,
            pausable: true,
            once: false,
        }
    }
}
