use serde_json::{Value, json};

use super::*;

const HASHES: &str = r#"{"version":"1","hash":"h","fields":{"image":"i","resources":"r"}}"#;

fn pod(value: Value) -> core::Pod {
    serde_json::from_value(value).unwrap()
}

fn injected(started: bool) -> core::Pod {
    pod(json!({
        "metadata": {
            "labels": { "freshet.dev/binding": "shop" },
            "annotations": { "freshet.dev/inject": "true", "freshet.dev/injected": HASHES },
        },
        "spec": { "containers": [{ "name": "app" }], "initContainers": [{ "name": "freshet" }] },
        "status": { "initContainerStatuses": [{
            "name": "freshet", "started": started, "ready": started, "image": "", "imageID": "", "restartCount": 0,
        }] },
    }))
}

fn asking(annotation: &str) -> ObjectMeta {
    serde_json::from_value(json!({ "annotations": { "freshet.dev/inject": annotation } })).unwrap()
}

fn put(fleet: &mut Fleet, half: Half, name: &str, pod: Option<Pod>) -> usize {
    fleet.apply(half, Change::Pod("ns".into(), name.into(), pod)).len()
}

#[test]
fn pods_are_counted_by_what_they_are() {
    let mut fleet = Fleet::default();
    put(&mut fleet, Half::Labelled, "a", Pod::labelled(&injected(true)));
    put(&mut fleet, Half::Labelled, "b", Pod::labelled(&injected(false)));
    put(&mut fleet, Half::Others, "c", Pod::other(&asking("shop")));
    put(&mut fleet, Half::Others, "d", Pod::other(&asking("true")));
    put(&mut fleet, Half::Others, "e", Pod::other(&asking("blog")));
    put(&mut fleet, Half::Others, "f", Pod::other(&asking("Not A Name")));
    let now: Injected = serde_json::from_str(HASHES).unwrap();
    let counts = fleet.tally("ns", "shop", true, Some(&now)).counts;
    assert_eq!(counts, PodCounts { matched: 4, injected: 2, ready: 1, missing: 2, outdated: 0 });
    let counts = fleet.tally("ns", "shop", false, Some(&now)).counts;
    assert_eq!((counts.matched, counts.missing), (3, 1), "true doesn't mean one of several");
    assert_eq!(fleet.tally("elsewhere", "shop", true, Some(&now)), Tally::default());
}

#[test]
fn outdated_sidecars_are_told_with_the_field() {
    let mut fleet = Fleet::default();
    put(&mut fleet, Half::Labelled, "a", Pod::labelled(&injected(true)));
    let mut now: Injected = serde_json::from_str(HASHES).unwrap();
    now.fields.insert(Field::Image, "other".into());
    now.hash = "other".into();
    let tally = fleet.tally("ns", "shop", true, Some(&now));
    assert_eq!((tally.counts.outdated, tally.fields), (1, BTreeSet::from([Field::Image])));
    assert_eq!(fleet.tally("ns", "shop", true, None).counts.outdated, 0, "nothing to compare with");
}

#[test]
fn sidecars_that_have_started_are_found_where_they_listen() {
    let mut fleet = Fleet::default();
    let mut of = |name: &str, change: fn(&mut core::Pod)| {
        let mut pod = injected(true);
        pod.status.as_mut().unwrap().pod_ip = Some("10.0.0.7".into());
        change(&mut pod);
        put(&mut fleet, Half::Labelled, name, Pod::labelled(&pod));
    };
    let port = |pod: &mut core::Pod, name: &str| {
        let port = json!([{ "name": "other", "containerPort": 1 }, { "name": name, "containerPort": 4000 }]);
        let spec = pod.spec.as_mut().unwrap();
        spec.init_containers.as_mut().unwrap()[0].ports = Some(serde_json::from_value(port).unwrap());
    };
    of("usual", |_| {});
    of("six", |pod| pod.status.as_mut().unwrap().pod_ip = Some("fd00::7".into()));
    of("no-address", |pod| pod.status.as_mut().unwrap().pod_ip = None);
    of("node", |pod| pod.spec.as_mut().unwrap().host_network = Some(true));
    of("other-binding", |pod| {
        pod.metadata.labels.as_mut().unwrap().insert(names::BINDING.into(), "blog".into());
    });
    of("not-started", |pod| {
        pod.status.as_mut().unwrap().init_container_statuses.as_mut().unwrap()[0].started = Some(false);
    });
    let mut pod = injected(true);
    pod.status.as_mut().unwrap().pod_ip = Some("10.0.0.8".into());
    port(&mut pod, "freshet-admin");
    put(&mut fleet, Half::Labelled, "port", Pod::labelled(&pod));
    put(&mut fleet, Half::Others, "without", Pod::other(&asking("shop")));
    let found = fleet.sidecars("ns", "shop");
    let found: Vec<_> = found.iter().map(|(name, at)| (name.as_str(), at.to_string())).collect();
    let wanted = [("port", "10.0.0.8:4000"), ("six", "[fd00::7]:3738"), ("usual", "10.0.0.7:3738")];
    assert_eq!(found, wanted.map(|(name, at)| (name, at.to_owned())));
}

#[test]
fn what_does_not_matter_is_not_kept() {
    assert_eq!(Pod::other(&ObjectMeta::default()), None);
    assert_eq!(Pod::other(&asking("false")), None);
    let mut terminating = injected(true);
    terminating.metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-11-21T12:00:00Z")).unwrap());
    assert_eq!(Pod::labelled(&terminating), None);
    let stranger = pod(json!({
        "metadata": { "labels": { "freshet.dev/binding": "shop" } },
        "spec": { "containers": [{ "name": "app" }] },
    }));
    assert_eq!(Pod::labelled(&stranger), None, "a label alone doesn't ask for anything");
}

#[test]
fn only_what_makes_a_difference_is_reported() {
    let mut fleet = Fleet::default();
    let half = Half::Labelled;
    assert_eq!(put(&mut fleet, half, "a", Pod::labelled(&injected(false))), 1);
    assert_eq!(put(&mut fleet, half, "a", Pod::labelled(&injected(false))), 0);
    assert_eq!(put(&mut fleet, half, "a", Pod::labelled(&injected(true))), 1);
    assert_eq!(put(&mut fleet, half, "b", None), 0);
    assert_eq!(put(&mut fleet, half, "a", None), 1);
    assert!(fleet.halves[0].is_empty());
}

#[test]
fn a_new_list_replaces_all() {
    let mut fleet = Fleet::default();
    put(&mut fleet, Half::Labelled, "gone", Pod::labelled(&injected(true)));
    put(&mut fleet, Half::Others, "other", Pod::other(&asking("shop")));
    fleet.apply(Half::Labelled, Change::Begin);
    fleet.apply(Half::Labelled, Change::Listed("ns".into(), "new".into(), Pod::labelled(&injected(true))));
    assert_eq!(
        fleet.tally("ns", "shop", false, None).counts.injected,
        1,
        "until it is whole, the old one counts"
    );
    let touched = fleet.apply(Half::Labelled, Change::Whole);
    assert_eq!(touched, BTreeSet::from(["ns".to_owned()]));
    assert_eq!(fleet.tally("ns", "shop", false, None).counts.matched, 2);
    assert!(fleet.halves[0]["ns"].contains_key("new"));
}
