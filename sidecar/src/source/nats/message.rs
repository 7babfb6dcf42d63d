//! What a message of NATS says, whether it came by a stream or by itself.

use freshet_connect::nats::Message;

use crate::{
    envelope::{ENVELOPE, is_envelope},
    record::Fields,
};

/// What the core takes for a null value.
const NULL: &[u8] = b"default";

/// A message as the core reads it: an envelope, or what Debezium's sink writes, which sends no keys.
pub(in crate::source) fn fields(message: &Message) -> Fields {
    if is_envelope(&message.payload) {
        return vec![(ENVELOPE.to_vec(), message.payload.to_vec())];
    }
    let value = if message.payload.is_empty() { NULL.to_vec() } else { message.payload.to_vec() };
    vec![(b"topic".to_vec(), message.subject.as_bytes().to_vec()), (b"value".to_vec(), value)]
}
