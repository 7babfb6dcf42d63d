//! What a sidecar requests from its node and is limited to: the wire types, and the same read.
//!
//! A type of our own instead of Kubernetes' one, because a sidecar knows CPU and memory only, and because what the
//! API server would refuse in a pod has to be refused in the binding: otherwise every pod that asks for it is.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use std::{borrow::Cow, fmt};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{binding::Invalid, quantity};

/// The least by which a limit of memory exceeds [`crate::CacheBindingSpec::memory`], in bytes: what an empty sidecar
/// takes (8Mi), as much again for its connections and the replies of Redis, and 16Mi for the bodies of fills under way.
const HEADROOM: u64 = 32 << 20;
/// The same as a binding has it.
pub(crate) const HEADROOM_TEXT: &str = "32Mi";
/// Most memory that is accepted, in bytes.
const MAX_MEMORY: u64 = 2 << 40;
pub(crate) const TOO_TIGHT: &str = "limits.memory is at least memory + 32Mi, because the sidecar needs room beside what \
                                    it caches: leave it out for memory × 1.5 + 32Mi";
const CPU_FORM: &str = "cpu is an amount such as 10m, \"0.5\" or 2, below 1000";
const MEMORY_FORM: &str = "memory is a size in bytes such as 128Mi, at most 2048Gi";
const CPU_ORDER: &str = "requests.cpu can't exceed limits.cpu";
const MEMORY_ORDER: &str = "requests.memory can't exceed limits.memory";

/// What the sidecar requests and is limited to. What isn't given has a default of its own.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(format!(
        "!has(self.requests) || !has(self.limits) || !has(self.requests.memory) || !has(self.limits.memory) || {}",
        crate::quantity::if_sizes("string(self.requests.memory)", "<=", "string(self.limits.memory)", "0")
    ))
        .message(crate::resources::MEMORY_ORDER),
    validation = Rule::new(format!(
        "!has(self.requests) || !has(self.limits) || !has(self.requests.cpu) || !has(self.limits.cpu) || {}",
        crate::quantity::if_sizes("string(self.requests.cpu)", "<=", "string(self.limits.cpu)", "0")
    ))
        .message(crate::resources::CPU_ORDER)
)]
pub struct Resources {
    /// What the node keeps free for the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Amounts>,
    /// What the sidecar can't exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Amounts>,
}

/// Amounts of CPU and memory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// CPUs, such as `10m` (thousandths), `"0.5"` or `2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(format!("string(self).matches('{}')", crate::quantity::CPU))
            .message(crate::resources::CPU_FORM)
    )]
    pub cpu: Option<Amount>,
    /// Bytes, such as `128Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new(crate::quantity::size_rule("string(self)", "0", "2048Gi"))
            .message(crate::resources::MEMORY_FORM)
    )]
    pub memory: Option<Amount>,
}

/// One amount, as text. A whole number without quotes is taken too, as in a pod's own resources.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Amount(String);

impl From<&str> for Amount {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl de::Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or text such as \"0.5\" or 128Mi")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
        Ok(Amount(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
        Ok(Amount(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
        Ok(Amount(text.into()))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": 16 })
    }
}

/// [`Resources`], read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourcesSpec {
    /// Thousandths of a CPU.
    pub cpu: Bounds,
    /// Bytes.
    pub memory: Bounds,
}

/// What is requested of one resource and what it is limited to, as far as it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The request.
    pub request: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
}

impl ResourcesSpec {
    /// Reads what a binding with this `memory`, in bytes, asks for. All faults are reported.
    pub fn parse(resources: &Resources, memory: u64) -> Result<Self, Vec<Invalid>> {
        const PATH: &str = "spec.sidecar.resources";
        let mut faults = Vec::new();
        let mut amount = |kind: &str, amounts: Option<&Amounts>, what: &str| {
            let (text, read, form): (_, fn(&str) -> Option<u64>, _) = match what {
                "cpu" => (amounts?.cpu.as_ref()?, quantity::cpu, CPU_FORM),
                _ => (amounts?.memory.as_ref()?, memory_amount, MEMORY_FORM),
            };
            let read = read(&text.0);
            if read.is_none() {
                faults.push(Invalid {
                    path: format!("{PATH}.{kind}.{what}"),
                    message: format!("`{text}`: {form}"),
                });
            }
            read
        };
        let mut bounds = |what: &str| Bounds {
            request: amount("requests", resources.requests.as_ref(), what),
            limit: amount("limits", resources.limits.as_ref(), what),
        };
        let spec = Self { cpu: bounds("cpu"), memory: bounds("memory") };
        for (message, bounds) in [(CPU_ORDER, spec.cpu), (MEMORY_ORDER, spec.memory)] {
            if let Bounds { request: Some(request), limit: Some(limit) } = bounds
                && request > limit
            {
                faults.push(Invalid { path: PATH.into(), message: message.into() });
            }
        }
        if spec.memory.limit.is_some_and(|limit| limit < memory.saturating_add(HEADROOM)) {
            faults.push(Invalid { path: format!("{PATH}.limits.memory"), message: TOO_TIGHT.into() });
        }
        if faults.is_empty() { Ok(spec) } else { Err(faults) }
    }
}

fn memory_amount(text: &str) -> Option<u64> {
    quantity::bytes(text).filter(|bytes| *bytes <= MAX_MEMORY)
}
