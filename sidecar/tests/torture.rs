//! A short run of what `cargo xtask torture` does for as long as one likes.

use std::time::Duration;

use freshet_e2e::torture::faults::Fault;
use freshet_e2e::torture::{self, Options};

/// Those that need no new start of a Debezium, which is most of what the others take.
const FAULTS: [&str; 10] = [
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

#[test]
fn nothing_stale_lost_or_backwards_comes_of_faults() {
    // This seed draws a stream per table for Postgres, and one for all of MariaDB's.
    let mut options = Options::new(env!("CARGO_BIN_EXE_freshet-sidecar").into(), 11, Duration::from_secs(30));
    options.faults = FAULTS.iter().map(|name| Fault::named(name).unwrap()).collect();
    options.huge = 2_000;
    options.least = FAULTS.len();
    let report = torture::run(&options).unwrap();
    assert!(report.is_clean(), "{report}");
    println!("{report}");
    assert!(report.operations.transactions > 100 && report.operations.hits > 1000, "{report}");
    assert!(report.audited > 1000 && report.faults.len() == FAULTS.len(), "{report}");
}
