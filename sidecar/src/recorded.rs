//! Recordings of what the real Debezium Server wrote, for the tests of the core.

use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    change::Change,
    envelope::{StreamRole, read},
    source::record_of_kafka,
};

/// One recording.
#[derive(Deserialize)]
pub(crate) struct Recording {
    pub(crate) entries: Vec<Entry>,
}

/// One entry of some stream.
#[derive(Deserialize)]
pub(crate) struct Entry {
    pub(crate) stream: String,
    pub(crate) id: String,
    fields: Vec<(String, String)>,
    #[serde(skip)]
    bytes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A record of a partition, as it is recorded.
#[derive(Deserialize)]
struct OfKafka {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

/// A message of a stream of JetStream, as it is recorded.
#[derive(Deserialize)]
struct OfJetStream {
    subject: String,
    sequence: u64,
    timestamp: i64,
    payload: String,
}

impl Recording {
    /// What Debezium wrote to Kafka, as the core reads it. A stream is a topic, in whatever partition.
    pub(crate) fn of_kafka(name: &str) -> Self {
        let entry = |recorded: OfKafka| {
            let (key, value) = (recorded.key.map(Into::into), recorded.value.map(Into::into));
            let headers = recorded.headers.into_iter().map(|(name, value)| (name, Some(value.into())));
            let record = record_of_kafka(&freshet_connect::kafka::Record {
                offset: recorded.offset,
                timestamp_ms: recorded.timestamp,
                key,
                value,
                headers: headers.collect(),
                leader_epoch: None,
            });
            let id = format!("{}-{}-{}", recorded.timestamp, recorded.partition, recorded.offset);
            Entry { stream: recorded.topic, id, fields: Vec::new(), bytes: record.fields }
        };
        Self { entries: transported(name).into_iter().map(entry).collect() }
    }

    /// What Debezium wrote to JetStream, likewise: all of it in one stream.
    pub(crate) fn of_jet_stream(name: &str) -> Self {
        let entry = |recorded: OfJetStream| {
            let fields = [("topic", recorded.subject), ("value", recorded.payload)];
            let bytes = fields.map(|(name, value)| (name.into(), value.into_bytes()));
            let id = format!("{}-{}", recorded.timestamp, recorded.sequence);
            Entry { stream: "shop.cdc".to_owned(), id, fields: Vec::new(), bytes: bytes.into() }
        };
        Self { entries: transported(name).into_iter().map(entry).collect() }
    }

    pub(crate) fn load(name: &str) -> Self {
        let path = format!("{}/tests/recorded/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let mut recording: Self = serde_json::from_str(&text).unwrap();
        for entry in &mut recording.entries {
            entry.bytes = entry.fields.drain(..).map(|(n, v)| (n.into_bytes(), v.into_bytes())).collect();
        }
        recording
    }
}

/// The entries of a recording of another transport than Redis.
fn transported<E: DeserializeOwned>(name: &str) -> Vec<E> {
    #[derive(Deserialize)]
    struct Recorded<E> {
        entries: Vec<E>,
    }
    let path = format!("{}/tests/recorded-transports/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str::<Recorded<E>>(&text).unwrap().entries
}

impl Entry {
    /// What its stream carries.
    pub(crate) fn role(&self) -> StreamRole {
        match self.stream.as_str() {
            "shop.cdc" => StreamRole::Routed,
            "shop" => StreamRole::Schema,
            "shop.message" | "shop.transaction" => StreamRole::Control,
            other => match other.strip_prefix("shop.") {
                Some(table) => StreamRole::Table(table.to_owned()),
                None => StreamRole::Control,
            },
        }
    }

    pub(crate) fn fields(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.bytes
    }

    pub(crate) fn change(&self) -> Change<'_> {
        read(&self.role(), &self.bytes)
    }
}
