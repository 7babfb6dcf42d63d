use std::{collections::BTreeSet, time::Duration};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use freshet_connect::{ConnectError, Unusable};
use freshet_crds::{
    CacheBinding, CacheBindingStatus, PodCounts,
    binding::UnfitUrl,
    manifest, names,
    redis_url::{HostPort, RedisUrl},
};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde_json::json;

use super::{
    build::build,
    dereference::Found,
    status::{Kept, PACE, Write, status, turned, write},
    validate::{Rejected, Validated, validate},
    *,
};
use crate::{
    fleet::Tally,
    injection::Field,
    retention::{Became, NotTrimmed},
    sources::{Flaw, Reached, Unreachable},
    survey::Findings,
};

mod transports;

fn shop() -> CacheBinding {
    let mut binding = manifest::read(include_str!("../../../crds/tests/shop.yaml")).unwrap().object;
    binding.metadata.namespace = Some("default".into());
    binding.metadata.uid = Some("uid-1".into());
    binding.metadata.generation = Some(3);
    binding
}

fn with_secret() -> CacheBinding {
    let mut binding = shop();
    let redis = binding.spec.sources[0].redis_stream.as_mut().unwrap();
    redis.url = None;
    redis.url_from =
        serde_json::from_value(json!({ "secretKeyRef": { "name": "redis", "key": "url" } })).unwrap();
    binding
}

fn config_map(owner: &serde_json::Value) -> Found {
    let metadata = json!({ "name": "freshet-shop", "ownerReferences": [owner] });
    let config_map = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
    Found { config_map: Some(config_map), ..Found::default() }
}

fn rejected(result: Result<Validated, Rejected>) -> Rejected {
    result.err().unwrap()
}

#[test]
fn a_good_binding_is_rendered_as_a_manifest_that_sidecars_read() {
    let validated = validate(&shop(), Found::default()).unwrap();
    let config_map: ConfigMap = build(&validated, "1.2.3");
    assert_eq!(config_map.metadata.name.as_deref(), Some("freshet-shop"));
    let owner = &config_map.metadata.owner_references.unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), ("uid-1", Some(true)));
    let text = &config_map.data.unwrap()[names::MANIFEST_FILE];
    let read = manifest::read(text).unwrap();
    assert_eq!(read.rendered_by.as_deref(), Some("1.2.3"));
    assert_eq!(read.object.spec, shop().spec);
    assert_eq!(read.object.metadata.generation, Some(3));
    assert!(!text.contains("uid-1") && !text.contains("status"), "{text}");
}

#[test]
fn the_streams_to_look_at_are_those_of_the_tables() {
    let validated = validate(&shop(), Found::default()).unwrap();
    let target = validated.targets[0].1.clone().unwrap();
    let streams: Vec<_> = target.streams.iter().map(String::as_str).collect();
    assert_eq!(streams, ["shop.inventory.category", "shop.inventory.product"]);
    // As Debezium names them, and sidecars follow them.
    let text = include_str!("../../../crds/tests/shop.yaml").replace("inventory.product", "inventory.order$");
    let mut odd = manifest::read(&text).unwrap().object;
    odd.metadata.uid = Some("uid-1".into());
    let target = validate(&odd, Found::default()).unwrap().targets[0].1.clone().unwrap();
    assert!(target.streams.contains("shop.inventory.order_"), "{:?}", target.streams);
}

#[test]
fn a_broken_spec_is_rejected_with_all_faults() {
    let mut binding = shop();
    binding.spec.memory = "0".into();
    binding.spec.caches[0].ttl = "0s".into();
    let message = rejected(validate(&binding, Found::default())).to_string();
    assert!(message.contains("spec.memory") && message.contains("spec.caches[products].ttl"), "{message}");
}

#[test]
fn a_config_map_that_is_not_ours_is_left_alone() {
    let stranger = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "uid": "x" });
    let taken = rejected(validate(&shop(), config_map(&stranger)));
    assert_eq!(taken, Rejected::ConfigMapTaken("freshet-shop".into()));
    let other =
        json!({ "apiVersion": "freshet.dev/v1alpha1", "kind": "CacheBinding", "name": "blog", "uid": "x" });
    assert!(validate(&shop(), config_map(&other)).is_err());
    let own = json!({ "apiVersion": "freshet.dev/v1alpha1", "kind": "CacheBinding", "name": "shop", "uid": "uid-1" });
    assert!(validate(&shop(), config_map(&own)).is_ok());
    let earlier =
        json!({ "apiVersion": "freshet.dev/v1alpha1", "kind": "CacheBinding", "name": "shop", "uid": "0" });
    assert!(validate(&shop(), config_map(&earlier)).is_ok(), "left by a binding of the same name");
}

