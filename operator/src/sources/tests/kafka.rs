//! What is said of a Kafka.

use freshet_connect::kafka::{self, KafkaError, Mechanism, Sasl};
use freshet_crds::host_port::HostPort;
use freshet_e2e::process::{Kafka, kafka::Mechanism as Takes};

use super::*;
use crate::sources::kafka::flaws;

fn at(kafka: &Kafka) -> HostPort {
    HostPort { host: "127.0.0.1".into(), port: kafka.address().port() }
}

fn plain(at: HostPort) -> kafka::Target {
    kafka::Target { brokers: vec![at], tls: None, sasl: None }
}

/// A source with these topics.
fn of(kafka: kafka::Target, topics: &[&str], uses: Uses) -> Target {
    let streams = topics.iter().map(|topic| (*topic).to_owned()).collect();
    Target { name: "cdc".into(), access: Access::Kafka(kafka), streams, tables: BTreeSet::new(), uses }
}

async fn refusal(kafka: kafka::Target) -> KafkaError {
    match probe(&of(kafka, &["shop.cdc"], Uses::Keys), "default").await {
        Err(Unreachable::Kafka(error)) => {
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
            error
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn topics_are_reached_and_what_they_lack_is_told() {
    let kafka = Kafka::start().unwrap();
    kafka.create_topic("shop.cdc", 1, &[]).unwrap();
    kafka.create_topic("shop.many", 3, &[]).unwrap();
    kafka.create_topic("shop.compact", 1, &[("cleanup.policy", "compact,delete")]).unwrap();
    let look = async |topics: &[&str], uses| probe(&of(plain(at(&kafka)), topics, uses), "default").await;
    assert_eq!(look(&["shop.cdc"], Uses::History).await, Ok(Reached::default()));
    let reached = look(&["shop.cdc", "shop.none"], Uses::Keys).await.unwrap();
    assert_eq!(reached, Reached { absent: vec!["shop.none".into()], flaws: vec![] });
    let both = ["shop.compact", "shop.many"];
    let compacted = Flaw::Compacted("shop.compact".into());
    assert_eq!(look(&both, Uses::Keys).await.unwrap().flaws, []);
    assert_eq!(look(&both, Uses::Values).await.unwrap().flaws, std::slice::from_ref(&compacted));
    let divided = Flaw::Divided("shop.many".into(), 3);
    assert_eq!(look(&both, Uses::History).await.unwrap().flaws, [compacted, divided]);
}

/// Whether a topic is compacted is a right of its own to know.
#[test]
fn what_is_not_known_of_a_topic_matters_to_who_reads_it_from_its_beginning() {
    let of = |uses| flaws("t", 1, None, uses).collect::<Vec<_>>();
    assert_eq!(of(Uses::Values), []);
    assert_eq!(of(Uses::History), [Flaw::PerhapsCompacted("t".into())]);
}

#[tokio::test]
async fn what_keeps_us_from_a_kafka_is_told() {
    let (authority, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let kafka = Kafka::builder()
        .tls(&authority.issue(&["127.0.0.1"]).unwrap())
        .user(Takes::ScramSha256, "freshet", "hush-hush")
        .authorizes()
        .start()
        .unwrap();
    kafka.create_topic("shop.cdc", 1, &[]).unwrap();
    let sasl = |password: &str| {
        Some(Sasl {
            mechanism: Mechanism::ScramSha256,
            username: "freshet".into(),
            password: password.into(),
        })
    };
    let tls = |by: Option<&Authority>| {
        Some(Certificates { authorities: by.map(|by| by.pem().into_bytes()), client: None })
    };
    let ours =
        kafka::Target { brokers: vec![at(&kafka)], tls: tls(Some(&authority)), sasl: sasl("hush-hush") };
    // Let in, and then there is no right to the topic.
    let denied = refusal(ours.clone()).await;
    assert!(matches!(&denied, KafkaError::NotPermitted(what) if what.contains("shop.cdc")), "{denied:?}");
    let wrong = refusal(kafka::Target { sasl: sasl("hush"), ..ours.clone() }).await;
    assert!(matches!(wrong, KafkaError::Refused(..)), "{wrong:?}");
    for by in [Some(&other), None] {
        let untrusted = refusal(kafka::Target { tls: tls(by), ..ours.clone() }).await;
        assert!(matches!(untrusted, KafkaError::Connect(ConnectError::Untrusted(..))), "{untrusted:?}");
    }
    let clear = refusal(kafka::Target { tls: None, ..ours.clone() }).await;
    assert!(matches!(clear, KafkaError::Closed(_)), "{clear:?}");
    let named = HostPort { host: "localhost".into(), ..at(&kafka) };
    let named = refusal(kafka::Target { brokers: vec![named], ..ours.clone() }).await;
    assert!(
        matches!(&named, KafkaError::Connect(ConnectError::Untrusted(_, why)) if why.contains("127.0.0.1")),
        "{named:?}"
    );
    kafka.allow("freshet", "shop.", false).unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    let reached = loop {
        match probe(&of(ours.clone(), &["shop.cdc"], Uses::History), "default").await {
            Ok(reached) => break reached,
            Err(error) => assert!(std::time::Instant::now() < deadline, "the rule counts soon: {error}"),
        }
    };
    // It may read, and not know how the topic is kept.
    assert_eq!(reached.flaws, [Flaw::PerhapsCompacted("shop.cdc".into())]);
}

#[tokio::test]
async fn a_kafka_that_does_not_answer_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |port| HostPort { host: "127.0.0.1".into(), port };
    let begun = std::time::Instant::now();
    let waited = refusal(plain(at(silent.local_addr().unwrap().port()))).await;
    assert!(matches!(waited, KafkaError::Connect(ConnectError::Timeout(_))), "{waited:?}");
    assert!(begun.elapsed() < DEADLINE);
    let none = refusal(plain(at(Port::free().unwrap().number()))).await;
    assert!(matches!(none, KafkaError::Connect(ConnectError::NoConnection(..))), "{none:?}");
    // None of many: the whole look has its limit.
    let brokers: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let all = brokers.iter().map(|one| at(one.local_addr().unwrap().port())).collect();
    let begun = std::time::Instant::now();
    let said =
        probe(&of(kafka::Target { brokers: all, ..plain(at(1)) }, &["t"], Uses::Keys), "default").await;
    assert_eq!(said, Err(Unreachable::Timeout));
    assert!(begun.elapsed() < DEADLINE * 2);
}
