//! Bindings change and go, and running pods follow.

use anyhow::ensure;
use freshet_e2e::process::until;
use freshet_e2e::shop::DELIVERY;

use crate::stage::Stage;

#[test]
fn a_changed_binding_reaches_running_pods_and_a_bad_one_does_not() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("changes");
    place.up().unwrap();
    let replicas = place.replicas().unwrap();
    let manifest = place.manifest("00-binding.yaml").unwrap();

    let bad = manifest.replace("maxStaleness: 10s", "maxStaleness: soon");
    assert_ne!(bad, manifest);
    let refused = format!("{:#}", place.apply(&bad).unwrap_err());
    assert!(refused.contains("duration"), "{refused}");

    place.apply(&manifest.replace("name: pages", "name: shelves")).unwrap();
    for replica in &replicas {
        until("the new cache", DELIVERY, || {
            let status = place.status(&replica.pod)?;
            let caches = &status["caches"];
            ensure!(caches["shelves"].is_object() && caches["pages"].is_null(), "{status}");
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(place.replicas().unwrap(), replicas, "the same pods");
}

#[test]
fn pods_of_a_deleted_binding_keep_serving() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("deleted");
    place.up().unwrap();
    let replicas = place.replicas().unwrap();
    place.kubectl(&["delete", "cachebinding", "shop"]).unwrap();
    for replica in &replicas {
        until("the sidecar says so", DELIVERY, || {
            let status = place.status(&replica.pod)?;
            ensure!(status["binding"]["state"] == "BindingDeleted", "{}", status["binding"]);
            Ok(())
        })
        .unwrap();
    }
    let id = stage.insert("9.50");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "9.50");
    }
    stage.set_price(id, "12.25");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "12.25");
    }
    assert_eq!(place.replicas().unwrap(), replicas, "the same pods");
}
