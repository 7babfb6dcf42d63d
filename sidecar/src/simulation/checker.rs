//! What must hold at every answer, judged by what really happened.

use std::{fmt, time::Duration};

use freshet_crds::Heartbeat;

use super::{
    CONTINUITY, LOSS, MAX_STALENESS, READ_LAG, SERVE_STALE,
    account::{Fate, Judge, Verdict},
    clients::Filled,
    database::{Mark, Op, Place, Table},
    kinds::Kind,
    world::{START, World},
};
use crate::{
    clock::Tick,
    engine::{Hit, ROW_TYPE, Wanted},
    image::Image,
    key::Scalar,
};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(rule: &'static str, text: String) -> Self {
        Self { rule, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.text)
    }
}

impl Judge {
    /// A fill was taken: nothing it depends on was applied since its lease.
    pub(crate) fn stored(&self, world: &World, filled: &Filled) -> Result<(), Violation> {
        let late = unseen(world, filled, filled.kind, filled.key)
            .filter(|event| !self.fates[*event].is_known_only_to_be_lost())
            .find(|event| self.fates[*event].delivered.is_some_and(|(_, moment)| moment > filled.leased));
        let told = || {
            unseen(world, filled, filled.kind, filled.key).find(|event| {
                let told = self.told_of(*event, &world.db.events[*event]);
                told.is_some_and(|(_, moment)| moment > filled.leased)
            })
        };
        late.or_else(told).map_or(Ok(()), |event| {
            let what = format!("{} {}: a fill was taken", filled.kind.name(), filled.key);
            Err(Violation::new(
                "fenced",
                format!("{what} although {} was applied since its lease", tell(world, event)),
            ))
        })
    }

    /// A value was served.
    pub(crate) fn hit(
        &self,
        world: &World,
        kind: Kind,
        key: u8,
        hit: &Hit,
        wish: Option<&Mark>,
    ) -> Result<Verdict, Violation> {
        let entry = &hit.entry;
        let broken = |rule, text: String| Violation::new(rule, format!("{} {key}: {text}", kind.name()));
        let fault = |rule, text: String| Err(broken(rule, text));
        let what = std::str::from_utf8(&entry.content_type).unwrap();
        let body = std::str::from_utf8(&entry.body).unwrap();
        if let Some(heartbeat) = world.setting.heartbeat
            && !self.beats[usize::from(heartbeat == Heartbeat::Debezium)]
        {
            return fault("starting", "a hit before any heartbeat was seen".to_owned());
        }
        let (place, row) = (kind.place(key), row_of(body));
        let (source, since, shows, superseding) = if let Some(n) = what.strip_prefix("fill/") {
            let filled = &world.fills[n.parse::<usize>().unwrap()];
            if !filled.is_of(kind, key) || filled.body.as_deref().unwrap_or_default() != body {
                return fault("mixed up", format!("{what} was for {} {}", filled.kind.name(), filled.key));
            }
            if world.now >= filled.ends || world.clock().tick >= entry.expires {
                return fault("expired", format!("{what} is past its end"));
            }
            let told = (hit.age, u64::try_from(hit.ttl).unwrap_or_default());
            let age = world.now - filled.stored + filled.age;
            if told.0 != age / 1000 || told.1 > (filled.ends - world.now) / 1000 {
                return fault("age", format!("{what} is {age} ms old, and said to be {told:?}"));
            }
            let superseding: Vec<usize> = unseen(world, filled, kind, key).collect();
            let shows = world.db.changes(place) - world.db.since(place, &filled.snapshot).count();
            (Some(filled), filled.leased, shows, superseding)
        } else {
            let origin = world.db.origin(place, body).filter(|_| what == ROW_TYPE);
            let Some(origin) = origin else {
                return fault("image", format!("{body} was never the row"));
            };
            let after = world.db.after(place, origin);
            let superseding: Vec<usize> =
                after.filter(|event| is_about(world, kind, key, row, *event)).collect();
            let shows = world.db.changes(place) - superseding.len();
            // A cache that starts warm may have it of a snapshot.
            let read = if world.setting.warm { self.snapshot_row } else { 0 };
            (None, self.fates[origin].heard.max(read), shows, superseding)
        };
        for (rule, void) in [
            ("epoch", Some(&self.epoch)),
            ("deleted", self.deletes.get(&(kind, key))),
            // What a row is found by goes with the row.
            (
                "deleted",
                row.filter(|_| kind == Kind::Lookup).and_then(|row| self.deletes.get(&(Kind::Found, row))),
            ),
            ("definition", self.definitions.get(&kind)),
            ("unreadable", kind.tables().iter().filter_map(|table| self.unreadable.get(table)).max()),
        ] {
            if void.is_some_and(|void| since < *void) {
                return fault(rule, format!("{what} is from before moment {}", void.unwrap()));
            }
        }
        positions(world, &superseding, hit.position.as_deref(), wish)
            .map_err(|(rule, text)| broken(rule, format!("{what} {text}")))?;
        for event in superseding {
            if let Some((at, moment)) = self.told_of(event, &world.db.events[event]) {
                delivered(world, source, at, moment, hit).map_err(|rule| {
                    broken(rule, format!("{what} {body} misses {}, told of", tell(world, event)))
                })?;
            }
            match self.fates[event].delivered {
                // An image from before it may be sent once more, and be the newest there is in Redis.
                Some(_) if source.is_none() && self.fates[event].is_unheard(world) => Ok(()),
                Some(_) if self.fates[event].is_known_only_to_be_lost() => noticed(world, source, hit),
                Some((at, moment)) => delivered(world, source, at, moment, hit),
                None => pending(world, event, hit.ttl < 0),
            }
            .map_err(|rule| broken(rule, format!("{what} {body} misses {}", tell(world, event))))?;
        }
        if source.is_none() && self.shown.get(&(kind, key)).is_some_and(|shown| shows < *shown) {
            return fault("backwards", format!("{body} was followed before by what is newer"));
        }
        let placed = source.is_some_and(Filled::is_placed);
        if placed && self.placed.get(&(kind, key)).is_some_and(|shown| shows < *shown) {
            return fault(
                "backwards",
                format!("{what} was followed before by what was read at a later position"),
            );
        }
        let found = source.is_some_and(|filled| filled.kind != kind);
        Ok(Verdict { image: source.is_none(), placed, found, shows })
    }

