//! What is asked of the engine, and what it answers.

use std::{sync::Arc, time::Duration};

use crate::{
    lease::Lease,
    store::{Entry, Value},
};

/// What a reader will accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// No cached value at all: the reader means to load.
    pub reload: bool,
    /// Not older than this.
    pub max_age: Option<Duration>,
    /// Nothing whose freshness was last proven longer ago than this.
    pub max_staleness: Option<Duration>,
    /// At least a position that this version can't compare.
    pub position: bool,
    /// A lease, if there is nothing.
    pub lease: bool,
}

/// The answer to a read.
#[derive(Debug)]
pub enum Answer {
    /// A value, or a known absence.
    Hit(Hit),
    /// Nothing that may be served.
    Miss(Miss),
}

/// A value that may be served.
#[derive(Debug)]
pub struct Hit {
    /// The value.
    pub entry: Arc<Entry>,
    /// Whole seconds since it was stored.
    pub age: u64,
    /// Whole seconds it has left; negative: for how long it has been stale.
    pub ttl: i64,
    /// What is to be known about it.
    pub detail: Option<&'static str>,
}

/// Nothing that may be served.
#[derive(Debug)]
pub struct Miss {
    /// Whether it is for lack of proof, not of a value.
    pub stale: bool,
    /// Why.
    pub detail: Option<&'static str>,
    /// What a loader needs.
    pub lease: Option<Grant>,
}

/// A lease, given.
#[derive(Debug)]
pub struct Grant {
    /// Its text.
    pub token: String,
    /// Whether the caller is the one to load.
    pub you: bool,
}

/// What was read under a lease.
#[derive(Debug)]
pub struct Fill {
    /// The lease.
    pub lease: Lease,
    /// The value, or the knowledge that there is none.
    pub value: Value,
    /// How long it may live, if shorter than its cache's `ttl`.
    pub max_age: Option<Duration>,
}

/// Why a lease isn't one for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLease {
    /// This process never gave it.
    Foreign,
    /// It was given for another key.
    OtherKey,
}
