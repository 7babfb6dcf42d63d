//! Keeps streams from growing for ever: Debezium never removes an entry, and neither does any sidecar.
//!
//! Only the Lease's holder does this, and only once every binding has been looked at: one that isn't known yet may have
//! a longer retention. [`plan`] decides, `trim` does it, the [`Ledger`] has what bindings want and what became of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use freshet_connect::Link;
use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    sources::{self, Target},
};

pub mod plan;
mod trim;

use plan::{Orders, Wish, orders};
pub use trim::NotTrimmed;

/// How often streams are trimmed: a fraction of the least retention.
const ROUND: Duration = Duration::from_secs(15);
/// After so many rounds without all bindings it is told that nothing is trimmed: five minutes.
const PATIENCE: u32 = 20;
/// How long one source may take in one round.
const DEADLINE: Duration = Duration::from_mins(1);

/// What one source of a binding wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The source's name.
    pub source: String,
    /// Where it is; `None`: its Secret isn't there, say.
    pub target: Option<Target>,
    /// The streams that Debezium writes for it.
    pub streams: BTreeSet<String>,
    /// How old entries get; `None`: nothing is removed.
    pub retention: Option<Duration>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Entries that are older were removed.
    Trimmed,
    /// This stream isn't trimmed because of this binding.
    Held(String, String),
    /// It failed.
    Failed(NotTrimmed),
}

/// What bindings want, by uid, and what became of it.
#[derive(Default)]
pub struct Ledger(Mutex<HashMap<String, Page>>);

/// Of one binding.
#[derive(Clone, Default)]
struct Page {
    namespace: String,
    binding: String,
    wants: Vec<Want>,
    became: HashMap<String, Became>,
}

// === impl Ledger ===

impl Ledger {
    /// What a binding wants now; `None`: it isn't accepted, and wants what it wanted.
    pub fn want(&self, uid: &str, namespace: &str, name: &str, wants: Option<Vec<Want>>) {
        let mut pages = self.lock();
        let page = pages.entry(uid.to_owned()).or_default();
        namespace.clone_into(&mut page.namespace);
        page.binding = format!("{namespace}/{name}");
        if let Some(wants) = wants.filter(|wants| *wants != page.wants) {
            page.wants = wants;
            page.became.clear();
        }
    }

    /// What became of a binding's wants, by source; nothing yet for those that aren't there.
    #[must_use]
    pub fn became(&self, uid: &str) -> HashMap<String, Became> {
        self.lock().get(uid).map(|page| page.became.clone()).unwrap_or_default()
    }

    /// Forgets all but these bindings; whether each of them has been looked at.
    fn is_whole(&self, uids: &BTreeSet<String>) -> bool {
        let mut pages = self.lock();
        pages.retain(|uid, _| uids.contains(uid));
        pages.len() == uids.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Trims until dropped. `bindings` says which ones there are.
pub async fn keep(ledger: &Ledger, bindings: impl Fn() -> BTreeSet<String>, metrics: &Metrics) {
    let mut waited = 0;
    loop {
        let start = Instant::now();
        if ledger.is_whole(&bindings()) {
            waited = 0;
            round(ledger, metrics).await;
        } else {
            waited += 1;
            if waited == PATIENCE {
                tracing::warn!("nothing is trimmed: not every binding could be looked at yet");
            }
        }
        tokio::time::sleep_until(start + ROUND).await;
    }
}

/// Looks at every stream once.
async fn round(ledger: &Ledger, metrics: &Metrics) {
    let pages: Vec<_> = ledger.lock().iter().map(|(uid, page)| (uid.clone(), page.clone())).collect();
    // Nobody is asked while there is nothing to do.
    if !pages.iter().any(|(_, page)| page.wants.iter().any(|want| want.retention.is_some())) {
        return;
    }
    let wants = pages.iter().flat_map(|(uid, page)| page.wants.iter().map(move |want| (uid, page, want)));
    let asked = wants.map(|(uid, page, want)| async move {
        let found = within(reach(want, &page.namespace)).await;
        let (link, server, is_master) = match found {
            Ok((link, server, is_master)) => (Ok(link), Some(server), is_master),
            Err(error) => (Err(error), None, false),
        };
        let wish = Wish {
            binding: page.binding.clone(),
            server,
            is_master,
            streams: want.streams.clone(),
            retention: want.retention,
        };
        ((uid, want, link), wish)
    });
    let (asked, wishes): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().unzip();
    let asked = asked.into_iter().zip(orders(&wishes)).filter(|((_, want, _), _)| want.retention.is_some());
    let done = asked.map(|((uid, want, link), orders)| async move {
        let became = match link {
            Ok(link) => within(carry_out(link, &orders, metrics)).await.err(),
            Err(error) => Some(error),
        };
        let became = match (became, orders.held) {
            (Some(error), _) => {
                metrics.trim_failures.inc();
                tracing::warn!(%error, source = want.source, "can't trim");
                Became::Failed(error)
            }
            (None, Some((stream, by))) => Became::Held(stream, by),
            (None, None) => Became::Trimmed,
        };
        // Unless it wants something else by now.
        if let Some(page) = ledger.lock().get_mut(uid).filter(|page| page.wants.contains(want)) {
            page.became.insert(want.source.clone(), became);
        }
    });
    join_all(done).await;
}

async fn within<T>(work: impl Future<Output = Result<T, NotTrimmed>>) -> Result<T, NotTrimmed> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or(Err(NotTrimmed::Timeout))
}

async fn reach(want: &Want, namespace: &str) -> Result<(Link, plan::Server, bool), NotTrimmed> {
    let target = want.target.as_ref().ok_or(NotTrimmed::Unknown)?;
    let mut link = sources::connect(target, namespace).await?;
    let (server, is_master) = trim::server(&mut link, target.redis.url.database).await?;
    Ok((link, server, is_master))
}

/// The first failure doesn't keep the other streams from being trimmed.
async fn carry_out(mut link: Link, orders: &Orders, metrics: &Metrics) -> Result<(), NotTrimmed> {
    let mut first = Ok(());
    for (stream, retention) in &orders.trim {
        match trim::trim(&mut link, stream, *retention).await {
            Ok(removed) => drop(metrics.trimmed_entries.inc_by(removed)),
            Err(error) => first = first.and(Err(error)),
        }
    }
    first
}

#[cfg(test)]
mod tests;
