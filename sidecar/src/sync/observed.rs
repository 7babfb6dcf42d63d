//! The primitives with a point before each use.

use std::sync::{Arc, LockResult, MutexGuard, TryLockError, atomic};

use arc_swap::Guard;
use atomic::Ordering;
use tokio::sync::futures::Notified;

use super::schedule::{Schedule, point};

#[derive(Debug, Default)]
pub struct AtomicBool(atomic::AtomicBool);

#[derive(Debug, Default)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

#[derive(Debug, Default)]
pub(crate) struct AtomicUsize(atomic::AtomicUsize);

#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

#[derive(Debug)]
pub(crate) struct ArcSwap<T>(arc_swap::ArcSwap<T>);

#[derive(Debug)]
pub(crate) struct ArcSwapOption<T>(arc_swap::ArcSwapOption<T>);

#[derive(Debug)]
pub(crate) struct Notify(tokio::sync::Notify);

impl AtomicBool {
    pub(crate) const fn new(value: bool) -> Self {
        Self(atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> bool {
        point();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: bool, order: Ordering) {
        point();
        self.0.store(value, order);
    }

    pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
        point();
        self.0.swap(value, order)
    }
}

impl AtomicU64 {
    pub(crate) fn load(&self, order: Ordering) -> u64 {
        point();
        self.0.load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        point();
        self.0.store(value, order);
    }
}

impl AtomicUsize {
    pub(crate) const fn new(value: usize) -> Self {
        Self(atomic::AtomicUsize::new(value))
    }

    pub(crate) fn load(&self, order: Ordering) -> usize {
        point();
        self.0.load(order)
    }

    pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        point();
        self.0.fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        point();
        self.0.fetch_sub(value, order)
    }
}

impl<T> Mutex<T> {
    /// Whether it is held, by this thread or another.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
    }

    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        point();
        if Schedule::current() != Schedule::Shuttle {
            return self.0.lock();
        }
        loop {
            match self.0.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(error)) => return Err(error),
                // Whoever holds it is another of shuttle's threads, on this one of the operating system's.
                Err(TryLockError::WouldBlock) => shuttle::thread::yield_now(),
            }
        }
    }
}

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        Self(arc_swap::ArcSwap::from_pointee(value))
    }

    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        point();
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        point();
        self.0.load_full()
    }

    pub(crate) fn swap(&self, value: Arc<T>) -> Arc<T> {
        point();
        self.0.swap(value)
    }
}

impl<T> ArcSwapOption<T> {
    pub(crate) const fn empty() -> Self {
        Self(arc_swap::ArcSwapOption::const_empty())
    }

    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        point();
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Option<Arc<T>> {
        point();
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        point();
        self.0.store(value);
    }
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::Notify::new())
    }

    pub(crate) fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}
