//! The vocabulary's NATS and Kafka, on the real programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::process::debezium::{Heartbeat, Routing, Settings, Sink};
use freshet_e2e::process::kafka::{Mechanism, Message};
use freshet_e2e::process::{Authority, Debezium, Kafka, Nats, Postgres, Proxy, until};
use serde_json::Value;

/// What the server says first, and after a client without credentials has asked something.
fn refusal(nats: &Nats) -> Result<(Value, String)> {
    let mut stream = TcpStream::connect(nats.address())?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().context("no first word")??;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
    let second = lines.next().context("no answer")??;
    Ok((serde_json::from_str(first.strip_prefix("INFO ").context("not INFO")?)?, second))
}

#[test]
fn nats_carries_messages_to_who_listens() {
    let nats = Nats::builder().max_payload(2000).start().unwrap();
    let mut heard = nats.subscribe("shop.*").unwrap();
    nats.publish("other.product", &[], b"unheard").unwrap();
    nats.publish("shop.product", &[("Kind", "delete"), ("A", "1"), ("A", "2")], &[0, 255]).unwrap();
    let message = heard.hear().unwrap();
    assert_eq!((message.subject.as_str(), message.payload.as_slice()), ("shop.product", &[0, 255][..]));
    let headers: Vec<_> =
        message.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("A", "1"), ("A", "2"), ("Kind", "delete")]);
    assert!(nats.publish("shop.product", &[], &[0; 2001]).is_err());
    assert_eq!(nats.monitor("varz").unwrap()["max_payload"], 2000);
    let stream = nats.create_stream("shop", &["shop.>"]).unwrap_err();
    assert!(format!("{stream:#}").contains("jetstream unavailable"), "{stream:#}");
}

#[test]
fn jetstream_keeps_its_streams_over_a_kill() {
    let mut nats = Nats::builder().jetstream().start().unwrap();
    nats.create_stream("shop", &["shop.>"]).unwrap();
    let sequences: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| nats.store(&format!("shop.{name}"), &[("Name", name)], b"{}").unwrap())
        .into();
    assert_eq!(sequences, [1, 2, 3, 4]);
    let made = nats.stream("shop").unwrap().created;
    let url = nats.url();
    nats.delete_message("shop", 3).unwrap();
    nats.kill().unwrap();
    assert!(nats.stream("shop").is_err());
    nats.restart().unwrap();
    assert_eq!((nats.url(), nats.stream("shop").unwrap().created), (url, made));
    nats.purge_before("shop", 2).unwrap();
    let messages = nats.messages("shop").unwrap();
    let subjects: Vec<_> =
        messages.iter().map(|message| (message.sequence, message.subject.as_str())).collect();
    assert_eq!(subjects, [(2, "shop.b"), (4, "shop.d")]);
    assert_eq!(messages[0].headers, [("Name".to_owned(), "b".to_owned())]);
    assert!(messages[0].stored_ms > 1_700_000_000_000, "{}", messages[0].stored_ms);
    assert_eq!(nats.messages_from("shop", 3, 10).unwrap()[..], messages[1..]);
    assert_eq!(nats.messages_from("shop", 0, 1).unwrap()[..], messages[..1]);
    nats.purge("shop").unwrap();
    let state = nats.stream("shop").unwrap().state;
    assert_eq!((state.messages, state.first_sequence, state.last_sequence), (0, 5, 4));
    nats.delete_stream("shop").unwrap();
    nats.create_stream("shop", &["shop.>"]).unwrap();
    assert_eq!(nats.store("shop.e", &[], b"").unwrap(), 1);
    assert_ne!(nats.stream("shop").unwrap().created, made);
    nats.restart_empty().unwrap();
    assert!(nats.stream("shop").is_err());
}

#[test]
fn nats_wants_its_credentials() {
    let nats = Nats::builder().user("freshet", "s3cret").start().unwrap();
    assert!(!nats.url().contains("s3cret"));
    assert_eq!(nats.url_with_credentials(), format!("nats://freshet:s3cret@{}", nats.address()));
    nats.publish("shop", &[], b"").unwrap();
    let (first, answer) = refusal(&nats).unwrap();
    assert_eq!(
        (&first["auth_required"], answer.as_str()),
        (&Value::from(true), "-ERR 'Authorization Violation'")
    );

    let nats = Nats::builder().token("t0ken").start().unwrap();
    nats.publish("shop", &[], b"").unwrap();
    assert_eq!(refusal(&nats).unwrap().1, "-ERR 'Authorization Violation'");
    assert!(refusal(&Nats::start().unwrap()).unwrap().1.starts_with("PONG"));

    let nats = Nats::builder().jetstream().signed_credentials().unwrap().start().unwrap();
    nats.create_stream("shop", &["shop"]).unwrap();
    assert_eq!(nats.store("shop", &[], b"").unwrap(), 1);
    assert!(
        nats.credentials().unwrap().contains("USER NKEY SEED") && nats.url_with_credentials() == nats.url()
    );
    assert_eq!(refusal(&nats).unwrap().1, "-ERR 'Authorization Violation'");
}

