//! Recordings of what the real Debezium Server wrote, for the tests of the core.

use serde::Deserialize;

use crate::{
    change::Change,
    envelope::{StreamRole, read},
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

impl Recording {
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
