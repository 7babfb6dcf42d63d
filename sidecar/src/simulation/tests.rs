use super::{
    checker::Violation,
    setting::Setting,
    shrink::shrink,
    step::{Step, steps},
    tally::Tally,
    world::World,
};

use crate::{
    bounds::tests::within,
    planted::{Bug, tests as planted},
};

/// The bugs that are planted, each with the first seed whose run finds it.
const BUGS: [(Bug, u64); 90] = [
    (Bug::SilenceTrusted, 1_068_652),
    (Bug::NamedIgnored, 1_049_755),
    (Bug::StalenessIgnored, 170),
    (Bug::NoFence, 5),
    (Bug::FenceOnlyCached, 36),
    (Bug::HydrateWithoutVersion, 350),
    (Bug::FloorIgnored, 350),
    (Bug::CommitTimeIgnored, 1157),
    (Bug::ToldIgnored, 2646),
    (Bug::ToldProven, 2646),
    (Bug::ToldOfOther, 20),
    (Bug::GapIgnored, 46),
    (Bug::StrangerTrusted, 98),
    (Bug::LostHydrated, 46),
    (Bug::NullDefaultHydrated, 9),
    (Bug::PlaceholderHydrated, 3),
    (Bug::NoEpochOnLoss, 2),
    (Bug::IdentityIgnored, 494),
    (Bug::CountIgnored, 1246),
    (Bug::LeaseForAnyKey, 2),
    (Bug::LeaseForAnyDefinition, 72),
    (Bug::HoldOffIgnored, 1),
    (Bug::HoldOffByFillTime, 1901),
    (Bug::TruncateIgnored, 2),
    (Bug::TombstoneIgnored, 1649),
    (Bug::KeyChangeOneSided, 7),
    (Bug::BeforeTrusted, 1),
    (Bug::SnapshotIgnored, 59),
    (Bug::UnreadableIgnored, 16),
    (Bug::DependentsIgnored, 1),
    (Bug::DeleteKeepsLeases, 8),
    (Bug::StartingIgnored, 3),
    (Bug::AttachWithoutVoid, 43),
    (Bug::RedefinitionIgnored, 6),
    (Bug::ExpiryIgnored, 1),
    (Bug::MonotonicClock, 5),
    (Bug::UnendedIgnored, 3571),
    (Bug::HeartbeatJumpIgnored, 70),
    (Bug::EndCountIgnored, 18),
    (Bug::ChainIgnored, 315),
    (Bug::GtidGapIgnored, 481),
    (Bug::HeartbeatAtOnce, 34),
    (Bug::BeginningIgnored, 3370),
    (Bug::PositionOfRow, 13),
    (Bug::ProofIgnored, 5),
    (Bug::OlderFillTaken, 1583),
    (Bug::MarkOfOpen, 286),
    (Bug::CommitAtOnce, 944),
    (Bug::MinimumIgnored, 8),
    (Bug::HeldOffReflects, 16),
    (Bug::HeldOffClaims, 1),
    (Bug::LoaderNeverReplaced, 1),
    (Bug::FencedLoaderKept, 1),
    (Bug::RefusedLoaderKept, 156),
    (Bug::ForeignLeaseTaken, 2),
    (Bug::ForgottenIgnored, 1007),
    (Bug::CheckSeldom, 6880),
    (Bug::DependencyUnfenced, 34),
    (Bug::DependencyUnread, 4),
    (Bug::MarkForgotten, 399),
    (Bug::RowsUntold, 879),
    (Bug::TagKeepsLeases, 1644),
    (Bug::NewNameIgnored, 89),
    (Bug::OldNameKept, 114),
    (Bug::BeginningInEpoch, 3755),
    (Bug::NameUnfenced, 24_234),
    (Bug::NameAlone, 114),
    (Bug::BatchInManyHolds, 9),
    (Bug::AgeForgotten, 3),
    (Bug::AgeUntold, 3),
    (Bug::FlightOutlivesDelete, 52),
    (Bug::DeletedFlightJoined, 3),
    (Bug::OlderAnswerStored, 10),
    (Bug::ReloadJoins, 3),
    (Bug::DelayForgotten, 10),
    (Bug::WindowsMixedUp, 10),
    (Bug::VaryForgotten, 3),
    (Bug::LandedForAnyone, 3),
    (Bug::UnnumberedHydrated, 17_675),
    (Bug::PinOutlivesDelete, 3),
    (Bug::BoardKept, 3),
    (Bug::ViewUnjudged, 3),
    (Bug::SnapshotOverLog, 1437),
    (Bug::RowsUncounted, 201),
    (Bug::ScanUnpassed, 281),
    (Bug::ScanTooSoon, 7361),
    (Bug::HalfTransaction, 193),
    (Bug::ReplayShown, 1673),
    (Bug::RosterOutlivesEpoch, 1153),
    (Bug::RosterToldByOne, 41),
];

/// Runs in which a bug must be found, from its seed on: more than one, so that a change elsewhere moves no bug out of
/// sight.
const BUG_RUNS: u64 = 1000;

/// Steps of one run.
const RUN: usize = 400;

