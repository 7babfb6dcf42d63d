//! Who is let in, and what those are told who aren't.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use freshet_connect::{
    Certificates, ConnectError, System,
    kafka::{Client, Found, KafkaError, Mechanism, Sasl, Target, probe},
};
use freshet_crds::redis_url::HostPort;
use freshet_e2e::process::{
    Authority, Kafka, Redis,
    kafka::{Mechanism as Takes, Message},
};

use crate::shop::{WITHIN, at, beginning, fetch, follow, read, shared, stretch, target, values};

const PASSWORD: &str = "hush-hush";

fn sasl(mechanism: Mechanism, password: &str) -> Sasl {
    Sasl { mechanism, username: "freshet".into(), password: password.into() }
}

fn trusting(authority: &Authority) -> Certificates {
    Certificates { authorities: Some(authority.pem().into_bytes()), client: None }
}

async fn refusal(target: &Target) -> KafkaError {
    let error = Client::connect(target, &System, WITHIN).await.err().expect("it lets us in");
    assert!(!error.to_string().contains("hush"), "{error}");
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    error
}

#[tokio::test]
async fn users_are_let_in_by_each_mechanism_over_tls() -> Result<()> {
    let authority = Authority::new("ours")?;
    let kafka = Kafka::builder()
        .tls(&authority.issue(&["127.0.0.1"])?)
        .user(Takes::Plain, "freshet", PASSWORD)
        .user(Takes::ScramSha256, "freshet", PASSWORD)
        .user(Takes::ScramSha512, "freshet", PASSWORD)
        .start()?;
    kafka.create_topic("let-in", 1, &[])?;
    kafka.produce("let-in", 0, &[Message::new("k", "v")])?;
    let brokers = vec![at(&kafka)];
    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512] {
        let target = Target {
            brokers: brokers.clone(),
            tls: Some(trusting(&authority)),
            sasl: Some(sasl(mechanism, PASSWORD)),
        };
        let mut client = Client::connect(&target, &System, WITHIN).await?;
        let mut cursors = beginning(&mut client, "let-in").await?;
        assert_eq!(values(&read(&mut client, &mut cursors, 1).await?), ["v"], "{mechanism:?}");
        let wrong = refusal(&Target { sasl: Some(sasl(mechanism, "hush")), ..target.clone() }).await;
        assert!(matches!(&wrong, KafkaError::Refused(broker, _) if *broker == brokers[0]), "{wrong:?}");
        let nobody = refusal(&Target { sasl: None, ..target.clone() }).await;
        assert_eq!(nobody, KafkaError::Closed(brokers[0].clone()));
        let plain = refusal(&Target { tls: None, ..target.clone() }).await;
        assert_eq!(plain, KafkaError::Closed(brokers[0].clone()));
        let other = Some(trusting(&Authority::new("another")?));
        let untrusted = refusal(&Target { tls: other, ..target }).await;
        assert!(matches!(&untrusted, KafkaError::Connect(ConnectError::Untrusted(..))), "{untrusted:?}");
    }
    Ok(())
}

#[tokio::test]
async fn clients_show_their_certificate() -> Result<()> {
    let (authority, clients) = (Authority::new("ours")?, Authority::new("clients")?);
    let kafka = Kafka::builder().tls_with_clients_of(&authority.issue(&["127.0.0.1"])?, &clients)?.start()?;
    let issued = clients.issue(&["freshet"])?;
    let client = Some((issued.certificate.into_bytes(), issued.key.into_bytes()));
    let tls = |client| Some(Certificates { client, ..trusting(&authority) });
    let target = Target { brokers: vec![at(&kafka)], tls: tls(client), sasl: None };
    Client::connect(&target, &System, WITHIN).await?;
    let without = refusal(&Target { tls: tls(None), ..target.clone() }).await;
    assert!(matches!(&without, KafkaError::Connect(ConnectError::ClientRefused(..))), "{without:?}");
    Ok(())
}

