//! The vocabulary of Freshet's tests.

pub mod artefact;
pub mod cluster;
pub mod process;
pub mod shop;
