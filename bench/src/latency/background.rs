//! Changes of rows that nobody asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::database::{BACKGROUND, BACKGROUND_ROWS, Session};

/// A thread that writes.
pub(super) struct Background {
    over: Arc<AtomicBool>,
    writer: JoinHandle<Result<f64>>,
}

impl Background {
    /// Commits so many transactions a second, or as many as the database takes.
    pub(super) fn start(mut session: Session, rate: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let writer = thread::spawn(move || {
            let (start, mut made) = (Instant::now(), 0_u32);
            while !ended.load(Ordering::Acquire) {
                let due = start + Duration::from_secs(1) / rate.max(1) * made;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let id = BACKGROUND + made as usize % BACKGROUND_ROWS;
                session.change(id, &format!("background {made}"))?;
                made += 1;
            }
            Ok(f64::from(made) / start.elapsed().as_secs_f64())
        });
        Self { over, writer }
    }

    /// Ends it, and tells how many it has made a second.
    pub(super) fn end(self) -> Result<f64> {
        self.over.store(true, Ordering::Release);
        self.writer.join().map_err(|_| anyhow!("the background's thread panicked"))?
    }
}
