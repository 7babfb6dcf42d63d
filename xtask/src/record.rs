//! `cargo xtask record`: what the real Debezium writes into Redis, recorded for the sidecar's parser tests.
//!
//! Each recording is made by a Postgres, a Debezium Server and a Redis of its own, from the same tables and the same
//! statements. Nothing in it is edited.

mod script;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use freshet_e2e::process::debezium::{Format, Heartbeat, Routing, Settings, VERSION};
use freshet_e2e::process::{Debezium, Postgres, Redis, until};
use serde::Serialize;
use serde::de::IgnoredAny;

/// The message that marks the end of the statements.
const END: &str = "freshet-recorded";

/// How long a change may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Records all settings, or those named, into `sidecar/tests/recorded` of the checkout `root`.
pub(crate) fn run(root: &Path, only: &[String]) -> Result<()> {
    let recordings = recordings();
    if let Some(unknown) = only.iter().find(|name| !recordings.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = recordings.iter().map(|(name, _)| *name).collect();
        bail!("no recording is called {unknown}; there are: {}", known.join(", "));
    }
    let folder = root.join("sidecar/tests/recorded");
    fs::create_dir_all(&folder)?;
    for (name, settings) in recordings {
        if only.is_empty() || only.iter().any(|wanted| wanted == name) {
            let start = Instant::now();
            let entries = record(settings, &folder.join(name).with_extension("json"))
                .with_context(|| format!("recording {name}"))?;
            println!("{name}: {entries} entries, {:.1} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

/// The names and settings of all recordings.
fn recordings() -> Vec<(&'static str, Settings)> {
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

/// Makes one recording and returns how many entries it has.
fn record(settings: Settings, path: &Path) -> Result<usize> {
    let (postgres, redis) = (Postgres::start()?, Redis::start()?);
    postgres.execute(script::TABLES)?;
    postgres.execute(script::ROWS)?;
    let order = Order::follow(&redis)?;
    let properties = settings.properties();
    let beats = properties.contains_key("debezium.source.heartbeat.action.query");
    let large = properties["debezium.format.value.schemas.enable"] == "true";
    let further = if large { &[] } else { script::FURTHER_CHANGES };
    let changes = [script::CHANGES, further].concat();
    let _debezium = Debezium::start(settings, &postgres, &redis)?;
    for statements in &changes {
        postgres.execute(statements)?;
    }
    postgres.execute(&format!("SELECT pg_logical_emit_message(false, '{END}', '')"))?;
    let entries = until("the last change and a heartbeat of each kind after it", ARRIVAL, || {
        let entries = order.entries(&redis)?;
        let end =
            entries.iter().position(|entry| entry.holds(END)).context("the last change is not there")?;
        for beat in ["\"freshet-hb\"", "serverName"] {
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
    let server: String = redis.command(&["INFO", "server"])?;
    let header = Header {
        debezium: VERSION,
        postgres: version("SHOW server_version")?,
        redis: server.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default(),
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
    /// Versions: of Debezium Server, Postgres and Redis.
    debezium: &'a str,
    postgres: String,
    redis: &'a str,
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
fn write(path: &Path, header: &Header<'_>, entries: &[Entry]) -> Result<()> {
    let header = serde_json::to_string_pretty(header)?;
    let header = header.trim_end_matches("\n}");
    let lines = entries.iter().map(serde_json::to_string).collect::<serde_json::Result<Vec<_>>>()?;
    let text = format!("{header},\n  \"entries\": [\n    {}\n  ]\n}}\n", lines.join(",\n    "));
    serde_json::from_str::<IgnoredAny>(&text).context("what is written is not JSON")?;
    let half: PathBuf = path.with_extension("half");
    fs::write(&half, text).with_context(|| format!("writing {}", half.display()))?;
    fs::rename(&half, path).with_context(|| format!("writing {}", path.display()))
}

/// One entry of a stream.
#[derive(Serialize)]
struct Entry {
    stream: String,
    id: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn holds(&self, text: &str) -> bool {
        self.fields.iter().any(|(name, value)| name.contains(text) || value.contains(text))
    }
}

/// The order in which entries were added to the streams of one Redis. Ids alone don't give it: two streams can have
/// the same one, since each counts for itself within a millisecond.
struct Order {
    /// The stream of each XADD so far.
    streams: Arc<Mutex<Vec<String>>>,
}

impl Order {
    fn follow(redis: &Redis) -> Result<Self> {
        let mut monitor = TcpStream::connect(redis.address()).context("connecting for MONITOR")?;
        monitor.write_all(b"MONITOR\r\n")?;
        let mut lines = BufReader::new(monitor).lines();
        let answer = lines.next().context("no answer to MONITOR")??;
        if answer != "+OK" {
            bail!("MONITOR was answered with {answer}");
        }
        let streams = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&streams);
        // Ends with the connection.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(stream) = added_to(&line) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(stream.to_owned());
                }
            }
        });
        Ok(Self { streams })
    }

    /// All entries so far; an error while the streams and the order seen don't agree, which passes.
    fn entries(&self, redis: &Redis) -> Result<Vec<Entry>> {
        let order = self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut streams: BTreeMap<&str, VecDeque<Entry>> = BTreeMap::new();
        for stream in &order {
            if !streams.contains_key(stream.as_str()) {
                streams.insert(stream, entries_of(redis, stream)?);
            }
        }
        let entry = |stream: &String| streams.get_mut(stream.as_str()).and_then(VecDeque::pop_front);
        let entries: Option<Vec<Entry>> = order.iter().map(entry).collect();
        entries.ok_or_else(|| anyhow!("fewer entries than XADDs"))
    }
}

/// The stream's name in a line of MONITOR: `+1763.1 [0 127.0.0.1:40] "XADD" "shop.cdc" "*" …`.
fn added_to(line: &str) -> Option<&str> {
    let (_, command) = line.split_once("] \"")?;
    let (name, rest) = command.split_once("\" \"")?;
    name.eq_ignore_ascii_case("XADD").then(|| rest.split('"').next())?
}

fn entries_of(redis: &Redis, stream: &str) -> Result<VecDeque<Entry>> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"])?;
    let entry = |(id, fields): (String, Vec<String>)| {
        let fields = fields.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Entry { stream: stream.to_owned(), id, fields }
    };
    Ok(entries.into_iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_read_from_a_line_of_monitor() {
        let line =
            r#"+1795.43 [0 127.0.0.1:4012] "XADD" "shop.cdc" "*" "key" "{\"id\":1} [0] \"XADD\" \"no\"""#;
        assert_eq!(added_to(line), Some("shop.cdc"));
        assert_eq!(added_to(r#"+1795.43 [0 127.0.0.1:4012] "HSET" "shop.cdc" "XADD" "a""#), None);
        assert_eq!(added_to(r#"+1795.43 [0 127.0.0.1:4012] "PING""#), None);
    }

    #[test]
    fn recordings_have_names_of_their_own() {
        let mut names: Vec<_> = recordings().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), recordings().len());
    }
}
