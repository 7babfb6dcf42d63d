//! One question to every leader, and what its answers mean.

use std::sync::{Arc, PoisonError};

use freshet_connect::kafka::{Cursor, End, Fetched, KafkaError, Outcome, TopicPartition};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Connection, REPLY, incarnation,
    progress::{Log, Progress},
};
use crate::{
    continuity::Break,
    source::transport::{ReadError, within},
};

/// How many bytes a broker may send at once, compressed as its producers have it: what they stand for may be fifty times as
/// much.
pub(super) const BYTES: u32 = 1 << 20;

impl Connection {
    /// Asks those that have not answered yet, and takes what comes of it, at the latest at `limit`; whether any has answered.
    /// Brokers answer when they have records, at the latest at `until`.
    pub(super) async fn round(
        &mut self,
        parts: &mut [Progress<'_>],
        began: Instant,
        until: Instant,
        limit: Instant,
    ) -> Result<bool, ReadError> {
        let now = Instant::now();
        if self.doubts.release(now) {
            self.learn().await?;
        }
        let asks = |part: &&Progress<'_>| !part.is_answered && !self.doubts.holds(part.stream);
        let cursors: Vec<_> = parts.iter().filter(asks).filter_map(|part| self.cursor(part)).collect();
        let limit = self.doubts.next().map_or(limit, |retry| retry.min(limit));
        let wait = until.saturating_duration_since(now);
        let fetched = if cursors.is_empty() {
            sleep_until(limit.min(until.max(now))).await;
            Vec::new()
        } else {
            timeout_at(limit, self.client.fetch(&cursors, wait, BYTES)).await.unwrap_or_default()
        };
        let mut has_come = false;
        for one in fetched {
            has_come |= self.take(one, parts, began).await?;
        }
        match self.doubts.of_all(parts.iter().map(|part| part.stream)) {
            Some(why) => Err(ReadError::failed(why)),
            None => Ok(has_come),
        }
    }

    /// Takes one answer; whether it is one of the log.
    async fn take(
        &mut self,
        Fetched { cursor, outcome, asked }: Fetched,
        parts: &mut [Progress<'_>],
        began: Instant,
    ) -> Result<bool, ReadError> {
        let is_its = |part: &&mut Progress<'_>| is_stream_of(part.stream, &cursor);
        let Some(part) = parts.iter_mut().find(is_its) else { return Ok(false) };
        let stream = part.stream;
        match outcome {
            Outcome::Ok(stretch) => {
                self.doubts.clear(stream);
                let log = Log { start: stretch.log_start_offset, end: stretch.last_stable_offset };
                self.logs.insert(stream.to_owned(), log);
                part.take(&stretch, asked, began);
                return Ok(true);
            }
            Outcome::Diverging { end_offset, .. } => {
                let text = format!(
                    "{}: what was read up to offset {} was lost by an election of its leader, from {end_offset} on",
                    cursor.of, cursor.offset
                );
                return Err(self.lost(stream, &cursor.of, Break::IdWentBack, text));
            }
            Outcome::OutOfRange => return Err(self.out_of_range(stream, cursor).await),
            Outcome::UnknownTopic => self.doubt(stream, KafkaError::UnknownTopic(cursor.of.to_string()))?,
            Outcome::LeaderMoved => self.doubt(stream, KafkaError::NoLeader(cursor.of.to_string()))?,
            Outcome::Failed(why) => self.doubt(stream, why)?,
        }
        Ok(false)
    }

    fn doubt(&mut self, stream: &str, why: KafkaError) -> Result<(), ReadError> {
        self.doubts.add(stream, why, Instant::now()).map_err(ReadError::failed)
    }

    /// Nothing is known any more of what comes behind a cursor. Where what was read is another topic's, that is why.
    fn lost(&self, stream: &str, of: &TopicPartition, why: Break, text: String) -> ReadError {
        let mut witness = self.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = self.client.cluster().unwrap_or_default();
        let (why, text) = match witness.is_of_other(cluster, stream, incarnation(of)) {
            None => (why, text),
            Some(other) => (other, format!("{of} isn't the one that was read: it was made anew")),
        };
        witness.forget(stream);
        ReadError::Lost { why, text }
    }

    /// Whether a log begins behind a cursor or ends before it.
    async fn out_of_range(&mut self, stream: &str, cursor: Cursor) -> ReadError {
        let Cursor { of, offset, .. } = cursor;
        let asked = async {
            let starts = self.client.offsets(std::slice::from_ref(&of), End::Earliest).await;
            let start =
                starts.into_iter().next().unwrap_or_else(|| Err(KafkaError::NoLeader(of.to_string())));
            start.map_err(ReadError::failed)
        };
        let begins = match within(REPLY, asked).await {
            Err(error) => return error,
            Ok(start) => start.offset,
        };
        let (why, text) = if begins > offset {
            let text =
                format!("{of}: offset {offset} was deleted before it was read: the log begins with {begins}");
            (Break::EntriesMissed, text)
        } else {
            (Break::IdWentBack, format!("{of}: the log ends before offset {offset}, up to which it was read"))
        };
        self.lost(stream, &of, why, text)
    }

    /// Asks who leads the partitions now. Whether topics came, went or were made anew is for the next check to say, which
    /// compares them before anything of theirs is read.
    async fn learn(&mut self) -> Result<(), ReadError> {
        let names: Vec<_> = self.topics.values().map(|topic| Arc::clone(&topic.name)).collect();
        let told = within(2 * REPLY, async { self.client.topics(&names).await.map_err(ReadError::failed) });
        for told in told.await?.into_iter().filter_map(|topic| topic.ok().flatten()) {
            let Some(known) = self.topics.get_mut(&*told.name).filter(|known| known.id == told.id) else {
                continue;
            };
            for partition in &mut known.partitions {
                if let Some(now) = told.partitions.iter().find(|one| one.number == partition.number) {
                    *partition = *now;
                }
            }
        }
        Ok(())
    }

    /// Lets leaders that are new say how far their logs are stable: until then an end is none.
    pub(super) async fn let_leaders_vouch(&mut self, parts: &mut [Progress<'_>]) -> Result<(), ReadError> {
        let is_new = |part: &&mut Progress<'_>| part.is_at_end && !self.is_vouched(part.stream);
        let mut new: Vec<_> = parts.iter_mut().filter(is_new).collect();
        let of: Vec<_> = new.iter().filter_map(|part| self.partition(part.stream)).collect();
        if of.is_empty() {
            return Ok(());
        }
        let asked = async { Ok(self.client.offsets(&of, End::Latest).await) };
        let ends = within(REPLY, asked).await?;
        for ((part, of), end) in new.iter_mut().zip(&of).zip(ends) {
            match end {
                Ok(end) => {
                    part.is_at_end = end.offset <= part.next;
                    self.vouch(part.stream, of);
                }
                Err(_) => part.is_at_end = false,
            }
        }
        Ok(())
    }
}

fn is_stream_of(stream: &str, cursor: &Cursor) -> bool {
    let number = cursor.of.partition.number;
    stream
        .rsplit_once('/')
        .is_some_and(|(topic, part)| topic == &*cursor.of.topic && part.parse() == Ok(number))
}
