//! Freshet's benchmarks. Each is a module with its options, a `run` and a report for people, and a verb of
//! `cargo xtask bench`; nothing here fails because something was slow.
//!
//! What is measured runs on this machine and beside a peer in the same run, because a ratio says more than a time.
//! `README.md` has the numbers that were seen, each with its command, machine and date.

pub mod audit;
pub mod entries;
pub mod latency;
mod machine;
mod processor;
mod spread;
pub mod survey;
pub mod transports;
mod usage;
pub mod views;

pub use machine::Machine;
pub use spread::Spread;
pub(crate) use usage::Usage;