/// Runs these steps in the setting of this seed.
fn run(seed: u64, steps: &[Step], log: bool) -> (World, Result<(), Violation>) {
    let setting = Setting::of(seed);
    within(setting.rooms, || {
        let mut world = World::new(setting);
        world.log = log.then(Vec::new);
        let result = steps.iter().try_for_each(|step| world.step(*step)).and_then(|()| world.settle());
        (world, result)
    })
}

/// Runs so many runs; the failure of the first that fails, told by its shortest trace.
fn search(first: u64, runs: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for seed in first..first + runs {
        let all = steps(seed, RUN);
        let (world, result) = run(seed, &all, false);
        let Err(violation) = result else {
            tally.add(&world.tally);
            continue;
        };
        let same = |steps: &[Step]| run(seed, steps, false).1.is_err_and(|v| v.rule == violation.rule);
        let least = shrink(all, same);
        let (world, result) = run(seed, &least, true);
        let log = world.log.unwrap_or_default().join("\n");
        return Err(format!("seed {seed}, {:?}\n{log}\n{}", world.setting, result.unwrap_err()));
    }
    Ok(tally)
}

/// Looks at a million steps, or at those that the environment names: `FRESHET_SIM_SEED` is the first run's seed,
/// `FRESHET_SIM_STEPS` how many steps to take.
#[test]
fn no_order_of_events_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let steps = number("FRESHET_SIM_STEPS").unwrap_or(1_000_000);
    let tally = match search(number("FRESHET_SIM_SEED").unwrap_or(1), steps.div_ceil(RUN as u64)) {
        Ok(tally) => tally,
        Err(trace) => panic!("{trace}"),
    };
    println!("{tally:#?}");
    if steps < 100_000 {
        return;
    }
    // An empty cache breaks no promise either.
    let answers = tally.of("hit") + tally.of("miss") + tally.of("stale");
    assert!(tally.of("hit") * 100 / answers >= 30, "{} of {answers} answers are hits", tally.of("hit"));
    for (what, share) in [
        ("stored", 20),
        ("fenced", 400),
        ("hydrated", 120),
        ("hit of an image", 100),
        ("hit in hold-off", 50),
        ("stale hit", 10_000),
        ("entries", 10),
        ("epoch", 1000),
        ("stop", 1000),
        ("stop of a minute", 50_000),
        ("truncate", 1000),
        ("redefine", 10_000),
        ("database failover", 50_000),
        ("duplicates", 5000),
        ("reordered", 5000),
        ("debezium restart", 5000),
        ("change of format", 10_000),
        ("snapshot", 5000),
        ("incremental snapshot", 5000),
        ("garbage", 5000),
        ("trim", 5000),
        ("xdel", 5000),
        ("del", 5000),
        ("overwrite", 5000),
        ("redis restart", 5000),
        ("failover", 5000),
        ("promotion", 5000),
        ("clock jump", 5000),
        ("cut", 5000),
        ("delete", 5000),
        ("tag", 20_000),
        ("told", 2000),
        ("said", 2000),
        ("said and lost", 4000),
        ("said unreadably", 10_000),
        ("said goodbye", 50_000),
        ("stored with dependencies", 200),
        ("reload", 5000),
        ("sidecar restart", 10_000),
        ("lose", 1000),
        ("lose heartbeats", 10_000),
        ("loss noticed", 1500),
        ("stored with a position", 100),
        ("hit with a minimum", 100),
        ("hit with a position", 100),
        ("somebody else loads", 200),
        ("rows full", 20),
        ("commits full", 50),
        ("ended full", 50),
        ("unsettled full", 5000),
        ("unaccounted", 10_000),
        ("loaders full", 20),
        ("xids full", 50),
        ("batch", 50),
        ("stored with an age", 400),
        ("stored with names", 1000),
        ("hit of a row found", 2000),
        ("view shown", 1000),
        ("view whole at the end", 8000),
        ("view with a minimum", 5000),
        ("stale view", 200_000),
        ("view defined otherwise", 40_000),
        ("rows handed on", 40_000),
        ("snapshot asked for", 3000),
        ("rest: stored", 1000),
        ("rest: revalidated", 2000),
        ("rest: not stored", 2000),
        ("rest: failed", 2000),
        ("rest: delete", 5000),
        ("rest: joined", 1000),
        ("rest: in the background", 8000),
        ("rest: fetched", 500),
        ("rest: hit", 1000),
        ("rest: hit while it is fetched", 8000),
        ("rest: hit on error", 20_000),
        ("rest: view", 5000),
        ("rest: view, stale", 20_000),
    ] {
        let (n, least) = (tally.of(what), steps / share);
        assert!(n >= least, "{what}: {n} times, fewer than {least}");
    }
}

/// With each of these bugs in it, the core breaks a promise within so many steps: the simulator would notice.
#[test]
fn planted_bugs_are_found() {
    let mut missed = Vec::new();
    for (bug, first) in BUGS {
        let found = planted::with(Some(bug), || {
            (first..first + BUG_RUNS).find(|seed| run(*seed, &steps(*seed, RUN), false).1.is_err())
        });
        match found {
            Some(seed) => {
                println!("{bug:?}: found by seed {seed}, within {} steps", (seed - first + 1) * RUN as u64);
                let (_, without) = run(seed, &steps(seed, RUN), false);
                assert_eq!(without, Ok(()), "seed {seed} finds something else than {bug:?}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}
