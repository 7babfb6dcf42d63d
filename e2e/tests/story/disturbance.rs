//! Parts are killed or stand still; what they come back to is right, and meanwhile it is said that it can't be told.

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::cluster::Cluster;
use freshet_e2e::process::until;
use freshet_e2e::shop::{PIPELINE, ROLLOUT, Replica, SOON, Shop};
use serde_json::Value;

use crate::stage::Stage;

/// A container in the cluster, as it is before a disturbance.
struct Victim<'a> {
    shop: &'a Shop,
    cluster: &'a Cluster,
    pod: &'a str,
    /// Where in the pod's status it is.
    list: &'a str,
    name: &'a str,
    node: String,
    id: String,
    restarts: Option<u64>,
}

/// A container that stands still for as long as this lives.
struct Frozen<'a>(&'a Victim<'a>);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.cluster.thaw_container(&self.0.node, &self.0.id) {
            eprintln!("{} still stands: {error:#}", self.0.name);
        }
    }
}

impl<'a> Victim<'a> {
    fn find(shop: &'a Shop, cluster: &'a Cluster, pod: &'a str, list: &'a str, name: &'a str) -> Self {
        let mut victim =
            Self { shop, cluster, pod, list, name, node: String::new(), id: String::new(), restarts: None };
        let (node, status) = victim.now().unwrap();
        node.as_str().unwrap().clone_into(&mut victim.node);
        let id = status["containerID"].as_str().unwrap();
        id.trim_start_matches("containerd://").clone_into(&mut victim.id);
        victim.restarts = status["restartCount"].as_u64();
        victim
    }

    /// Its node and status.
    fn now(&self) -> Result<(Value, Value)> {
        let object = self.shop.get(&["pod", self.pod])?;
        let statuses = object["status"][self.list].as_array().context("container statuses")?;
        let status = statuses.iter().find(|it| it["name"] == self.name).context("the container")?;
        Ok((object["spec"]["nodeName"].clone(), status.clone()))
    }

    /// Stops it where it stands.
    fn freeze(&self) {
        self.cluster.freeze_container(&self.node, &self.id).unwrap();
    }

