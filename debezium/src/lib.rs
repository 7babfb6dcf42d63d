//! The settings of Debezium Server that Freshet's promises rest on.
//!
//! [`Pipeline`] says what a server is to do: [`Pipeline::for_binding`] derives it from a binding, tests make their own.
//! [`Pipeline::properties`] are its settings, each with the reason for it, [`Pipeline::statements`] what the database
//! needs, and [`Pipeline::file`] is both as `application.properties`. [`check`] compares
//! settings that somebody else has written. [`triggers()`] are what a database needs that tells of its changes without a
//! Debezium. Nothing here does I/O.

pub mod check;
mod file;
mod fit;
mod pipeline;
mod places;
mod settings;
mod sink;
mod sql;
mod triggers;

pub use file::escaped;
pub use fit::{Unfit, Wanted};
pub use pipeline::{Captured, Database, Format, Heartbeat, Pipeline, Publication, Routing};
pub use places::{DatabaseServer, PASSWORD};
pub use settings::{Part, Property};
pub use sink::{JetStreamServer, KafkaServer, KafkaTls, RedisServer, Sink};
pub use sql::{HEARTBEAT_SEQUENCE, heartbeat_table, signal_table};
pub use triggers::{NoTriggers, triggers};

#[cfg(test)]
mod tests;
