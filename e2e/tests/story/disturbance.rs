//! Parts are killed; what they come back to is right.

use anyhow::{Context as _, ensure};
use freshet_e2e::process::until;
use freshet_e2e::shop::{PIPELINE, ROLLOUT, Shop};
use serde_json::Value;

use crate::stage::Stage;

/// Kills a container without a warning, and waits until it runs again.
fn kill(shop: &Shop, stage: &Stage, pod: &str, list: &str, container: &str) {
    let state = || -> anyhow::Result<(Value, Value)> {
        let object = shop.get(&["pod", pod])?;
        let statuses = object["status"][list].as_array().context("container statuses")?;
        let status = statuses.iter().find(|it| it["name"] == container).context("the container")?;
        Ok((object["spec"]["nodeName"].clone(), status.clone()))
    };
    let (node, before) = state().unwrap();
    let id = before["containerID"].as_str().unwrap().trim_start_matches("containerd://");
    stage.cluster.kill_container(node.as_str().unwrap(), id).unwrap();
    until("the container runs again", ROLLOUT, || {
        let (_, now) = state()?;
        ensure!(now["restartCount"].as_u64() > before["restartCount"].as_u64(), "not ended yet");
        ensure!(now["ready"] == true && now["state"]["running"].is_object(), "{}", now["state"]);
        Ok(())
    })
    .unwrap();
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

    kill(&place, stage, &replica, "initContainerStatuses", "freshet");
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
        ids.iter().for_each(|id| place.await_product(&replica.pod, *id, "cache", "9.50"));
    }

    let pipeline = Shop::of(&stage.cluster, PIPELINE);
    kill(&pipeline, stage, "redis-0", "containerStatuses", "redis");
    // Committed whether or not anybody is there to hear of it.
    ids.iter().for_each(|id| stage.set_price(*id, "12.25"));
    place.await_fresh().unwrap();
    for replica in &replicas {
        for id in &ids {
            let selected =
                stage.sql(&format!("SELECT price FROM inventory.product WHERE id = {id}")).unwrap();
            place.await_product(&replica.pod, *id, "cache", &selected);
        }
    }
    stage.cluster.wait_for(PIPELINE, "deployment/debezium", "rollout", ROLLOUT).unwrap();
    // And it goes on.
    ids.iter().for_each(|id| stage.set_price(*id, "15.00"));
    for replica in &replicas {
        ids.iter().for_each(|id| place.await_product(&replica.pod, *id, "cache", "15.00"));
    }
}
