//! What some runs have beside what all have, with dice of their own: all other runs stay what they are.

use freshet_e2e::random::Random;

use super::{
    READ_LAG,
    database::{KEYS, VISIBLE},
    publishers::{Way, Word},
    rest::Act,
    setting::{Setting, reads_through},
    step::{CACHES, Said, Step},
    views::ranked,
};

/// The steps of a run, with what it has beside what all have: one of three runs has more kinds of fills and reads, and one
/// of seven a REST service. Where there are views of rows, they are read.
pub(super) fn varied(seed: u64, steps: impl Iterator<Item = Step>) -> Vec<Step> {
    let (mut rich, mut rest) = (Random::new(seed ^ 0xc2b2_ae35), Random::new(seed ^ 0x27d4_eb2f));
    let richer = steps.map(|step| if seed.is_multiple_of(3) { richer(step, &mut rich) } else { step });
    let through = richer.map(|step| if reads_through(seed) { through(step, &mut rest) } else { step });
    let (ranks, mut views) = (Setting::of(seed).ranks, Random::new(seed ^ 0x85eb_ca6b));
    let read = through.map(|step| if ranks { ranked(step, &mut views) } else { step });
    let (tells, mut tales) = (seed % 11 == 6 && !ranks, Random::new(seed ^ 0x9e37_79b9));
    let told = read.map(|step| if tells { told(step, &mut tales) } else { step });
    let (says, mut words) = (seed % 13 == 7 && !tells && !ranks, Random::new(seed ^ 0x1b87_3593));
    let mut story = Vec::new();
    told.map(|step| if says { said(step, &mut story, &mut words) } else { step }).collect()
}

/// Others tell of changes, number what they say, and aren't always heard. Time and again a story is told between all that
/// happens anyway.
fn said(step: Step, story: &mut Vec<Step>, dice: &mut Random) -> Step {
    if story.is_empty() && dice.one_in(30) {
        *story = told_late(dice);
    }
    if dice.one_in(2)
        && let Some(next) = story.pop()
    {
        return next;
    }
    let (table, key) = (dice.weighted(&[(4, 0), (4, 1), (1, 2)]), (!dice.one_in(4)).then_some(dice.small(2)));
    let say = say(Word::Change { table, key }, dice);
    match step {
        Step::Send { .. } if dice.one_in(4) => say,
        Step::Wait { .. } | Step::Beat if dice.one_in(2) => say,
        Step::Flow { .. } if dice.one_in(3) => Step::Pump,
        Step::Press { .. } | Step::Sweep { .. } => {
            Step::Reload { what: dice.small(3), cache: dice.small(CACHES) }
        }
        other => other,
    }
}

/// Somebody says this, or something of less meaning.
fn say(change: Word, dice: &mut Random) -> Step {
    let word = dice.weighted(&[(12, change), (5, Word::Beat), (1, Word::Bye)]);
    let ways =
        [(12, Way::Written), (1, Way::WrittenTwice), (5, Way::Lost), (1, Way::Broken), (1, Way::Newer)];
    Step::Say { who: dice.small(2), word, way: dice.weighted(&ways) }
}

/// A row changes twice, somebody tells of that and may not be heard, its cache may be defined anew, and only then does Debezium
/// write the first of the changes: last things first.
fn told_late(dice: &mut Random) -> Vec<Step> {
    let (table, key, who) = (dice.small(2), dice.small(2), dice.small(2));
    let cache = if table == 0 { 0 } else { dice.weighted(&[(1, 1), (1, 5)]) };
    let put = Step::Put { table, key, noted: true, big: true, visible: 0 };
    let of = (!dice.one_in(3)).then_some(key);
    let way = dice.weighted(&[(3, Way::Written), (3, Way::Lost), (1, Way::Broken), (1, Way::Newer)]);
    let say = |word, way| Step::Say { who, word, way };
    // Without a lease, or what is filled would outrank the image.
    let look = Step::Get { slot: 0, cache, key, how: 6 };
    let lag = dice.below(READ_LAG - VISIBLE);
    let read = if dice.one_in(3) { Step::Use { cache, key, lag, placed: 1 } } else { look };
    let other = Step::Put { key: 4, table, noted: true, big: true, visible: 0 };
    let mut story = vec![Step::Flow { ms: 200 }, Step::Pump, put, other, put];
    story.extend([say(Word::Change { table, key: of }, way), Step::Pump, Step::Pump]);
    story.extend([say(Word::Beat, Way::Written), Step::Pump, Step::Pump]);
    if dice.one_in(2) {
        story.extend([Step::Reload { what: 0, cache }, Step::Pump, Step::Pump]);
    }
    story.extend([Step::Send { records: 3 + dice.small(4) }, Step::Pump, Step::Pump, read, look]);
    story.reverse();
    story
}

