//! How long an upstream's answer lives: what RFC 9111 and RFC 5861 have its head say of it, and what the binding does.
//!
//! The sidecar is its application's own cache: `max-age` is for it, `s-maxage` only where there is no other, since that
//! is said to caches whose owner the upstream knows. It can't tell the application's users apart, though, so `private`
//! answers aren't stored, as in a shared cache. The credentials it sends are the binding's, the same in every request, so
//! they don't keep an answer from being stored.
//!
//! Nothing here reads a clock.

use std::time::{Duration, UNIX_EPOCH};

use hyper::{
    HeaderMap, StatusCode,
    header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName, VARY},
};

use crate::{
    clock::{Tick, millis},
    lifetime::Bounds,
    planted::{Bug, planted},
};

/// What an answer's head says of its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// How long it is fresh, from when the upstream made it.
    pub lifetime: Option<Duration>,
    /// Whether it is to be revalidated each time: it is never fresh.
    pub no_cache: bool,
    /// Whether it must not be served when it isn't fresh.
    pub must_revalidate: bool,
    /// How long it may be served while it is fetched anew, at most.
    pub stale_while_revalidate: Option<Duration>,
    /// How long it may be served when fetching it fails, at most.
    pub stale_if_error: Option<Duration>,
}

/// What the binding says of all answers of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long an answer is fresh at most, and how long where the upstream says nothing.
    pub ttl: Duration,
    /// The greatest part of `ttl` by which that is shortened by lot, in thousandths of a percent.
    pub jitter: u32,
    /// How long it is served while it is fetched anew, at most.
    pub stale_while_revalidate: Duration,
    /// How long it is served when fetching it fails, at most.
    pub stale_if_error: Duration,
}

/// The ends of an answer's life. Each is no earlier than the one before, but for the two of stale service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was received.
    pub received: Tick,
    /// How old it was then.
    pub age: Duration,
    /// Until when it is fresh.
    pub fresh: Tick,
    /// Until when it is served while it is fetched anew.
    pub while_revalidate: Tick,
    /// Until when it is served when fetching it fails.
    pub if_error: Tick,
}

/// Whether an answer is kept at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It is stored.
    Yes,
    /// It is stored for requests with the same `Accept`.
    ByAccept,
    /// It is passed on, and what was stored before is out of date.
    No,
    /// It is passed on, and says nothing of what was stored before.
    Beside,
}

// === impl Says ===

impl Says {
    /// What a head says. `wall_ms` is when it came, for an `Expires` without a `Date`.
    #[must_use]
    pub fn read(head: &HeaderMap, wall_ms: u64) -> Self {
        let mut says = Self::default();
        let (mut max_age, mut s_maxage) = (None, None);
        for (name, value) in directives(head) {
            let seconds = || value.as_deref().map_or(Duration::ZERO, delta);
            // Of a directive that is there twice the shortest counts.
            let least =
                |place: &mut Option<Duration>| *place = Some(place.map_or(seconds(), |p| p.min(seconds())));
            match name.as_str() {
                "max-age" => least(&mut max_age),
                "s-maxage" => least(&mut s_maxage),
                "stale-while-revalidate" => least(&mut says.stale_while_revalidate),
                "stale-if-error" => least(&mut says.stale_if_error),
                // With field names it means these only, none of which is stored.
                "no-cache" if value.is_none() => says.no_cache = true,
                "must-revalidate" => says.must_revalidate = true,
                _ => {}
            }
        }
        says.lifetime = max_age.or(s_maxage).or_else(|| expires(head, wall_ms));
        says
    }

    /// What a 304 makes of it: what its head says where it says something.
    #[must_use]
    pub fn renewed(self, head: &HeaderMap, wall_ms: u64) -> Self {
        if head.contains_key(CACHE_CONTROL) || head.contains_key(EXPIRES) {
            Self::read(head, wall_ms)
        } else {
            self
        }
    }
}

fn expires(head: &HeaderMap, wall_ms: u64) -> Option<Duration> {
    let expires = head.get(EXPIRES)?;
    // What can't be read is in the past, as RFC 9111 has it.
    let Some(expires) = date(expires.to_str().ok()) else { return Some(Duration::ZERO) };
    let made = date(text(head, &DATE)).unwrap_or(Duration::from_millis(wall_ms));
    Some(expires.saturating_sub(made))
}

/// A date as the time since the Unix epoch.
fn date(text: Option<&str>) -> Option<Duration> {
    httpdate::parse_http_date(text?.trim()).ok()?.duration_since(UNIX_EPOCH).ok()
}

/// A number of seconds; what is none is zero, and more than fits is for ever.
fn delta(text: &str) -> Duration {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::ZERO;
    }
    Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX)).min(u64::from(u32::MAX)))
}

fn text<'a>(head: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    head.get(name)?.to_str().ok()
}

/// The directives of `Cache-Control`, names in lower case; a quoted value may have commas.
fn directives(head: &HeaderMap) -> impl Iterator<Item = (String, Option<String>)> {
    head.get_all(CACHE_CONTROL).iter().flat_map(|line| {
        let text = String::from_utf8_lossy(line.as_bytes()).into_owned();
        let mut quoted = false;
        let parts: Vec<_> = text
            .split(|c: char| {
                quoted ^= c == '"';
                c == ',' && !quoted
            })
            .map(|part| {
                let (name, value) = part.split_once('=').map_or((part, None), |(n, v)| (n, Some(v)));
                (name.trim().to_ascii_lowercase(), value.map(|v| v.trim().trim_matches('"').to_owned()))
            })
            .collect();
        parts
    })
}

