//! Step 6: say how it stands. Pure: conditions from what was found, and whether they are worth a write.

use std::time::Duration;

use freshet_connect::{ConnectError, Unusable};
use freshet_crds::{CacheBindingStatus, PodCounts};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use super::validate::Rejected;
use crate::{
    fleet::Tally,
    retention::Became,
    sources::{Reached, Unreachable},
};

mod kept;

/// The least time between two writes, but for what people and programs wait for: see [`write()`].
pub const PACE: Duration = Duration::from_secs(30);
/// Longest message that the API server takes.
const MESSAGE: usize = 32 * 1024;

/// The conditions, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The binding is sound and rendered.
    Accepted,
    /// The operator reached all sources.
    SourcesReachable,
    /// Entries stay in the streams as long as the binding says, and no longer.
    StreamsKept,
    /// All pods that ask for it have a sidecar.
    Injected,
    /// The sum of the others.
    Ready,
}

/// Why a condition is as it is. One word each, for programs and for `kubectl get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `Accepted`: the sidecars' configuration is rendered.
    Rendered,
    /// `Accepted`: the object can't be read by this version.
    Unreadable,
    /// `Accepted`: the spec has faults.
    Invalid,
    /// `Accepted`: the ConfigMap's name is taken.
    ConfigMapTaken,
    /// `Accepted`: the API server refuses what rendering takes, for a quota or a policy, say.
    RenderFailed,
    /// `SourcesReachable`: all answered.
    Reached,
    /// `SourcesReachable`: not looked at, because the binding isn't accepted.
    NotAccepted,
    /// `SourcesReachable`: a Secret or its key is missing.
    SecretMissing,
    /// `SourcesReachable`: a Secret's value is no URL that can be used.
    InvalidUrl,
    /// `SourcesReachable`: the host has no address, doesn't answer, or the connection breaks.
    Unreachable,
    /// `SourcesReachable`: wrong credentials.
    CredentialsRefused,
    /// `SourcesReachable`: the user may not do what sidecars need.
    NotPermitted,
    /// `SourcesReachable`: something there can't be worked with.
    Unusable,
    /// `SourcesReachable`: a ConfigMap or its key is missing.
    ConfigMapMissing,
    /// `SourcesReachable`: the certificates that are given can't be used.
    CertificateInvalid,
    /// `SourcesReachable`: the server's certificate isn't trusted.
    Untrusted,
    /// `SourcesReachable`: the server wants a client's certificate, or another one.
    ClientCertificateRefused,
    /// `SourcesReachable`: the server doesn't speak TLS, or not with us.
    TlsFailed,
    /// `SourcesReachable`: Sentinels or the Cluster don't lead to a master.
    NoMaster,
    /// `StreamsKept`: nothing but the binding's retention removes entries.
    Kept,
    /// `StreamsKept`: Redis removes whole streams when its memory is full.
    MayEvict,
    /// `StreamsKept`: entries that are older than the retention can't be removed.
    NotTrimmed,
    /// `StreamsKept`: another binding on the same stream sets no retention.
    Held,
    /// `Injected`: every pod that asks for it has a sidecar.
    AllInjected,
    /// `Injected`: every pod has a sidecar, but some are not what would be injected now.
    Outdated,
    /// `Injected`: a pod that asks for it has no sidecar.
    MissedInjection,
    /// `Injected` and `Ready`: no pod asks for it.
    NoPods,
    /// `Ready`: nothing is wrong.
    Serving,
}

/// One condition without its times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// True, false, or not known.
    pub holds: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// The same in a sentence.
    pub message: String,
}

/// What became of one source's retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The source.
    pub source: String,
    /// How old entries get.
    pub retention: Option<Duration>,
    /// What became of it; `None`: nothing yet.
    pub became: Option<Became>,
}

/// What the steps before have found.
pub struct Outcome<'o> {
    /// The generation they worked on.
    pub generation: Option<i64>,
    /// Whether the binding was rendered.
    pub accepted: Result<(), &'o Rejected>,
    /// What each source said; empty if none was asked.
    pub sources: &'o [(String, Result<Reached, Unreachable>)],
    /// What became of each source's retention; empty if the binding isn't accepted.
    pub kept: &'o [Kept],
    /// The pods.
    pub tally: &'o Tally,
}

/// What to do with a new status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Write it.
    Now,
    /// Nothing of it is urgent, and the last write was so recently that it has to wait for so long.
    Later(Duration),
    /// It says what the last one said.
    Never,
}

