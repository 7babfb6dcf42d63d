//! Where requests to publish wait for whoever writes to the source, and where it is noticed that what was written has come back.

use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::{mpsc, oneshot, watch};

use super::{Batch, Says};
use crate::{
    clock::Tick,
    histogram::Histogram,
    publication::{Publication, Stamp, publisher},
};

/// Most requests that wait for their turn.
pub const ORDERS: usize = 64;

const DURATIONS: &[Duration] = &[
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
];

/// A request to publish.
#[derive(Debug)]
pub struct Order {
    /// What is to be said, in this order; at least one thing.
    pub says: Vec<Says>,
    /// How far ahead of its receivers' clocks a start may be.
    pub skew: Duration,
    /// Until when it may be begun, and an outcome be waited for.
    pub until: Tick,
    /// Who waits for the outcome. If nobody does any more, nothing is begun.
    pub reply: oneshot::Sender<Outcome>,
    /// What it takes of any room, given back when it has been served: whoever waits may go before that.
    pub room: Box<dyn Any + Send + Sync>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    /// All of it is written.
    Written(Receipt),
    /// Nothing is, for now: why.
    Unavailable(String),
    /// Nothing is, and the source won't take it: why.
    Refused(String),
    /// Part of it is, and the source won't take the rest: why.
    Partly(String),
    /// Nobody knows: why. It is written once more, until the source has answered.
    Unknown(String),
}

/// What was written.
#[derive(Debug)]
pub struct Receipt {
    /// By whom.
    pub publisher: String,
    /// The last of its numbers.
    pub sequence: u64,
    /// Since when it is so: milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// Told when this sidecar has applied all of it.
    pub applied: oneshot::Receiver<()>,
}

/// A source's side that requests, its writer and its follower have in common.
#[derive(Debug)]
pub struct Desk {
    /// What was counted.
    pub stats: Stats,
    orders: mpsc::Sender<Order>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<Order>>,
    /// What was written and hasn't come back.
    missing: Mutex<Vec<Missing>>,
    /// The newest start that was heard of others.
    heard_ms: AtomicU64,
    /// Who writes here.
    own: Mutex<Option<u128>>,
    closed: watch::Sender<bool>,
    /// Whether somebody writes.
    manned: AtomicBool,
    ended: watch::Sender<bool>,
    error: Mutex<Option<String>>,
}

/// What a source's publisher counts: messages, beats not among them.
#[derive(Debug)]
pub struct Stats {
    /// Those that were written.
    pub written: AtomicU64,
    /// Those that were not, and won't be.
    pub failed: AtomicU64,
    /// Those of which the application was told that nobody knows.
    pub unknown: AtomicU64,
    /// How long requests took until all was written.
    pub durations: Histogram,
}

#[derive(Debug)]
struct Missing {
    publisher: u128,
    sequences: BTreeSet<u64>,
    told: oneshot::Sender<()>,
}

impl Default for Desk {
    fn default() -> Self {
        let (orders, waiting) = mpsc::channel(ORDERS);
        let stats = Stats {
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            durations: Histogram::new(DURATIONS),
        };
        Self {
            stats,
            orders,
            waiting: tokio::sync::Mutex::new(waiting),
            missing: Mutex::default(),
            heard_ms: AtomicU64::new(0),
            own: Mutex::default(),
            closed: watch::Sender::new(false),
            manned: AtomicBool::new(false),
            ended: watch::Sender::new(false),
            error: Mutex::default(),
        }
    }
}

// === impl Desk ===

impl Desk {
    /// Puts a request on the desk; `Err`: too many wait already, or nobody will take it any more.
    pub fn put(&self, order: Order) -> Result<(), Order> {
        if *self.closed.borrow() {
            return Err(order);
        }
        self.orders.try_send(order).map_err(|error| match error {
            mpsc::error::TrySendError::Full(order) | mpsc::error::TrySendError::Closed(order) => order,
        })
    }

