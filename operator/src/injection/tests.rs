use freshet_crds::{CacheBinding, manifest};
use serde_json::{Value, json};

use super::*;

fn shop() -> CacheBinding {
    manifest::read(include_str!("../../../crds/tests/shop.yaml")).unwrap().object
}

fn named(name: &str) -> CacheBinding {
    let mut binding = shop();
    binding.metadata.name = Some(name.into());
    binding
}

fn defaults() -> Defaults {
    Defaults {
        version: "1.2.3".into(),
        image: "freshet-sidecar:1.2.3".into(),
        pull_policy: "IfNotPresent".into(),
        pull_secrets: vec![],
    }
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "web", "annotations": { "freshet.dev/inject": "shop" } },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}

/// The pod with `value` at `pointer`, whose parent exists.
fn pod_with(pointer: &str, value: Value) -> Value {
    let mut pod = pod();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    pod.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
    pod
}

fn skip_of(pod: &Value) -> Option<SkipReason> {
    match decide(pod, &shop(), &defaults()) {
        Decision::Skip(skip) => Some(skip.reason),
        Decision::Inject(_) => None,
    }
}

fn mount(path: &str) -> Value {
    json!([{ "name": "v", "mountPath": path }])
}

/// A required node affinity of one term per expression about the operating system.
fn affinity(terms: &[(&str, &[&str])]) -> Value {
    let terms: Vec<_> = terms
        .iter()
        .map(|(operator, values)| {
            let os = json!({ "key": "kubernetes.io/os", "operator": operator, "values": values });
            json!({ "matchExpressions": [{ "key": "zone", "operator": "Exists" }, os] })
        })
        .collect();
    json!({ "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
    } })
}

#[test]
fn a_plain_pod_is_injected() {
    assert_eq!(skip_of(&pod()), None);
}

#[test]
fn each_obstacle_has_its_reason() {
    let inject = "/metadata/annotations/freshet.dev~1inject";
    let port =
        |number: u16| json!([{ "containerPort": 8080 }, { "containerPort": number, "protocol": "TCP" }]);
    let cases = [
        ("/metadata/annotations", json!({}), SkipReason::NotAsked),
        (inject, json!("false"), SkipReason::OptedOut),
        (
            "/metadata/annotations",
            json!({ "freshet.dev/inject": "shop", "kubernetes.io/config.mirror": "x" }),
            SkipReason::StaticPod,
        ),
        ("/spec/os", json!({ "name": "windows" }), SkipReason::NotLinux),
        ("/spec/nodeSelector", json!({ "kubernetes.io/os": "windows" }), SkipReason::NotLinux),
        ("/spec/affinity", affinity(&[("In", &["windows"])]), SkipReason::NotLinux),
        ("/spec/affinity", affinity(&[("In", &["windows"]), ("NotIn", &["linux"])]), SkipReason::NotLinux),
        ("/metadata/labels", json!({ "freshet.dev/binding": "blog" }), SkipReason::ReservedNameTaken),
        (
            "/metadata/annotations",
            json!({ "freshet.dev/inject": "shop", "freshet.dev/injected": "{}" }),
            SkipReason::ReservedNameTaken,
        ),
        ("/spec/hostNetwork", json!(true), SkipReason::HostNetwork),
        ("/spec/containers/0/name", json!("freshet"), SkipReason::ContainerNameTaken),
        ("/spec/initContainers", json!([{ "name": "freshet" }]), SkipReason::ContainerNameTaken),
        ("/spec/volumes", json!([{ "name": "freshet-run" }]), SkipReason::VolumeNameTaken),
        ("/spec/volumes", json!([{ "name": "freshet-no-token" }]), SkipReason::VolumeNameTaken),
        ("/spec/containers/0/volumeMounts", mount("/run/freshet/"), SkipReason::MountPathTaken),
        ("/spec/containers/0/volumeMounts", mount("/run/freshet/certs"), SkipReason::MountPathTaken),
        ("/spec/containers/0/volumeMounts", mount("//run/./x/../freshet"), SkipReason::MountPathTaken),
        ("/spec/containers/0/volumeMounts", mount("/var/run/freshet"), SkipReason::MountPathTaken),
        (
            "/spec/containers/0/volumeMounts",
            json!([{ "name": "run", "mountPath": "/run", "readOnly": true }]),
            SkipReason::MountPathTaken,
        ),
        (
            "/spec",
            json!({
                "containers": [{ "name": "app", "volumeMounts": mount("/var/run") }],
                "volumes": [{ "name": "v", "configMap": { "name": "c" } }],
            }),
            SkipReason::MountPathTaken,
        ),
        ("/spec/containers/0/ports", port(3737), SkipReason::PortTaken),
        ("/spec/initContainers", json!([{ "name": "a", "ports": port(3738) }]), SkipReason::PortTaken),
    ];
    for (pointer, value, reason) in cases {
        assert_eq!(skip_of(&pod_with(pointer, value.clone())), Some(reason), "{pointer}: {value}");
    }
}

