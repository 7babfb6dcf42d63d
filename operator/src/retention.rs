//! Keeps streams from growing for ever: Debezium never removes an entry, and neither does any sidecar.
//!
//! Only the Lease's holder does this, and only while it is known what every binding wants, as it is now: one that isn't
//! known may have a longer retention. [`plan`] decides, `trim` does it, the [`Ledger`] has what bindings want and what
//! became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use freshet_connect::Link;
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use tokio::time::{Instant, timeout};

use crate::{metrics::Metrics, sources};

mod ledger;
pub mod plan;
mod trim;

pub use ledger::{Became, Ledger, There, Want};
use plan::{Job, Plan, Wish};
pub use trim::NotTrimmed;

/// How often streams are trimmed: a fraction of the least retention.
const ROUND: Duration = Duration::from_secs(15);
/// After so many rounds without all bindings it is told that nothing is trimmed: a minute.
const PATIENCE: u32 = 4;
/// How long a source may take to say who it is.
const REACH: Duration = Duration::from_secs(10);
/// How long one server is worked on in one round; of this every stream gets its share.
const WORK: Duration = Duration::from_secs(30);
/// How long one stream is worked on at most; what is left is for the next round.
const STREAM: Duration = Duration::from_secs(5);
/// How long Redis may take to answer, beside.
const ANSWER: Duration = Duration::from_secs(5);

/// Trims until dropped. `bindings` says which ones there are, by uid.
pub async fn keep(ledger: &Ledger, bindings: impl Fn() -> BTreeMap<String, There>, metrics: &Metrics) {
    let mut waited = 0_u32;
    loop {
        let start = Instant::now();
        let unknown = ledger.unknown(&bindings());
        if unknown.is_empty() {
            waited = 0;
            round(ledger, &bindings, metrics).await;
        } else {
            waited = waited.saturating_add(1);
            if waited >= PATIENCE {
                ledger.note_waiting(&unknown);
            }
            if waited == PATIENCE {
                tracing::warn!(bindings = ?unknown, "nothing is trimmed: it isn't known what these want");
            }
        }
        tokio::time::sleep_until(start + ROUND).await;
    }
}

/// Looks at every stream once. Whatever changes meanwhile in what bindings want ends it.
async fn round(ledger: &Ledger, bindings: &impl Fn() -> BTreeMap<String, There>, metrics: &Metrics) {
    let (version, pages) = ledger.read();
    let wants = || {
        pages
            .iter()
            .flat_map(|(uid, page)| page.wants.iter().flatten().map(move |want| (uid, &page.there, want)))
    };
    // Nobody is asked while there is nothing to do.
    if !wants().any(|(_, _, want)| want.retention.is_some()) {
        return;
    }
    let asked = join_all(wants().map(|(_, there, want)| async move {
        let found = timeout(REACH, reach(want, &there.namespace)).await;
        found.unwrap_or(Err(NotTrimmed::Timeout))
    }))
    .await;
    let wishes: Vec<_> = wants()
        .zip(&asked)
        .map(|((_, there, want), found)| Wish {
            binding: there.to_string(),
            server: found.as_ref().ok().map(|(_, server, _)| server.clone()),
            is_master: found.as_ref().is_ok_and(|(_, _, is_master)| *is_master),
            streams: want.streams.clone(),
            retention: want.retention,
        })
        .collect();
    let Plan { jobs, held } = plan::plan(&wishes);
    let still = || ledger.unknown(&bindings()).is_empty() && ledger.is_at(version);
    let links: Vec<_> = asked.iter().map(|found| found.as_ref().ok().map(|(link, ..)| link)).collect();
    let worked = join_all(jobs.values().map(|jobs| work(jobs, &links, &still, metrics))).await;
    // What was cut short is for the next round, which begins with what is wanted then.
    let Some(worked) = worked.into_iter().collect::<Option<Vec<_>>>().filter(|_| still()) else { return };
    let mut failed: BTreeMap<usize, NotTrimmed> = worked.into_iter().flatten().collect();
    failed.extend(
        asked.iter().enumerate().filter_map(|(place, found)| Some((place, found.as_ref().err()?.clone()))),
    );
    for (place, (uid, _, want)) in wants().enumerate().filter(|(_, (_, _, want))| want.retention.is_some()) {
        let became = match (failed.remove(&place), &held[place]) {
            (Some(error), _) => {
                metrics.trim_failures.inc();
                tracing::warn!(%error, source = want.source, "can't trim");
                Became::Failed(error)
            }
            (None, Some((stream, by))) => Became::Held(stream.clone(), by.clone()),
            (None, None) => Became::Trimmed,
        };
        ledger.note(uid, &want.source, became);
    }
}

async fn reach(want: &Want, namespace: &str) -> Result<(Link, plan::Server, bool), NotTrimmed> {
    let redis = want.target.as_ref().ok_or(NotTrimmed::Unknown)?;
    let mut link = sources::connect(redis, namespace).await?;
    let (server, is_master) = trim::server(&mut link, redis.url.database).await?;
    Ok((link, server, is_master))
}

/// Does the jobs of one server, and returns for which wishes one failed; `None`: cut short. A failure doesn't keep the
/// other streams from being trimmed.
async fn work(
    jobs: &[Job],
    links: &[Option<&Link>],
    still: &impl Fn() -> bool,
    metrics: &Metrics,
) -> Option<BTreeMap<usize, NotTrimmed>> {
    let share = STREAM.min(WORK / u32::try_from(jobs.len()).unwrap_or(u32::MAX).max(1));
    let (mut failed, mut silent) = (BTreeMap::new(), BTreeSet::new());
    for job in jobs {
        if !still() {
            return None;
        }
        let mut said = BTreeMap::new();
        let mut is_done = false;
        for &place in &job.by {
            let Some(link) = links[place].filter(|_| !silent.contains(&place)) else {
                said.insert(place, NotTrimmed::Timeout);
                continue;
            };
            let mut link: MultiplexedConnection = (**link).clone();
            let trimming = trim::trim(&mut link, &job.stream, job.retention, share);
            match timeout(share + ANSWER, trimming).await {
                Ok(Ok(removed)) => {
                    metrics.trimmed_entries.inc_by(removed);
                    is_done = true;
                    break;
                }
                Ok(Err(error)) => drop(said.insert(place, error)),
                Err(_) => {
                    silent.insert(place);
                    said.insert(place, NotTrimmed::Timeout);
                }
            }
        }
        let first = job.by.first().and_then(|place| said.get(place)).filter(|_| !is_done).cloned();
        // To each what its own user was told, and to those that weren't tried what the first was.
        for place in &job.of {
            if let Some(error) = said.get(place).filter(|_| !is_done).or(first.as_ref()) {
                failed.entry(*place).or_insert_with(|| error.clone());
            }
        }
    }
    Some(failed)
}

#[cfg(test)]
mod tests;
