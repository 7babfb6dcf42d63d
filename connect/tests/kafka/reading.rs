//! What was written is read: all of it, as it was, and nothing else.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use freshet_connect::kafka::{End, NewRecord, Outcome, ProduceError, partition_of};
use freshet_e2e::process::kafka::Message;

use crate::shop::{BLOCK, beginning, connect, fetch, follow, read, read_in, shared, stretch, topic, values};

fn record(key: &str, value: &str) -> NewRecord {
    NewRecord {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: vec![],
        timestamp_ms: 1_700_000_000_000,
    }
}

#[tokio::test]
async fn what_is_written_is_read_as_it_was() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("written", 1, &[])?;
    let mut client = connect(&kafka).await?;
    assert!(client.cluster().is_some_and(|id| !id.is_empty()));
    let written = topic(&mut client, "written").await?;
    assert!(written.id.is_some(), "{written:?}");
    let to = written.topic_partitions().next().unwrap();
    let headers = vec![
        ("freshet-kind".to_owned(), Some(Bytes::from_static(b"value"))),
        ("empty".to_owned(), Some(Bytes::new())),
        ("none".to_owned(), None),
    ];
    let one = NewRecord { headers, ..record("k1", "v1") };
    let tombstone = NewRecord { value: None, ..record("k1", "") };
    let keyless = NewRecord { key: None, timestamp_ms: 1_600_000_000_000, ..record("", "v2") };
    assert_eq!(client.produce(&to, &[one.clone(), tombstone.clone()]).await?, 0);
    assert_eq!(client.produce(&to, std::slice::from_ref(&keyless)).await?, 2);
    let mut cursors = beginning(&mut client, "written").await?;
    let records = read(&mut client, &mut cursors, 3).await?;
    for ((record, written), offset) in records.iter().zip([one, tombstone, keyless]).zip(0..) {
        assert_eq!(record.offset, offset);
        assert_eq!((&record.key, &record.value), (&written.key, &written.value));
        assert_eq!((&record.headers, record.timestamp_ms), (&written.headers, written.timestamp_ms));
        assert_eq!(record.leader_epoch, to.partition.leader_epoch);
    }
    let end = stretch(fetch(&mut client, &cursors[0]).await)?;
    assert_eq!((end.records.len(), end.next_offset, end.last_epoch), (0, 3, to.partition.leader_epoch));
    assert_eq!((end.log_start_offset, end.last_stable_offset, end.high_watermark), (0, 3, 3));
    let edge = client.offsets(std::slice::from_ref(&to), End::Latest).await.remove(0)?;
    assert_eq!((edge.offset, edge.leader_epoch), (3, to.partition.leader_epoch));
    Ok(())
}

#[tokio::test]
async fn what_can_t_be_written_is_told() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("small", 1, &[("max.message.bytes", "1000")])?;
    let mut client = connect(&kafka).await?;
    let to = topic(&mut client, "small").await?.topic_partitions().next().unwrap();
    let large = record("k", &"x".repeat(2000));
    let error = client.produce(&to, &[large]).await.unwrap_err();
    assert!(matches!(&error, ProduceError::NotWritten(_)), "{error:?}");
    assert!(error.to_string().contains("small[0]"), "{error}");
    kafka.delete_topic("small")?;
    let error = client.produce(&to, &[record("k", "v")]).await.unwrap_err();
    assert!(error.to_string().contains("no topic small[0]"), "{error}");
    Ok(())
}

#[tokio::test]
async fn every_compression_is_read() -> Result<()> {
    let kafka = shared()?;
    let mut client = connect(&kafka).await?;
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        // The broker compresses what comes to it otherwise.
        kafka.create_topic(codec, 1, &[("compression.type", codec)])?;
        // Several blocks of each codec, and some of it not to be compressed well.
        let messages: Vec<_> = (0..2000_u64)
            .map(|n| {
                Message::new(
                    format!("{n}"),
                    format!("{codec}-{n}-{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                )
            })
            .map(|message| message.header("codec", codec))
            .collect();
        kafka.produce(codec, 0, &messages)?;
        let mut cursors = beginning(&mut client, codec).await?;
        let records = read(&mut client, &mut cursors, messages.len()).await?;
        assert_eq!(records.len(), messages.len());
        for (record, message) in records.iter().zip(&messages) {
            assert_eq!(record.key.as_deref(), message.key.as_deref(), "{codec}");
            assert_eq!(record.value.as_deref(), message.value.as_deref(), "{codec}");
            assert_eq!(record.headers[0].1.as_deref(), Some(codec.as_bytes()));
        }
    }
    Ok(())
}

#[tokio::test]
async fn of_transactions_only_what_was_committed_is_read() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("transactions", 1, &[])?;
    let mut client = connect(&kafka).await?;
    let mut cursors = beginning(&mut client, "transactions").await?;
    let messages = |value: &str| [Message::new("k", value), Message::new("k", value)];
    kafka.produce("transactions", 0, &messages("plain"))?;
    kafka.produce_in_transaction("transactions", 0, &messages("aborted"), false)?;
    kafka.produce_in_transaction("transactions", 0, &messages("committed"), true)?;
    kafka.produce_in_transaction("transactions", 0, &messages("aborted again"), false)?;
    let records = read(&mut client, &mut cursors, 4).await?;
    assert_eq!(values(&records), ["plain", "plain", "committed", "committed"]);
    // 2 plain, and three times 2 with a mark of the end. That mark may come a moment later than the answer to EndTxn.
    let end = crate::shop::until("behind the last mark", async || {
        let stretch = stretch(fetch(&mut client, &cursors[0]).await)?;
        follow(&mut cursors[0], &stretch);
        assert_eq!(stretch.records, [], "an aborted one");
        anyhow::ensure!(stretch.next_offset == 11, "{stretch:?}");
        Ok(stretch)
    })
    .await?;
    assert_eq!(end.last_stable_offset, 11);
    let of = cursors[0].of.clone();
    assert_eq!(client.offsets(&[of], End::Latest).await.remove(0)?.offset, 11);
    Ok(())
}

