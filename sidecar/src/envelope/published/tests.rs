use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{Said, Unreadable, is_envelope, read};
use crate::{
    change::{Change, Op, TableName, TableReason},
    coding::Coding,
    key::Scalar,
    publication::{What, publisher},
};

/// What a publication says, as the vectors of the documentation have it.
fn described(said: &Said<'_>, named: Option<&Value>) -> Value {
    let named_table = |table: &TableName<'_>| table.spellings().last().unwrap();
    let said = match said {
        Ok(said) => said,
        Err(Unreadable(table)) => {
            return json!({"kind": "unreadable", "table": table.as_ref().map(named_table)});
        }
    };
    let mut says = json!({});
    let mut set = |name: &str, value: Value| {
        if !value.is_null() {
            says[name] = value;
        }
    };
    let kind = match &said.what {
        What::Value(value) => {
            set("key", value.key.as_str().into());
            set("body", BASE64_STANDARD.encode(&value.body).into());
            set("type", (&*value.content_type).into());
            set("encoding", value.coding.map(Coding::as_str).into());
            set("ttl", u64::try_from(value.ttl.as_millis()).unwrap().into());
            "value"
        }
        What::Delete(key) => {
            set("key", key.as_str().into());
            "delete"
        }
        What::Clear => "clear",
        What::Change(change) => {
            set("table", change.table().map(named_table).unwrap().into());
            match &**change {
                Change::Row(row) => {
                    let op = match row.op {
                        Op::Create => "insert",
                        Op::Update => "update",
                        Op::Delete => "delete",
                        Op::Read => panic!("{row:?}"),
                    };
                    set("op", op.into());
                    let value = |scalar: &Scalar<'_>| match scalar {
                        Scalar::Number(digits) => serde_json::from_str(digits).unwrap(),
                        Scalar::Text(text) => Value::from(&**text),
                        Scalar::Bool(bool) => (*bool).into(),
                        other => panic!("{other:?}"),
                    };
                    let columns = row.key.as_ref().unwrap();
                    set("key", columns.iter().map(|(name, scalar)| json!([name, value(scalar)])).collect());
                }
                Change::Table { why: TableReason::Truncated, .. } => set("op", "truncate".into()),
                Change::Table { why: TableReason::Changed { oversized }, .. } => {
                    set("oversized", (*oversized).into());
                }
                other => panic!("{other:?}"),
            }
            "change"
        }
        What::Beat => "beat",
        What::Bye => "bye",
        What::Unreadable(_) => {
            return json!({"kind": "unreadable", "cache": said.cache});
        }
    };
    set("kind", kind.into());
    set("cache", said.cache.as_deref().into());
    if said.cache.is_some() {
        set("start", said.stamp.start_ms.into());
    }
    if said.is_numbered {
        let name = named.and_then(Value::as_str).unwrap_or_default();
        assert_eq!(publisher(name), Some(said.stamp.publisher));
        set("publisher", name.into());
        set("sequence", said.stamp.sequence.into());
    }
    says
}

#[test]
fn each_vector_of_the_documentation_is_read_as_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/envelope-vectors.json");
    let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(vectors.len() >= 30);
    for vector in &vectors {
        let bytes = |text: &Value| text.as_str().unwrap().as_bytes().to_vec();
        let fields = match vector["parts"].as_array() {
            Some(parts) => parts.iter().map(|part| (bytes(&part[0]), bytes(&part[1]))).collect(),
            None => vec![(b"freshet".to_vec(), bytes(&vector["envelope"]))],
        };
        let said = read(&fields).unwrap();
        assert_eq!(described(&said, vector["says"].get("publisher")), vector["says"], "{}", vector["name"]);
        let is_json = vector["envelope"].as_str().is_some_and(|text| text.trim_start().starts_with('{'));
        assert_eq!(is_json, is_envelope(&fields[0].1), "{}", vector["name"]);
    }
}

#[test]
fn what_others_have_written_is_no_envelope() {
    for fields in [&[("key", "1"), ("value", "{}")][..], &[("{\"id\":1}", "{\"freshet\":1}")], &[]] {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        assert!(read(&fields).is_none());
    }
    for payload in ["", "{", "{}", "{\"op\":\"c\",\"freshet\":1}", "[\"freshet\"]"] {
        assert!(!is_envelope(payload.as_bytes()), "{payload}");
    }
    let sorted = "{\"cache\":\"quotes\",\"freshet\":1,\"kind\":\"clear\",\"start\":5}";
    assert!(is_envelope(sorted.as_bytes()), "some languages sort members");
}
