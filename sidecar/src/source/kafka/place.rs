//! Offsets and places: the place of a record is its offset, and what is read on from is the offset behind it.

use crate::position::Place;

/// The place right before this offset.
pub(super) fn behind(offset: i64) -> Place {
    match u64::try_from(offset) {
        Ok(0) | Err(_) => Place::Start,
        Ok(offset) => Place::Number(offset - 1),
    }
}

/// The offset that follows a place.
pub(super) fn next(place: Place) -> i64 {
    place
        .number()
        .map_or(0, |number| i64::try_from(number).map_or(i64::MAX, |offset| offset.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::{behind, next};
    use crate::position::Place;

    #[test]
    fn reading_goes_on_behind_the_last_record() {
        for (place, offset) in [(Place::Start, 0), (Place::Number(0), 1), (Place::Number(41), 42)] {
            assert_eq!((next(place), behind(offset)), (offset, place));
        }
        assert_eq!(behind(-1), Place::Start);
        assert_eq!(next(Place::Number(u64::MAX)), i64::MAX);
    }
}
