//! The peer: a loop that asks one sidecar after the other, as one writes it in a minute. It is built as we are, which
//! `cargo xtask` does without optimisation: its time is more than it could be.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::process::http::{self, Target};
use rustix::time::{ClockId, clock_gettime};

use super::fleet::Fleet;

/// The processor time of this thread for a question, an answer and its reading as JSON, each on a new connection.
pub(super) fn per_question(fleet: &Fleet) -> Result<Duration> {
    let addresses = fleet.addresses();
    let before = used()?;
    for address in addresses {
        let status = http::get(&Target::Tcp(*address), "/status")?.json()?;
        ensure!(status["sources"].is_object(), "{status}");
    }
    Ok(used()?.saturating_sub(before) / u32::try_from(addresses.len())?.max(1))
}

fn used() -> Result<Duration> {
    clock_gettime(ClockId::ThreadCPUTime).try_into().context("a thread's time is positive")
}
