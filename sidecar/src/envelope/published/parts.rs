//! An envelope whose members are apart, as Kafka's records have it: `freshet` and `freshet-…` headers, the value's bytes, and
//! the key as a text or as a JSON array of texts.

use std::borrow::Cow;

use serde::{
    Deserialize as _,
    de::{IntoDeserializer, value::Error},
};

use super::{Envelope, Head, Kind, Named, Said, VERSION, rows::Operation, unreadable};

pub(super) fn read<'a>(version: &[u8], parts: &'a [(Vec<u8>, Vec<u8>)]) -> Said<'a> {
    let part = |of: &[u8]| {
        let part = parts.iter().find(|(name, _)| name == of);
        part.and_then(|(_, text)| std::str::from_utf8(text).ok()).map(Cow::Borrowed)
    };
    let (kind, cache, table) = (part(b"freshet-kind"), part(b"freshet-cache"), part(b"freshet-table"));
    let head = Head { kind, cache, table, ..Head::default() };
    if version != VERSION.to_string().as_bytes() {
        return unreadable(head);
    }
    envelope(parts).and_then(Envelope::publication).map_or_else(|| unreadable(head), Ok)
}

fn envelope(parts: &[(Vec<u8>, Vec<u8>)]) -> Option<Envelope<'_>> {
    let mut envelope = Envelope::default();
    for (name, bytes) in parts {
        if name == b"value" {
            envelope.bytes = Some(bytes);
            continue;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let number = || text.parse().ok();
        match name.as_slice() {
            b"key" if text.starts_with('[') => {
                envelope.key = Some(Named::Json(serde_json::from_str(text).ok()?));
            }
            b"key" => envelope.key = Some(Named::Text(text.into())),
            b"content-type" => envelope.content_type = Some(text.into()),
            b"content-encoding" => envelope.encoding = Some(text.into()),
            b"freshet-kind" => {
                envelope.kind =
                    Some(Kind::deserialize(IntoDeserializer::<Error>::into_deserializer(text)).ok()?);
            }
            b"freshet-op" => {
                envelope.op =
                    Some(Operation::deserialize(IntoDeserializer::<Error>::into_deserializer(text)).ok()?);
            }
            b"freshet-table" => envelope.table = Some(text.into()),
            b"freshet-cache" => envelope.cache = Some(text.into()),
            b"freshet-start" => envelope.start = Some(number()?),
            b"freshet-ttl" => envelope.ttl = Some(number()?),
            b"freshet-publisher" => envelope.publisher = Some(text.into()),
            b"freshet-sequence" => envelope.sequence = Some(number()?),
            // It is of another version.
            _ => return None,
        }
    }
    Some(envelope)
}
