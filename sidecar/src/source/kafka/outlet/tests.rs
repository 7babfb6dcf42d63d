use bytes::Bytes;
use freshet_connect::kafka::NewRecord;

use super::{CALL, calls};

/// A record for this partition, with as many bytes in all.
fn record((partition, size): (i32, usize)) -> (i32, NewRecord) {
    let (key, header) = (Bytes::from_static(b"key"), ("kind".to_owned(), Some(Bytes::from_static(b"value"))));
    let value = vec![b'x'; size - 3 - 4 - 5].into();
    (partition, NewRecord { key: Some(key), value: Some(value), headers: vec![header], timestamp_ms: 0 })
}

/// The partition, the first place and the records' sizes of each call.
fn made(records: &[(i32, usize)]) -> Vec<(i32, usize, Vec<usize>)> {
    let calls = calls(records.iter().copied().map(record));
    let sizes = |records: &[NewRecord]| records.iter().map(super::size).collect();
    calls.iter().map(|call| (call.partition, call.first, sizes(&call.records))).collect()
}

#[test]
fn a_call_has_what_one_batch_of_records_may_have() {
    assert_eq!(made(&[(0, CALL - 20), (0, 20), (0, 20)]), [(0, 0, vec![CALL - 20, 20]), (0, 2, vec![20])]);
    let large = 3 * CALL;
    assert_eq!(
        made(&[(0, 20), (0, large), (0, 30)]),
        [(0, 0, vec![20]), (0, 1, vec![large]), (0, 2, vec![30])],
        "what is larger alone goes alone, in its turn"
    );
}

#[test]
fn each_partition_has_its_calls_and_those_of_what_was_said_first_come_first() {
    let half = CALL / 2 + 1;
    assert_eq!(
        made(&[(1, half), (0, 20), (1, 30), (1, half), (0, 40), (1, 50)]),
        [(1, 0, vec![half, 30]), (0, 1, vec![20, 40]), (1, 3, vec![half, 50])]
    );
}
