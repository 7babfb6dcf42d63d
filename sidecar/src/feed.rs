//! A source's side that everything else sees: its epoch, how it is doing, and what was seen of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use freshet_crds::{Heartbeat, binding::SourceSpec};
use tokio::sync::watch;

use crate::{
    change::Origin,
    clock::Tick,
    coherence::{Commits, Seq},
    continuity::Break,
    freshness::Evidence,
    histogram::Histogram,
    planted::{Bug, planted},
    position::{Commit, Place, Position},
    publishing::Desk,
    sync::{self, ArcSwapOption},
    watermark::{Reached, Watermark},
};

/// Whether an event of a table was ever seen.
pub type Seen = Arc<AtomicBool>;

const DELAYS: &[Duration] = &[
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

/// A source as its follower leaves it and everything else reads it.
#[derive(Debug)]
pub struct Feed {
    /// Where changes come from.
    pub spec: SourceSpec,
    /// What was counted.
    pub stats: FeedStats,
    /// Where this pod's application publishes to the source.
    pub publishing: Desk,
    /// How long after it was written each record was applied, by the wall clocks of both sides.
    pub delays: Histogram,
    epoch: AtomicU64,
    connected: AtomicBool,
    gapped: AtomicBool,
    /// Whether what is proven of the streams is proven of the database.
    of_database: AtomicBool,
    /// Ticks; zero: never.
    proven: AtomicU64,
    heartbeats: [AtomicU64; 2],
    /// The newest heartbeats that were read and prove nothing yet.
    held: [AtomicU64; 2],
    /// Whether the last row that was seen came from a snapshot.
    in_snapshot: AtomicBool,
    /// The server whose log the events come from, plus one; zero: unknown or without such an identity.
    database: AtomicU64,
    /// Whether streams may hold what was written before a break that another told of.
    straggling: AtomicBool,
    /// When rows may have changed last at a place in the log that nobody knows, by the wall clock; zero: never.
    unplaced_ms: AtomicU64,
    seen: Mutex<HashMap<String, Seen>>,
    report: Mutex<Report>,
    log: sync::Mutex<Log>,
    /// The watermark as answers carry it.
    reached: ArcSwapOption<Bytes>,
    /// Rung whenever the watermark has moved.
    moved: watch::Sender<()>,
}

/// How far the database's log has been applied.
#[derive(Debug, Default)]
struct Log {
    commits: Commits,
    watermark: Watermark,
    /// Whether a commit was noted since the watermark was told last.
    untold: bool,
}

/// What a feed counts, from the sidecar's start.
#[derive(Debug, Default)]
pub struct FeedStats {
    /// Entries applied.
    pub entries: AtomicU64,
    /// Row changes applied.
    pub rows: AtomicU64,
    /// Truncations and redefinitions.
    pub tables: AtomicU64,
    /// Heartbeats of either kind.
    pub heartbeats: AtomicU64,
    /// Changes that don't name their row because its key has no room.
    pub oversized: AtomicU64,
    /// Entries that couldn't be read.
    pub unreadable: AtomicU64,
    /// Connections made.
    pub connects: AtomicU64,
}

/// What status tells about a feed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The last error, until it is mended.
    pub error: Option<String>,
    /// The newest record applied, per stream.
    pub positions: Vec<(String, Place)>,
    /// Entries added and not yet applied, as of the last check.
    pub pending: u64,
    /// How often the epoch changed, by reason.
    pub breaks: HashMap<Break, u64>,
    /// How far what is applied lies behind what is written, in milliseconds: 0 when the last read came to the streams'
    /// ends, else the age of the newest entry applied.
    pub lag_ms: u64,
}

// === impl Feed ===

impl Feed {
    /// A feed that nobody follows yet.
    #[must_use]
    pub fn new(spec: SourceSpec) -> Self {
        Self {
            spec,
            stats: FeedStats::default(),
            publishing: Desk::default(),
            delays: Histogram::new(DELAYS),
            epoch: AtomicU64::new(1),
            connected: AtomicBool::new(false),
            gapped: AtomicBool::new(false),
            of_database: AtomicBool::new(false),
            proven: AtomicU64::new(0),
            heartbeats: Default::default(),
            held: Default::default(),
            in_snapshot: AtomicBool::new(false),
            database: AtomicU64::new(0),
            straggling: AtomicBool::new(false),
            unplaced_ms: AtomicU64::new(0),
            seen: Mutex::default(),
            report: Mutex::default(),
            log: sync::Mutex::default(),
            reached: ArcSwapOption::empty(),
            moved: watch::Sender::new(()),
        }
    }

