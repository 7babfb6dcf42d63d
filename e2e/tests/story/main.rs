//! The whole path on a real cluster: bindings, injected pods, changed rows. `cargo xtask e2e` makes the cluster
//! if there is none, and runs these. `FRESHET_CLUSTER_FOR=<purpose>` runs them on another one of the checkout's clusters, as made
//! by `cargo xtask cluster up --for <purpose>`; without Freshet in it, because the first test installs that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod admission;
mod binding;
mod disturbance;
mod formats;
mod job;
mod operator;
mod rows;
mod sources;
mod stage;
