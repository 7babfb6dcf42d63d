//! How many requests an upstream is sent: a bucket of tokens as the binding has it, and what the upstream itself says.
//!
//! Nothing here reads a clock.

use std::time::Duration;

use freshet_crds::binding::RateSpec;
use hyper::{HeaderMap, StatusCode, header::RETRY_AFTER};
use sfv::{BareItem, ListEntry, Parser};

use crate::clock::Tick;

/// The longest that an upstream's word keeps requests back: anything longer is a mistake in the unit.
const LONGEST: Duration = Duration::from_hours(24);
/// How long requests are kept back after the first 429 that doesn't say; each further one in a row doubles it.
const FIRST: Duration = Duration::from_secs(1);
/// How long at most after such a one.
const MOST: Duration = Duration::from_mins(1);
/// Numbers above this are dates in seconds since 1970, below it they are seconds from now.
const DATES: u64 = 1_000_000_000;

/// Who wants to send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for the answer.
    Awaited,
    /// Nobody does: one token is left to those who do, where there can be two.
    Background,
}

/// What is known of how many requests may be sent.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    /// When the bucket will be full, in microseconds of the clock.
    full_at: u64,
    /// Until when the upstream takes no more.
    held_until: Option<Tick>,
    /// How many 429 in a row didn't say until when.
    in_a_row: u32,
}

// === impl Limiter ===

impl Limiter {
    /// Takes a token for one request, or says when there will be one.
    pub fn take(&mut self, rate: Option<RateSpec>, urgency: Urgency, now: Tick) -> Result<(), Tick> {
        if let Some(until) = self.held(now) {
            return Err(until);
        }
        let Some(RateSpec { requests, per, burst }) = rate else { return Ok(()) };
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let interval = (micros(per) / u64::from(requests)).max(1);
        let left_over = if urgency == Urgency::Background && burst > 1 { 2 } else { 1 };
        let now_us = now.0.saturating_mul(1000);
        let full_at = self.full_at.max(now_us);
        let room = interval.saturating_mul(u64::from(burst - left_over));
        let wait = (full_at - now_us).saturating_sub(room);
        if wait > 0 {
            return Err(now + Duration::from_millis(wait.div_ceil(1000)));
        }
        self.full_at = full_at.saturating_add(interval);
        Ok(())
    }

    /// Until when the upstream takes no more, if it has said so.
    #[must_use]
    pub fn held(&self, now: Tick) -> Option<Tick> {
        self.held_until.filter(|until| *until > now)
    }

    /// Learns from an answer's head; whether that says that the request wasn't taken.
    pub fn hear(&mut self, status: StatusCode, head: &HeaderMap, now: Tick, wall_ms: u64) -> bool {
        let (said, exhausted) = (retry_after(head, wall_ms), exhausted(head, wall_ms));
        // Some answer 403 instead of 429, and say why in these headers.
        let refused = status == StatusCode::TOO_MANY_REQUESTS
            || (status == StatusCode::FORBIDDEN && (said.is_some() || exhausted.is_some()));
        let said = said.filter(|_| refused || status == StatusCode::SERVICE_UNAVAILABLE);
        let wait = match said.max(exhausted) {
            None if refused => {
                let wait = FIRST * 2u32.saturating_pow(self.in_a_row.min(6));
                self.in_a_row += 1;
                Some(wait.min(MOST))
            }
            wait => {
                if !refused {
                    self.in_a_row = 0;
                }
                wait
            }
        };
        if let Some(wait) = wait {
            self.held_until = self.held_until.max(Some(now + wait.min(LONGEST)));
        }
        refused
    }
}

/// `Retry-After`: seconds or a date.
fn retry_after(head: &HeaderMap, wall_ms: u64) -> Option<Duration> {
    let text = head.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.saturating_sub(Duration::from_millis(wall_ms)))
}

/// How long nothing is left, if nothing is: `X-RateLimit-Remaining` and `-Reset` (seconds from now or a date in seconds),
/// the same with `RateLimit-`, and the `RateLimit` of the newer drafts (`"default";r=0;t=30`).
fn exhausted(head: &HeaderMap, wall_ms: u64) -> Option<Duration> {
    let number = |name: &str| head.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let plain = [("x-ratelimit-remaining", "x-ratelimit-reset"), ("ratelimit-remaining", "ratelimit-reset")]
        .into_iter()
        .filter(|(remaining, _)| number(remaining) == Some(0))
        .filter_map(|(_, reset)| number(reset))
        .map(|reset| match reset {
            at if at > DATES => Duration::from_secs(at).saturating_sub(Duration::from_millis(wall_ms)),
            after => Duration::from_secs(after),
        });
    let listed = head.get("ratelimit").and_then(|value| value.to_str().ok()).into_iter().flat_map(policies);
    plain.chain(listed).max()
}

