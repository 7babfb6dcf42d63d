//! The wire types of `spec.sidecar`: how the sidecar is run.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Resources;

/// How the sidecar is run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.startDeadline) || self.startGate == 'Synced'")
        .message(crate::refusals::DEADLINE_IS_OF_SYNCED)
)]
pub struct Sidecar {
    /// The sidecar's image. Default: the one the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets for pulling the image, added to the pod's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// What the sidecar requests and is limited to. Default: a request of 10m CPU, and of memory × 1.5 + 32Mi, which
    /// is also the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The largest value in bytes.
    #[serde(default = "default_max_value")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new(crate::quantity::size_rule("self", "1", "1Gi")).message(crate::binding::MAX_VALUE_FORM)
    )]
    pub max_value: String,
    /// What the application's start waits for.
    #[serde(default)]
    pub start_gate: StartGate,
    /// With `startGate: Synced`: how long the application's start waits at most. Then it starts all the same, and what
    /// can't be vouched for is a miss. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message(crate::binding::START_DEADLINE_FORM)
    )]
    pub start_deadline: Option<String>,
    /// How much the sidecar logs.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// A Secret for pulling images, in the binding's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PullSecret {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(
        validation = Rule::new(format!("self.matches('{}')", crate::names::SECRET_NAME))
            .message(crate::names::SECRET_NAME_FORM)
    )]
    pub name: String,
}

impl Sidecar {
    /// How long the application's start waits at most for [`StartGate::Synced`]; the default where what is written is no
    /// duration.
    #[must_use]
    pub fn start_deadline(&self) -> std::time::Duration {
        let given = self.start_deadline.as_deref().and_then(crate::quantity::duration);
        given.unwrap_or(crate::binding::START_DEADLINE)
    }
}

impl Default for Sidecar {
    fn default() -> Self {
        Self {
            image: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            max_value: default_max_value(),
            start_gate: StartGate::default(),
            start_deadline: None,
            log_level: LogLevel::default(),
        }
    }
}

/// What the application's start waits for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartGate {
    /// Nothing.
    None,
    /// The sidecar listens. It doesn't wait for Redis.
    #[default]
    Listening,
    /// The sidecar has read its streams to their ends and vouches for every cache, and every view over an upstream's
    /// answers is whole; or `startDeadline` has passed.
    Synced,
}

/// How much the sidecar logs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// And what is degraded but handled.
    Warn,
    /// And the life cycle.
    #[default]
    Info,
    /// And each decision.
    Debug,
    /// And each entry (never values).
    Trace,
}

fn default_max_value() -> String {
    "1Mi".into()
}
