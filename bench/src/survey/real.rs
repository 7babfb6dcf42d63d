//! What a real sidecar answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use freshet_e2e::process::{Redis, Sidecar, http, until};

/// Its caches, each of a table of its own.
const CACHES: usize = 8;

/// An answer.
pub(super) struct Answer {
    /// As it comes over a connection.
    pub(super) bytes: Arc<[u8]>,
    /// How many bytes of it are the body.
    pub(super) body: usize,
}

/// The tables of the sidecar's caches.
pub(super) fn tables() -> BTreeMap<String, BTreeSet<String>> {
    (0..CACHES).map(|n| (format!("cache-{n}"), [format!("inventory.table_{n}")].into())).collect()
}

/// Starts a sidecar of this program and asks for its status once it is fresh.
pub(super) fn answer(sidecar: &Path) -> Result<Answer> {
    let redis = Redis::start()?;
    let mut binding = format!(
        "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nmetadata: {{name: bench}}\nspec:\n  sources:\n  \
         - {{name: cdc, redisStream: {{url: '{}', stream: shop.cdc}}}}\n  caches:\n",
        redis.url()
    );
    for (cache, tables) in tables() {
        for table in tables {
            writeln!(binding, "  - {{name: {cache}, table: {table}}}")?;
        }
    }
    let sidecar = Sidecar::builder(sidecar, &binding).start()?;
    let answer = until("the sidecar is fresh", Duration::from_secs(30), || {
        let answer = http::get(&sidecar.admin(), "/status")?;
        let state = answer.json()?["sources"]["cdc"]["state"].clone();
        ensure!(state == "Fresh", "{state}");
        Ok(answer)
    })?;
    let mut bytes = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in &answer.headers {
        write!(bytes, "{name}: {value}\r\n")?;
    }
    let mut bytes = format!("{bytes}\r\n").into_bytes();
    bytes.extend_from_slice(&answer.body);
    Ok(Answer { bytes: bytes.into(), body: answer.body.len() })
}
