//! A subscription to a subject, of which nothing is lost without being noticed.
//!
//! A server sends what is published whether it is wanted now or not, and `async-nats` takes it off the connection at once:
//! what a subscription can't hold it drops. All messages of a connection are counted before, so that a drop shows by the
//! count. And it shouldn't come to that: on a runtime of one thread the client reads a bounded number of blocks before
//! whoever waits for messages has its turn, and while that one works the client doesn't read, so that the server waits.

use std::{
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{Message, Subscriber, client::SubscribeErrorKind};
use bytes::Bytes;
use futures::Stream as _;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, timeout, timeout_at},
};

use super::{Holding, Link, NatsError, REPLY, Target, connect_holding, failure::brief};
use crate::{ConnectError, Resolve};

/// A turn of the client reads up to 128 blocks, of 2 MiB together: no more messages than are held, unless they take less
/// than 32 bytes each, subject included.
const HELD: Holding = Holding { messages: 1 << 16, block: 16 << 10 };

/// How often a silent connection is looked at: nobody who waits for messages is told that it is lost.
const LOOK: Duration = Duration::from_millis(250);

/// Connects, and listens to a subject, which may have wildcards. `within` is how long the connecting may take; an answer may
/// take 4 s more. What comes meanwhile isn't heard.
pub async fn listen(
    target: &Target,
    names: &impl Resolve,
    subject: &str,
    within: Duration,
) -> Result<Listening, NatsError> {
    listen_holding(HELD, target, names, subject, within).await
}

async fn listen_holding(
    holding: Holding,
    target: &Target,
    names: &impl Resolve,
    subject: &str,
    within: Duration,
) -> Result<Listening, NatsError> {
    let link = connect_holding(holding, target, names, within).await?;
    let inbox = link.client().new_inbox();
    let echoes = subscribe(&link, &inbox).await?;
    let messages = subscribe(&link, subject).await?;
    let mut listening = Listening { link, inbox, messages, echoes, taken: 0, asked: 0, answered: 0 };
    // What isn't permitted is told to another task, which by the second time has heard it on any runtime.
    let twice = async {
        for _ in 0..2 {
            listening.round_trip(|_| {}, usize::MAX).await?;
        }
        Ok(())
    };
    let Ok(answered) = timeout(2 * REPLY, twice).await else { return Err(listening.silent()) };
    answered.map(|()| listening)
}

async fn subscribe(link: &Link, subject: &str) -> Result<Subscriber, NatsError> {
    link.client().subscribe(subject.to_owned()).await.map_err(|error| match error.kind() {
        SubscribeErrorKind::InvalidSubject => NatsError::NoSubject(brief(subject)),
        _ => NatsError::Lost(link.at().clone()),
    })
}

/// A subscription on a connection of its own.
#[derive(Debug)]
pub struct Listening {
    link: Link,
    /// A subject of our own, by which we hear ourselves.
    inbox: String,
    messages: Subscriber,
    echoes: Subscriber,
    /// Messages that were taken of both.
    taken: u64,
    /// The number of the last question, and of the last that was answered.
    asked: u64,
    answered: u64,
}