    /// The time through which everything is said to have been applied.
    pub(crate) fn applied_through(&self, world: &World, through: Option<Tick>) -> Result<(), Violation> {
        let Some(through) = through else { return Ok(()) };
        let through = through.0.saturating_sub(START);
        for (event, fate) in self.fates.iter().enumerate().skip(self.low) {
            let change = &world.db.events[event];
            // Streams of tables that no cache uses aren't read.
            if fate.delivered.is_some() || change.table == Table::K || is_excused(world, fate) {
                continue;
            }
            // What was said before a loss had to be noticed stays said while Redis is silent.
            if fate.lost.is_some_and(|lost| through.saturating_sub(world.stopped) <= lost + LOSS) {
                continue;
            }
            let since = match world.setting.heartbeat {
                Some(Heartbeat::Database) => Some(change.at + slack(world)),
                Some(Heartbeat::Debezium) => fate.added.map(|added| added + slack(world)),
                None => fate.added,
            };
            if since.is_some_and(|since| since < through) {
                let what = tell(world, event);
                return Err(Violation::new(
                    "applied-through",
                    format!("{through} ms is claimed without {what}"),
                ));
            }
        }
        Ok(())
    }
}

/// A hit reflects the position that its reader wants, and the one that it claims.
pub(super) fn positions(
    world: &World,
    superseding: &[usize],
    position: Option<&[u8]>,
    wish: Option<&Mark>,
) -> Result<(), (&'static str, String)> {
    let claimed = position.map(|text| std::str::from_utf8(text).unwrap());
    let claimed = claimed.and_then(|text| world.db.mark_answered(text));
    for (rule, mark) in [("behind", wish), ("position", claimed.as_ref())] {
        let Some(mark) = mark else { continue };
        let missed = superseding.iter().find(|event| {
            let fate = &world.judge.fates[**event];
            // Where only heartbeats are counted, the next one is what tells of a loss.
            let unknown = fate.dropped && fate.delivered.is_none() && !world.keeps_books();
            mark.covers(world.db.events[**event].commit) && !unknown && !is_excused(world, fate)
        });
        if let Some(event) = missed {
            return Err((rule, format!("misses {} at {}", tell(world, *event), mark.text)));
        }
    }
    Ok(())
}

/// Whether a value may miss a change that was applied at this time and moment.
fn delivered(
    world: &World,
    source: Option<&Filled>,
    at: u64,
    moment: u64,
    hit: &Hit,
) -> Result<(), &'static str> {
    let Some(filled) = source else { return Err("not the newest image") };
    if filled.leased < moment {
        return Err("fenced");
    }
    // The last invalidation before the lease ends the hold-off, and that may be another than this one.
    let end = (filled.leased_at + READ_LAG).min(at + 2 * READ_LAG);
    if hit.entry.hold_off && world.now < end { Ok(()) } else { Err("hold-off") }
}

/// Whether a value may miss a change that was lost, by now to everyone's knowledge. Nobody says when it was noticed, at
/// the latest moment or before: what was read since then can be as late as any read.
fn noticed(world: &World, source: Option<&Filled>, hit: &Hit) -> Result<(), &'static str> {
    let held_off = |filled: &Filled| hit.entry.hold_off && world.now < filled.leased_at + READ_LAG;
    if source.is_some_and(held_off) { Ok(()) } else { Err("lost") }
}

