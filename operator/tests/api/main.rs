//! The operator against a real kube-apiserver: what it asks is accepted, what it answers is understood, and it may
//! do exactly what the chart grants. One story in the order in which things happen to a cluster.

mod chart;
mod control_plane;
mod pods;
mod replica;
mod rights;
mod secret;
mod vocabulary;

use std::{collections::BTreeMap, thread};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freshet_crds::manifest;
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
    chapter("bad bindings are refused with a sentence", || bad_bindings(&plane))?;
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
    chapter("a binding is rendered and its state told", || reconciles(&plane, &redis))?;
    chapter("old entries are removed, by one replica alone", || trims(&plane, &redis, &[&a, &b]))?;
    chapter("a broken change keeps what was rendered", || broken_change(&plane))?;
    chapter("what the API server refuses is told", || refused(&plane))?;
    chapter("what was rendered is kept as it is", || drift(&plane))?;
    chapter("a ConfigMap of someone else's is left alone", || taken(&plane))?;
    chapter("pods that ask get a sidecar", || injects(&plane))?;
    chapter("a namespace of the strictest standard", || strict(&plane))?;
    chapter("what pods bring decides, and is left as it is", || pods::decide(&plane))?;
    chapter("the CA's Secret is removed, and nobody notices", || {
        secret::removed(&plane, &[&a.webhook, &b.webhook])
    })?;
    chapter("pods are counted", || counts(&plane))?;
    chapter("a binding that comes after its pod", || comes_later(&plane, &a))?;
    chapter("a binding that never comes", || never_comes(&plane))?;
    chapter("a deleted binding's ConfigMap goes", || deletes(&plane))?;
    let (mut leader, mut other) = if a.metric("freshet_leader")? > 0.5 { (a, b) } else { (b, a) };
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
    chapter("without an operator only pods that ask have to wait", || without_operator(&plane))?;
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

fn bad_bindings(plane: &ControlPlane) -> Result<()> {
    namespace(plane, "bad")?;
    let apply = ["--namespace", "bad", "apply", "--dry-run=server", "--filename", "-"];
    plane.try_kubectl(&apply, SHOP)?.succeeded()?;
    let cases: Vec<BTreeMap<String, String>> =
        serde_yaml::from_str(include_str!("../../../crds/tests/bad-bindings.yaml"))?;
    ensure!(cases.len() > 20, "only {} cases", cases.len());
    for case in cases {
        let bad = SHOP.replacen(&case["replace"], &case["by"], 1);
        let said = plane.try_kubectl(&apply, &bad)?;
        ensure!(!said.status.success(), "{:?} was accepted", case["by"]);
        ensure!(said.errors.contains(&case["says"]), "{:?}: {}", case["by"], said.errors);
    }
    // What the schema itself refuses.
    for (from, to, says) in [
        ("memory: 64Mi", "sidecar: {resources: {limits: {memry: 1Gi}}}", "limits.memry"),
        ("memory: 64Mi", "sidecar: {resources: {claims: [{name: gpu}]}}", "resources.claims"),
        ("memory: 64Mi", "sidecar: {imagePullSecrets: [{name: a}, {name: a}]}", "Duplicate"),
    ] {
        let said = plane.try_kubectl(&apply, &SHOP.replacen(from, to, 1))?;
        ensure!(!said.status.success() && said.errors.contains(says), "{to:?}: {}", said.errors);
    }
    // `apply` leaves nulls out by itself.
    let create = ["--namespace", "bad", "create", "--dry-run=server", "--filename", "-"];
    plane.try_kubectl(&create, &SHOP.replacen("memory: 64Mi", "freshness: null", 1))?.succeeded()?;
    let said = plane.try_kubectl(&create, &SHOP.replacen("url: redis://redis:6379", "url: null", 1))?;
    ensure!(
        !said.status.success() && said.errors.contains("exactly one of url and urlFrom"),
        "a null: {}",
        said.errors
    );
    Ok(())
}

fn ca_bundle(plane: &ControlPlane, webhook: u16) -> Result<()> {
    let written = until("a caBundle", SOON, || ca_bundle_of(plane))?;
    install(plane, webhook)?;
    ensure!(ca_bundle_of(plane)? == written, "applying the chart again changed the caBundle");
    let secret = plane.get("freshet-system", "secret/freshet-ca")?;
    ensure!(secret["data"]["ca.crt"].as_str() == Some(&written), "it isn't the CA of the Secret");
    Ok(())
}

