//! What a value depends on beside its own row and its cache's tables: tables, rows and tags that its fill named.
//!
//! A table that values may depend on has a [`Scope`]: one number that every change of the table raises, so that a change
//! costs the same however many values there are, and its rows. Each row or tag that some value depends on has a mark
//! of its own, found by its hash among all marks; a value holds its scopes and marks, and is void once one of them is later
//! than the value's lease. What was void before a mark was made the history's slots remember, so that no fill slips in.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::Ordering::{Acquire, Release},
    },
};

use crate::{
    bounds::{Memory, room},
    catalog::Cache,
    coherence::{Fence, History, RowHash, Seq, Void},
    planted::{Bug, planted},
    sync::{AtomicBool, AtomicU64},
};

/// What a row or a tag that a value depends on costs, in bytes: its place in the value's list, its mark, and the mark's
/// place among all marks.
const MARK_BYTES: usize = 112;
/// What a table that a value depends on costs, in bytes, where no other value depends on the very same tables.
const TABLE_BYTES: usize = 32;
/// What there is to tell apart before the marks that nobody holds any more are looked for.
const SLACK: usize = 256;
/// Parts of the marks, each tidied by itself.
const PARTS: usize = 64;

/// A table as values can depend on it.
#[derive(Debug)]
pub struct Scope {
    /// Raised by every change of the table.
    pub whole: Fence,
    /// Its rows, as a cache that holds no values: what voids one of these, or all, voids what depends on them.
    pub rows: Arc<Cache>,
    /// Whether a value has ever depended on it.
    used: AtomicBool,
    /// Whether a value has ever depended on a row of it. Until then nobody needs to know which rows have changed.
    by_row: AtomicBool,
}

/// What a fill says that its value depends on.
#[derive(Clone, Debug)]
pub enum On {
    /// A table as a whole.
    Table(Arc<Scope>),
    /// A row of a table.
    Row(Arc<Scope>, RowHash),
    /// A tag, which the application voids itself, or a row of the value's own cache.
    Named(RowHash),
}

/// One thing that a value depends on.
#[derive(Debug)]
enum Dependency {
    Table(Arc<Scope>),
    Row(Arc<Scope>, Arc<Mark>),
    Named(Arc<Mark>),
}

/// All that a value depends on beside its own row and its cache.
#[derive(Debug)]
pub struct Dependencies(Box<[Dependency]>);

/// The last time that a row or tag was void, since some value depends on it.
#[derive(Debug, Default)]
pub(crate) struct Mark(AtomicU64);

/// The marks that values hold, by the hash of what they are of. Of two that share a hash each voids the other's values.
#[derive(Debug)]
pub(crate) struct Marks {
    parts: Box<[Part]>,
    /// Lists of tables that several values may have in common.
    lists: HashMap<Box<[usize]>, Weak<Dependencies>, ahash::RandomState>,
    /// How many of them there may be before those are looked for that nobody holds.
    enough: usize,
}

#[derive(Debug, Default)]
struct Part {
    marks: HashMap<u64, Arc<Mark>, ahash::RandomState>,
    enough: usize,
}

// === impl Scope ===

impl Scope {
    pub(crate) fn new(rows: Arc<Cache>) -> Self {
        Self { whole: Fence::default(), rows, used: AtomicBool::new(false), by_row: AtomicBool::new(false) }
    }

    /// Whether any value may depend on it.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.used.load(Acquire)
    }

    /// Whether changes of it have to be told by row.
    #[must_use]
    pub fn is_by_row(&self) -> bool {
        self.by_row.load(Acquire)
    }

    /// Whether its stream has a position, so that no change of it goes unseen.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.rows.attached.load(Acquire)
    }

    /// Whether no event of it was ever seen.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        self.rows.has_unseen_table()
    }
}

// === impl On ===

impl On {
    /// The table that it is about.
    #[must_use]
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        match self {
            Self::Table(scope) | Self::Row(scope, _) => Some(scope),
            Self::Named(_) => None,
        }
    }

    /// Notes that a value is about to depend on this: from here on changes are told as it needs them.
    pub(crate) fn be_used(&self) {
        if let Some(scope) = self.scope() {
            scope.used.store(true, Release);
        }
        if let Self::Row(scope, _) = self {
            scope.by_row.store(true, Release);
        }
    }

    /// When it was void last, whatever may have voided it.
    pub(crate) fn last(&self, history: &History) -> Void {
        match self {
            Self::Table(scope) => scope.whole.last().later(scope.rows.fence.last()),
            Self::Row(scope, row) => history.last(*row).later(scope.rows.fence.last()),
            Self::Named(what) => history.last(*what),
        }
    }
}

