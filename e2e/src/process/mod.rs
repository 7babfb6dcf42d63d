//! Real Redis, NATS, Kafka, Postgres, PgBouncer, MariaDB, Debezium Server and the sidecar as child processes on loopback, and a proxy.
//!
//! Everything here is synchronous: a test is a story told in order. Each value owns its process, its ports and its
//! temporary folder, and dropping it kills the one and removes the others. A child also dies with the process that
//! started it, however that ends, so a killed test run leaves nothing behind but a temporary folder.

mod certificates;
mod child;
mod deadline;
pub mod debezium;
mod folder;
pub mod http;
pub mod kafka;
pub mod mariadb;
pub mod nats;
mod pg_bouncer;
mod port;
mod postgres;
mod proxy;
mod redis;
mod redis_cluster;
mod rest;
mod sentinel;
mod sidecar;
mod stat;

pub use certificates::{Authority, Certificate};
pub use child::Child;
pub use deadline::until;
pub use debezium::Debezium;
pub use kafka::Kafka;
pub use mariadb::MariaDb;
pub use nats::Nats;
pub use pg_bouncer::{Lent, PgBouncer};
pub use port::Port;
pub use postgres::Postgres;
pub use proxy::{Counts, Proxy, Silence};
pub use redis::{Redis, RedisBuilder};
pub use redis_cluster::RedisCluster;
pub use rest::{Gate, Reply, Request, RestServer};
pub use sentinel::Sentinel;
pub use sidecar::{Sidecar, SidecarBuilder};

/// The Debian packages that this needs on the machine. Debezium Server, Kafka and their Java are fetched when first used,
/// by Maven and pip, and `nats-server` is built by Go.
pub const PACKAGES: &[&str] = &[
    "redis-server",
    "postgresql",
    "mariadb-server",
    "maven",
    "python3",
    "python3-pip",
    "unzip",
    "tar",
    "util-linux",
];
