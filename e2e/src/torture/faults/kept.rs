//! What happens to what a server keeps: entries that go before anybody has read them, streams that go and come anew, and
//! a server that comes back without what it had acknowledged.

use anyhow::{Result, bail, ensure};

use super::{Act, Done, Expect, healed};
use crate::process::{Proxy, until};
use crate::torture::carrier::{Carrier, Entry, Newest, PARTITION, Streams, Topics};
use crate::torture::shape::Table;
use crate::torture::world::{PATIENCE, World, revive};

/// Entries that are lost, at least. More than one reply that is under way can hold.
pub(super) const LOST: u64 = 8;

/// Entries among which one would be that had not been forgotten.
const AROUND: usize = 5000;

/// Does something to entries that no sidecar has read, because nothing comes through to them.
pub(super) fn unread(act: &mut Act<'_>, run: impl Fn(&Act<'_>, &str) -> Result<String>) -> Result<Done> {
    unread_behind(act, Proxy::stall, run)
}

/// As [`unread`], and `shut` says how the sidecars are kept from reading.
fn unread_behind(
    act: &mut Act<'_>,
    shut: impl Fn(&Proxy),
    run: impl Fn(&Act<'_>, &str) -> Result<String>,
) -> Result<Done> {
    let index = act.any_pipeline();
    let (stream, source) = (act.any_stream(index)?, act.world.pipelines[index].source);
    act.world.links.iter().for_each(shut);
    let result = act.await_entries(&stream, LOST).and_then(|_| run(act, &stream));
    act.world.links.iter().for_each(Proxy::pass);
    Ok(healed(format!("{stream}: {}", result?), Expect::Lost(vec![source])).apart(true))
}

/// NATS sends what it has without being asked for each message: in a connection that only stalls, they would be under way,
/// and so not lost.
fn refuse(link: &Proxy) {
    link.refuse();
}

pub(super) fn purge(act: &mut Act<'_>) -> Result<Done> {
    unread_behind(act, refuse, |act, stream| {
        let nats = jet_stream(act)?.nats();
        let before = nats.stream(stream)?.state.messages;
        nats.purge(stream)?;
        let after = nats.stream(stream)?.state.messages;
        ensure!(after < before, "{after} messages are left of {before}");
        Ok(format!("{after} of {before} messages are left"))
    })
}

pub(super) fn delete_message(act: &mut Act<'_>) -> Result<Done> {
    unread_behind(act, refuse, |act, stream| {
        let nats = jet_stream(act)?.nats();
        // What is written next shows the gap.
        let last = nats.stream(stream)?.state.last_sequence;
        for sequence in [last - 1, last] {
            nats.delete_message(stream, sequence)?;
        }
        ensure!(
            nats.messages_from(stream, last - 1, 1)?.iter().all(|one| one.sequence > last),
            "they are there"
        );
        Ok(format!("the messages {} and {last} deleted", last - 1))
    })
}

/// The stream goes with all that it has, and whoever runs NATS makes it anew.
pub(super) fn delete_stream(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let (stream, source) = (act.any_stream(index)?, act.world.pipelines[index].source);
    let streams = jet_stream(act)?;
    let before = streams.nats().stream(&stream)?;
    streams.nats().delete_stream(&stream)?;
    streams.make(source)?;
    let after = streams.nats().stream(&stream)?;
    ensure!(after.created > before.created, "{stream} is the one from before");
    let effect = format!("{stream} with {} messages deleted, and made anew", before.state.messages);
    Ok(healed(effect, Expect::Lost(vec![source])))
}

pub(super) fn delete_records(act: &mut Act<'_>) -> Result<Done> {
    unread(act, |act, stream| {
        // One answer that is under way can hold a whole batch, however many records those are: not the next one as well.
        act.await_entries(stream, LOST)?;
        let kafka = kafka(act)?.kafka();
        let (first, end) = kafka.offsets(stream, PARTITION)?;
        kafka.delete_records_before(stream, PARTITION, end)?;
        let (now, _) = kafka.offsets(stream, PARTITION)?;
        ensure!(now == end, "the log begins at {now}, not at {end}");
        Ok(format!("the records from {first} to {end} deleted"))
    })
}

/// The topic goes with all that it has, and whoever runs Kafka makes it anew.
pub(super) fn delete_topic(act: &mut Act<'_>) -> Result<Done> {
    let index = act.any_pipeline();
    let (stream, source) = (act.any_stream(index)?, act.world.pipelines[index].source);
    let topics = kafka(act)?;
    let (_, before) = topics.kafka().offsets(&stream, PARTITION)?;
    topics.kafka().delete_topic(&stream)?;
    topics.make(source)?;
    let (_, after) = topics.kafka().offsets(&stream, PARTITION)?;
    ensure!(after < before, "{stream} ends at {after}, and ended at {before}");
    Ok(healed(format!("{stream} with {before} records deleted, and made anew"), Expect::Lost(vec![source])))
}

/// The server stops, comes back, takes and hands out entries, and then comes back once more as it had stopped.
pub(super) fn restart_without(act: &mut Act<'_>) -> Result<Done> {
    let World { carrier, pipelines, revived, .. } = &mut *act.world;
    let mut forgotten: Vec<(String, Entry)> = Vec::new();
    let mut meanwhile = |newest: &Newest<'_>| -> Result<()> {
        let count = |stream: &str| -> Result<u64> { Ok(newest(stream)?.mark.parse()?) };
        for index in 0..pipelines.len() {
            let stream = pipelines[index].stream(Table::Item);
            let before = count(&stream)?;
            until(&format!("entries that will be forgotten in {stream}"), PATIENCE * 2, || {
                *revived += revive(pipelines)?;
                let more = count(&stream)?.saturating_sub(before);
                ensure!(more >= LOST, "{more} more");
                Ok(())
            })?;
        }
        for pipeline in pipelines.iter() {
            let stream = pipeline.stream(Table::Item);
            let entry = newest(&stream)?;
            forgotten.push((stream, entry));
        }
        Ok(())
    };
    match carrier {
        Carrier::Redis(_) | Carrier::Ether(_) | Carrier::Files(_) => bail!("nothing is in files here"),
        Carrier::JetStream(streams) => streams.restart_without(&mut meanwhile)?,
        Carrier::Kafka(topics) => topics.restart_without(&mut meanwhile)?,
    }
    for (stream, entry) in &forgotten {
        let since = act.world.keeper()?.newest(stream, None, AROUND)?;
        ensure!(!since.contains(entry), "{stream} has {entry:?}");
    }
    let told: Vec<String> =
        forgotten.iter().map(|(stream, entry)| format!("{stream} had {}", entry.mark)).collect();
    Ok(healed(format!("forgotten: {}", told.join(", ")), Expect::Lost(act.world.sources())))
}

fn jet_stream<'a>(act: &'a Act<'_>) -> Result<&'a Streams> {
    match &act.world.carrier {
        Carrier::JetStream(streams) => Ok(streams),
        other => bail!("{} is not NATS", other.told()),
    }
}

fn kafka<'a>(act: &'a Act<'_>) -> Result<&'a Topics> {
    match &act.world.carrier {
        Carrier::Kafka(topics) => Ok(topics),
        other => bail!("{} is not Kafka", other.told()),
    }
}