#[tokio::test]
async fn a_fetch_that_waits_answers_with_the_first_record() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("awaited", 1, &[])?;
    let mut client = connect(&kafka).await?;
    let cursors = beginning(&mut client, "awaited").await?;
    let long = Duration::from_secs(30);
    // It is on its way; who asked is cancelled, as by `select!`.
    let asked = tokio::time::timeout(Duration::from_millis(300), client.fetch(&cursors, long, BLOCK)).await;
    assert!(asked.is_err(), "nothing was written yet: {asked:?}");
    // Other questions don't wait behind it.
    let begun = Instant::now();
    let to = topic(&mut client, "awaited").await?.topic_partitions().next().unwrap();
    client.produce(&to, &[record("k", "v")]).await?;
    let fetched = client.fetch(&cursors, long, BLOCK).await;
    assert!(begun.elapsed() < long / 2, "{:?}", begun.elapsed());
    assert_eq!(fetched.len(), 1);
    let Outcome::Ok(stretch) = &fetched[0].outcome else { panic!("{fetched:?}") };
    assert_eq!(values(&stretch.records), ["v"]);
    Ok(())
}

#[tokio::test]
async fn what_was_asked_for_a_cursor_that_has_moved_is_not_handed_out() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("moved", 1, &[])?;
    let mut client = connect(&kafka).await?;
    let mut cursors = beginning(&mut client, "moved").await?;
    let wait = Duration::from_secs(2);
    let asked = tokio::time::timeout(Duration::from_millis(100), client.fetch(&cursors, wait, BLOCK)).await;
    assert!(asked.is_err(), "{asked:?}");
    kafka.produce("moved", 0, &[Message::new("k", "old"), Message::new("k", "new")])?;
    cursors[0].offset = 1;
    let records = read(&mut client, &mut cursors, 1).await?;
    assert_eq!(values(&records), ["new"]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_is_larger_than_asked_for_comes_whole() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("large", 3, &[])?;
    let mut client = connect(&kafka).await?;
    let mut cursors = beginning(&mut client, "large").await?;
    let batch: Vec<_> = (0..3).map(|_| Message::new("k", vec![b'0'; 50_000])).collect();
    for _ in 0..20 {
        kafka.produce("large", 0, &batch)?;
    }
    kafka.produce("large", 1, &batch)?;
    kafka.produce("large", 2, &batch)?;
    // Every partition has its turn, although the first one fills each answer for a long time.
    let records = read_in(&mut client, &mut cursors, 5 * 3, 1000).await?;
    let offsets: Vec<_> = cursors.iter().map(|cursor| cursor.offset).collect();
    assert_eq!((&offsets[1..], records.len()), (&[3, 3][..], 15), "{offsets:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_has_its_partition() -> Result<()> {
    let kafka = shared()?;
    kafka.create_topic("keyed", 4, &[])?;
    let mut client = connect(&kafka).await?;
    let keyed = topic(&mut client, "keyed").await?;
    let partitions: Vec<_> = keyed.topic_partitions().collect();
    let count = NonZeroU32::new(4).unwrap();
    for n in 0..20 {
        let key = format!("product-{n}");
        let to = &partitions[usize::try_from(partition_of(key.as_bytes(), count))?];
        client.produce(to, &[record(&key, "v")]).await?;
    }
    let mut cursors = beginning(&mut client, "keyed").await?;
    assert_eq!(read(&mut client, &mut cursors, 20).await?.len(), 20);
    assert!(cursors.iter().all(|cursor| cursor.offset > 0), "{cursors:?}");
    Ok(())
}