/// The waits of those policies in a `RateLimit` that have nothing left.
fn policies(text: &str) -> Vec<Duration> {
    let Ok(list) = Parser::new(text).parse::<sfv::List>() else { return Vec::new() };
    let waits = list.iter().filter_map(|entry| {
        let ListEntry::Item(item) = entry else { return None };
        let number = |name: &str| match item.params.get(name) {
            Some(BareItem::Integer(number)) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        };
        (number("r") == Some(0)).then(|| number("t").map(Duration::from_secs))?
    });
    waits.collect()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn head(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn rate(requests: u32, per_ms: u64, burst: u32) -> RateSpec {
        RateSpec { requests, per: Duration::from_millis(per_ms), burst }
    }

    #[test]
    fn tokens_come_evenly_and_one_is_left_to_those_who_wait() {
        let (mut limiter, rate) = (Limiter::default(), Some(rate(10, 1000, 3)));
        assert_eq!(limiter.take(rate, Urgency::Background, Tick(5000)), Ok(()));
        assert_eq!(limiter.take(rate, Urgency::Background, Tick(5000)), Ok(()));
        assert_eq!(limiter.take(rate, Urgency::Background, Tick(5000)), Err(Tick(5100)));
        assert_eq!(limiter.take(rate, Urgency::Awaited, Tick(5000)), Ok(()));
        assert_eq!(limiter.take(rate, Urgency::Awaited, Tick(5000)), Err(Tick(5100)));
        assert_eq!(limiter.take(rate, Urgency::Awaited, Tick(5099)), Err(Tick(5100)));
        assert_eq!(limiter.take(rate, Urgency::Awaited, Tick(5100)), Ok(()));
        let (mut single, one) = (Limiter::default(), Some(self::rate(1, 1000, 1)));
        assert_eq!(single.take(one, Urgency::Background, Tick(0)), Ok(()));
        assert_eq!(single.take(one, Urgency::Background, Tick(0)), Err(Tick(1000)));
    }

    #[test]
    fn the_upstream_s_word_is_heard() {
        const WALL: u64 = 1_700_000_000_000;
        let date = "Tue, 14 Nov 2023 22:13:50 GMT";
        for (status, fields, refused, held) in [
            (429, vec![("retry-after", "7")], true, Some(7)),
            (429, vec![("retry-after", date)], true, Some(30)),
            (429, vec![], true, Some(1)),
            (429, vec![("retry-after", "soon")], true, Some(1)),
            (429, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000060")], true, Some(60)),
            (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")], true, Some(60)),
            (403, vec![("retry-after", "3")], true, Some(3)),
            (403, vec![], false, None),
            (503, vec![("retry-after", "9")], false, Some(9)),
            (503, vec![], false, None),
            (200, vec![("retry-after", "9")], false, None),
            (200, vec![("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "60")], false, None),
            (200, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "60")], false, Some(60)),
            (200, vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "5")], false, Some(5)),
            (200, vec![("ratelimit", "\"a\";r=0;t=30, \"b\";r=3;t=90")], false, Some(30)),
            (200, vec![("ratelimit", "\"a\";r=0")], false, None),
            (200, vec![("ratelimit", "garbage;;")], false, None),
            (429, vec![("retry-after", "99999999999999999999999")], true, Some(86400)),
        ] {
            let mut limiter = Limiter::default();
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                limiter.hear(status, &head(&fields), Tick(1000), WALL),
                refused,
                "{status} {fields:?}"
            );
            let until = held.map(|seconds: u64| Tick(1000 + seconds * 1000));
            assert_eq!(limiter.held(Tick(1000)), until, "{status} {fields:?}");
            if let Some(until) = until {
                assert_eq!(limiter.take(None, Urgency::Awaited, Tick(1000)), Err(until));
                assert_eq!(limiter.take(None, Urgency::Awaited, until), Ok(()));
            }
        }
    }

    #[test]
    fn refusals_in_a_row_that_say_nothing_keep_requests_back_for_longer() {
        let mut limiter = Limiter::default();
        let mut now = Tick(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            limiter.hear(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now, 0);
            let until = limiter.held(now).unwrap();
            waits.push(until.since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        limiter.hear(StatusCode::OK, &HeaderMap::new(), now, 0);
        limiter.hear(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now, 0);
        assert_eq!(limiter.held(now), Some(now + Duration::from_secs(1)));
    }

    proptest! {
        /// Whoever asks whenever, no span of time sees more requests than the rate has, and a burst on top.
        #[test]
        fn no_span_sees_more_than_rate_and_burst(
            requests in 1u32..50, per_ms in 1u64..5000, burst in 1u32..20,
            steps in prop::collection::vec((0u64..400, any::<bool>()), 1..300),
        ) {
            let (mut limiter, rate) = (Limiter::default(), Some(rate(requests, per_ms, burst)));
            let (mut now, mut taken) = (Tick(1), Vec::new());
            for (step, background) in steps {
                now = Tick(now.0 + step);
                let urgency = if background { Urgency::Background } else { Urgency::Awaited };
                match limiter.take(rate, urgency, now) {
                    Ok(()) => taken.push(now.0),
                    Err(until) => prop_assert!(until > now),
                }
            }
            for (i, from) in taken.iter().enumerate() {
                for (j, to) in taken.iter().enumerate().skip(i) {
                    // Intervals are whole microseconds, so that a few more fit than exactly.
                    let per_us = (per_ms * 1000 / u64::from(requests)).max(1);
                    let most = u64::from(burst) + (to - from) * 1000 / per_us + 1;
                    prop_assert!((j - i + 1) as u64 <= most, "{} in {} ms", j - i + 1, to - from);
                }
            }
        }
    }
}
