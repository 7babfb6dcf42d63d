//! A short run of what `cargo xtask torture` does for as long as one likes.

use std::time::Duration;

use anyhow::Result;
use freshet_e2e::torture::faults::Fault;
use freshet_e2e::torture::{self, Options, Source, Transport};

/// Those that need no new start of a Debezium, which is most of what the others take.
const FAULTS: &[&str] = &[
    "kill-sidecar",
    "pause-redis",
    "half-open",
    "xtrim",
    "flushall",
    "refused-writes",
    "failover-lost-tail",
    "truncate",
    "key-swaps",
    "huge-transaction",
];

/// Where nothing is kept of what is said.
const SAID: &[&str] =
    &["partition", "pause-sidecar", "kill-server", "lost-message", "said-truncate", "said-key-swaps"];

/// Where the database says it.
const NOTIFIED: &[&str] =
    &["cut", "kill-postgres", "said-truncate", "said-key-swaps", "said-huge-transaction"];

/// Where entries are recorded in a file.
const RECORDED: &[&str] = &[
    "kill-sidecar",
    "pause-sidecar",
    "file-cut",
    "file-replaced",
    "file-gone",
    "recorder-stopped",
    "truncate",
];

/// Makes each of these faults once, at least.
fn torture(seed: u64, transport: Transport, sources: &[Source], faults: &[&str]) -> Result<()> {
    let mut options =
        Options::new(env!("CARGO_BIN_EXE_freshet-sidecar").into(), seed, Duration::from_secs(15));
    options.transport = transport;
    options.sources = sources.to_vec();
    options.faults = faults.iter().filter_map(|name| Fault::named(name)).collect();
    options.huge = 2_000;
    options.slack = Duration::from_secs(10);
    options.least = faults.len();
    let report = torture::run(&options)?;
    assert!(report.is_clean(), "{report}");
    println!("{report}");
    assert!(report.operations.transactions > 100 && report.operations.hits > 1000, "{report}");
    assert!(report.audited > 500 * sources.len() && report.faults.len() == faults.len(), "{report}");
    Ok(())
}

#[test]
fn nothing_stale_lost_or_backwards_comes_of_faults() -> Result<()> {
    // This seed draws a stream per table for Postgres, and one for all of MariaDB's.
    torture(11, Transport::RedisStream, &[Source::Postgres, Source::MariaDb], FAULTS)
}

#[test]
fn nor_over_channels_of_redis() -> Result<()> {
    torture(12, Transport::RedisPubSub, &[Source::Postgres], SAID)
}

#[test]
fn nor_over_subjects_of_nats() -> Result<()> {
    torture(13, Transport::Nats, &[Source::Postgres], SAID)
}

#[test]
fn nor_over_notifications_of_postgres() -> Result<()> {
    torture(14, Transport::PostgresNotify, &[Source::Postgres], NOTIFIED)
}

#[test]
fn nor_over_a_file() -> Result<()> {
    // This seed draws a stream per table.
    torture(17, Transport::File, &[Source::Postgres], RECORDED)
}
