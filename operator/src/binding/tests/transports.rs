//! What is read for sources of each kind.

use freshet_connect::kafka::Mechanism;
use freshet_crds::{
    Heartbeat, OnChange,
    binding::{UnfitNatsUrl, UnfitPostgresUrl},
    postgres_url::InvalidPostgresUrl,
};
use k8s_openapi::{ByteString, api::core::v1::Secret};

use super::*;
use crate::sources::{Access, Uses};

/// The shop with a source of this kind.
fn shop_of(kind: &str) -> CacheBinding {
    let redis = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";
    let text = include_str!("../../../../crds/tests/shop.yaml").replace(redis, kind);
    let mut binding = manifest::read(&text).unwrap().object;
    binding.metadata.uid = Some("uid-1".into());
    binding.metadata.namespace = Some("default".into());
    binding
}

/// A Secret with these texts.
fn secret(data: &[(&str, &str)]) -> Secret {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), bytes(text))).collect();
    Secret { data: Some(data), ..Secret::default() }
}

#[test]
fn a_user_of_kafka_comes_from_its_secret() {
    let kafka = "kafka: {brokers: [a, 'b:9093'], topic: shop.cdc, tls: {clientCertificateFrom: {secretRef: {name: client}}},
      sasl: {mechanism: ScramSha256, secretRef: {name: user}}}";
    let binding = shop_of(kafka);
    let found = |user: &[(&str, &str)]| {
        let client = secret(&[("tls.crt", "c"), ("tls.key", "k")]);
        let secrets = [("user".to_owned(), Some(secret(user))), ("client".to_owned(), Some(client))].into();
        validate(&binding, Found { secrets, ..Found::default() }).unwrap()
    };
    let target = |validated: &Validated| validated.targets[0].1.clone();
    let missing = validate(&binding, Found::default()).unwrap();
    assert_eq!(target(&missing), Err(Unreachable::NoSecret("client".into())));
    let half = found(&[("username", "shop")]);
    assert_eq!(target(&half), Err(Unreachable::NoSecretKey("user".into(), "password".into())));
    let there = found(&[("username", "shop"), ("password", "hush")]);
    let Access::Kafka(kafka) = target(&there).unwrap().access else { panic!() };
    assert_eq!(kafka.brokers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:9092", "b:9093"]);
    assert_eq!(kafka.tls.as_ref().unwrap().client, Some((b"c".to_vec(), b"k".to_vec())));
    let sasl = kafka.sasl.as_ref().unwrap();
    assert_eq!((sasl.username.as_str(), sasl.password.as_str()), ("shop", "hush"));
    assert_eq!(sasl.mechanism, Mechanism::ScramSha256);
    assert_eq!(target(&there).unwrap().streams, ["shop.cdc".to_owned()].into());
    assert!(!format!("{:?}", there.targets).contains("hush"));
    let text = &build(&there, "1").data.unwrap()[names::MANIFEST_FILE];
    assert!(!text.contains("hush"), "no credential is rendered");
    assert_eq!(manifest::read(text).unwrap().object.spec, binding.spec);
}

#[test]
fn what_a_nats_is_reached_by_comes_from_its_secrets() {
    for kind in ["natsJetStream: {stream: DebeziumStream", "nats: {subject: shop.>"] {
        let more = "urlFrom: {secretKeyRef: {name: nats, key: url}}, credentialsFrom: {secretKeyRef: {name: nats, key: creds}}";
        is_reached_by_its_secrets(&shop_of(&format!("{kind}, {more}}}")));
    }
}

