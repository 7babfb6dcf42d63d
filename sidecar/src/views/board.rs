//! What a view shows: what was ranked last, what it was ranked from, and whether that may still be served.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    View,
    ranking::{Ranked, Unfit, rank},
};
use crate::{
    clock::Tick,
    codec::{Codec, Media},
    entry::Entry,
    planted::{Bug, planted},
    upstream::{
        allowance::Taken,
        failure::Failure,
        judge::{Verdict, Wants, judge, may_serve_on_error, name},
        life::Life,
        pins::{Absent, Pinned},
    },
};

/// What was ranked last.
#[derive(Debug)]
pub struct Board {
    /// The version of the upstream's pinned answers that it was last found to be of.
    version: u64,
    /// What tells the contents of the answers apart that it was ranked from, in the order of the keys.
    contents: Box<[u64]>,
    standing: Standing,
    shown: Arc<Shown>,
}

/// How fresh all answers of a view are together.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The life of the one that is fresh for the shortest time.
    first: Life,
    /// The life of the oldest one.
    oldest: Life,
    /// Why something is served that isn't fresh, if it is.
    pub stale: Option<&'static str>,
}

/// What comes of ranking.
#[derive(Debug)]
pub enum Shown {
    /// The top, and the bytes that it takes of what views may hold.
    Top(Ranked, Taken),
    /// Answers that have no items, by the place of their key.
    Unfit(Vec<(usize, Unfit)>),
    /// There is no room for what was ranked.
    NoRoom {
        /// The bytes that views may hold at most.
        most: u64,
        /// The bytes that it takes.
        needed: u64,
    },
}

/// The answers of all keys of a view, each of which may be served.
#[derive(Debug)]
pub struct Gathered {
    entries: Vec<Arc<Entry>>,
    version: u64,
    contents: Box<[u64]>,
    standing: Standing,
}

/// Why a view isn't whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// The keys whose answers are missing, and why.
    pub missing: Vec<Missing>,
    /// All answers are there, but there is no room for what was ranked: the most bytes that views may hold.
    pub no_room: Option<u64>,
    /// When it may be whole, at the earliest.
    pub next: Tick,
}

/// A key whose answer is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The key.
    pub key: Box<str>,
    /// A sentence that names no value and no credential.
    pub why: String,
}

// === impl View ===

impl View {
    /// What was ranked last, where nothing has changed since and all of it is fresh.
    pub(crate) fn current(&self, now: Tick) -> Option<Arc<Board>> {
        let board = self.board.load_full()?;
        let is_current = (board.version == self.upstream.pins.version() || planted(Bug::BoardKept))
            && board.standing.first.is_fresh(now)
            && matches!(*board.shown, Shown::Top(..));
        is_current.then_some(board)
    }

    /// The answers of all keys, or which of them are missing.
    pub fn gather(&self, now: Tick) -> Result<Gathered, Incomplete> {
        let (found, version) = self.upstream.pins.look(self.spec.keys.iter().map(|key| &**key));
        let wants = Wants::default();
        let (mut missing, mut next) = (Vec::new(), now);
        let (mut entries, mut contents) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        let mut standing: Option<Standing> = None;
        // Whoever asked the cache now would be told that nothing may be asked, and be given what has ended.
        let limited = self.upstream.open_from(now) > now;
        for (key, pinned) in self.spec.keys.iter().zip(found) {
            let mut miss = |absent: Absent| {
                next = next.max(absent.next);
                missing.push(Missing { key: key.clone(), why: absent.why });
            };
            let Pinned { entry, content } = match pinned {
                Ok(pinned) => pinned,
                Err(absent) => {
                    miss(absent);
                    continue;
                }
            };
            let origin = entry.origin.as_deref();
            let (life, stale) = match (judge(origin, &wants, now), origin) {
                (_, Some(origin)) if planted(Bug::ViewUnjudged) => (origin.life, None),
                (Verdict::Serve, Some(origin)) => (origin.life, None),
                (Verdict::ServeStale(why), Some(origin)) => (origin.life, Some(why)),
                (Verdict::Fetch(_), Some(origin)) if limited && may_serve_on_error(origin, &wants, now) => {
                    (origin.life, Some(name(Failure::LIMITED)))
                }
                _ => {
                    miss(self.upstream.pins.outlook(key));
                    continue;
                }
            };
            let own = Standing { first: life, oldest: life, stale };
            standing = Some(standing.map_or(own, |all| all.and(own, now)));
            entries.push(entry);
            contents.push(content);
        }
        match standing {
            Some(standing) if missing.is_empty() => {
                Ok(Gathered { entries, version, contents: contents.into(), standing })
            }
            _ => Err(Incomplete { missing, no_room: None, next }),
        }
    }

