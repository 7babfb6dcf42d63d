//! All of it together: the models around the real core, and what each step does.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    LOSS, LOSS_DELAYED, PROMPT,
    account::Judge,
    checker::Violation,
    clients::{Filled, Pending},
    database::{Database, Edit, Mark, Table},
    debezium::{Debezium, EPOCH},
    follower::Follower,
    kinds::Kind,
    redis::{Redis, Says, Stream},
    rest::Rest,
    setting::{Setting, catalog},
    shelf::{self, MapShelf},
    sink::Sink,
    step::{SLOTS, Step},
    tally::Tally,
    views::States,
};
use crate::{
    bounds::{Memory, tests::room},
    catalog::{Cache, Catalog},
    clock::{Now, Tick},
    engine::Engine,
    feed::Feed,
    lease::Sealer,
    planted::{Bug, planted},
};

/// The tick at which the simulation's clock is zero.
pub(crate) const START: u64 = 1_000_000;

pub(crate) struct World {
    pub(crate) setting: Setting,
    /// Milliseconds since the run began.
    pub(crate) now: u64,
    /// Milliseconds of them in which the sidecar's process was stopped.
    pub(crate) stopped: u64,
    pub(crate) db: Database,
    pub(crate) debezium: Debezium,
    pub(crate) sink: Sink,
    pub(crate) redis: Redis,
    pub(crate) engine: Arc<Engine<MapShelf>>,
    pub(crate) follower: Follower,
    pub(crate) judge: Judge,
    pub(crate) fills: Vec<Filled>,
    pub(crate) slots: [Option<Pending>; SLOTS as usize],
    pub(crate) process: u64,
    /// Per kind of cache: the number of its definition, whether it is in the binding, and a detail of it.
    pub(crate) generations: BTreeMap<Kind, u64>,
    absent: Vec<Kind>,
    pub(crate) details: BTreeMap<Kind, bool>,
    binding_epoch: u64,
    pub(crate) last_beat: u64,
    /// When the last answer of Redis was taken, and when one was last late or didn't reach the streams' ends, in running
    /// time.
    answered: u64,
    late: u64,
    /// The position of the last hit that had one.
    pub(crate) carried: Option<Mark>,
    /// A REST service, if there is one.
    pub(crate) rest: Rest,
    /// The state of the tables after each commit, where views of rows are held against it.
    pub(crate) states: States,
    /// Which views are defined otherwise, by the bits of their numbers.
    pub(crate) shapes: u8,
    pub(crate) tally: Tally,
    /// What happened, if somebody wants to know.
    pub(crate) log: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(setting: Setting) -> Self {
        let debezium = Debezium::new(setting.routed, setting.binlog, setting.ahead, setting.debezium);
        let engine = Arc::new(Engine::seeded(setting.seed));
        let generations: BTreeMap<Kind, u64> = setting.kinds().iter().map(|kind| (*kind, 0)).collect();
        engine.install(catalog(&setting, &[], &BTreeMap::new(), 0, 0, None));
        let feed = feed(&engine);
        let mut world = Self {
            follower: Follower::new(&engine, &feed, setting.count),
            judge: Judge::new(),
            now: 0,
            stopped: 0,
            db: Database::new(setting.bare_beats),
            sink: Sink::new(setting.binlog),
            debezium,
            redis: Redis::new(),
            engine,
            fills: Vec::new(),
            slots: Default::default(),
            process: 0,
            generations,
            absent: Vec::new(),
            details: BTreeMap::new(),
            binding_epoch: 0,
            last_beat: 0,
            answered: 0,
            late: 0,
            carried: None,
            rest: Rest::default(),
            states: States::default(),
            shapes: 0,
            tally: Tally::default(),
            log: None,
            setting,
        };
        for table in Table::ALL {
            let put = |key| Edit::Put { table, key, noted: key == 1, big: key == 2 };
            world.commit(&[put(0), put(1), put(2)], 0);
        }
        world.begin();
        world
    }