fn reconciles(plane: &ControlPlane, redis: &Redis) -> Result<()> {
    namespace(plane, "shop")?;
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "SourcesReachable", "False", "SecretMissing")?;
    let url = format!("redis://:wrong-horse@{}", redis.address());
    secret(plane, &url)?;
    until_condition(plane, "SourcesReachable", "False", "CredentialsRefused")?;
    let url = format!("redis://:correct-horse@{}", redis.address());
    secret(plane, &url)?;
    until_condition(plane, "SourcesReachable", "True", "Reached")?;
    until_condition(plane, "Accepted", "True", "Rendered")?;
    until_condition(plane, "Ready", "True", "NoPods")?;
    let binding = plane.get("shop", "cachebinding/shop")?;
    let generation = &binding["metadata"]["generation"];
    ensure!(binding["status"]["observedGeneration"] == *generation, "{}", binding["status"]);
    for condition in binding["status"]["conditions"].as_array().context("conditions")? {
        ensure!(condition["observedGeneration"] == *generation, "{condition}");
    }
    let config_map = plane.get("shop", "configmap/freshet-shop")?;
    let text = config_map["data"]["binding.yaml"].as_str().context("binding.yaml")?;
    let read = manifest::read(text)?;
    ensure!(read.rendered_by.is_some() && json!(read.object.metadata.generation) == *generation, "{text}");
    ensure!(
        config_map["metadata"]["ownerReferences"][0]["uid"] == binding["metadata"]["uid"],
        "{config_map}"
    );
    let table = plane.kubectl(&["--namespace", "shop", "get", "cb", "shop"])?;
    ensure!(table.contains("READY") && table.contains("NoPods"), "{table}");
    Ok(())
}

/// With a retention, entries go from what Debezium writes for the binding, and from nothing else.
fn trims(plane: &ControlPlane, redis: &Redis, replicas: &[&Replica]) -> Result<()> {
    const OLD: &str =
        "for i = 1, 1000 do redis.call('XADD', KEYS[1], string.format('1000000000000-%d', i), 'k', i) end";
    let streams = ["shop.inventory.product", "shop.transaction", "shop.other.table"];
    for stream in streams {
        redis.command::<()>(&["EVAL", OLD, "1", stream])?;
    }
    let length = |stream: &str| redis.command::<u64>(&["XLEN", stream]);
    let before = rendered(plane)?;
    plane
        .apply(&shop_with_secret().replace("topicPrefix: shop", "topicPrefix: shop\n      retention: 1m"))?;
    until("old entries are gone", PACED, || {
        let left = (length(streams[0])?, length(streams[1])?);
        ensure!(left.0 < 200 && left.1 < 200, "{left:?}");
        Ok(())
    })?;
    ensure!(length(streams[2])? == 1000, "a table that no cache depends on");
    until_condition(plane, "StreamsKept", "True", "Kept")?;
    let trimmed = |replica: &&Replica| replica.metric("freshet_trimmed_entries_total");
    let trimmed = replicas.iter().map(trimmed).collect::<Result<Vec<_>>>()?;
    ensure!(trimmed.iter().filter(|entries| **entries > 0.5).count() == 1, "{trimmed:?}");
    // Sidecars aren't told: nothing but the generation changes.
    let without = |text: &str| {
        text.lines().filter(|line| !line.contains("generation")).map(str::to_owned).collect::<Vec<_>>()
    };
    ensure!(without(&rendered(plane)?) == without(&before), "{}", rendered(plane)?);
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "StreamsKept", "True", "Kept")
}

