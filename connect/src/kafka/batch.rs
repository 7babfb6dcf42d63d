//! What a partition's part of a fetch holds: batches, some of them aborted, some of them control, the last cut off.
//!
//! Pure. The header of a batch is read here and not by the codec, which drops a batch's last offset: where the
//! compactor, or a transaction's end, left nothing behind it, that is the only sign of how far the log was read.

use std::collections::HashSet;

use bytes::{Buf as _, Bytes, TryGetError};

use super::{
    compression::decompress,
    record::{Batch, Record},
};

/// The bytes before a batch's own length is over, and its length field's end.
const PREFIX: usize = 12;
/// From the batch's begin to its checksum's end, which is where what it covers begins.
const CHECKED_FROM: usize = 21;

/// A transaction that was aborted: its producer, and its first offset in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer: i64,
    pub(super) first_offset: i64,
}

/// What was read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) records: Vec<Record>,
    pub(super) next_offset: i64,
    /// The leader epoch of the last batch before `next_offset`, if there was one.
    pub(super) last_epoch: Option<i32>,
}

struct Header {
    batch: Batch,
    last_offset: i64,
    codec: i16,
    transactional: bool,
    control: bool,
    producer: i64,
    count: i32,
}

/// Reads the records from offset `from` on, as a consumer sees them that reads committed ones only. An error only
/// where nothing could be read before it; else the next fetch will meet it.
pub(super) fn read(mut bytes: Bytes, from: i64, mut aborted: Vec<Aborted>) -> Result<Read, &'static str> {
    aborted.sort_by_key(|one| one.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut aborting = HashSet::new();
    let mut read = Read { records: Vec::new(), next_offset: from, last_epoch: None };
    while let Some(whole) = next(&mut bytes) {
        let kept = read.records.len();
        let one = whole.and_then(|whole| {
            let (header, payload) = Header::read(&whole)?;
            while let Some(one) = aborted.next_if(|one| one.first_offset <= header.last_offset) {
                aborting.insert(one.producer);
            }
            if header.control {
                if header.is_abort(payload)? {
                    aborting.remove(&header.producer);
                }
            } else if !(header.transactional && aborting.contains(&header.producer)) {
                header.records(payload, from, &mut read.records)?;
            }
            Ok(header)
        });
        match one {
            // A broker begins with the batch that has the offset, or is the first behind it. Passing over others
            // without a word could go on for ever.
            Ok(header) if header.last_offset < read.next_offset => {
                if read.next_offset == from {
                    return Err("a batch that is over before what was asked for");
                }
                read.records.truncate(kept);
                break;
            }
            Ok(header) => {
                read.next_offset = header.last_offset.saturating_add(1);
                read.last_epoch = header.batch.leader_epoch;
            }
            Err(why) if read.next_offset == from => return Err(why),
            Err(_) => {
                read.records.truncate(kept);
                break;
            }
        }
    }
    Ok(read)
}

/// The next batch, whole; `None` at the end, which may be in the middle of one.
fn next(bytes: &mut Bytes) -> Option<Result<Bytes, &'static str>> {
    let length = i32::from_be_bytes(*bytes.get(8..)?.first_chunk()?);
    let Ok(length) = usize::try_from(length) else { return Some(Err("a batch of less than no length")) };
    let whole = PREFIX.checked_add(length).filter(|whole| *whole <= bytes.len())?;
    Some(Ok(bytes.split_to(whole)))
}

// === impl Header ===

impl Header {
    /// A batch's header, and what is behind it.
    fn read(whole: &Bytes) -> Result<(Self, Bytes), &'static str> {
        match whole.get(16) {
            Some(2) => {}
            Some(0 | 1) => return Err("records in the format before Kafka 0.11"),
            _ => return Err("records in an unknown format"),
        }
        let (header, checksum, payload) =
            Self::fields(whole.clone()).map_err(|_| "a batch that is cut off")?;
        if crc32c::crc32c(&whole[CHECKED_FROM..]) != checksum {
            return Err("a batch that was damaged on its way or in its log: its checksum is wrong");
        }
        Ok((header, payload))
    }

    fn fields(mut bytes: Bytes) -> Result<(Self, u32, Bytes), TryGetError> {
        let base_offset = bytes.try_get_i64()?;
        let _length = bytes.try_get_i32()?;
        let epoch = bytes.try_get_i32()?;
        let _format = bytes.try_get_u8()?;
        let checksum = bytes.try_get_u32()?;
        let attributes = bytes.try_get_i16()?;
        let last = bytes.try_get_i32()?;
        let base_timestamp = bytes.try_get_i64()?;
        let newest_timestamp = bytes.try_get_i64()?;
        let producer = bytes.try_get_i64()?;
        let _producer_epoch = bytes.try_get_i16()?;
        let _sequence = bytes.try_get_i32()?;
        let count = bytes.try_get_i32()?;
        let header = Self {
            batch: Batch {
                base_offset,
                base_timestamp,
                append_time: (attributes & 0b1000 != 0).then_some(newest_timestamp),
                leader_epoch: Some(epoch).filter(|epoch| *epoch >= 0),
            },
            last_offset: base_offset.saturating_add(i64::from(last)),
            codec: attributes & 0b111,
            transactional: attributes & 0b1_0000 != 0,
            control: attributes & 0b10_0000 != 0,
            producer,
            count,
        };
        Ok((header, checksum, bytes))
    }

    /// Whether a control batch ends a transaction as if it had never been.
    fn is_abort(&self, payload: Bytes) -> Result<bool, &'static str> {
        let mut payload = decompress(self.codec, payload)?;
        if self.count == 0 {
            // The compactor has taken it away.
            return Ok(false);
        }
        let key = Record::read(&mut payload, &self.batch)?.key;
        // A version, then a type: 0 abort, 1 commit, others for the brokers among each other.
        Ok(key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])))
    }

    fn records(&self, payload: Bytes, from: i64, records: &mut Vec<Record>) -> Result<(), &'static str> {
        let mut payload = decompress(self.codec, payload)?;
        for _ in 0..self.count {
            let record = Record::read(&mut payload, &self.batch)?;
            if record.offset >= from {
                records.push(record);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
