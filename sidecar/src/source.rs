//! Sources: one follower per feed, on a thread of their own so that parsing never delays an answer.

use std::{collections::HashMap, sync::Arc};

use tokio::{sync::watch, task::JoinHandle};
use tracing::{Instrument as _, error, info, info_span};

use crate::{clock::Tick, continuity::Break, engine::Engine, feed::Feed};

mod connect;
mod redis_stream;
pub(crate) mod reply;

pub use connect::Mounts;

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

/// Follows one feed until it is gone from the binding. A follower that panics leaves nothing it can't vouch for, and begins anew.
async fn follow(engine: Arc<Engine>, feed: Arc<Feed>, mounts: Mounts) {
    loop {
        let follower = redis_stream::Follower::new(Arc::clone(&engine), Arc::clone(&feed), mounts.clone());
        let guard = AbortOnDrop(tokio::spawn(follower.run().in_current_span()));
        let Err(error) = guard.ended().await else { return };
        error!(%error, "follower ended unexpectedly");
        feed.set_connected(false);
        engine.break_epoch(&feed, Break::ServerChanged, true, Tick::now());
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
