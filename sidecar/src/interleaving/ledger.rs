//! What has happened for certain, and what an answer may say then.
//!
//! Writes are numbered from one, and a value is the number of the last write that it shows of its place. No thread goes on
//! while another looks into the ledger.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{KEYS, LSN, PAGES, PLACES};
use crate::{clock::Tick, loaders::LOADING_TIME};

/// Places by number.
pub(super) fn cache_of(place: usize) -> usize {
    place / KEYS
}

/// What a write changes: a row, or the whole table.
pub(super) type Row = Option<usize>;

/// The places that a write concerns.
pub(super) fn concerned(row: Row) -> Vec<usize> {
    (0..PLACES).filter(|place| concerns(row, *place)).collect()
}

fn concerns(row: Row, place: usize) -> bool {
    cache_of(place) == PAGES || row.is_none_or(|row| place % KEYS == row)
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What each write changed.
    writes: Vec<Row>,
    /// How many of them have been read from the streams, or are lost.
    cursor: usize,
    /// Those that have been read since some were lost.
    read: Vec<u64>,
    /// One more with every void and lease.
    stamp: u64,
    places: [Place; PLACES],
    /// Epochs that have begun to break, and those that are broken.
    breaking: (u64, u64),
    tally: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The last write whose void has returned.
    floor: u64,
    /// When the last void began that has returned.
    voided: u64,
    /// The most that was shown, and in which epoch.
    shown: (u64, u64),
    /// How often something began or ended that ends a load, and how many are at it.
    endings: (u64, u64),
    /// Who was told to load: what `endings` were then, and when.
    winner: Option<(u64, Tick)>,
}

/// What is known when a read begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    place: usize,
    known: Place,
    epoch: u64,
    began: Tick,
}

/// A hit, as far as the ledger asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) write: u64,
    /// When its lease was given, if it says so.
    pub(super) lease: Option<u64>,
    /// Whether it is marked as one that may have missed a change.
    pub(super) hold_off: bool,
    /// The position that it carries, and the least that was asked for, as numbers of writes.
    pub(super) position: Option<u64>,
    pub(super) min: Option<u64>,
}

/// Which promises of a run are strict: reads that lag may go back until a position proves them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strict {
    pub(super) lag: bool,
    pub(super) winners: bool,
}

impl Ledger {
    fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn count(&self, what: &'static str) {
        self.with(|known| *known.tally.entry(what).or_default() += 1);
    }

