//! Reads that wait: for somebody else's load, or for the log to be applied up to a position.

use std::{sync::Arc, time::Duration};

use crate::{
    catalog::{Cache, Catalog},
    clock::Tick,
    engine::{Answer, Engine, Miss, Pending, Wanted},
    key::Key,
};

/// Reads a key, and as long as `wait` allows waits for what the reader wants. Of those who wait for a load that fails
/// one is told to load.
pub(super) async fn get(
    engine: &Engine,
    catalog: &Catalog,
    cache: &Arc<Cache>,
    key: &Key,
    mut wanted: Wanted<'_>,
    wait: Option<Duration>,
) -> Answer {
    let first = engine.get(catalog, cache, key, wanted, Tick::now());
    let (Answer::Miss(Miss { pending: Some(_), .. }), Some(wait)) = (&first, wait) else { return first };
    let deadline = Tick::now() + wait;
    wanted.again = true;
    let (listening, mut moves) = (engine.listen(cache, key), cache.feed.moves());
    loop {
        let mut ring = std::pin::pin!(listening.ring());
        // Listening begins before the next look, or what happens in between would be missed.
        ring.as_mut().enable();
        moves.mark_unchanged();
        let now = Tick::now();
        let answer = engine.get(catalog, cache, key, wanted, now);
        let until = match &answer {
            Answer::Miss(Miss { pending: Some(Pending::Load(until)), .. }) => deadline.min(*until),
            Answer::Miss(Miss { pending: Some(Pending::Position), .. }) => deadline,
            _ => return answer,
        };
        if now >= deadline {
            return answer;
        }
        tokio::select! {
            () = &mut ring => {}
            // The feed lives as long as its cache.
            _ = moves.changed() => {}
            () = tokio::time::sleep(until.since(now)) => {}
        }
    }
}