    /// Stops it where it stands, until what is returned is dropped: a story that fails leaves it running for the others.
    fn freeze_meanwhile(&self) -> Frozen<'_> {
        self.freeze();
        Frozen(self)
    }

    /// Kills it without a warning, and waits until it runs again.
    fn kill(&self) {
        self.cluster.kill_container(&self.node, &self.id).unwrap();
        until("the container runs again", ROLLOUT, || {
            let (_, now) = self.now()?;
            ensure!(now["restartCount"].as_u64() > self.restarts, "not ended yet");
            ensure!(now["ready"] == true && now["state"]["running"].is_object(), "{}", now["state"]);
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_killed_sidecar_comes_back_to_the_same_socket() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("killed");
    place.up().unwrap();
    let replica = place.replicas().unwrap().remove(0).pod;
    let id = stage.insert("9.50");
    place.await_product(&replica, id, "cache", "9.50");
    let before = place.get(&["pod", &replica]).unwrap();

    Victim::find(&place, &stage.cluster, &replica, "initContainerStatuses", "freshet").kill();
    place.await_product(&replica, id, "cache", "9.50");
    stage.set_price(id, "12.25");
    place.await_product(&replica, id, "cache", "12.25");
    let after = place.get(&["pod", &replica]).unwrap();
    let app = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].clone();
    assert_eq!(app(&after), app(&before), "the app was not restarted");
}

#[test]
fn after_a_restart_of_redis_every_replica_equals_the_database() {
    let (stage, _guard) = Stage::alone();
    let place = stage.place("redis");
    place.up().unwrap();
    let replicas = place.replicas().unwrap();
    let ids: Vec<u64> = (0..5).map(|_| stage.insert("9.50")).collect();
    for replica in &replicas {
        for id in &ids {
            place.await_product(&replica.pod, *id, "cache", "9.50");
        }
    }
    place.until_fresh();
    let epoch = |pod: &str| place.status(pod).map(|status| status["sources"]["cdc"]["epoch"].as_u64());
    let epochs: Vec<_> = replicas.iter().map(|replica| epoch(&replica.pod).unwrap()).collect();

    let pipeline = Shop::of(&stage.cluster, PIPELINE);
    let redis = Victim::find(&pipeline, &stage.cluster, "redis-0", "containerStatuses", "redis");
    // Frozen, it takes no entry and answers nobody: what is committed now is heard of after the restart at the earliest.
    redis.freeze();
    let list = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    stage.sql(&format!("UPDATE inventory.product SET price = 12.25 WHERE id IN ({list})")).unwrap();
    redis.kill();

    for (replica, before) in replicas.iter().zip(epochs) {
        let pod = &replica.pod;
        until("the sidecar has voided what it had, and vouches again", ROLLOUT, || {
            let status = place.status(pod)?;
            let source = &status["sources"]["cdc"];
            ensure!(source["epoch"].as_u64() > before && source["state"] == "Fresh", "{pod}: {source}");
            Ok(())
        })
        .unwrap();
        // Asked once: an answer that is right only later was wrong.
        for id in &ids {
            let select = format!("SELECT price FROM inventory.product WHERE id = {id}");
            let selected = stage.sql(&select).unwrap();
            for read in [place.row(pod, *id).unwrap(), place.product(pod, *id).unwrap()] {
                // Debezium writes a price as text, the database as a number.
                let price = read.product["price"].to_string();
                assert_eq!(price.trim_matches('"'), selected, "{pod}: {read:?}");
            }
        }
    }
    place.until_fresh();
    stage.cluster.wait_for(PIPELINE, "deployment/debezium", "rollout", ROLLOUT).unwrap();
    // And it goes on.
    for id in &ids {
        stage.set_price(*id, "15.00");
    }
    for replica in &replicas {
        for id in &ids {
            place.await_product(&replica.pod, *id, "cache", "15.00");
        }
    }
}

#[test]
fn while_debezium_stands_still_the_binding_is_not_fresh_and_says_so() {
    let (stage, _guard) = Stage::alone();
    let place = stage.place("stale");
    let binding = place.manifest("00-binding.yaml").unwrap();
    assert!(binding.contains("maxStaleness: 10s"));
    // Told before the kubelet takes a frozen Debezium for a dead one: that needs three probes in a row, ten seconds apart.
    place.apply(&binding.replace("maxStaleness: 10s", "maxStaleness: 5s")).unwrap();
    place.apply(&place.manifest("10-shop.yaml").unwrap()).unwrap();
    place.await_fresh().unwrap();
    let replicas = place.replicas().unwrap();
    let id = stage.insert("9.50");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "9.50");
    }
    place.until_fresh();

    let pipeline = Shop::of(&stage.cluster, PIPELINE);
    let pod = pipeline.get(&["pods", "--selector", "app=debezium"]).unwrap();
    let pod = pod["items"][0]["metadata"]["name"].as_str().unwrap();
    let debezium = Victim::find(&pipeline, &stage.cluster, pod, "containerStatuses", "debezium");
    let frozen = debezium.freeze_meanwhile();
    let told = until("Fresh=False", SOON, || {
        let told = place.fresh()?;
        ensure!(told.starts_with("False "), "{told}");
        Ok(told)
    })
    .unwrap();
    for replica in &replicas {
        place.await_product(&replica.pod, id, "database", "9.50");
    }
    stage.set_price(id, "12.25");
    drop(frozen);
    names_lagging_pods(&told, &replicas);

    place.until_fresh();
    stage.cluster.wait_for(PIPELINE, "deployment/debezium", "rollout", ROLLOUT).unwrap();
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "12.25");
    }
}

/// The sidecars are asked one after the other, and what the first one says is told at once: it may be the only one named.
fn names_lagging_pods(told: &str, replicas: &[Replica]) {
    let rest =
        told.strip_prefix("False Lagging: source cdc is Lagging in ").unwrap_or_else(|| panic!("{told}"));
    let (count, rest) = rest.split_once(" of 2 sidecars (").unwrap_or_else(|| panic!("{told}"));
    let (pods, advice) = rest.split_once("): ").unwrap_or_else(|| panic!("{told}"));
    let pods: Vec<&str> = pods.split(", ").collect();
    assert_eq!(count, pods.len().to_string(), "{told}");
    assert!(
        pods.iter().all(|pod| replicas.iter().any(|replica| replica.pod == *pod)),
        "{told}: {replicas:?}"
    );
    assert!(advice.starts_with("changes or heartbeats come too late; look at Debezium"), "{told}");
}
