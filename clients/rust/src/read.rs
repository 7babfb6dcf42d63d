//! What a read may be told.

use std::time::Duration;

use crate::fill::Stored;

/// How a value is read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// How long somebody else's load, or the log, is waited for. `None`: as long as the client waits by default, where
    /// there is a loader; otherwise not at all.
    pub wait: Option<Duration>,
    /// A position that the value has to reflect at least, of one's own writes: `cdc="lsn:0/157D6E8"`.
    pub min_position: Option<String>,
    /// Loads in any case and replaces what is stored.
    pub no_cache: bool,
}

/// How a value is read, and how it is stored if it is loaded. The loader may change the latter.
#[derive(Clone, Debug, Default)]
pub struct Load {
    /// How it is read.
    pub read: Read,
    /// Dependencies besides the cache's own, made by [`table`](crate::table), [`row`](crate::row) and [`tag`](crate::tag).
    pub depends: Vec<String>,
    /// At which position it is read: `cdc="snap:725:727:725"`.
    pub position: Option<String>,
    /// How long it may live, below the cache's `ttl`, in whole seconds.
    pub max_age: Option<Duration>,
}

impl Load {
    pub(crate) fn stored(self) -> Stored {
        Stored { depends: self.depends, position: self.position, max_age: self.max_age }
    }
}