/// No broken binding gets past the CRD's rules, but one can be there from before a rule was.
fn broken_change(plane: &ControlPlane) -> Result<()> {
    const RULES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/caches/items/properties\
                         /ttl/x-kubernetes-validations";
    const CRD: &str = "crd/cachebindings.freshet.dev";
    let patch = |operation: &Value| {
        let patch = json!([operation]).to_string();
        plane.kubectl(&["patch", CRD, "--type", "json", "--patch", &patch])
    };
    let before = rendered(plane)?;
    let rules = plane.get("default", CRD)?.pointer(RULES).context("ttl has no rules")?.clone();
    patch(&json!({ "op": "remove", "path": RULES }))?;
    let broken = shop_with_secret().replace("ttl: 10m", "ttl: 0s").replace("memory: 64Mi", "memory: 128Mi");
    until("the rule is gone", SOON, || plane.apply(&broken))?;
    until_condition(plane, "Accepted", "False", "Invalid")?;
    ensure!(rendered(plane)? == before, "the broken binding was rendered");
    let pod = injected(plane, "while-broken")?;
    let limit = &pod["spec"]["initContainers"][0]["resources"]["limits"]["memory"];
    ensure!(limit == "128Mi", "{limit} isn't for the 64Mi that its sidecar will read");
    plane.kubectl(&["--namespace", "shop", "delete", "pod/while-broken", "--now"])?;
    plane.apply(&shop_with_secret().replace("ttl: 10m", "ttl: 11m"))?;
    until_condition(plane, "Accepted", "True", "Rendered")?;
    until("the good change", SOON, || {
        ensure!(rendered(plane)?.contains("11m"), "not yet");
        Ok(())
    })?;
    // Broken in another way: the same reason, but other words.
    plane.apply(&shop_with_secret().replace("ttl: 10m", "ttl: 400d"))?;
    for words in ["`0s` isn't a duration", "`400d` isn't a duration"] {
        event_about(plane, "shop", "CacheBinding", "Invalid", words)?;
    }
    patch(&json!({ "op": "add", "path": RULES, "value": rules }))?;
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "Accepted", "True", "Rendered")
}

/// Lets the API server refuse every change of what is rendered.
fn freeze(plane: &ControlPlane) -> Result<()> {
    let patch = r#"{"immutable": true}"#;
    plane.kubectl(&["--namespace", "shop", "patch", "configmap/freshet-shop", "--patch", patch]).map(drop)
}

/// What the API server refuses is how the binding stands.
fn refused(plane: &ControlPlane) -> Result<()> {
    freeze(plane)?;
    plane.apply(&shop_with_secret().replace("ttl: 10m", "ttl: 12m"))?;
    until_condition(plane, "Accepted", "False", "RenderFailed")?;
    let binding = plane.get("shop", "cachebinding/shop")?;
    let message = condition(&binding, "Accepted")?["message"].to_string();
    ensure!(message.contains("immutable"), "{message}");
    plane.kubectl(&["--namespace", "shop", "delete", "configmap/freshet-shop"])?;
    until_condition(plane, "Accepted", "True", "Rendered")?;
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "Accepted", "True", "Rendered")
}

fn drift(plane: &ControlPlane) -> Result<()> {
    let before = rendered(plane)?;
    let spoil = r#"{"data": {"binding.yaml": "spoilt"}}"#;
    plane.kubectl(&["--namespace", "shop", "patch", "configmap/freshet-shop", "--patch", spoil])?;
    let restored = || {
        ensure!(rendered(plane)? == before, "not yet");
        Ok(())
    };
    until("it is restored", SOON, restored)?;
    plane.kubectl(&["--namespace", "shop", "delete", "configmap/freshet-shop"])?;
    until("it is made again", SOON, restored)
}

fn taken(plane: &ControlPlane) -> Result<()> {
    plane.kubectl(&["--namespace", "shop", "create", "configmap", "freshet-blog", "--from-literal=a=b"])?;
    plane.apply(&shop_with_secret().replace("name: shop\n", "name: blog\n  namespace: shop\n"))?;
    let reason = || {
        let blog = plane.get("shop", "cachebinding/blog")?;
        condition(&blog, "Accepted").map(|c| c["reason"].as_str().unwrap_or_default().to_owned())
    };
    let is = |wanted: &str| {
        let reason = reason()?;
        ensure!(reason == wanted, "{reason}");
        Ok(())
    };
    until("it is told", SOON, || is("ConfigMapTaken"))?;
    let theirs = plane.get("shop", "configmap/freshet-blog")?;
    ensure!(theirs["data"] == json!({ "a": "b" }), "it was overwritten: {theirs}");
    plane.kubectl(&["--namespace", "shop", "delete", "configmap/freshet-blog"])?;
    until("the way is free", SOON, || is("Rendered"))?;
    plane.kubectl(&["--namespace", "shop", "delete", "cachebinding/blog"]).map(drop)
}

