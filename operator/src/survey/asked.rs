//! What is known of one sidecar, and when it is to be asked next. Pure: time is passed in.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    net::SocketAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::{ask::NoAnswer, report::Report};

/// How often a sidecar is asked, give or take a quarter, so that those who started together aren't asked together.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// How soon one that didn't answer is asked once more, before it is told.
const AGAIN: Duration = Duration::from_secs(2);
/// After so many questions without an answer it is told that there is none: one may be lost for any reason.
const MISSES: u32 = 2;
/// How long a sidecar may start, from the first question to it. Job's pods start all the time, and each would make a
/// binding not fresh.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// One sidecar.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) address: SocketAddr,
    since: Instant,
    due: Instant,
    under_way: bool,
    misses: u32,
    /// Whether it ever vouched for all it has.
    was_fresh: bool,
    said: Option<Result<Report, NoAnswer>>,
    /// What of it wasn't a number when it was last heard.
    gist: u64,
}

/// How a sidecar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'s> {
    /// It hasn't been asked yet.
    Waiting,
    /// It doesn't answer.
    Silent(NoAnswer),
    /// It has only just started, and says this.
    New(&'s Report),
    /// It says this.
    Says(&'s Report),
}

// === impl Asked ===

impl Asked {
    pub(super) fn new(address: SocketAddr, now: Instant) -> Self {
        let mut asked = Self {
            address,
            since: now,
            due: now,
            under_way: false,
            misses: 0,
            was_fresh: false,
            said: None,
            gist: 0,
        };
        asked.gist = asked.gist(now);
        asked
    }

    /// For how long an answer has been due, if it is to be asked now.
    pub(super) fn overdue(&self, now: Instant) -> Option<Duration> {
        (!self.under_way && self.due <= now).then(|| now - self.due)
    }

    pub(super) fn begin(&mut self) {
        self.under_way = true;
    }

    /// Takes the answer; whether it makes a difference to how the binding stands, but for numbers.
    pub(super) fn hear(&mut self, answer: Result<Report, NoAnswer>, now: Instant) -> bool {
        self.under_way = false;
        match answer {
            Ok(report) => {
                self.misses = 0;
                self.was_fresh |= report.is_fresh();
                self.said = Some(Ok(report));
            }
            Err(why) => {
                self.misses = self.misses.saturating_add(1);
                if self.misses >= MISSES {
                    self.said = Some(Err(why));
                }
            }
        }
        self.due = now + if (1..MISSES).contains(&self.misses) { AGAIN } else { self.spread(now) };
        let gist = self.gist(now);
        std::mem::replace(&mut self.gist, gist) != gist
    }

    pub(super) fn standing(&self, now: Instant) -> Standing<'_> {
        match &self.said {
            None => Standing::Waiting,
            Some(Err(why)) => Standing::Silent(*why),
            Some(Ok(report)) => {
                let starts = !self.was_fresh && now - self.since < GRACE;
                if starts { Standing::New(report) } else { Standing::Says(report) }
            }
        }
    }

    /// What of it isn't a number.
    fn gist(&self, now: Instant) -> u64 {
        let mut hasher = DefaultHasher::new();
        let standing = self.standing(now);
        std::mem::discriminant(&standing).hash(&mut hasher);
        if let Standing::New(report) | Standing::Says(report) = standing {
            report.caches.hash(&mut hasher);
            for (name, source) in &report.sources {
                (name, source.state).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// The period, more or less: another one each time, by nothing that has to be remembered.
    fn spread(&self, now: Instant) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.address, (now - self.since).as_nanos()).hash(&mut hasher);
        PERIOD.mul_f64(0.75 + f64::from(hasher.finish().to_le_bytes()[0]) / 512.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::tests::says;

    const SECOND: Duration = Duration::from_secs(1);

    fn asked() -> (Asked, Instant) {
        let now = Instant::now();
        (Asked::new("10.0.0.1:3738".parse().unwrap(), now), now)
    }

    fn word(asked: &Asked, now: Instant) -> &'static str {
        match asked.standing(now) {
            Standing::Waiting => "waiting",
            Standing::Silent(_) => "silent",
            Standing::New(_) => "new",
            Standing::Says(_) => "says",
        }
    }

    #[test]
    fn it_is_asked_at_once_and_then_about_every_ten_seconds() {
        let (mut asked, start) = asked();
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..100 {
            assert!(asked.overdue(now).is_some());
            asked.begin();
            assert_eq!(asked.overdue(now + SECOND), None, "one question at a time");
            asked.hear(Ok(says("Fresh")), now);
            pauses.push(asked.due - now);
            assert_eq!(asked.overdue(now), None);
            now = asked.due;
        }
        assert!(pauses.iter().all(|pause| (7.5..12.5).contains(&pause.as_secs_f64())), "{pauses:?}");
        let mean = (now - start).as_secs_f64() / 100.0;
        assert!((9.0..11.0).contains(&mean), "{mean}");
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > 50, "they are spread");
    }

    #[test]
    fn one_answer_that_is_missing_is_not_told_and_is_asked_for_again_soon() {
        let (mut asked, now) = asked();
        assert_eq!(word(&asked, now), "waiting");
        assert!(asked.hear(Ok(says("Fresh")), now));
        assert!(!asked.hear(Err(NoAnswer::Timeout), now));
        assert_eq!((word(&asked, now), asked.due - now), ("says", AGAIN));
        assert!(asked.hear(Err(NoAnswer::Timeout), now));
        assert_eq!(word(&asked, now), "silent");
        assert!(asked.due - now > AGAIN, "from then on at the usual pace");
        assert!(!asked.hear(Err(NoAnswer::NoConnection), now), "another reason is no difference");
        assert!(asked.hear(Ok(says("Fresh")), now));
        assert_eq!(word(&asked, now), "says");
    }

    #[test]
    fn a_new_one_may_start_and_one_that_was_fresh_may_not() {
        let (mut new, now) = asked();
        assert!(new.hear(Ok(says("Starting")), now));
        assert_eq!(word(&new, now), "new");
        assert_eq!(word(&new, now + GRACE - SECOND), "new");
        assert_eq!(word(&new, now + GRACE), "says");
        assert!(!new.hear(Ok(says("Starting")), now + SECOND));
        assert!(new.hear(Ok(says("Starting")), now + GRACE), "that it still starts is news");
        let (mut old, now) = asked();
        old.hear(Ok(says("Fresh")), now);
        assert!(old.hear(Ok(says("Starting")), now));
        assert_eq!(word(&old, now), "says");
    }

    #[test]
    fn numbers_make_no_difference_and_states_do() {
        let (mut asked, now) = asked();
        asked.hear(Ok(says("Fresh")), now);
        let busier = Report { entries: 7, hits: 9, ..says("Fresh") };
        assert!(!asked.hear(Ok(busier), now));
        assert!(asked.hear(Ok(says("Gapped")), now));
        assert!(!asked.hear(Ok(says("Gapped")), now));
    }
}
