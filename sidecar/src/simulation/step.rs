//! What can happen, as plain data: any list of steps makes sense, so that any part of a failing one can be left out.

use freshet_e2e::random::Random;

use super::{
    database::{CODES, KEYS, VISIBLE},
    publishers::{Way, Word},
    rest::Act,
    variations::varied,
    views,
};

/// One thing that happens. Numbers choose among what there is; what makes no sense at the time does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Milliseconds pass.
    Wait {
        ms: u64,
    },
    /// Time passes in which the pipeline does what it is there for: heartbeats, events, reads of the streams.
    Flow {
        ms: u64,
    },
    /// The sidecar's process doesn't run for so long; everything else does.
    Stop {
        ms: u64,
    },

    // The database.
    Put {
        table: u8,
        key: u8,
        noted: bool,
        big: bool,
        visible: u64,
    },
    Remove {
        table: u8,
        key: u8,
        visible: u64,
    },
    Move {
        table: u8,
        from: u8,
        to: u8,
        visible: u64,
    },
    /// Two rows swap their keys in one transaction.
    Swap {
        table: u8,
        one: u8,
        other: u8,
        visible: u64,
    },
    Recode {
        key: u8,
        code: u8,
        visible: u64,
    },
    /// One transaction over all tables.
    Several {
        key: u8,
        visible: u64,
    },
    Truncate {
        tables: u8,
        visible: u64,
    },
    Redefine {
        table: u8,
    },
    OpenTransaction {
        table: u8,
        key: u8,
    },
    CloseTransaction {
        visible: u64,
    },
    Beat,
    DatabaseFailover,

    // Debezium.
    Send {
        records: u8,
    },
    /// The second half of a batch is stored, then the first.
    SendReordered {
        first: u8,
        second: u8,
    },
    SendAgain {
        records: u8,
    },
    /// Redis will refuse so many entries of a kind, and nobody is told.
    Lose {
        what: u8,
        entries: u8,
    },
    Restart {
        back: u8,
        settings: Option<u8>,
    },
    /// Lets go of so many records, and begins with a snapshot of everything.
    Snapshot {
        lose: u8,
    },
    IncrementalSnapshot {
        table: u8,
    },
    OwnBeat,

    /// Somebody tells of a row, or of a table, before Debezium does.
    Tell {
        table: u8,
        key: Option<u8>,
    },

    /// Somebody who numbers what is said tells of a change.
    Say {
        who: u8,
        word: Word,
        way: Way,
    },

    // Redis.
    Trim {
        stream: u8,
        keep: u8,
    },
    DeleteEntry {
        stream: u8,
        newest: u8,
    },
    DeleteStream {
        stream: u8,
    },
    Overwrite {
        stream: u8,
    },
    Save,
    RestartRedis,
    Failover {
        lose: u8,
        same_process: bool,
    },
    SetClock {
        ahead: u64,
    },
    Garbage {
        kind: u8,
        table: u8,
    },

    // The follower.
    Ask,
    Serve,
    Take,
    Pump,
    Cut,

    // Applications.
    Get {
        slot: u8,
        cache: u8,
        key: u8,
        how: u8,
    },
    Read {
        slot: u8,
        lag: u64,
        placed: u8,
    },
    Fill {
        slot: u8,
        said: Said,
    },
    /// Reads keys of one cache at one instant, by the bits of their numbers.
    GetAll {
        cache: u8,
        keys: u8,
        how: u8,
    },
    /// One read of the database for all leases that are held.
    ReadAll {
        lag: u64,
        placed: u8,
    },
    /// Fills with all that was read.
    FillAll {
        said: Said,
    },
    /// A read of keys through the cache: get, and for those that miss read and fill.
    UseAll {
        cache: u8,
        keys: u8,
        lag: u64,
        placed: u8,
        said: Said,
    },
    /// A fill with a lease that isn't one for it.
    FillWrongly {
        slot: u8,
        key: u8,
    },
    /// A fill with the lease that another pod would give.
    FillForeign {
        slot: u8,
    },
    GiveUp {
        slot: u8,
    },
    /// A read through the cache: get, and where that misses, read and fill.
    Use {
        cache: u8,
        key: u8,
        lag: u64,
        placed: u8,
    },
    Delete {
        cache: u8,
        key: u8,
    },

    // A REST service, and who reads it through.
    Rest(Act),

    // Views of rows, and snapshots for them.
    View(views::Act),

    // The sidecar.
    Press {
        all: bool,
    },
    Sweep {
        thorough: bool,
    },
    RestartSidecar,
    Reload {
        what: u8,
        cache: u8,
    },
}