// === impl Dependencies ===

impl Dependencies {
    /// Whether nothing of it was void since `seq`.
    #[must_use]
    pub fn hold(&self, seq: Seq) -> bool {
        self.0.iter().all(|dependency| match dependency {
            Dependency::Table(scope) => scope.whole.holds(seq) && scope.rows.fence.holds(seq),
            Dependency::Row(scope, mark) => scope.rows.fence.holds(seq) && mark.holds(seq),
            Dependency::Named(mark) => mark.holds(seq),
        })
    }

    /// Bytes that it costs a value.
    #[must_use]
    pub fn weight(&self) -> usize {
        let bytes = |dependency: &Dependency| match dependency {
            Dependency::Table(_) => TABLE_BYTES,
            Dependency::Row(..) | Dependency::Named(_) => MARK_BYTES,
        };
        self.0.iter().map(bytes).sum()
    }
}

// === impl Mark ===

impl Mark {
    fn holds(&self, seq: Seq) -> bool {
        seq.0 >= self.0.load(Acquire)
    }
}

// === impl Marks ===

impl Default for Marks {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| Part::default()).collect(), lists: HashMap::default(), enough: 0 }
    }
}

impl Marks {
    /// The dependencies of a value; `None` where there are none.
    pub(crate) fn depend(&mut self, on: Vec<On>) -> Option<Arc<Dependencies>> {
        if on.is_empty() {
            return None;
        }
        let all = on.into_iter().map(|on| match on {
            On::Table(scope) => Dependency::Table(scope),
            On::Row(scope, row) => Dependency::Row(scope, self.part(row).mark(row)),
            On::Named(what) => Dependency::Named(self.part(what).mark(what)),
        });
        let all = Dependencies(all.collect());
        Some(self.share(all))
    }

    /// Notes that what has this hash is void; whether any value depends on it.
    pub(crate) fn void(&mut self, hash: RowHash, seq: Seq) -> bool {
        let mark = self.part(hash).marks.get(&hash.0);
        mark.inspect(|mark| mark.0.store(seq.0, Release)).is_some()
    }

    /// The same dependencies, in one place for all values that have them.
    fn share(&mut self, dependencies: Dependencies) -> Arc<Dependencies> {
        let address = |dependency: &Dependency| match dependency {
            Dependency::Table(scope) => Some(Arc::as_ptr(scope).addr()),
            Dependency::Row(..) | Dependency::Named(_) => None,
        };
        let Some(list) = dependencies.0.iter().map(address).collect::<Option<Box<[usize]>>>() else {
            return Arc::new(dependencies);
        };
        if let Some(known) = self.lists.get(&list).and_then(Weak::upgrade) {
            return known;
        }
        if self.lists.len() >= self.enough {
            self.lists.retain(|_, list| list.strong_count() > 0);
            self.enough = 2 * self.lists.len() + SLACK;
        }
        let dependencies = Arc::new(dependencies);
        self.lists.insert(list, Arc::downgrade(&dependencies));
        dependencies
    }

    fn part(&mut self, hash: RowHash) -> &mut Part {
        &mut self.parts[usize::try_from(hash.0 >> 32).unwrap_or(0) % PARTS]
    }

    /// How many marks there are.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.parts.iter().map(|part| part.marks.len()).sum()
    }
}

// === impl Part ===

impl Part {
    fn mark(&mut self, hash: RowHash) -> Arc<Mark> {
        if self.marks.len() >= self.enough {
            let kept = |mark: &Arc<Mark>| Arc::strong_count(mark) > 1 && !planted(Bug::MarkForgotten);
            self.marks.retain(|_, mark| kept(mark));
            self.enough = 2 * self.marks.len() + room(Memory::Marks, SLACK / 4);
        }
        Arc::clone(self.marks.entry(hash.0).or_default())
    }
}
