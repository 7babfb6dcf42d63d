//! The answers that views need: which of an upstream's keys are kept whatever the store drops, and when each is fetched.
//!
//! What is pinned changes together with what is stored, under the lock of the upstream's flights. So a view shows no
//! answer that was deleted, or that a later one has replaced.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    allowance::{Allowance, Taken},
    life::Life,
    service::PAUSE,
};
use crate::{
    clock::Tick,
    entry::Entry,
    planted::{Bug, planted},
};

/// How long it takes at most until what failed again and again is tried once more.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pinned keys of an upstream.
#[derive(Debug)]
pub struct Pins {
    keys: Mutex<HashMap<Box<str>, Pin>>,
    /// How long it takes at most until what can't be shown for long is fetched once more.
    longest: Duration,
    /// Counts the changes of what is pinned.
    version: AtomicU64,
}

/// What becomes of what is stored of a key.
#[derive(Debug)]
pub enum Put {
    /// This takes its place; it is to be fetched anew at the instant.
    Stored(Arc<Entry>, Tick),
    /// The upstream's answer must not be stored, or not for any time.
    NotStored,
    /// It was deleted.
    Deleted,
}

/// How fetching a key has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing may be asked before this instant.
    Limited(Tick),
    /// It has taken too long.
    Late,
    /// In another way.
    Other,
}

/// A key that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The key.
    pub key: Box<str>,
    /// Whether fetching it has taken too long when that was tried last.
    pub hung: bool,
}

/// A key that a view needs.
#[derive(Debug)]
struct Pin {
    held: Option<Held>,
    /// Why nothing is held, or what came of the last try to fetch it anew.
    why: Why,
    /// When it is fetched at the earliest.
    next: Tick,
    /// How many tries in a row have failed, or brought what can't be shown.
    failures: u32,
    /// Whether the last one has taken too long.
    hung: bool,
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    /// Told apart from every other content of this key.
    content: u64,
    _taken: Taken,
}

#[derive(Debug)]
enum Why {
    NotFetched,
    Deleted,
    NotStored,
    /// Of so many bytes in all, for so many.
    NoRoom(u64, u64),
    Ended,
    EndsAtOnce,
    Failed(String),
}

/// An answer that is held.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The answer, whether it may be served or not.
    pub entry: Arc<Entry>,
    /// Changes when status, type or body do.
    pub content: u64,
}

/// Why nothing is held of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// A sentence that names no value and no credential.
    pub why: String,
    /// When it is fetched next, at the earliest.
    pub next: Tick,
}

// === impl Pins ===

impl Pins {
    /// None yet, of an upstream that is asked so often where the binding says it.
    #[must_use]
    pub fn new(refresh: Option<Duration>) -> Self {
        let longest = refresh.unwrap_or(LONGEST_PAUSE).max(PAUSE);
        Self { keys: Mutex::default(), longest, version: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Pin>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often what is pinned has changed. While it is the same, so is what views show.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Pins these keys and no others. What is returned are those that weren't before.
    pub fn pin(&self, keys: &BTreeSet<&str>) -> Vec<Box<str>> {
        let mut pins = self.lock();
        pins.retain(|key, _| keys.contains(&**key));
        let new: Vec<Box<str>> =
            keys.iter().filter(|key| !pins.contains_key(**key)).map(|key| (*key).into()).collect();
        for key in &new {
            pins.insert(key.clone(), Pin::default());
        }
        self.version.fetch_add(1, Ordering::SeqCst);
        new
    }

    /// Changes what is held of a key, if it is pinned, and `store`s the same: whoever sees the one sees the other. Under the
    /// lock of the upstream's flights.
    pub fn change(
        &self,
        key: &str,
        put: Put,
        (allowance, memory): (&Allowance, u64),
        now: Tick,
        store: impl FnOnce(Option<Arc<Entry>>),
    ) {
        let entry = match &put {
            Put::Stored(entry, _) => Some(Arc::clone(entry)),
            Put::NotStored | Put::Deleted => None,
        };
        let mut pins = self.lock();
        if let Some(pin) = pins.get_mut(key)
            && put.is_for_views()
            && !(matches!(put, Put::Deleted) && planted(Bug::PinOutlivesDelete))
        {
            // First: from here on nobody takes what was pinned for what is.
            let version = self.version.fetch_add(1, Ordering::SeqCst);
            pin.change(put, version, (allowance, memory), self.longest, now);
        }
        store(entry);
        drop(pins);
    }

    /// Takes what is stored for what is held, where nothing is. Under the lock of the upstream's flights.
    pub fn adopt(&self, key: &str, entry: Arc<Entry>, due: Tick, room: (&Allowance, u64), now: Tick) {
        let mut pins = self.lock();
        let put = Put::Stored(entry, due);
        if let Some(pin) = pins.get_mut(key).filter(|pin| pin.held.is_none() && put.is_for_views()) {
            let version = self.version.fetch_add(1, Ordering::SeqCst);
            pin.change(put, version, room, self.longest, now);
        }
    }

    /// What is held of a key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<Arc<Entry>> {
        self.lock().get(key)?.held.as_ref().map(|held| Arc::clone(&held.entry))
    }

    /// Bytes of the largest answer that is held.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.lock().values().map(Pin::weight).max().unwrap_or_default()
    }

