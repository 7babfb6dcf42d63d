//! Inputs of several parts. What separates them are bytes that no UTF-8 text has.

/// Ends one group of parts, as an entry of a stream is one.
pub(crate) const GROUP: u8 = 0xfe;
/// Ends one part of a group.
pub(crate) const PART: u8 = 0xff;

/// The groups of an input, each with its parts.
pub(crate) fn groups(input: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    input.split(|byte| *byte == GROUP).map(|group| group.split(|byte| *byte == PART).collect())
}

/// The input with these groups.
pub(crate) fn join<P: AsRef<[u8]>>(groups: &[Vec<P>]) -> Vec<u8> {
    let mut input = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        input.extend((i > 0).then_some(GROUP));
        for (i, part) in group.iter().enumerate() {
            input.extend((i > 0).then_some(PART));
            input.extend(part.as_ref());
        }
    }
    input
}

/// One group of texts.
pub(crate) fn one(parts: &[&str]) -> Vec<u8> {
    join(&[parts.to_vec()])
}
