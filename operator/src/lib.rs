//! The operator: reconciles CacheBindings, injects sidecars, reports what the fleet does.

pub mod args;
pub mod binding;
pub mod ca;
pub mod check;
pub mod debezium;
pub mod errors;
pub mod events;
pub mod fleet;
pub mod health;
pub mod injection;
pub mod lease;
pub mod metrics;
pub mod ours;
pub mod retention;
pub mod run;
pub mod serve;
pub mod sources;
pub mod survey;
pub mod triggers;
pub mod webhook;
