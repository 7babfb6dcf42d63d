//! The pods that ask for a binding, as the Lease's holder sees them.
//!
//! Two watches feed the index: pods with our label, in full, because whether a sidecar has started is in their
//! status; and pods without it, by metadata only, because they are all the others of the cluster and only their
//! annotation matters. Only what asks for a binding or has a sidecar is kept, and of that only [`Pod`].

mod mistaken;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use freshet_crds::{PodCounts, names};
use k8s_openapi::{
    api::core::v1::{self as core},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use watch::{FleetStore, watch_fleet};

use crate::injection::{ADMIN_PORT, ADMIN_PORT_NAME, Ask, CONTAINER, Field, Injected};

/// What matters about a pod that asks for a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// What it asks for; for an injected one, the binding it got.
    pub asks: Ask,
    /// Its sidecar, if it has one.
    pub sidecar: Option<Sidecar>,
}

/// A pod's sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    /// What was injected, if the pod says so.
    pub injected: Option<Injected>,
    /// Whether it has started.
    pub started: bool,
    /// Its admin listener, once the pod has an address.
    pub admin: Option<SocketAddr>,
}

/// The pods of one binding, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many are in which state.
    pub counts: PodCounts,
    /// In which fields sidecars are outdated.
    pub fields: BTreeSet<Field>,
}

/// Which of the two watches a pod came from. A pod that changes its label leaves one and appears in the other, in no
/// certain order, so each has its own half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Pods with our label.
    Labelled,
    /// All others.
    Others,
}

/// The index: per half and namespace, pods by name.
#[derive(Debug, Default)]
pub struct Fleet {
    halves: [Namespaces; 2],
    arriving: [Namespaces; 2],
}

type Namespaces = HashMap<String, BTreeMap<String, Pod>>;

/// A change in the index, as the watches report it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A list begins.
    Begin,
    /// A pod of that list; `None`: one that doesn't matter.
    Listed(String, String, Option<Pod>),
    /// The list is whole: what wasn't in it is gone.
    Whole,
    /// A pod came or changed; `None`: it doesn't matter or is gone.
    Pod(String, String, Option<Pod>),
}

// === impl Pod ===

impl Pod {
    /// What matters about a pod with our label. One that is being deleted doesn't.
    #[must_use]
    pub fn labelled(pod: &core::Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let restartable = spec.init_containers.iter().flatten();
        if !restartable.chain(&spec.containers).any(|container| container.name == CONTAINER) {
            return Self::other(&pod.metadata);
        }
        let label = pod.metadata.labels.as_ref()?.get(names::BINDING)?;
        let status = pod.status.as_ref();
        let statuses = status.into_iter().flat_map(|status| {
            status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
        });
        let started = statuses.filter(|s| s.name == CONTAINER).any(|s| s.started == Some(true));
        let annotation = pod.metadata.annotations.as_ref().and_then(|a| a.get(names::INJECTED));
        let injected = annotation.and_then(|text| serde_json::from_str(text).ok());
        (pod.metadata.deletion_timestamp.is_none()).then(|| Self {
            asks: Ask::Named(label.clone()),
            sidecar: Some(Sidecar { injected, started, admin: admin(pod) }),
        })
    }

    /// What matters about a pod that has no sidecar.
    #[must_use]
    pub fn other(metadata: &ObjectMeta) -> Option<Self> {
        let asks = Ask::of_annotations(metadata.annotations.as_ref()?)?;
        (metadata.deletion_timestamp.is_none() && asks != Ask::Never).then_some(Self { asks, sidecar: None })
    }
}

/// Where the sidecar of a pod answers, on whatever port it was given. Sidecars aren't injected into pods that share the
/// node's network, so what is there is something else.
fn admin(pod: &core::Pod) -> Option<SocketAddr> {
    let spec = pod.spec.as_ref().filter(|spec| spec.host_network != Some(true))?;
    let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let ports = containers.filter(|it| it.name == CONTAINER).flat_map(|it| it.ports.iter().flatten());
    let mut named = ports.filter(|port| port.name.as_deref() == Some(ADMIN_PORT_NAME));
    let port = named.next().and_then(|port| u16::try_from(port.container_port).ok());
    Some(SocketAddr::new(address, port.unwrap_or(ADMIN_PORT)))
}

// === impl Fleet ===

impl Fleet {
    /// Applies a change and returns the namespaces in which it made a difference.
    pub fn apply(&mut self, half: Half, change: Change) -> BTreeSet<String> {
        let index = half as usize;
        match change {
            Change::Begin => self.arriving[index].clear(),
            Change::Listed(namespace, name, Some(pod)) => {
                self.arriving[index].entry(namespace).or_default().insert(name, pod);
            }
            Change::Listed(_, _, None) => {}
            Change::Whole => {
                let now = std::mem::take(&mut self.arriving[index]);
                let before = std::mem::replace(&mut self.halves[index], now);
                let now = &self.halves[index];
                let all = before.keys().chain(now.keys());
                return all
                    .filter(|namespace| before.get(*namespace) != now.get(*namespace))
                    .cloned()
                    .collect();
            }
            Change::Pod(namespace, name, pod) => {
                let pods = self.halves[index].entry(namespace.clone()).or_default();
                let before = match &pod {
                    Some(pod) => pods.insert(name, pod.clone()),
                    None => pods.remove(&name),
                };
                if pods.is_empty() {
                    self.halves[index].remove(&namespace);
                }
                if before != pod {
                    return BTreeSet::from([namespace]);
                }
            }
        }
        BTreeSet::new()
    }

    /// The admin listeners of a binding's sidecars that have started, by their pods' names.
    #[must_use]
    pub fn sidecars(&self, namespace: &str, binding: &str) -> BTreeMap<String, SocketAddr> {
        let pods = self.halves[Half::Labelled as usize].get(namespace).into_iter().flatten();
        let ours = pods.filter(|(_, pod)| matches!(&pod.asks, Ask::Named(name) if name == binding));
        let started = ours.filter_map(|(name, pod)| {
            let sidecar = pod.sidecar.as_ref().filter(|sidecar| sidecar.started)?;
            Some((name.clone(), sidecar.admin?))
        });
        started.collect()
    }

    /// Counts the pods of a binding. `only`: it is its namespace's only one. `now`: what would be injected, if that
    /// can be told.
    #[must_use]
    pub fn tally(&self, namespace: &str, binding: &str, only: bool, now: Option<&Injected>) -> Tally {
        let mut tally = Tally::default();
        let counts = &mut tally.counts;
        for pod in self.halves.iter().filter_map(|half| half.get(namespace)).flat_map(BTreeMap::values) {
            let asks = match &pod.asks {
                Ask::Named(name) => name == binding,
                Ask::TheOnly => only,
                Ask::Never | Ask::Invalid(_) => false,
            };
            if !asks {
                continue;
            }
            counts.matched += 1;
            let Some(sidecar) = &pod.sidecar else {
                counts.missing += 1;
                continue;
            };
            counts.injected += 1;
            counts.ready += u32::from(sidecar.started);
            let Some(now) = now else { continue };
            let fields = match &sidecar.injected {
                Some(injected) => injected.outdated_in(now),
                None => BTreeSet::from([Field::Template]),
            };
            counts.outdated += u32::from(!fields.is_empty());
            tally.fields.extend(fields);
        }
        tally
    }
}

#[cfg(test)]
mod tests;
