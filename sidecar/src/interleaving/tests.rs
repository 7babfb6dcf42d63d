use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use shuttle::{
    Config, FailurePersistence, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};
use tokio::runtime::{Builder, Runtime};

use super::{acts::Setting, shelf::PlainShelf, threads::run};
use crate::{
    planted::{Bug, tests as planted},
    store::Store,
    sync::schedule::Schedule,
};

type Tally = BTreeMap<&'static str, u64>;

/// Acts of each thread where shuttle schedules, and where the operating system does.
const ACTS: (u64, u64) = (5, 150);

/// Runs by shuttle without a planted bug, half at random and half by PCT.
const RUNS: u64 = 2000;
/// Runs until a planted bug is found, at most.
const BUG_RUNS: u64 = 10_000;
/// How many of them go by one scheduler before the other's turn.
const CHUNK: u64 = 100;
/// Runs by real threads.
const REAL_RUNS: u64 = 60;
const REAL_BUG_RUNS: u64 = 100;

/// Preemptions that PCT puts where they hurt, at most.
const DEPTH: usize = 3;

/// Timers are made and never fire: whoever waits is woken by what it waits for.
static TIMERS: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// Runs worlds by shuttle, from this seed on: what happened, or what failed.
fn scheduled(scheduler: impl Scheduler + 'static, first: u64) -> Result<Tally, String> {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let seeds = AtomicU64::new(first);
    let tally = Arc::new(Mutex::new(Tally::new()));
    let _entered = TIMERS.enter();
    let (all, next) = (Arc::clone(&tally), Arc::new(seeds));
    let seed = Arc::clone(&next);
    let runs = catch_unwind(AssertUnwindSafe(|| {
        Schedule::Shuttle.with(|| {
            Runner::new(scheduler, config).run(move || {
                let world = run::<PlainShelf>(Setting::of(seed.fetch_add(1, Ordering::Relaxed), ACTS.0));
                add(&mut all.lock().unwrap(), &world.ledger.tally());
            })
        })
    }));
    let seed = next.load(Ordering::Relaxed) - 1;
    runs.map_err(|failure| told(seed, ACTS.0, &*failure))?;
    let tally = tally.lock().unwrap().clone();
    Ok(tally)
}

/// The same by real threads over moka.
fn real(seeds: std::ops::Range<u64>) -> Result<Tally, String> {
    let mut tally = Tally::new();
    for seed in seeds {
        let world = catch_unwind(|| Schedule::Jolted.with(|| run::<Store>(Setting::of(seed, ACTS.1))))
            .map_err(|failure| told(seed, ACTS.1, &*failure))?;
        add(&mut tally, &world.ledger.tally());
    }
    Ok(tally)
}

fn add(all: &mut Tally, one: &Tally) {
    for (what, n) in one {
        *all.entry(what).or_default() += n;
    }
}

fn told(seed: u64, acts: u64, failure: &(dyn std::any::Any + Send)) -> String {
    let setting = Setting::of(seed, acts);
    let scripts = if acts > 10 {
        String::new()
    } else {
        format!(
            "\nwriter {:?}\nfollower {:?}\noperator {:?}\nreaders {:#?}",
            setting.writer(),
            setting.follower(),
            setting.operator(),
            (0..3).map(|n| setting.reader(n)).collect::<Vec<_>>()
        )
    };
    format!("{setting:?}: {}{scripts}", text(failure))
}

fn text(failure: &(dyn std::any::Any + Send)) -> String {
    let text = failure.downcast_ref::<String>().cloned();
    text.or_else(|| failure.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// An empty cache breaks no promise either.
fn assert_alive(tally: &Tally) {
    println!("{tally:?}");
    let of = |what| tally.get(what).copied().unwrap_or(0);
    let reads = of("hit") + of("hit in hold-off") + of("lease") + of("stale");
    assert!(of("hit") * 4 > reads, "hits are fewer than a fourth of {tally:?}");
    assert!(of("filled") > of("refused") && of("refused") * 20 > of("filled"), "{tally:?}");
    assert!(of("hit in hold-off") * 100 > reads && of("break") > 0, "{tally:?}");
}

/// The rules that a failure can name.
const RULES: [&str; 7] =
    ["stale: ", "fenced: ", "backwards: ", "position: ", "min-position: ", "winners: ", "deadlock! "];

/// The bugs that are planted, and whether real threads find them too within a few runs. What only keeps somebody waiting
/// shows where time stands still.
const BUGS: [(Bug, bool); 14] = [
    (Bug::BellBeforeChange, false),
    (Bug::WaitWithLease, false),
    (Bug::EndUntold, false),
    (Bug::WinnerInTwoHolds, true),
    (Bug::PositionAfterEntry, false),
    (Bug::VoidInTwoHolds, true),
    (Bug::FenceUnread, true),
    (Bug::DeleteKeepsLeases, false),
    (Bug::FillInTwoHolds, true),
    (Bug::HoldOffIgnored, false),
    (Bug::NoFence, true),
    (Bug::FenceOnlyCached, false),
    (Bug::HydrateWithoutVersion, false),
    (Bug::CommitTimeIgnored, true),
];

/// What finds each bug that is planted.
fn assert_found(bugs: impl Iterator<Item = Bug>, find: impl Fn() -> Option<String>) {
    let mut missed = Vec::new();
    for bug in bugs {
        let started = std::time::Instant::now();
        let found = planted::with(Some(bug), &find);
        let rule =
            found.as_ref().and_then(|found| RULES.iter().find(|rule| found.contains(&format!("}}: {rule}"))));
        eprintln!("{bug:?}: {rule:?}, {:?}, {:.60}", started.elapsed(), found.unwrap_or_default());
        if rule.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

#[test]
fn shuttle_finds_planted_bugs() {
    assert_found(BUGS.iter().map(|(bug, _)| *bug), || {
        (0..BUG_RUNS / CHUNK).find_map(|chunk| {
            let (seed, first) = (chunk + 1, chunk / 2 * CHUNK + 1);
            let runs = usize::try_from(CHUNK).unwrap();
            let result = if chunk % 2 == 0 {
                scheduled(RandomScheduler::new_from_seed(seed, runs), first)
            } else {
                scheduled(PctScheduler::new_from_seed(seed, DEPTH, runs), first)
            };
            result.err()
        })
    });
}

#[test]
fn real_threads_find_planted_bugs() {
    assert_found(BUGS.iter().filter(|(_, real)| *real).map(|(bug, _)| *bug), || {
        real(1..1 + REAL_BUG_RUNS).err()
    });
}

/// Tries as many orders as fit into a test, or those that the environment names: `FRESHET_SHUTTLE_SEED` is the first
/// run's seed, `FRESHET_SHUTTLE_RUNS` how many runs to make.
#[test]
fn no_schedule_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("FRESHET_SHUTTLE_SEED").unwrap_or(1);
    let half = number("FRESHET_SHUTTLE_RUNS").unwrap_or(RUNS).div_ceil(2);
    let runs = usize::try_from(half).unwrap();
    let mut all = Tally::new();
    let random = scheduled(RandomScheduler::new_from_seed(first, runs), first);
    add(&mut all, &random.unwrap_or_else(|failure| panic!("{failure}")));
    let pct = scheduled(PctScheduler::new_from_seed(first, DEPTH, runs), first + half);
    add(&mut all, &pct.unwrap_or_else(|failure| panic!("{failure}")));
    assert_alive(&all);
}

#[test]
fn real_threads_break_no_promise() {
    let tally = real(1..1 + REAL_RUNS).unwrap_or_else(|failure| panic!("{failure}"));
    assert_alive(&tally);
}