    /// The number of unbroken stretches of the stream so far, from 1.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Begins the next epoch. The caller voids what depends on this feed.
    pub(crate) fn next_epoch(&self, why: Break) -> u64 {
        // Positions compare within one history of one database.
        let mut log = self.log();
        *log = Log { commits: log.commits.anew(), ..Log::default() };
        drop(log);
        self.reached.store(None);
        self.with_report(|report| *report.breaks.entry(why).or_default() += 1);
        self.epoch.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The flag of a table, made at its first mention and kept over reloads.
    #[must_use]
    pub fn seen(&self, table: &str) -> Seen {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(seen.entry(table.to_owned()).or_default())
    }

    /// Notes that the connection came or went.
    pub fn set_connected(&self, connected: bool) {
        if connected {
            self.stats.connects.fetch_add(1, Ordering::Relaxed);
        }
        self.connected.store(connected, Ordering::Release);
    }

    /// Notes that positions were lost to a break, or found anew.
    pub fn set_gapped(&self, gapped: bool) {
        self.gapped.store(gapped, Ordering::Release);
    }

    /// Notes whether its transport reads the database itself: what is proven of the streams is proven of the database then.
    pub fn set_of_database(&self, of_database: bool) {
        self.of_database.store(of_database, Ordering::Release);
    }

    /// Whether its transport reads the database itself, so that no heartbeat is needed.
    #[must_use]
    pub fn is_of_database(&self) -> bool {
        self.of_database.load(Ordering::Acquire)
    }

    /// Notes that everything that was in the streams at `at` has been applied.
    pub fn set_proven(&self, at: Tick) {
        self.proven.fetch_max(at.0, Ordering::AcqRel);
    }

    /// Notes a heartbeat that stands for the instant `at`. It proves nothing before
    /// [`Feed::confirm_heartbeats`]: changes from before it may be unread in other streams.
    pub fn hold_heartbeat(&self, kind: Heartbeat, at: Tick) {
        self.stats.heartbeats.fetch_add(1, Ordering::Relaxed);
        let waiting = if planted(Bug::HeartbeatAtOnce) { &self.heartbeats } else { &self.held };
        waiting[kind as usize].fetch_max(at.0, Ordering::AcqRel);
    }

    /// Notes that every entry was applied that was in any stream when the last heartbeat was read.
    pub fn confirm_heartbeats(&self) {
        for (held, proven) in self.held.iter().zip(&self.heartbeats) {
            proven.fetch_max(held.swap(0, Ordering::AcqRel), Ordering::AcqRel);
        }
    }

    /// Notes that the streams' positions are lost: what was held proves nothing of what comes next, and what
    /// came last says nothing about it.
    pub fn forget_place(&self) {
        for held in &self.held {
            held.store(0, Ordering::Release);
        }
        self.in_snapshot.store(false, Ordering::Release);
    }

    /// Notes that the streams are read once more from what they still have: nothing is proven before it is read again.
    pub fn forget_proofs(&self) {
        for beat in self.held.iter().chain(&self.heartbeats).chain([&self.proven]) {
            beat.store(0, Ordering::Release);
        }
    }

    /// Notes how a row came to be an event; whether a snapshot begins with it. Marks alone don't tell: the first
    /// row of all may be in a stream that nobody follows, and a table's only row is marked as a last one.
    pub fn note_origin(&self, origin: Origin) -> bool {
        match origin {
            Origin::Log => {
                self.in_snapshot.store(false, Ordering::Release);
                false
            }
            Origin::Snapshot { first, .. } => !self.in_snapshot.swap(true, Ordering::AcqRel) || first,
            Origin::Beginning | Origin::Incremental | Origin::Published => false,
        }
    }

    /// Notes the database server that wrote an event; whether it is another one than before.
    pub fn note_database(&self, server: u64) -> bool {
        let server = server.saturating_add(1);
        let before = self.database.swap(server, Ordering::AcqRel);
        before != 0 && before != server
    }

    /// Notes whether streams may hold what was written before a break that another told of: a snapshot, or the next
    /// database server's definitions. Nothing ranks its images with what the break has made void.
    pub fn set_straggling(&self, straggling: bool) {
        self.straggling.store(straggling, Ordering::Release);
    }

    /// Whether streams may hold what was written before a break that another told of.
    #[must_use]
    pub fn is_straggling(&self) -> bool {
        self.straggling.load(Ordering::Acquire)
    }

    /// Notes that rows had changed by `wall_ms`, or may have, at places in the log that nobody knows.
    pub fn note_unplaced(&self, wall_ms: u64) {
        self.unplaced_ms.fetch_max(wall_ms, Ordering::AcqRel);
    }

    /// When that was last, by the wall clock; zero: never.
    #[must_use]
    pub fn unplaced_ms(&self) -> u64 {
        self.unplaced_ms.load(Ordering::Acquire)
    }

    /// Notes that a commit's transaction and every one before it has been applied, and, up to `through`, nothing of a
    /// later one; `at_end` of the log unless it is read once more.
    pub fn commit(&self, commit: Commit, at_end: bool, through: Seq, now: Tick) {
        let mut log = self.log();
        log.commits.applied(commit, at_end, through, now);
        log.watermark.commit(commit);
        log.untold = true;
    }

    /// Notes that everything committed up to this place of PostgreSQL's log has been applied.
    pub fn pass(&self, lsn: u64) {
        self.log().watermark.pass(lsn);
    }

    /// Tells everyone where the watermark stands.
    pub fn tell_position(&self) {
        let (position, commits) = {
            let mut log = self.log();
            (log.watermark.position(), std::mem::take(&mut log.untold))
        };
        // RFC 9651: a dictionary with one text. Neither needs an escape.
        let text = position.map(|position| Bytes::from(format!("{}=\"{position}\"", self.spec.name)));
        let moved = self.reached.load().as_deref() != text.as_ref();
        if moved {
            self.reached.store(text.map(Arc::new));
        }
        // A transaction may end at a place that was known to be passed: whoever waits for the transaction hears of it.
        if moved || (commits && !planted(Bug::EndUntold)) {
            self.moved.send_replace(());
        }
    }

    /// Where the watermark stands, as answers carry it; `None` where the source doesn't say.
    #[must_use]
    pub fn position(&self) -> Option<Bytes> {
        self.reached.load().as_deref().cloned()
    }

    /// Whether a position has been reached.
    #[must_use]
    pub fn reached(&self, position: &Position) -> Reached {
        self.log().watermark.reached(position)
    }

    /// Rung whenever the watermark has moved.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    /// Runs `f` on the newest commits.
    pub fn with_commits<T>(&self, f: impl FnOnce(&mut Commits) -> T) -> T {
        f(&mut self.log().commits)
    }

    /// How much is held in each memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> Vec<(crate::bounds::Memory, usize)> {
        let log = self.log();
        log.commits.held().into_iter().chain(log.watermark.held()).collect()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known, for a cache that is attached or not, with this kind of heartbeat declared.
    #[must_use]
    pub fn evidence(&self, attached: bool, heartbeat: Option<Heartbeat>) -> Evidence {
        let tick = |at: &AtomicU64| Some(at.load(Ordering::Acquire)).filter(|at| *at > 0).map(Tick);
        Evidence {
            attached,
            connected: self.connected.load(Ordering::Acquire),
            gapped: self.gapped.load(Ordering::Acquire),
            proven: tick(&self.proven),
            heartbeat: match heartbeat {
                Some(_) if self.is_of_database() => tick(&self.proven),
                Some(kind) => tick(&self.heartbeats[kind as usize]),
                None => None,
            },
        }
    }

    /// The same for what applications publish: there is no database behind it whose heartbeats could prove more than the
    /// transport does.
    #[must_use]
    pub fn evidence_of_publications(&self, attached: bool) -> Evidence {
        let evidence = self.evidence(attached, None);
        Evidence { heartbeat: evidence.proven, ..evidence }
    }

    /// Changes what status tells.
    pub fn with_report<T>(&self, f: impl FnOnce(&mut Report) -> T) -> T {
        f(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
