use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue},
};
use proptest::prelude::*;

use super::*;

const WALL: u64 = 1_700_000_000_000;
const TERMS: Terms = Terms {
    ttl: Duration::from_mins(10),
    jitter: 10_000,
    stale_while_revalidate: Duration::from_secs(30),
    stale_if_error: Duration::from_hours(1),
};

fn head(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    fields.iter().map(field).collect()
}

fn lifetime(fields: &[(&str, &str)]) -> Option<u64> {
    Says::read(&head(fields), WALL).lifetime.map(|lifetime| lifetime.as_secs())
}

#[test]
fn the_most_specific_word_on_a_lifetime_counts() {
    let date = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");
    for (fields, seconds) in [
        (vec![], None),
        (vec![("cache-control", "public")], None),
        (vec![("cache-control", "max-age=60")], Some(60)),
        (vec![("cache-control", "MAX-AGE=\"60\"")], Some(60)),
        (vec![("cache-control", "max-age=60, s-maxage=5")], Some(60)),
        (vec![("cache-control", "s-maxage=5")], Some(5)),
        (vec![("cache-control", "max-age=60"), ("cache-control", "max-age=7")], Some(7)),
        (vec![("cache-control", "max-age=soon")], Some(0)),
        (vec![("cache-control", "max-age=-1")], Some(0)),
        (vec![("cache-control", "max-age")], Some(0)),
        (vec![("cache-control", "max-age=99999999999999999999")], Some(u64::from(u32::MAX))),
        (vec![("cache-control", "x=\"max-age=1, y\", max-age=60")], Some(60)),
        (vec![date, ("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], Some(60)),
        (vec![date, ("expires", "Tuesday, 14-Nov-23 22:14:20 GMT")], Some(60)),
        (vec![date, ("expires", "Tue Nov 14 22:14:20 2023")], Some(60)),
        (vec![("expires", "Tue, 14 Nov 2023 22:14:20 GMT")], Some(60)),
        (vec![date, ("expires", "Tue, 14 Nov 2023 22:13:19 GMT")], Some(0)),
        (vec![date, ("expires", "0")], Some(0)),
        (vec![date, ("expires", "Tue, 14 Nov 2023 22:14:20 GMT"), ("cache-control", "max-age=9")], Some(9)),
    ] {
        assert_eq!(lifetime(&fields), seconds, "{fields:?}");
    }
    let says = Says::read(
        &head(&[("cache-control", "no-cache=\"set-cookie\", stale-if-error=9, must-revalidate")]),
        WALL,
    );
    assert!(!says.no_cache && says.must_revalidate);
    assert_eq!(says.stale_if_error, Some(Duration::from_secs(9)));
}

#[test]
fn a_304_changes_what_it_speaks_of() {
    let says = Says::read(&head(&[("cache-control", "max-age=60, must-revalidate")]), WALL);
    assert_eq!(says.renewed(&head(&[("etag", "\"a\"")]), WALL), says);
    let renewed = says.renewed(&head(&[("cache-control", "max-age=5")]), WALL);
    assert_eq!((renewed.lifetime, renewed.must_revalidate), (Some(Duration::from_secs(5)), false));
}

#[test]
fn what_is_not_to_be_stored_is_not() {
    for (status, fields, kept) in [
        (200, vec![], Keep::Yes),
        (404, vec![], Keep::Yes),
        (410, vec![("cache-control", "max-age=5")], Keep::Yes),
        (200, vec![("cache-control", "no-store")], Keep::No),
        (200, vec![("cache-control", "max-age=60, Private")], Keep::No),
        (404, vec![("cache-control", "private, max-age=60")], Keep::No),
        (200, vec![("cache-control", "private=\"x-a, x-b\"")], Keep::Yes),
        (200, vec![("cache-control", "no-cache")], Keep::Yes),
        (200, vec![("vary", "*")], Keep::No),
        (200, vec![("vary", "Accept-Encoding, Origin, Authorization")], Keep::Yes),
        (200, vec![("vary", "Origin"), ("vary", "ACCEPT")], Keep::ByAccept),
        (200, vec![("vary", "accept, *")], Keep::No),
        (204, vec![], Keep::Beside),
        (301, vec![], Keep::Beside),
        (401, vec![], Keep::Beside),
        (429, vec![], Keep::Beside),
        (500, vec![("cache-control", "max-age=60")], Keep::Beside),
    ] {
        assert_eq!(keep(StatusCode::from_u16(status).unwrap(), &head(&fields)), kept, "{status} {fields:?}");
    }
    assert_eq!(Keep::Yes.and(Keep::No), Keep::No);
}

fn life(fields: &[(&str, &str)], delay: u64) -> Life {
    let head = head(fields);
    Life::of(&Says::read(&head, WALL), age(&head, Duration::from_secs(delay)), Tick(1_000_000), &TERMS, 0)
}

/// Seconds from when it was received to each end.
fn ends(life: &Life) -> [u64; 3] {
    [life.fresh, life.while_revalidate, life.if_error].map(|end| end.since(life.received).as_secs())
}

#[test]
fn the_binding_bounds_what_the_upstream_says_and_the_other_way_round() {
    for (fields, expected) in [
        (vec![], [600, 630, 4200]),
        (vec![("cache-control", "max-age=60")], [60, 90, 3660]),
        (vec![("cache-control", "max-age=86400")], [600, 630, 4200]),
        (vec![("cache-control", "max-age=60"), ("age", "50")], [10, 40, 3610]),
        (vec![("cache-control", "max-age=60"), ("age", "80")], [0, 10, 3580]),
        (vec![("cache-control", "max-age=60, stale-while-revalidate=5, stale-if-error=7")], [60, 65, 67]),
        (
            vec![("cache-control", "max-age=60, stale-while-revalidate=500, stale-if-error=70000")],
            [60, 90, 3660],
        ),
        (vec![("cache-control", "max-age=60, must-revalidate")], [60, 60, 60]),
        (vec![("cache-control", "max-age=60, no-cache")], [0, 0, 0]),
    ] {
        assert_eq!(ends(&life(&fields, 0)), expected, "{fields:?}");
    }
    assert_eq!(ends(&life(&[("cache-control", "max-age=60"), ("age", "5")], 10))[0], 45, "the delay counts");
}

#[test]
fn only_what_the_ttl_bounds_is_shortened_by_lot() {
    let fresh = |text: &str| {
        let says = Says::read(&head(&[("cache-control", text)]), WALL);
        ends(&Life::of(&says, Duration::ZERO, Tick(0), &TERMS, 1 << 63))[0]
    };
    assert_eq!((fresh("public"), fresh("max-age=700")), (570, 570), "half of a tenth less");
    assert_eq!((fresh("max-age=600"), fresh("max-age=599")), (600, 599));
}

#[test]
fn ages_and_what_is_left_are_told_in_seconds() {
    let life = life(&[("cache-control", "max-age=60"), ("age", "5")], 0);
    let at = |ms: u64| Tick(1_000_000 + ms);
    assert_eq!((life.age(at(2500)).as_secs(), life.ttl(at(2500))), (7, 52));
    assert_eq!((life.ttl(at(54_999)), life.ttl(at(55_000)), life.ttl(at(58_000))), (0, -1, -3));
    assert!(life.is_fresh(at(54_999)) && !life.is_fresh(at(55_000)));
    assert_eq!(life.end(false, &TERMS), life.if_error);
}

#[test]
fn an_answer_is_fetched_anew_at_the_interval_and_before_it_ends() {
    let every = Duration::from_mins(5);
    let after = |life: Life, spread| life.refresh(every, spread).map(|at| at.since(life.received).as_secs());
    assert_eq!(after(life(&[], 0), 0.0), Some(300));
    assert_eq!(after(life(&[], 0), 1.0), Some(270));
    assert_eq!(after(life(&[("cache-control", "max-age=60")], 0), 0.0), Some(54));
    assert_eq!(after(life(&[("cache-control", "max-age=0")], 0), 0.0), None);
}

proptest! {
    /// Whatever is said, nothing is fresh for longer than the binding's ttl, served stale for longer than it says, nor
    /// fresh for longer than the upstream says.
    #[test]
    fn no_life_is_longer_than_any_bound(
        max_age in prop::option::of(0u64..2000), age in 0u64..3000, delay in 0u64..20,
        swr in prop::option::of(0u64..100), sie in prop::option::of(0u64..9000), strict in any::<bool>(),
    ) {
        let mut text = String::from("public");
        for (name, value) in [("max-age", max_age), ("stale-while-revalidate", swr), ("stale-if-error", sie)] {
            text.extend(value.map(|value| format!(", {name}={value}")));
        }
        if strict {
            text.push_str(", must-revalidate");
        }
        let life = life(&[("cache-control", &text), ("age", &age.to_string())], delay);
        let [fresh, revalidate, error] = ends(&life);
        let lifetime = max_age.unwrap_or(600).min(600);
        prop_assert_eq!(fresh, lifetime.saturating_sub(age + delay));
        prop_assert!(fresh <= revalidate && fresh <= error);
        let window = |most: u64, said: Option<u64>| if strict { 0 } else { said.map_or(most, |said| said.min(most)) };
        let bound = |window: u64| (lifetime + window).saturating_sub(age + delay).max(fresh);
        prop_assert_eq!(revalidate, bound(window(30, swr)));
        prop_assert_eq!(error, bound(window(3600, sie)));
        if let Some(at) = life.refresh(Duration::from_secs(100), 0.5) {
            prop_assert!(at > life.received && at < life.fresh);
        }
    }
}
