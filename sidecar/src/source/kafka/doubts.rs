//! Partitions that can't be read at present: when each is to be tried again, and when that is the source's own error.

use std::{collections::HashMap, time::Duration};

use freshet_connect::kafka::KafkaError;
use tokio::time::Instant;

/// How long one is left alone that has just failed. An election takes longer.
const PAUSE: Duration = Duration::from_millis(100);
/// How long others are read on while one fails: from then on it is better told, and tried with all that is mounted read anew.
const LASTING: Duration = Duration::from_secs(10);

/// What fails at present, by stream.
#[derive(Debug, Default)]
pub(super) struct Doubts(HashMap<String, Doubt>);

#[derive(Debug)]
struct Doubt {
    since: Instant,
    /// When it is to be asked again; `None` if it has been.
    retry: Option<Instant>,
    why: KafkaError,
}

impl Doubts {
    /// A partition can't be read. An error answers where that is for more than itself to be told: what lasts, and what
    /// no other attempt on these connections would change.
    pub(super) fn add(&mut self, stream: &str, why: KafkaError, now: Instant) -> Result<(), KafkaError> {
        let since = self.0.get(stream).map_or(now, |doubt| doubt.since);
        if is_for_good(&why) || now.duration_since(since) >= LASTING {
            return Err(why);
        }
        self.0.insert(stream.to_owned(), Doubt { since, retry: Some(now + PAUSE), why });
        Ok(())
    }

    /// A partition has answered.
    pub(super) fn clear(&mut self, stream: &str) {
        self.0.remove(stream);
    }

    /// Whether a partition has failed since it last answered.
    pub(super) fn has(&self, stream: &str) -> bool {
        self.0.contains_key(stream)
    }

    /// Whether it isn't to be asked yet.
    pub(super) fn holds(&self, stream: &str) -> bool {
        self.0.get(stream).is_some_and(|doubt| doubt.retry.is_some())
    }

    /// When the next one is to be asked again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|doubt| doubt.retry).min()
    }

    /// Lets those be asked again whose time has come; whether there are any.
    pub(super) fn release(&mut self, now: Instant) -> bool {
        let due = self.0.values_mut().filter(|doubt| doubt.retry.is_some_and(|retry| retry <= now));
        due.map(|doubt| doubt.retry = None).count() > 0
    }

    /// The error of a source none of whose streams can be read, unless they only wait for a leader.
    pub(super) fn of_all<'s>(&self, mut streams: impl Iterator<Item = &'s str>) -> Option<KafkaError> {
        let mut first = None;
        let all = streams.all(|stream| {
            let doubt = self.0.get(stream);
            let error = doubt.map(|doubt| &doubt.why).filter(|why| !is_of_leaders(why));
            first = first.take().or_else(|| error.cloned());
            doubt.is_some()
        });
        first.filter(|_| all)
    }
}

/// Whether it passes with an election, or shows in the next answer about the topics.
fn is_of_leaders(why: &KafkaError) -> bool {
    matches!(why, KafkaError::NoLeader(_) | KafkaError::UnknownTopic(_))
}

/// Whether somebody has to change something first.
fn is_for_good(why: &KafkaError) -> bool {
    use KafkaError as E;
    matches!(
        why,
        E::Refused(..)
            | E::NotPermitted(_)
            | E::NoMechanism { .. }
            | E::NoSasl(_)
            | E::Unusable(_)
            | E::TooOld { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::{Doubts, Duration, Instant, KafkaError, LASTING, PAUSE};

    fn moved() -> KafkaError {
        KafkaError::NoLeader("t[0]".into())
    }

    fn failed() -> KafkaError {
        KafkaError::Says("t[0]: no".into())
    }

    #[test]
    fn one_that_failed_is_asked_again_after_a_pause_until_it_has_lasted() {
        let (mut doubts, began) = (Doubts::default(), Instant::now());
        doubts.add("t/0", failed(), began).unwrap();
        assert!(doubts.holds("t/0") && doubts.has("t/0") && !doubts.holds("t/1"));
        assert_eq!(doubts.next(), Some(began + PAUSE));
        assert!(!doubts.release(began), "not yet");
        assert!(doubts.release(began + PAUSE) && !doubts.holds("t/0"));
        assert!(!doubts.release(began + PAUSE), "it is asked already");
        assert!(doubts.has("t/0"), "and hasn't answered");
        doubts.add("t/0", failed(), began + LASTING - Duration::from_millis(1)).unwrap();
        assert_eq!(doubts.add("t/0", failed(), began + LASTING), Err(failed()));
        doubts.clear("t/0");
        doubts.add("t/0", failed(), began + LASTING).unwrap();
    }

    #[test]
    fn what_somebody_has_to_mend_is_told_at_once() {
        let denied = KafkaError::NotPermitted("t[0]".into());
        assert_eq!(Doubts::default().add("t/0", denied.clone(), Instant::now()), Err(denied));
    }

    #[test]
    fn a_source_has_failed_when_all_of_it_has() {
        let (mut doubts, now) = (Doubts::default(), Instant::now());
        let of_all = |doubts: &Doubts| doubts.of_all(["t/0", "t/1"].into_iter());
        doubts.add("t/0", failed(), now).unwrap();
        assert_eq!(of_all(&doubts), None, "the other one can be read");
        doubts.add("t/1", moved(), now).unwrap();
        assert_eq!(of_all(&doubts), Some(failed()));
        doubts.add("t/0", moved(), now).unwrap();
        assert_eq!(of_all(&doubts), None, "leaders are elected");
    }
}
