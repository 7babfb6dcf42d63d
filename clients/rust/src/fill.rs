//! How a loaded value is stored.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How a loaded value is stored. The loader gets it and may say more: what a page depends on is often known only when it
/// was read.
#[derive(Clone, Debug, Default)]
pub struct Fill(Arc<Mutex<Stored>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) depends: Vec<String>,
    pub(crate) position: Option<String>,
    pub(crate) max_age: Option<Duration>,
}

impl Fill {
    pub(crate) fn new(stored: Stored) -> Self {
        Self(Arc::new(Mutex::new(stored)))
    }

    /// Adds what [`table`](crate::table), [`row`](crate::row) or [`tag`](crate::tag) make: `inventory.category/7`, say.
    pub fn depends_on(&self, item: impl Into<String>) {
        self.stored().depends.push(item.into());
    }

    /// At which position the value was read: `cdc="snap:725:727:725"`.
    pub fn position(&self, position: impl Into<String>) {
        self.stored().position = Some(position.into());
    }

    /// How long the value may live, below the cache's `ttl`, in whole seconds.
    pub fn max_age(&self, age: Duration) {
        self.stored().max_age = Some(age);
    }

    pub(crate) fn take(&self) -> Stored {
        std::mem::take(&mut self.stored())
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
