//! Sources: one follower per feed, on a thread of their own so that parsing never delays an answer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use tracing::{Instrument as _, error, info, info_span};

use crate::{clock::Tick, continuity::Break, engine::Engine, feed::Feed, mounts::Mounts};

mod connect;
mod redis_stream;
pub(crate) mod reply;

/// Follows the feeds of whatever catalog is installed, until `installed` is dropped. `installed` changes with
/// every new catalog.
pub async fn supervise(engine: Arc<Engine>, mounts: Mounts, mut installed: watch::Receiver<u64>) {
    let mut followers: HashMap<*const Feed, (Arc<Feed>, JoinHandle<()>)> = HashMap::new();
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
        for feed in feeds {
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

/// How long a follower that panicked is given up for: the next one may do so at once.
const PAUSE: Duration = Duration::from_secs(2);

/// Follows one feed until it is gone from the binding. A follower that panics leaves nothing it can't vouch for, and begins anew.
async fn follow(engine: Arc<Engine>, feed: Arc<Feed>, mounts: Mounts) {
    let follower =
        || redis_stream::Follower::new(Arc::clone(&engine), Arc::clone(&feed), mounts.clone()).run();
    let abandon = || {
        feed.set_connected(false);
        engine.break_epoch(&feed, Break::ServerChanged, true, Tick::now());
    };
    keep_running(follower, abandon).await;
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
