//! What applications publish: values for every replica's cache, by a source's own way.

use std::{borrow::Cow, time::Duration};

use crate::{
    change::{Change, Fault},
    coding::Coding,
    key::Key,
};

/// Longest name of a publisher, in bytes.
pub const MAX_PUBLISHER: usize = 16;

/// One message, understood. Borrows from its bytes.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The cache that it is about; `None` if it is about none, or nobody can say which.
    pub cache: Option<Cow<'a, str>>,
    /// What it says.
    pub what: What<'a>,
    /// What decides which of two messages about one key is newer.
    pub stamp: Stamp,
    /// Whether the publisher numbers its messages: `stamp` then has its name and the number.
    pub is_numbered: bool,
}

/// What a message says.
#[derive(Debug)]
pub enum What<'a> {
    /// The key has this value.
    Value(Box<Published<'a>>),
    /// The key has none.
    Delete(Key),
    /// No key of the cache has one.
    Clear,
    /// A row of a database has changed, or rows of a table.
    Change(Box<Change<'a>>),
    /// The publisher is there, and hasn't said anything since its last message.
    Beat,
    /// The publisher will say nothing more.
    Bye,
    /// Nobody can say what.
    Unreadable(Fault),
}

/// A value as it was published.
#[derive(Debug)]
pub struct Published<'a> {
    /// The key.
    pub key: Key,
    /// The bytes.
    pub body: Cow<'a, [u8]>,
    /// Their media type.
    pub content_type: Cow<'a, str>,
    /// How they are compressed.
    pub coding: Option<Coding>,
    /// How long it is good from its start on.
    pub ttl: Duration,
}

/// The order of messages, the same in every replica: by when they became so, then by publisher, then by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// When it became so, by the publisher's clock: milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// The publisher's name, its bytes as a number; zero of one that has none.
    pub publisher: u128,
    /// Which of its messages it is, from 1; zero where they aren't numbered.
    pub sequence: u64,
}

/// The bytes of a publisher's name as a number that has their order; `None` of what can't be a name: 1 to
/// [`MAX_PUBLISHER`] bytes of visible ASCII.
#[must_use]
pub fn publisher(name: &str) -> Option<u128> {
    let fits = (1..=MAX_PUBLISHER).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| {
        let mut bytes = [0; MAX_PUBLISHER];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        u128::from_be_bytes(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::{Stamp, publisher};

    #[test]
    fn publishers_have_the_order_of_their_names() {
        let names = ["a", "a1", "ab", "b", "bbbbbbbbbbbbbbbb"];
        let numbers: Vec<_> = names.iter().map(|name| publisher(name).unwrap()).collect();
        assert!(numbers.is_sorted() && numbers.iter().all(|number| *number > 0));
        for bad in ["", "seventeen letters", "bbbbbbbbbbbbbbbbb", "é"] {
            assert_eq!(publisher(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_last_start_wins_then_the_publisher_then_its_number() {
        let stamp =
            |start_ms, name, sequence| Stamp { start_ms, publisher: publisher(name).unwrap(), sequence };
        let stamps =
            [stamp(1, "b", 9), stamp(2, "a", 5), stamp(2, "a", 6), stamp(2, "b", 1), stamp(3, "a", 1)];
        assert!(stamps.is_sorted());
        assert!(Stamp { start_ms: 2, ..Stamp::default() } < stamps[1], "one without a name is before all");
    }
}
