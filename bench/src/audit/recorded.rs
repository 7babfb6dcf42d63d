//! A change that the real Debezium wrote, to be written again for other rows.

use std::fs;

use anyhow::{Context as _, Result};
use freshet_e2e::cluster::checkout;
use serde_json::Value;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// An update of a product, as an entry of the one stream.
pub(super) struct Recorded {
    fields: Vec<(String, String)>,
    id: String,
    /// Where it stands in the database's log.
    pub(super) lsn: u64,
    /// When it was committed, by the database's clock.
    pub(super) commit_ms: u64,
}

impl Recorded {
    /// From the recordings that the sidecar's tests replay.
    pub(super) fn load() -> Result<Self> {
        let path = checkout().join("sidecar/tests/recorded/one-stream.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let recording: Value = serde_json::from_str(&text)?;
        let entries = recording["entries"].as_array().context("a recording has entries")?;
        entries.iter().find_map(Self::of).context("the recording has no update of a whole product")
    }

    /// The entry with its fields, if it is an update with a whole image.
    fn of(entry: &Value) -> Option<Self> {
        let fields = entry["fields"].as_array()?.iter();
        let fields: Vec<_> = fields
            .map(|field| Some((field[0].as_str()?.to_owned(), field[1].as_str()?.to_owned())))
            .collect::<Option<_>>()?;
        let value = &fields.iter().find(|(name, _)| name == "value")?.1;
        let event: Value = serde_json::from_str(value).ok()?;
        let whole = !value.contains("__debezium_unavailable_value");
        let of_product = event["source"]["table"] == "product" && event["op"] == "u";
        (whole && of_product).then_some(())?;
        let number = |value: &Value| value.as_u64();
        Some(Self {
            id: number(&event["after"]["id"])?.to_string(),
            lsn: number(&event["source"]["lsn"])?,
            commit_ms: number(&event["source"]["ts_ms"])?,
            fields,
        })
    }

    /// The entry for another row, at another place in the log.
    pub(super) fn entry(&self, id: u64, lsn: u64) -> Fields {
        let (row, this) = (format!("\"id\":{}", self.id), format!("\"id\":{id}"));
        let (old, new) = (self.lsn.to_string(), lsn.to_string());
        let other = |text: &String| text.replacen(&row, &this, 1).replace(&old, &new).into_bytes();
        self.fields.iter().map(|(name, value)| (name.clone().into_bytes(), other(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Recorded;

    #[test]
    fn a_recorded_update_is_one_of_another_row() {
        let recorded = Recorded::load().unwrap();
        let fields = recorded.entry(77, 12_345_678);
        let value = |name: &[u8]| {
            let (_, value) = fields.iter().find(|(found, _)| found == name).unwrap();
            serde_json::from_slice::<serde_json::Value>(value).unwrap()
        };
        assert_eq!(value(b"key")["id"], 77);
        let event = value(b"value");
        assert_eq!((&event["after"]["id"], &event["source"]["lsn"]), (&77.into(), &12_345_678.into()));
        assert_eq!(event["op"], "u");
    }
}
