//! What bindings want removed from their streams, and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use freshet_connect::Target;

use super::NotTrimmed;

/// What one source of a binding wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The source's name.
    pub source: String,
    /// Where it is; `None`: its Secret isn't there, say.
    pub target: Option<Target>,
    /// The streams that Debezium writes for it.
    pub streams: BTreeSet<String>,
    /// How old entries get; `None`: nothing is removed.
    pub retention: Option<Duration>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Entries that are older were removed.
    Trimmed,
    /// This stream isn't trimmed because of this binding.
    Held(String, String),
    /// It failed.
    Failed(NotTrimmed),
    /// Nothing is removed from any stream, because what these bindings want isn't known.
    Waiting(String),
}

/// A binding as it is there now, whatever is known of its wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct There {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The generation of its spec.
    pub generation: Option<i64>,
}

/// What all bindings want, by uid.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Default)]
struct Book {
    // In an order, so that of several bindings that hold a stream always the same one is named.
    pages: BTreeMap<String, Page>,
    /// Grows with every change of what is wanted.
    version: u64,
}

/// Of one binding.
#[derive(Clone)]
pub(super) struct Page {
    pub(super) there: There,
    /// `None`: not known yet.
    pub(super) wants: Option<Vec<Want>>,
    became: HashMap<String, Became>,
}

// === impl Ledger ===

impl Ledger {
    /// What a binding of this generation wants; `None`: it can't be told, so that it wants what it wanted.
    pub fn want(&self, uid: &str, there: There, wants: Option<Vec<Want>>) {
        let mut book = self.lock();
        let page = book.pages.entry(uid.to_owned());
        let page = page.or_insert_with(|| Page { there: there.clone(), wants: None, became: HashMap::new() });
        page.there = there;
        if wants.is_some() && wants != page.wants {
            page.wants = wants;
            page.became.clear();
            book.version += 1;
        }
    }

    /// What a binding wants, or wanted; `None`: nobody knows.
    #[must_use]
    pub fn wanted(&self, uid: &str) -> Option<Vec<Want>> {
        self.lock().pages.get(uid).and_then(|page| page.wants.clone())
    }

    /// What became of a binding's wants, by source; nothing yet for those that aren't there.
    #[must_use]
    pub fn became(&self, uid: &str) -> HashMap<String, Became> {
        self.lock().pages.get(uid).map(|page| page.became.clone()).unwrap_or_default()
    }

    /// Forgets all but these bindings; the names of those of which isn't known what they want as they are now.
    pub(super) fn unknown(&self, all: &BTreeMap<String, There>) -> BTreeSet<String> {
        let mut book = self.lock();
        let before = book.pages.len();
        book.pages.retain(|uid, _| all.contains_key(uid));
        if book.pages.len() != before {
            book.version += 1;
        }
        let is_known = |uid: &String, there: &There| {
            book.pages
                .get(uid)
                .is_some_and(|page| page.wants.is_some() && page.there.generation == there.generation)
        };
        all.iter().filter(|(uid, there)| !is_known(uid, there)).map(|(_, there)| there.to_string()).collect()
    }

    /// All pages, and a number that changes with what they want.
    pub(super) fn read(&self) -> (u64, Vec<(String, Page)>) {
        let book = self.lock();
        (book.version, book.pages.iter().map(|(uid, page)| (uid.clone(), page.clone())).collect())
    }

    /// Whether all want what they wanted when this number was read.
    pub(super) fn is_at(&self, version: u64) -> bool {
        self.lock().version == version
    }

    /// Notes what became of one source's want.
    pub(super) fn note(&self, uid: &str, source: &str, became: Became) {
        if let Some(page) = self.lock().pages.get_mut(uid) {
            page.became.insert(source.to_owned(), became);
        }
    }

    /// Notes of all that nothing is removed until it is known what these bindings want.
    pub(super) fn note_waiting(&self, unknown: &BTreeSet<String>) {
        let names = unknown.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        for page in self.lock().pages.values_mut() {
            let wants = page.wants.iter().flatten().filter(|want| want.retention.is_some());
            page.became = wants.map(|want| (want.source.clone(), Became::Waiting(names.clone()))).collect();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for There {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
