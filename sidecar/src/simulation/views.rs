//! Views over the rows of caches that start warm, and what of them a reader may be shown.

use std::sync::{Arc, atomic::Ordering};

use freshet_e2e::random::Random;

use super::{
    READ_LAG,
    checker::Violation,
    clients::wanted,
    database::{Database, Edit, KEYS, Row, Table, VISIBLE},
    kinds::Kind,
    setting::Setting,
    snapshots::Asked,
    step::Step,
    world::World,
};
use crate::{
    engine::{Unshown, Wanted},
    position::Position,
    views::rows::RowView,
};

mod judge;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A reader asks for a view.
    Read { view: u8, how: u8 },
    /// Somebody asks Debezium for a snapshot.
    Ask(Asked),
    /// Debezium goes back so many records and on by so many, with readers behind each; what is written before, in one
    /// transaction after another, comes last.
    Slowly { back: u8, on: u8, table: u8, key: u8 },
    /// Debezium loses its place right after something was written.
    LosePlace { table: u8, key: u8 },
    /// A view is defined otherwise.
    Redefine { view: u8 },
    /// The cache of a view is, in a way that keeps its rows, while what was written is on its way to the sidecar.
    HandOn { key: u8 },
}

/// What a view has of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All rows, by code.
    All,
    /// The two that were written last.
    Newest,
    /// Three of those that are noted; nothing but their keys orders them.
    Noted,
}

/// A view of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
}

/// The tables after each commit.
#[derive(Debug, Default)]
pub(crate) struct States(Vec<State>);

#[derive(Debug)]
struct State {
    /// How many changes there were.
    events: usize,
    /// How many commits.
    commits: usize,
    rows: Vec<(Table, Row)>,
}

impl Shape {
    fn definition(self) -> &'static str {
        match self {
            Self::All => "orderBy: /code, order: Ascending, limit: 10",
            Self::Newest => "orderBy: /v, limit: 2",
            Self::Noted => {
                "orderBy: /note, order: Ascending, limit: 3, filter: [{pointer: /note, equals: 'n'}]"
            }
        }
    }

    /// How many rows the view has, and the text of its top.
    fn top<'a>(self, rows: impl Iterator<Item = &'a Row>) -> (usize, String) {
        let mut rows: Vec<&Row> = rows.filter(|row| self != Self::Noted || row.noted).collect();
        let limit = match self {
            Self::All => {
                rows.sort_by_key(|row| (row.code, row.id));
                10
            }
            Self::Newest => {
                rows.sort_by_key(|row| u64::MAX - row.v);
                2
            }
            Self::Noted => {
                rows.sort_by_key(|row| row.id);
                3
            }
        };
        let texts: Vec<String> = rows.iter().take(limit).map(|row| row.json()).collect();
        (rows.len(), format!("[{}]", texts.join(",")))
    }
}

impl States {
    /// Takes note of the newest commit.
    pub(crate) fn note(&mut self, db: &Database) {
        let (events, commits) = (db.events.len(), db.commits.len());
        if self.0.last().is_none_or(|last| last.events < events) {
            let rows = db.rows.iter().map(|((table, _), row)| (*table, row.clone())).collect();
            self.0.push(State { events, commits, rows });
        }
    }
}

/// The views of a run.
fn views(setting: &Setting, shapes: u8) -> Vec<Of> {
    if !setting.ranks {
        return Vec::new();
    }
    let other = |n: u8| shapes & (1 << n) != 0;
    let found = if setting.depends { Kind::Lookup } else { Kind::Declared };
    let one =
        Of { name: "one", kind: Kind::Hydrated, shape: if other(0) { Shape::Newest } else { Shape::All } };
    let two =
        Of { name: "two", kind: Kind::Hydrated, shape: if other(1) { Shape::All } else { Shape::Noted } };
    let three = Of { name: "three", kind: found, shape: if other(2) { Shape::All } else { Shape::Newest } };
    match setting.seed % 3 {
        0 => vec![one, two],
        1 => vec![one, three],
        _ => vec![one, two, three],
    }
}

/// The views of a binding; those of a cache that isn't there aren't either.
pub(super) fn definitions(setting: &Setting, absent: &[Kind], shapes: u8) -> String {
    let views = views(setting, shapes).into_iter().filter(|view| !absent.contains(&view.kind));
    let definition = |Of { name, kind, shape }| {
        format!("{{name: {name}, cache: {}, {}}}, ", kind.name(), shape.definition())
    };
    views.map(definition).collect()
}

