//! The operator: reconciles CacheBindings, injects sidecars, reports what the fleet does.

pub mod injection;