fn is_reached_by_its_secrets(binding: &CacheBinding) {
    let target = |data: &[(&str, &str)]| {
        let secrets = [("nats".to_owned(), Some(secret(data)))].into();
        validate(binding, Found { secrets, ..Found::default() }).unwrap().targets.remove(0).1
    };
    let missing = Unreachable::NoSecretKey("nats".into(), "creds".into());
    assert_eq!(target(&[("url", "tls://a")]), Err(missing));
    let both = target(&[("url", "tls://:hush@a"), ("creds", "x")]).unwrap_err();
    assert!(matches!(both, Unreachable::NatsUrl(_)) && !both.to_string().contains("hush"), "{both:?}");
    let twice = Unreachable::NatsUrl(UnfitNatsUrl::TwoLogins);
    assert_eq!(target(&[("url", "tls://shop:hush@a"), ("creds", "x")]), Err(twice));
    let there = target(&[("url", "tls://a\n"), ("creds", "hush")]).unwrap();
    assert!(!format!("{there:?}").contains("hush"), "{there:?}");
    let (Access::Nats(nats) | Access::NatsSubject(nats)) = there.access else { panic!() };
    assert_eq!((nats.url, nats.credentials.as_deref()), ("tls://a".parse().unwrap(), Some("hush")));
}

#[test]
fn what_a_postgres_is_reached_by_comes_from_its_secrets() {
    let postgres = "postgresNotify: {urlFrom: {secretKeyRef: {name: db, key: url}}, channel: bus, \
                    tls: {caFrom: {secretKeyRef: {name: db, key: ca}}}}";
    let binding = shop_of(postgres);
    let target = |data: &[(&str, &str)]| {
        let secrets = [("db".to_owned(), Some(secret(data)))].into();
        validate(&binding, Found { secrets, ..Found::default() }).unwrap().targets.remove(0).1
    };
    let url = "postgres://shop:hush@db/shop\n";
    assert_eq!(target(&[("url", url)]), Err(Unreachable::NoSecretKey("db".into(), "ca".into())));
    let invalid = target(&[("url", "postgres://shop:hush@db"), ("ca", "x")]).unwrap_err();
    assert_eq!(invalid, Unreachable::PostgresUrl(UnfitPostgresUrl(InvalidPostgresUrl::Database)));
    assert!(!invalid.to_string().contains("hush"));
    let there = target(&[("url", url), ("ca", "x")]).unwrap();
    assert!(!format!("{there:?}").contains("hush"), "{there:?}");
    assert_eq!(there.streams, ["bus".to_owned()].into());
    assert_eq!(there.tables, ["inventory.category", "inventory.product"].map(str::to_owned).into());
    let Access::Postgres(postgres) = there.access else { panic!() };
    assert_eq!(postgres.url.password.as_deref(), Some("hush"));
    assert_eq!(postgres.tls.unwrap().authorities.as_deref(), Some(&b"x"[..]));
}

/// Other servers remove old entries by themselves, and none of their streams is one in Redis.
#[test]
fn only_what_is_in_redis_is_trimmed_or_held() {
    let nothing = |kind: &str| validate(&shop_of(kind), Found::default()).unwrap().wants;
    assert_eq!(nothing("kafka: {brokers: [a], topic: s}"), []);
    assert_eq!(nothing("natsJetStream: {url: 'nats://a', stream: s}"), []);
    assert_eq!(nothing("nats: {url: 'nats://a', subject: s}"), []);
    assert_eq!(nothing("postgresNotify: {url: 'postgres://a/b', channel: c}"), []);
    assert_eq!(nothing("redisStream: {url: 'redis://a', stream: s}").len(), 1);
}

/// What is removed from topics and streams without anybody's doing harms those who read them from the beginning, or take
/// values from them.
#[test]
fn what_caches_take_of_a_source_is_known_to_its_probe() {
    let uses = |kind: &str, on_change: OnChange, warm_start: bool| {
        let mut binding = shop_of(kind);
        let spec = &mut binding.spec;
        spec.freshness.as_mut().unwrap().heartbeat = Heartbeat::Database;
        (spec.caches[0].on_change, spec.caches[0].warm_start) = (on_change, warm_start);
        validate(&binding, Found::default()).unwrap().targets.remove(0).1.unwrap().uses
    };
    let kafka = "kafka: {brokers: [a], topic: s}";
    assert_eq!(uses(kafka, OnChange::Invalidate, false), Uses::Keys);
    assert_eq!(uses(kafka, OnChange::Hydrate, false), Uses::Values);
    assert_eq!(uses(kafka, OnChange::Hydrate, true), Uses::History);
}
