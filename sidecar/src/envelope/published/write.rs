//! Envelopes as they are written: what is read here is what was meant.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::VERSION;
use crate::{
    clock::millis,
    coding::Coding,
    publishing::{Body, Envelope, Says},
};

/// The name of an entry's field, or of a record's header, that makes it an envelope.
const FIELD: &str = "freshet";

/// An envelope whose members are apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    /// The key: its only segment, or a JSON array; `None` of what is about no key.
    pub(crate) key: Option<Bytes>,
    /// The value's bytes; `None` of what has no value.
    pub(crate) value: Option<Bytes>,
    /// All else, by the names of headers, the version first.
    pub(crate) headers: Vec<(&'static str, String)>,
}

/// Members in the order in which they are written.
#[derive(Serialize)]
struct Whole<'a> {
    freshet: u32,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a [String]>,
    #[serde(flatten)]
    body: Option<Form<'a>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    publisher: &'a str,
    sequence: u64,
}

/// A value as a text has it.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Form<'a> {
    #[serde(serialize_with = "raw")]
    Value(&'a [u8]),
    Text(&'a str),
    Base64(String),
}

/// What every envelope has of what it says.
struct Said<'a> {
    kind: &'static str,
    cache: Option<&'a str>,
    key: Option<&'a [String]>,
}

/// An envelope in one piece: JSON. `None` if its value is said to be JSON and isn't.
pub(crate) fn whole(envelope: &Envelope) -> Option<Vec<u8>> {
    let Said { kind, cache, key } = said(&envelope.says);
    let start = cache.is_some().then_some(envelope.start_ms);
    let mut whole = Whole {
        freshet: VERSION,
        kind,
        cache,
        key,
        body: None,
        content_type: None,
        encoding: None,
        start,
        ttl: None,
        publisher: &envelope.publisher,
        sequence: envelope.sequence,
    };
    if let Says::Value { body, content_type, coding, ttl, .. } = &envelope.says {
        whole.body = Some(match body {
            Body::Json(bytes) => Form::Value(bytes),
            Body::Text(text) => Form::Text(text),
            Body::Binary(bytes) => Form::Base64(BASE64_STANDARD.encode(bytes)),
        });
        whole.content_type = content_type.as_deref();
        whole.encoding = coding.map(Coding::as_str);
        whole.ttl = Some(millis(*ttl));
    }
    serde_json::to_vec(&whole).ok()
}

/// An envelope whose members are apart.
pub(crate) fn apart(envelope: &Envelope) -> Apart {
    let Said { kind, cache, key } = said(&envelope.says);
    let mut headers = vec![(FIELD, VERSION.to_string()), ("freshet-kind", kind.to_owned())];
    if let Some(cache) = cache {
        headers.push(("freshet-cache", cache.to_owned()));
        headers.push(("freshet-start", envelope.start_ms.to_string()));
    }
    let mut value = None;
    if let Says::Value { body, content_type, coding, ttl, .. } = &envelope.says {
        value = Some(body.bytes());
        let content_type = content_type.as_deref().unwrap_or(body.content_type());
        headers.push(("content-type", content_type.to_owned()));
        headers.extend(coding.map(|coding| ("content-encoding", coding.as_str().to_owned())));
        headers.push(("freshet-ttl", millis(*ttl).to_string()));
    }
    headers.push(("freshet-publisher", envelope.publisher.to_string()));
    headers.push(("freshet-sequence", envelope.sequence.to_string()));
    let key = key.map(|key| match key {
        // As those who write without a sidecar do: equal keys are to be in one partition.
        [only] if !only.starts_with('[') => Bytes::copy_from_slice(only.as_bytes()),
        // Texts can be written.
        key => serde_json::to_vec(key).unwrap_or_default().into(),
    });
    Apart { key, value, headers }
}

fn said(says: &Says) -> Said<'_> {
    let (kind, cache, key) = match says {
        Says::Value { cache, key, .. } => ("value", Some(cache), Some(key)),
        Says::Delete { cache, key } => ("delete", Some(cache), Some(key)),
        Says::Clear { cache } => ("clear", Some(cache), None),
        Says::Beat => ("beat", None, None),
        Says::Bye => ("bye", None, None),
    };
    Said { kind, cache: cache.map(AsRef::as_ref), key: key.map(Vec::as_slice) }
}

