use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{Arc, Mutex},
    time::Duration,
};

use freshet_crds::binding::{FileSpec, SourceSpec, StreamLayout, TransportSpec};

use super::Publisher;
use crate::{
    clock::Tick,
    feed::Feed,
    publishing::{Envelope, Outcome, Says},
    source::transport::{Outlet, WriteError, Writer},
};

/// How many messages an attempt gets done, and what becomes of the rest.
type Attempt = (usize, End);

enum End {
    All,
    /// No answer comes.
    Never,
    Error(WriteError),
    /// There is no connection, nor is the next one.
    Away,
}

/// A source that does what it is told to, and then takes everything; and what it was given, by whom.
#[derive(Default)]
struct Script {
    attempts: VecDeque<Attempt>,
    given: Vec<(Arc<str>, RangeInclusive<u64>)>,
}

#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

impl Outlet for Scripted {
    type Writer = Self;

    async fn open(&self) -> Result<Self, WriteError> {
        let attempts = &mut self.0.lock().unwrap().attempts;
        if attempts.pop_front_if(|(_, end)| matches!(end, End::Away)).is_some() {
            return Err(WriteError::Unavailable("away".to_owned()));
        }
        Ok(self.clone())
    }
}

impl Writer for Scripted {
    fn is_open(&self) -> bool {
        true
    }

    async fn write(&mut self, messages: &[Envelope], done: &mut usize) -> Result<(), WriteError> {
        let (count, end) = {
            let mut script = self.0.lock().unwrap();
            let numbers = messages[0].sequence..=messages[messages.len() - 1].sequence;
            script.given.push((Arc::clone(&messages[0].publisher), numbers));
            script.attempts.pop_front().unwrap_or((0, End::All))
        };
        *done += count;
        match end {
            End::All => Ok(()),
            End::Error(error) => Err(error),
            End::Never | End::Away => std::future::pending().await,
        }
    }
}

/// A publisher to a source that does this, and what the source was given.
fn publisher(attempts: impl IntoIterator<Item = Attempt>) -> (Publisher<Scripted>, Scripted) {
    let scripted = Scripted::default();
    scripted.0.lock().unwrap().attempts.extend(attempts);
    let feed = Feed::new(SourceSpec {
        name: "bus".to_owned(),
        layout: StreamLayout::Routed { stream: "bus".to_owned() },
        transport: TransportSpec::File(FileSpec { path: "-".to_owned() }),
    });
    (Publisher::new(Arc::new(feed), scripted.clone()), scripted)
}

impl Publisher<Scripted> {
    async fn say(&mut self, count: usize, patience: Duration) -> Outcome {
        let says = vec![Says::Clear { cache: "c".into() }; count];
        self.publish(says, Duration::ZERO, Tick::now() + patience).await
    }
}

impl Scripted {
    fn numbers(&self) -> Vec<RangeInclusive<u64>> {
        self.0.lock().unwrap().given.iter().map(|(_, numbers)| numbers.clone()).collect()
    }

    fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> =
            self.0.lock().unwrap().given.iter().map(|(name, _)| Arc::clone(name)).collect();
        names.dedup();
        names
    }
}

/// No clock moves but the one that is waited for.
const LONG: Duration = Duration::from_mins(10);
const BRIEF: Duration = Duration::from_millis(1);

fn unavailable() -> End {
    End::Error(WriteError::Unavailable("not now".to_owned()))
}

fn refused() -> End {
    End::Error(WriteError::Refused("never".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn what_takes_longer_than_an_attempt_is_gone_on_with() {
    let (mut publisher, source) =
        publisher([(2, End::Never), (1, unavailable()), (0, End::Away), (1, End::Never)]);
    let mut applied = match publisher.say(6, LONG).await {
        Outcome::Written(receipt) if receipt.sequence == 6 => receipt.applied,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(source.numbers(), [1..=6, 3..=6, 4..=6, 5..=6]);
    assert_eq!(source.names().len(), 1);
    applied.try_recv().expect_err("all six have to come back");
    assert!(matches!(publisher.say(1, LONG).await, Outcome::Written(receipt) if receipt.sequence == 7));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_gone_on_with_before_anything_else() {
    let (mut publisher, source) = publisher([(2, unavailable()), (1, End::Never), (1, unavailable())]);
    let outcome = publisher.say(6, BRIEF).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    for _ in 0..2 {
        let outcome = publisher.say(1, LONG).await;
        assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}");
    }
    assert!(matches!(publisher.say(1, LONG).await, Outcome::Written(receipt) if receipt.sequence == 7));
    assert_eq!(source.numbers(), [1..=6, 3..=6, 4..=6, 5..=6, 7..=7]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_after_a_part_of_it_was_written_ends_the_name() {
    for (attempts, numbers) in [
        (vec![(3, refused())], vec![1..=6, 1..=1]),
        (vec![(2, End::Never), (1, refused())], vec![1..=6, 3..=6, 1..=1]),
        (vec![(3, End::Never), (0, refused())], vec![1..=6, 4..=6, 1..=1]),
    ] {
        let (mut publisher, source) = publisher(attempts);
        match publisher.say(6, LONG).await {
            Outcome::Partly(why) => assert_eq!(why, "it has at least the first 3 of 6: never"),
            outcome => panic!("{outcome:?}"),
        }
        assert!(matches!(publisher.say(1, LONG).await, Outcome::Written(receipt) if receipt.sequence == 1));
        assert_eq!((source.numbers(), source.names().len()), (numbers, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_unavailable_at_once_leaves_its_numbers_to_the_next() {
    let (mut publisher, source) = publisher([(0, refused()), (0, unavailable()), (0, unavailable())]);
    let outcome = publisher.say(2, LONG).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    let outcome = publisher.say(3, LONG).await;
    assert!(matches!(outcome, Outcome::Unavailable(_)), "{outcome:?}");
    publisher.say(4, LONG).await;
    assert_eq!((source.numbers().last(), source.names().len()), (Some(&(1..=4)), 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_all_there_is_written_though_no_answer_came() {
    let (mut publisher, source) = publisher([(3, End::Never)]);
    assert!(matches!(publisher.say(3, LONG).await, Outcome::Written(receipt) if receipt.sequence == 3));
    assert_eq!(source.numbers(), [1..=3]);
}
