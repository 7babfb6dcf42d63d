//! What becomes of topics and brokers while somebody reads.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use freshet_connect::{
    ConnectError, System,
    kafka::{Client, Cursor, End, Found, KafkaError, Outcome, probe},
};
use freshet_e2e::process::{Kafka, kafka::Message};

use crate::shop::{
    WITHIN, at, beginning, connect, fetch, follow, read, shared, stretch, target, topic, until, values,
};

fn one(value: &str) -> [Message; 1] {
    [Message::new("k", value)]
}

#[tokio::test]
async fn a_topic_that_isn_t_there_is_not_made() -> Result<()> {
    let kafka = Kafka::builder().auto_create_topics().start()?;
    kafka.create_topic("there", 1, &[])?;
    let mut client = connect(&kafka).await?;
    let found = client.topics(&["absent".into(), "there".into()]).await?;
    assert_eq!(found[0], Ok(None));
    assert!(matches!(&found[1], Ok(Some(topic)) if &*topic.name == "there"), "{found:?}");
    // The controller makes one topic after the other.
    kafka.create_topic("later", 1, &[])?;
    assert_eq!(kafka.topics()?, ["later", "there"]);
    Ok(())
}

#[tokio::test]
async fn a_topic_that_is_made_anew_is_another_one() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("anew", 1, &[])?;
    kafka.produce("anew", 0, &one("old"))?;
    let mut client = connect(&kafka).await?;
    let mut cursors = beginning(&mut client, "anew").await?;
    read(&mut client, &mut cursors, 1).await?;
    kafka.delete_topic("anew")?;
    assert_eq!(fetch(&mut client, &cursors[0]).await, Outcome::UnknownTopic);
    kafka.create_topic("anew", 1, &[])?;
    kafka.produce("anew", 0, &[Message::new("k", "new"), Message::new("k", "newer")])?;
    // There is something at the old place, but it isn't what comes next.
    assert_eq!(fetch(&mut client, &cursors[0]).await, Outcome::UnknownTopic);
    let new = topic(&mut client, "anew").await?;
    assert!(new.id.is_some() && new.id != cursors[0].of.id, "{new:?}");
    Ok(())
}

#[tokio::test]
async fn records_that_were_deleted_are_missed() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("deleted", 1, &[])?;
    let messages: Vec<_> = (0..10).map(|n| Message::new("k", n.to_string())).collect();
    kafka.produce("deleted", 0, &messages)?;
    let mut client = connect(&kafka).await?;
    let cursor = beginning(&mut client, "deleted").await?.remove(0);
    kafka.delete_records_before("deleted", 0, 6)?;
    assert_eq!(fetch(&mut client, &cursor).await, Outcome::OutOfRange);
    let edge = client.offsets(std::slice::from_ref(&cursor.of), End::Earliest).await.remove(0)?;
    assert_eq!(edge.offset, 6);
    let mut cursors = [Cursor { offset: 6, ..cursor.clone() }];
    assert_eq!(values(&read(&mut client, &mut cursors, 4).await?), ["6", "7", "8", "9"]);
    let end = stretch(fetch(&mut client, &cursors[0]).await)?;
    assert_eq!((end.log_start_offset, end.high_watermark), (6, 10));
    // Behind the end is out of range, too.
    assert_eq!(fetch(&mut client, &Cursor { offset: 11, ..cursor }).await, Outcome::OutOfRange);
    Ok(())
}

#[tokio::test]
async fn a_partition_more_is_seen() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("growing", 1, &[])?;
    let mut client = connect(&kafka).await?;
    let mut cursors = beginning(&mut client, "growing").await?;
    kafka.set_partitions("growing", 3)?;
    for partition in 0..3 {
        kafka.produce("growing", partition, &one("v"))?;
    }
    assert_eq!(read(&mut client, &mut cursors, 1).await?.len(), 1);
    let grown = topic(&mut client, "growing").await?;
    assert_eq!((grown.partitions.len(), grown.id), (3, cursors[0].of.id));
    let new = grown.topic_partitions().skip(1).map(|of| Cursor { of, offset: 0, last_epoch: None });
    cursors.extend(new);
    assert_eq!(read(&mut client, &mut cursors, 2).await?.len(), 2);
    Ok(())
}

