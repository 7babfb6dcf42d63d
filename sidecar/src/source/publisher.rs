//! Writes what is published through this sidecar to its source, on whatever transport: one request after the other.
//!
//! There is a connection from the first message to the bye. Each attempt ends within a moment, so that a request has its answer
//! soon after its time is up; one whose outcome isn't known then is written again until the source has answered.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use super::{
    CONNECT,
    transport::{Outlet, WriteError, Writer},
};
use crate::{
    clock::{Now, Tick},
    feed::Feed,
    publishing::{Batch, Due, Order, Outbox, Outcome, Receipt, Says},
};

/// How long the source may take to say that it has what was written, and how much longer for each message.
const ANSWER: Duration = Duration::from_secs(2);
const EACH: Duration = Duration::from_millis(5);
/// How much longer for each MiB.
const EACH_MIB: Duration = Duration::from_secs(1);
/// The pauses between attempts while somebody waits, doubling from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long the last words may take, connecting included.
const FAREWELL: Duration = Duration::from_secs(2);

/// A source's publisher.
pub(super) struct Publisher<O: Outlet> {
    feed: Arc<Feed>,
    outlet: O,
    outbox: Outbox,
    writer: Option<O::Writer>,
}

impl<O: Outlet> Publisher<O> {
    pub(super) fn new(feed: Arc<Feed>, outlet: O) -> Self {
        Self { feed, outlet, outbox: Outbox::default(), writer: None }
    }

