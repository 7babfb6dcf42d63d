//! `cargo xtask record`: what the real Debezium writes into Redis, Kafka and JetStream, recorded for the sidecar's parser
//! tests.
//!
//! Each recording is made by a Postgres, a Debezium Server and a server that it writes to of its own, from the same tables
//! and the same statements. Nothing in it is edited.

mod jetstream;
mod kafka;
mod redis;
mod script;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use freshet_e2e::process::debezium::{Format, Heartbeat, Routing, Settings, Sink, VERSION};
use freshet_e2e::process::{Debezium, Postgres, until};
use serde::Serialize;
use serde::de::IgnoredAny;

/// The message that marks the end of the statements.
const END: &str = "freshet-recorded";

/// How long a change may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// What Debezium writes to.
trait Server: Sized {
    /// What it keeps of each event.
    type Entry: Entry;

    /// What only heartbeats of Debezium's own hold: a key, unless it keeps none.
    const BEAT: &str = "serverName";

    /// A new one.
    fn start() -> Result<Self>;

    /// How Debezium is told.
    fn sink(&self) -> Sink<'_>;

    /// What it is and its version.
    fn version(&self) -> Result<(&'static str, String)>;

    /// All that was written so far, in order as far as there is one.
    fn entries(&self) -> Result<Vec<Self::Entry>>;
}

/// What a server keeps of an event.
trait Entry: Serialize {
    /// Whether this text is somewhere in it.
    fn holds(&self, text: &str) -> bool;
}

/// A recording to be made.
struct Recording {
    name: &'static str,
    settings: Settings,
    to: To,
}

/// The kinds of servers.
#[derive(Clone, Copy)]
enum To {
    Streams,
    Topics,
    PartitionedTopics,
    JetStream,
}

impl To {
    /// The folder of recordings below `sidecar/tests`.
    fn folder(self) -> &'static str {
        match self {
            Self::Streams => "recorded",
            Self::Topics | Self::PartitionedTopics | Self::JetStream => "recorded-transports",
        }
    }
}

impl Recording {
    /// Makes it, and returns how many entries it has.
    fn make(self, path: &Path) -> Result<usize> {
        match self.to {
            To::Streams => record::<redis::Streams>(self.settings, path, true),
            To::Topics => record::<kafka::Topics<1>>(self.settings, path, false),
            To::PartitionedTopics => record::<kafka::Topics<3>>(self.settings, path, false),
            To::JetStream => record::<jetstream::Stream>(self.settings, path, false),
        }
    }
}