#[tokio::test]
async fn a_listener_without_tls_or_sasl_is_told_as_such() -> Result<()> {
    let kafka = shared()?;
    let target = target(&kafka);
    let tls = refusal(&Target { tls: Some(Certificates::default()), ..target.clone() }).await;
    assert_eq!(tls, KafkaError::NotTls(at(&kafka)));
    let sasl =
        refusal(&Target { sasl: Some(sasl(Mechanism::ScramSha512, PASSWORD)), ..target.clone() }).await;
    assert_eq!(sasl, KafkaError::NoSasl(at(&kafka)));
    Ok(())
}

#[tokio::test]
async fn what_isn_t_kafka_is_told_as_such() -> Result<()> {
    let redis = Redis::start()?;
    let at = |port| HostPort { host: "127.0.0.1".into(), port };
    let target = |at: &HostPort| Target { brokers: vec![at.clone()], tls: None, sasl: None };
    // It waits for the end of a line.
    let silent = at(redis.socket_address().port());
    let error = Client::connect(&target(&silent), &System, Duration::from_secs(2)).await.err();
    assert_eq!(error, Some(KafkaError::Connect(ConnectError::Timeout(silent))));
    let web = TcpListener::bind("127.0.0.1:0")?;
    let web_at = at(web.local_addr()?.port());
    let answers = thread::spawn(move || {
        let (mut asks, _) = web.accept()?;
        asks.read_exact(&mut [0; 8])?;
        asks.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    });
    let error = refusal(&target(&web_at)).await;
    assert!(matches!(&error, KafkaError::NotKafka(at, _) if *at == web_at), "{error:?}");
    answers.join().unwrap()?;
    Ok(())
}

#[tokio::test]
async fn a_mechanism_that_a_broker_doesn_t_have_is_told() -> Result<()> {
    let kafka = Kafka::builder().user(Takes::ScramSha256, "freshet", PASSWORD).authorizes().start()?;
    let with = |mechanism| Target { sasl: Some(sasl(mechanism, PASSWORD)), ..target(&kafka) };
    let error = refusal(&with(Mechanism::Plain)).await;
    let at = at(&kafka);
    assert_eq!(
        error,
        KafkaError::NoMechanism { at: at.clone(), mechanism: "PLAIN", offers: "SCRAM-SHA-256".into() }
    );
    // With another broker that isn't there, the one that answers is told of.
    let gone = HostPort { port: 1, ..at.clone() };
    let target = Target { brokers: vec![gone, at], ..with(Mechanism::ScramSha256) };
    Client::connect(&target, &System, WITHIN).await?;

    // What the user may not see, or not read.
    kafka.create_topic("shop.public", 1, &[])?;
    kafka.create_topic("secret", 1, &[])?;
    kafka.allow("freshet", "shop.", false)?;
    let names = ["shop.public".into(), "secret".into()];
    let probe = crate::shop::until("the rules count", async || {
        let probe = probe(&target, &System, &names, WITHIN).await?;
        anyhow::ensure!(matches!(probe.topics[0].1, Found::Readable { .. }), "{probe:?}");
        Ok(probe)
    })
    .await?;
    assert_eq!(probe.topics[0].1, Found::Readable { partitions: 1, compacted: None });
    assert_eq!(probe.topics[1].1, Found::Unreadable(KafkaError::NotPermitted("topic secret".into())));
    Ok(())
}

/// A broker hangs up on whoever asks something after the end of a session.
#[tokio::test]
async fn a_session_that_ends_is_not_noticed() -> Result<()> {
    let kafka = Kafka::builder()
        .user(Takes::Plain, "freshet", PASSWORD)
        .set("connections.max.reauth.ms", "10000")
        .start()?;
    kafka.create_topic("sessions", 1, &[])?;
    let target = Target { sasl: Some(sasl(Mechanism::Plain, PASSWORD)), ..target(&kafka) };
    let mut client = Client::connect(&target, &System, WITHIN).await?;
    let mut cursor = beginning(&mut client, "sessions").await?.remove(0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(22) {
        let stretch = stretch(fetch(&mut client, &cursor).await)?;
        follow(&mut cursor, &stretch);
        client.topics(&["sessions".into()]).await?;
    }
    Ok(())
}