/// A broker alone becomes the leader of its partitions anew when it starts again: that is an election.
#[tokio::test]
async fn a_broker_starts_again_and_a_truncated_log_is_told() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("restarted", 1, &[])?;
    kafka.produce("restarted", 0, &[Message::new("k", "0"), Message::new("k", "1")])?;
    let mut client = connect(&kafka).await?;
    let cluster = client.cluster().map(str::to_owned);
    let mut writer = connect(&kafka).await?;
    let to = topic(&mut writer, "restarted").await?.topic_partitions().next().unwrap();
    writer.offsets(std::slice::from_ref(&to), End::Latest).await.remove(0)?;
    let mut cursors = beginning(&mut client, "restarted").await?;
    read(&mut client, &mut cursors, 2).await?;
    let (before, epoch) = (cursors[0].clone(), cursors[0].of.partition.leader_epoch);
    kafka.kill()?;
    let outcome = fetch(&mut client, &cursors[0]).await;
    assert!(matches!(&outcome, Outcome::Failed(_)), "{outcome:?}");
    client.topics(&["restarted".into()]).await.unwrap_err();
    kafka.restart()?;
    kafka.produce("restarted", 0, &[Message::new("k", "2"), Message::new("k", "3")])?;
    let of = until("another epoch", async || {
        let of = topic(&mut client, "restarted").await?.topic_partitions().next().unwrap();
        ensure!(of.partition.leader_epoch > epoch, "{of:?}");
        Ok(of)
    })
    .await?;
    assert_eq!(client.cluster(), cluster.as_deref());
    // Connections that were closed while nobody used them aren't tried.
    let to = topic(&mut writer, "restarted").await?.topic_partitions().next().unwrap();
    assert_eq!(writer.offsets(&[to], End::Latest).await.remove(0)?.offset, 4);
    // Who still takes the old leader's epoch for the current one is told to ask for it.
    assert_eq!(fetch(&mut client, &before).await, Outcome::LeaderMoved);
    cursors[0].of = of.clone();
    let records = read(&mut client, &mut cursors, 2).await?;
    assert_eq!(values(&records), ["2", "3"]);
    assert_eq!(records[0].leader_epoch, of.partition.leader_epoch);
    // Whoever had read one record more under the old leader, which nobody has any more, is told where it was cut.
    let ahead = Cursor { of, offset: 3, last_epoch: epoch };
    let diverging = Outcome::Diverging { epoch: epoch.unwrap(), end_offset: 2 };
    assert_eq!(fetch(&mut client, &ahead).await, diverging);
    let end = stretch(fetch(&mut client, &cursors[0]).await)?;
    follow(&mut cursors[0], &end);
    // Another cluster at the same place.
    kafka.restart_empty()?;
    until("the new cluster", async || {
        client.topics(&["restarted".into()]).await?;
        ensure!(client.cluster() != cluster.as_deref(), "the old one");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_broker_that_hangs_is_noticed() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("hanging", 1, &[])?;
    let short = Duration::from_secs(2);
    let connected = async || Ok(Client::connect(&target(&kafka), &System, short).await?);
    let mut client = until("a broker that has just started answers in time", connected).await?;
    let mut cursors = beginning(&mut client, "hanging").await?;
    kafka.pause()?;
    let begun = Instant::now();
    let outcome = fetch(&mut client, &cursors[0]).await;
    let timeout = KafkaError::Connect(ConnectError::Timeout(at(&kafka)));
    assert_eq!(outcome, Outcome::Failed(timeout.clone()));
    // One second of waiting, and two of patience.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(client.topics(&["hanging".into()]).await, Err(timeout));
    kafka.resume()?;
    kafka.produce("hanging", 0, &one("v"))?;
    cursors[0] =
        until("it answers again", async || Ok(beginning(&mut client, "hanging").await?.remove(0))).await?;
    assert_eq!(values(&read(&mut client, &mut cursors, 1).await?), ["v"]);
    Ok(())
}

#[tokio::test]
async fn a_probe_tells_what_is_there() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("probed", 2, &[])?;
    kafka.create_topic("compacted", 1, &[("cleanup.policy", "compact,delete")])?;
    kafka.produce("probed", 0, &one("v"))?;
    let names = ["probed".into(), "compacted".into(), "nowhere".into()];
    let probe = probe(&target(&kafka), &System, &names, WITHIN).await?;
    assert!(probe.cluster.is_some());
    let found: Vec<_> = probe.topics.into_iter().map(|(_, found)| found).collect();
    assert_eq!(
        found,
        [
            Found::Readable { partitions: 2, compacted: Some(false) },
            Found::Readable { partitions: 1, compacted: Some(true) },
            Found::Absent,
        ]
    );
    Ok(())
}
