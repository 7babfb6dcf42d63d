//! Keeps views whole, and answers who reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use super::{
    View,
    board::{Board, Incomplete},
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
    if let Some(board) = view.known(&view.gather(now)?, room(service)) {
        return Ok(board);
    }
    let (on, of) = (Arc::clone(service), Arc::clone(view));
    let ranked = service.runtime().spawn(async move {
        // One at a time: who comes second finds what the first has ranked, unless it has changed again.
        let _one = of.ranking.lock().await;
        let now = Tick::now();
        of.gather(now).map(|gathered| match of.known(&gathered, room(&on)) {
            Some(board) => board,
            None => rank(&on, &of, gathered),
        })
    });
    // It ends with the process alone.
    ranked.await.unwrap_or_else(|_| Err(Incomplete { missing: Vec::new(), no_room: None, next: now }))
}

/// How many bytes views may still hold.
fn room(service: &Service) -> u64 {
    service.allowance().left(service.memory())
}

fn rank(service: &Service, view: &View, gathered: super::board::Gathered) -> Arc<Board> {
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
    for upstream in catalog.upstreams.values() {
        upstream.pins.tidy(room(service), now);
        fetch_due(service, catalog, upstream, now);
    }
    for view in catalog.views.values() {
        let whole = view.current(now).is_some() || look(service, view, now);
        view.note_whole(whole, now);
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

/// As many as have a place; the others wait for the next look.
fn fetch_due(service: &Arc<Service>, catalog: &Catalog, upstream: &Arc<Upstream>, now: Tick) {
    while let Some(place) = upstream.place(now) {
        let Some(key) = upstream.pins.due(now) else { return };
        service.begin_in_background(catalog, upstream, &key, None, place);
    }
}

/// Ranks what has changed; whether the view is whole.
fn look(service: &Service, view: &View, now: Tick) -> bool {
    let Ok(gathered) = view.gather(now) else { return false };
    if let Some(board) = view.known(&gathered, room(service)) {
        return board.top(view).is_ok();
    }
    match view.ranking.try_lock() {
        Ok(_one) => rank(service, view, gathered).top(view).is_ok(),
        // Somebody who reads does it already.
        Err(_) => true,
    }
}
