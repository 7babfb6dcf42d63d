//! One record, as it lies in a batch of format 2.
//!
//! Read here and not by the codec, whose reader drops all but one of several headers of a name, refuses names that
//! aren't UTF-8, and allocates by what the bytes claim: one record that anybody wrote would stop a reader for good.

use bytes::{Buf as _, Bytes};

/// A record of a partition. Its bytes are parts of what the broker sent, all of which stays in memory with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition; offsets rise, with gaps.
    pub offset: i64,
    /// When it was made, or, if the topic is set so, appended; Unix time in milliseconds, -1 if nobody said.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers in their order; names may repeat.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Under which leader it was appended; rises with every election. `None` where the broker doesn't know.
    pub leader_epoch: Option<i32>,
}

/// What all records of a batch have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) base_offset: i64,
    pub(super) base_timestamp: i64,
    /// When the broker appended it, where that counts.
    pub(super) append_time: Option<i64>,
    pub(super) leader_epoch: Option<i32>,
}

const CUT_OFF: &str = "a record that is cut off";

// === impl Record ===

impl Record {
    /// Reads the next record of a batch that is decompressed.
    pub(super) fn read(bytes: &mut Bytes, batch: &Batch) -> Result<Self, &'static str> {
        let mut own = sized(bytes)?.ok_or(CUT_OFF)?;
        // Attributes, of which there are none yet.
        own.try_get_u8().map_err(|_| CUT_OFF)?;
        let since = varint(&mut own)?;
        let behind = varint(&mut own)?;
        let key = sized(&mut own)?;
        let value = sized(&mut own)?;
        let mut headers = Vec::new();
        for _ in 0..varint(&mut own)? {
            let name = sized(&mut own)?.ok_or(CUT_OFF)?;
            headers.push((String::from_utf8_lossy(&name).into_owned(), sized(&mut own)?));
        }
        Ok(Self {
            offset: batch.base_offset.saturating_add(behind),
            timestamp_ms: batch.append_time.unwrap_or_else(|| batch.base_timestamp.saturating_add(since)),
            key,
            value,
            headers,
            leader_epoch: batch.leader_epoch,
        })
    }
}

/// Bytes with their length before them; a length below zero means none.
fn sized(bytes: &mut Bytes) -> Result<Option<Bytes>, &'static str> {
    let length = varint(bytes)?;
    if length < 0 {
        return Ok(None);
    }
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len() => Ok(Some(bytes.split_to(length))),
        _ => Err(CUT_OFF),
    }
}

/// A number of seven bits a byte, the lowest first, with its sign in the lowest bit.
fn varint(bytes: &mut Bytes) -> Result<i64, &'static str> {
    let mut folded = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().map_err(|_| CUT_OFF)?;
        folded |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()));
        }
    }
    Err("a number that is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Batch =
        Batch { base_offset: 40, base_timestamp: 1_000, append_time: None, leader_epoch: Some(3) };

    /// Headers: `a` twice, one whose name isn't UTF-8 and that has no value.
    const HEADERS: &[u8] = &[0, 4, 4, 2, b'k', 1, 6, 2, b'a', 2, b'1', 2, b'a', 2, b'2', 2, 0xff, 1];

    fn sized(record: &[u8]) -> Bytes {
        let mut bytes = vec![u8::try_from(record.len() * 2).unwrap()];
        bytes.extend(record);
        bytes.into()
    }

    #[test]
    fn nothing_of_a_record_is_lost() {
        let mut bytes = sized(HEADERS);
        let record = Record::read(&mut bytes, &BATCH).unwrap();
        let header =
            |name: &str, value: Option<&'static [u8]>| (name.to_owned(), value.map(Bytes::from_static));
        assert_eq!(
            record,
            Record {
                offset: 42,
                timestamp_ms: 1_002,
                key: Some(Bytes::from_static(b"k")),
                value: None,
                headers: vec![header("a", Some(b"1")), header("a", Some(b"2")), header("\u{fffd}", None)],
                leader_epoch: Some(3),
            }
        );
        assert!(bytes.is_empty());
        let appended = Batch { append_time: Some(7_000), ..BATCH };
        assert_eq!(Record::read(&mut sized(HEADERS), &appended).unwrap().timestamp_ms, 7_000);
    }

    #[test]
    fn no_length_is_believed() {
        for cut in 0..=HEADERS.len() {
            let mut whole = sized(HEADERS);
            whole.truncate(cut);
            Record::read(&mut whole, &BATCH).unwrap_err();
        }
        // As many headers as there are numbers.
        let claims = [0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f];
        Record::read(&mut sized(&claims), &BATCH).unwrap_err();
        Record::read(&mut Bytes::from_static(&[0x80; 11]), &BATCH).unwrap_err();
    }

    #[test]
    fn numbers_keep_their_sign() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0xac, 0x02], 150),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], i64::MIN),
        ] {
            assert_eq!(varint(&mut Bytes::copy_from_slice(bytes)), Ok(number));
        }
    }
}
