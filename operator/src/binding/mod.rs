//! Reconciling a CacheBinding, in six steps of which each has its file:
//!
//! 1. `dereference`: fetch what the binding refers to (client required)
//! 2. `validate`: check everything that can go wrong (no client required)
//! 3. `build`: render the ConfigMap; it can't fail (no client required)
//! 4. `apply`: make the cluster hold it (client required)
//! 5. `observe`: ask the sources, count the pods, read what their sidecars said (no client required; Redis and the
//!    fleet's index)
//! 6. `status`: say how it stands (pure; writing it requires the client)
//!
//! A binding that can't be accepted is a condition, never an error: what was rendered before stays.

pub mod apply;
pub mod build;
mod controller;
pub mod dereference;
mod observe;
mod pace;
pub mod status;
#[cfg(test)]
mod tests;
pub mod validate;
mod wants;

use std::{sync::Arc, time::Duration};

use freshet_crds::{CacheBinding, CacheBindingStatus};
use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::Store},
};
use serde_json::json;

pub use controller::run;
use observe::Memory;
use status::{Outcome, Write};
use validate::Rejected;

use crate::{
    errors::refusal,
    events::{Events, Warning},
    fleet::FleetStore,
    injection::Defaults,
    metrics::Metrics,
    ours,
    retention::Ledger,
    survey::Survey,
};

/// A binding, or why it can't be read: one bad object must not stop the watch of all others.
pub type Guarded = DeserializeGuard<CacheBinding>;

/// How long one reconcile may take: the sources' deadline and some calls to the API server.
const DEADLINE: Duration = Duration::from_secs(45);

/// What reconciling needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// All bindings, as the controller's watch knows them.
    pub bindings: Store<Guarded>,
    /// What would be injected.
    pub defaults: Defaults,
    /// The pods.
    pub fleet: FleetStore,
    /// Where Events go.
    pub events: Events,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
    /// What bindings want removed from their streams, and what became of it.
    pub ledger: Ledger,
    /// What sidecars say.
    pub survey: Survey,
    memory: Memory,
}

/// Why a reconcile has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The API server said no, or nothing.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// It took too long.
    #[error("not done within {} s", DEADLINE.as_secs())]
    Timeout,
}

// === impl Context ===

impl Context {
    /// A context without memory of earlier reconciles.
    #[must_use]
    pub fn new(
        client: Client,
        bindings: Store<Guarded>,
        defaults: Defaults,
        fleet: FleetStore,
        events: Events,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client,
            bindings,
            defaults,
            fleet,
            events,
            metrics,
            ledger: Ledger::default(),
            survey: Survey::default(),
            memory: Memory::default(),
        }
    }

    /// Forgets bindings that are gone, and their pods in the metrics with them.
    fn count_what_is_left(&self) {
        self.memory.forget_gone(self);
        self.memory.measure(self);
    }
}

/// Brings the cluster in line with one binding and reports how it stands.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    if object.meta().deletion_timestamp.is_some() {
        // What was rendered is collected with its owner.
        return Ok(Action::await_change());
    }
    context.metrics.reconcile_runs.inc();
    let start = tokio::time::Instant::now();
    let done = tokio::time::timeout(DEADLINE, steps(&object, &context)).await;
    context.metrics.reconcile_seconds.observe(start.elapsed().as_secs_f64());
    done.unwrap_or(Err(ReconcileError::Timeout))
}

async fn steps(object: &Guarded, context: &Context) -> Result<Action, ReconcileError> {
    let mut rendered = None;
    let mut validated = match &object.0 {
        Err(invalid) => {
            // client required
            let found = dereference::rendered(&context.client, object).await;
            rendered = refused(found, context)?.ok().flatten();
            Err(Rejected::Unreadable(invalid.error.clone()))
        }
        Ok(binding) => {
            // client required
            let found = refused(dereference::dereference(&context.client, binding).await, context)?;
            // no client required
            found.and_then(|found| {
                rendered.clone_from(&found.config_map);
                validate::validate(binding, found)
            })
        }
    };
    // Before what can fail: until it is known what every binding wants, nothing is removed from any stream.
    wants::tell(&context.ledger, object, validated.as_ref(), rendered.as_ref());
    if let Ok(valid) = &validated {
        // no client required
        let wanted = build::build(valid, &context.defaults.version);
        // client required
        let applied =
            apply::apply(&context.client, &valid.namespace, valid.config_map.as_ref(), &wanted).await;
        match refused(applied, context)? {
            Ok(()) => wants::tell_rendered(&context.ledger, object, valid),
            Err(rejected) => validated = Err(rejected),
        }
    }
    // no client required
    let observed = observe::observe(object, validated.as_ref().ok(), rendered.as_ref(), context).await;
    // no client required
    let outcome = Outcome {
        generation: object.meta().generation,
        accepted: validated.as_ref().map(drop),
        sources: &observed.sources,
        kept: &observed.kept,
        tally: &observed.tally,
        findings: &observed.findings,
    };
    let (before, age) = context.memory.last_status(object);
    let after = status::status(&outcome, before.as_ref(), Timestamp::now());
    let mut next = observed.next_probe;
    match status::write(before.as_ref(), &after, age) {
        Write::Never => {}
        Write::Later(rest) => next = next.min(rest),
        Write::Now => {
            // client required
            write_status(context, object, &after).await?;
            report(context, object, before.as_ref(), &after);
            context.memory.wrote_status(object, after);
        }
    }
    Ok(Action::requeue(next))
}

/// What the API server refuses is how the binding stands, and nobody would learn of it from an error. Whatever else
/// fails is one: it is tried again, and what was known stays.
fn refused<T>(
    done: Result<T, kube::Error>,
    context: &Context,
) -> Result<Result<T, Rejected>, ReconcileError> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(error) => {
            let Some(says) = refusal(&error) else { return Err(error.into()) };
            tracing::warn!(%error, "the API server refuses to have a binding rendered");
            context.metrics.reconcile_failure("refused");
            Ok(Err(Rejected::RenderFailed(says.to_owned())))
        }
    }
}

async fn write_status(
    context: &Context,
    object: &Guarded,
    status: &CacheBindingStatus,
) -> Result<(), kube::Error> {
    let namespace = object.namespace().unwrap_or_default();
    let api: Api<Guarded> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": CacheBinding::api_version(&()),
        "kind": CacheBinding::kind(&()),
        "metadata": { "name": object.name_any(), "uid": object.uid() },
        "status": status,
    });
    let parameters = PatchParams::apply(ours::MANAGER).force();
    api.patch_status(&object.name_any(), &parameters, &Patch::Apply(patch)).await?;
    context.metrics.status_writes.inc();
    Ok(())
}

/// An Event for each condition that has turned bad.
fn report(
    context: &Context,
    object: &Guarded,
    before: Option<&CacheBindingStatus>,
    after: &CacheBindingStatus,
) {
    let nothing = CacheBindingStatus::default();
    let ready = status::ConditionType::Ready.as_str();
    for condition in status::turned(before.unwrap_or(&nothing), after) {
        // Ready only sums up the others.
        if condition.status == "False" && condition.type_ != ready {
            context.events.warn(Warning {
                about: object.object_ref(&()),
                reason: condition.reason.clone(),
                action: "Reconcile",
                message: condition.message.clone(),
            });
        }
    }
}
