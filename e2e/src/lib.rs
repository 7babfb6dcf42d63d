//! The vocabulary of Freshet's tests.

pub mod artefact;
pub mod cargo;
pub mod cluster;
pub mod command;
pub mod examples;
mod lock;
pub mod process;
pub mod random;
pub mod shop;
pub mod stop;
pub mod torture;
pub mod wheel;
