use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Listener, Subscription, place};
use crate::{
    clock::Tick,
    continuity::Continuity,
    record::{Fields, Reading},
    replication::Replication,
    source::transport::{ReadError, Reader as _, Stream},
};

/// What will come, in order: up to the next question, and between its answer and the one after it. An answer doesn't come
/// while a `-` does.
struct Script(VecDeque<Vec<Fields>>, bool);

impl Subscription for Script {
    async fn next(&mut self, heard: &mut VecDeque<Fields>, _until: Instant) -> Result<(), ReadError> {
        heard.extend(self.0.front_mut().and_then(|come| (!come.is_empty()).then(|| come.remove(0))));
        Ok(())
    }

    async fn round_trip(&mut self, heard: &mut VecDeque<Fields>) -> Result<(), ReadError> {
        let come = self.0.pop_front().unwrap_or_default();
        self.1 = come.contains(&messages("-")[0]);
        heard.extend(come);
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.1
    }
}

fn messages(names: &str) -> Vec<Fields> {
    names.bytes().map(|name| vec![(b"freshet".to_vec(), vec![name])]).collect()
}

fn listener(script: &[&str], connection: u64) -> Listener<Script> {
    Listener::new(Script(script.iter().map(|names| messages(names)).collect(), false), "bus", connection)
}

fn read(reading: &Reading) -> String {
    let records = reading.batches.iter().flat_map(|batch| &batch.records);
    records.map(|record| char::from(record.fields[0].1[0])).collect()
}

/// Applies a reading to the continuity that a follower keeps of it.
fn apply(continuity: &mut Continuity, reading: &Reading) -> String {
    for record in reading.batches.iter().flat_map(|batch| &batch.records) {
        continuity.advance("bus", record.place).unwrap();
    }
    read(reading)
}

#[tokio::test]
async fn what_comes_is_read_once_and_only_an_answer_shows_that_it_was_all() {
    let mut listener = listener(&["ab", "cde", ""], 1);
    let mut continuity = Continuity::default();
    let bus = |place| [Stream { name: "bus", place }];
    let (survey, reading) = listener.survey(&bus(None), 0).await.unwrap();
    assert_eq!(read(&reading), "");
    let states = survey.states.into_iter();
    continuity.attach(survey.server, states, crate::continuity::Start::End).unwrap();
    let at = |continuity: &Continuity| bus(Some(continuity.cursors()["bus"].last));

    let reading = listener.read(&at(&continuity), 1, Duration::ZERO).await.unwrap();
    assert_eq!((apply(&mut continuity, &reading), reading.at_end), ("a".to_owned(), false));
    let (survey, reading) = listener.survey(&at(&continuity), 2).await.unwrap();
    assert_eq!((apply(&mut continuity, &reading), reading.at_end), ("bc".to_owned(), false));
    let states = || survey.states.iter().map(|(name, state)| (name.as_str(), *state));
    assert_eq!(continuity.check_unread(states()), Ok(()), "the others wait");
    let (survey, reading) = listener.survey(&at(&continuity), 2).await.unwrap();
    assert_eq!((apply(&mut continuity, &reading), reading.at_end), ("de".to_owned(), true));
    let states = survey.states.iter().map(|(name, state)| (name.as_str(), *state));
    assert_eq!(continuity.check(&survey.server, states), Ok(()));
}

/// One of which a message may come a moment after what it tells of can be seen.
struct Late(Script);

impl Subscription for Late {
    const COMES_AFTER: bool = true;

    async fn next(&mut self, heard: &mut VecDeque<Fields>, until: Instant) -> Result<(), ReadError> {
        self.0.next(heard, until).await
    }

    async fn round_trip(&mut self, heard: &mut VecDeque<Fields>) -> Result<(), ReadError> {
        self.0.round_trip(heard).await
    }
}

#[tokio::test]
async fn where_messages_come_after_what_they_tell_of_an_answer_proves_the_question_before_it() {
    let mut late = Listener::new(Late(Script(VecDeque::new(), false)), "bus", 1);
    let (mut replication, mut proven) = (Replication::default(), Vec::new());
    for asked in [10_000, 10_500, 12_000] {
        let (survey, _) = late.survey(&[], 1).await.unwrap();
        proven.push(replication.hear(survey.link, Tick(asked)));
        assert_eq!(replication.read(Tick(asked)), None, "nothing but an answer proves anything");
    }
    assert_eq!(
        proven,
        [9000, 10_000, 11_000].map(|at| Some(Tick(at))),
        "a second ago, or the question before"
    );
    let (survey, _) = listener(&[""], 1).survey(&[], 1).await.unwrap();
    assert_eq!(Replication::default().hear(survey.link, Tick(10_000)), Some(Tick(10_000)));
}

#[tokio::test]
async fn on_another_connection_nothing_is_read_from_where_the_one_before_was() {
    let mut listener = listener(&["ab"], 2);
    let stream = [Stream { name: "bus", place: Some(place(7)) }];
    let (survey, reading) = listener.survey(&stream, 10).await.unwrap();
    assert_eq!((read(&reading).as_str(), survey.server.connection), ("", Some(2)));
    let anew = [Stream { name: "bus", place: Some(place(0)) }];
    assert_eq!(read(&listener.read(&anew, 10, Duration::ZERO).await.unwrap()), "ab");
}

#[tokio::test]
async fn without_an_answer_nothing_is_at_its_end() {
    let mut listener = listener(&["", "a-", "b"], 1);
    let bus = |number| [Stream { name: "bus", place: Some(place(number)) }];
    let (_, reading) = listener.survey(&bus(0), 10).await.unwrap();
    assert_eq!((read(&reading).as_str(), reading.at_end), ("", true));
    let (survey, reading) = listener.survey(&bus(0), 10).await.unwrap();
    assert_eq!((read(&reading).as_str(), reading.at_end), ("a-", false));
    let mut continuity = Continuity::default();
    continuity.attach(survey.server, [("bus".to_owned(), None)], crate::continuity::Start::End).unwrap();
    apply(&mut continuity, &reading);
    let states = survey.states.iter().map(|(name, state)| (name.as_str(), *state));
    assert_eq!(continuity.check_unread(states), Ok(()));
    let (_, reading) = listener.survey(&bus(2), 10).await.unwrap();
    assert_eq!((read(&reading).as_str(), reading.at_end), ("b", true));
}