/// Reads of views instead of some others, and snapshots in between.
pub(super) fn ranked(step: Step, dice: &mut Random) -> Step {
    match step {
        Step::Get { .. } | Step::Use { .. } if dice.one_in(3) => {
            let how = if dice.one_in(2) { dice.small(16) } else { 0 };
            Step::View(Act::Read { view: dice.small(3), how })
        }
        Step::Read { .. } | Step::Fill { .. } | Step::Wait { .. } | Step::Flow { .. } if dice.one_in(24) => {
            Step::View(match dice.below(20) {
                0..14 => Act::Ask(asked(dice)),
                14..19 => {
                    let back = if dice.one_in(2) { dice.small(20) } else { 0 };
                    Act::Slowly { back, on: 4 + dice.small(24), table: dice.small(2), key: dice.small(KEYS) }
                }
                _ => Act::LosePlace { table: dice.small(2), key: dice.small(KEYS) },
            })
        }
        Step::Reload { .. } if dice.one_in(3) => Step::View(match dice.small(6) {
            view @ 0..3 => Act::Redefine { view },
            key => Act::HandOn { key },
        }),
        step => step,
    }
}

/// A snapshot of everything, at once.
fn asked_now() -> Asked {
    let flow = (0, 0);
    Asked { flow, tables: 7, lag: 0, took: 0, put: None, kept_back: false, lost: None, cut: None }
}

fn asked(dice: &mut Random) -> Asked {
    let mut now_and_then = |often| dice.one_in(often);
    let (lost, cut, put, all) = (now_and_then(8), now_and_then(12), now_and_then(4), !now_and_then(4));
    Asked {
        flow: (dice.weighted(&[(1, 0), (1, 3800)]), dice.weighted(&[(2, 0), (1, 1200), (1, 2600)])),
        tables: if all { 7 } else { 1 + dice.small(7) },
        lag: if dice.one_in(2) { dice.below(READ_LAG - VISIBLE) } else { 0 },
        took: if dice.one_in(2) { dice.below(400) } else { 0 },
        put: put.then(|| (dice.small(3), dice.small(KEYS))),
        kept_back: dice.one_in(2),
        lost: lost.then(|| (dice.small(24), 1 + dice.small(3))),
        cut: cut.then(|| dice.small(16)),
    }
}

impl World {
    pub(super) fn act_on_rows(&mut self, act: Act) -> Result<(), Violation> {
        match act {
            Act::Read { view, how } => {
                let views = views(&self.setting, self.shapes);
                let Some(of) = views.get(usize::from(view) % views.len().max(1)) else { return Ok(()) };
                self.read_view(*of, how).map(drop)
            }
            Act::Ask(asked) => {
                if self.setting.ranks {
                    self.snapshot_asked(asked);
                }
                Ok(())
            }
            Act::Slowly { back, on, table, key } => {
                if !self.setting.ranks {
                    return Ok(());
                }
                self.write_rows(table, key);
                if back == 0 {
                    self.snapshot_asked(asked_now());
                } else if !self.sink.is_losing() && !self.judge.misses_losses() {
                    self.go_back(back.into());
                }
                for _ in 0..on {
                    self.send_next();
                    self.pump();
                    self.judge.tick();
                    for of in views(&self.setting, self.shapes) {
                        let _shown = self.read_view(of, 0)?;
                    }
                }
                Ok(())
            }
            Act::LosePlace { table, key } => {
                if !self.setting.ranks {
                    return Ok(());
                }
                let table = Table::ALL[usize::from(table) % Table::ALL.len()];
                self.commit(&[Edit::Put { table, key, noted: true, big: false }], VISIBLE - 1);
                self.snapshot_anew(self.db.log.len() - self.debezium.sent);
                self.flow(2600);
                Ok(())
            }
            Act::HandOn { key } => {
                if !self.setting.ranks {
                    return Ok(());
                }
                self.pump();
                self.write_rows(0, key);
                self.send_all();
                self.follower.ask(self.clock());
                self.follower.serve(&self.redis);
                self.reload(0, Kind::Hydrated);
                self.take();
                self.flow(2600);
                self.tally.count("rows handed on");
                views(&self.setting, self.shapes)
                    .into_iter()
                    .try_for_each(|of| self.read_view(of, 0).map(drop))
            }
            Act::Redefine { view } => {
                self.shapes ^= 1 << (view % 3);
                let old = self.engine.catalog();
                self.install(old.as_deref());
                self.tally.count("view defined otherwise");
                Ok(())
            }
        }
    }

