//! The operator's own metrics. Every name is here, without the `_total` that counters get when they are written.

use std::sync::atomic::{AtomicI64, AtomicU64};

use k8s_openapi::jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::{injection::SkipReason, survey::NoAnswer};

const BUILD: &str = "freshet_build";
const INJECTIONS: &str = "freshet_injections";
const ADMISSION_SECONDS: &str = "freshet_admission_duration_seconds";
const RECONCILE_RUNS: &str = "freshet_reconcile_runs";
const RECONCILE_FAILURES: &str = "freshet_reconcile_failures";
const RECONCILE_SECONDS: &str = "freshet_reconcile_duration_seconds";
const STATUS_WRITES: &str = "freshet_status_writes";
const EVENTS_DROPPED: &str = "freshet_events_dropped";
const TRIMMED_ENTRIES: &str = "freshet_trimmed_entries";
const TRIM_FAILURES: &str = "freshet_trim_failures";
const SIDECARS_ASKED: &str = "freshet_sidecars_asked";
const PODS: &str = "freshet_pods";
const LEADER: &str = "freshet_leader";
const LEAF_NOT_AFTER: &str = "freshet_webhook_certificate_not_after_timestamp_seconds";
const CA_NOT_AFTER: &str = "freshet_webhook_ca_not_after_timestamp_seconds";

/// What became of a pod that the webhook was asked about.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct InjectionLabels {
    /// `injected` or `skipped`.
    result: &'static str,
    /// Why it was skipped; empty when it wasn't.
    reason: &'static str,
}

/// Why a reconcile failed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FailureLabels {
    /// `api`, `refused`, `conflict` or `timeout`.
    reason: &'static str,
}

/// What became of a question to a sidecar.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct AskedLabels {
    /// `answered`, `no-connection`, `timeout` or `unreadable`.
    outcome: &'static str,
}

/// The state of pods that ask for a binding, over all bindings.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct PodLabels {
    /// `injected`, `ready`, `missing` or `outdated`.
    state: &'static str,
}

