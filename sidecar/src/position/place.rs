//! Where a record stands in its stream.

use std::fmt;

use super::EntryId;

/// The place of a record in one stream of a source, or of the last one that was read. Places of one stream have an
/// order; those of different streams have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Before the first record that the stream ever had.
    #[default]
    Start,
    /// Of a Redis stream; never `0-0`, which is [`Place::Start`].
    Entry(EntryId),
    /// Kafka's offset, JetStream's sequence, or a reader's own count.
    Number(u64),
}

impl Place {
    /// The place that comes right before: what is read from behind it begins with this one.
    #[must_use]
    pub fn before(self) -> Self {
        match self {
            Self::Start => Self::Start,
            Self::Entry(id) => id.before().into(),
            Self::Number(number) => number.checked_sub(1).map_or(Self::Start, Self::Number),
        }
    }

    /// The number; `None` before the first record and of what has ids of its own.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Start | Self::Entry(_) => None,
        }
    }
}

impl From<EntryId> for Place {
    fn from(id: EntryId) -> Self {
        if id == EntryId::default() { Self::Start } else { Self::Entry(id) }
    }
}

impl fmt::Display for Place {
    /// As the transport writes it, so that it can be looked up there; `start` before the first record.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Entry(id) => id.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryId, Place};

    #[test]
    fn places_have_the_order_of_their_stream_and_its_start_is_before_all() {
        let entry = |ms, n| Place::from(EntryId { ms, n });
        assert_eq!(entry(0, 0), Place::Start);
        assert!(Place::Start < entry(0, 1) && entry(1, 5) < entry(2, 0));
        assert!(Place::Start < Place::Number(0) && Place::Number(0) < Place::Number(1));
        assert_eq!(entry(0, 1).before(), Place::Start);
        assert_eq!(entry(2, 0).before(), entry(1, u64::MAX));
        assert_eq!(
            [Place::Number(1), Place::Number(0), Place::Start].map(Place::before),
            [Place::Number(0), Place::Start, Place::Start]
        );
        assert_eq!(
            [Place::Start, entry(5, 1), Place::Number(7)].map(|p| p.to_string()),
            ["start", "5-1", "7"]
        );
    }
}
