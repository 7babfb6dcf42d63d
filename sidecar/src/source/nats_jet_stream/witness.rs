//! The last message that was read of a stream, to be found there again.

use async_nats::jetstream::stream::Info;

/// A message, as far as no other one is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// When its stream was made, in nanoseconds since the Unix epoch.
    stream: i128,
    /// Its sequence.
    pub(super) sequence: u64,
    /// When the server took it, likewise.
    at: i128,
}

impl Witness {
    pub(super) fn new(stream: i128, sequence: u64, at: i128) -> Self {
        Self { stream, sequence, at }
    }

    /// Whether it has to be in the stream: of one that was made anew, has gone back, or has removed it, other things tell.
    pub(super) fn is_due(self, info: &Info) -> bool {
        let has = info.state.first_sequence..=info.state.last_sequence;
        info.created.unix_timestamp_nanos() == self.stream
            && info.state.messages > 0
            && has.contains(&self.sequence)
    }
}