/// Others tell of changes, of few rows that change often, and Debezium is slow.
fn told(step: Step, dice: &mut Random) -> Step {
    let key = dice.small(2);
    let of = (!dice.one_in(4)).then_some(key);
    match step {
        Step::Put { table, noted, big, visible, .. } => {
            Step::Put { table: table.min(1), key, noted, big, visible }
        }
        Step::Send { .. } if dice.one_in(3) => Step::Tell { table: dice.small(2), key: of },
        Step::Send { .. } => Step::Send { records: 1 + dice.small(3) },
        Step::Flow { .. } if dice.one_in(2) => Step::Pump,
        Step::Wait { .. } | Step::Beat if dice.one_in(2) => Step::Tell { table: dice.small(2), key: of },
        Step::OwnBeat | Step::Ask if dice.one_in(4) => Step::SendAgain { records: 1 + dice.small(4) },
        other => other,
    }
}

/// Requests of a REST service instead of some others.
fn through(step: Step, dice: &mut Random) -> Step {
    let reads = matches!(step, Step::Get { .. } | Step::Use { .. } | Step::Read { .. } | Step::Fill { .. });
    if !reads || dice.one_in(2) {
        return step;
    }
    let (key, trip) = (dice.small(3), dice.small(4));
    let (how, head) = (dice.small(12), dice.small(255));
    Step::Rest(match dice.below(24) {
        0..6 => Act::Ask { key, how },
        6..9 => Act::Through { key, how, head },
        9..12 => Act::Say { trip, head },
        12..15 => Act::Land { trip },
        15 => Act::Fail { trip, how },
        16..18 => Act::Change { key, gone: dice.one_in(6) },
        18 if dice.one_in(2) => Act::Delete { key },
        19 => Act::Refresh,
        20..23 => Act::Look { slow: dice.one_in(3) },
        _ => Act::Show,
    })
}

/// Batches, values that come from other caches, and rows by their key where they are found by another column, too.
fn richer(step: Step, dice: &mut Random) -> Step {
    // Those that are found by another column are often asked for by both.
    let mut found = |cache| if dice.one_in(if cache == 1 { 2 } else { 6 }) { CACHES } else { cache };
    let step = match step {
        Step::Get { slot, cache, key, how } => Step::Get { slot, cache: found(cache), key, how },
        Step::Use { cache, key, lag, placed } => Step::Use { cache: found(cache), key, lag, placed },
        Step::Delete { cache, key } => Step::Delete { cache: found(cache), key },
        other => other,
    };
    match step {
        Step::Get { cache, how, .. } if dice.one_in(3) => Step::GetAll { cache, keys: keys(dice), how },
        Step::Read { lag, placed, .. } if dice.one_in(3) => Step::ReadAll { lag, placed },
        Step::Fill { .. } if dice.one_in(3) => Step::FillAll { said: life(dice) },
        Step::Fill { slot, .. } if dice.one_in(2) => Step::Fill { slot, said: life(dice) },
        Step::Use { cache, lag, placed, .. } if dice.one_in(4) => {
            let said = if dice.one_in(2) { life(dice) } else { Said::NOTHING };
            Step::UseAll { cache, keys: keys(dice), lag, placed, said }
        }
        other => other,
    }
}

fn keys(dice: &mut Random) -> u8 {
    1 + dice.small((1 << KEYS) - 1)
}

fn life(dice: &mut Random) -> Said {
    let age = if dice.one_in(2) { 1000 * dice.below(6) } else { 0 };
    let max_age = if dice.one_in(2) { dice.below(9000) } else { u64::MAX };
    Said { max_age, age }
}