fn injects(plane: &ControlPlane) -> Result<()> {
    let pod = injected(plane, "web")?;
    let sidecar = &pod["spec"]["initContainers"][0];
    ensure!(sidecar["name"] == "freshet" && sidecar["restartPolicy"] == "Always", "{sidecar}");
    let token = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mounts = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        let at = mounts.iter().filter(|mount| mount["mountPath"] == token);
        at.map(|mount| mount["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    ensure!(mounts(sidecar) == ["freshet-no-token"], "the sidecar has a token: {sidecar}");
    let app = &pod["spec"]["containers"][0];
    ensure!(mounts(app).len() == 1 && mounts(app)[0].starts_with("kube-api-access"), "{app}");
    // With nothing but a name in common: whoever doesn't ask is not touched in any way.
    let plain = create(plane, "plain", None, &json!({}))?.0;
    ensure!(
        plain["spec"]["initContainers"].is_null() && plain["metadata"]["annotations"].is_null(),
        "{plain}"
    );
    ensure!(plain["spec"]["volumes"].as_array().is_some_and(|volumes| volumes.len() == 1), "{plain}");
    plane.kubectl(&["--namespace", "shop", "delete", "pod/web", "pod/plain", "--now"]).map(drop)
}

/// What is added passes the restricted Pod Security Standard wherever the pod itself does.
fn strict(plane: &ControlPlane) -> Result<()> {
    namespace(plane, "strict")?;
    plane.kubectl(&["label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted"])?;
    plane
        .try_kubectl(
            &["--namespace", "strict", "apply", "-f", "-"],
            &shop_with_secret().replace("  namespace: shop\n", ""),
        )?
        .succeeded()?;
    let own = json!({
        "containers": [{ "name": "app", "image": "app", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "runAsNonRoot": true,
            "seccompProfile": { "type": "RuntimeDefault" },
        } }],
    });
    let (pod, warnings) = create_in(plane, "strict", "web", Some("true"), &own)?;
    ensure!(pod["spec"]["initContainers"][0]["name"] == "freshet", "{warnings} {pod}");
    ensure!(create_in(plane, "strict", "bad", None, &json!({})).is_err(), "the standard isn't enforced");
    Ok(())
}

fn counts(plane: &ControlPlane) -> Result<()> {
    plane.apply(&replica_set("web", "shop"))?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    let counted = |wanted: Value| {
        until(&format!("{wanted}"), PACED, || {
            let pods = plane.get("shop", "cachebinding/shop")?["status"]["pods"].clone();
            ensure!(pods == wanted, "{pods}");
            Ok(())
        })
    };
    counted(json!({ "matched": 2, "injected": 2, "ready": 0, "missing": 0, "outdated": 0 }))?;
    // What a kubelet would report.
    let pods = plane.kubectl(&["--namespace", "shop", "get", "pods", "--output", "name"])?;
    let started = json!({ "status": { "initContainerStatuses": [{
        "name": "freshet", "started": true, "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": { "running": { "startedAt": "2026-11-21T12:00:00Z" } },
    }] } });
    for pod in pods.lines() {
        let patch = started.to_string();
        plane.kubectl(&["--namespace", "shop", "patch", pod, "--subresource=status", "--patch", &patch])?;
    }
    // Refused: new pods would get what was rendered last, as these have, so they are as they should be.
    freeze(plane)?;
    plane.apply(&shop_with_secret().replace("memory: 64Mi", "memory: 128Mi"))?;
    until_condition(plane, "Accepted", "False", "RenderFailed")?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    // Accepted: the field that running sidecars can't follow.
    plane.kubectl(&["--namespace", "shop", "delete", "configmap/freshet-shop"])?;
    until_condition(plane, "Injected", "True", "Outdated")?;
    let binding = plane.get("shop", "cachebinding/shop")?;
    let message = condition(&binding, "Injected")?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.contains("(resources)"), "{message}");
    plane.apply(&shop_with_secret())?;
    until_condition(plane, "Injected", "True", "AllInjected")?;
    let (_, warning) = create(plane, "host", Some("shop"), &json!({ "hostNetwork": true }))?;
    ensure!(warning.contains("HostNetwork"), "{warning}");
    until_condition(plane, "Injected", "False", "MissedInjection")?;
    until_condition(plane, "Ready", "False", "MissedInjection")?;
    counted(json!({ "matched": 3, "injected": 2, "ready": 2, "missing": 1, "outdated": 0 }))?;
    plane.kubectl(&["--namespace", "shop", "delete", "pod/host", "--now"])?;
    until_condition(plane, "Ready", "True", "Serving")
}