/// Records all settings, or those named, into folders below `sidecar/tests` of the checkout `root`.
pub(crate) fn run(root: &Path, only: &[String]) -> Result<()> {
    let recordings = recordings();
    if let Some(unknown) = only.iter().find(|name| !recordings.iter().any(|known| known.name == *name)) {
        let known: Vec<_> = recordings.iter().map(|recording| recording.name).collect();
        bail!("no recording is called {unknown}; there are: {}", known.join(", "));
    }
    for recording in recordings {
        let name = recording.name;
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            let start = Instant::now();
            let folder = root.join("sidecar/tests").join(recording.to.folder());
            fs::create_dir_all(&folder)?;
            let path = folder.join(name).with_extension("json");
            let entries = recording.make(&path).with_context(|| format!("recording {name}"))?;
            println!("{name}: {entries} entries, {:.1} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// All recordings: those of Redis, which are all that can be set, and a few of the other servers.
fn recordings() -> Vec<Recording> {
    let base = || Settings::default().heartbeat(Heartbeat::Both, Duration::from_millis(500));
    let redis = of_redis().into_iter().map(|(name, settings)| Recording { name, settings, to: To::Streams });
    let others = [
        ("jetstream", base().routing(Routing::PerTable), To::JetStream),
        ("kafka", base(), To::Topics),
        // What a Kafka has that others read, too.
        ("kafka-tombstones", base().routing(Routing::PerTable).tombstones(true), To::PartitionedTopics),
    ];
    redis.chain(others.map(|(name, settings, to)| Recording { name, settings, to })).collect()
}

/// The names and settings of Redis's recordings.
fn of_redis() -> Vec<(&'static str, Settings)> {
    let base = || {
        let settings = Settings::default().heartbeat(Heartbeat::Both, Duration::from_millis(500));
        settings.routing(Routing::PerTable)
    };
    let unwrap = "debezium.transforms.unwrap";
    let unwrapped = || {
        base()
            .set("debezium.transforms", "unwrap")
            .set(&format!("{unwrap}.type"), "io.debezium.transforms.ExtractNewRecordState")
            .set(&format!("{unwrap}.add.fields"), "op,table,lsn,source.ts_ms")
            .set(&format!("{unwrap}.replace.null.with.default"), "false")
    };
    vec![
        ("compact", base().format(Format::Compact)),
        ("compact-schemas", base().format(Format::Compact).schemas(true)),
        ("compact-tombstones", base().format(Format::Compact).tombstones(true)),
        ("extended", base()),
        ("extended-schemas", base().schemas(true)),
        ("extended-tombstones", base().tombstones(true)),
        ("null-as-default", base().replace_null_with_default(true)),
        ("one-stream", base().routing(Routing::OneStream)),
        ("unwrapped", unwrapped().set(&format!("{unwrap}.delete.tombstone.handling.mode"), "rewrite")),
        // Of a delete only the tombstone is left: Debezium's own default.
        ("unwrapped-tombstones", unwrapped().tombstones(true)),
        // What a user gets who sets nothing: every value here is Debezium's own default.
        (
            "debezium-defaults",
            base()
                .format(Format::Compact)
                .schemas(true)
                .tombstones(true)
                .replace_null_with_default(true)
                .heartbeat(Heartbeat::Off, Duration::ZERO)
                .set("debezium.source.decimal.handling.mode", "precise")
                .set("debezium.source.skipped.operations", "t")
                .set("debezium.source.provide.transaction.metadata", "false")
                .set("debezium.source.poll.interval.ms", "500")
                .set("debezium.source.offset.flush.interval.ms", "60000"),
        ),
    ]
}

/// Makes one recording, of all statements or of the first ones, and returns how many entries it has.
fn record<S: Server>(settings: Settings, path: &Path, all: bool) -> Result<usize> {
    let (postgres, server) = (Postgres::start()?, S::start()?);
    postgres.execute(script::TABLES)?;
    postgres.execute(script::ROWS)?;
    let properties = settings.properties_into(server.sink());
    let beats = properties.contains_key("debezium.source.heartbeat.action.query");
    let large = properties["debezium.format.value.schemas.enable"] == "true";
    let further = if large || !all { &[] } else { script::FURTHER_CHANGES };
    let changes = [script::CHANGES, further].concat();
    let _debezium = Debezium::start(settings, &postgres, server.sink())?;
    for statements in &changes {
        postgres.execute(statements)?;
    }
    postgres.execute(&format!("SELECT pg_logical_emit_message(false, '{END}', '')"))?;
    let entries = until("the last change and a heartbeat of each kind after it", ARRIVAL, || {
        let entries = server.entries()?;
        let end =
            entries.iter().position(|entry| entry.holds(END)).context("the last change is not there")?;
        for beat in ["\"freshet-hb\"", S::BEAT] {
            if beats && !entries[end..].iter().any(|entry| entry.holds(beat)) {
                bail!("no {beat} after the last change");
            }
        }
        Ok(entries)
    })?;
    let version = |sql: &str| -> Result<String> {
        let rows = postgres.query(sql)?;
        rows.into_iter().flatten().flatten().next().with_context(|| format!("{sql}: no answer"))
    };
    let header = Header {
        debezium: VERSION,
        postgres: version("SHOW server_version")?,
        server: [server.version()?].into(),
        recorded: version("SELECT current_date")?,
        settings: properties,
        tables: script::TABLES.trim().lines().collect(),
        rows: script::ROWS.trim().lines().collect(),
        changes,
    };
    write(path, &header, &entries)?;
    Ok(entries.len())
}

/// What a recording says about itself.
#[derive(Serialize)]
struct Header<'a> {
    /// Versions: of Debezium Server, Postgres, and, under its own name, of what it wrote to.
    debezium: &'a str,
    postgres: String,
    #[serde(flatten)]
    server: BTreeMap<&'a str, String>,
    /// The day, `YYYY-MM-DD`.
    recorded: String,
    /// Debezium's properties, without addresses.
    settings: BTreeMap<String, String>,
    /// The statements: before Debezium's start, and after it.
    tables: Vec<&'a str>,
    rows: Vec<&'a str>,
    changes: Vec<&'a str>,
}

/// Writes the header's members and then one entry a line, so that differences can be read.
fn write(path: &Path, header: &Header<'_>, entries: &[impl Entry]) -> Result<()> {
    let header = serde_json::to_string_pretty(header)?;
    let header = header.trim_end_matches("\n}");
    let lines = entries.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
    let text = format!("{header},\n  \"entries\": [\n    {}\n  ]\n}}\n", lines.join(",\n    "));
    serde_json::from_str::<IgnoredAny>(&text).context("what is written is not JSON")?;
    let half: PathBuf = path.with_extension("half");
    fs::write(&half, text).with_context(|| format!("writing {}", half.display()))?;
    fs::rename(&half, path).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_have_names_of_their_own() {
        let mut names: Vec<_> = recordings().into_iter().map(|recording| recording.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), recordings().len());
    }
}
