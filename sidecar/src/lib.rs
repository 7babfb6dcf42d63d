//! The cache beside an application.
//!
//! Data flows one way:
//!
//! ```text
//! source ─► tail ─► envelope ─► change ─► effect ─► engine ─► store
//!                                   │          ▲        │
//!                              coherence ◄── lease,fill │
//!                                              ▲        ▼
//!                                              └─ api ◄─┘
//! ```
//!
//! [`envelope`], [`change`], [`position`], [`key`], [`effect`], [`coherence`], [`freshness`],
//! [`continuity`], [`accounts`], [`watermark`] and [`tail`] are the pure core: no I/O, no clock of their own, time is passed in. [`source`] alone knows
//! Redis, [`store`] alone knows moka, [`api`] and [`admin`] alone know HTTP. [`engine`] is the glue that puts
//! the core's rules and the store under one lock.

pub mod accounts;
pub mod admin;
pub mod api;
pub mod app;
pub mod args;
pub mod audit;
mod bounds;
pub mod catalog;
pub mod change;
pub mod clock;
pub mod codec;
pub mod coding;
pub mod coherence;
pub mod continuity;
pub mod dependencies;
pub mod descriptors;
pub mod effect;
pub mod engine;
pub mod entry;
pub mod envelope;
pub mod events;
pub mod feed;
pub mod freshness;
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod histogram;
pub mod image;
#[cfg(test)]
mod interleaving;
pub mod key;
pub mod lease;
pub mod lifetime;
pub mod loaders;
pub mod metrics;
pub mod mounts;
mod planted;
pub mod position;
pub mod probe;
pub mod publication;
pub mod publishers;
pub mod publishing;
pub mod record;
#[cfg(test)]
mod recorded;
pub mod reload;
pub mod replication;
pub mod shelves;
#[cfg(test)]
mod simulation;
pub mod source;
pub mod status;
pub mod store;
pub mod sweeper;
mod sync;
pub mod tail;
pub mod upstream;
pub mod views;
pub mod watermark;
