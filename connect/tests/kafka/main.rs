//! The client of Kafka on a real one.

mod access;
mod changes;
mod reading;
mod shop;
