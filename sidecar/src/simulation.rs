//! The core in a world of models, to show that no order of events makes it break a promise.
//!
//! The real `Engine` and `Tail` run, over a plain map, against models of a database and its replicas, of Debezium (which
//! writes the real bytes), of Redis and of applications. A run is a list of steps, plain data that a seed decides, and
//! any part of a failing list can be left out: a failure is told by its shortest trace. Time is a number.
//!
//! ```text
//! database ─► debezium ─► redis ─► follower ─► Tail ─► Engine ◄─ clients
//!     └──────────────────── snapshots of it ──────────────────────┘
//!                             a REST service ─► Upstream ─┘└─── readers
//! ```
//!
//! Every write has a number, every value says which writes it shows, and the checker knows of every change when it was
//! committed, written to Redis, lost and applied. At each answer it asserts (the promises are those of the contract's
//! section on coherence, I1 to I8 the invariants of the reading behind it):
//!
//! - **fenced** (promise 1; I1, I4): no fill is taken, and no value served, whose lease is older than the first
//!   application of a change that the value doesn't show. No slack.
//! - **not the newest image**, **image** (promise 2): a hydrated value is exactly the row that some write made (a default
//!   for NULL or a placeholder is no such row), and every later change of the row is one that wasn't applied. No slack
//!   but one: a change from before the streams' position that is never heard again doesn't count.
//! - **epoch** (promise 3; I6): nothing from before a new epoch is served, and a loss is noticed, which means that a value
//!   that misses a lost change is gone, within [`LOSS`] of running time, or [`LOSS_DELAYED`] where Redis is slow.
//! - **stale**, **applied-through**, **starting** (promise 4; I3): a hit misses no change that was committed (with the
//!   database's heartbeat) or written to Redis (with Debezium's own) more than `maxStaleness` ago, `serveStaleFor` more if
//!   it is marked; without a declared bound, none that was written to Redis more than the continuity period ago. The time
//!   that is said to be applied is applied. Clocks are granted `clockSkew` twice: once as they differ, once as a heartbeat's
//!   age is taken to be younger by it. Before the first heartbeat there is no hit. A stopped process counts its time.
//! - **hold-off** (promise 5): reads see what was committed `readLag` ago, replica's lag and late visibility together. A
//!   value that misses an applied change is marked, and ends `readLag` after its lease was given at the latest (the
//!   last invalidation before a lease ends its hold-off, whichever it was).
//! - **backwards** (promise 7): no hydrated value shows less than a hit of its key has shown before.
//! - **unreadable** (promise 8; I8): nothing from before an entry that can't be read, and may concern it, is served.
//! - **definition** (promise 9), **deleted**, **lease**: no value or lease of an earlier definition, of a deleted key, of
//!   another process or another key is good.
//! - **lost** (promise 3): what Redis never got, because its refusals are taken for success, is noticed with the next
//!   heartbeat of the database at the latest. Until then, and only then, a value may miss it. Where Debezium doesn't tell
//!   of transactions, only losses that take a heartbeat with them are noticed, and only such are made. And none is made
//!   while PostgreSQL has a stream per table and one of them isn't read: there nothing may tell.
//! - **behind**, **position** (promises 5 and 6; I5): a hit reflects the position that its reader asks for, and the one that
//!   it claims; a fill's position never makes good what it hasn't seen; those of places in the log never go back.
//! - **loader**: nobody is told that somebody else loads unless somebody does, whose value would be taken, for 10 s.
//! - **directives**, **expired**, **age**, **mixed up**: a hit is one that the request allows, that hasn't ended, of its own
//!   key. A value that came from another cache with an age is as old as it says, and doesn't outlive the original.
//! - A batch is read at one instant: each of its answers is judged by what has been applied when the last key was read, and
//!   whatever can get in between two keys does.
//! - **recovery**, **quiet** (I2): when all faults have ended, every cache takes fills and serves them, and every hit equals
//!   the database.
//! - **bound** (I7): no memory holds more than it has room for. In one of four runs some have room for next to nothing:
//!   rows share slots, commits, transactions and loaders are forgotten, and the books overflow. All other rules hold
//!   there as everywhere: what is forgotten costs misses, refused fills and epochs, which no rule forbids.
//!
//! In one of seven runs a REST service is read through. It changes, answers late and fails; what `upstream` does without the
//! network runs for real, and each fetch is three steps: it begins, the service says something, that arrives. What is stored
//! of it is served
//!
//! - **life**: at a time at which it is fresh by what the service said when it said it, or within the stale windows, and then
//!   only while it is fetched or after a fetch has failed; with the age that it has (**age**).
//! - **backwards**: not once a later fetch has stored. **deleted**: to nobody who asks after a delete if its fetch began
//!   before. **definition**: not to readers of another definition of the cache.
//! - **directives**, **mixed up**: to whom it is young enough for, and who asks for the same with the same `Accept` where it
//!   depends on that. Who takes only what the service says now gets what was asked since.
//! - **rest: told**, **rest: recovery**: who waits for a fetch is told what it has come to; when all faults have ended, what
//!   is stored is what there is.
//!
//! In one of twelve runs there are views over the rows of caches that start warm. Debezium then tells of its snapshots, the
//! first one and those that are asked for, of which any entry may be lost and which may be cut off. What a view shows is
//!
//! - **view**: the top of its table as it was after some commit, never with half a transaction, and only when a snapshot was
//!   read that this definition of its cache has heard, and that isn't from before an entry that can't be read
//!   (**definition**, **unreadable**, **starting**).
//! - **stale**, **lost**, **not the newest rows**, **behind**, **position**: as of a hit, of the changes that it misses. A
//!   change that was read counts when its transaction has ended, and, if a heartbeat before it hasn't come, when the next has.
//! - **recovery**: when all faults have ended, a snapshot makes every view whole.
//!
//! In one of eleven runs somebody tells of changes that are committed, before Debezium does: what a value of the row, or of the
//! table, doesn't show of them counts as applied from then on, and no later event of Debezium's brings it back (**fenced**,
//! **hold-off**, **not the newest image**).
//!
//! In one of thirteen others they number what they say, and some of it is lost, or nobody can read it. What they told of counts
//! as applied when the first message of the same publisher with a later number is, and from what nobody can read on: until then,
//! and only then, values may miss it for as long as they may miss what nobody told of. What they have said before the streams
//! had positions, or another process began, is nobody's. And caches are defined anew all the time, which ends no promise.
//!
//! What arrives out of order within a batch of entries is excused from **stale** until it arrives: no more can be known of it.

