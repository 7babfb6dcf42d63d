//! What becomes of a binding: refused, rendered, kept as it is, told.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use freshet_crds::manifest;
use freshet_e2e::process::{Redis, until};
use serde_json::{Value, json};

use super::{control_plane::ControlPlane, replica::Replica, vocabulary::*};

pub(super) fn bad_bindings(plane: &ControlPlane) -> Result<()> {
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

pub(super) fn reconciles(plane: &ControlPlane, redis: &Redis) -> Result<()> {
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
pub(super) fn trims(plane: &ControlPlane, redis: &Redis, replicas: &[&Replica]) -> Result<()> {
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
pub(super) fn broken_change(plane: &ControlPlane) -> Result<()> {
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
pub(super) fn freeze(plane: &ControlPlane) -> Result<()> {
    let patch = r#"{"immutable": true}"#;
    plane.kubectl(&["--namespace", "shop", "patch", "configmap/freshet-shop", "--patch", patch]).map(drop)
}

/// What the API server refuses is how the binding stands.
pub(super) fn refused(plane: &ControlPlane) -> Result<()> {
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

pub(super) fn drift(plane: &ControlPlane) -> Result<()> {
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

pub(super) fn taken(plane: &ControlPlane) -> Result<()> {
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

pub(super) fn deletes(plane: &ControlPlane) -> Result<()> {
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