    /// Writes until the desk is closed, and then says bye.
    pub(super) async fn run(mut self) {
        let feed = Arc::clone(&self.feed);
        let desk = &feed.publishing;
        let mut orders = desk.take().await;
        loop {
            let due = self.outbox.due();
            let until_due = async {
                match due {
                    Some((at, due)) => {
                        tokio::time::sleep(at.since(Tick::now())).await;
                        due
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = desk.closed() => break,
                Some(order) = orders.recv() => self.serve(order).await,
                due = until_due => self.act(due).await,
            }
        }
        let last_words = async {
            // Those who wait are told, rather than left alone.
            while let Ok(order) = orders.try_recv() {
                let _ = order.reply.send(Outcome::Unavailable("the sidecar is stopping".to_owned()));
            }
            if self.settle().await.is_ok() {
                self.act(Due::Bye).await;
            }
        };
        if timeout(FAREWELL, last_words).await.is_err() {
            debug!("no time to say bye");
        }
        desk.end();
    }

    /// Does what a request asks for, and answers it.
    async fn serve(&mut self, order: Order) {
        let Order { says, skew, until, reply, room: _room } = order;
        if reply.is_closed() {
            return;
        }
        let (began, count) = (Instant::now(), says.len() as u64);
        let outcome = self.publish(says, skew, until).await;
        let stats = &self.feed.publishing.stats;
        let (counter, error) = match &outcome {
            Outcome::Written(_) => (&stats.written, None),
            Outcome::Unavailable(why) | Outcome::Refused(why) | Outcome::Partly(why) => {
                (&stats.failed, Some(why))
            }
            Outcome::Unknown(why) => (&stats.unknown, Some(why)),
        };
        counter.fetch_add(count, Ordering::Relaxed);
        if error.is_none() {
            stats.durations.count(began.elapsed());
        }
        self.tell(error);
        // Whoever has asked may have gone.
        let _ = reply.send(outcome);
    }

    async fn publish(&mut self, says: Vec<Says>, skew: Duration, until: Tick) -> Outcome {
        if Tick::now() >= until {
            return Outcome::Unavailable("others before it took all of its time".to_owned());
        }
        if let Err(error) = self.settle().await {
            return Outcome::Unavailable(format!("what became of earlier messages isn't known yet: {error}"));
        }
        let mut says = says;
        let mut batch = loop {
            let heard = self.feed.publishing.heard_ms();
            match self.outbox.number(says.clone(), Now::read(), heard, skew) {
                Ok(batch) => break batch,
                Err(early) => tokio::time::sleep(early).await,
            }
        };
        says.clear();
        let first = &batch.envelopes()[0];
        let (publisher, start_ms) = (first.publisher.to_string(), first.start_ms);
        let applied = self.feed.publishing.expect(&batch);
        let mut pause = PAUSES.0;
        let (mut was_in_doubt, mut is_fresh) = (false, false);
        loop {
            let had_writer = self.writer.is_some();
            let tried = self.write(&mut batch).await;
            let error = match tried {
                Ok(()) => {
                    let sequence = *batch.sequences().end();
                    return Outcome::Written(Receipt { publisher, sequence, start_ms, applied });
                }
                Err(error) => error,
            };
            match error {
                // A connection that was left alone for a while may be gone.
                WriteError::Unavailable(_) if !was_in_doubt && had_writer && !is_fresh => is_fresh = true,
                WriteError::Unavailable(why) if !was_in_doubt => return Outcome::Unavailable(why),
                WriteError::Refused(why) if !was_in_doubt => return Outcome::Refused(why),
                WriteError::Refused(why) | WriteError::Partly(why) => {
                    // Nobody can say which of the numbers are used.
                    self.outbox.give_up();
                    return Outcome::Partly(why);
                }
                WriteError::Unknown(why) | WriteError::Unavailable(why) => {
                    was_in_doubt = true;
                    self.outbox.unknown(batch.clone(), Tick::now());
                    if Tick::now() + pause >= until {
                        return Outcome::Unknown(why);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Writes once more what may have been written; `Err`: of some of it, it still isn't known.
    async fn settle(&mut self) -> Result<(), WriteError> {
        let Some(mut batch) = self.outbox.in_doubt() else { return Ok(()) };
        match self.write(&mut batch).await {
            Ok(()) => {
                self.tell(None);
                Ok(())
            }
            Err(WriteError::Refused(why) | WriteError::Partly(why)) => {
                warn!(why, "what may have been published isn't taken any more: given up");
                self.outbox.lose();
                Ok(())
            }
            Err(error) => {
                self.outbox.unknown(batch, Tick::now());
                Err(error)
            }
        }
    }

    /// Does what is due while nobody has anything to say.
    async fn act(&mut self, due: Due) {
        let says = match due {
            Due::Again => {
                if let Err(error) = self.settle().await {
                    self.tell(Some(&error.to_string()));
                }
                return;
            }
            Due::Beat => Says::Beat,
            Due::Bye => Says::Bye,
        };
        let Some(mut notice) = self.outbox.notice(says) else { return };
        match self.write(&mut notice).await {
            Ok(()) => {}
            Err(WriteError::Unknown(_)) => self.outbox.unknown(notice, Tick::now()),
            Err(_) => self.outbox.unheard(&notice, Tick::now()),
        }
        if due == Due::Bye {
            self.writer = None;
        }
    }

    /// Tries once to write what is left of a batch; `Err`: of all of it. What the source is known to have now isn't left any more.
    async fn write(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        let mut done = 0;
        let tried = self.attempt(batch, &mut done).await;
        if let Err(error) = tried
            && done < batch.envelopes().len()
        {
            batch.advance(done);
            return Err(in_all(error, batch));
        }
        self.outbox.written(batch, Tick::now());
        Ok(())
    }

    /// The attempt; `done` outlives its time.
    async fn attempt(&mut self, batch: &Batch, done: &mut usize) -> Result<(), WriteError> {
        let mut writer = match self.writer.take().filter(Writer::is_open) {
            Some(writer) => writer,
            None => timeout(CONNECT, self.outlet.open())
                .await
                .unwrap_or_else(|_| Err(WriteError::Unavailable("no connection in time".to_owned())))?,
        };
        let count = u32::try_from(batch.envelopes().len()).unwrap_or(u32::MAX);
        let size = u32::try_from(batch.size() >> 20).unwrap_or(u32::MAX);
        let limit = ANSWER + EACH * count + EACH_MIB.saturating_mul(size);
        let written = timeout(limit, writer.write(batch.envelopes(), done)).await;
        written.unwrap_or_else(|_| Err(WriteError::Unknown("no answer in time".to_owned())))?;
        // What has failed is left: whatever comes late on it is nobody's.
        self.writer = Some(writer);
        Ok(())
    }

    /// Says in status why nothing is written, and in the log once.
    fn tell(&self, error: Option<&String>) {
        let known = self.feed.publishing.fail(error.cloned());
        if let Some(error) = error
            && known.as_ref() != Some(error)
        {
            warn!(error, "publishing fails");
        }
    }
}

/// What an error that is about the rest of a batch says of all of it.
fn in_all(error: WriteError, batch: &Batch) -> WriteError {
    match (batch.progress(), error) {
        ((1.., _), WriteError::Unavailable(why)) => WriteError::Unknown(why),
        ((done @ 1.., of), WriteError::Refused(why)) => {
            WriteError::Partly(format!("it has at least the first {done} of {of}: {why}"))
        }
        (_, error) => error,
    }
}

#[cfg(test)]
mod tests;