/// How old an answer is that comes after `delay`: its `Age`, and the time it may have been under way.
#[must_use]
pub fn age(head: &HeaderMap, delay: Duration) -> Duration {
    let delay = if planted(Bug::DelayForgotten) { Duration::ZERO } else { delay };
    text(head, &AGE).map_or(Duration::ZERO, |age| delta(age.trim())) + delay
}

/// Whether an answer is kept.
#[must_use]
pub fn keep(status: StatusCode, head: &HeaderMap) -> Keep {
    if !matches!(status, StatusCode::OK | StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Keep::Beside;
    }
    if forbids(head) {
        return Keep::No;
    }
    let mut kept = Keep::Yes;
    for line in head.get_all(VARY) {
        for name in String::from_utf8_lossy(line.as_bytes()).split(',').map(str::trim) {
            match name {
                "*" => return Keep::No,
                // All other headers are the same in every request, or not there.
                _ if name.eq_ignore_ascii_case("accept") => kept = Keep::ByAccept,
                _ => {}
            }
        }
    }
    kept
}

/// Whether a head says that nothing of its answer is to be stored by us.
#[must_use]
pub fn forbids(head: &HeaderMap) -> bool {
    directives(head).any(|(name, value)| match name.as_str() {
        "no-store" => true,
        // With field names it means these only, none of which is stored.
        "private" => value.is_none(),
        _ => false,
    })
}

// === impl Keep ===

impl Keep {
    /// Whether what is made of two answers is kept.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Beside, _) | (_, Self::Beside) => Self::Beside,
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::ByAccept, _) | (_, Self::ByAccept) => Self::ByAccept,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }
}

// === impl Life ===

impl Life {
    /// The life of an answer that was received at `received`, `age` old. `lot` is any number: where `ttl` bounds it, that is
    /// shortened by it.
    #[must_use]
    pub fn of(says: &Says, age: Duration, received: Tick, terms: &Terms, lot: u64) -> Self {
        let bounds = Bounds { ttl: terms.ttl, jitter: terms.jitter, lot, max_age: says.lifetime };
        let lifetime = if says.no_cache { Duration::ZERO } else { bounds.duration() };
        let fresh = received + lifetime.saturating_sub(age);
        let strict = says.no_cache || says.must_revalidate;
        // It may have ended before it came: then it has been stale since.
        let until = |ours: Duration, theirs: Option<Duration>| {
            let window = if strict { Duration::ZERO } else { theirs.map_or(ours, |theirs| theirs.min(ours)) };
            received + (lifetime + window).saturating_sub(age)
        };
        Self {
            received,
            age,
            fresh,
            while_revalidate: until(terms.stale_while_revalidate, says.stale_while_revalidate),
            if_error: until(terms.stale_if_error, says.stale_if_error),
        }
    }

    /// The life of what is made of several answers: each end is the earliest.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            received: self.received.min(other.received),
            age: self.age.max(other.age),
            fresh: self.fresh.min(other.fresh),
            while_revalidate: self.while_revalidate.min(other.while_revalidate),
            if_error: self.if_error.min(other.if_error),
        }
    }

    /// Whether it is fresh.
    #[must_use]
    pub fn is_fresh(&self, now: Tick) -> bool {
        now < self.fresh
    }

    /// Its age now.
    #[must_use]
    pub fn age(&self, now: Tick) -> Duration {
        self.age + now.since(self.received)
    }

    /// Whole seconds that it is fresh for; negative: for how long it hasn't been, at least one.
    #[must_use]
    pub fn ttl(&self, now: Tick) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if self.is_fresh(now) {
            seconds(self.fresh.since(now))
        } else {
            -seconds(now.since(self.fresh)).max(1)
        }
    }

    /// Until when it is of any use: served, or revalidated where it can be.
    #[must_use]
    pub fn end(&self, validated: bool, terms: &Terms) -> Tick {
        let revalidated = if validated { self.fresh + terms.ttl } else { self.fresh };
        self.while_revalidate.max(self.if_error).max(revalidated)
    }

    /// When it is to be fetched anew in the background: after `interval`, and a little before it ends. `spread`, from 0 to
    /// 1, is how much of a tenth it is earlier, so that answers that came together don't go together. `None` if it is
    /// fresh for less than a second: then it has to be revalidated when it is asked for, whoever has done so before.
    #[must_use]
    pub fn refresh(&self, interval: Duration, spread: f64) -> Option<Tick> {
        const LEAST: Duration = Duration::from_secs(1);
        let fresh = self.fresh.since(self.received);
        let span = interval.min(fresh * 9 / 10).mul_f64(1.0 - spread.clamp(0.0, 1.0) / 10.0);
        (fresh >= LEAST).then(|| Tick(self.received.0 + millis(span)))
    }

    /// Whether it had ended before it came: it can't be served but where what is stale is.
    #[must_use]
    pub fn came_ended(&self) -> bool {
        self.fresh <= self.received
    }

    /// When it is to be fetched anew at the latest, so that it is served until that is done: a tenth before it can't be any
    /// more, and a second at least where there are two. `None` if it isn't served but while it is fresh.
    #[must_use]
    pub fn latest(&self) -> Option<Tick> {
        const LEAST: Duration = Duration::from_secs(1);
        let window = self.while_revalidate.since(self.received);
        let before = (window / 10).max(LEAST).min(window / 2);
        (!window.is_zero()).then(|| self.received + window.saturating_sub(before))
    }

    /// When it is to be fetched anew where that is done whether anybody asks or not: likewise, at its end where that comes too
    /// soon, and after `pause` at the earliest.
    #[must_use]
    pub fn due(&self, interval: Option<Duration>, spread: f64, pause: Duration) -> Tick {
        let due = self.refresh(interval.unwrap_or(Duration::MAX), spread).unwrap_or(self.fresh);
        due.max(self.received + pause)
    }
}

#[cfg(test)]
mod tests;
