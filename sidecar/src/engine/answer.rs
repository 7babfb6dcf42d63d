//! What is asked of the engine, and what it answers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    clock::Tick,
    dependencies::On,
    entry::{Entry, Value},
    key::Key,
    lease::Lease,
    loaders::Loading,
    position::Position,
};

/// What a reader will accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// No cached value at all: the reader means to load.
    pub reload: bool,
    /// Not older than this.
    pub max_age: Option<Duration>,
    /// Nothing whose freshness was last proven longer ago than this.
    pub max_staleness: Option<Duration>,
    /// Nothing that doesn't reflect everything committed up to this.
    pub min_position: Option<&'a Position>,
    /// A lease, if there is nothing.
    pub lease: bool,
    /// The reader asked before and has waited since: it is counted already.
    pub again: bool,
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
    /// Whole seconds since it began to live.
    pub age: u64,
    /// Whole seconds it has left; negative: for how long it has been stale.
    pub ttl: i64,
    /// What is to be known about it.
    pub detail: Option<&'static str>,
    /// The position it reflects at least, as a header's text, where the source tells and nothing is in doubt.
    pub position: Option<Bytes>,
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
    /// What would change the answer soon.
    pub pending: Option<Pending>,
}

/// What a reader can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Somebody is loading the value, or is taken to be until then.
    Load(Tick),
    /// The log hasn't been applied up to the position that the reader asks for.
    Position,
}

/// A lease, given.
#[derive(Debug)]
pub struct Grant {
    /// Its text.
    pub token: String,
    /// Whether the caller is the one to load; otherwise somebody else is taken to be loading until then.
    pub fill: Loading,
}

/// What was read under a lease.
#[derive(Debug)]
pub struct Fill {
    /// The lease.
    pub lease: Lease,
    /// The value, or the knowledge that there is none.
    pub value: Value,
    /// What its reader says of it.
    pub terms: Terms,
}

/// What a reader says of a value: by default, nothing.
#[derive(Debug, Default)]
pub struct Terms {
    /// How long it may live from its beginning on, if shorter than its cache's `ttl`.
    pub max_age: Option<Duration>,
    /// How long ago it began to live.
    pub age: Duration,
    /// The position it was read at, if the reader says so.
    pub position: Option<Position>,
    /// What it depends on beside its row and its cache.
    pub on: Vec<On>,
    /// What else the row is found by, of a cache that has lookups.
    pub names: Vec<Key>,
}

/// Why a lease isn't one for this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLease {
    /// This process never gave it.
    Foreign,
    /// It was given for another key.
    OtherKey,
}