mod account;
mod batches;
mod checker;
mod clients;
mod database;
mod debezium;
mod follower;
mod kinds;
mod loaders;
mod losses;
mod outside;
mod publishers;
mod redis;
mod rest;
mod setting;
mod shelf;
mod shrink;
mod sink;
mod snapshots;
mod step;
mod tally;
mod tests;
mod variations;
mod views;
mod world;

/// `readLag` of the binding, in milliseconds: how far reads of the database lag behind commits, at most.
const READ_LAG: u64 = 1000;
/// `clockSkew` of the binding, in milliseconds: how far the database's clock is off, at most.
const SKEW: u64 = 1000;
/// `maxStaleness` of the binding, in milliseconds.
const MAX_STALENESS: u64 = 1500;
/// `serveStaleFor` of the binding, in milliseconds.
const SERVE_STALE: u64 = 3000;
/// The continuity period in milliseconds.
const CONTINUITY: u64 = 2000;
/// Milliseconds within which each answer is taken, from the one before on, where Redis is called prompt.
const PROMPT: u64 = 250;
/// Milliseconds of running time until a loss is noticed, at most, where Redis is prompt and each answer reaches the
/// streams' ends: a check is due one second after the last one was taken, and four answers take [`PROMPT`] at most: the
/// last check's, which the loss may just have missed; that of the read that was sent before the next was due; that of
/// a survey of streams that are new; and the check's own. (A real read waits up to one second, but then only where
/// nothing is added, and the check follows at once: two seconds and what Redis takes to answer.)
const LOSS: u64 = 1000 + 4 * PROMPT;
/// Likewise where it isn't, from the last answer that was late or didn't reach the streams' ends: a check is sent at the
/// latest one second after the last one was answered, behind a read that waits at most one second, and each answer can
/// take two.
const LOSS_DELAYED: u64 = 6000;
