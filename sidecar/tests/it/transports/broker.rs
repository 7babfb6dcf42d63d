//! What a story needs of a transport, and of its server if it has one.

use std::sync::atomic::{AtomicU64, Ordering};

use freshet_e2e::process::Proxy;
use serde_json::Value;

/// What a sidecar can follow.
pub(crate) trait Source {
    /// What it is called where all are compared: the source's kind, and how it is divided.
    const NAME: &'static str;

    fn open() -> Self;

    /// The source's kind with its fields, as a binding has it.
    fn source(&self) -> String;
}

/// One with a real server, behind a proxy.
pub(crate) trait Server: Source {
    /// Whether places mean the same after a restart of the server that has lost nothing.
    const KEEPS_ITS_PLACE_OVER_RESTARTS: bool;

    fn proxy(&self) -> &Proxy;

    fn restart(&mut self);

    fn kill_and_restart(&mut self);

    fn pause(&mut self);

    fn resume(&mut self);
}

/// One that has what Debezium writes.
pub(crate) trait Broker: Source {
    /// Writes what Debezium writes there about a table of the schema `inventory`.
    fn write(&self, table: &str, key: &str, value: Option<&str>);

    /// Writes the same so many times.
    fn write_many(&self, table: &str, key: &str, value: &str, count: usize);

    /// Removes all that was written.
    fn remove_all(&self);

    /// Removes what the records are in, and makes it anew.
    fn make_anew(&self);
}

/// One that has what applications publish.
pub(crate) trait Bus: Source {
    /// Whether what is published while a sidecar isn't connected is there when it comes back.
    const KEEPS: bool;
    /// How much one message may carry, about, in bytes.
    const MOST: usize = 64 << 10;

    /// Publishes an envelope.
    fn publish(&self, envelope: &Value);

    /// Publishes the same so many times.
    fn publish_many(&self, envelope: &Value, count: usize);
}

/// An event's value; far in the future, so that no fill outranks it.
pub(crate) fn value(table: &str, op: &str, before: Option<&str>, after: Option<&str>) -> String {
    static LSN: AtomicU64 = AtomicU64::new(1000);
    let lsn = LSN.fetch_add(8, Ordering::Relaxed);
    let (before, after) = (before.unwrap_or("null"), after.unwrap_or("null"));
    format!(
        "{{\"before\":{before},\"after\":{after},\"source\":{{\"connector\":\"postgresql\",\"db\":\"postgres\",\
         \"schema\":\"inventory\",\"table\":\"{table}\",\"snapshot\":null,\"lsn\":{lsn},\"ts_ms\":4000000000000}},\
         \"op\":\"{op}\",\"ts_ms\":1}}"
    )
}
