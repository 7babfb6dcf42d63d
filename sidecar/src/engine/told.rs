//! What becomes void is told to those who listen.
//!
//! It is noted where it becomes void, and told before the lock is given back: when all of a change has been done, and in
//! the order in which changes are.

use std::sync::Arc;

use freshet_crds::OnChange;

use super::{Core, Engine};
use crate::{
    catalog::Cache,
    dependencies::Scope,
    events::{Cause, Place, Voided},
    feed::Feed,
    key::{Key, MAX_KEY},
    store::Shelf,
};

impl<S: Shelf> Engine<S> {
    /// Begins to tell what becomes void, if nobody has listened so far. What is applied from here on comes behind the
    /// place that is answered.
    pub fn listen_to_all(&self) -> Place {
        let mut core = self.core();
        core.untold.get_or_insert_default();
        self.events.end()
    }

    /// Notes a void row, or without a key all of a cache.
    pub(super) fn note(&self, core: &mut Core, cache: &Cache, key: Option<&Key>) {
        // Nobody can ask for a longer one.
        if key.is_some_and(|key| key.as_str().len() > 3 * MAX_KEY) {
            return;
        }
        let Some(untold) = &mut core.untold else { return };
        if cache.is_scope {
            let catalog = self.catalog();
            let mut scopes = catalog.iter().flat_map(|catalog| catalog.scopes());
            if !scopes.any(|scope| scope.rows.id == cache.id && scope.is_used()) {
                return;
            }
            let on = key.map(|key| format!("{}/{}", table(cache), key.to_path()));
            self.note_dependents(untold, Some(&cache.feed), on.as_deref());
        } else {
            untold.push(Voided::new(cache, key));
        }
    }

    /// Notes that what depends on a table is void, and with `rows` what depends on any of its rows.
    pub(super) fn note_table(&self, core: &mut Core, scope: &Scope, rows: bool) {
        if let Some(untold) = core.untold.as_mut().filter(|_| scope.is_used()) {
            let on = (!rows).then(|| table(&scope.rows));
            self.note_dependents(untold, Some(&scope.rows.feed), on.as_deref());
        }
    }

    /// Notes that what depends on a tag is void.
    pub(super) fn note_tag(&self, core: &mut Core, tag: &str) {
        if let Some(untold) = &mut core.untold {
            let tag = Key::from_columns([tag.into()]).to_path();
            self.note_dependents(untold, None, Some(&format!("tag:{tag}")));
        }
    }

    /// Which values depend on it isn't known here: it may be any that a fill has made.
    fn note_dependents(&self, untold: &mut Vec<Voided>, feed: Option<&Arc<Feed>>, on: Option<&str>) {
        let Some(catalog) = self.catalog() else { return };
        let source = feed.map(|feed| feed.spec.name.as_str());
        let filled = |cache: &&Arc<Cache>| cache.spec.on_change != OnChange::Hydrate;
        let its = |cache: &&Arc<Cache>| feed.is_none_or(|feed| Arc::ptr_eq(feed, &cache.feed));
        let caches = catalog.caches.values().filter(filled).filter(its);
        untold.extend(caches.map(|cache| Voided::depending(cache, source, on)));
    }

    /// Tells what was noted since the lock was taken.
    pub(super) fn tell(&self, core: &mut Core, cause: Cause<'_>) {
        if let Some(untold) = core.untold.as_mut().filter(|untold| !untold.is_empty()) {
            self.events.tell(cause, untold);
        }
    }
}

/// The table of a scope's rows, as fills name it.
fn table(rows: &Cache) -> String {
    Key::from_columns(rows.spec.table.as_deref().map(Into::into)).to_path()
}
