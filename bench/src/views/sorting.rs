//! Ranking a large list, beside a program that reads all of it, sorts, and writes the top.

use std::fmt;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use freshet_crds::manifest;
use freshet_sidecar::views::filter::Filter;
use freshet_sidecar::views::ranking::rank;
use serde_json::Value;

use super::TOP;
use super::products::list;
use crate::Spread;

/// Items of the list.
const ITEMS: usize = 100_000;

/// How often it is ranked.
const ROUNDS: usize = 20;

/// How long it takes to rank.
#[derive(Clone, Debug)]
pub(super) struct Sorting {
    bytes: usize,
    ranked: Spread,
    plain: Spread,
}

impl Sorting {
    /// Both take turns.
    pub(super) fn measure() -> Result<Self> {
        let manifest = manifest::read(&super::manifest("http://127.0.0.1:1"))
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let binding = manifest.binding().map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let spec = binding.views.first().context("the binding has a view")?;
        let filter = Filter::new(&spec.filter);
        let text = list(ITEMS);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let ranked =
                rank(spec, &filter, [Some(Ok(text.as_bytes()))]).map_err(|why| anyhow::anyhow!("{why:?}"))?;
            times[0].push(begun.elapsed());
            let begun = Instant::now();
            let plain = plain(&text)?;
            times[1].push(begun.elapsed());
            let ranked: Vec<Value> = serde_json::from_slice(&ranked.first(TOP).0.concat())?;
            ensure!(ranked == serde_json::from_slice::<Vec<Value>>(&plain)?, "they aren't alike");
        }
        let [ranked, plain] = times.map(|times| times.into_iter().collect());
        Ok(Self { bytes: text.len(), ranked, plain })
    }
}

/// As one writes it in an application.
fn plain(text: &str) -> Result<Vec<u8>> {
    let mut items: Vec<Value> = serde_json::from_str(text)?;
    let score = |item: &Value| item["rating"]["average"].as_f64().unwrap_or(f64::NEG_INFINITY);
    items.sort_by(|a, b| score(b).total_cmp(&score(a)));
    items.truncate(TOP);
    Ok(serde_json::to_vec(&items)?)
}

impl fmt::Display for Sorting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "ranking {ITEMS} items, {} KB (ms): {:>19} {:>8}   ratio p50",
            self.bytes / 1000,
            "p50",
            "max"
        )?;
        for (name, spread) in [("a view", &self.ranked), ("read all, sort, write the top", &self.plain)] {
            let ms = |thousandth| spread.at(thousandth).as_secs_f64() * 1e3;
            writeln!(f, "{name:44} {:8.1} {:8.1} {:8.2}", ms(500), ms(1000), spread.ratio(&self.plain, 500))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::products::list;
    use super::plain;

    #[test]
    fn the_peer_sorts_as_well() {
        let top: Vec<serde_json::Value> = serde_json::from_slice(&plain(&list(300)).unwrap()).unwrap();
        let scores: Vec<_> = top.iter().map(|item| item["rating"]["average"].as_u64().unwrap()).collect();
        assert!(scores.len() == super::TOP && scores.is_sorted_by(|a, b| a > b), "{scores:?}");
    }
}
