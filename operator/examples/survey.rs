//! The survey alone, without a cluster: asks the sidecars that a file names until it is ended, and says each time what is
//! known of them. `cargo xtask bench survey` measures this process.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result};
use freshet_operator::{
    binding::status,
    metrics::Metrics,
    survey::{self, Findings, Survey, Tables},
};
use serde::Deserialize;
use tokio::{sync::mpsc, time};

const BINDING: &str = "bench";
/// The least time between two looks at what is known, as between two reconciles because of pods.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a look is taken where nothing but numbers is new, as by reconciles.
const NUMBERS: Duration = status::PACE;

/// What is to be asked.
#[derive(Deserialize)]
struct Binding {
    /// Sidecars' addresses by their pods' names.
    sidecars: BTreeMap<String, SocketAddr>,
    /// The tables of the binding's caches.
    tables: Tables,
}

fn main() -> Result<()> {
    let path = std::env::args_os().nth(1).context("survey FILE: JSON with `sidecars` and `tables`")?;
    let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let binding: Binding = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    // As the operator's.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let survey = Survey::default();
        survey.know(BINDING, BINDING, binding.sidecars.clone());
        let (touch, touched) = mpsc::channel(1024);
        let metrics = Metrics::new("bench");
        tokio::select! {
            () = survey::keep(&survey, &touch, &metrics) => Ok(()),
            looked = look(&survey, &binding, touched) => looked,
        }
    })
}

/// Does what reconciles do with the survey.
async fn look(survey: &Survey, binding: &Binding, mut touched: mpsc::Receiver<String>) -> Result<()> {
    loop {
        let _ = time::timeout(NUMBERS, touched.recv()).await;
        while touched.try_recv().is_ok() {}
        survey.know(BINDING, BINDING, binding.sidecars.clone());
        let Findings { answered, waiting, silent, .. } =
            survey.findings(BINDING, &binding.tables, status::lag);
        let silent: u32 = silent.values().map(|few| few.count).sum();
        writeln!(io::stdout(), "{answered} answer, {silent} don't, {waiting} haven't been asked")?;
        time::sleep(PAUSE).await;
    }
}