fn raw<S: Serializer>(json: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    let json: &RawValue = serde_json::from_slice(json).map_err(serde::ser::Error::custom)?;
    json.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::{apart, whole};
    use crate::{
        coding::Coding,
        envelope::published::read,
        key::Key,
        publication::{Publication, What, publisher},
        publishing::{Body, Envelope, Says},
    };

    fn check(envelope: &Envelope, said: &Publication<'_>) {
        assert!(said.is_numbered);
        assert_eq!(Some(said.stamp.publisher), publisher(&envelope.publisher));
        assert_eq!(said.stamp.sequence, envelope.sequence);
        let key = |segments: &[String]| Key::from_columns(segments.iter().map(|s| s.as_str().into()));
        let cache = match (&envelope.says, &said.what) {
            (Says::Value { cache, key: of, body, content_type, coding, ttl }, What::Value(value)) => {
                assert_eq!((&value.key, &value.body[..]), (&key(of), &body.bytes()[..]));
                assert_eq!(value.content_type, content_type.as_deref().unwrap_or(body.content_type()));
                assert_eq!((value.coding, value.ttl), (*coding, *ttl));
                Some(cache)
            }
            (Says::Delete { cache, key: of }, What::Delete(found)) => {
                assert_eq!(found, &key(of));
                Some(cache)
            }
            (Says::Clear { cache }, What::Clear) => Some(cache),
            (Says::Beat, What::Beat) | (Says::Bye, What::Bye) => None,
            (says, found) => panic!("{says:?} was read as {found:?}"),
        };
        assert_eq!(said.cache.as_deref(), cache.map(AsRef::as_ref));
        assert_eq!(said.stamp.start_ms, if cache.is_some() { envelope.start_ms } else { 0 });
    }

    fn says() -> impl Strategy<Value = Says> {
        let key = || {
            prop::collection::vec(
                "[ -~äß%/\\[\"]{1,8}".prop_filter("no segment", |s| s != "." && s != ".."),
                1..4,
            )
        };
        let cache = || "[a-z]{1,8}".prop_map(Arc::<str>::from);
        let body = prop_oneof![
            prop_oneof![Just("null"), Just("[1, 2.50]"), Just(r#"{"a" : "ü\"\u0000"}"#)]
                .prop_map(|json| Body::Json(json.into())),
            ".{0,20}".prop_map(Body::Text),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Body::Binary(bytes.into())),
        ];
        let coding = prop::option::of(prop_oneof![Just(Coding::Gzip), Just(Coding::Zstd)]);
        let value = (cache(), key(), body, prop::option::of("[!-~]{1,20}"), coding, 1..u64::from(u32::MAX));
        prop_oneof![
            value.prop_map(|(cache, key, body, content_type, coding, ttl)| {
                Says::Value { cache, key, body, content_type, coding, ttl: Duration::from_millis(ttl) }
            }),
            (cache(), key()).prop_map(|(cache, key)| Says::Delete { cache, key }),
            cache().prop_map(|cache| Says::Clear { cache }),
            Just(Says::Beat),
            Just(Says::Bye),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_meant(says in says(), name in "[!-~]{1,16}", sequence in 1..u64::MAX, start_ms: u64) {
            let envelope = Envelope { publisher: name.into(), sequence, start_ms, says };
            let payload = whole(&envelope).unwrap();
            let fields = vec![(b"freshet".to_vec(), payload.clone())];
            prop_assert!(crate::envelope::is_envelope(&payload));
            check(&envelope, &read(&fields).unwrap().unwrap());
            let parts = apart(&envelope);
            let headers = parts.headers.iter().map(|(name, text)| (name.as_bytes().to_vec(), text.as_bytes().to_vec()));
            let bare = [(&b"key"[..], parts.key), (b"value", parts.value)];
            let bare = bare.into_iter().filter_map(|(name, part)| Some((name.to_vec(), part?.to_vec())));
            let fields: Vec<_> = headers.chain(bare).collect();
            check(&envelope, &read(&fields).unwrap().unwrap());
        }
    }

    #[test]
    fn what_is_said_to_be_json_and_is_not_is_not_written() {
        let body = Body::Json("{".into());
        let ttl = Duration::from_secs(1);
        let says = Says::Value {
            cache: "c".into(),
            key: vec!["k".into()],
            body,
            content_type: None,
            coding: None,
            ttl,
        };
        assert_eq!(whole(&Envelope { publisher: "p".into(), sequence: 1, start_ms: 1, says }), None);
    }
}