/// What a fill says of its value's life, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// How long it may live from its beginning on.
    pub(crate) max_age: u64,
    /// How long ago that was, in whole seconds.
    pub(crate) age: u64,
}

impl Said {
    pub(crate) const NOTHING: Self = Self { max_age: u64::MAX, age: 0 };
}

/// Kinds of caches that a [`Step`] chooses from.
pub(crate) const CACHES: u8 = 6;
/// Fills that can be under way at once.
pub(crate) const SLOTS: u8 = 4;

/// How much of what a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Mostly what a good day is like.
    Calm,
    /// Races: everything at once, one piece at a time.
    Busy,
    /// Everything breaks.
    Rough,
}

#[derive(Clone, Copy)]
enum Kind {
    Time,
    Database,
    Pipeline,
    Application,
    Fault,
    Sidecar,
}

/// Makes up a run.
pub(crate) fn steps(seed: u64, count: usize) -> Vec<Step> {
    let mut dice = Random::new(seed ^ 0x5bd1_e995);
    let mut mood = Mood::Calm;
    let made = (0..count).map(|i| {
        if i % 50 == 0 {
            mood = dice.weighted(&[(4, Mood::Calm), (4, Mood::Busy), (1, Mood::Rough)]);
        }
        step(&mut dice, mood)
    });
    varied(seed, made)
}

fn step(dice: &mut Random, mood: Mood) -> Step {
    let kinds: [(u64, Kind); 6] = match mood {
        Mood::Calm => [
            (20, Kind::Time),
            (5, Kind::Database),
            (6, Kind::Pipeline),
            (60, Kind::Application),
            (0, Kind::Fault),
            (0, Kind::Sidecar),
        ],
        Mood::Busy => [
            (14, Kind::Time),
            (20, Kind::Database),
            (40, Kind::Pipeline),
            (60, Kind::Application),
            (1, Kind::Fault),
            (2, Kind::Sidecar),
        ],
        Mood::Rough => [
            (16, Kind::Time),
            (20, Kind::Database),
            (40, Kind::Pipeline),
            (50, Kind::Application),
            (16, Kind::Fault),
            (3, Kind::Sidecar),
        ],
    };
    match dice.weighted(&kinds) {
        Kind::Time => time(dice, mood),
        Kind::Database => database(dice),
        Kind::Pipeline => pipeline(dice),
        Kind::Application => application(dice, mood),
        Kind::Fault => fault(dice),
        Kind::Sidecar => sidecar(dice),
    }
}

fn time(dice: &mut Random, mood: Mood) -> Step {
    let ms = match dice.below(12) {
        0 => 0,
        1..6 => dice.below(20),
        6..11 => dice.below(400),
        _ => dice.below(3000),
    };
    match dice.below(20) {
        // Longer than anything is vouched for.
        0 if dice.one_in(4) => Step::Wait { ms: 5000 * (1 + dice.below(2)) + ms },
        // Up to two minutes.
        0 if mood != Mood::Calm => Step::Stop { ms: if ms < 1500 { ms * 10 } else { ms * 40 } },
        0..8 if mood != Mood::Calm => Step::Wait { ms },
        0..2 => Step::Wait { ms },
        _ => Step::Flow { ms },
    }
}

fn database(dice: &mut Random) -> Step {
    let (table, key, visible) = (dice.small(3), dice.small(KEYS), visible(dice));
    let other = dice.small(KEYS);
    match dice.below(40) {
        0..18 => Step::Put { table, key, noted: dice.one_in(2), big: dice.one_in(2), visible },
        18..22 => Step::Remove { table, key, visible },
        22..25 => Step::Move { table, from: key, to: other, visible },
        25 => Step::Swap { table, one: key, other, visible },
        26..28 => Step::Recode { key, code: dice.small(CODES), visible },
        28..30 => Step::Several { key, visible },
        30 => Step::Truncate { tables: 1 + dice.small(7), visible },
        31 => Step::Redefine { table },
        32..34 => Step::OpenTransaction { table, key },
        34..36 => Step::CloseTransaction { visible },
        36 if dice.one_in(10) => Step::DatabaseFailover,
        _ => Step::Beat,
    }
}

