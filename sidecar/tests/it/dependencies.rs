//! What the sidecar is made of.

use std::process::Command;

/// The sidecar has no Kubernetes client: it needs no credentials, and its memory is for values. Its TLS, towards
/// Redis and upstreams, is rustls with ring and nothing else, and trusts what it was built with or is given.
#[test]
fn no_kubernetes_client_is_linked() {
    let text = tree(&[]);
    assert!(text.contains("kube-core v") && text.contains("ring v"), "the tree was read: {text}");
    for unwanted in [
        "kube-client",
        "kube-runtime",
        "rustls-platform-verifier",
        "aws-lc-rs",
        "openssl",
        "native-tls",
        "freshet-e2e",
        "shuttle",
    ] {
        assert!(
            !text.lines().any(|line| line.starts_with(&format!("{unwanted} v"))),
            "{unwanted} is in\n{text}"
        );
    }
}

/// The client of NATS links the platform's authorities. It asks none of them, since it is given ours, or none, with each
/// connection.
#[test]
fn the_platforms_authorities_are_linked_by_nothing_else() {
    let text = tree(&["--invert", "rustls-native-certs", "--depth", "1"]);
    let parents: Vec<_> = text.lines().skip(1).filter(|line| !line.is_empty()).collect();
    assert!(matches!(parents[..], [parent] if parent.starts_with("async-nats v")), "{text}");
}

/// What the sidecar's program links, as cargo tells it.
fn tree(more: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let tree = Command::new(cargo)
        .args(["tree", "--package", "freshet-sidecar", "--edges", "normal", "--prefix", "none"])
        .args(["--manifest-path", manifest])
        .args(more)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    String::from_utf8(tree.stdout).unwrap()
}
