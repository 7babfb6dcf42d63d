//! The primitives through which threads share what the engine's rules rest on: the one place that names them.
//!
//! They are the standard library's, arc-swap's and tokio's own. In unit tests they are of the same names and do the same,
//! but let a scheduler decide first which thread goes on, so that a test can try the orders in which they are used
//! (`interleaving`). What stands alone (counters, flags that no rule combines with another) needs none of this.

#[cfg(not(test))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize},
};

#[cfg(not(test))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption};
#[cfg(not(test))]
pub(crate) use tokio::sync::Notify;

#[cfg(test)]
mod observed;
#[cfg(test)]
pub(crate) mod schedule;

#[cfg(test)]
#[expect(unreachable_pub, reason = "a public field's, and so no less public by name")]
pub use observed::AtomicBool;
#[cfg(test)]
pub(crate) use observed::{ArcSwap, ArcSwapOption, AtomicU64, AtomicUsize, Mutex, Notify};
