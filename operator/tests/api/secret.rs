//! What happens to the CA's Secret, while pods go on being made.

use std::{
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use freshet_e2e::process::{Port, until};
use freshet_operator::ca::Authorities;
use k8s_openapi::jiff::{Timestamp, ToSpan as _};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::json;

use crate::{
    control_plane::ControlPlane,
    vocabulary::{SOON, ca_bundle_of, injected},
};

const SECRET: &str = "secret/freshet-ca";
/// Longer than a replica takes to look at the Secret again.
const LOOKED_AT: Duration = Duration::from_secs(7);

/// It is removed, and then spoilt: one of the replicas makes it anew, and all the time the API server trusts what it
/// meets.
pub(crate) fn removed(plane: &ControlPlane, webhooks: &[&Port]) -> Result<()> {
    let uid = || Ok::<_, anyhow::Error>(plane.get("freshet-system", SECRET)?["metadata"]["uid"].clone());
    let before = uid()?;
    plane.kubectl(&["--namespace", "freshet-system", "delete", SECRET])?;
    until("another Secret", SOON, || {
        ensure!(uid()? != before, "it is the old one");
        Ok(())
    })?;
    let start = Instant::now();
    while start.elapsed() < LOOKED_AT {
        pod_is_injected(plane, webhooks)?;
    }
    // One that can't be used is as good as none.
    let spoil = r#"{"stringData": {"ca.crt": "spoilt"}}"#;
    plane.kubectl(&["--namespace", "freshet-system", "patch", SECRET, "--patch", spoil])?;
    until("a Secret that can be used", SOON, || {
        let secret = plane.get("freshet-system", SECRET)?;
        let text = STANDARD.decode(secret["data"]["ca.crt"].as_str().context("ca.crt")?)?;
        ensure!(text.starts_with(b"-----BEGIN"), "it is still spoilt");
        Ok(())
    })?;
    pod_is_injected(plane, webhooks)
}

/// It is replaced by one whose authority is older than ours and which the API server has never heard of. Nobody signs
/// with that until it is published, which takes until another replica leads.
pub(crate) fn replaced(
    plane: &ControlPlane,
    webhook: &Port,
    mut leads: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let foreign = Authorities::first(Timestamp::now() - 48.hours())?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "freshet-ca", "namespace": "freshet-system" },
        "stringData": foreign.write(),
    });
    plane.apply(&secret.to_string())?;
    let start = Instant::now();
    while !leads()? {
        pod_is_injected(plane, &[webhook])?;
        ensure!(start.elapsed() < Duration::from_mins(1), "nobody leads");
    }
    ensure!(start.elapsed() > LOOKED_AT, "the other one led before it had to look at the Secret");
    pod_is_injected(plane, &[webhook])
}

/// A pod can be made, and could be made by an API server that has no connection yet: this one keeps its own for long.
fn pod_is_injected(plane: &ControlPlane, webhooks: &[&Port]) -> Result<()> {
    for webhook in webhooks {
        handshake(plane, webhook)?;
    }
    injected(plane, "meanwhile")?;
    plane.kubectl(&["--namespace", "shop", "delete", "pod/meanwhile", "--now"]).map(drop)
}

fn handshake(plane: &ControlPlane, webhook: &Port) -> Result<()> {
    let mut roots = RootCertStore::empty();
    let bundle = STANDARD.decode(ca_bundle_of(plane)?)?;
    for certificate in CertificateDer::pem_slice_iter(&bundle) {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost")?)?;
    let mut stream = TcpStream::connect(webhook.address())?;
    stream.set_read_timeout(Some(SOON))?;
    while client.is_handshaking() {
        client.complete_io(&mut stream).context("an API server would not trust the webhook")?;
    }
    Ok(())
}
