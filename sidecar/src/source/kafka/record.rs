//! A record of a partition, as Debezium's Redis sink would have written it.

use freshet_connect::kafka;

use super::place::behind;
use crate::record::{Fields, Record};

/// What the core takes for a null key or value.
const NULL: &[u8] = b"default";
/// Of a record's headers those that say something of its row, as Kafka and as the core has them.
const HEADERS: [(&str, &[u8]); 2] =
    [("__debezium.oldkey", b"__DEBEZIUM.OLDKEY"), ("__debezium.newkey", b"__DEBEZIUM.NEWKEY")];

/// The header that an envelope is known by.
const VERSION: &str = "freshet";

/// The record as the core reads it.
pub(crate) fn record(record: &kafka::Record) -> Record {
    let known = |name: &str| HEADERS.iter().find(|(header, _)| *header == name).map(|(_, field)| *field);
    if let Some(fields) = published(record) {
        return at(record, fields);
    }
    let text = |bytes: Option<&[u8]>| bytes.unwrap_or(NULL).to_vec();
    let mut fields = vec![
        (b"key".to_vec(), text(record.key.as_deref())),
        (b"value".to_vec(), text(record.value.as_deref())),
    ];
    let headers = record.headers.iter();
    fields.extend(headers.filter_map(|(name, value)| Some((known(name)?.to_vec(), text(value.as_deref())))));
    at(record, fields)
}

fn at(record: &kafka::Record, fields: Fields) -> Record {
    Record {
        place: behind(record.offset.saturating_add(1)),
        written_ms: u64::try_from(record.timestamp_ms).ok(),
        fields,
    }
}

/// The parts of an envelope, its version first, if the record is one. Other headers than its own are its transport's.
fn published(record: &kafka::Record) -> Option<Fields> {
    let header = |of: &str| record.headers.iter().find(|(name, _)| name == of);
    let mut fields = vec![(VERSION.into(), header(VERSION)?.1.as_deref().unwrap_or_default().to_vec())];
    let is_its =
        |name: &str| name.starts_with("freshet-") || matches!(name, "content-type" | "content-encoding");
    for (name, value) in record.headers.iter().filter(|(name, _)| is_its(name)) {
        fields.push((name.clone().into_bytes(), value.as_deref().unwrap_or_default().to_vec()));
    }
    let parts = [(&b"key"[..], &record.key), (b"value", &record.value)];
    fields
        .extend(parts.into_iter().filter_map(|(name, part)| Some((name.to_vec(), part.as_ref()?.to_vec()))));
    Some(fields)
}

#[cfg(test)]
mod tests {
    use freshet_connect::kafka;

    use super::record;
    use crate::{
        change::{Change, Op},
        envelope::{StreamRole, read},
        position::Place,
        publication::What,
    };

    fn of(
        key: Option<&'static str>,
        value: Option<&'static str>,
        headers: &[(&str, &'static str)],
    ) -> kafka::Record {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).into())));
        kafka::Record {
            offset: 0,
            timestamp_ms: 7,
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: headers.collect(),
            leader_epoch: None,
        }
    }

    #[test]
    fn a_change_of_key_names_the_other_key() {
        let value = r#"{"op":"d","before":null,"after":null,"source":{"schema":"s","table":"t"}}"#;
        let headers = [("__debezium.context.taskId", "\"0\""), ("__debezium.newkey", r#"{"id":2}"#)];
        let read_back = record(&of(Some(r#"{"id":1}"#), Some(value), &headers));
        assert_eq!((read_back.place, read_back.written_ms), (Place::Number(0), Some(7)));
        let Change::Row(row) = read(&StreamRole::Table("s.t".into()), &read_back.fields) else { panic!() };
        assert_eq!(row.op, Op::Delete);
        assert!(row.key.is_some() && row.other_key.is_some(), "{row:?}");
    }

    #[test]
    fn what_is_published_is_known_by_its_headers() {
        let headers = [
            ("traceparent", "00-1"),
            ("freshet", "1"),
            ("freshet-kind", "delete"),
            ("freshet-cache", "c"),
            ("freshet-start", "5"),
        ];
        let record = record(&of(Some("[\"a\",\"b\"]"), None, &headers));
        let Change::Published(said) = read(&StreamRole::Routed, &record.fields) else { panic!() };
        assert!(matches!(&said.what, What::Delete(key) if key.as_str() == "a/b"), "{said:?}");
        assert_eq!((said.cache.as_deref(), said.stamp.start_ms), (Some("c"), 5));
    }

    #[test]
    fn a_null_value_is_a_tombstone_and_a_null_key_is_none() {
        let tombstone = record(&of(Some(r#"{"id":1}"#), None, &[]));
        let role = StreamRole::Table("s.t".into());
        assert!(matches!(read(&role, &tombstone.fields), Change::Tombstone(row) if row.key.is_some()));
        let value = r#"{"op":"c","before":null,"after":{"id":1},"source":{"schema":"s","table":"t"}}"#;
        let without = record(&kafka::Record { timestamp_ms: -1, ..of(None, Some(value), &[]) });
        assert_eq!(without.written_ms, None, "nobody said");
        assert!(matches!(read(&role, &without.fields), Change::Row(row) if row.key.is_none()));
    }
}
