//! The operator goes and comes back; pods that never asked don't notice, and none that asked is missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::ensure;
use freshet_e2e::cluster::{Cluster, NAMESPACE};
use freshet_e2e::process::until;
use freshet_e2e::shop::{DELIVERY, ROLLOUT, SOON};
use serde_json::json;

use crate::stage::{Place, Stage, create, plain_pod, pod};

const OPERATOR: &str = "deployment/freshet";

/// Back to two replicas, whatever becomes of the test.
struct Absence<'a>(&'a Cluster);

impl<'a> Absence<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        let absence = Self(cluster);
        cluster.kubectl(&["--namespace", NAMESPACE, "scale", OPERATOR, "--replicas=0"]).unwrap();
        until("no operator is left", ROLLOUT, || {
            let pods = cluster.kubectl(&["--namespace", NAMESPACE, "get", "pods", "--output", "name"])?;
            ensure!(pods.trim().is_empty(), "{pods}");
            Ok(())
        })
        .unwrap();
        absence
    }
}

impl Drop for Absence<'_> {
    fn drop(&mut self) {
        let scaled = self.0.kubectl(&["--namespace", NAMESPACE, "scale", OPERATOR, "--replicas=2"]);
        let back = scaled.and_then(|_| self.0.wait_for(NAMESPACE, OPERATOR, "rollout", ROLLOUT));
        if let Err(error) = back {
            eprintln!("the operator did not come back: {error:#}");
        }
    }
}

#[test]
fn without_an_operator_plain_pods_are_made_and_sidecars_keep_to_the_last_good_binding() {
    let (stage, _guard) = Stage::alone();
    let place = stage.place("absence");
    place.up().unwrap();
    let replica = &place.replicas().unwrap()[0].pod;
    let absence = Absence::of(&stage.cluster);

    create(&stage.cluster, &place.namespace, &plain_pod("plain-without")).unwrap();
    place.cluster.wait_for(&place.namespace, "pod/plain-without", "condition=Ready", ROLLOUT).unwrap();
    let asks = pod("asks-without", &json!({"freshet.dev/inject": "shop"}));
    let refused = format!("{:#}", create(&stage.cluster, &place.namespace, &asks).unwrap_err());
    assert!(refused.contains("failed calling webhook"), "{refused}");

    // The CRD lets no bad binding through, so it is the rendered file that is made one, by hand.
    let id = stage.insert("9.50");
    place.await_product(replica, id, "cache", "9.50");
    let bad =
        json!({"data": {"binding.yaml": "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nspec: 7\n"}});
    place
        .kubectl(&["patch", "configmap", "freshet-shop", "--type=merge", "--patch", &bad.to_string()])
        .unwrap();
    until("the sidecar refuses it", DELIVERY, || {
        let status = place.status(replica)?;
        ensure!(status["binding"]["state"] == "BindingRejected", "{}", status["binding"]);
        Ok(())
    })
    .unwrap();
    place.await_product(replica, id, "cache", "9.50");
    stage.set_price(id, "12.25");
    place.await_product(replica, id, "cache", "12.25");

    drop(absence);
    until("the operator has mended it", DELIVERY, || {
        let status = place.status(replica)?;
        ensure!(status["binding"]["state"] == "Current", "{}", status["binding"]);
        Ok(())
    })
    .unwrap();
}

#[test]
fn no_pod_is_missed_while_the_operator_restarts() {
    let (stage, _guard) = Stage::alone();
    let place = stage.place("restart");
    place.apply(&place.manifest("00-binding.yaml").unwrap()).unwrap();
    let done = AtomicBool::new(false);
    let (admitted, refused) = thread::scope(|scope| {
        let pods = scope.spawn(|| create_until(&place, &done));
        let operator = |args: &[&str]| stage.cluster.kubectl(&[&["--namespace", NAMESPACE], args].concat());
        operator(&["rollout", "restart", OPERATOR]).unwrap();
        stage.cluster.wait_for(NAMESPACE, OPERATOR, "rollout", ROLLOUT).unwrap();
        // All at once, too.
        operator(&["delete", "pods", "--all", "--wait=true"]).unwrap();
        stage.cluster.wait_for(NAMESPACE, OPERATOR, "rollout", ROLLOUT).unwrap();
        until("a pod is injected after it", SOON, || {
            create(&stage.cluster, &place.namespace, &asking("last"))
        })
        .unwrap();
        done.store(true, Ordering::SeqCst);
        pods.join().unwrap()
    });
    eprintln!("{admitted} pods admitted, {refused} refused while no operator ran");
    assert!(admitted > 5, "{admitted}");
    let pods = place.get(&["pods"]).unwrap();
    for pod in pods["items"].as_array().unwrap() {
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "freshet", "{pod}");
    }
    assert_eq!(pods["items"].as_array().unwrap().len(), admitted + 1);
}

/// A pod that asks for a sidecar and never runs: it is about the door alone.
fn asking(name: &str) -> serde_json::Value {
    let mut pod = pod(name, &json!({"freshet.dev/inject": "shop"}));
    pod["spec"]["nodeSelector"] = json!({"example.com/none": "true"});
    pod
}

/// Creates pods without a pause; how many were admitted and refused.
fn create_until(place: &Place, done: &AtomicBool) -> (usize, usize) {
    let (mut admitted, mut refused) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        match create(&place.cluster, &place.namespace, &asking(&format!("pod-{}", admitted + refused))) {
            Ok(_) => admitted += 1,
            Err(error) => {
                // Having to wait is right; anything else would be another fault.
                let error = format!("{error:#}");
                assert!(error.contains("failed calling webhook"), "{error}");
                refused += 1;
            }
        }
    }
    (admitted, refused)
}