    /// Drops the largest answer that is held, because views hold more than the `most` bytes that they may; whether there was
    /// one.
    pub fn drop_largest(&self, most: u64) -> bool {
        let mut pins = self.lock();
        let held = pins.iter_mut().filter(|(_, pin)| pin.held.is_some());
        let Some((_, pin)) = held.max_by(|(a, x), (b, y)| (x.weight(), a).cmp(&(y.weight(), b))) else {
            return false;
        };
        self.version.fetch_add(1, Ordering::SeqCst);
        pin.why = Why::NoRoom(most, pin.weight());
        pin.held = None;
        true
    }

    /// Bytes of what is held of these keys.
    #[must_use]
    pub fn weight<'k>(&self, keys: impl Iterator<Item = &'k str>) -> u64 {
        let pins = self.lock();
        keys.filter_map(|key| pins.get(key)).map(Pin::weight).sum()
    }

    /// What is held of each of these keys, in their order, and the version of that.
    pub fn look<'k>(&self, keys: impl Iterator<Item = &'k str>) -> (Vec<Result<Pinned, Absent>>, u64) {
        let pins = self.lock();
        let not_yet = || Absent { why: Why::NotFetched.to_string(), next: Tick::default() };
        let found = keys.map(|key| pins.get(key).map_or_else(|| Err(not_yet()), Pin::look)).collect();
        (found, self.version.load(Ordering::SeqCst))
    }

    /// When a key is fetched next at the earliest, and what came of the last try if that has failed.
    #[must_use]
    pub fn outlook(&self, key: &str) -> Absent {
        let not_yet = || Absent { why: Why::NotFetched.to_string(), next: Tick::default() };
        self.lock().get(key).map_or_else(not_yet, |pin| Absent { why: pin.why.to_string(), next: pin.next })
    }

    /// A key that is to be fetched now, the one first that has waited longest; one that hangs only if `hung` may be. It isn't
    /// for a while after this: until then it is under way.
    #[must_use]
    pub fn due(&self, hung: bool, now: Tick) -> Option<Due> {
        let mut pins = self.lock();
        let due = pins.iter_mut().filter(|(_, pin)| pin.next <= now && (hung || !pin.hung));
        let (key, pin) = due.min_by(|(a, x), (b, y)| (x.next, a).cmp(&(y.next, b)))?;
        pin.next = now + PAUSE;
        Some(Due { key: key.clone(), hung: pin.hung })
    }

    /// Notes that fetching a key has failed, and how.
    pub fn failed(&self, key: &str, why: String, fault: Fault, now: Tick) {
        if let Some(pin) = self.lock().get_mut(key) {
            match fault {
                Fault::Limited(until) => pin.next = until,
                Fault::Late | Fault::Other => {
                    pin.put_off(LONGEST_PAUSE, now);
                    pin.hung = fault == Fault::Late;
                }
            }
            pin.why = Why::Failed(why);
        }
    }

    /// Drops what is of no use any more, and has fetched what there is room for now: so many bytes.
    pub fn tidy(&self, room: u64, now: Tick) {
        let mut pins = self.lock();
        for pin in pins.values_mut() {
            if matches!(pin.why, Why::NoRoom(_, needed) if needed <= room) {
                (pin.why, pin.next) = (Why::NotFetched, now);
            }
        }
        for pin in pins.values_mut().filter(|pin| pin.held.as_ref().is_some_and(|h| h.entry.expires <= now)) {
            self.version.fetch_add(1, Ordering::SeqCst);
            pin.held = None;
            if !matches!(pin.why, Why::Failed(_)) {
                pin.why = Why::Ended;
            }
        }
    }
}

