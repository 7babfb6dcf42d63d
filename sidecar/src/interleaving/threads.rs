//! What the threads do, and their end.

use std::{sync::Arc, time::Duration};

use super::{
    CACHES, IMAGES, KEYS, PLACES,
    acts::{Follow, Min, Operate, Read, Setting, Write},
    ledger::{cache_of, concerned, lsn},
    world::{World, event, key},
};
use crate::{
    api::waiting,
    continuity::Break,
    engine::{Answer, Fill, Terms, Wanted},
    envelope::{StreamRole, read},
    loaders::Loading,
    planted::tests::{self as planted},
    position::{Commit, Position},
    store::Shelf,
    sync::schedule::{Schedule, point},
};

/// Longer than anybody waits.
const WAIT: Duration = Duration::from_hours(1);

/// Readers at once.
const READERS: u64 = 3;

/// Runs all threads of a world to their end, and looks at what is left.
pub(super) fn run<S: Shelf>(setting: Setting) -> Arc<World<S>> {
    let world = World::<S>::new(setting);
    // The first event of all teaches how keys look, and voids more than its row.
    world.ledger.write(Some(0));
    world.follow(Follow::Next { ahead: false });
    let world = Arc::new(world);
    let spawn = |f: fn(&World<S>)| spawn(&world, f);
    let writer = spawn(|world| world.setting.writer().into_iter().for_each(|act| world.write(act)));
    let follower = spawn(|world| world.setting.follower().into_iter().for_each(|act| world.follow(act)));
    let operator = spawn(|world| world.setting.operator().into_iter().for_each(|act| world.operate(act)));
    let readers: Vec<Thread> = (0..READERS)
        .map(|number| {
            self::spawn(&world, move |world| {
                world.setting.reader(number).into_iter().for_each(|act| world.read(act));
            })
        })
        .collect();
    for thread in [writer, follower, operator] {
        thread.join();
    }
    world.drain();
    readers.into_iter().for_each(Thread::join);
    for place in 0..PLACES {
        world.read(Read {
            place,
            reload: false,
            min: None,
            wait: false,
            lag: 0,
            position: false,
            fill: false,
        });
    }
    world
}

enum Thread {
    Shuttle(shuttle::thread::JoinHandle<()>),
    System(std::thread::JoinHandle<()>),
}

impl Thread {
    fn join(self) {
        let ended = match self {
            Self::Shuttle(thread) => thread.join(),
            Self::System(thread) => thread.join(),
        };
        if let Err(failure) = ended {
            std::panic::resume_unwind(failure);
        }
    }
}

/// A thread with this one's schedule and planted bug.
fn spawn<S: Shelf>(world: &Arc<World<S>>, f: impl FnOnce(&World<S>) + Send + 'static) -> Thread {
    let world = Arc::clone(world);
    let schedule = Schedule::current();
    if schedule == Schedule::Shuttle {
        return Thread::Shuttle(shuttle::thread::spawn(move || f(&world)));
    }
    let bug = planted::current();
    Thread::System(std::thread::spawn(move || planted::with(bug, || schedule.with(|| f(&world)))))
}