/// The status that follows from the outcome. Conditions that stay as they are keep their time.
#[must_use]
pub fn status(
    outcome: &Outcome<'_>,
    before: Option<&CacheBindingStatus>,
    now: Timestamp,
) -> CacheBindingStatus {
    let accepted = accepted(outcome);
    let sources = sources(outcome);
    let kept = kept::kept(outcome);
    let injected = injected(outcome.tally);
    let ready = ready(&accepted, &sources, &injected);
    let verdicts = [
        (ConditionType::Accepted, accepted),
        (ConditionType::SourcesReachable, sources),
        (ConditionType::StreamsKept, kept),
        (ConditionType::Injected, injected),
        (ConditionType::Ready, ready),
    ];
    let conditions = verdicts.into_iter().map(|(kind, verdict)| {
        let last = before.and_then(|status| status.conditions.iter().find(|c| c.type_ == kind.as_str()));
        let status = verdict.status();
        let since = last.filter(|last| last.status == status).map(|last| last.last_transition_time.clone());
        Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: verdict.reason.as_str().into(),
            message: shortened(verdict.message),
            observed_generation: outcome.generation,
            // Whole seconds, as the API server keeps them: otherwise every comparison would find a difference.
            last_transition_time: since.unwrap_or_else(|| Time(whole_second(now))),
        }
    });
    CacheBindingStatus {
        observed_generation: outcome.generation,
        conditions: conditions.collect(),
        pods: Some(outcome.tally.counts),
    }
}

/// Whether to write `after` over `before`, of which the last write was so long ago. At once goes the answer to a new
/// generation, what breaks, and what was broken in the binding or its sources. The rest may change with every pod: a
/// Job's come and go all the time, and some can't be injected.
#[must_use]
pub fn write(
    before: Option<&CacheBindingStatus>,
    after: &CacheBindingStatus,
    age: Option<Duration>,
) -> Write {
    let Some(before) = before else { return Write::Now };
    if before == after {
        return Write::Never;
    }
    if before.observed_generation != after.observed_generation || is_urgent(before, after) {
        return Write::Now;
    }
    match age.and_then(|age| PACE.checked_sub(age)) {
        Some(rest) if !rest.is_zero() => Write::Later(rest),
        _ => Write::Now,
    }
}

fn is_urgent(before: &CacheBindingStatus, after: &CacheBindingStatus) -> bool {
    let is_false = |status: &CacheBindingStatus, kind: ConditionType| {
        status.conditions.iter().any(|c| c.type_ == kind.as_str() && c.status == "False")
    };
    let turns = |kind| is_false(before, kind) != is_false(after, kind);
    let breaks = |kind| !is_false(before, kind) && is_false(after, kind);
    turns(ConditionType::Accepted)
        || turns(ConditionType::SourcesReachable)
        || turns(ConditionType::StreamsKept)
        || breaks(ConditionType::Ready)
}

/// The conditions of `after` that have another status or reason than in `before`.
pub fn turned<'c>(
    before: &'c CacheBindingStatus,
    after: &'c CacheBindingStatus,
) -> impl Iterator<Item = &'c Condition> {
    after.conditions.iter().filter(|now| {
        let last = before.conditions.iter().find(|last| last.type_ == now.type_);
        last.is_none_or(|last| (&last.status, &last.reason) != (&now.status, &now.reason))
    })
}

fn accepted(outcome: &Outcome<'_>) -> Verdict {
    match outcome.accepted {
        Ok(()) => Verdict::new(true, Reason::Rendered, "the sidecars' configuration is rendered"),
        Err(rejected) => {
            let reason = match rejected {
                Rejected::Unreadable(_) => Reason::Unreadable,
                Rejected::Invalid(_) => Reason::Invalid,
                Rejected::ConfigMapTaken(_) => Reason::ConfigMapTaken,
                Rejected::RenderFailed(_) => Reason::RenderFailed,
            };
            let note = "sidecars keep to what was rendered last";
            Verdict::new(false, reason, format!("{rejected}; {note}"))
        }
    }
}

fn sources(outcome: &Outcome<'_>) -> Verdict {
    if outcome.accepted.is_err() {
        let message = "sources are looked at once the binding is accepted";
        return Verdict { holds: None, reason: Reason::NotAccepted, message: message.into() };
    }
    let failed: Vec<_> =
        outcome.sources.iter().filter_map(|(name, said)| Some((name, said.as_ref().err()?))).collect();
    if let Some((_, first)) = failed.first() {
        let messages: Vec<_> = failed.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        return Verdict::new(false, meaning(first), messages.join("; "));
    }
    let absent =
        outcome.sources.iter().filter_map(|(_, said)| said.as_ref().ok()).flat_map(|said| &said.absent);
    let absent: Vec<_> = absent.map(String::as_str).collect();
    let message = if absent.is_empty() {
        "all sources and streams are there".into()
    } else {
        format!("all sources are there; no event yet in {}", absent.join(", "))
    };
    Verdict::new(true, Reason::Reached, message)
}

fn meaning(error: &Unreachable) -> Reason {
    match error {
        Unreachable::NoSecret(_) | Unreachable::NoSecretKey(..) => Reason::SecretMissing,
        Unreachable::NoConfigMap(_) | Unreachable::NoConfigMapKey(..) => Reason::ConfigMapMissing,
        Unreachable::Timeout => Reason::Unreachable,
        Unreachable::Connect(error) => no_connection(error),
        Unreachable::NotAStream(_) | Unreachable::TooOld => Reason::Unusable,
    }
}

