//! Keeping the top of a table: what a change costs, and what each row does, beside a sorted set in Redis.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use freshet_crds::binding::ViewSpec;
use freshet_crds::manifest;
use freshet_e2e::process::Redis;
use freshet_sidecar::change::{Notice, TableId, TransactionId};
use freshet_sidecar::position::Commit;
use freshet_sidecar::upstream::allowance::Allowance;
use freshet_sidecar::views::roster::{Event, Roster, Terms};

use super::TOP;
use super::products::{product, score};
use crate::Spread;
use crate::machine::resident;

/// Rows of the table.
const ROWS: usize = 100_000;

/// What a table's rows cost.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    /// Bytes per row beyond its key and text, as they are counted and as they are resident.
    counted: f64,
    held: f64,
    change: Spread,
    top: Spread,
    redis_change: Spread,
    redis_top: Spread,
}

fn spec() -> Result<ViewSpec> {
    let text = "
apiVersion: freshet.dev/v1alpha1
kind: CacheBinding
metadata: {name: bench}
spec:
  sources: [{name: cdc, redisStream: {url: 'redis://127.0.0.1:1', stream: s}}]
  freshness: {maxStaleness: 5s}
  caches: [{name: rows, table: s.t, onChange: Hydrate, warmStart: true}]
  views: [{name: top, cache: rows, orderBy: /rating/average, limit: 20}]";
    let manifest = manifest::read(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let binding = manifest.binding().map_err(|error| anyhow::anyhow!("{error:?}"))?;
    binding.views.first().cloned().context("the binding has a view")
}

impl Rows {
    /// Both take turns.
    pub(super) fn measure(samples: usize) -> Result<Self> {
        let (spec, allowance) = (spec()?, Allowance::default());
        let terms =
            Terms { lag: Duration::ZERO, skew: Duration::ZERO, allowance: &allowance, memory: 1 << 32 };
        let texts: Vec<_> = (0..ROWS).map(|n| (n.to_string(), product(n))).collect();
        let before = resident()?;
        let mut roster = roster(&spec, &texts, &terms);
        let own: usize = texts.iter().map(|(key, text)| key.len() + text.len()).sum();
        #[expect(clippy::cast_precision_loss, reason = "bytes of one process stay far below 2^53")]
        let each = |bytes: u64| (bytes as f64 - own as f64) / ROWS as f64;
        let (counted, held) = (each(roster.weight()), each(resident()?.saturating_sub(before)));

        let server = Redis::start()?;
        let mut redis = server.connection()?;
        let mut fill = redis::pipe();
        for (n, (key, text)) in texts.iter().enumerate() {
            fill.set(key, text).ignore().zadd("top", key, score(n)).ignore();
        }
        let () = fill.query(&mut redis)?;
        let mut times = [(); 4].map(|()| Vec::with_capacity(samples));
        for round in 0..samples {
            // A row that takes another's place.
            let (n, other) = (round * 7 % ROWS, round * 31 % ROWS);
            let (key, text) = (n.to_string(), product(other));
            let begun = Instant::now();
            let id = TransactionId(round as u64 + 1);
            roster.tell(Event::Is(key.as_str().into(), Some(text.as_str().into())), Some(id), &terms);
            roster.end(id, Some(Commit::Postgres { lsn: id.0, xid: None }), &terms);
            roster.settle(&terms);
            times[0].push(begun.elapsed());
            let begun = Instant::now();
            let top = roster.top("top").map_err(|why| anyhow::anyhow!("{why}"))?;
            times[1].push(begun.elapsed());
            let begun = Instant::now();
            let () = redis::pipe()
                .atomic()
                .set(&key, &text)
                .ignore()
                .zadd("top", &key, score(other))
                .ignore()
                .query(&mut redis)?;
            times[2].push(begun.elapsed());
            let begun = Instant::now();
            let keys: Vec<String> =
                redis::cmd("ZREVRANGE").arg("top").arg(0).arg(TOP - 1).query(&mut redis)?;
            let items: Vec<String> = redis::cmd("MGET").arg(keys).query(&mut redis)?;
            times[3].push(begun.elapsed());
            // Of rows that are alike, each has an order of its own.
            let scores = |text: &str| -> Result<Vec<u64>> {
                let items: Vec<serde_json::Value> = serde_json::from_str(text)?;
                Ok(items.iter().filter_map(|item| item["rating"]["average"].as_u64()).collect())
            };
            let mine = String::from_utf8(top.first(TOP).0.concat())?;
            ensure!(scores(&mine)? == scores(&format!("[{}]", items.join(",")))?, "they aren't alike");
        }
        let [change, top, redis_change, redis_top] = times.map(|times| times.into_iter().collect());
        Ok(Self { counted, held, change, top, redis_change, redis_top })
    }
}

/// One that is whole.
fn roster(spec: &ViewSpec, texts: &[(String, String)], terms: &Terms<'_>) -> Roster {
    let table = TableId::of("s.t");
    let mut roster = Roster::new(table);
    roster.show(&[spec], terms);
    roster.begin(true);
    roster.notice(&Notice::Started { at: 1 }, terms);
    roster.notice(&Notice::Reading { tables: vec![table] }, terms);
    for (key, text) in texts {
        roster.read(key, Some(text), terms);
    }
    roster.notice(&Notice::Read { table, rows: texts.len() as u64, at: 1 }, terms);
    roster.beat(2, Some(true));
    roster.settle(terms);
    roster
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "a view over {ROWS} rows: {:.0} B a row beyond key and text are counted, {:.0} B are resident\n",
            self.counted, self.held
        )?;
        writeln!(
            f,
            "a change of one, and the top {TOP} (µs): {:>12} {:>8} {:>8}   ratio p50",
            "p50", "p99", "max"
        )?;
        for (name, spread, peer) in [
            ("a transaction, in the view", &self.change, &self.redis_change),
            ("the top anew, in the view", &self.top, &self.redis_top),
            ("Redis: SET and ZADD in one MULTI", &self.redis_change, &self.redis_change),
            ("Redis: ZREVRANGE, then MGET", &self.redis_top, &self.redis_top),
        ] {
            let us = |thousandth| spread.at(thousandth).as_secs_f64() * 1e6;
            let ratio = spread.ratio(peer, 500);
            writeln!(f, "{name:44} {:8.1} {:8.1} {:8.0} {ratio:8.2}", us(500), us(990), us(1000))?;
        }
        Ok(())
    }
}
