//! Where a Kafka listens, and where it sends those who come.

use std::net::SocketAddr;

/// The protocol of listeners that want nothing of who comes.
pub(super) const PLAIN: &str = "PLAINTEXT";

/// One listener for clients.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    /// Where it listens.
    pub(super) at: SocketAddr,
    /// Where it tells clients that it is.
    pub(super) told: SocketAddr,
    pub(super) protocol: &'static str,
}

impl Listener {
    pub(super) fn new(name: &str, at: SocketAddr, told: SocketAddr, protocol: &'static str) -> Self {
        Self { name: name.to_owned(), at, told, protocol }
    }
}

/// The properties that say so; with the controller's own listener, where the controller is in the same process.
pub(super) fn properties(
    listeners: &[Listener],
    controller: Option<SocketAddr>,
) -> [(&'static str, String); 3] {
    let list = |one: fn(&Listener) -> String, more: Option<String>| {
        listeners.iter().map(one).chain(more).collect::<Vec<_>>().join(",")
    };
    let controller = controller.map(|at| format!("CONTROLLER://{at}"));
    [
        ("listeners", list(|one| format!("{}://{}", one.name, one.at), controller)),
        ("advertised.listeners", list(|one| format!("{}://{}", one.name, one.told), None)),
        (
            "listener.security.protocol.map",
            list(|one| format!("{}:{}", one.name, one.protocol), Some(format!("CONTROLLER:{PLAIN}"))),
        ),
    ]
}
