//! The operator: reconciles CacheBindings, injects sidecars, reports what the fleet does.

pub mod binding;
pub mod ca;
pub mod errors;
pub mod events;
pub mod fleet;
pub mod injection;
pub mod lease;
pub mod metrics;
pub mod ours;
pub mod sources;
