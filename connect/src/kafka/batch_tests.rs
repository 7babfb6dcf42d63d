//! Batches as the codec's encoder writes them, put together into what brokers answer.

use bytes::{BufMut as _, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    records::{Compression, Record as Written, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

use proptest::prelude::*;

use super::*;

fn written(offset: i64, value: &str) -> Written {
    Written {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 4,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: i32::try_from(offset).unwrap(),
        timestamp: 1_700_000_000_000 + offset,
        key: Some(Bytes::copy_from_slice(format!("k{offset}").as_bytes())),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::new(),
    }
}

fn of(producer: i64, offset: i64, value: &str) -> Written {
    Written { transactional: true, producer_id: producer, ..written(offset, value) }
}

fn end(producer: i64, offset: i64, commit: bool) -> Written {
    let key = Bytes::from_static(if commit { &[0, 0, 0, 1] } else { &[0, 0, 0, 0] });
    Written { control: true, key: Some(key), ..of(producer, offset, "......") }
}

fn batch(records: &[Written]) -> Bytes {
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, records, &options).unwrap();
    bytes.freeze()
}

fn log(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

fn values(read: &Read) -> Vec<&str> {
    read.records.iter().map(|record| str::from_utf8(record.value.as_ref().unwrap()).unwrap()).collect()
}

/// As the compactor does: fields that the checksum covers are changed, and it with them.
fn changed(batch: &Bytes, at: usize, with: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    bytes.into()
}

#[test]
fn all_records_come_with_the_place_behind_them() {
    let bytes = log(&[batch(&[written(7, "a"), written(8, "b")]), batch(&[written(9, "c")])]);
    let read = read(bytes, 7, vec![]).unwrap();
    assert_eq!(values(&read), ["a", "b", "c"]);
    assert_eq!((read.next_offset, read.last_epoch), (10, Some(4)));
    let last = &read.records[2];
    assert_eq!((last.offset, last.timestamp_ms), (9, 1_700_000_000_009));
    assert_eq!((last.key.as_deref(), last.leader_epoch), (Some(&b"k9"[..]), Some(4)));
}

#[test]
fn what_was_read_before_doesn_t_come_again() {
    let bytes = log(&[batch(&[written(6, "p"), written(7, "q")]), batch(&[written(8, "r")])]);
    let some = read(bytes, 7, vec![]).unwrap();
    assert_eq!((values(&some), some.next_offset), (vec!["q", "r"], 9));
    // No broker does so; whoever believed it would ask for the same again and again.
    read(batch(&[written(5, "o")]), 7, vec![]).unwrap_err();
    let backwards = log(&[batch(&[written(7, "q")]), batch(&[written(5, "o")])]);
    let some = read(backwards, 7, vec![]).unwrap();
    assert_eq!((values(&some), some.next_offset), (vec!["q"], 8));
}

#[test]
fn a_batch_that_is_cut_off_is_for_the_next_time() {
    let (one, two) = (batch(&[written(0, "a")]), batch(&[written(1, "b")]));
    for cut in 0..two.len() {
        let read = read(log(&[one.clone(), two.slice(..cut)]), 0, vec![]).unwrap();
        assert_eq!((values(&read), read.next_offset), (vec!["a"], 1), "cut at {cut}");
    }
    let none = read(one.slice(..one.len() - 1), 0, vec![]).unwrap();
    assert_eq!(none, Read { records: vec![], next_offset: 0, last_epoch: None });
}

#[test]
fn aborted_transactions_are_left_out_and_the_others_are_not() {
    let bytes = log(&[
        batch(&[of(1, 0, "aborted"), of(1, 1, "aborted")]),
        batch(&[of(2, 2, "committed")]),
        batch(&[written(3, "plain")]),
        batch(&[of(1, 4, "aborted")]),
        batch(&[end(1, 5, false)]),
        batch(&[end(2, 6, true)]),
        batch(&[of(1, 7, "later")]),
        batch(&[end(1, 8, true)]),
    ]);
    let aborted = vec![Aborted { producer: 1, first_offset: 0 }];
    let whole = read(bytes.clone(), 0, aborted.clone()).unwrap();
    assert_eq!(values(&whole), ["committed", "plain", "later"]);
    assert_eq!(whole.next_offset, 9, "behind the transaction's end");
    // The list is of the broker; what it doesn't name is committed.
    assert_eq!(values(&read(bytes, 0, vec![]).unwrap()).len(), 6);
}

#[test]
fn a_transaction_that_is_aborted_later_doesn_t_take_an_earlier_one_with_it() {
    let bytes = log(&[
        batch(&[of(1, 0, "committed")]),
        batch(&[end(1, 1, true)]),
        batch(&[of(1, 2, "aborted")]),
        batch(&[end(1, 3, false)]),
        batch(&[of(1, 4, "aborted again")]),
        batch(&[end(1, 5, false)]),
        batch(&[of(1, 6, "committed again")]),
    ]);
    // Not in their order.
    let aborted = vec![Aborted { producer: 1, first_offset: 4 }, Aborted { producer: 1, first_offset: 2 }];
    assert_eq!(values(&read(bytes, 0, aborted).unwrap()), ["committed", "committed again"]);
}

#[test]
fn what_the_compactor_left_empty_is_passed() {
    let bytes = batch(&[written(3, "a"), written(9, "b")]);
    let empty = changed(&bytes.slice(..61), 57, &0_i32.to_be_bytes());
    let empty = changed(&empty, 8, &49_i32.to_be_bytes());
    let read = read(empty, 3, vec![]).unwrap();
    assert_eq!(read, Read { records: vec![], next_offset: 10, last_epoch: Some(4) });
}

#[test]
fn what_the_broker_stamped_counts_where_the_topic_is_set_so() {
    let bytes = batch(&[written(0, "a"), written(1, "b")]);
    let stamped = changed(&changed(&bytes, 21, &0b1000_i16.to_be_bytes()), 35, &5_000_i64.to_be_bytes());
    let read = read(stamped, 0, vec![]).unwrap();
    assert!(read.records.iter().all(|record| record.timestamp_ms == 5_000), "{read:?}");
}

#[test]
fn damage_is_told_once_what_is_before_it_was_handed_out() {
    let (one, two) = (batch(&[written(0, "a")]), batch(&[written(1, "b")]));
    let mut damaged = two.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let first = read(log(&[one, damaged.clone().into()]), 0, vec![]).unwrap();
    assert_eq!((values(&first), first.next_offset), (vec!["a"], 1));
    let second = read(damaged.into(), 1, vec![]).unwrap_err();
    assert!(second.contains("checksum"), "{second}");
}

#[test]
fn no_bytes_are_trusted() {
    let good = batch(&[written(0, "a")]);
    for (at, with, why) in [
        (16, &[1][..], "before Kafka 0.11"),
        (16, &[3], "unknown format"),
        (22, &[7], "unknown compression"),
        (22, &[1], "can't be decompressed"),
        (57, &[0x7f, 0xff, 0xff, 0xff], "cut off"),
        (8, &[0xff], "less than no length"),
    ] {
        let told = read(changed(&good, at, with), 0, vec![]).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    let mut short = BytesMut::from(&good[..8]);
    short.put_i32(20);
    short.put_slice(&good[12..32]);
    assert!(read(short.freeze(), 0, vec![]).unwrap_err().contains("cut off"));
}

proptest! {
    /// Whoever writes to a topic decides what is in a batch; only the broker's own checks are between.
    #[test]
    fn no_batch_does_harm(
        changes in prop::collection::vec((CHECKED_FROM..200_usize, any::<u8>()), 1..8),
        codec in 0..5_u8,
        compacted in any::<bool>(),
    ) {
        let mut bytes = log(&[batch(&[of(1, 0, "a"), of(1, 1, "b")]), batch(&[end(1, 2, false)])]).to_vec();
        let first = bytes.len() - batch(&[end(1, 2, false)]).len();
        let all = changes.iter().chain(compacted.then_some(&(57, 0)));
        for (at, byte) in all {
            let at = *at % first;
            if at >= CHECKED_FROM {
                bytes[at] = *byte;
            }
        }
        bytes[22] = (bytes[22] & !7) | codec;
        let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..first]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        if let Ok(read) = read(bytes.into(), 0, vec![Aborted { producer: 1, first_offset: 0 }]) {
            prop_assert!(read.next_offset > 0);
        }
    }
}