fn visible(dice: &mut Random) -> u64 {
    if dice.one_in(2) { 0 } else { dice.below(VISIBLE) }
}

fn pipeline(dice: &mut Random) -> Step {
    match dice.below(20) {
        0..6 => Step::Send { records: 1 + dice.small(6) },
        6 => Step::OwnBeat,
        7..10 => Step::Ask,
        10..13 => Step::Serve,
        13..16 => Step::Take,
        _ => Step::Pump,
    }
}

fn application(dice: &mut Random, mood: Mood) -> Step {
    // Some keys are hot, or there would be few hits.
    let key = if dice.one_in(3) { dice.small(KEYS) } else { dice.small(2) };
    let (slot, cache) = (dice.small(SLOTS), dice.small(CACHES));
    let calm = mood == Mood::Calm;
    match dice.below(40) {
        0..9 => Step::Get { slot, cache, key, how: 0 },
        9..13 => Step::Get { slot, cache, key, how: dice.small(16) },
        13..26 if calm => Step::Use { cache, key, lag: lag(dice), placed: placed(dice) },
        13..19 => Step::Read { slot, lag: lag(dice), placed: placed(dice) },
        19..26 => {
            let max_age = if dice.one_in(8) { dice.below(3000) } else { u64::MAX };
            Step::Fill { slot, said: Said { max_age, age: 0 } }
        }
        26 if dice.one_in(8) => Step::FillForeign { slot },
        26 => Step::FillWrongly { slot, key },
        27 => Step::GiveUp { slot },
        28 if dice.one_in(4) => Step::Delete { cache, key },
        _ => Step::Use { cache, key, lag: lag(dice), placed: placed(dice) },
    }
}

/// How far behind a replica is, that a read goes to.
fn lag(dice: &mut Random) -> u64 {
    if dice.one_in(3) { dice.below(super::READ_LAG - VISIBLE) } else { 0 }
}

/// Whether a fill says at which position it was read.
fn placed(dice: &mut Random) -> u8 {
    if dice.one_in(3) { 1 + dice.small(2) } else { 0 }
}

fn fault(dice: &mut Random) -> Step {
    let stream = dice.small(8);
    match dice.below(27) {
        22.. => Step::Lose { what: dice.small(7), entries: 1 + dice.small(5) },
        0..2 => Step::SendReordered { first: 1 + dice.small(3), second: 1 + dice.small(3) },
        2..4 => Step::SendAgain { records: 1 + dice.small(6) },
        4..6 => {
            let settings = dice.one_in(2).then(|| u8::try_from(dice.below(256)).unwrap());
            Step::Restart { back: dice.small(30), settings }
        }
        6 => Step::Snapshot { lose: dice.small(8) },
        7 => Step::IncrementalSnapshot { table: dice.small(3) },
        8..10 => Step::Trim { stream, keep: dice.small(3) },
        10 => Step::DeleteEntry { stream, newest: dice.small(3) },
        11 => Step::DeleteStream { stream },
        12 => Step::Overwrite { stream },
        13 => Step::Save,
        14 => Step::RestartRedis,
        15..17 => Step::Failover { lose: dice.small(4), same_process: dice.one_in(2) },
        17 => Step::SetClock { ahead: dice.below(1_200_000) },
        18..20 => Step::Garbage { kind: dice.small(4), table: dice.small(3) },
        _ => Step::Cut,
    }
}

fn sidecar(dice: &mut Random) -> Step {
    match dice.below(8) {
        0..3 => Step::Press { all: dice.one_in(3) },
        3..5 => Step::Sweep { thorough: dice.one_in(2) },
        5 if dice.one_in(3) => Step::RestartSidecar,
        _ => Step::Reload { what: dice.small(3), cache: dice.small(CACHES) },
    }
}