/// The operator's metrics and the registry they are in.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    injections: Family<InjectionLabels, Counter>,
    /// Time from a whole request to its answer.
    pub admission_seconds: Histogram,
    /// Reconciles begun.
    pub reconcile_runs: Counter,
    reconcile_failures: Family<FailureLabels, Counter>,
    /// Time of a reconcile, with its calls to Redis.
    pub reconcile_seconds: Histogram,
    /// Statuses written.
    pub status_writes: Counter,
    /// Events given up because too many were waiting.
    pub events_dropped: Counter,
    /// Entries removed from streams because of their age.
    pub trimmed_entries: Counter,
    /// Sources whose streams couldn't be trimmed, each time anew.
    pub trim_failures: Counter,
    sidecars_asked: Family<AskedLabels, Counter>,
    pods: Family<PodLabels, Gauge>,
    /// Whether this replica holds the Lease.
    pub leader: Gauge<i64, AtomicI64>,
    /// The end of the webhook's certificate.
    pub leaf_not_after: Gauge<i64, AtomicI64>,
    /// A family, though of one, because what this replica no longer says can be cleared in a family only.
    ca_not_after: Family<[(&'static str, &'static str); 0], Gauge>,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics of a process of this version.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let seconds = || Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 3.0, 10.0]);
        let metrics = Self {
            registry: Registry::default(),
            injections: Family::default(),
            admission_seconds: seconds(),
            reconcile_runs: Counter::<u64, AtomicU64>::default(),
            reconcile_failures: Family::default(),
            reconcile_seconds: seconds(),
            status_writes: Counter::default(),
            events_dropped: Counter::default(),
            trimmed_entries: Counter::default(),
            trim_failures: Counter::default(),
            sidecars_asked: Family::default(),
            pods: Family::default(),
            leader: Gauge::default(),
            leaf_not_after: Gauge::default(),
            ca_not_after: Family::default(),
        };
        metrics.registered(version)
    }

    fn registered(mut self, version: &str) -> Self {
        let r = &mut self.registry;
        r.register(BUILD, "The running version", Info::new(vec![("version".to_owned(), version.to_owned())]));
        r.register(INJECTIONS, "Pods that the webhook was asked about", self.injections.clone());
        r.register(ADMISSION_SECONDS, "Time to answer the API server", self.admission_seconds.clone());
        r.register(RECONCILE_RUNS, "Reconciles begun", self.reconcile_runs.clone());
        r.register(RECONCILE_FAILURES, "Reconciles that failed", self.reconcile_failures.clone());
        r.register(RECONCILE_SECONDS, "Time of a reconcile", self.reconcile_seconds.clone());
        r.register(STATUS_WRITES, "Statuses of bindings written", self.status_writes.clone());
        r.register(
            EVENTS_DROPPED,
            "Events given up because too many were waiting",
            self.events_dropped.clone(),
        );
        r.register(
            TRIMMED_ENTRIES,
            "Entries removed from streams because of their age",
            self.trimmed_entries.clone(),
        );
        r.register(TRIM_FAILURES, "Sources whose streams could not be trimmed", self.trim_failures.clone());
        r.register(SIDECARS_ASKED, "Questions to sidecars about their state", self.sidecars_asked.clone());
        r.register(PODS, "Pods that ask for a binding, as the Lease's holder counts them", self.pods.clone());
        r.register(LEADER, "1 on the replica that holds the Lease", self.leader.clone());
        r.register(LEAF_NOT_AFTER, "End of the webhook's certificate", self.leaf_not_after.clone());
        r.register(CA_NOT_AFTER, "End of the newest CA, on the Lease's holder", self.ca_not_after.clone());
        self
    }

    /// Counts a pod that was injected (`None`) or skipped.
    pub fn injection(&self, skipped: Option<SkipReason>) {
        let result = if skipped.is_some() { "skipped" } else { "injected" };
        let reason = skipped.map_or("", SkipReason::as_str);
        self.injections.get_or_create(&InjectionLabels { result, reason }).inc();
    }

    /// Counts a reconcile that failed.
    pub fn reconcile_failure(&self, reason: &'static str) {
        self.reconcile_failures.get_or_create(&FailureLabels { reason }).inc();
    }

    /// Counts a question to a sidecar that was answered (`None`) or not.
    pub fn asked(&self, failed: Option<NoAnswer>) {
        let outcome = failed.map_or("answered", NoAnswer::as_str);
        self.sidecars_asked.get_or_create(&AskedLabels { outcome }).inc();
    }

    /// Sets how many pods are in a state, over all bindings.
    pub fn pods(&self, state: &'static str, count: u32) {
        self.pods.get_or_create(&PodLabels { state }).set(count.into());
    }

    /// Sets the end of the newest CA.
    pub fn ca_not_after(&self, at: Timestamp) {
        self.ca_not_after.get_or_create(&[]).set(at.as_second());
    }

    /// Takes back what only the Lease's holder knows: another one says it from now on.
    pub fn retire(&self) {
        self.leader.set(0);
        self.pods.clear();
        self.ca_not_after.clear();
    }

    /// All of them as OpenMetrics text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written() {
        let metrics = Metrics::new("1.2.3");
        metrics.injection(None);
        metrics.injection(Some(SkipReason::HostNetwork));
        metrics.pods("missing", 2);
        let text = metrics.encode().unwrap();
        for line in [
            "freshet_build_info{version=\"1.2.3\"} 1",
            "freshet_injections_total{result=\"injected\",reason=\"\"} 1",
            "freshet_injections_total{result=\"skipped\",reason=\"HostNetwork\"} 1",
            "freshet_pods{state=\"missing\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn who_lost_the_lease_tells_nothing_of_what_its_holder_knows() {
        let metrics = Metrics::new("1.2.3");
        metrics.leader.set(1);
        metrics.pods("missing", 2);
        metrics.ca_not_after(Timestamp::from_second(5).unwrap());
        assert!(metrics.encode().unwrap().contains("freshet_webhook_ca_not_after_timestamp_seconds{} 5"));
        metrics.retire();
        let text = metrics.encode().unwrap();
        let values = text.lines().filter(|line| !line.starts_with('#'));
        let told: Vec<_> =
            values.filter(|l| l.contains("freshet_pods") || l.contains("ca_not_after")).collect();
        assert!(told.is_empty() && text.contains("freshet_leader 0"), "{told:?}");
    }
}
