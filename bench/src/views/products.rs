//! The products that are read and ranked.

use std::fmt::Write as _;

/// A product as a service lists it: some 200 bytes.
pub(super) fn product(n: usize) -> String {
    format!(
        "{{\"id\":{n},\"name\":\"Product {n}\",\"price\":\"{}.{:02}\",\"rating\":{{\"average\":{},\"count\":{}}},\
         \"addedAt\":\"2026-11-{:02}T12:00:00Z\",\"description\":\"What one says of product {n} in a line or two, as shops do\"}}",
        n % 1000,
        n % 100,
        score(n),
        n % 77,
        n % 28 + 1
    )
}

/// What a product is ordered by: in no order, and no two alike.
pub(super) fn score(n: usize) -> usize {
    n.wrapping_mul(7919) % 1_000_003
}

/// So many, as a JSON array.
pub(super) fn list(count: usize) -> String {
    let mut list = "[".to_owned();
    for n in 0..count {
        // Writing to a string doesn't fail.
        let _ = write!(list, "{}{}", if n > 0 { "," } else { "" }, product(n));
    }
    list.push(']');
    list
}