#[test]
fn a_missing_secret_concerns_only_the_source() {
    let secrets = |found: Option<&str>| {
        let secret = found.map(|url| {
            serde_json::from_value(
                json!({ "stringData": {}, "data": { "url": BASE64_STANDARD.encode(url) } }),
            )
            .unwrap()
        });
        Found { secrets: [("redis".to_owned(), secret)].into(), ..Found::default() }
    };
    let missing = validate(&with_secret(), secrets(None)).unwrap();
    assert_eq!(missing.targets[0].1, Err(Unreachable::NoSecret("redis".into())));
    // Files and `echo` end in a newline, which no URL does.
    let there = validate(&with_secret(), secrets(Some("redis://:hush@redis\n"))).unwrap();
    let redis = there.targets[0].1.as_ref().unwrap().access.redis().unwrap();
    assert_eq!(redis.url, "redis://:hush@redis".parse().unwrap());
    assert!(!format!("{:?}", there.targets).contains("hush"));
    let text = &build(&there, "1").data.unwrap()[names::MANIFEST_FILE];
    assert!(!text.contains("hush"), "no credential is rendered");
}

#[test]
fn certificates_come_from_where_the_binding_says() {
    let mut binding = shop();
    let redis = binding.spec.sources[0].redis_stream.as_mut().unwrap();
    redis.url = Some("rediss://redis".into());
    redis.ca_from =
        serde_json::from_value(json!({ "configMapKeyRef": { "name": "bundle", "key": "ca.crt" } })).unwrap();
    redis.client_certificate_from =
        serde_json::from_value(json!({ "secretRef": { "name": "client" } })).unwrap();
    let target = |found: Found| validate(&binding, found).unwrap().targets.remove(0).1;
    let bundle = |data: serde_json::Value| {
        let config_map = serde_json::from_value(json!({ "data": data })).unwrap();
        [("bundle".to_owned(), Some(config_map))].into()
    };
    let client = |data: serde_json::Value| {
        [("client".to_owned(), Some(serde_json::from_value(json!({ "data": data })).unwrap()))].into()
    };
    assert_eq!(target(Found::default()), Err(Unreachable::NoConfigMap("bundle".into())));
    let authorities = bundle(json!({ "other": "x" }));
    let missing = Unreachable::NoConfigMapKey("bundle".into(), "ca.crt".into());
    assert_eq!(target(Found { authorities, ..Found::default() }), Err(missing));
    let found =
        |secrets| Found { authorities: bundle(json!({ "ca.crt": "x" })), secrets, ..Found::default() };
    assert_eq!(target(found([].into())), Err(Unreachable::NoSecret("client".into())));
    let half = client(json!({ "tls.crt": BASE64_STANDARD.encode("c") }));
    assert_eq!(target(found(half)), Err(Unreachable::NoSecretKey("client".into(), "tls.key".into())));
    let both = json!({ "tls.crt": BASE64_STANDARD.encode("c"), "tls.key": BASE64_STANDARD.encode("k") });
    let certificates = target(found(client(both))).unwrap().access.redis().unwrap().certificates.clone();
    assert_eq!(certificates.authorities.as_deref(), Some(&b"x"[..]));
    assert_eq!(certificates.client, Some((b"c".to_vec(), b"k".to_vec())));
}

// === status ===

#[test]
fn each_way_of_having_no_connection_has_its_reason() {
    let at = HostPort { host: "redis".into(), port: 6380 };
    let unfit = "redis".parse::<RedisUrl>().unwrap_err();
    for (error, reason) in [
        (ConnectError::Url(UnfitUrl::Invalid(unfit)), "InvalidUrl"),
        (ConnectError::Url(UnfitUrl::NeedsStream), "InvalidUrl"),
        (ConnectError::NoAddress("redis".into()), "Unreachable"),
        (ConnectError::Closed(at.clone()), "Unreachable"),
        (ConnectError::BadAuthorities("x".into()), "CertificateInvalid"),
        (ConnectError::BadClientCertificate("x".into()), "CertificateInvalid"),
        (ConnectError::Untrusted(at.clone(), "x".into()), "Untrusted"),
        (ConnectError::ClientRefused(at.clone(), "x".into()), "ClientCertificateRefused"),
        (ConnectError::NotTls(at), "TlsFailed"),
        (ConnectError::NoMaster("x".into()), "NoMaster"),
        (ConnectError::NoNode("x".into()), "NoMaster"),
        (Unusable::Refused("x".into()).into(), "CredentialsRefused"),
        (Unusable::NotPermitted("x".into()).into(), "NotPermitted"),
    ] {
        let says = format!("cdc: {error}");
        let status = status_of(Ok(()), &[("cdc".into(), Err(error.into()))], &tally(1, 0, 0));
        let reachable = condition(&status, "SourcesReachable");
        assert_eq!((reachable.status.as_str(), reachable.reason.as_str()), ("False", reason));
        assert_eq!(reachable.message, says);
        assert_eq!(condition(&status, "Ready").reason, reason);
    }
}

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn tally(matched: u32, missing: u32, outdated: u32) -> Tally {
    let injected = matched - missing;
    let counts = PodCounts { matched, injected, ready: injected, missing, outdated };
    Tally { counts, fields: if outdated > 0 { BTreeSet::from([Field::Image]) } else { BTreeSet::new() } }
}