fn comes_later(plane: &ControlPlane, webhook: &Replica) -> Result<()> {
    namespace(plane, "later")?;
    thread::scope(|scope| {
        let pod = scope.spawn(|| create_in(plane, "later", "web", Some("true"), &json!({})));
        until("the pod waits in the webhook", SOON, || {
            let log = webhook.child.log();
            let mut waiting = log.lines().filter(|line| line.contains("waiting for a binding"));
            ensure!(waiting.any(|line| line.contains("\"later\"")), "it doesn't");
            Ok(())
        })?;
        plane.try_kubectl(&["--namespace", "later", "apply", "-f", "-"], SHOP)?.succeeded()?;
        let (pod, warnings) = pod.join().map_err(|_| anyhow::anyhow!("the thread has failed"))??;
        ensure!(pod["metadata"]["labels"]["freshet.dev/binding"] == "shop", "{warnings} {pod}");
        Ok(())
    })
}

fn never_comes(plane: &ControlPlane) -> Result<()> {
    namespace(plane, "never")?;
    plane.apply(&replica_set("web", "never"))?;
    event_about(plane, "never", "ReplicaSet", "BindingNotFound", "CacheBinding shop")?;
    let (pod, warning) = create_in(plane, "never", "single", Some("shop"), &json!({}))?;
    ensure!(pod["spec"]["initContainers"].is_null(), "{pod}");
    ensure!(warning.contains("Warning: freshet: ") && warning.contains("BindingNotFound"), "{warning}");
    event_about(plane, "never", "Pod", "BindingNotFound", "CacheBinding shop")?;
    // The beginning of a name, which no Event's may be; its words are its own.
    let mut nameless = pod_of("", Some("shap"), &json!({}));
    nameless["metadata"] =
        json!({ "generateName": "single-", "annotations": nameless["metadata"]["annotations"] });
    plane
        .try_kubectl(&["--namespace", "never", "create", "--filename", "-"], &nameless.to_string())?
        .succeeded()?;
    event_about(plane, "never", "Pod", "BindingNotFound", "CacheBinding shap")?;
    plane.try_kubectl(&["--namespace", "never", "apply", "-f", "-"], SHOP)?.succeeded()?;
    until("they are counted as missing", SOON, || {
        let binding = plane.get("never", "cachebinding/shop")?;
        let injected = condition(&binding, "Injected")?;
        ensure!(injected["reason"] == "MissedInjection", "{injected}");
        Ok(())
    })
}

fn deletes(plane: &ControlPlane) -> Result<()> {
    plane.kubectl(&["--namespace", "later", "delete", "cachebinding/shop"])?;
    until("its ConfigMap is gone", SOON, || {
        let said = plane.try_kubectl(&["--namespace", "later", "get", "configmap/freshet-shop"], "")?;
        ensure!(!said.status.success(), "it is still there");
        Ok(())
    })?;
    // Made again at once: what is left of the first one is no obstacle.
    for _ in 0..2 {
        plane.try_kubectl(&["--namespace", "later", "apply", "-f", "-"], SHOP)?.succeeded()?;
        until("it is rendered", SOON, || {
            let binding = plane.get("later", "cachebinding/shop")?;
            let config_map = plane.get("later", "configmap/freshet-shop")?;
            let owners = &config_map["metadata"]["ownerReferences"];
            ensure!(owners[0]["uid"] == binding["metadata"]["uid"], "{owners}");
            Ok(())
        })?;
        plane.kubectl(&["--namespace", "later", "delete", "cachebinding/shop"])?;
    }
    Ok(())
}

fn without_operator(plane: &ControlPlane) -> Result<()> {
    create(plane, "plain-without", None, &json!({}))?;
    pods::of_the_operator(plane)?;
    match create(plane, "asks-without", Some("shop"), &json!({})) {
        Ok(_) => bail!("a pod that asks was admitted without a sidecar"),
        Err(error) => {
            ensure!(format!("{error:#}").contains("failed calling webhook"), "{error:#}");
            Ok(())
        }
    }
}