    pub(super) fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.with(|known| known.tally.clone())
    }

    /// Commits a write; its number.
    pub(super) fn write(&self, row: Row) -> u64 {
        self.with(|known| {
            known.writes.push(row);
            known.writes.len() as u64
        })
    }

    /// How many writes were committed.
    pub(super) fn committed(&self) -> u64 {
        self.with(|known| known.writes.len() as u64)
    }

    /// The next write in the stream, with its number.
    pub(super) fn next(&self) -> Option<(u64, Row)> {
        self.with(|known| {
            let row = *known.writes.get(known.cursor)?;
            known.cursor += 1;
            let number = known.cursor as u64;
            known.read.push(number);
            Some((number, row))
        })
    }

    /// A write that was read before, so many ago.
    pub(super) fn earlier(&self, back: u64) -> Option<(u64, Row)> {
        self.with(|known| {
            let number = *known.read.iter().nth_back(usize::try_from(back).unwrap())?;
            Some((number, known.writes[usize::try_from(number).unwrap() - 1]))
        })
    }

    /// Loses the next writes, at most so many; how far the stream was read or lost.
    pub(super) fn lose(&self, most: u64) -> u64 {
        self.with(|known| {
            // What is read once more from before a new position is the simulator's matter: no thread is needed for it.
            known.read.clear();
            known.cursor = known.writes.len().min(known.cursor + usize::try_from(most).unwrap());
            known.cursor as u64
        })
    }

    /// The last write of a place up to this number.
    pub(super) fn last(&self, place: usize, number: u64) -> u64 {
        self.with(|known| known.last(place, number))
    }

    /// Does what voids places; once it has returned, they show everything up to `through`.
    pub(super) fn void<T>(&self, places: &[usize], through: u64, f: impl FnOnce() -> T) -> T {
        let began = self.with(|known| {
            known.stamp += 1;
            known.stamp
        });
        let done = self.end_loads(places, f);
        self.with(|known| {
            for place in places {
                let last = known.last(*place, through);
                let known = &mut known.places[*place];
                known.floor = known.floor.max(last);
                known.voided = known.voided.max(began);
            }
        });
        done
    }

    /// Does what ends the loads of places.
    pub(super) fn end_loads<T>(&self, places: &[usize], f: impl FnOnce() -> T) -> T {
        let each = |more: fn(&mut (u64, u64))| {
            self.with(|known| places.iter().for_each(|place| more(&mut known.places[*place].endings)));
        };
        each(|(count, at_it)| (*count, *at_it) = (*count + 1, *at_it + 1));
        let done = f();
        each(|(count, at_it)| (*count, *at_it) = (*count + 1, *at_it - 1));
        done
    }

    /// Does what breaks an epoch.
    pub(super) fn break_epoch<T>(&self, f: impl FnOnce() -> T) -> T {
        self.with(|known| known.breaking.0 += 1);
        let done = f();
        self.with(|known| known.breaking.1 += 1);
        done
    }

    /// A read begins.
    pub(super) fn read(&self, place: usize, now: Tick) -> Reading {
        self.with(|known| Reading { place, known: known.places[place], epoch: known.breaking.1, began: now })
    }

    /// A lease has been given.
    pub(super) fn lease(&self) -> u64 {
        self.with(|known| {
            known.stamp += 1;
            known.stamp
        })
    }

    /// The read was told to load.
    pub(super) fn won(&self, reading: Reading, strict: Strict, now: Tick) {
        self.with(|known| {
            let place = &mut known.places[reading.place];
            let (count, at_it) = place.endings;
            let mine =
                Some((count, reading.began)).filter(|_| reading.known.endings == (count, 0) && at_it == 0);
            let two = mine.zip(place.winner).is_some_and(|(mine, other)| {
                mine.0 == other.0 && now.since(other.1.min(mine.1)) < LOADING_TIME
            });
            assert!(
                !two || !strict.winners,
                "winners: two readers of place {} are told to load",
                reading.place
            );
            place.winner = mine;
        });
    }

    /// A fill was taken: nobody who reads from now on sees less.
    pub(super) fn filled(&self, place: usize, write: u64, strict: Strict) {
        self.with(|known| {
            let most = &mut known.places[place].shown.0;
            if !strict.lag {
                *most = write.max(*most);
            }
        });
    }

    /// The read was answered with a value.
    pub(super) fn hit(&self, reading: Reading, shown: Shown, strict: Strict) {
        let (place, before) = (reading.place, reading.known);
        self.with(|known| {
            let say = || format!("of place {place}: {shown:?}, {reading:?}");
            let solid = !shown.hold_off;
            *known.tally.entry(if solid { "hit" } else { "hit in hold-off" }).or_default() += 1;
            if let Some(lease) = shown.lease {
                assert!(lease >= before.voided, "fenced: filled under a lease from before a void, {}", say());
            }
            if solid || !strict.lag {
                assert!(shown.write >= before.floor, "stale: write {} is missing, {}", before.floor, say());
            }
            if let Some(position) = shown.position {
                let last = known.last(place, position);
                assert!(shown.write >= last, "position: write {last} is missing, {}", say());
            }
            if let Some(min) = shown.min {
                let last = known.last(place, min);
                assert!(shown.write >= last, "min-position: write {last} is missing, {}", say());
            }
            // Positions compare within one epoch, and so do reads that lag.
            let epoch = known.breaking.0;
            let within = reading.epoch == epoch;
            if solid && (!strict.lag || (within && before.shown.1 == epoch)) {
                assert!(shown.write >= before.shown.0, "backwards: {}", say());
            }
            if solid && (within || !strict.lag) {
                let most = &mut known.places[place].shown;
                *most = if most.1 == epoch || !strict.lag {
                    (most.0.max(shown.write), epoch)
                } else {
                    (shown.write, epoch)
                };
            }
        });
    }
}

impl Known {
    fn last(&self, place: usize, number: u64) -> u64 {
        let upto = usize::try_from(number).unwrap().min(self.writes.len());
        self.writes[..upto].iter().rposition(|row| concerns(*row, place)).map_or(0, |at| at as u64 + 1)
    }
}

/// The place in the log of a write's commit.
pub(super) fn lsn(write: u64) -> u64 {
    write * LSN
}
