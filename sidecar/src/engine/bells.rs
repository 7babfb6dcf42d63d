//! Who waits for somebody else's load.

use std::sync::atomic::Ordering;

use tokio::sync::futures::Notified;

use crate::{
    coherence::RowHash,
    sync::{AtomicUsize, Notify},
};

/// Rows that share a bell only wake each other's readers for nothing.
const BELLS: usize = 256;

/// Rung when a row's load has ended, one way or the other.
#[derive(Debug)]
pub(super) struct Bells {
    bells: Box<[Notify]>,
    /// Readers that listen: without any, nothing is rung.
    listening: AtomicUsize,
}

/// A reader that listens for a row's bell.
#[derive(Debug)]
pub struct Listening<'a> {
    bells: &'a Bells,
    bell: &'a Notify,
}

impl Default for Bells {
    fn default() -> Self {
        Self { bells: (0..BELLS).map(|_| Notify::new()).collect(), listening: AtomicUsize::new(0) }
    }
}

impl Bells {
    pub(super) fn ring(&self, row: RowHash) {
        // Whoever begins to listen later asks again after that, and finds what was done before this.
        if self.listening.load(Ordering::SeqCst) > 0 {
            self.of(row).notify_waiters();
        }
    }

    pub(super) fn ring_all(&self) {
        if self.listening.load(Ordering::SeqCst) > 0 {
            self.bells.iter().for_each(Notify::notify_waiters);
        }
    }

    pub(super) fn listen(&self, row: RowHash) -> Listening<'_> {
        self.listening.fetch_add(1, Ordering::SeqCst);
        Listening { bells: self, bell: self.of(row) }
    }

    fn of(&self, row: RowHash) -> &Notify {
        &self.bells[usize::try_from(row.0 % BELLS as u64).unwrap_or(0)]
    }
}

impl<'a> Listening<'a> {
    /// The next ring. It counts from the moment this is called.
    pub fn ring(&self) -> Notified<'a> {
        self.bell.notified()
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.bells.listening.fetch_sub(1, Ordering::SeqCst);
    }
}
