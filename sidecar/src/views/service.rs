//! Keeps views whole, and answers who reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use super::{
    View,
    board::{Board, Gathered, Incomplete},
};
use crate::{
    catalog::Catalog,
    clock::Tick,
    upstream::{Upstream, allowance::Allowance, service::Service},
};

/// Answers a reader: what is shown at an instant between the request and its answer, or why nothing is.
pub async fn read(service: &Arc<Service>, view: &Arc<View>, now: Tick) -> Result<Arc<Board>, Incomplete> {
    let found = match view.current(now) {
        Some(board) => Ok(board),
        None => gathered(service, view, now).await,
    };
    let shown = found.and_then(|board| board.top(view).map(|_| Arc::clone(&board)));
    let counter = match &shown {
        Ok(board) if board.standing().stale.is_some() => &view.stats.stale_hits,
        Ok(_) => &view.stats.hits,
        Err(_) => &view.stats.incomplete,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    shown
}

async fn gathered(service: &Arc<Service>, view: &Arc<View>, now: Tick) -> Result<Arc<Board>, Incomplete> {
    if let Found::Ranked(board) = found(service, view, now)? {
        return Ok(board);
    }
    // It goes on when the reader has gone: somebody else may wait for it.
    let ranked = service.runtime().spawn(ranked(Arc::clone(service), Arc::clone(view)));
    ranked.await.unwrap_or_else(|_| Err(crashed(now)))
}

/// What is found of a view's answers.
enum Found {
    /// What they come to.
    Ranked(Arc<Board>),
    /// They have to be ranked first.
    Unranked(Gathered),
}

fn found(service: &Service, view: &View, now: Tick) -> Result<Found, Incomplete> {
    let gathered = view.gather(now)?;
    Ok(match view.known(&gathered, room(service)) {
        Some(board) => Found::Ranked(board),
        None => Found::Unranked(gathered),
    })
}

/// Ranks what is held on a thread of its own, so that neither fetches nor the API's answers wait for that.
async fn ranked(service: Arc<Service>, view: Arc<View>) -> Result<Arc<Board>, Incomplete> {
    // One at a time: who comes second finds what the first has ranked, unless it has changed again.
    let _one = view.ranking.lock().await;
    if let Found::Ranked(board) = found(&service, &view, Tick::now())? {
        return Ok(board);
    }
    let _turn = service.turn_to_rank().await;
    let now = Tick::now();
    let gathered = match found(&service, &view, now)? {
        Found::Ranked(board) => return Ok(board),
        Found::Unranked(gathered) => gathered,
    };
    let (on, of) = (Arc::clone(&service), Arc::clone(&view));
    tokio::task::spawn_blocking(move || rank(&on, &of, gathered)).await.map_err(|_| crashed(now))
}

/// Ranking ends without a result with the process alone.
fn crashed(now: Tick) -> Incomplete {
    Incomplete { missing: Vec::new(), no_room: None, next: now }
}

/// How many bytes views may still hold.
fn room(service: &Service) -> u64 {
    service.allowance().left(service.memory())
}

fn rank(service: &Service, view: &View, gathered: Gathered) -> Arc<Board> {
    let memory = service.memory();
    view.stats.ranked.fetch_add(1, Ordering::Relaxed);
    let board =
        view.ranked(gathered, |bytes| service.allowance().take(bytes, memory).ok_or(Allowance::most(memory)));
    view.tell(&board);
    board
}

/// Does what is due: pins the keys of a catalog's views, fetches those that are missing or to be fetched anew, as far as the
/// upstream takes it, and ranks what has changed. `tended` is the catalog of the last time.
pub(crate) fn tend(
    service: &Arc<Service>,
    catalog: &Arc<Catalog>,
    tended: &mut Option<Arc<Catalog>>,
    now: Tick,
) {
    if !tended.as_ref().is_some_and(|last| Arc::ptr_eq(last, catalog)) {
        pin(service, catalog, now);
        *tended = Some(Arc::clone(catalog));
    }
    if catalog.views.is_empty() {
        return;
    }
    make_room(service, catalog, now);
    for upstream in catalog.upstreams.values() {
        upstream.pins.tidy(room(service), now);
        fetch_due(service, catalog, upstream, now);
    }
    for view in catalog.views.values() {
        let whole = if view.current(now).is_some() { Some(true) } else { look(service, view, now) };
        if let Some(whole) = whole {
            view.note_whole(whole, now);
        }
    }
}

fn pin(service: &Service, catalog: &Catalog, now: Tick) {
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for view in catalog.views.values() {
        keys.entry(&view.spec.cache).or_default().extend(view.spec.keys.iter().map(|key| &**key));
    }
    for (name, upstream) in &catalog.upstreams {
        service.pin(upstream, keys.get(name.as_str()).unwrap_or(&BTreeSet::new()), now);
    }
}

/// Drops what there is no room for any more, since `memory` was lowered: the largest answers first, with what was ranked of
/// them.
fn make_room(service: &Service, catalog: &Catalog, now: Tick) {
    let (allowance, memory) = (service.allowance(), service.memory());
    while allowance.is_exceeded(memory) {
        let useless = catalog.views.values().filter(|view| view.gather(now).is_err());
        if useless.filter(|view| view.clear()).count() > 0 {
            continue;
        }
        let largest = catalog.upstreams.values().max_by_key(|upstream| upstream.pins.largest());
        if !largest.is_some_and(|upstream| upstream.pins.drop_largest(Allowance::most(memory))) {
            return;
        }
    }
}

/// As many as have a place; the others wait for the next look.
fn fetch_due(service: &Arc<Service>, catalog: &Catalog, upstream: &Arc<Upstream>, now: Tick) {
    while let Some(place) = upstream.place(now) {
        let Some(due) = upstream.pins.due(place.takes_hung(), now) else { return };
        let Some(place) = place.of(due.hung) else { return };
        service.begin_in_background(catalog, upstream, &due.key, None, (place, false));
    }
}

/// Has ranked what has changed; whether the view is whole, which isn't known while it is ranked.
fn look(service: &Arc<Service>, view: &Arc<View>, now: Tick) -> Option<bool> {
    match found(service, view, now) {
        Err(_) => Some(false),
        Ok(Found::Ranked(board)) => Some(board.top(view).is_ok()),
        Ok(Found::Unranked(_)) => {
            // Unless that is done already.
            if view.ranking.try_lock().is_ok() {
                service.runtime().spawn(ranked(Arc::clone(service), Arc::clone(view)));
            }
            None
        }
    }
}
