//! Why an upstream has no answer.

use std::time::Duration;

use crate::clock::Tick;

/// Why an upstream has no answer. No text of it carries a credential, or a part of what was answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, something that isn't HTTP, a body that ends early, a page that is none.
    #[error("{0}")]
    Failed(String),
    /// The connection was closed instead of an answer: one that was kept open may be closed just as it is used.
    #[error("{0}")]
    Closed(String),
    /// It took too long.
    #[error("{0} within {1:?}")]
    Late(&'static str, Duration),
    /// More than may be stored.
    #[error("{0}")]
    TooLarge(String),
    /// It sent us elsewhere, or around.
    #[error("{0}")]
    Redirect(String),
    /// No request may be sent before this instant.
    #[error("no request may be sent at the moment: {1}")]
    Limited(Tick, &'static str),
}

// === impl Failure ===

impl Failure {
    /// The kinds, as they are called in problems, in `Cache-Status` and in metrics.
    pub const KINDS: [&str; 5] = [
        "upstream-failed",
        "upstream-timeout",
        "upstream-too-large",
        "upstream-redirect",
        "upstream-limited",
    ];

    /// The kind of [`Failure::Late`].
    pub const LATE: usize = 1;

    /// The kind of [`Failure::Limited`].
    pub const LIMITED: usize = 4;

    /// Its kind: an index into [`Failure::KINDS`].
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Failed(_) | Self::Closed(_) => 0,
            Self::Late(..) => Self::LATE,
            Self::TooLarge(_) => 2,
            Self::Redirect(_) => 3,
            Self::Limited(..) => Self::LIMITED,
        }
    }

    /// The name of its kind.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        Self::KINDS[self.kind()]
    }
}