#[test]
fn what_only_resembles_an_obstacle_is_none() {
    let cases = [
        ("/spec/os", json!({ "name": "linux" })),
        ("/spec/nodeSelector", json!({ "kubernetes.io/os": "linux", "zone": "windows" })),
        ("/spec/affinity", affinity(&[("In", &["windows", "linux"])])),
        ("/spec/affinity", affinity(&[("In", &["windows"]), ("Exists", &[])])),
        ("/spec/hostNetwork", json!(false)),
        ("/spec/volumes", json!([{ "name": "freshet-data" }])),
        ("/spec/containers/0/volumeMounts", mount("/run/freshets")),
        ("/spec/containers/0/volumeMounts", mount("/run")),
        ("/spec/containers/0/volumeMounts", mount("/etc/run/freshet")),
        ("/spec/containers/0/ports", json!([{ "containerPort": 3737, "protocol": "UDP" }])),
    ];
    for (pointer, value) in cases {
        assert_eq!(skip_of(&pod_with(pointer, value.clone())), None, "{pointer}: {value}");
    }
}

#[test]
fn an_injected_pod_is_left_alone() {
    let mut pod = pod();
    let Decision::Inject(patch) = decide(&pod, &shop(), &defaults()) else { panic!("skipped") };
    let patch: json_patch::Patch = serde_json::from_value(json!(patch)).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(skip_of(&pod), Some(SkipReason::AlreadyInjected));
}

#[test]
fn a_field_with_a_fault_counts_as_left_out() {
    let resources = |memory: &str| {
        let mut binding = shop();
        binding.spec.memory = memory.into();
        Shape::of(&binding, &defaults()).resources
    };
    // Readable, but too little; too much for any number; no size at all.
    for memory in ["512Ki", "999999999999Gi", "x"] {
        assert_eq!(resources(memory), resources("64Mi"), "{memory}");
    }
    assert_ne!(resources("65Mi"), resources("64Mi"));
}

#[test]
fn the_last_rendered_binding_is_found_in_its_own_config_map_only() {
    let mut rendered = shop();
    rendered.spec.memory = "96Mi".into();
    let config_map = |owner: &str, api: &str| -> k8s_openapi::api::core::v1::ConfigMap {
        let owner = json!({ "apiVersion": api, "kind": "CacheBinding", "name": owner, "uid": "u" });
        let text = serde_yaml::to_string(&rendered).unwrap();
        serde_json::from_value(json!({
            "metadata": { "name": "freshet-shop", "ownerReferences": [owner] },
            "data": { "binding.yaml": text },
        }))
        .unwrap()
    };
    let found = last_rendered(&config_map("shop", "freshet.dev/v1alpha1"), "shop").unwrap();
    assert_eq!(found.spec.memory, "96Mi");
    assert!(last_rendered(&config_map("blog", "freshet.dev/v1alpha1"), "shop").is_none());
    assert!(last_rendered(&config_map("shop", "freshet.development/v1"), "shop").is_none());
}

#[test]
fn a_binding_is_accepted_unless_it_is_broken_or_was_refused_as_it_is() {
    assert!(is_accepted(&shop()));
    let mut broken = shop();
    broken.spec.memory = "512Ki".into();
    assert!(!is_accepted(&broken));
    let mut refused = shop();
    refused.metadata.generation = Some(2);
    let condition = json!({
        "type": "Accepted", "status": "False", "reason": "RenderFailed", "message": "", "observedGeneration": 2,
        "lastTransitionTime": "2026-11-21T12:00:00Z",
    });
    refused.status = serde_json::from_value(json!({ "conditions": [condition] })).unwrap();
    assert!(!is_accepted(&refused));
    refused.metadata.generation = Some(3);
    assert!(is_accepted(&refused), "it has changed since");
}

