//! The rows themselves, and their order in each view.

use std::{collections::HashMap, sync::Arc};

use freshet_crds::binding::ViewSpec;

use super::{super::ranking::Ranked, index::Index};

/// Bytes that a row takes beside its key and its text, and those that it takes in each view.
const OVERHEAD: u64 = 128;
const IN_VIEW: u64 = 128;

/// What is known of a row that is there.
#[derive(Debug)]
pub(super) struct Row {
    /// `None`: nobody knows what it is.
    pub(super) json: Option<Box<str>>,
    /// When the log told of it last; `None`: a snapshot did.
    pub(super) told: Option<u64>,
    /// Whether the snapshot that is being read has it.
    pub(super) read: bool,
}

/// The rows that are there.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_key: HashMap<Arc<str>, Row, ahash::RandomState>,
    /// How many there are of which nobody knows what they are.
    unclear: usize,
    /// Bytes of keys and texts.
    bytes: u64,
    indexes: Vec<Index>,
    changed: bool,
}

impl Rows {
    pub(super) fn get(&self, key: &str) -> Option<&Row> {
        self.by_key.get(key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn unclear(&self) -> usize {
        self.unclear
    }

    pub(super) fn weight(&self) -> u64 {
        let ordered_by: u64 = self.indexes.iter().map(Index::weight).sum();
        self.bytes + ordered_by + self.by_key.len() as u64 * (OVERHEAD + IN_VIEW * self.indexes.len() as u64)
    }

    /// Notes that what is shown may be another.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Puts a row in the place of what was known of it; its key.
    pub(super) fn put(&mut self, key: &str, row: Row) -> Arc<str> {
        let key = self.remove(key).unwrap_or_else(|| key.into());
        self.bytes += weight(&key, &row);
        match &row.json {
            Some(json) => self.indexes.iter_mut().for_each(|index| index.insert(&key, json)),
            None => self.unclear += 1,
        }
        self.by_key.insert(Arc::clone(&key), row);
        self.changed = true;
        key
    }

    /// Notes that what the log has told of a row was told before this time.
    pub(super) fn date(&mut self, key: &str, at: u64) {
        if let Some(Row { told: Some(told), .. }) = self.by_key.get_mut(key) {
            *told = at.min(*told);
        }
    }

    /// Removes a row; its key, if it was there.
    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<str>> {
        let (key, row) = self.by_key.remove_entry(key)?;
        self.bytes -= weight(&key, &row);
        match &row.json {
            Some(json) => self.indexes.iter_mut().for_each(|index| index.remove(&key, json)),
            None => self.unclear -= 1,
        }
        self.changed = true;
        Some(key)
    }

    /// Removes all rows; their keys.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Arc<str>> + use<> {
        self.indexes.iter_mut().for_each(Index::clear);
        (self.unclear, self.bytes, self.changed) = (0, 0, true);
        std::mem::take(&mut self.by_key).into_keys()
    }

    /// Removes what the log told before this time, and what it never told of.
    pub(super) fn forget_before(&mut self, at: u64) {
        let is_old = |row: &Row| row.told.is_none_or(|told| told < at);
        let old: Vec<_> =
            self.by_key.iter().filter(|(_, row)| is_old(row)).map(|(key, _)| Arc::clone(key)).collect();
        if old.len() == self.by_key.len() {
            drop(self.clear());
            return;
        }
        for key in old {
            self.remove(&key);
        }
    }

    /// Begins to read a snapshot, which has none of them yet.
    pub(super) fn begin_scan(&mut self) {
        self.by_key.values_mut().for_each(|row| row.read = false);
    }

    /// Forgets what the rows are that the snapshot doesn't have.
    pub(super) fn doubt_unread(&mut self) {
        let unread: Vec<_> = self
            .by_key
            .iter()
            .filter(|(_, row)| !row.read)
            .map(|(key, row)| (Arc::clone(key), row.told))
            .collect();
        for (key, told) in unread {
            self.put(&key, Row { json: None, told, read: false });
        }
    }

    /// Ranks the rows for these views and no others.
    pub(super) fn show(&mut self, views: &[&ViewSpec]) {
        let mut before = std::mem::take(&mut self.indexes);
        let same = |spec: &ViewSpec, before: &mut Vec<Index>| {
            before.iter().position(|index| index.spec() == spec).map(|at| before.swap_remove(at))
        };
        self.indexes = views
            .iter()
            .map(|spec| {
                same(spec, &mut before).unwrap_or_else(|| {
                    let mut index = Index::new(spec);
                    for (key, row) in &self.by_key {
                        if let Some(json) = &row.json {
                            index.insert(key, json);
                        }
                    }
                    index
                })
            })
            .collect();
        self.changed = true;
    }

    /// Rows of a view.
    pub(super) fn items(&self, view: &str) -> usize {
        self.indexes.iter().find(|index| index.spec().name == view).map_or(0, Index::len)
    }

    /// The top of a view; `None` if there is none of this name.
    pub(super) fn top(&self, view: &str) -> Option<Ranked> {
        let index = self.indexes.iter().find(|index| index.spec().name == view)?;
        let texts = index.first().filter_map(|key| self.by_key.get(key)?.json.as_deref());
        Some(Ranked::of(index.len(), texts))
    }
}

fn weight(key: &str, row: &Row) -> u64 {
    (key.len() + row.json.as_ref().map_or(0, |json| json.len())) as u64
}