#[test]
fn nats_speaks_tls() {
    let authority = Authority::new("nats").unwrap();
    let server = authority.issue(&["127.0.0.1"]).unwrap();
    let nats = Nats::builder().tls(&server).start().unwrap();
    nats.publish("shop", &[], b"").unwrap();
    assert!(nats.url().starts_with("tls://"));
    let clients = Authority::new("clients").unwrap();
    let nats = Nats::builder().tls_with_clients_of(&server, &clients).unwrap().start().unwrap();
    nats.publish("shop", &[], b"").unwrap();
    let info = nats.monitor("varz").unwrap();
    assert_eq!((&info["tls_required"], &info["tls_verify"]), (&Value::from(true), &Value::from(true)));
}

#[test]
fn nats_cuts_off_who_does_not_read() {
    let builder = Nats::builder().max_payload(65_536).max_pending(1 << 20);
    let nats = builder.write_deadline(Duration::from_millis(200)).start().unwrap();
    let mut slow = TcpStream::connect(nats.address()).unwrap();
    slow.write_all(b"CONNECT {\"verbose\":false}\r\nSUB shop 1\r\nPING\r\n").unwrap();
    let mut lines = BufReader::new(slow.try_clone().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "PONG"));
    until("the server has noticed", Duration::from_secs(20), || {
        for _ in 0..50 {
            nats.publish("shop", &[], &vec![0; 65_536])?;
        }
        let count = nats.monitor("varz")?["slow_consumers"].as_u64();
        // On a busy machine whoever publishes may be one as well.
        ensure!(count >= Some(1), "{count:?} slow consumers");
        let clients = nats.monitor("connz")?["connections"].as_array().cloned().unwrap_or_default();
        ensure!(clients.iter().all(|client| client["subscriptions"] == 0), "{clients:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_frozen_nats_answers_nothing_until_it_goes_on() {
    let mut nats = Nats::builder().jetstream().start().unwrap();
    nats.create_stream("shop", &["shop"]).unwrap();
    nats.pause().unwrap();
    assert!(nats.store("shop", &[], b"").is_err());
    nats.resume().unwrap();
    assert_eq!(nats.store("shop", &[], b"").unwrap(), 1);
}

#[test]
fn kafka_keeps_its_records_over_a_kill() {
    let mut kafka = Kafka::start().unwrap();
    kafka.create_topic("shop.cdc", 1, &[("cleanup.policy", "delete")]).unwrap();
    let messages = [
        Message::new("{\"id\":1}", "{}").header("op", "c").header("raw", [0, 255]),
        Message::tombstone("{\"id\":1}"),
        Message { key: None, ..Message::new("", "no key") },
    ];
    assert_eq!(kafka.produce("shop.cdc", 0, &messages).unwrap(), 0);
    assert!(kafka.produce("shop.none", 0, &messages).is_err(), "no topic makes itself");
    kafka.kill().unwrap();
    assert!(kafka.topics().is_err());
    kafka.restart().unwrap();
    let records = kafka.records("shop.cdc", 0).unwrap();
    assert_eq!(records.iter().map(|record| record.offset).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(records.iter().map(|record| record.message.clone()).collect::<Vec<_>>(), messages);
    assert!(records[0].timestamp_ms > 1_700_000_000_000, "{}", records[0].timestamp_ms);

    kafka.delete_records_before("shop.cdc", 0, 2).unwrap();
    assert_eq!(kafka.offsets("shop.cdc", 0).unwrap(), (2, 3));
    assert_eq!(kafka.records("shop.cdc", 0).unwrap()[..], records[2..]);
    assert_eq!(kafka.records_from("shop.cdc", 0, 1).unwrap()[..], records[2..]);
    assert_eq!(kafka.records_from("shop.cdc", 0, 3).unwrap(), []);
    kafka.set_partitions("shop.cdc", 2).unwrap();
    assert_eq!(kafka.partitions("shop.cdc").unwrap(), Some(2));
    assert_eq!(kafka.produce("shop.cdc", 1, &messages).unwrap(), 0);

    kafka.delete_topic("shop.cdc").unwrap();
    assert_eq!(kafka.partitions("shop.cdc").unwrap(), None);
    kafka.create_topic("shop.cdc", 1, &[]).unwrap();
    assert_eq!(kafka.offsets("shop.cdc", 0).unwrap(), (0, 0));
    assert_eq!(kafka.topics().unwrap(), ["shop.cdc"]);
    kafka.restart_empty().unwrap();
    assert_eq!(kafka.topics().unwrap(), [""; 0]);
}

#[test]
fn kafka_has_transactions_and_retention() {
    let kafka = Kafka::builder().cleans_every(Duration::from_millis(200)).start().unwrap();
    kafka.create_topic("shop.brief", 1, &[("retention.ms", "1")]).unwrap();
    kafka.produce("shop.brief", 0, &[Message::new("k", "soon gone")]).unwrap();
    until("the record is gone", Duration::from_secs(20), || {
        let offsets = kafka.offsets("shop.brief", 0)?;
        ensure!(offsets == (1, 1), "{offsets:?}");
        Ok(())
    })
    .unwrap();
    kafka.create_topic("shop.cdc", 1, &[]).unwrap();
    let message = |text: &str| [Message::new("k", text)];
    let first = kafka.produce_in_transaction("shop.cdc", 0, &message("aborted"), false).unwrap();
    let second = kafka.produce_in_transaction("shop.cdc", 0, &message("committed"), true).unwrap();
    // Between them is the mark of the first one's end.
    assert_eq!((first, second), (0, 2));
    assert_eq!(kafka.records("shop.cdc", 0).unwrap().len(), 2);
}

/// A table with one row, and settings under which nothing but its rows comes.
fn captured() -> Result<(Postgres, Settings)> {
    let postgres = Postgres::start()?;
    postgres.execute("CREATE TABLE product (id int PRIMARY KEY); INSERT INTO product VALUES (1)")?;
    let settings = Settings::default().heartbeat(Heartbeat::Off, Duration::ZERO).routing(Routing::PerTable);
    Ok((postgres, settings.set("debezium.source.provide.transaction.metadata", "false")))
}

#[test]
fn a_row_arrives_in_jetstream_through_debezium() {
    let (postgres, settings) = captured().unwrap();
    let nats = Nats::builder().jetstream().user("freshet", "s3cret").start().unwrap();
    let mut debezium = Debezium::start(settings, &postgres, &nats).unwrap();
    postgres.execute("INSERT INTO product VALUES (2)").unwrap();
    let arrives = |wanted: &[(&str, u64)]| {
        until("the rows", Duration::from_secs(20), || {
            let messages = nats.messages(Sink::STREAM)?;
            let rows = messages.iter().map(|message| {
                let value: Value = serde_json::from_slice(&message.payload)?;
                ensure!(message.subject == "shop.public.product", "{}", message.subject);
                Ok((
                    value["op"].as_str().unwrap_or_default().to_owned(),
                    value["after"]["id"].as_u64().unwrap_or(0),
                ))
            });
            let mut rows = rows.collect::<Result<Vec<_>>>()?;
            // It writes at least once.
            rows.dedup();
            ensure!(rows.iter().map(|(op, id)| (op.as_str(), *id)).eq(wanted.iter().copied()), "{rows:?}");
            Ok(())
        })
        .unwrap();
    };
    arrives(&[("r", 1), ("c", 2)]);
    // It goes on where it was.
    debezium.stop().unwrap();
    postgres.execute("INSERT INTO product VALUES (3)").unwrap();
    debezium.restart(&postgres).unwrap();
    arrives(&[("r", 1), ("c", 2), ("c", 3)]);
}

#[test]
fn a_row_arrives_in_kafka_through_debezium_with_tls_and_credentials() {
    let (postgres, settings) = captured().unwrap();
    let authority = Authority::new("kafka").unwrap();
    let server = authority.issue(&["127.0.0.1"]).unwrap();
    let proxy = Proxy::start(([127, 0, 0, 1], 1).into()).unwrap();
    let builder = Kafka::builder().user(Mechanism::ScramSha512, "freshet", "s3cret").authorizes();
    let builder = builder.user(Mechanism::Plain, "other", "secret").advertised(proxy.address());
    let builder = builder.tls_with_clients_of(&server, &Authority::new("clients").unwrap());
    let kafka = builder.unwrap().start().unwrap();
    proxy.point_to(kafka.address());
    kafka.create_topic("shop.public.product", 1, &[]).unwrap();
    kafka.allow("freshet", "shop.", true).unwrap();
    let debezium = Debezium::start(settings, &postgres, &kafka).unwrap();
    postgres.execute("DELETE FROM product").unwrap();
    let records = until("the rows", Duration::from_secs(20), || {
        let records = kafka.records(&debezium.settings().stream("public.product"), 0)?;
        ensure!(records.len() == 2, "{} records", records.len());
        Ok(records)
    })
    .unwrap();
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            let key = String::from_utf8(record.message.key.clone().unwrap()).unwrap();
            let value: Value = serde_json::from_slice(record.message.value.as_ref().unwrap()).unwrap();
            (key, value["op"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        seen,
        [("{\"id\":1}", "r"), ("{\"id\":1}", "d")].map(|(key, op)| (key.to_owned(), op.to_owned()))
    );
    assert!(proxy.counts().passed > 0, "clients are sent to what is advertised");
}