#[test]
fn what_a_pod_asks_for_is_resolved_in_its_namespace() {
    let found = |ask: &str, bindings: &[&str]| {
        let bindings: Vec<_> = bindings.iter().map(|name| named(name)).collect();
        resolve(&Ask::parse(ask), bindings).map(|b| b.metadata.name.unwrap()).map_err(|skip| skip.reason)
    };
    assert_eq!(found("shop", &["blog", "shop"]), Ok("shop".into()));
    assert_eq!(found("true", &["blog"]), Ok("blog".into()));
    assert_eq!(found("true", &["blog", "shop"]), Err(SkipReason::Ambiguous));
    assert_eq!(found("true", &[]), Err(SkipReason::BindingNotFound));
    assert_eq!(found("shop", &["blog"]), Err(SkipReason::BindingNotFound));
    assert_eq!(found("false", &["blog"]), Err(SkipReason::OptedOut));
    for bad in
        ["", "Shop", "sh op", "-shop", "shop/1", "a-name-that-is-longer-than-any-binding-could-ever-be-named"]
    {
        assert_eq!(found(bad, &["shop"]), Err(SkipReason::InvalidAnnotation), "{bad:?}");
    }
}

#[test]
fn names_of_ours_that_mean_nothing_are_remarked() {
    let mut pod = pod();
    pod["metadata"]["annotations"]["freshet.dev/injekt"] = json!("x");
    pod["metadata"]["labels"] = json!({ "freshet.dev/bindin": "x", "app": "web" });
    let remarks = remarks(&pod).join("; ");
    assert!(remarks.contains("unknown annotation freshet.dev/injekt"), "{remarks}");
    assert!(remarks.contains("unknown label freshet.dev/bindin has"), "{remarks}");
    assert!(!remarks.contains("inject has") && !remarks.contains("app"), "{remarks}");
}

