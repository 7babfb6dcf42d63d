//! What the sidecars say of themselves: each that has started is asked about every ten seconds, by the Lease's holder.
//!
//! Reconciles tell which sidecars a binding has and read what they say; the asking goes on beside them, so that none
//! waits for a sidecar. Bindings whose sidecars say something new, numbers aside, are looked at again at once.
//!
//! What it costs: at most 64 questions under way and 128 a second, each a connection of its own; about 2 % of a core at
//! that pace, and 5 KiB of memory for each sidecar (`bench/README.md`). With more than 1280 sidecars over all bindings
//! each is asked less often, 5000 of them every 40 s; sidecars that don't answer at all leave 28 questions a second.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use crate::metrics::Metrics;

mod ask;
mod asked;
mod findings;
mod report;

pub use ask::NoAnswer;
pub use asked::Standing;
pub use findings::{Few, Findings, Lag, Tables, Trouble};
pub use report::{Report, SourceReport, State, Unseen};

use asked::Asked;

/// Most questions under way.
const AT_ONCE: usize = 64;
/// How often it is looked who is to be asked.
const TICK: Duration = Duration::from_millis(500);

/// What is known of the sidecars, by the bindings' uids.
#[derive(Default)]
pub struct Survey(Mutex<HashMap<String, Page>>);

/// Of one binding.
#[derive(Default)]
struct Page {
    namespace: String,
    pods: BTreeMap<String, Asked>,
}

/// A sidecar that is to be asked.
struct Question {
    uid: String,
    namespace: String,
    pod: String,
    address: SocketAddr,
}

// === impl Survey ===

impl Survey {
    /// Takes note of a binding's sidecars that have started, by their pods' names.
    pub fn know(&self, uid: &str, namespace: &str, sidecars: BTreeMap<String, SocketAddr>) {
        let now = Instant::now();
        let mut pages = self.lock();
        let page = pages.entry(uid.to_owned()).or_default();
        namespace.clone_into(&mut page.namespace);
        page.pods.retain(|pod, asked| sidecars.get(pod) == Some(&asked.address));
        for (pod, address) in sidecars {
            page.pods.entry(pod).or_insert_with(|| Asked::new(address, now));
        }
    }

    /// What a binding's sidecars say; see [`Findings::of`].
    #[must_use]
    pub fn findings(&self, uid: &str, tables: &Tables, rounded: impl Fn(u64) -> u64) -> Findings {
        let now = Instant::now();
        let pages = self.lock();
        let pods = pages.get(uid).into_iter().flat_map(|page| &page.pods);
        Findings::of(pods.map(|(pod, asked)| (pod.as_str(), asked.standing(now))), tables, rounded)
    }

    /// Forgets all other bindings.
    pub fn keep_only(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    /// Whom to ask now: at most so many, those first that have been due for longest.
    fn due(&self, now: Instant, room: usize) -> Vec<Question> {
        let mut pages = self.lock();
        let all = pages.iter_mut().flat_map(|(uid, page)| {
            let namespace = &page.namespace;
            page.pods.iter_mut().map(move |(pod, asked)| (uid, namespace, pod, asked))
        });
        let mut due: Vec<_> = all.filter_map(|who| Some((who.3.overdue(now)?, who))).collect();
        due.sort_by_key(|(overdue, _)| std::cmp::Reverse(*overdue));
        let due = due.into_iter().take(room).map(|(_, (uid, namespace, pod, asked))| {
            asked.begin();
            Question {
                uid: uid.clone(),
                namespace: namespace.clone(),
                pod: pod.clone(),
                address: asked.address,
            }
        });
        due.collect()
    }

    /// Takes an answer; whether its binding has to be looked at.
    fn hear(&self, question: &Question, answer: Result<Report, NoAnswer>, now: Instant) -> bool {
        let mut pages = self.lock();
        let asked = pages.get_mut(&question.uid).and_then(|page| page.pods.get_mut(&question.pod));
        // Unless the pod has gone meanwhile, or is another one of that name.
        asked.filter(|asked| asked.address == question.address).is_some_and(|asked| asked.hear(answer, now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until dropped. Namespaces in which a binding has to be looked at go to `touch`.
pub async fn keep(survey: &Survey, touch: &mpsc::Sender<String>, metrics: &Metrics) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = tick.tick() => {
                for question in survey.due(Instant::now(), AT_ONCE - under_way.len()) {
                    under_way.push(async move { (ask::ask(question.address).await, question) });
                }
            }
            Some((answer, question)) = under_way.next() => {
                metrics.asked(answer.as_ref().err().copied());
                if survey.hear(&question, answer, Instant::now()) {
                    // With a full queue it is looked at some seconds later, as all are.
                    let _ = touch.try_send(question.namespace);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