    /// The requests, for whoever writes: one at a time.
    pub async fn take(&self) -> tokio::sync::MutexGuard<'_, mpsc::Receiver<Order>> {
        self.manned.store(true, Ordering::Release);
        self.waiting.lock().await
    }

    /// Lets whoever writes say bye, and takes no more requests.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Waits until the desk is closed.
    pub async fn closed(&self) {
        // The sender is our own.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Notes that whoever wrote has said bye.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Waits until whoever wrote has said bye; at once where nobody did.
    pub async fn ended(&self) {
        if self.manned.load(Ordering::Acquire) {
            let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
        }
    }

    /// Waits for a batch to come back, from before it is written on.
    #[must_use]
    pub fn expect(&self, batch: &Batch) -> oneshot::Receiver<()> {
        let (told, applied) = oneshot::channel();
        let publisher = publisher(&batch.envelopes()[0].publisher).unwrap_or_default();
        *self.own() = Some(publisher);
        let mut missing = self.missing();
        // Whoever waited for those doesn't any more.
        missing.retain(|missing| !missing.told.is_closed());
        missing.push(Missing { publisher, sequences: batch.sequences().collect(), told });
        applied
    }

    /// Notes that a message was applied.
    pub fn note(&self, said: &Publication<'_>) {
        if !said.is_numbered {
            return;
        }
        let mut missing = self.missing();
        let is_it = |missing: &Missing| missing.publisher == said.stamp.publisher;
        let found = missing.iter().position(|it| is_it(it) && it.sequences.contains(&said.stamp.sequence));
        let Some(found) = found else { return };
        missing[found].sequences.remove(&said.stamp.sequence);
        if missing[found].sequences.is_empty() {
            // Nobody may wait any more.
            let _ = missing.swap_remove(found).told.send(());
        }
    }

    /// Notes what was heard: what is published from now on begins after it. What is heard of itself begins no later than
    /// what it says next, and would only drive its starts ahead.
    pub fn hear(&self, stamp: Stamp) {
        if Some(stamp.publisher) != *self.own() {
            self.heard_ms.fetch_max(stamp.start_ms, Ordering::Relaxed);
        }
    }

    /// The newest start that was heard: milliseconds since the Unix epoch, zero before the first.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    /// Notes why nothing can be written, until something was.
    pub fn fail(&self, error: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.error.lock().unwrap_or_else(PoisonError::into_inner), error)
    }

    /// Why nothing can be written, if that is so.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own(&self) -> MutexGuard<'_, Option<u128>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self) -> MutexGuard<'_, Vec<Missing>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot::error::TryRecvError;

    use super::{Desk, ORDERS, Order};
    use crate::{
        clock::{Now, Tick},
        publication::{Publication, Stamp, What, publisher},
        publishing::{Outbox, Says},
    };

    fn order() -> Order {
        let (reply, _) = tokio::sync::oneshot::channel();
        Order { says: vec![Says::Beat], skew: Duration::ZERO, until: Tick(0), reply, room: Box::new(()) }
    }

    #[test]
    fn a_full_desk_takes_no_more_and_a_closed_one_none() {
        let desk = Desk::default();
        for _ in 0..ORDERS {
            desk.put(order()).unwrap();
        }
        desk.put(order()).unwrap_err();
        let desk = Desk::default();
        desk.close();
        desk.put(order()).unwrap_err();
    }

    #[test]
    fn a_batch_is_back_when_all_of_it_has_come_in_whatever_order() {
        let desk = Desk::default();
        let now = Now { tick: Tick(0), wall_ms: 5 };
        let clear = Says::Clear { cache: "c".into() };
        let batch = Outbox::default().number(vec![clear; 3], now, 0, Duration::ZERO).unwrap();
        let mut applied = desk.expect(&batch);
        let own = publisher(&batch.envelopes()[0].publisher).unwrap();
        let note = |publisher, sequence| {
            let stamp = Stamp { start_ms: 5, publisher, sequence };
            desk.note(&Publication { cache: None, what: What::Clear, stamp, is_numbered: true });
        };
        for (publisher, sequence) in [(own, 3), (own + 1, 2), (own, 1), (own, 3), (own, 4)] {
            note(publisher, sequence);
        }
        assert_eq!(applied.try_recv(), Err(TryRecvError::Empty));
        note(own, 2);
        assert_eq!(applied.try_recv(), Ok(()));
        desk.hear(Stamp { start_ms: 7, publisher: own, sequence: 3 });
        assert_eq!(desk.heard_ms(), 0, "of itself");
        desk.hear(Stamp { start_ms: 6, publisher: 0, sequence: 0 });
        assert_eq!(desk.heard_ms(), 6);
        drop(desk.expect(&batch));
        drop(desk.expect(&batch));
        assert_eq!(desk.missing().len(), 1, "who doesn't wait any more is forgotten");
    }
}
