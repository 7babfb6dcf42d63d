//! The operator against a real kube-apiserver: what it asks is accepted, what it answers is understood, and it may
//! do exactly what the chart grants. One story in the order in which things happen to a cluster.

mod admission;
mod bindings;
mod chart;
mod control_plane;
mod fleet;
mod pods;
mod replica;
mod rights;
mod secret;
mod vocabulary;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freshet_e2e::process::{Port, Redis, until};
use serde_json::{Value, json};

use control_plane::ControlPlane;
use replica::Replica;
use vocabulary::*;

#[test]
fn the_operator_and_a_real_api_server_understand_each_other() {
    story().unwrap_or_else(|error| panic!("{error:#}"));
}

fn story() -> Result<()> {
    let plane = ControlPlane::start()?;
    let redis = Redis::builder().password("correct-horse").start()?;
    let (first, second) = (Port::free()?, Port::free()?);
    chapter("the chart is accepted", || install(&plane, first.number()))?;
    chapter("values and notes of the chart", || {
        chart::values(&plane)?;
        chart::notes(&plane)
    })?;
    chapter("bad bindings are refused with a sentence", || bindings::bad_bindings(&plane))?;
    let mut a = Replica::start(&plane, "replica-a", first)?;
    let mut b = Replica::start(&plane, "replica-b", second)?;
    chapter("both replicas get ready and one leads", || {
        a.await_ready()?;
        b.await_ready()?;
        until("one leader", SOON, || {
            let leaders = a.metric("freshet_leader")? + b.metric("freshet_leader")?;
            ensure!((leaders - 1.0).abs() < 0.1, "{leaders} replicas lead");
            Ok(())
        })
    })?;
    chapter("the caBundle is written and stays under the chart", || ca_bundle(&plane, a.webhook.number()))?;
    chapter("a binding is rendered and its state told", || bindings::reconciles(&plane, &redis))?;
    chapter("old entries are removed, by one replica alone", || bindings::trims(&plane, &redis, &[&a, &b]))?;
    chapter("a broken change keeps what was rendered", || bindings::broken_change(&plane))?;
    chapter("what the API server refuses is told", || bindings::refused(&plane))?;
    chapter("what was rendered is kept as it is", || bindings::drift(&plane))?;
    chapter("a ConfigMap of someone else's is left alone", || bindings::taken(&plane))?;
    chapter("pods that ask get a sidecar", || admission::injects(&plane))?;
    chapter("a namespace of the strictest standard", || admission::strict(&plane))?;
    chapter("what pods bring decides, and is left as it is", || pods::decide(&plane))?;
    chapter("the CA's Secret is removed, and nobody notices", || {
        secret::removed(&plane, &[&a.webhook, &b.webhook])
    })?;
    chapter("pods are counted", || admission::counts(&plane))?;
    chapter("a binding that comes after its pod", || admission::comes_later(&plane, &a))?;
    chapter("a binding that never comes", || admission::never_comes(&plane))?;
    chapter("a deleted binding's ConfigMap goes", || bindings::deletes(&plane))?;
    let (mut leader, mut other) = if a.metric("freshet_leader")? > 0.5 { (a, b) } else { (b, a) };
    chapter("what sidecars say is told", || fleet::listens(&plane, &leader))?;
    chapter("a killed leader is followed by the other", || {
        install(&plane, other.webhook.number())?;
        until("the API server asks the other", SOON, || {
            let asked = || other.metric("freshet_injections_total{result=\"injected\",reason=\"\"}");
            let before = asked().unwrap_or_default();
            injected(&plane, "asked")?;
            plane.kubectl(&["--namespace", "shop", "delete", "pod/asked", "--now"])?;
            ensure!(asked()? > before, "it asks the old one");
            Ok(())
        })?;
        leader.child.kill()?;
        // While nobody publishes, the Secret becomes what a backup of another cluster had.
        secret::replaced(&plane, &other.webhook, || Ok(other.metric("freshet_leader")? > 0.5))?;
        until("injection by the other", SOON, || injected(&plane, "after-failover").map(drop))
    })?;
    chapter("the CA of the replaced Secret is trusted beside the lost one", || {
        until("a caBundle of both", SOON, || {
            let secret = plane.get("freshet-system", "secret/freshet-ca")?;
            let replaced = STANDARD.decode(secret["data"]["ca.crt"].as_str().context("ca.crt")?)?;
            let bundle = STANDARD.decode(ca_bundle_of(&plane)?)?;
            ensure!(
                bundle.starts_with(&replaced) && bundle.len() > replaced.len(),
                "{}",
                String::from_utf8_lossy(&bundle)
            );
            Ok(())
        })
    })?;
    chapter("SIGTERM gives the Lease up and ends in order", || {
        let status = other.child.stop()?;
        ensure!(status.success(), "it ended with {status}");
        let lease = plane.get("freshet-system", "lease/freshet")?;
        ensure!(lease["spec"]["holderIdentity"].is_null(), "it still holds {lease}");
        Ok(())
    })?;
    chapter("without an operator only pods that ask have to wait", || admission::without_operator(&plane))?;
    chapter("everything asked of the API server was permitted, and nothing more", || {
        rights::all_were_used(&plane)?;
        for log in [leader.child.log(), other.child.log()] {
            let refused: Vec<_> = log.lines().filter(|line| line.contains("forbidden")).collect();
            ensure!(refused.is_empty(), "{}", refused.join("\n"));
            ensure!(!log.contains("horse"), "the log has a password");
        }
        Ok(())
    })
}

fn chapter(name: &str, tell: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = std::time::Instant::now();
    let told = tell();
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    told.with_context(|| name.to_owned())
}

/// Applies the chart as it is, but for the webhook's address: there is no Service without nodes.
fn install(plane: &ControlPlane, webhook: u16) -> Result<()> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&plane.chart(&[])?) {
        let mut object: Value = serde::Deserialize::deserialize(document)?;
        if object["kind"] == "MutatingWebhookConfiguration" {
            let url = format!("https://localhost:{webhook}/inject");
            ensure!(object["webhooks"][0]["clientConfig"]["caBundle"].is_null(), "the chart has a caBundle");
            object["webhooks"][0]["clientConfig"] = json!({ "url": url });
        }
        documents.push(object.to_string());
    }
    // Also as kubelets would see it: the operator's own pods pass the strictest standard.
    plane.apply(
        r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "freshet-system", "labels": {
            "pod-security.kubernetes.io/enforce": "restricted"}}}"#,
    )?;
    let all = documents.join("\n---\n");
    let refused =
        plane.try_kubectl(&["apply", "--server-side", "--field-manager", "helm", "-f", "-"], &all)?;
    ensure!(!refused.errors.contains("would violate PodSecurity"), "{}", refused.errors);
    refused.succeeded()?;
    plane.kubectl(&["wait", "--for=condition=Established", "crd/cachebindings.freshet.dev"]).map(drop)
}

fn ca_bundle(plane: &ControlPlane, webhook: u16) -> Result<()> {
    let written = until("a caBundle", SOON, || ca_bundle_of(plane))?;
    install(plane, webhook)?;
    ensure!(ca_bundle_of(plane)? == written, "applying the chart again changed the caBundle");
    let secret = plane.get("freshet-system", "secret/freshet-ca")?;
    ensure!(secret["data"]["ca.crt"].as_str() == Some(&written), "it isn't the CA of the Secret");
    Ok(())
}
