//! What the tests have in common: a Kafka that they share, and a reader that is told in a few words what to read.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use freshet_connect::{
    System,
    kafka::{Client, Cursor, Edge, End, Fetched, KafkaError, Outcome, Record, Stretch, Target, Topic},
};
use freshet_crds::redis_url::HostPort;
use freshet_e2e::process::Kafka;

/// How long an answer may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
/// How long anything may take at all.
const DEADLINE: Duration = Duration::from_mins(1);
/// How much is fetched at once, in bytes.
pub(crate) const BLOCK: u32 = 1 << 20;

/// One Kafka for all tests that run at the same time and need nothing special of it.
pub(crate) fn shared() -> Result<Arc<Kafka>> {
    static SHARED: Mutex<Weak<Kafka>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kafka) = shared.upgrade() {
        return Ok(kafka);
    }
    let kafka = Arc::new(Kafka::start()?);
    *shared = Arc::downgrade(&kafka);
    Ok(kafka)
}

pub(crate) fn target(kafka: &Kafka) -> Target {
    Target { brokers: vec![at(kafka)], tls: None, sasl: None }
}

pub(crate) fn at(kafka: &Kafka) -> HostPort {
    HostPort { host: "127.0.0.1".into(), port: kafka.address().port() }
}

pub(crate) async fn connect(kafka: &Kafka) -> Result<Client<System>> {
    Ok(Client::connect(&target(kafka), &System, WITHIN).await?)
}

/// A topic that is there.
pub(crate) async fn topic(client: &mut Client<System>, name: &str) -> Result<Topic> {
    let mut found = client.topics(&[name.into()]).await?;
    found.remove(0)?.with_context(|| format!("there is no topic {name}"))
}

/// The beginning of each partition of a topic.
pub(crate) async fn beginning(client: &mut Client<System>, name: &str) -> Result<Vec<Cursor>> {
    let of: Vec<_> = topic(client, name).await?.topic_partitions().collect();
    let edges = client.offsets(&of, End::Earliest).await;
    let cursor =
        |(of, edge): (_, Result<Edge, KafkaError>)| Ok(Cursor { of, offset: edge?.offset, last_epoch: None });
    of.into_iter().zip(edges).map(cursor).collect()
}

/// What comes of one cursor next.
pub(crate) async fn fetch(client: &mut Client<System>, cursor: &Cursor) -> Outcome {
    let mut fetched = client.fetch(std::slice::from_ref(cursor), Duration::from_secs(1), BLOCK).await;
    let Fetched { cursor: of, outcome, .. } = fetched.remove(0);
    assert_eq!(of, *cursor);
    outcome
}

/// Reads until it has this many records, and moves the cursors behind them.
pub(crate) async fn read(
    client: &mut Client<System>,
    cursors: &mut [Cursor],
    wanted: usize,
) -> Result<Vec<Record>> {
    read_in(client, cursors, wanted, BLOCK).await
}

/// The same in blocks of another size.
pub(crate) async fn read_in(
    client: &mut Client<System>,
    cursors: &mut [Cursor],
    wanted: usize,
    block: u32,
) -> Result<Vec<Record>> {
    let (mut records, begun) = (Vec::new(), Instant::now());
    while records.len() < wanted {
        if begun.elapsed() > DEADLINE {
            bail!("{} records of {wanted}: {records:?}", records.len());
        }
        for Fetched { cursor, outcome, .. } in client.fetch(cursors, Duration::from_secs(1), block).await {
            let Outcome::Ok(stretch) = outcome else { bail!("{cursor:?}: {outcome:?}") };
            let own = cursors.iter_mut().find(|own| **own == cursor).context("an answer nobody asked for")?;
            follow(own, &stretch);
            records.extend(stretch.records);
        }
    }
    Ok(records)
}

/// Moves a cursor behind what was read.
pub(crate) fn follow(cursor: &mut Cursor, stretch: &Stretch) {
    cursor.offset = stretch.next_offset;
    cursor.last_epoch = stretch.last_epoch;
}

/// The stretch that an outcome is to be.
pub(crate) fn stretch(outcome: Outcome) -> Result<Stretch> {
    match outcome {
        Outcome::Ok(stretch) => Ok(stretch),
        other => bail!("no stretch: {other:?}"),
    }
}

pub(crate) fn values(records: &[Record]) -> Vec<String> {
    let value = |record: &Record| {
        record.value.as_ref().map_or("-".into(), |value| String::from_utf8_lossy(value).into_owned())
    };
    records.iter().map(value).collect()
}

/// Asks again until the answer is good.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(last) if begun.elapsed() > DEADLINE => bail!("{what}: not in time: {last:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
