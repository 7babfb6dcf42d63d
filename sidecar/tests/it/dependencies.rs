//! What the sidecar is made of.

use std::process::Command;

/// The sidecar has no Kubernetes client: it needs no credentials, and its memory is for values. Its TLS, towards
/// Redis and upstreams, is rustls with ring and nothing else, and trusts what it was built with or is given.
#[test]
fn no_kubernetes_client_is_linked() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let tree = Command::new(cargo)
        .args([
            "tree",
            "--package",
            "freshet-sidecar",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--manifest-path",
            manifest,
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(tree.stdout).unwrap();
    assert!(
        text.contains("kube-core v") && text.contains("ring v"),
        "the tree was read: {}",
        String::from_utf8_lossy(&tree.stderr)
    );
    for unwanted in [
        "kube-client",
        "kube-runtime",
        "rustls-native-certs",
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
