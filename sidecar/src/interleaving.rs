//! Threads over the engine at once, to show that no order in which they take turns makes it break a promise.
//!
//! The simulator shows it for every order of events; this, for every order of the steps within them. One source's
//! follower, a database's writer, applications' readers and the binding's reloader do what they do in the product, to the
//! real `Engine`, by the real `waiting::get`, and keep a [`ledger`] of what has happened for certain: what was committed
//! before a read began, which voids had returned. It is asked at every answer:
//!
//! - **stale**: no hit shows less than the last change whose void had returned when the read began.
//! - **fenced**: nothing that was filled under a lease from before a void is read once that void has returned: a row's, a
//!   whole cache's, a deletion's, an epoch's, a definition's.
//! - **backwards**: no hit shows less than another did that was answered before the read began.
//! - **position**: a hit shows all that was committed up to the position that it carries.
//! - **min-position**: a hit shows all that was committed up to the position that the reader asked for.
//! - **winners**: of the readers of a row one is told to load it.
//! - **deadlock**: whoever waits is woken. Time stands still, so that no deadline hides it.
//!
//! Twice: by shuttle, over a plain map, at every use of a primitive of `sync` and of the map; and by real threads, over
//! moka. What is hidden from shuttle is that of the primitives themselves: it takes all atomics for sequentially
//! consistent.

mod acts;
mod ledger;
mod shelf;
mod tests;
mod threads;
mod world;

/// The caches: of rows, of rows with their images, and of what depends on a whole table.
const CACHES: [&str; 3] = ["rows", "images", "pages"];
/// Keys of each cache, named by their numbers from one.
const KEYS: usize = 2;
/// A cache's key: its cache's index times [`KEYS`] and its own.
const PLACES: usize = CACHES.len() * KEYS;
/// The cache that hydrates.
const IMAGES: usize = 1;
/// The cache whose values depend on the whole table.
const PAGES: usize = 2;

/// Bytes of the log per write.
const LSN: u64 = 16;
/// The wall clock at the database's beginning, and milliseconds per write: more than clocks differ.
const WALL: (u64, u64) = (1_000_000_000, 10_000);
