use std::time::{Duration, Instant};

use super::Bench;
use crate::{clock::Tick, store::count};

/// Two caches that have a quarter and half of 4 MiB, and two that have the rest.
fn caches(quarter: &str) -> String {
    format!(
        "{{name: quarter, table: s.t, share: {quarter}}}, {{name: half, table: s.t, share: 50%}},
         {{name: one, table: s.t}}, {{name: other, table: s.t}}"
    )
}

fn more(memory: &str) -> String {
    format!(", memory: {memory}, sidecar: {{maxValue: 100k}}")
}

fn shared() -> Bench {
    let bench = Bench::new(&caches("25%"), &more("4Mi"));
    // Keys are shown to be integers, which voids once.
    bench.change(1, 1, 0, "x");
    bench
}

fn value() -> &'static str {
    Box::leak("x".repeat(50_000).into_boxed_str())
}

fn flood(bench: &Bench, cache: &str, values: u32) {
    let value = value();
    for key in 1..=values {
        assert!(bench.fill(&format!("{cache}/{key}"), value));
    }
    // What was pushed out is freed by moka's epochs, a little later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while bench
        .engine
        .catalog()
        .unwrap()
        .caches
        .keys()
        .any(|cache| held(bench, cache).1 > limit(bench, cache))
        && Instant::now() < deadline
    {
        bench.engine.sweep(true, Tick::default);
        std::thread::yield_now();
    }
}

fn limit(bench: &Bench, cache: &str) -> u64 {
    let (catalog, cache) = bench.cache(cache);
    catalog.limit(&cache)
}

fn held(bench: &Bench, cache: &str) -> (u64, u64) {
    let (_, cache) = bench.cache(cache);
    (count(&cache.stats.entries), count(&cache.stats.bytes))
}

#[test]
fn no_cache_pushes_anything_out_of_anothers_share() {
    let mut bench = shared();
    bench.pass(2000);
    for cache in ["quarter", "half", "one"] {
        flood(&bench, cache, 10);
    }
    flood(&bench, "half", 300);
    let (entries, bytes) = held(&bench, "half");
    assert!((30..=42).contains(&entries) && bytes <= 2 << 20, "{entries} values, {bytes} bytes");
    for cache in ["quarter", "one"] {
        assert_eq!(held(&bench, cache).0, 10, "{cache}");
    }
    flood(&bench, "quarter", 300);
    assert!(held(&bench, "quarter").1 <= 1 << 20);
    assert_eq!((held(&bench, "half"), held(&bench, "one").0), ((entries, bytes), 10));
    // Those without a share have a quarter between them, too.
    flood(&bench, "other", 300);
    let common = held(&bench, "one").1 + held(&bench, "other").1;
    assert!((700_000..=1 << 20).contains(&common), "{common} bytes");
    assert_eq!(held(&bench, "half"), (entries, bytes));
    assert!(bench.engine.weight() <= 4 << 20);
}

/// Which of the caches have kept their value after a reload.
fn kept(bench: &Bench) -> Vec<&'static str> {
    let catalog = bench.engine.catalog().unwrap();
    bench.engine.attach(catalog.caches.values(), Tick(1));
    ["quarter", "half", "one", "other"]
        .into_iter()
        .filter(|cache| bench.get(&format!("{cache}/7")).starts_with("hit"))
        .collect()
}

#[test]
fn a_change_of_a_share_empties_that_cache_and_those_without_one() {
    let mut bench = shared();
    bench.pass(2000);
    let fill = |bench: &Bench| {
        for cache in ["quarter", "half", "one", "other"] {
            assert!(bench.fill(&format!("{cache}/7"), "x"), "{cache}");
        }
    };
    fill(&bench);
    bench.install(&caches("25%"), &more("4Mi"));
    assert_eq!(kept(&bench), ["quarter", "half", "one", "other"], "nothing has changed");
    bench.install(&caches("20%"), &more("4Mi"));
    assert_eq!(kept(&bench), ["half"]);
    bench.pass(2000);
    fill(&bench);
    bench.install(&caches("20%"), &more("5Mi"));
    assert_eq!(kept(&bench), [""; 0]);
    fill(&bench);
    // What leaves the others as much as they had doesn't concern them.
    let swapped = caches("50%").replacen("half, table: s.t, share: 50%", "half, table: s.t, share: 20%", 1);
    bench.install(&swapped, &more("5Mi"));
    assert_eq!(kept(&bench), ["one", "other"]);
}