// === impl Put ===

impl Put {
    /// What was fetched for an application's `Accept`, and may be another answer for another one, isn't what views ask for.
    fn is_for_views(&self) -> bool {
        match self {
            Self::Stored(entry, _) => entry.origin.as_ref().is_some_and(|origin| origin.answers(None)),
            Self::NotStored | Self::Deleted => true,
        }
    }
}

// === impl Pin ===

impl Default for Pin {
    fn default() -> Self {
        Self { held: None, why: Why::NotFetched, next: Tick::default(), failures: 0, hung: false }
    }
}

impl Pin {
    fn change(
        &mut self,
        put: Put,
        version: u64,
        (allowance, memory): (&Allowance, u64),
        longest: Duration,
        now: Tick,
    ) {
        let before =
            self.held.take().map(|held| (held.entry.etag.clone(), status(&held.entry), held.content));
        match put {
            Put::Stored(entry, due) => {
                let content = match before {
                    Some((etag, was, content)) if etag == entry.etag && was == status(&entry) => content,
                    _ => version,
                };
                self.hung = false;
                self.plan(entry.origin.as_ref().map(|origin| origin.life), due, longest, now);
                let weight = entry.weight();
                self.held =
                    allowance.take(weight, memory).map(|taken| Held { entry, content, _taken: taken });
                if self.held.is_none() {
                    self.why = Why::NoRoom(Allowance::most(memory), weight);
                    self.next = self.next.max(now + LONGEST_PAUSE);
                }
            }
            Put::NotStored => {
                (self.why, self.hung) = (Why::NotStored, false);
                self.put_off(longest, now);
            }
            Put::Deleted => {
                self.why = Why::Deleted;
                (self.next, self.failures) = (now, 0);
            }
        }
    }

    /// When what is held now is fetched anew, and why it isn't shown any more if it hasn't been then.
    fn plan(&mut self, life: Option<Life>, due: Tick, longest: Duration, now: Tick) {
        self.why = Why::Ended;
        let Some(life) = life.filter(Life::came_ended) else {
            (self.next, self.failures) = (due, 0);
            return;
        };
        // The next one may be younger. If it is what the upstream says of all, nothing is gained by asking all the time.
        self.put_off(longest, now);
        match life.latest() {
            Some(latest) => self.next = self.next.min(latest).max(now + PAUSE),
            None => self.why = Why::EndsAtOnce,
        }
    }

    fn put_off(&mut self, longest: Duration, now: Tick) {
        let pause = PAUSE * 2u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.next = now + pause.min(longest);
    }

    fn weight(&self) -> u64 {
        self.held.as_ref().map_or(0, |held| held.entry.weight())
    }

    fn look(&self) -> Result<Pinned, Absent> {
        match &self.held {
            Some(held) => Ok(Pinned { entry: Arc::clone(&held.entry), content: held.content }),
            None => Err(Absent { why: self.why.to_string(), next: self.next }),
        }
    }
}

fn status(entry: &Entry) -> u16 {
    entry.origin.as_ref().map_or(0, |origin| origin.status)
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFetched => f.write_str("it hasn't been fetched yet"),
            Self::Deleted => f.write_str("it was deleted, and hasn't been fetched since"),
            Self::NotStored => {
                f.write_str("the upstream forbids that its answer is stored, or it ends at once")
            }
            Self::NoRoom(most, _) => write!(
                f,
                "views hold at most {most} bytes, a quarter of the binding's memory, and its answer doesn't fit: raise memory, or \
                 ask for less"
            ),
            Self::Ended => f.write_str("its answer has ended, and hasn't been fetched anew yet"),
            Self::EndsAtOnce => f.write_str(
                "its answer ends as soon as it comes, and is shown only with staleWhileRevalidate, which no-cache and \
                 must-revalidate forbid",
            ),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests;
