//! Reads that wait: for somebody else's load, or for the log to be applied up to a position.

use std::{sync::Arc, time::Duration};

use super::directives::ReadDirectives;
use crate::{
    catalog::{Cache, Catalog},
    clock::Tick,
    engine::{Answer, Engine, Miss, Pending, Unshown, Wanted},
    key::Key,
    planted::{Bug, planted},
    store::Shelf,
    views::rows::{RowView, Top},
};

/// Reads a key, and as long as `wait` allows waits for what the reader wants. Of those who wait for a load that fails
/// one is told to load.
pub(crate) async fn get<S: Shelf>(
    engine: &Engine<S>,
    catalog: &Catalog,
    cache: &Arc<Cache>,
    key: &Key,
    mut wanted: Wanted<'_>,
    wait: Option<Duration>,
) -> Answer {
    let began = Tick::now();
    let look = |wanted: Wanted<'_>, now: Tick| {
        let waits = wait.is_some_and(|wait| now < began + wait);
        let mut wanted = wanted;
        if waits && wanted.min_position.is_some() && !planted(Bug::WaitWithLease) {
            // Whoever waits for its position isn't loading, and takes nobody's place.
            let early = engine.get(catalog, cache, key, Wanted { lease: false, ..wanted }, now);
            if matches!(early, Answer::Hit(_) | Answer::Miss(Miss { pending: Some(Pending::Position), .. })) {
                return early;
            }
            wanted.again = true;
        }
        engine.get(catalog, cache, key, wanted, now)
    };
    let first = look(wanted, began);
    let (Answer::Miss(Miss { pending: Some(_), .. }), Some(wait)) = (&first, wait) else { return first };
    let deadline = began + wait;
    wanted.again = true;
    let (listening, mut moves) = (engine.listen(cache, key), cache.feed.moves());
    loop {
        let mut ring = std::pin::pin!(listening.ring());
        // Listening begins before the next look, or what happens in between would be missed.
        ring.as_mut().enable();
        moves.mark_unchanged();
        let now = Tick::now();
        let answer = look(wanted, now);
        let (until, behind) = match &answer {
            Answer::Miss(Miss { pending: Some(Pending::Load(until)), .. }) => (deadline.min(*until), false),
            Answer::Miss(Miss { pending: Some(Pending::Position), .. }) => (deadline, true),
            _ => return answer,
        };
        if now >= deadline {
            return answer;
        }
        tokio::select! {
            () = &mut ring => {}
            // The feed lives as long as its cache.
            _ = moves.changed(), if behind => {}
            () = tokio::time::sleep(until.since(now)) => {}
        }
    }
}

/// Reads keys at one instant, and as long as `wait` allows waits for the log to be applied up to the position that the
/// reader asks for. Others' loads aren't waited for: what is the reader's own to load would have to wait, too.
pub(crate) async fn get_all<S: Shelf>(
    engine: &Engine<S>,
    catalog: &Catalog,
    cache: &Arc<Cache>,
    keys: &[&Key],
    mut wanted: Wanted<'_>,
    wait: Option<Duration>,
) -> Vec<Answer> {
    let began = Tick::now();
    let mut moves = cache.feed.moves();
    let waits = wait.filter(|_| wanted.min_position.is_some());
    while let Some(deadline) = waits.map(|wait| began + wait) {
        moves.mark_unchanged();
        let now = Tick::now();
        // Whoever waits for its position isn't loading, and takes nobody's place.
        let early =
            engine.get_all(catalog, cache, keys.iter().copied(), Wanted { lease: false, ..wanted }, now);
        wanted.again = true;
        let is_behind =
            |answer: &Answer| matches!(answer, Answer::Miss(Miss { pending: Some(Pending::Position), .. }));
        if now >= deadline || !early.iter().any(is_behind) {
            break;
        }
        // The feed lives as long as its cache.
        let _ = tokio::time::timeout(deadline.since(now), moves.changed()).await;
    }
    engine.get_all(catalog, cache, keys.iter().copied(), wanted, Tick::now())
}

/// How long a reader of a view over rows waits for one large transaction to change them, and how often it looks: on another
/// thread that takes some 10 µs a row.
const CHANGING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

/// Reads a view over rows, and as long as the reader allows waits for the log to be applied up to the position that it asks for.
pub(crate) async fn top<S: Shelf>(
    engine: &Engine<S>,
    catalog: &Catalog,
    view: &RowView,
    directives: &ReadDirectives,
) -> Result<Top, Unshown> {
    let began = Tick::now();
    let feed = &view.cache.feed;
    let (mut moves, mut wanted) = (feed.moves(), directives.wanted(&feed.spec.name, false));
    loop {
        moves.mark_unchanged();
        let now = Tick::now();
        let top = engine.read_rows(catalog, view, wanted, now);
        let deadline = directives.wait.map(|wait| began + wait);
        match (&top, deadline) {
            // The feed lives as long as its cache.
            (Err(Unshown::Position), Some(deadline)) if now < deadline => {
                let _ = tokio::time::timeout(deadline.since(now), moves.changed()).await;
            }
            (Err(Unshown::Changing), _) if now < began + CHANGING => tokio::time::sleep(LOOK).await,
            _ => return top,
        }
        wanted.again = true;
    }
}
