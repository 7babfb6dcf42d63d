//! The rows of one view, in its order.

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use freshet_crds::{Order, binding::ViewSpec};

use super::super::{
    filter::Filter,
    ordering::{self, Rank},
    pointer::find,
};

/// The rows of one view, in its order.
#[derive(Debug)]
pub(super) struct Index {
    spec: ViewSpec,
    filter: Filter,
    places: BTreeSet<Place>,
    /// Bytes of what rows are ordered by.
    bytes: u64,
}

/// Where a row stands. Of rows that are ordered by the same, the one with the lesser key comes first.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    rank: Option<Rank>,
    order: Order,
    key: Arc<str>,
}

impl Place {
    fn weight(&self) -> u64 {
        self.rank.as_ref().map_or(0, Rank::weight)
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let ranks = ordering::compare(self.order, self.rank.as_ref(), other.rank.as_ref());
        ranks.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Index {
    pub(super) fn new(spec: &ViewSpec) -> Self {
        Self { spec: spec.clone(), filter: Filter::new(&spec.filter), places: BTreeSet::new(), bytes: 0 }
    }

    pub(super) fn spec(&self) -> &ViewSpec {
        &self.spec
    }

    /// Where a row stands; `None` if it isn't one of the view's.
    fn place(&self, key: &Arc<str>, json: &str) -> Option<Place> {
        let ViewSpec { order_by, order_as, order, .. } = &self.spec;
        self.filter.takes(json).then(|| {
            let value = find(json, order_by.steps());
            let rank = value.and_then(|value| Rank::read(value, *order_as));
            Place { rank, order: *order, key: Arc::clone(key) }
        })
    }

    pub(super) fn insert(&mut self, key: &Arc<str>, json: &str) {
        if let Some(place) = self.place(key, json) {
            self.bytes += place.weight();
            self.places.insert(place);
        }
    }

    /// Removes a row that was this.
    pub(super) fn remove(&mut self, key: &Arc<str>, json: &str) {
        if let Some(place) = self.place(key, json).filter(|place| self.places.remove(place)) {
            self.bytes -= place.weight();
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bytes = 0;
    }

    /// Bytes that it holds beyond what each row takes in any view.
    pub(super) fn weight(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The keys of the first rows, as many as the view's limit.
    pub(super) fn first(&self) -> impl Iterator<Item = &str> + Clone {
        self.places.iter().take(self.spec.limit).map(|place| &*place.key)
    }
}
