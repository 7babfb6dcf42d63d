//! What a service says of its answers' lives, and what that comes to by the RFCs and the binding.

use hyper::{
    HeaderMap,
    header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, VARY},
};

use super::{IF_ERROR, TTL, WHILE_REVALIDATE};

/// What a head says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are directives, in any combination")]
pub(super) struct Head {
    /// Seconds.
    max_age: Option<u64>,
    no_cache: bool,
    must_revalidate: bool,
    /// Seconds.
    while_revalidate: Option<u64>,
    /// Seconds.
    if_error: Option<u64>,
    no_store: bool,
    /// Seconds.
    age: u64,
    pub(super) varies: bool,
}

/// How long after it was said something may be served, in milliseconds: fresh, while it is fetched anew, and when that
/// fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) fresh: u64,
    pub(super) while_revalidate: u64,
    pub(super) if_error: u64,
    /// How old it was when it was said.
    pub(super) age: u64,
}

impl Head {
    /// One of those there are.
    pub(super) fn of(n: u8) -> Self {
        let stale = n / 5 % 4;
        let other = n / 80;
        Self {
            max_age: match n % 5 {
                1 => Some(1),
                2 => Some(3),
                3 => Some(9),
                _ => None,
            },
            no_cache: n % 5 == 4 && (n / 20).is_multiple_of(2),
            must_revalidate: stale == 3,
            while_revalidate: match stale {
                1 => Some(1),
                2 => Some(0),
                _ => None,
            },
            if_error: (stale == 2).then_some(1),
            no_store: other == 2 && n.is_multiple_of(3),
            age: u64::from(n / 20 % 4 == 3),
            varies: other == 1,
        }
    }

    /// The head, with the number of what is said in the place of a media type.
    pub(super) fn headers(&self, etag: Option<&str>, n: usize) -> HeaderMap {
        let text = |text: String| HeaderValue::try_from(text).unwrap();
        let mut head = HeaderMap::new();
        let control = self.control();
        if !control.is_empty() {
            head.insert(CACHE_CONTROL, text(control));
        }
        if self.varies {
            head.insert(VARY, text("Accept".to_owned()));
        }
        if self.age > 0 {
            head.insert(AGE, text(self.age.to_string()));
        }
        if let Some(etag) = etag {
            head.insert(ETAG, text(etag.to_owned()));
        }
        head.insert(CONTENT_TYPE, text(format!("said/{n}")));
        head
    }

    fn control(&self) -> String {
        let seconds = |name: &str, n: Option<u64>| n.map(|n| format!("{name}={n}"));
        let flag = |name: &str, is: bool| is.then(|| name.to_owned());
        let all = [
            seconds("max-age", self.max_age),
            flag("no-cache", self.no_cache),
            flag("must-revalidate", self.must_revalidate),
            seconds("stale-while-revalidate", self.while_revalidate),
            seconds("stale-if-error", self.if_error),
            flag("no-store", self.no_store),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// What a 304 with this head says of what another one came with.
    pub(super) fn renewing(self, before: &Self) -> Self {
        if self.control().is_empty() {
            Self { age: self.age, varies: before.varies, ..before.clone() }
        } else {
            Self { varies: before.varies, ..self }
        }
    }

    /// What it comes to.
    pub(super) fn ends(&self) -> Ends {
        let fresh = if self.no_cache { 0 } else { self.max_age.map_or(TTL, |s| TTL.min(1000 * s)) };
        let window = |ours: u64, theirs: Option<u64>| match theirs {
            _ if self.no_cache || self.must_revalidate => 0,
            Some(theirs) => ours.min(1000 * theirs),
            None => ours,
        };
        Ends {
            fresh,
            while_revalidate: fresh + window(WHILE_REVALIDATE, self.while_revalidate),
            if_error: fresh + window(IF_ERROR, self.if_error),
            age: 1000 * self.age,
        }
    }
}