fn no_connection(error: &ConnectError) -> Reason {
    match error {
        ConnectError::Url(_) => Reason::InvalidUrl,
        ConnectError::NoAddress(_)
        | ConnectError::Timeout(_)
        | ConnectError::NoConnection(..)
        | ConnectError::Closed(_)
        | ConnectError::Redis(Unusable::Lost(_)) => Reason::Unreachable,
        ConnectError::BadAuthorities(_) | ConnectError::BadClientCertificate(_) => Reason::CertificateInvalid,
        ConnectError::Untrusted(..) => Reason::Untrusted,
        ConnectError::ClientRefused(..) => Reason::ClientCertificateRefused,
        ConnectError::NotTls(_) | ConnectError::Tls(..) => Reason::TlsFailed,
        ConnectError::NoMaster(_) | ConnectError::NoNode(_) => Reason::NoMaster,
        ConnectError::Redis(Unusable::Refused(_)) => Reason::CredentialsRefused,
        ConnectError::Redis(Unusable::NotPermitted(_)) => Reason::NotPermitted,
        ConnectError::NotRedis(_) | ConnectError::Redis(Unusable::Other(_)) => Reason::Unusable,
    }
}

fn injected(tally: &Tally) -> Verdict {
    let PodCounts { matched, missing, outdated, .. } = tally.counts;
    if matched == 0 {
        return Verdict {
            holds: None,
            reason: Reason::NoPods,
            message: "no pod asks for this binding".into(),
        };
    }
    if missing > 0 {
        let message = format!(
            "{missing} of {matched} pods that ask for this binding have no sidecar. Where something about a pod stood \
             against it, an Event of its owner, or of the pod, said so when it was made; pods that were made before \
             the binding, or while injection was switched off, get one when they are made anew"
        );
        return Verdict::new(false, Reason::MissedInjection, message);
    }
    if outdated > 0 {
        let fields: Vec<_> = tally.fields.iter().map(ToString::to_string).collect();
        let message = format!(
            "{outdated} of {matched} pods have a sidecar that differs from what would be injected now ({}): it \
             changes when they are made anew",
            fields.join(", ")
        );
        return Verdict::new(true, Reason::Outdated, message);
    }
    Verdict::new(true, Reason::AllInjected, "every pod that asks for this binding has its sidecar")
}

/// Accepted, sources reachable, and no injection missed. A binding without pods is ready.
fn ready(accepted: &Verdict, sources: &Verdict, injected: &Verdict) -> Verdict {
    let wrong = [accepted, sources].into_iter().find(|v| v.holds != Some(true));
    let wrong = wrong.or((injected.holds == Some(false)).then_some(injected));
    if let Some(wrong) = wrong {
        return Verdict { holds: Some(false), ..wrong.clone() };
    }
    if injected.reason == Reason::NoPods {
        return Verdict::new(
            true,
            Reason::NoPods,
            "everything is in place; no pod asks for this binding yet",
        );
    }
    Verdict::new(true, Reason::Serving, "everything is in place")
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn shortened(mut text: String) -> String {
    if text.len() > MESSAGE {
        text.truncate(text.floor_char_boundary(MESSAGE));
    }
    text
}

// === impl Verdict ===

impl Verdict {
    fn new(holds: bool, reason: Reason, message: impl Into<String>) -> Self {
        Self { holds: Some(holds), reason, message: message.into() }
    }

    fn status(&self) -> &'static str {
        match self.holds {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }
}

// === impl ConditionType and Reason ===

impl ConditionType {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::SourcesReachable => "SourcesReachable",
            Self::StreamsKept => "StreamsKept",
            Self::Injected => "Injected",
            Self::Ready => "Ready",
        }
    }
}

impl Reason {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rendered => "Rendered",
            Self::Unreadable => "Unreadable",
            Self::Invalid => "Invalid",
            Self::ConfigMapTaken => "ConfigMapTaken",
            Self::RenderFailed => "RenderFailed",
            Self::Reached => "Reached",
            Self::NotAccepted => "NotAccepted",
            Self::SecretMissing => "SecretMissing",
            Self::InvalidUrl => "InvalidUrl",
            Self::Unreachable => "Unreachable",
            Self::CredentialsRefused => "CredentialsRefused",
            Self::NotPermitted => "NotPermitted",
            Self::Unusable => "Unusable",
            Self::ConfigMapMissing => "ConfigMapMissing",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::Untrusted => "Untrusted",
            Self::ClientCertificateRefused => "ClientCertificateRefused",
            Self::TlsFailed => "TlsFailed",
            Self::NoMaster => "NoMaster",
            Self::Kept => "Kept",
            Self::MayEvict => "MayEvict",
            Self::NotTrimmed => "NotTrimmed",
            Self::Held => "Held",
            Self::AllInjected => "AllInjected",
            Self::Outdated => "Outdated",
            Self::MissedInjection => "MissedInjection",
            Self::NoPods => "NoPods",
            Self::Serving => "Serving",
        }
    }
}
