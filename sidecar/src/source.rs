//! Sources: one follower per feed, on a thread of their own so that parsing never delays an answer.
//!
//! Each transport is a file that says what was read and what is known of its continuity; `follower` does with all of them
//! the same.

use std::{collections::HashMap, sync::Arc, time::Duration};

use freshet_crds::binding::TransportSpec;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{Instrument as _, error, info, info_span};

use crate::{clock::Tick, continuity::Break, engine::Engine, feed::Feed, mounts::Mounts, publishing};

mod access;
mod file;
mod follower;
mod kafka;
mod nats;
mod nats_jet_stream;
mod postgres_notify;
mod publisher;
mod redis_pub_sub;
mod redis_stream;
mod subscription;
mod transport;

use file::File;
use follower::Follower;
#[cfg(test)]
pub(crate) use kafka::record::record as record_of_kafka;
use kafka::{Kafka, outlet::Topic};
use nats::Nats;
use nats_jet_stream::JetStream;
use postgres_notify::PostgresNotify;
use publisher::Publisher;
use redis_pub_sub::RedisPubSub;
use redis_stream::RedisStreams;
pub(crate) use redis_stream::reply;
use transport::{Outlet, Transport};

/// Follows the feeds of whatever catalog is installed, until `installed` is dropped. `installed` changes with
/// every new catalog.
pub async fn supervise(engine: Arc<Engine>, mounts: Mounts, mut installed: watch::Receiver<u64>) {
    let mut followers: HashMap<*const Feed, (Arc<Feed>, JoinHandle<()>)> = HashMap::new();
    let mut publishers: HashMap<*const Feed, Arc<Feed>> = HashMap::new();
    loop {
        let feeds: Vec<Arc<Feed>> =
            engine.catalog().iter().flat_map(|c| c.feeds.iter().map(|(feed, _)| Arc::clone(feed))).collect();
        followers.retain(|_, (feed, task)| {
            let keep = feeds.iter().any(|f| Arc::ptr_eq(f, feed));
            if !keep {
                info!(source = feed.spec.name, "source is gone from the binding");
                task.abort();
            }
            keep && !task.is_finished()
        });
        publishers.retain(|_, feed| {
            let keep = feeds.iter().any(|f| Arc::ptr_eq(f, feed));
            if !keep {
                // It ends by itself, when it has said so.
                feed.publishing.close();
            }
            keep
        });
        for feed in feeds {
            publishers.entry(Arc::as_ptr(&feed)).or_insert_with(|| {
                let span = info_span!("publish", source = feed.spec.name);
                tokio::spawn(publish(Arc::clone(&feed), mounts.clone()).instrument(span));
                Arc::clone(&feed)
            });
            followers.entry(Arc::as_ptr(&feed)).or_insert_with(|| {
                let span = info_span!("follow", source = feed.spec.name);
                let follower = follow(Arc::clone(&engine), Arc::clone(&feed), mounts.clone());
                (feed, tokio::spawn(follower.instrument(span)))
            });
        }
        if installed.changed().await.is_err() {
            return;
        }
    }
}

/// How long a connection may take to be made, credentials included.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a follower that panicked is given up for: the next one may do so at once.
const PAUSE: Duration = Duration::from_secs(2);

/// Follows one feed until it is gone from the binding. A follower that panics leaves nothing it can't vouch for, and begins anew.
async fn follow(engine: Arc<Engine>, feed: Arc<Feed>, mounts: Mounts) {
    let (mounts, layout) = (mounts.clone(), feed.spec.layout.clone());
    match feed.spec.transport.clone() {
        TransportSpec::RedisStream(redis) => {
            follow_on(engine, feed, || RedisStreams {
                redis: redis.clone(),
                layout: layout.clone(),
                mounts: mounts.clone(),
            })
            .await;
        }
        TransportSpec::NatsJetStream(nats) => {
            follow_on(engine, feed, || JetStream::new(nats.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::RedisPubSub(redis) => {
            follow_on(engine, feed, || RedisPubSub::new(redis.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::Nats(nats) => {
            follow_on(engine, feed, || Nats::new(nats.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::PostgresNotify(postgres) => {
            follow_on(engine, feed, || PostgresNotify::new(postgres.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::File(file) => follow_on(engine, feed, || File::new(&file, &layout)).await,
        TransportSpec::Kafka(kafka) => {
            follow_on(engine, feed, || Kafka::new(kafka.clone(), mounts.clone())).await;
        }
    }
}

async fn follow_on<T: Transport>(engine: Arc<Engine>, feed: Arc<Feed>, transport: impl Fn() -> T) {
    let follower = || Follower::new(Arc::clone(&engine), Arc::clone(&feed), transport()).run();
    let abandon = || {
        feed.set_connected(false);
        engine.break_epoch(&feed, Break::ServerChanged, true, Tick::now());
    };
    keep_running(follower, abandon).await;
}

/// Writes what is published to one feed until it is gone from the binding, where that can be.
async fn publish(feed: Arc<Feed>, mounts: Mounts) {
    if publishing::hindrance(&feed.spec).is_some() {
        return;
    }
    let layout = feed.spec.layout.clone();
    match feed.spec.transport.clone() {
        TransportSpec::RedisStream(redis) => {
            publish_on(feed, || RedisStreams {
                redis: redis.clone(),
                layout: layout.clone(),
                mounts: mounts.clone(),
            })
            .await;
        }
        TransportSpec::NatsJetStream(nats) => {
            publish_on(feed, || JetStream::new(nats.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::Kafka(kafka) => {
            let topic = layout.stream().unwrap_or_default();
            publish_on(feed, || Topic::new(topic, kafka.clone(), mounts.clone())).await;
        }
        TransportSpec::RedisPubSub(redis) => {
            publish_on(feed, || RedisPubSub::new(redis.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::Nats(nats) => {
            publish_on(feed, || Nats::new(nats.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::PostgresNotify(postgres) => {
            publish_on(feed, || PostgresNotify::new(postgres.clone(), &layout, mounts.clone())).await;
        }
        TransportSpec::File(_) => {}
    }
}

async fn publish_on<O: Outlet>(feed: Arc<Feed>, outlet: impl Fn() -> O) {
    // A new one is somebody else: what became of the last one's words nobody knows.
    keep_running(|| Publisher::new(Arc::clone(&feed), outlet()).run(), || {}).await;
}

/// Runs what `start` makes until it ends by itself: whenever it panics, `abandon` follows, and after a pause the next one.
async fn keep_running<F: Future<Output = ()> + Send + 'static>(start: impl Fn() -> F, abandon: impl Fn()) {
    loop {
        let guard = AbortOnDrop(tokio::spawn(start().in_current_span()));
        let Err(error) = guard.ended().await else { return };
        error!(%error, "follower ended unexpectedly");
        abandon();
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends its task when it is dropped, so that aborting the outer one aborts both.
struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    async fn ended(mut self) -> Result<(), tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{PAUSE, keep_running};

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_panics_at_once_is_begun_anew_after_a_pause() {
        let (starts, abandoned) = (Cell::new(0), Cell::new(0));
        let start = || {
            starts.set(starts.get() + 1);
            let n = starts.get();
            async move { assert!(n > 3, "for the test's sake") }
        };
        let began = tokio::time::Instant::now();
        keep_running(start, || abandoned.set(abandoned.get() + 1)).await;
        assert_eq!((starts.get(), abandoned.get()), (4, 3), "the fourth ends by itself");
        assert_eq!(began.elapsed(), PAUSE * 3);
    }
}
