//! The top of what several JSON texts hold: a function of these and of what the binding says, wherever they come from.

use std::{cmp::Ordering, fmt};

use bytes::Bytes;
use freshet_crds::binding::ViewSpec;
use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    filter::Filter,
    ordering::{Rank, compare},
    pointer::find,
};
use crate::{codec::Unconvertible, entry::Digest};

/// Items that are looked at before those that aren't of the top are let go, where the limit is less: half of them.
const SPARE: usize = 1024;

/// Why a text has no items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It isn't JSON in UTF-8.
    #[error("the answer isn't JSON")]
    NotJson,
    /// It is of a type of CBOR's, and can't be read as JSON.
    #[error("the answer's CBOR can't be read as JSON: {0}")]
    Cbor(Unconvertible),
    /// It is neither an object nor an array.
    #[error("the answer is neither an object nor an array")]
    Scalar,
    /// An element has nothing within it that a pointer could mean.
    #[error(
        "element {0} of the answer is neither an object nor an array, and the view is ordered by something within"
    )]
    Element(usize),
}

/// The top of all items, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// How many items there are in all, those beyond the limit included.
    pub items: usize,
    /// A JSON array of as many as the limit has.
    body: Bytes,
    /// Where each of them ends in it, and what tells the array up to there from others.
    ends: Box<[(usize, u128)]>,
}

struct Candidate<'a> {
    rank: Option<Rank>,
    /// Which text it is from, and its place there.
    place: (usize, usize),
    json: &'a str,
}

/// Ranks the items of these texts; `None` is one that has none. Where items are equal, those of the first text come first,
/// and of one text the first ones. What stands in the place of a text says why there is none. Of all texts that are unfit it is said which and why.
pub fn rank<'a>(
    spec: &ViewSpec,
    filter: &Filter,
    texts: impl IntoIterator<Item = Option<Result<&'a [u8], Unfit>>>,
) -> Result<Ranked, Vec<(usize, Unfit)>> {
    let order = |a: &Candidate<'_>, b: &Candidate<'_>| {
        compare(spec.order, a.rank.as_ref(), b.rank.as_ref()).then(a.place.cmp(&b.place))
    };
    // A list has more items than there is memory for what is known of each: those that can't be of the top are let go.
    let most = spec.limit.max(SPARE) * 2;
    let (mut candidates, mut unfit, mut all) = (Vec::new(), Vec::new(), 0);
    for (at, text) in texts.into_iter().enumerate() {
        let Some(text) = text else { continue };
        let read = text.and_then(|text| {
            each_item(text, !spec.order_by.is_root(), |i, json| {
                if !filter.takes(json) {
                    return;
                }
                let value = find(json, spec.order_by.steps());
                let rank = value.and_then(|value| Rank::read(value, spec.order_as));
                all += 1;
                if candidates.len() == most {
                    keep_top(&mut candidates, spec.limit, order);
                }
                candidates.push(Candidate { rank, place: (at, i), json });
            })
        });
        if let Err(why) = read {
            unfit.push((at, why));
        }
    }
    if !unfit.is_empty() {
        return Err(unfit);
    }
    keep_top(&mut candidates, spec.limit, order);
    candidates.sort_unstable_by(order);
    Ok(Ranked::of(all, candidates.iter().map(|item| item.json)))
}

/// Keeps the first `limit` in this order, in any order.
fn keep_top<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    limit: usize,
    order: impl Fn(&Candidate<'a>, &Candidate<'a>) -> Ordering,
) {
    if candidates.len() > limit && limit > 0 {
        candidates.select_nth_unstable_by(limit - 1, order);
        candidates.truncate(limit);
    }
}

/// Calls `each` with the items of one text, one after the other, and their places: the elements of an array, or an object
/// itself. `within` if what they are ordered by is within them.
fn each_item<'a>(text: &'a [u8], within: bool, mut each: impl FnMut(usize, &'a str)) -> Result<(), Unfit> {
    let whole: &RawValue = serde_json::from_slice(text).map_err(|_| Unfit::NotJson)?;
    match whole.get().as_bytes().first() {
        Some(b'{') => each(0, whole.get()),
        Some(b'[') => {
            let mut scalar = None;
            let elements = Elements(|i, item: &'a RawValue| {
                if within && !item.get().starts_with(['{', '[']) {
                    scalar.get_or_insert(i);
                } else if scalar.is_none() {
                    each(i, item.get());
                }
            });
            let mut json = serde_json::Deserializer::from_str(whole.get());
            json.deserialize_seq(elements).map_err(|_| Unfit::NotJson)?;
            if let Some(at) = scalar {
                return Err(Unfit::Element(at));
            }
        }
        _ => return Err(Unfit::Scalar),
    }
    Ok(())
}

/// Visits the elements of an array without keeping them.
struct Elements<F>(F);

impl<'a, F: FnMut(usize, &'a RawValue)> Visitor<'a> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let mut at = 0;
        while let Some(element) = elements.next_element()? {
            (self.0)(at, element);
            at += 1;
        }
        Ok(())
    }
}

// === impl Ranked ===

impl Ranked {
    /// The top of so many items: their texts in order.
    pub(super) fn of<'a>(items: usize, top: impl Iterator<Item = &'a str> + Clone) -> Self {
        let length = top.clone().map(|json| json.len() + 1).sum::<usize>() + 2;
        let mut body = Vec::with_capacity(length);
        let (mut digest, mut told) = (Digest::default(), 0);
        let mut ends = Vec::new();
        body.push(b'[');
        for (i, json) in top.enumerate() {
            if i > 0 {
                body.push(b',');
            }
            body.extend_from_slice(json.as_bytes());
            digest.update(&body[told..]);
            told = body.len();
            ends.push((told, digest.finish()));
        }
        body.push(b']');
        Self { items, body: body.into_boxed_slice().into(), ends: ends.into() }
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn weight(&self) -> u64 {
        (self.body.len() + size_of_val(&*self.ends)) as u64
    }

    /// The first `n` items, or as many as there are: two pieces of a JSON array, and what tells it from others.
    #[must_use]
    pub fn first(&self, n: usize) -> ([Bytes; 2], u128) {
        match self.ends.get(n.min(self.ends.len()).wrapping_sub(1)) {
            Some((end, digest)) => ([self.body.slice(..*end), Bytes::from_static(b"]")], *digest),
            None => ([Bytes::from_static(b"["), Bytes::from_static(b"]")], 0),
        }
    }
}

#[cfg(test)]
mod tests;
