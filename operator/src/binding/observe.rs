//! Step 5: ask the sources, count the pods and read what their sidecars said, and remember what needn't be asked
//! again at once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use freshet_crds::CacheBindingStatus;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{
    Context, Guarded,
    status::{self, Kept},
    validate::Validated,
};
use crate::{
    fleet::Tally,
    injection::{Shape, last_rendered},
    sources::{self, Reached, Target, Unreachable},
    survey::{Findings, Tables},
};

/// How often sources that answer are asked.
const PROBE: Duration = Duration::from_mins(1);
/// How often it is looked again at what doesn't answer or isn't accepted.
const RETRY: Duration = Duration::from_secs(10);
/// How often the numbers that sidecars say are looked at; what isn't a number is heard of at once.
const NUMBERS: Duration = status::PACE;
/// How long our own watch may take to show us our own write.
const ECHO: Duration = Duration::from_secs(5);

/// What was seen outside of the API server.
pub(super) struct Observed {
    /// What each source said.
    pub(super) sources: Vec<(String, Result<Reached, Unreachable>)>,
    /// What became of the sources' retention.
    pub(super) kept: Vec<Kept>,
    /// The pods.
    pub(super) tally: Tally,
    /// What their sidecars say.
    pub(super) findings: Findings,
    /// When to look again.
    pub(super) next_probe: Duration,
}

/// What is remembered of each binding, by uid.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<String, Remembered>>);

#[derive(Default)]
struct Remembered {
    probed: Option<Probed>,
    tally: Tally,
    wrote: Option<(Instant, CacheBindingStatus)>,
}

#[derive(Clone)]
struct Probed {
    at: Instant,
    targets: Vec<(String, Result<Target, Unreachable>)>,
    said: Vec<(String, Result<Reached, Unreachable>)>,
}

/// Asks the sources unless that was done a short while ago, and counts the pods.
pub(super) async fn observe(
    object: &Guarded,
    validated: Option<&Validated>,
    rendered: Option<&ConfigMap>,
    context: &Context,
) -> Observed {
    let probed = match validated {
        None => None,
        Some(validated) => {
            let known = context.memory.with(object, |remembered| remembered.probed.clone());
            let known =
                known.filter(|known| known.targets == validated.targets && known.left() > Duration::ZERO);
            Some(match known {
                Some(known) => known,
                None => probe(validated).await,
            })
        }
    };
    // Pods of a binding that isn't accepted get what was rendered last.
    let rendered = rendered.filter(|_| validated.is_none());
    let tally = tally(object, rendered, context);
    let findings = findings(object, validated, context);
    context.memory.with(object, |remembered| {
        remembered.probed.clone_from(&probed);
        remembered.tally = tally.clone();
    });
    context.count_what_is_left();
    // What keeps a binding from being accepted may be nothing that is watched: a ConfigMap in the way.
    let mut next_probe = probed.as_ref().map_or(RETRY, Probed::left);
    if findings.started > 0 {
        next_probe = next_probe.min(NUMBERS);
    }
    let kept = kept(object, validated, context);
    if kept.iter().any(Kept::is_open) {
        next_probe = next_probe.min(RETRY);
    }
    let sources = probed.map(|probed| probed.said).unwrap_or_default();
    Observed { sources, kept, tally, findings, next_probe }
}

/// Reads in the ledger what became of what is wanted.
fn kept(object: &Guarded, validated: Option<&Validated>, context: &Context) -> Vec<Kept> {
    let mut became = context.ledger.became(&object.uid().unwrap_or_default());
    let wants = validated.into_iter().flat_map(|validated| &validated.wants);
    wants
        .map(|want| Kept {
            source: want.source.clone(),
            retention: want.retention,
            became: became.remove(&want.source),
        })
        .collect()
}

/// Tells the survey which sidecars there are, and reads there what they say.
fn findings(object: &Guarded, validated: Option<&Validated>, context: &Context) -> Findings {
    let (uid, namespace) = (object.uid().unwrap_or_default(), object.namespace().unwrap_or_default());
    context.survey.know(&uid, &namespace, context.fleet.sidecars(&namespace, &object.name_any()));
    let none = Tables::new();
    context.survey.findings(&uid, validated.map_or(&none, |validated| &validated.tables), status::lag)
}

async fn probe(validated: &Validated) -> Probed {
    let asked = validated.targets.iter().map(|(name, target)| async move {
        let said = match target {
            Ok(target) => sources::probe(target, &validated.namespace).await,
            Err(error) => Err(error.clone()),
        };
        (name.clone(), said)
    });
    let said = join_all(asked).await;
    Probed { at: Instant::now(), targets: validated.targets.clone(), said }
}

fn tally(object: &Guarded, rendered: Option<&ConfigMap>, context: &Context) -> Tally {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let beside = context.bindings.state_filter(|other| other.namespace().as_deref() == Some(&namespace));
    let rendered = rendered.and_then(|config_map| last_rendered(config_map, &name));
    let binding = rendered.as_ref().or(object.0.as_ref().ok());
    let now = binding.map(|binding| Shape::of(binding, &context.defaults).injected());
    context.fleet.tally(&namespace, &name, beside.len() == 1, now.as_ref())
}

// === impl Probed ===

impl Probed {
    /// How long what was said is good for.
    fn left(&self) -> Duration {
        let good = self.said.iter().all(|(_, said)| said.is_ok());
        (if good { PROBE } else { RETRY }).saturating_sub(self.at.elapsed())
    }
}