impl Listening {
    /// Hands over all messages that have come, in their order; if there is none, it waits until then for the first. What was
    /// handed over counts if no error follows it.
    pub async fn hear(&mut self, mut each: impl FnMut(Message), until: Instant) -> Result<(), NatsError> {
        loop {
            let came = std::future::poll_fn(|cx| self.poll(cx, &mut each));
            let look = until.min(Instant::now() + LOOK);
            // All that is held is taken, however much it is: the client can't read on meanwhile.
            match timeout_at(look, unconstrained(came)).await {
                Ok(open) => return open,
                Err(_) if !self.link.is_unbroken() => return Err(self.lost()),
                Err(_) if look < until => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Sends a message to ourselves and hears everything that the server sends before it, which is all that it had when it
    /// came. If that is more than so many bytes it returns `false` before the end, and the next call asks anew.
    ///
    /// The server may be silent for 2 s.
    pub async fn round_trip(
        &mut self,
        mut each: impl FnMut(Message),
        most: usize,
    ) -> Result<bool, NatsError> {
        self.asked += 1;
        let payload = Bytes::from(self.asked.to_string());
        let client = self.link.client();
        let published = client.publish(self.inbox.clone(), payload);
        published.await.map_err(|_| self.lost())?;
        let mut heard = 0_usize;
        while self.answered < self.asked {
            let before = self.taken;
            let count = |message: Message| {
                heard = heard.saturating_add(message.length);
                each(message);
            };
            self.hear(count, Instant::now() + REPLY).await?;
            if self.answered < self.asked && heard > most {
                return Ok(false);
            }
            if self.taken == before {
                return Err(self.silent());
            }
        }
        // Lets the task that hears what isn't permitted go first: that was told before the answer.
        tokio::task::yield_now().await;
        self.hear(each, Instant::now()).await?;
        match self.link.denied() {
            Some(says) => Err(NatsError::NotPermitted(says.to_owned())),
            None => Ok(true),
        }
    }

    /// Whether nothing is missing of what was sent on this connection. To be asked right after [`Listening::hear`] or
    /// [`Listening::round_trip`], on a runtime of one thread: on others the client may be about to hand over what it has
    /// counted.
    pub fn be_whole(&self) -> Result<(), NatsError> {
        let came = self.link.client().statistics().in_messages.load(Ordering::Acquire);
        if came != self.taken {
            return Err(NatsError::Dropped(self.link.at().clone()));
        }
        if self.link.is_unbroken() { Ok(()) } else { Err(self.lost()) }
    }

    /// Takes all that is there. What was sent before an answer was handed over before it, so that the answers are looked at
    /// first.
    fn poll(&mut self, cx: &mut Context<'_>, each: &mut impl FnMut(Message)) -> Poll<Result<(), NatsError>> {
        let before = self.taken;
        let mut is_open = true;
        while let Poll::Ready(echo) = Pin::new(&mut self.echoes).poll_next(cx) {
            let Some(echo) = echo else {
                is_open = false;
                break;
            };
            self.taken += 1;
            let number = std::str::from_utf8(&echo.payload).ok().and_then(|text| text.parse().ok());
            self.answered = number.filter(|number| *number <= self.asked).unwrap_or(self.answered);
        }
        while let Poll::Ready(message) = Pin::new(&mut self.messages).poll_next(cx) {
            let Some(message) = message else {
                is_open = false;
                break;
            };
            self.taken += 1;
            // Subjects such as `>` are ours, too.
            if message.subject.as_str() != self.inbox {
                each(message);
            }
        }
        match (is_open, self.taken == before) {
            (false, _) => Poll::Ready(Err(self.lost())),
            (true, true) => Poll::Pending,
            (true, false) => Poll::Ready(Ok(())),
        }
    }

    fn lost(&self) -> NatsError {
        NatsError::Lost(self.link.at().clone())
    }

    /// What it means that nothing comes.
    fn silent(&self) -> NatsError {
        match self.link.denied() {
            Some(says) => NatsError::NotPermitted(says.to_owned()),
            None => ConnectError::Timeout(self.link.at().clone()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use freshet_e2e::process::Nats;

    use super::*;
    use crate::{Certificates, System};

    #[tokio::test]
    async fn what_a_subscription_cant_hold_is_missed() {
        let nats = Nats::start().unwrap();
        let certificates = Certificates::default();
        let target = Target { url: nats.url().parse().unwrap(), certificates, credentials: None };
        let few = Holding { messages: 10, ..HELD };
        let within = Duration::from_secs(10);
        let mut listening = listen_holding(few, &target, &System, "shop.>", within).await.unwrap();
        let mut burst = async |count| {
            // While this thread waits, nobody reads.
            std::thread::scope(|aside| {
                aside.spawn(|| nats.publish_many("shop.a", b"x", count).unwrap()).join().unwrap();
            });
            let mut heard = 0;
            while listening.round_trip(|_| heard += 1, usize::MAX).await == Ok(false) {}
            (heard, listening.be_whole())
        };
        assert_eq!(burst(10).await, (10, Ok(())));
        let (heard, is_whole) = burst(11).await;
        assert!(heard >= 10);
        assert!(matches!(is_whole, Err(NatsError::Dropped(_))), "{is_whole:?}");
        // What comes later doesn't hide it.
        assert!(matches!(burst(3).await.1, Err(NatsError::Dropped(_))));
    }
}