    pub(crate) fn clock(&self) -> Now {
        let ran = if planted(Bug::MonotonicClock) { self.now - self.stopped } else { self.now };
        Now { tick: Tick(START + ran), wall_ms: EPOCH + self.now }
    }

    pub(crate) fn running(&self) -> u64 {
        self.now - self.stopped
    }

    pub(crate) fn say(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let text = format!("{:>7} ms    {}", self.now, text(self));
            self.log.get_or_insert_default().push(text);
        }
    }

    /// Does one step.
    pub(crate) fn step(&mut self, step: Step) -> Result<(), Violation> {
        self.judge.tick();
        self.say(|_| format!("{step:?}"));
        match step {
            Step::Wait { ms } => self.now += ms,
            Step::Flow { ms } => self.flow(ms),
            Step::Stop { ms } => {
                self.now += ms;
                self.stopped += ms;
                self.tally.count(if ms < 60_000 { "stop" } else { "stop of a minute" });
            }
            Step::Get { slot, cache, key, how } => {
                let kind = self.setting.kind(cache);
                let pending = self.get(kind, key, how)?;
                if pending.is_some() {
                    self.slots[usize::from(slot)] = pending;
                }
            }
            Step::Read { slot, lag, placed } => {
                let Some(mut pending) = self.slots[usize::from(slot)].take() else { return Ok(()) };
                self.read(&mut pending, lag, placed);
                self.slots[usize::from(slot)] = Some(pending);
            }
            Step::Fill { slot, said } => {
                if let Some(pending) = self.slots[usize::from(slot)].take_if(|p| p.read.is_some()) {
                    self.fill(pending, said)?;
                }
            }
            Step::GetAll { .. } | Step::ReadAll { .. } | Step::FillAll { .. } | Step::UseAll { .. } => {
                self.batch(step)?;
            }
            Step::FillWrongly { slot, key } => {
                if let Some(pending) = &self.slots[usize::from(slot)]
                    && pending.key != key
                    && let Some((_, cache)) = self.cache(pending.kind)
                    && self.engine.lease(&cache, &pending.kind.key(key), &pending.token).is_ok()
                {
                    return Err(Violation::new(
                        "lease",
                        format!("a lease for {} was good for {key}", pending.key),
                    ));
                }
            }
            Step::FillForeign { slot } => {
                if let Some(pending) = &self.slots[usize::from(slot)]
                    && let Some((_, cache)) = self.cache(pending.kind)
                    && let Ok(lease) =
                        self.engine.lease(&cache, &pending.kind.key(pending.key), &pending.token)
                {
                    let theirs = Sealer::default().seal(&lease);
                    if self.engine.lease(&cache, &pending.kind.key(pending.key), &theirs).is_ok() {
                        return Err(Violation::new("lease", "a lease of another pod was good".to_owned()));
                    }
                }
            }
            Step::GiveUp { slot } => self.slots[usize::from(slot)] = None,
            Step::Use { cache, key, lag, placed } => {
                self.use_cache(self.setting.kind(cache), key, lag, placed)?;
            }
            Step::Delete { cache, key } => {
                let kind = self.setting.kind(cache);
                if kind.names(key).is_empty() {
                    if let Some((_, cache)) = self.cache(kind) {
                        self.engine.delete(&cache, &kind.key(key), self.clock().tick);
                    }
                    self.judge.delete(kind, key);
                    self.tally.count("delete");
                } else {
                    self.engine.void_tag(&key.to_string(), self.clock().tick);
                    let tagged = |kind: &Kind| !kind.names(key).is_empty();
                    self.setting
                        .kinds()
                        .iter()
                        .filter(|kind| tagged(kind))
                        .for_each(|kind| self.judge.void_tag(*kind, key));
                    self.tally.count("tag");
                }
            }
            Step::Rest(act) => self.act(act)?,
            Step::View(act) => self.act_on_rows(act)?,
            Step::Ask => self.follower.ask(self.clock()),
            Step::Serve => self.follower.serve(&self.redis),
            Step::Take => self.take(),
            Step::Pump => self.pump(),
            Step::Cut => {
                self.follower.cut();
                self.tally.count("cut");
            }
            Step::Press { all } => shelf::press(all),
            Step::Sweep { thorough } => {
                let now = self.clock().tick;
                self.engine.sweep(thorough, || now);
            }
            Step::RestartSidecar => self.restart_sidecar(),
            Step::Reload { what, cache } => self.reload(what, self.setting.kind(cache)),
            other => self.outside(other),
        }
        self.bounded()
    }

    /// No memory holds more than it has room for.
    fn bounded(&mut self) -> Result<(), Violation> {
        if self.setting.has_ample_room() {
            return Ok(());
        }
        let held =
            self.engine.held().into_iter().chain(feed(&self.engine).held()).chain(self.follower.held());
        for (memory, n) in held {
            let room = room(memory, usize::MAX);
            // It is looked at before an entry is counted, which adds two numbers at most.
            let most = if memory == Memory::Unsettled { room.saturating_add(2) } else { room };
            if n > most {
                return Err(Violation::new("bound", format!("{n} in {memory:?}, with room for {room}")));
            }
            if n >= room {
                self.tally.count(match memory {
                    Memory::Rows => "rows full",
                    Memory::Commits => "commits full",
                    Memory::Ended => "ended full",
                    Memory::Unsettled => "unsettled full",
                    Memory::Loaders => "loaders full",
                    Memory::Xids => "xids full",
                    Memory::Marks => "marks full",
                });
            }
        }
        Ok(())
    }

    pub(crate) fn pump(&mut self) {
        self.follower.ask(self.clock());
        self.follower.serve(&self.redis);
        self.take();
    }

    pub(super) fn take(&mut self) {
        let (before, start) = (feed(&self.engine).epoch(), self.judge.moment);
        let taken = self.follower.take(self.clock());
        for says in &taken.heard {
            self.judge.hear(*says, self.now);
        }
        if let Some(whole) = taken.answered {
            if !whole || self.running() > self.answered + PROMPT {
                self.late = self.running();
            }
            self.answered = self.running();
        }
        let entries = taken.heard.len() as u64;
        *self.tally.0.entry("entries").or_default() += entries;
        if feed(&self.engine).epoch() != before {
            let unread = self.unread();
            let snapshot_ahead =
                !taken.heard.contains(&Says::SnapshotRow) && self.ahead().any(|s| s == Says::SnapshotRow);
            self.judge.epoch(start, &unread, snapshot_ahead, self.debezium.sent, self.now);
            self.tally.count("epoch");
            self.say(|_| "a new epoch".to_owned());
        }
        if !taken.positioned.is_empty() {
            let tables: Vec<Table> = Table::ALL
                .into_iter()
                .filter(|table| taken.positioned.contains(&self.debezium.table_stream(*table)))
                .collect();
            if taken.replayed {
                let mut says: Vec<Says> = self.ahead().collect();
                says.reverse();
                let books = self.keeps_books();
                self.judge.replay(&says, books, self.debezium.sent, self.now, self.running());
                self.judge.tales.begin_anew();
            } else {
                if taken.anew {
                    self.judge.tales.begin(taken.adds);
                }
                self.judge.position(&tables, &self.db, taken.adds, self.debezium.sent, self.now);
            }
        }
        if taken.server.is_some_and(|server| server != self.redis.identity()) {
            let unread = self.unread();
            self.judge.hide(&unread, self.debezium.sent, self.running());
        }
        if taken.settled && self.judge.settle(self.now) {
            self.tally.count("loss noticed");
        }
        if !taken.heard.is_empty() {
            self.say(|_| format!("heard {:?}", taken.heard));
        }
    }

    /// Whether something that was lost then, in running time, may still be unnoticed.
    pub(crate) fn may_be_unnoticed(&self, lost: u64) -> bool {
        let prompt = self.late < lost && self.running() <= self.answered + PROMPT;
        let end = if prompt { lost + LOSS } else { lost.max(self.late).max(self.answered) + LOSS_DELAYED };
        self.running() <= end
    }

    /// Whether Debezium writes the numbers by which any loss is noticed with the next heartbeat.
    pub(crate) fn keeps_books(&self) -> bool {
        let has_envelopes = self.setting.routed || !self.debezium.settings.flattened;
        let transactions = self.debezium.settings.transactions && !self.setting.bare_beats;
        transactions && has_envelopes && self.sees_all_commits()
    }

    /// Whether events name every commit that is followed by another. PostgreSQL's of a table in a stream that isn't read
    /// can't, and nothing numbers its commits.
    fn sees_all_commits(&self) -> bool {
        self.setting.routed || self.setting.binlog || !self.absent.contains(&Kind::Keyless)
    }

    /// Whether it writes no numbers but those of heartbeats, by which the loss of one is noticed.
    pub(crate) fn counts_beats(&self) -> bool {
        !self.debezium.settings.transactions && !self.setting.bare_beats
    }

    /// The changes that the follower is still going to read.
    pub(crate) fn unread(&self) -> Vec<usize> {
        let change = |says| if let Says::Change(event) = says { Some(event) } else { None };
        self.ahead().filter_map(change).collect()
    }

    /// What the entries say that the follower is still going to read.
    fn ahead<'w>(&'w self) -> impl Iterator<Item = Says> + 'w {
        let behind = |(name, stream): (&String, &'w Stream)| {
            let place = self.follower.place(name)?;
            Some(stream.entries.iter().rev().take_while(move |entry| entry.place() > place))
        };
        self.redis.streams.iter().filter_map(behind).flatten().map(|entry| entry.says)
    }

    fn restart_sidecar(&mut self) {
        self.engine = Arc::new(Engine::seeded(self.setting.seed));
        self.process += 1;
        self.install(None);
        let feed = feed(&self.engine);
        self.follower = Follower::new(&self.engine, &feed, self.setting.count);
        self.judge.restart();
        self.rest.restart();
        self.tally.count("sidecar restart");
    }

    pub(super) fn reload(&mut self, what: u8, kind: Kind) {
        let kind = kind.cache();
        match what {
            0 => *self.details.entry(kind).or_default() ^= true,
            // The page keeps two tables followed, whatever else there is.
            1 if kind != Kind::Page && self.absent.contains(&kind) => self.absent.retain(|k| *k != kind),
            1 if kind == Kind::Keyless && (self.sink.is_losing() || self.judge.misses_losses()) => return,
            1 if kind != Kind::Page => self.absent.push(kind),
            _ => self.binding_epoch += 1,
        }
        for (k, generation) in &mut self.generations {
            if k.cache() == kind || what > 1 {
                *generation += 1;
                self.judge.redefine(*k);
            }
        }
        let old = self.engine.catalog();
        self.install(old.as_deref());
        self.tally.count("reload");
    }

    pub(super) fn install(&self, old: Option<&Catalog>) {
        let next = catalog(&self.setting, &self.absent, &self.details, self.shapes, self.binding_epoch, old);
        self.engine.install(next);
    }

    pub(crate) fn cache(&self, kind: Kind) -> Option<(Arc<Catalog>, Arc<Cache>)> {
        let catalog = self.engine.catalog()?;
        let cache = Arc::clone(catalog.caches.get(kind.name())?);
        Some((catalog, cache))
    }
}

pub(crate) fn feed(engine: &Engine<MapShelf>) -> Arc<Feed> {
    Arc::clone(&engine.catalog().unwrap().feeds[0].0)
}