    /// What is shown of these answers, if that was ranked already, and there is no more room for it now: `room` bytes.
    pub(crate) fn known(&self, gathered: &Gathered, room: u64) -> Option<Arc<Board>> {
        let board = self.board.load_full().filter(|board| board.contents == gathered.contents)?;
        if matches!(*board.shown, Shown::NoRoom { needed, .. } if needed <= room) {
            return None;
        }
        let board = Board {
            version: gathered.version,
            contents: gathered.contents.clone(),
            standing: gathered.standing,
            shown: Arc::clone(&board.shown),
        };
        Some(self.show(board))
    }

    /// Ranks these answers; `take` gives so many of the bytes that views may hold, or says how many that are at most.
    pub(crate) fn ranked(&self, gathered: Gathered, take: impl Fn(u64) -> Result<Taken, u64>) -> Arc<Board> {
        let bodies: Vec<_> = gathered.entries.iter().map(|entry| is_ok(entry).then(|| json(entry))).collect();
        let texts = bodies.iter().map(|body| body.as_ref().map(|body| body.as_deref().map_err(|why| *why)));
        let shown = match rank(&self.spec, &self.filter, texts) {
            Ok(ranked) => {
                let taken = take(ranked.weight()).or_else(|_| {
                    // What was shown before makes room.
                    self.board.store(None);
                    take(ranked.weight())
                });
                match taken {
                    Ok(taken) => Shown::Top(ranked, taken),
                    Err(most) => Shown::NoRoom { most, needed: ranked.weight() },
                }
            }
            Err(unfit) => Shown::Unfit(unfit),
        };
        let Gathered { version, contents, standing, .. } = gathered;
        self.show(Board { version, contents, standing, shown: Arc::new(shown) })
    }

    fn show(&self, board: Board) -> Arc<Board> {
        let board = Arc::new(board);
        self.board.store(Some(Arc::clone(&board)));
        board
    }

    /// Forgets what was ranked last; whether there was something.
    pub(super) fn clear(&self) -> bool {
        self.board.swap(None).is_some()
    }

    /// What is shown last, whether it may still be served or not.
    #[must_use]
    pub fn last(&self) -> Option<Arc<Board>> {
        self.board.load_full()
    }
}

/// What an answer says, in JSON.
fn json(entry: &Entry) -> Result<Bytes, Unfit> {
    match Media::of(&entry.content_type) {
        Some(Media { codec: codec @ Codec::Cbor, .. }) => codec.convert(&entry.plain()).map_err(Unfit::Cbor),
        _ => Ok(entry.plain()),
    }
}

/// 404 and 410 have no items.
fn is_ok(entry: &Entry) -> bool {
    entry.origin.as_ref().is_some_and(|origin| origin.status == 200)
}

// === impl Board ===

impl Board {
    /// The top, or why there is none.
    pub fn top(&self, view: &View) -> Result<&Ranked, Incomplete> {
        let next = |key: &str| view.upstream.pins.outlook(key).next;
        match &*self.shown {
            Shown::Top(ranked, _) => Ok(ranked),
            Shown::NoRoom { most, .. } => {
                Err(Incomplete { missing: Vec::new(), no_room: Some(*most), next: Tick::default() })
            }
            Shown::Unfit(unfit) => {
                let missing = unfit.iter().filter_map(|(at, why)| {
                    Some(Missing { key: view.spec.keys.get(*at)?.clone(), why: why.to_string() })
                });
                let missing: Vec<_> = missing.collect();
                let next = missing.iter().map(|missing| next(&missing.key)).max().unwrap_or_default();
                Err(Incomplete { missing, no_room: None, next })
            }
        }
    }

    /// How fresh it is.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }
}

// === impl Standing ===

impl Standing {
    fn and(self, other: Self, now: Tick) -> Self {
        let is_first = self.first.fresh <= other.first.fresh;
        Self {
            stale: if is_first { self.stale.or(other.stale) } else { other.stale.or(self.stale) },
            first: if is_first { self.first } else { other.first },
            // Which of two is older doesn't change with time.
            oldest: if self.oldest.age(now) >= other.oldest.age(now) { self.oldest } else { other.oldest },
        }
    }

    /// Whole seconds for which all of it is fresh; negative: for how long it hasn't been.
    #[must_use]
    pub fn ttl(&self, now: Tick) -> i64 {
        self.first.ttl(now)
    }

    /// Whole seconds since the upstream made the oldest answer.
    #[must_use]
    pub fn age(&self, now: Tick) -> u64 {
        self.oldest.age(now).as_secs()
    }
}