#[test]
fn an_outdated_sidecar_is_told_by_field() {
    let before = Shape::of(&shop(), &defaults()).injected();
    let differ = |change: &dyn Fn(&mut CacheBinding)| {
        let mut binding = shop();
        change(&mut binding);
        let now = Shape::of(&binding, &defaults()).injected();
        before.outdated_in(&now).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(differ(&|_| {}), []);
    assert_eq!(differ(&|b| b.spec.caches[0].ttl = "1m".into()), []);
    assert_eq!(differ(&|b| b.spec.epoch = "2".into()), []);
    assert_eq!(differ(&|b| b.spec.sidecar.image = Some("other:1".into())), [Field::Image]);
    let pull_secret = |b: &mut CacheBinding| {
        b.spec.sidecar.image_pull_secrets = vec![freshet_crds::PullSecret { name: "mirror".into() }];
    };
    assert_eq!(differ(&pull_secret), [Field::Image]);
    assert_eq!(differ(&|b| b.spec.memory = "128Mi".into()), [Field::Resources]);
    assert_eq!(differ(&|b| b.spec.sidecar.start_gate = freshet_crds::StartGate::None), [Field::StartGate]);
    let synced = |b: &mut CacheBinding| b.spec.sidecar.start_gate = freshet_crds::StartGate::Synced;
    assert_eq!(differ(&synced), [Field::StartGate]);
    let sooner = |b: &mut CacheBinding| b.spec.sidecar.start_deadline = Some("10s".into());
    assert_eq!(differ(&sooner), [], "nothing waits");
    let of_synced = |deadline: &str| {
        let mut binding = shop();
        synced(&mut binding);
        binding.spec.sidecar.start_deadline = Some(deadline.into());
        Shape::of(&binding, &defaults()).injected()
    };
    let outdated =
        |deadline| of_synced("1m").outdated_in(&of_synced(deadline)).into_iter().collect::<Vec<_>>();
    assert_eq!((outdated("60s"), outdated("90s")), (Vec::new(), vec![Field::StartGate]));
    let secret = |b: &mut CacheBinding| {
        let from = json!({ "secretKeyRef": { "name": "redis", "key": "url" } });
        let redis = b.spec.sources[0].redis_stream.as_mut().unwrap();
        redis.url = None;
        redis.url_from = Some(serde_json::from_value(from).unwrap());
    };
    assert_eq!(differ(&secret), [Field::Secrets]);
    let authorities = |b: &mut CacheBinding| {
        let from = json!({ "configMapKeyRef": { "name": "bundle", "key": "ca.crt" } });
        b.spec.sources[0].redis_stream.as_mut().unwrap().ca_from = serde_json::from_value(from).unwrap();
    };
    assert_eq!(differ(&authorities), [Field::Secrets]);
    for kind in [
        json!({ "kafka": { "sasl": { "mechanism": "Plain", "secretRef": { "name": "kafka" } } } }),
        json!({ "kafka": { "tls": { "clientCertificateFrom": { "secretRef": { "name": "kafka" } } } } }),
        json!({ "natsJetStream": { "credentialsFrom": { "secretKeyRef": { "name": "nats", "key": "creds" } } } }),
        json!({ "natsJetStream": { "caFrom": { "configMapKeyRef": { "name": "bundle", "key": "ca.crt" } } } }),
    ] {
        let other = |b: &mut CacheBinding| {
            let mut source = json!({ "name": "cdc" });
            for (kind, said) in kind.as_object().unwrap() {
                source[kind] = match kind.as_str() {
                    "kafka" => json!({ "brokers": ["a"], "topic": "shop.cdc" }),
                    _ => json!({ "url": "nats://a", "stream": "DebeziumStream" }),
                };
                source[kind].as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            }
            b.spec.sources[0] = serde_json::from_value(source).unwrap();
        };
        assert_eq!(differ(&other), [Field::Secrets], "{kind}");
    }
    for from in [
        json!({ "authFrom": { "secretKeyRef": { "name": "github", "key": "token" } } }),
        json!({ "caFrom": { "secretKeyRef": { "name": "github", "key": "ca.crt" } } }),
        json!({ "caFrom": { "configMapKeyRef": { "name": "bundle", "key": "ca.crt" } } }),
    ] {
        let upstream = |b: &mut CacheBinding| {
            let mut upstream = json!({ "url": "https://api.github.com" });
            upstream.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
            let cache = json!({ "name": "repos", "upstream": upstream });
            b.spec.caches.push(serde_json::from_value(cache).unwrap());
        };
        assert_eq!(differ(&upstream), [Field::Secrets], "{from}");
    }
    let other = Injected { hash: "0".into(), ..before.clone() };
    assert_eq!(other.outdated_in(&before).into_iter().collect::<Vec<_>>(), [Field::Template]);
}

#[test]
fn an_audit_reaches_sidecars_as_they_are() {
    let mut binding = shop();
    let before = Shape::of(&binding, &defaults()).injected();
    let url = "http://127.0.0.1:8080/freshet/check".to_owned();
    let check = Some(freshet_crds::Check { url });
    binding.spec.audit = Some(freshet_crds::Audit { sample: "1%".into(), delay: "5s".into(), check });
    let after = Shape::of(&binding, &defaults()).injected();
    assert_eq!(after, before, "no pod is outdated by it");
}

#[test]
fn requests_are_never_left_out() {
    let resources = |given: Value| {
        let mut binding = shop();
        binding.spec.sidecar.resources = Some(serde_json::from_value(given).unwrap());
        Shape::of(&binding, &defaults()).resources
    };
    let default = json!({ "requests": { "cpu": "10m", "memory": "128Mi" }, "limits": { "memory": "128Mi" } });
    assert_eq!(resources(json!({})), default);
    let requests = json!({ "requests": { "cpu": "0.5", "memory": "1Gi" } });
    let own = json!({ "requests": { "cpu": "500m", "memory": "1024Mi" }, "limits": { "memory": "1024Mi" } });
    assert_eq!(resources(requests), own, "the limit isn't below the request");
    let small = json!({ "requests": { "cpu": "10m", "memory": "1Mi" }, "limits": { "memory": "128Mi" } });
    assert_eq!(resources(json!({ "requests": { "memory": "1Mi" } })), small);
    let limits = json!({ "limits": { "cpu": "5m", "memory": "96Mi" } });
    let own = json!({
        "requests": { "cpu": "5m", "memory": "96Mi" }, "limits": { "cpu": "5m", "memory": "96Mi" },
    });
    assert_eq!(resources(limits), own, "the requests aren't above the limits");
    let cpu = resources(json!({ "limits": { "cpu": 2 } }));
    assert_eq!(cpu["requests"], json!({ "cpu": "10m", "memory": "128Mi" }));
    assert_eq!(cpu["limits"], json!({ "cpu": "2", "memory": "128Mi" }));
}

#[test]
fn what_the_pod_as_a_whole_has_a_budget_for_the_sidecar_shares() {
    let resources = |pod_level: Value| {
        let pod = pod_with("/spec/resources", pod_level);
        let Decision::Inject(patch) = decide(&pod, &shop(), &defaults()) else { panic!("skipped") };
        let (mut after, patch) = (pod, serde_json::from_value::<json_patch::Patch>(json!(patch)).unwrap());
        json_patch::patch(&mut after, &patch).unwrap();
        after["spec"]["initContainers"][0]["resources"].clone()
    };
    let all = json!({ "requests": { "cpu": "10m", "memory": "128Mi" }, "limits": { "memory": "128Mi" } });
    assert_eq!(resources(json!({})), all);
    let none = json!({ "requests": { "cpu": "10m" }, "limits": {} });
    assert_eq!(resources(json!({ "limits": { "memory": "100Mi" } })), none);
    assert_eq!(resources(json!({ "requests": { "memory": "1Gi" } })), none);
    let no_cpu = json!({ "requests": { "memory": "128Mi" }, "limits": { "memory": "128Mi" } });
    assert_eq!(resources(json!({ "requests": { "cpu": "1" } })), no_cpu);
}
