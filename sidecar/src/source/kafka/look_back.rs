//! A partition's newest records, newest first: brokers read logs forwards only.

use std::{sync::PoisonError, time::Duration};

use freshet_connect::kafka::{Cursor, KafkaError, Outcome};

use super::{Connection, incarnation, record::record, rounds::BYTES};
use crate::{record::Record, source::transport::ReadError};

/// So many records before this offset. A step is as many offsets as records are missing still, and twice as many where that
/// brought none: some have no record.
pub(super) async fn look_back(
    connection: &mut Connection,
    stream: &str,
    end: i64,
    count: usize,
) -> Result<Vec<Record>, ReadError> {
    let start = connection.logs.get(stream).map_or(0, |log| log.start);
    let (mut newest_first, mut before, mut step) = (Vec::new(), end, count);
    while newest_first.len() < count && before > start {
        let from = before.saturating_sub(i64::try_from(step).unwrap_or(i64::MAX)).max(start);
        let Some(found) = forwards(connection, stream, from, before).await? else { break };
        step = if found.is_empty() { step.saturating_mul(2) } else { count - newest_first.len() };
        newest_first.extend(found.into_iter().rev());
        before = from;
    }
    newest_first.truncate(count);
    Ok(newest_first)
}

/// The records from one offset up to another one; `None` if they are there no more.
async fn forwards(
    connection: &mut Connection,
    stream: &str,
    from: i64,
    before: i64,
) -> Result<Option<Vec<Record>>, ReadError> {
    let Some(of) = connection.partition(stream) else { return Ok(None) };
    let (mut records, mut offset, mut epoch) = (Vec::new(), from, None);
    while offset < before {
        let cursor = Cursor { of: of.clone(), offset, last_epoch: epoch };
        // One by one, since what else is asked meanwhile may be on its way.
        for fetched in connection.client.fetch(&[cursor], Duration::ZERO, BYTES).await {
            let stretch = match fetched.outcome {
                Outcome::Ok(stretch) => stretch,
                Outcome::OutOfRange | Outcome::Diverging { .. } | Outcome::UnknownTopic => return Ok(None),
                Outcome::LeaderMoved => return Err(ReadError::failed(KafkaError::NoLeader(of.to_string()))),
                Outcome::Failed(why) => return Err(ReadError::failed(why)),
            };
            if stretch.next_offset == offset {
                // Nothing is stable behind it.
                return Ok(Some(records));
            }
            records.extend(stretch.records.iter().filter(|one| one.offset < before).map(record));
            let last = stretch.records.iter().rev().find(|one| one.offset < before);
            epoch = if stretch.next_offset <= before {
                stretch.last_epoch
            } else {
                last.and_then(|last| last.leader_epoch)
            };
            offset = stretch.next_offset;
        }
    }
    // Who wrote what stands where reading will begin.
    let mut witness = connection.witness.lock().unwrap_or_else(PoisonError::into_inner);
    if epoch.is_some() && connection.logs.get(stream).is_some_and(|log| log.end == before) {
        witness.note(stream, incarnation(&of), before, epoch);
    }
    Ok(Some(records))
}