fn block_on<F: Future>(future: F) -> F::Output {
    if Schedule::current() == Schedule::Shuttle {
        return shuttle::future::block_on(future);
    }
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

impl<S: Shelf> World<S> {
    fn write(&self, act: Write) {
        point();
        match act {
            Write::Row(row) => drop(self.ledger.write(Some(row))),
            Write::Truncate => drop(self.ledger.write(None)),
            Write::RowAndDelete(row, place) => {
                let write = self.ledger.write(Some(row));
                // Nothing tells what a deletion is about: neither an image's place in the log is held against it, nor a
                // read's position.
                let through = if self.setting.lag || cache_of(place) == IMAGES { 0 } else { write };
                let catalog = self.engine.catalog().unwrap();
                self.ledger.void(&[place], through, || {
                    self.engine.delete(&Self::cache(&catalog, place), &key(place), self.tick());
                });
            }
        }
    }

    /// One turn of the follower's loop.
    fn follow(&self, act: Follow) {
        self.attach();
        match act {
            Follow::Next { ahead } => {
                if let Some((write, row)) = self.ledger.next() {
                    self.apply(write, row, write, ahead);
                }
            }
            Follow::Replay(back) => {
                if let Some((write, row)) = self.ledger.earlier(back) {
                    self.apply(write, row, 0, false);
                }
            }
            Follow::Break { lost, detach } => {
                let catalog = self.engine.catalog().unwrap();
                let feed = &catalog.feeds[0].0;
                let through = self.ledger.lose(lost);
                let all: Vec<usize> = (0..PLACES).collect();
                if detach {
                    feed.forget_place();
                    feed.set_gapped(true);
                }
                self.ledger.void(&all, through, || {
                    self.ledger.break_epoch(|| {
                        self.engine.break_epoch(feed, Break::EntriesMissed, detach, self.tick())
                    })
                });
                self.ledger.count("break");
                if detach {
                    self.attach();
                    feed.set_gapped(false);
                }
            }
        }
    }

    /// Positions what isn't, at the stream's end.
    fn attach(&self) {
        let catalog = self.engine.catalog().unwrap();
        let detached = Self::detached(&catalog);
        if !detached.is_empty() {
            let all_are = detached.len() == PLACES;
            // A new cache joins the others where they are.
            let through = if all_are { self.ledger.lose(u64::from(u32::MAX)) } else { 0 };
            self.ledger.void(&detached, through, || {
                self.engine.attach(catalog.caches.values(), self.tick());
            });
        }
    }

    fn apply(&self, write: u64, row: Option<usize>, through: u64, ahead: bool) {
        let catalog = self.engine.catalog().unwrap();
        let (feed, tables) = &catalog.feeds[0];
        let fields = event(write, row);
        let change = read(&StreamRole::Routed, &fields);
        self.ledger.void(&concerned(row), through, || {
            assert_eq!(self.engine.apply(&catalog, feed, tables, &change, self.now()), None);
        });
        if ahead {
            feed.pass(lsn(write));
            feed.tell_position();
        }
        let commit = Commit::Postgres { lsn: lsn(write), xid: Some(u32::try_from(write).unwrap()) };
        self.engine.commit(feed, commit, true, self.tick());
        feed.tell_position();
    }

    /// Follows to the stream's end.
    fn drain(&self) {
        if self.setting.breaks {
            // What was lost is heard of no more: only a later place tells that it has been passed.
            self.ledger.write(None);
        }
        self.attach();
        while let Some((write, row)) = self.ledger.next() {
            self.apply(write, row, write, false);
        }
    }

    fn operate(&self, act: Operate) {
        match act {
            Operate::Sweep { thorough } => self.engine.sweep(thorough, || self.tick()),
            Operate::Memory => self.install(|binding| binding.memory += 1),
            Operate::Redefine(cache) => {
                let places: Vec<usize> = (0..KEYS).map(|key| cache * KEYS + key).collect();
                self.ledger.void(&places, 0, || {
                    self.install(|binding| {
                        let cache = binding.caches.iter_mut().find(|c| c.name == CACHES[cache]).unwrap();
                        cache.ttl += Duration::from_secs(1);
                    });
                });
            }
        }
    }

    fn read(&self, act: Read) {
        let Read { place, reload, min, wait, lag, position, fill } = act;
        let (key, strict) = (key(place), self.strict());
        let min = min.map(|min| (min, self.ledger.committed())).filter(|(_, write)| *write > 0);
        let min_position = min.map(|(min, write)| match min {
            Min::Lsn => Position::Lsn(lsn(write)),
            Min::Xid => Position::Xid(u32::try_from(write).unwrap()),
        });
        let wanted = Wanted { reload, min_position: min_position.as_ref(), lease: true, ..Wanted::default() };
        let reading = self.ledger.read(place, self.tick());
        let catalog = self.engine.catalog().unwrap();
        let cache = Self::cache(&catalog, place);
        let answer = if wait {
            block_on(waiting::get(&self.engine, &catalog, &cache, &key, wanted, Some(WAIT)))
        } else {
            self.engine.get(&catalog, &cache, &key, wanted, self.tick())
        };
        let grant = match answer {
            Answer::Hit(hit) => {
                return self.ledger.hit(reading, Self::shown(&hit, min.map(|(_, write)| write)), strict);
            }
            Answer::Miss(miss) => miss.lease,
        };
        let Some(grant) = grant else { return self.ledger.count("stale") };
        self.ledger.count("lease");
        if grant.fill == Loading::You {
            self.ledger.won(reading, strict, self.tick());
        }
        if fill {
            let lease = self.ledger.lease();
            point();
            let found = self.find(place, lease, lag);
            point();
            let catalog = self.engine.catalog().unwrap();
            let cache = Self::cache(&catalog, place);
            let lease = self.engine.lease(&cache, &key, &grant.token).unwrap();
            let position = position.then_some(Position::Lsn(lsn(found.at)));
            let fill = Fill { lease, value: found.value, terms: Terms { position, ..Terms::default() } };
            let taken = self
                .ledger
                .end_loads(&[place], || self.engine.fill(&catalog, &cache, &key, fill, self.now()));
            if taken.is_ok() {
                self.ledger.filled(place, found.write, strict);
            }
            self.ledger.count(if taken.is_ok() { "filled" } else { "refused" });
        }
    }
}