// === impl Memory ===

impl Memory {
    /// The status that was written last, and how long ago that was if it was us.
    pub(super) fn last_status(&self, object: &Guarded) -> (Option<CacheBindingStatus>, Option<Duration>) {
        let wrote = self.with(object, |remembered| remembered.wrote.clone());
        let age = wrote.as_ref().map(|(at, _)| at.elapsed());
        let status = match (&object.0, wrote) {
            // Our watch may not have shown us our own write yet.
            (Ok(_), Some((at, status))) if at.elapsed() < ECHO => Some(status),
            (Ok(binding), _) => binding.status.clone(),
            (Err(_), wrote) => wrote.map(|(_, status)| status),
        };
        (status, age)
    }

    pub(super) fn wrote_status(&self, object: &Guarded, status: CacheBindingStatus) {
        self.with(object, |remembered| remembered.wrote = Some((Instant::now(), status)));
    }

    fn with<T>(&self, object: &Guarded, act: impl FnOnce(&mut Remembered) -> T) -> T {
        act(self.lock().entry(object.uid().unwrap_or_default()).or_default())
    }

    pub(super) fn forget_gone(&self, context: &Context) {
        let mut memory = self.lock();
        if memory.len() > context.bindings.len() {
            let uids: std::collections::HashSet<_> =
                context.bindings.state().iter().filter_map(|object| object.uid()).collect();
            memory.retain(|uid, _| uids.contains(uid));
            context.survey.keep_only(&uids);
        }
    }

    pub(super) fn measure(&self, context: &Context) {
        let memory = self.lock();
        let sum = |count: fn(&Tally) -> u32| memory.values().map(|remembered| count(&remembered.tally)).sum();
        context.metrics.pods("injected", sum(|tally| tally.counts.injected));
        context.metrics.pods("ready", sum(|tally| tally.counts.ready));
        context.metrics.pods("missing", sum(|tally| tally.counts.missing));
        context.metrics.pods("outdated", sum(|tally| tally.counts.outdated));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use freshet_crds::{PodCounts, manifest};
    use hyper::{Method, Request, StatusCode, body::Incoming};
    use kube::{
        Client, Config,
        core::DeserializeGuard,
        runtime::{
            reflector::{self, store::Writer},
            watcher::Event,
        },
    };
    use serde_json::json;
    use tokio::sync::watch;

    use super::*;
    use crate::{
        binding::{ReconcileError, reconcile},
        events::Events,
        fleet::FleetStore,
        injection::Defaults,
        metrics::Metrics,
        serve::{answer, listen, serve},
    };

    /// What reconciling one binding needs, which is there, and nothing else is.
    fn context(url: &str, metrics: &Arc<Metrics>) -> (Arc<Context>, Writer<Guarded>, Guarded) {
        let (bindings, mut writer) = reflector::store();
        let defaults = Defaults {
            version: "1.2.3".into(),
            image: "sidecar".into(),
            pull_policy: "IfNotPresent".into(),
            pull_secrets: vec![],
        };
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        let (events, _) = Events::new(Arc::clone(metrics));
        let context =
            Context::new(client, bindings, defaults, FleetStore::new(), events, Arc::clone(metrics));
        let mut binding = manifest::read(include_str!("../../../crds/tests/shop.yaml")).unwrap().object;
        binding.metadata.uid = Some("uid-1".into());
        binding.metadata.namespace = Some("default".into());
        let object = DeserializeGuard(Ok(binding));
        writer.apply_watcher_event(&Event::Apply(object.clone()));
        (Arc::new(context), writer, object)
    }

    /// A webhook of someone else's fails, say: that keeps one binding from being rendered, and no stream from being
    /// trimmed.
    #[tokio::test]
    async fn what_a_binding_wants_is_known_before_it_is_rendered() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (_stop, stopped) = watch::channel(false);
        let says = |request: Request<Incoming>| {
            let get = request.method() == Method::GET;
            let (code, reason) = if get { (404, "NotFound") } else { (500, "InternalError") };
            let body = json!({ "kind": "Status", "status": "Failure", "reason": reason, "code": code });
            let status = StatusCode::from_u16(code).unwrap();
            std::future::ready(answer(status, "application/json", body.to_string()))
        };
        tokio::spawn(serve(listener, None, says, stopped));
        let (context, _writer, object) = context(&url, &Arc::new(Metrics::new("1.2.3")));
        let failed = reconcile(Arc::new(object), Arc::clone(&context)).await;
        assert!(matches!(failed, Err(ReconcileError::Api(_))), "{failed:?}");
        assert!(context.ledger.wanted("uid-1").is_some());
    }

    #[tokio::test]
    async fn a_deleted_binding_s_pods_are_counted_no_more() {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let (context, mut writer, object) = context("http://127.0.0.1:1", &metrics);
        context.memory.with(&object, |remembered| {
            remembered.tally.counts = PodCounts { injected: 2, ..PodCounts::default() };
        });
        let told = |count: u32| {
            let text = metrics.encode().unwrap();
            let line = format!("freshet_pods{{state=\"injected\"}} {count}");
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        };
        context.count_what_is_left();
        told(2);
        writer.apply_watcher_event(&Event::Delete(object));
        context.count_what_is_left();
        told(0);
    }
}
