//! The sidecar as a process, on real Redis and the real Debezium.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers are tests")]

mod answers;
mod audit;
mod bad_input;
mod batch;
mod clients;
mod cluster;
mod debezium;
mod dependencies;
mod depends;
mod documents;
mod drift;
mod encodings;
mod events;
mod example;
mod faults;
mod join_cache;
mod limits;
mod log;
mod lookups;
mod loss;
mod mariadb;
mod openapi;
mod positions;
mod readme;
mod recordings;
mod refused;
mod reload;
mod replica;
mod rest_cache;
mod row_views;
mod sentinel;
mod shares;
mod shop;
mod stampede;
mod streams;
mod tls;
mod upstream;
mod views;
mod warm;
mod wishes;