    /// Writes rows of a table in several transactions behind a heartbeat, of which not all are visible at once.
    fn write_rows(&mut self, table: u8, key: u8) {
        let table = Table::ALL[usize::from(table) % Table::ALL.len()];
        let other = (key + 1) % KEYS;
        let put = |key| Edit::Put { table, key, noted: key % 2 == 0, big: false };
        self.db.beat(self.now);
        self.commit(&[put(key)], VISIBLE - 1);
        self.commit(&[put(other), put((key + 2) % KEYS)], 0);
        self.commit(&[put(key), Edit::Delete { table, key: other }], 0);
    }

    /// Reads a view; why nothing is shown of it, if nothing is.
    fn read_view(&mut self, of: Of, how: u8) -> Result<Result<(), Unshown>, Violation> {
        let Some(catalog) = self.engine.catalog() else { return Ok(Err(Unshown::TooStale)) };
        let Some(view) = catalog.row_views.get(of.name) else { return Ok(Err(Unshown::TooStale)) };
        let view: Arc<RowView> = Arc::clone(view);
        let mark = self.wish(how);
        let position = mark.as_ref().map(|mark| mark.text.parse::<Position>().unwrap());
        let wanted = Wanted { min_position: position.as_ref(), ..wanted(how) };
        let now = self.clock().tick;
        let bound = catalog.freshness.bound.as_ref();
        let attached = view.cache.attached.load(Ordering::Acquire);
        let evidence = view.cache.feed.evidence(attached, bound.map(|b| b.heartbeat));
        let through = evidence.applied_through(bound);
        self.judge.applied_through(self, through)?;
        let top = match self.engine.read_rows(&catalog, &view, wanted, now) {
            Ok(top) => top,
            Err(why) => {
                let incomplete = matches!(why, Unshown::Incomplete(_));
                self.tally.count(if incomplete { "view incomplete" } else { "view not fresh" });
                self.say(|_| format!("view {}: {why:?}", of.name));
                return Ok(Err(why));
            }
        };
        let (pieces, _) = top.ranked.first(usize::MAX);
        let text: String = pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
        self.say(|_| format!("view {}: {text} of {}, {:?}", of.name, top.ranked.items, top.freshness));
        let unproven = |most| through.is_none_or(|through| now.since(through) > most);
        if wanted.max_staleness.is_some_and(unproven) {
            return Err(Violation::new("directives", format!("view {} for {wanted:?}", of.name)));
        }
        self.judge_rows(of, &(top.ranked.items, text), &top.freshness, mark.as_ref())?;
        self.tally.count("view shown");
        if top.freshness.detail.is_some() {
            self.tally.count("stale view");
        }
        if mark.is_some() {
            self.tally.count("view with a minimum");
        }
        Ok(Ok(()))
    }

    /// When all faults have ended, a snapshot makes every view whole.
    pub(super) fn settle_views(&mut self) -> Result<(), Violation> {
        let settings = self.debezium.settings;
        if !self.setting.ranks || !self.keeps_books() || settings.defaults || !self.setting.has_ample_room() {
            return Ok(());
        }
        if self.db.rows.is_empty() {
            // Of a snapshot without any row nothing tells that it was asked for.
            self.commit(&[Edit::Put { table: Table::K, key: 0, noted: false, big: false }], 0);
            self.flow(1000);
        }
        let (tables, kept_back) = (7, self.setting.seed.is_multiple_of(2));
        self.snapshot_asked(Asked { flow: (0, 20_000), tables, took: 50, kept_back, ..asked_now() });
        for of in views(&self.setting, self.shapes) {
            if self.cache(of.kind).is_none() {
                continue;
            }
            self.judge.tick();
            if let Err(why) = self.read_view(of, if self.keeps_books() { 8 } else { 0 })? {
                return Err(Violation::new("recovery", format!("view {}: {why:?}", of.name)));
            }
            self.tally.count("view whole at the end");
        }
        Ok(())
    }
}
