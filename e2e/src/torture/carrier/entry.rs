//! What a stream has, in one shape whatever carries it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One entry of a stream, as Debezium's sink of Redis writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is: an id, a sequence or an offset.
    pub(crate) mark: String,
    /// `key`, the key, `value`, the value, and then the names of headers, in capitals, each with its value.
    pub(crate) fields: Vec<String>,
}

/// A heartbeat that came through the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) number: u64,
    /// By the database's clock, in milliseconds since 1970.
    pub(crate) ms: u64,
}

impl Entry {
    /// One whose transport keeps keys, values and headers apart. What isn't there is an empty text.
    pub(crate) fn new<'a>(
        mark: String,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let [key, value] = [key, value].map(|bytes| bytes.map(text).unwrap_or_default());
        let mut fields = vec!["key".to_owned(), key, "value".to_owned(), value];
        fields.extend(headers.flat_map(|(name, value)| [name.to_uppercase(), text(value)]));
        Self { mark, fields }
    }

    /// The value's text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.fields.get(3).map(String::as_str)
    }

    /// The value, if it is JSON.
    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_str(self.text()?).ok()
    }

    /// Whether it is one half of a changed key, as far as headers say so.
    pub(crate) fn moves(&self) -> bool {
        self.fields.iter().any(|field| field.starts_with("__DEBEZIUM.NEWKEY"))
    }

    /// The heartbeat that it is, if it is one.
    pub(crate) fn beat(&self) -> Option<Beat> {
        let text = self.text().filter(|text| text.contains("freshet"))?;
        let value: Value = serde_json::from_str(text).ok()?;
        if value["message"]["prefix"] == "freshet-hb" {
            let content = STANDARD.decode(value["message"]["content"].as_str()?).ok()?;
            let content = String::from_utf8(content).ok()?;
            let mut parts = content.split(':').map(str::parse);
            return Some(Beat { number: parts.next()?.ok()?, ms: parts.next()?.ok()? });
        }
        let after = Some(&value["after"]).filter(|_| value["source"]["table"] == "freshet_heartbeat")?;
        Some(Beat { number: after["beat"].as_u64()?, ms: after["at_ms"].as_u64()? })
    }

    /// What it has of the row of this id, for people.
    pub(crate) fn about(&self, id: u32) -> Option<String> {
        // Most are of other rows, and are not worth to be parsed.
        self.text().filter(|text| text.contains(&format!("\"id\":{id},")))?;
        let value = self.value()?;
        if value["after"]["id"] != id && value["before"]["id"] != id {
            return None;
        }
        Some(format!(
            "entry {}: {} {} lsn {} gtid {} snapshot {} ts_ms {}",
            self.mark,
            value["op"],
            value["after"],
            value["source"]["lsn"],
            value["source"]["gtid"],
            value["source"]["snapshot"],
            value["source"]["ts_ms"]
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &str) -> Entry {
        let headers = [("__debezium.newkey", b"{}".as_slice())];
        Entry::new("1-1".to_owned(), None, Some(value.as_bytes()), headers.into_iter())
    }

    #[test]
    fn heartbeats_of_both_databases_are_read() {
        let postgres = r#"{"op":"m","message":{"prefix":"freshet-hb","content":"NzoxNzk1MjMzOTA2Nzg5"}}"#;
        assert_eq!(entry(postgres).beat(), Some(Beat { number: 7, ms: 1_795_233_906_789 }));
        let mariadb =
            r#"{"op":"u","after":{"id":1,"beat":5,"at_ms":17},"source":{"table":"freshet_heartbeat"}}"#;
        assert_eq!(entry(mariadb).beat(), Some(Beat { number: 5, ms: 17 }));
        assert_eq!(entry(r#"{"op":"u","after":{"at_ms":17},"source":{"table":"item"}}"#).beat(), None);
    }

    #[test]
    fn a_row_is_told_by_its_id_and_a_header_by_its_name() {
        let update = r#"{"op":"u","before":null,"after":{"id":7,"val":"a"},"other":{"id":5,"val":"b"}}"#;
        let update = entry(update);
        assert!(update.about(7).is_some_and(|told| told.starts_with("entry 1-1: \"u\"")));
        assert_eq!(update.about(77).or_else(|| update.about(5)), None);
        assert!(update.moves());
        assert_eq!(update.fields[4], "__DEBEZIUM.NEWKEY");
    }
}
