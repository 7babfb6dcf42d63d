//! What becomes of pods at the door: those that ask too early, for nothing, or not at all.

use anyhow::{Context as _, ensure};
use freshet_e2e::cluster::{VERSION, checkout};
use freshet_e2e::process::until;
use freshet_e2e::shop::{ROLLOUT, SOON};
use serde_json::{Value, json};

use crate::stage::{Stage, create, plain_pod, pod};

#[test]
fn an_unannotated_pod_is_as_it_was_before_freshet() {
    let (stage, _guard) = Stage::shared();
    let after = create(&stage.cluster, "before", &{
        let mut pod = plain_pod("later");
        pod["metadata"] = json!({"generateName": "later-", "labels": {"app": "plain"}, "annotations": {}});
        pod
    })
    .unwrap();
    let spec = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        // Where the scheduler has put it.
        spec.as_object_mut().unwrap().remove("nodeName");
        spec
    };
    assert_eq!(spec(&after), spec(&stage.before));
    assert_eq!(after["metadata"]["labels"], stage.before["metadata"]["labels"]);
    assert_eq!(after["metadata"]["annotations"], stage.before["metadata"]["annotations"]);
}

#[test]
fn one_helm_install_of_an_application_and_its_binding_gives_injected_pods() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("release");
    let chart = checkout().join("e2e/tests/story/chart");
    let chart = chart.to_str().unwrap();
    let version = format!("version={VERSION}");
    let install = ["install", "one", chart, "--namespace", &place.namespace, "--set-string", &version];
    place.cluster.helm(&install).unwrap();
    place.cluster.wait_for(&place.namespace, "deployment/shop", "rollout", ROLLOUT).unwrap();
    let pods = place.get(&["pods", "--selector", "app=shop"]).unwrap();
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 2);
    for pod in pods {
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "freshet", "{pod}");
        assert_eq!(pod["metadata"]["labels"]["freshet.dev/binding"], "one");
    }
    until("the binding counts them and is ready", SOON, || {
        let binding = place.get(&["cachebinding", "one"])?;
        let status = &binding["status"];
        ensure!(status["pods"]["injected"] == 2 && status["pods"]["missing"] == 0, "{status}");
        let conditions = status["conditions"].as_array().context("conditions")?;
        ensure!(conditions.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"), "{status}");
        Ok(())
    })
    .unwrap();
    place.cluster.helm(&["uninstall", "one", "--namespace", &place.namespace]).unwrap();
}

#[test]
fn a_pod_whose_binding_never_comes_is_admitted_and_told() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("never");
    let asks = pod("asks", &json!({"freshet.dev/inject": "shop"}));
    // kubectl tells of warnings on its standard error, which we see of failed calls only.
    let create = ["--namespace", &place.namespace, "create", "--warnings-as-errors", "--filename", "-"];
    let warned = place.cluster.kubectl_fed(&create, &asks.to_string());
    let warned = format!("{:#}", warned.unwrap_err());
    assert!(warned.contains("Warning: freshet: ") && warned.contains("BindingNotFound"), "{warned}");
    place.cluster.wait_for(&place.namespace, "pod/asks", "condition=Ready", ROLLOUT).unwrap();
    let asks = place.get(&["pod", "asks"]).unwrap();
    assert!(asks["spec"]["initContainers"].is_null(), "{asks}");

    let deployment = place.manifest("10-shop.yaml").unwrap();
    place.apply(&deployment).unwrap();
    place.cluster.wait_for(&place.namespace, "deployment/shop", "rollout", ROLLOUT).unwrap();
    until("an Event about the owner", SOON, || {
        let events = place.get(&["events.v1.events.k8s.io"])?;
        let events = events["items"].as_array().context("items")?;
        let ours = |event: &&Value| {
            event["reason"] == "BindingNotFound" && event["regarding"]["kind"] == "ReplicaSet"
        };
        let event = events.iter().find(ours).with_context(|| format!("{} others", events.len()))?;
        ensure!(event["note"].as_str().is_some_and(|note| note.contains("shop")), "{event}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_rendered_chart_is_accepted() {
    let (stage, _guard) = Stage::shared();
    let chart = checkout().join("charts/freshet");
    let chart = chart.to_str().unwrap();
    let own_account = "serviceAccount.create=false,serviceAccount.name=own";
    for set in ["replicas=1", "injection.enabled=false", own_account, "replicas=3"] {
        // Under another name, and without the CRD: there is one, and it is the installed release's.
        let template = ["template", "other", chart, "--validate", "--namespace", "default"];
        let values = ["--set", set, "--set", "crds.enabled=false"];
        let rendered = stage.cluster.helm(&[&template[..], &values].concat()).unwrap();
        let apply = ["apply", "--dry-run=server", "--filename", "-"];
        let said = stage.cluster.kubectl_fed(&apply, &rendered).unwrap();
        assert!(said.lines().count() > 4, "{set}: {said}");
        assert!(said.lines().all(|line| line.ends_with("(server dry run)")), "{set}: {said}");
    }
}
