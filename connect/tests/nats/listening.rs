//! Listening to a subject: what was said before an answer is heard before it, and nothing is lost without a word.

use std::thread;

use freshet_connect::nats::{Listening, Message, listen, probe_subject};
use tokio::time::Instant as Tick;

use super::*;

/// Does something on another thread while this one waits, so that meanwhile nobody reads.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}

async fn listening(nats: &Nats, subject: &str) -> Listening {
    listen(&target(&nats.url()), &System, subject, WITHIN).await.unwrap()
}

/// All that the server has sent before it answers.
async fn heard(listening: &mut Listening) -> Result<Vec<Message>, NatsError> {
    let mut all = Vec::new();
    while !listening.round_trip(|message| all.push(message), usize::MAX).await? {}
    listening.be_whole()?;
    Ok(all)
}

fn said(messages: &[Message]) -> Vec<(&str, &str)> {
    let said = |message| {
        let Message { subject, payload, .. }: &Message = message;
        (subject.as_str(), std::str::from_utf8(payload).unwrap())
    };
    messages.iter().map(said).collect()
}

#[tokio::test]
async fn what_was_said_before_is_heard_before_the_answer() {
    let nats = Nats::start().unwrap();
    let mut all = listening(&nats, ">").await;
    assert_eq!(heard(&mut all).await.unwrap().len(), 0, "nobody has said anything but we ourselves");
    let mut one = listening(&nats, "shop.*").await;
    for round in 0..5 {
        aside(|| {
            for (subject, payload) in [("shop.a", "1"), ("other", "2"), ("shop.b", "")] {
                nats.publish(subject, &[], payload.as_bytes()).unwrap();
            }
        });
        let (one, all) = (heard(&mut one).await.unwrap(), heard(&mut all).await.unwrap());
        assert_eq!(said(&one), [("shop.a", "1"), ("shop.b", "")], "{round}");
        // Others ask themselves, too.
        let all: Vec<_> =
            said(&all).into_iter().filter(|(subject, _)| !subject.starts_with("_INBOX")).collect();
        assert_eq!(all, [("shop.a", "1"), ("other", "2"), ("shop.b", "")], "{round}");
    }
    let begun = Instant::now();
    one.hear(|_| panic!(), Tick::now() + Duration::from_millis(50)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(50));
    aside(|| nats.publish("shop.a", &[], b"3").unwrap());
    let mut now = Vec::new();
    one.hear(|message| now.push(message), Tick::now() + WITHIN).await.unwrap();
    assert_eq!(said(&now), [("shop.a", "3")]);
}

#[tokio::test]
async fn a_burst_waits_in_the_network_and_not_in_memory() {
    const COUNT: usize = 100_000;
    let nats = Nats::start().unwrap();
    let mut listening = listening(&nats, "shop.>").await;
    let payload = [b'x'; 200];
    aside(|| nats.publish_many("shop.a", &payload, COUNT).unwrap());
    let (mut count, mut calls, mut at_once) = (0, 0, 0);
    loop {
        let before = count;
        let answered = listening.round_trip(|_| count += 1, 1 << 20).await.unwrap();
        listening.be_whole().unwrap();
        (calls, at_once) = (calls + 1, at_once.max(count - before));
        if answered {
            break;
        }
    }
    assert_eq!(count, COUNT);
    assert!(calls > 3 && at_once < COUNT / 2, "{calls} calls, {at_once} messages in one");
}

#[tokio::test]
async fn who_is_too_slow_is_cut_off_and_knows() {
    let nats = Nats::builder().max_pending(4 << 20).start().unwrap();
    let mut listening = listening(&nats, "shop.>").await;
    let payload = vec![b'x'; 1 << 19];
    // More than what the server holds for us, and the network.
    aside(|| nats.publish_many("shop.a", &payload, 100).unwrap());
    let lost = heard(&mut listening).await.unwrap_err();
    assert_eq!(lost, NatsError::Lost(of(&nats)));
    assert_eq!(nats.monitor("varz").unwrap()["slow_consumers"], 1);
}

#[tokio::test]
async fn a_connection_of_before_is_lost() {
    let mut nats = Nats::start().unwrap();
    let mut listening = listening(&nats, "shop.>").await;
    assert_eq!(heard(&mut listening).await.unwrap().len(), 0);
    aside(|| nats.restart().unwrap());
    assert_eq!(heard(&mut listening).await.unwrap_err(), NatsError::Lost(of(&nats)));
}

#[tokio::test]
async fn a_server_that_stands_still_is_noticed() {
    let mut nats = Nats::start().unwrap();
    let mut listening = listening(&nats, "shop.>").await;
    nats.pause().unwrap();
    let begun = Instant::now();
    let silent = heard(&mut listening).await.unwrap_err();
    assert_eq!(silent, NatsError::Connect(ConnectError::Timeout(of(&nats))));
    assert!(begun.elapsed() < WITHIN * 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_not_permitted_is_told_in_the_servers_words() {
    let user = |permissions: &str| {
        format!("{{users: [{{user: shop, password: hush, permissions: {{{permissions}}}}}]}}")
    };
    let may = "publish: \"_INBOX.>\", subscribe: [\"_INBOX.>\", \"shop.a\", \"shop.b.>\"]";
    let mut nats = Nats::builder().set("authorization", &user(may)).start().unwrap();
    let target = target(&format!("nats://shop:hush@{}", nats.address()));
    let probe = async |subject: &'static str| probe_subject(&target, &System, subject, WITHIN).await;
    for subject in ["shop.a", "shop.b.>", "shop.b.c"] {
        assert_eq!(probe(subject).await, Ok(()), "{subject}");
    }
    for subject in ["shop.>", "shop.c", ">"] {
        let denied = probe(subject).await.unwrap_err();
        let says = format!("Permissions Violation for Subscription to \"{subject}\"");
        assert_eq!(denied, NatsError::NotPermitted(says));
    }
    assert_eq!(probe("shop..a").await, Err(NatsError::NoSubject("shop..a".into())));
    // Who may no longer listen knows, too.
    let mut listening = listen(&target, &System, "shop.a", WITHIN).await.unwrap();
    assert!(heard(&mut listening).await.is_ok());
    nats.reload_with("authorization", &user(&may.replace("\"shop.a\", ", ""))).unwrap();
    let denied = heard(&mut listening).await.unwrap_err();
    assert!(
        matches!(&denied, NatsError::NotPermitted(says) if says.contains("\"shop.a\""))
            || denied == NatsError::Lost(of(&nats)),
        "{denied:?}"
    );
    for (may, lacks) in
        [("publish: none, subscribe: \">\"", "Publish"), ("subscribe: \"shop.>\"", "Subscription")]
    {
        let nats = Nats::builder().set("authorization", &user(may)).start().unwrap();
        let target = super::target(&format!("nats://shop:hush@{}", nats.address()));
        let denied = probe_subject(&target, &System, "shop.a", WITHIN).await.unwrap_err();
        let NatsError::NotPermitted(says) = &denied else { panic!("{denied:?}") };
        assert!(says.starts_with(&format!("Permissions Violation for {lacks} to \"_INBOX.")), "{says}");
    }
}