/// Whether a value may miss a change that hasn't been applied.
pub(super) fn pending(world: &World, event: usize, stale: bool) -> Result<(), &'static str> {
    let fate = &world.judge.fates[event];
    let since = match world.setting.heartbeat {
        Some(Heartbeat::Database) => Some(world.db.events[event].at),
        // Neither knows anything of what isn't in Redis.
        Some(Heartbeat::Debezium) | None => fate.added,
    };
    let limit = match world.setting.heartbeat {
        None => CONTINUITY,
        Some(_) => MAX_STALENESS + slack(world) + if stale { SERVE_STALE } else { 0 },
    };
    if since.is_none_or(|since| world.now <= since + limit) || is_excused(world, fate) {
        Ok(())
    } else {
        Err("stale")
    }
}

fn is_excused(world: &World, fate: &Fate) -> bool {
    fate.late || fate.lost.is_some_and(|lost| world.may_be_unnoticed(lost))
}

/// A hit is one that was asked for.
pub(crate) fn directives(
    world: &World,
    wanted: Wanted<'_>,
    hit: &Hit,
    now: Tick,
    through: Option<Tick>,
) -> Result<(), Violation> {
    let age = fill_of(world, hit).map_or_else(
        || hit.entry.age(now),
        |filled| Duration::from_millis(world.now - filled.stored + filled.age),
    );
    let old = wanted.max_age.is_some_and(|most| age > most);
    let unproven =
        wanted.max_staleness.is_some_and(|most| through.is_none_or(|through| now.since(through) > most));
    if wanted.reload || old || unproven {
        return Err(Violation::new("directives", format!("a hit for {wanted:?}")));
    }
    Ok(())
}

/// The fill that made a hit's value, if one did.
fn fill_of<'w>(world: &'w World, hit: &Hit) -> Option<&'w Filled> {
    let n = std::str::from_utf8(&hit.entry.content_type).ok()?.strip_prefix("fill/")?;
    world.fills.get(n.parse::<usize>().ok()?)
}

/// Nothing goes on any more, and everything has been applied: a hit shows the newest there is.
pub(crate) fn quiet(world: &World, kind: Kind, key: u8, hit: &Hit) -> Result<(), Violation> {
    let what = std::str::from_utf8(&hit.entry.content_type).unwrap();
    let missed = if let Some(n) = what.strip_prefix("fill/") {
        unseen(world, &world.fills[n.parse::<usize>().unwrap()], kind, key).next()
    } else {
        let body = std::str::from_utf8(&hit.entry.body).unwrap();
        let place = kind.place(key);
        let about = |event: &usize| is_about(world, kind, key, row_of(body), *event);
        world.db.origin(place, body).and_then(|origin| world.db.after(place, origin).find(about))
    };
    missed.map_or(Ok(()), |event| {
        let text = format!("{} {key}: {what} misses {}", kind.name(), tell(world, event));
        Err(Violation::new("quiet", text))
    })
}

/// How much fresher than they are clocks can make things look.
fn slack(world: &World) -> u64 {
    u64::try_from(world.setting.ahead).unwrap_or(0)
}

/// The changes that a fill doesn't show to who asks for this.
fn unseen<'a>(world: &'a World, filled: &'a Filled, kind: Kind, key: u8) -> impl Iterator<Item = usize> + 'a {
    let places: [Option<Place>; 2] = [Some(kind.place(key)), kind.place_too(key)];
    let row = filled.body.as_deref().and_then(row_of);
    let missed = places.into_iter().flatten().flat_map(|place| world.db.since(place, &filled.snapshot));
    missed.filter(move |event| is_about(world, kind, key, row, *event))
}

/// Whether a change of a place is one of what a value with this row shows there. That another row isn't found any more by
/// what this one was says nothing new: that it was found by that is what the value misses.
fn is_about(world: &World, kind: Kind, key: u8, row: Option<u8>, event: usize) -> bool {
    let change = &world.db.events[event];
    let is_of_row = matches!(change.op, Op::Create | Op::Update | Op::Delete);
    let leaves = is_of_row && change.after.as_ref().is_none_or(|after| after.code != key);
    kind != Kind::Lookup || !leaves || row == Some(change.key)
}

/// The row that a value is.
fn row_of(body: &str) -> Option<u8> {
    match Image::read(body)?.column("id") {
        Ok(Scalar::Number(id)) => id.parse().ok(),
        _ => None,
    }
}

pub(super) fn tell(world: &World, event: usize) -> String {
    let (change, fate) = (&world.db.events[event], &world.judge.fates[event]);
    format!(
        "change {event} ({:?} of {} {}, committed {}, in Redis {:?}, applied {:?}, lost {:?})",
        change.op,
        change.table.name(),
        change.key,
        change.at,
        fate.added,
        fate.delivered.map(|(at, _)| at),
        fate.lost
    )
}
