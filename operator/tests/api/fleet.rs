//! What the operator hears from sidecars: real ones, as processes behind pods that have their addresses.

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::{
    cargo,
    process::{Redis, Sidecar, http::Target, until},
};
use serde_json::{Value, json};

use super::{control_plane::ControlPlane, replica::Replica, vocabulary::*};

const FLEET: &str = "fleet";

/// Fresh, cut off, fresh again, and with one of two sidecars stopped where it stands.
pub(super) fn listens(plane: &ControlPlane, leader: &Replica) -> Result<()> {
    namespace(plane, FLEET)?;
    let mut redis = Redis::start()?;
    seen(&redis, "product")?;
    let binding = binding(&redis);
    let program = cargo::build_for_e2e("freshet-sidecar")?;
    let start = || Sidecar::builder(&program, &binding).start();
    let mut sidecars = [start()?, start()?];
    fill(&mut sidecars[0])?;
    for (name, sidecar) in ["web-1", "web-2"].into_iter().zip(&sidecars) {
        pod(plane, name, sidecar)?;
    }
    plane.try_kubectl(&["--namespace", FLEET, "apply", "-f", "-"], &binding)?.succeeded()?;
    until_told(plane, "Fresh", "True", "AllFresh", "2 sidecars")?;
    until_told(plane, "TablesCaptured", "Unknown", "NeverSeen", "an event of inventory.category since")?;
    let status = plane.get(FLEET, "cachebinding/shop")?["status"].clone();
    ensure!(status["entries"] == 1 && status["hitRatio"] == "50%", "{status}");
    let lag = &status["worstLag"];
    // They have caught up, however old the newest entry is.
    ensure!(lag["source"] == "cdc" && lag["milliseconds"] == 0, "{status}");
    let table = plane.kubectl(&["--namespace", FLEET, "get", "cb", "shop", "--output", "wide"])?;
    for word in ["FRESH", "AllFresh", "LAG-MS", "50%"] {
        ensure!(table.contains(word), "{table}");
    }

    redis.kill()?;
    until_told(plane, "Fresh", "False", "Disconnected", "source cdc is Disconnected in")?;
    event_about(plane, FLEET, "CacheBinding", "Disconnected", "web-")?;
    redis.restart()?;
    seen(&redis, "category")?;
    until_told(plane, "Fresh", "True", "AllFresh", "2 sidecars")?;

    sidecars[1].process().pause()?;
    until_told(plane, "Fresh", "True", "SomeUnanswered", "no answer within 2 s from web-2")?;
    ensure!(
        leader.metric("freshet_sidecars_asked_total{outcome=\"timeout\"}")? > 1.5,
        "it wasn't asked twice"
    );
    // Nobody waits for it.
    plane
        .try_kubectl(&["--namespace", FLEET, "apply", "-f", "-"], &binding.replace("64Mi", "65Mi"))?
        .succeeded()?;
    until("the change is rendered", SOON, || {
        let config_map = plane.get(FLEET, "configmap/freshet-shop")?;
        ensure!(config_map["data"]["binding.yaml"].to_string().contains("65Mi"), "{config_map}");
        Ok(())
    })?;
    sidecars[1].process().resume()?;
    until_told(plane, "Fresh", "True", "AllFresh", "2 sidecars")?;
    plane.kubectl(&["--namespace", FLEET, "delete", "pod/web-1", "pod/web-2", "--now"])?;
    plane.kubectl(&["--namespace", FLEET, "delete", "cachebinding/shop"]).map(drop)
}

/// Without `freshness`, so that no heartbeats are needed.
fn binding(redis: &Redis) -> String {
    let (head, rest) = SHOP.split_once("  freshness:").unwrap_or((SHOP, ""));
    let caches = rest.find("  caches:").map_or("", |at| &rest[at..]);
    format!("{head}{caches}").replace("redis://redis:6379", &redis.url())
}

/// Lets the sidecars see an event of a table.
fn seen(redis: &Redis, table: &str) -> Result<()> {
    let event = json!({
        "before": null, "after": { "id": 1 }, "op": "u", "ts_ms": 1,
        "source": { "connector": "postgresql", "db": "shop", "schema": "inventory", "table": table,
                    "snapshot": null, "lsn": 1000, "ts_ms": 1 },
    });
    redis.xadd(&format!("shop.inventory.{table}"), &[("{\"id\":1}", &event.to_string())]).map(drop)
}

/// One miss, one value that stays, one hit.
fn fill(sidecar: &mut Sidecar) -> Result<()> {
    sidecar.until("fills last", SOON, |sidecar| {
        let status = sidecar.status()?;
        ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{status}");
        ensure!(status["caches"]["products"]["heldOff"] == false, "{status}");
        Ok(())
    })?;
    let miss = sidecar.get("/v1/products/7")?;
    let lease = miss.header("freshet-lease").context("a lease")?;
    let filled = sidecar.request("PUT", "/v1/products/7", &[("freshet-lease", lease)], b"plum")?;
    ensure!(filled.status == 204, "{}: {}", filled.status, filled.text());
    let hit = sidecar.get("/v1/products/7")?;
    ensure!(hit.status == 200, "{}: {}", hit.status, hit.text());
    Ok(())
}

/// A pod as if it had been injected and run, whose sidecar is the process.
fn pod(plane: &ControlPlane, name: &str, sidecar: &Sidecar) -> Result<()> {
    let Target::Tcp(admin) = sidecar.admin() else { anyhow::bail!("it listens on no port") };
    let mut pod = pod_of(
        name,
        None,
        &json!({ "initContainers": [{
        "name": "freshet", "image": "sidecar", "restartPolicy": "Always",
        "ports": [{ "name": "freshet-admin", "containerPort": admin.port() }],
    }] }),
    );
    pod["metadata"]["labels"] = json!({ "freshet.dev/binding": "shop" });
    let create = ["--namespace", FLEET, "create", "--filename", "-"];
    plane.try_kubectl(&create, &pod.to_string())?.succeeded()?;
    let ip = admin.ip().to_string();
    let status = json!({ "status": { "podIP": ip, "podIPs": [{ "ip": ip }], "initContainerStatuses": [{
        "name": "freshet", "started": true, "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
        "state": { "running": { "startedAt": "2026-11-21T12:00:00Z" } },
    }] } });
    let pod = format!("pod/{name}");
    let patch = ["patch", &pod, "--subresource=status", "--patch", &status.to_string()];
    plane.kubectl(&[&["--namespace", FLEET], &patch[..]].concat()).map(drop)
}

fn until_told(plane: &ControlPlane, kind: &str, status: &str, reason: &str, words: &str) -> Result<()> {
    until(&format!("{kind}={status} {reason}: {words}"), PACED, || {
        let condition: Value = condition(&plane.get(FLEET, "cachebinding/shop")?, kind)?;
        ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
        ensure!(condition["message"].as_str().is_some_and(|message| message.contains(words)), "{condition}");
        Ok(())
    })
}
