//! What is read of a source's streams.

use crate::position::Place;

/// The parts of a record, by name, in order. A Redis entry's fields are these; of what other transports carry they are the
/// fields that Debezium's Redis sink would have written.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// One record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it stands in its stream.
    pub place: Place,
    /// When it was written, by the clock of the server or of the writer: milliseconds since the Unix epoch; `None` where the
    /// transport doesn't say.
    pub written_ms: Option<u64>,
    /// What it says.
    pub fields: Fields,
}

/// What was read of one stream, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The stream's name.
    pub stream: String,
    /// Its next records.
    pub records: Vec<Record>,
    /// How far it has been read, where places without a record follow the last one.
    pub through: Option<Place>,
}

/// What one read of several streams has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The streams that there is something of.
    pub batches: Vec<Batch>,
    /// Whether everything was read that was in any of the streams when the read was asked for. Where silence may be a
    /// connection's that is dead it never is of a plain read.
    pub at_end: bool,
}

// === impl Reading ===

impl Reading {
    /// Whether there was nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(|batch| batch.records.is_empty())
    }
}