fn reached() -> Vec<(String, Result<Reached, Unreachable>)> {
    vec![("cdc".into(), Ok(Reached::default()))]
}

fn status_of(
    accepted: Result<(), &Rejected>,
    sources: &[(String, Result<Reached, Unreachable>)],
    tally: &Tally,
) -> CacheBindingStatus {
    let findings = &Findings::default();
    status(&Outcome { generation: Some(3), accepted, sources, kept: &[], tally, findings }, None, now())
}

fn condition<'s>(status: &'s CacheBindingStatus, kind: &str) -> &'s Condition {
    status.conditions.iter().find(|c| c.type_ == kind).unwrap()
}

fn short(status: &CacheBindingStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn ready_is_the_sum_of_the_others() {
    let fine = status_of(Ok(()), &reached(), &tally(2, 0, 0));
    let all = [
        "Accepted=True Rendered",
        "SourcesReachable=True Reached",
        "StreamsKept=True Kept",
        "TablesCaptured=Unknown Starting",
        "Injected=True AllInjected",
        "Fresh=Unknown Starting",
        "Ready=True Serving",
    ];
    assert_eq!(short(&fine), all);
    assert!(fine.conditions.iter().all(|c| c.observed_generation == Some(3)));
    let ready = |sources: &[_], tally: &Tally| {
        let status = status_of(Ok(()), sources, tally);
        let ready = condition(&status, "Ready");
        format!("{} {}", ready.status, ready.reason)
    };
    assert_eq!(ready(&reached(), &tally(0, 0, 0)), "True NoPods");
    assert_eq!(ready(&reached(), &tally(2, 1, 0)), "False MissedInjection");
    assert_eq!(ready(&reached(), &tally(2, 0, 1)), "True Serving");
    let down = vec![("cdc".to_owned(), Err(Unreachable::Timeout))];
    assert_eq!(ready(&down, &tally(2, 1, 0)), "False Unreachable");
    let rejected = Rejected::ConfigMapTaken("freshet-shop".into());
    let broken = status_of(Err(&rejected), &[], &tally(2, 0, 0));
    let all = [
        "Accepted=False ConfigMapTaken",
        "SourcesReachable=Unknown NotAccepted",
        "StreamsKept=Unknown NotAccepted",
        "TablesCaptured=Unknown NotAccepted",
        "Injected=True AllInjected",
        "Fresh=Unknown Starting",
        "Ready=False ConfigMapTaken",
    ];
    assert_eq!(short(&broken), all);
}

#[test]
fn messages_name_what_matters() {
    let outdated = status_of(Ok(()), &reached(), &tally(3, 0, 2));
    let injected = condition(&outdated, "Injected");
    assert_eq!((injected.status.as_str(), injected.reason.as_str()), ("True", "Outdated"));
    assert!(
        injected.message.contains("2 of 3") && injected.message.contains("(image)"),
        "{}",
        injected.message
    );
    let sources = vec![
        ("a".to_owned(), Ok(Reached { absent: vec!["s.t".into()], flaws: vec![] })),
        ("b".to_owned(), Err(Unreachable::NoSecretKey("redis".into(), "url".into()))),
        ("c".to_owned(), Err(Unreachable::Timeout)),
    ];
    let status = status_of(Ok(()), &sources, &tally(0, 0, 0));
    let reachable = condition(&status, "SourcesReachable");
    assert_eq!(reachable.reason, "SecretMissing");
    assert!(reachable.message.contains("b: Secret redis has no key url"), "{}", reachable.message);
    assert!(reachable.message.contains("c: no answer within 5 s"), "{}", reachable.message);
    let status = status_of(Ok(()), &sources[..1], &tally(0, 0, 0));
    assert!(condition(&status, "SourcesReachable").message.contains("no event yet in s.t"));
    let status = status_of(Ok(()), &[], &tally(0, 0, 0));
    let reachable = condition(&status, "SourcesReachable");
    assert_eq!((reachable.status.as_str(), reachable.message.as_str()), ("True", "no cache needs a source"));
}

#[test]
fn what_a_topic_or_stream_does_not_keep_is_told() {
    let of = |flaws: &[Flaw]| {
        let sources = [("cdc".to_owned(), Ok(Reached { absent: vec![], flaws: flaws.to_vec() }))];
        let status = status_of(Ok(()), &sources, &tally(0, 0, 0));
        assert_eq!(condition(&status, "SourcesReachable").status, "True");
        let kept = condition(&status, "StreamsKept");
        (kept.reason.clone(), kept.message.clone())
    };
    for (flaw, reason, says) in [
        (Flaw::Forgetful("D".into()), "InMemory", "storage file"),
        (Flaw::FewPerSubject("D".into(), 2), "Compacted", "keeps 2 messages of a subject"),
        (Flaw::Compacted("s".into()), "Compacted", "cleanup.policy=delete"),
        (Flaw::PerhapsCompacted("s".into()), "Compacted", "DescribeConfigs"),
        (Flaw::Untold("a.b".into()), "NoTriggers", "nothing tells of changes of a.b"),
        (Flaw::Divided("s".into(), 3), "Divided", "has 3 partitions"),
    ] {
        let (found, message) = of(&[flaw]);
        assert_eq!(found, reason);
        assert!(message.starts_with("cdc: ") && message.contains(says), "{message}");
    }
    let (worst, both) = of(&[Flaw::Divided("s".into(), 2), Flaw::Compacted("s".into())]);
    assert!(worst == "Compacted" && both.contains("partitions") && both.contains("compacted"), "{both}");
}

#[test]
fn what_loses_or_holds_entries_is_told_and_the_worst_first() {
    let sources = |evicting: Option<&str>| {
        let flaws = evicting.map(|policy| Flaw::Evicting(policy.into())).into_iter().collect();
        vec![("cdc".into(), Ok(Reached { absent: vec![], flaws }))]
    };
    let of = |evicting: Option<&str>, became: Option<Became>| {
        let retention = Some(Duration::from_hours(24));
        let kept = [Kept { source: "cdc".into(), retention, became }];
        let (sources, tally) = (sources(evicting), tally(0, 0, 0));
        let outcome = Outcome {
            generation: None,
            accepted: Ok(()),
            sources: &sources,
            kept: &kept,
            tally: &tally,
            findings: &Findings::default(),
        };
        let status = status(&outcome, None, now());
        let kept = condition(&status, "StreamsKept");
        assert_eq!(condition(&status, "Ready").status, "True", "sidecars serve all the same");
        (format!("{} {}", kept.status, kept.reason), kept.message.clone())
    };
    assert_eq!(of(None, None).0, "Unknown Waiting", "nobody has looked yet");
    let (state, message) = of(None, Some(Became::Waiting("blog/two".into())));
    assert!(state == "Unknown Waiting" && message.contains("blog/two"), "{message}");
    let (state, message) = of(None, Some(Became::Trimmed));
    assert_eq!((state.as_str(), message.as_str()), ("True Kept", "cdc: entries older than 1d are removed"));
    let (state, message) = of(None, Some(Became::Held("s".into(), "blog/two".into())));
    assert!(
        state == "False Held" && message.contains("nothing is removed from s, because the binding blog/two")
    );
    let failed = || Some(Became::Failed(NotTrimmed::NotAStream("s".into())));
    let (state, message) = of(None, failed());
    assert!(state == "False NotTrimmed" && message.contains("s isn't a stream"), "{message}");
    let (state, message) = of(Some("allkeys-lru"), failed());
    assert!(
        state == "False MayEvict" && message.contains("allkeys-lru") && message.contains("s isn't a stream")
    );
    let down = [("cdc".to_owned(), Err(Unreachable::Timeout))];
    let status = status_of(Ok(()), &down, &tally(0, 0, 0));
    assert_eq!(condition(&status, "StreamsKept").status, "Unknown");
}

/// Another replica that leads begins anew, and that is no news of the streams.
#[test]
fn what_is_not_looked_at_again_yet_stays_as_it_was() {
    let of = |generation: i64, became: Option<Became>, before: Option<&CacheBindingStatus>| {
        let kept = [Kept { source: "cdc".into(), retention: Some(Duration::from_hours(24)), became }];
        let (sources, tally, findings) = (reached(), tally(0, 0, 0), Findings::default());
        let outcome = Outcome {
            generation: Some(generation),
            accepted: Ok(()),
            sources: &sources,
            kept: &kept,
            tally: &tally,
            findings: &findings,
        };
        status(&outcome, before, now())
    };
    for became in
        [Became::Failed(NotTrimmed::Timeout), Became::Held("s".into(), "x/y".into()), Became::Trimmed]
    {
        let first = of(1, Some(became), None);
        assert_eq!(of(1, None, Some(&first)), first);
        let changed = of(2, None, Some(&first));
        assert_eq!(condition(&changed, "StreamsKept").reason, "Waiting", "another binding is another thing");
        let waiting = of(1, Some(Became::Waiting("blog/two".into())), Some(&first));
        assert_eq!(condition(&waiting, "StreamsKept").status, "Unknown");
    }
}

#[test]
fn sidecars_are_not_told_of_retention() {
    let mut binding = shop();
    binding.spec.sources[0].redis_stream.as_mut().unwrap().retention = Some("24h".into());
    let validated = validate(&binding, Found::default()).unwrap();
    let text = &build(&validated, "1").data.unwrap()[names::MANIFEST_FILE];
    assert!(!text.contains("retention"), "a change of it would empty their caches: {text}");
    let want = &validated.wants[0];
    assert_eq!(want.retention, Some(Duration::from_hours(24)));
    assert!(want.streams.contains("shop.transaction") && want.target.is_some());
}

#[test]
fn a_condition_keeps_its_time_until_it_turns() {
    let first = status_of(Ok(()), &reached(), &tally(0, 0, 0));
    let later = now() + Duration::from_secs(90);
    let next = |tally: &Tally| {
        let sources = reached();
        let outcome = Outcome {
            generation: Some(4),
            accepted: Ok(()),
            sources: &sources,
            kept: &[],
            tally,
            findings: &Findings::default(),
        };
        status(&outcome, Some(&first), later)
    };
    let same = next(&tally(0, 0, 0));
    assert!(same.conditions.iter().all(|c| c.last_transition_time.0 == now()));
    let missed = next(&tally(1, 1, 0));
    assert_eq!(condition(&missed, "Accepted").last_transition_time.0, now());
    assert_eq!(condition(&missed, "Injected").last_transition_time.0, later);
    let turned: Vec<_> = turned(&first, &missed).map(|c| c.type_.as_str()).collect();
    assert_eq!(turned, ["Injected", "Ready"]);
}

#[test]
fn only_changes_are_written_and_counts_at_a_pace() {
    let before = status_of(Ok(()), &reached(), &tally(2, 0, 0));
    let second = Duration::from_secs(1);
    assert_eq!(write(None, &before, None), Write::Now);
    assert_eq!(write(Some(&before), &before.clone(), Some(second)), Write::Never);
    let counts = status_of(Ok(()), &reached(), &tally(3, 0, 0));
    assert_eq!(write(Some(&before), &counts, Some(second)), Write::Later(PACE.checked_sub(second).unwrap()));
    assert_eq!(write(Some(&before), &counts, Some(PACE)), Write::Now);
    assert_eq!(write(Some(&before), &counts, None), Write::Now, "a new holder has no last write");
    // A Job's pods come and go, also such as can't be injected.
    let none = status_of(Ok(()), &reached(), &tally(0, 0, 0));
    assert_eq!(condition(&none, "Injected").reason, "NoPods");
    for (before, after) in [(&none, &before), (&before, &none)] {
        assert!(matches!(write(Some(before), after, Some(second)), Write::Later(_)));
    }
    let missed = status_of(Ok(()), &reached(), &tally(3, 1, 0));
    assert_eq!(write(Some(&before), &missed, Some(second)), Write::Now, "what breaks is told at once");
    assert!(matches!(write(Some(&missed), &before, Some(second)), Write::Later(_)));
    let rejected = Rejected::RenderFailed("no".into());
    let refused = status_of(Err(&rejected), &[], &tally(2, 0, 0));
    let down = status_of(Ok(()), &[("cdc".into(), Err(Unreachable::Timeout))], &tally(2, 0, 0));
    for broken in [&refused, &down] {
        assert_eq!(write(Some(&before), broken, Some(second)), Write::Now);
        assert_eq!(write(Some(broken), &before, Some(second)), Write::Now, "so is its repair");
    }
    let mut generation = before.clone();
    generation.observed_generation = Some(4);
    assert_eq!(write(Some(&before), &generation, Some(second)), Write::Now);
}
