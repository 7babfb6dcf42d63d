//! The least that a server has to let sidecars do is what the guides say.

use freshet_e2e::process::{Nats, Sidecar};

use super::{CACHES, broker::value};
use crate::shop::{App, executable, manifest_over};

#[test]
fn the_rights_in_the_guide_are_enough_for_a_stream_of_nats() {
    const STREAM: &str = "DebeziumStream";
    let guide = include_str!("../../../../docs/guides/nats.md");
    let permissions = guide.split("```\npermissions: ").nth(1).unwrap().split("```").next().unwrap();
    let users = format!(
        "{{users: [{{user: admin, password: admin}}, {{user: freshet, password: change-me, permissions: {permissions}}}]}}"
    );
    let nats = Nats::builder()
        .jetstream()
        .set("authorization", &users)
        .set("no_auth_user", "admin")
        .start()
        .unwrap();
    nats.create_stream(STREAM, &["shop.>"]).unwrap();
    let write = |id: u64| {
        let row = value("product", "u", None, Some(&format!("{{\"id\":{id}}}")));
        nats.store("shop.inventory.product", &[], row.as_bytes()).unwrap();
    };
    write(1);
    let source =
        format!("natsJetStream: {{urlFrom: {{secretKeyRef: {{name: nats, key: url}}}}, stream: {STREAM}}}");
    let url = format!("nats://freshet:change-me@{}", nats.address());
    let builder =
        Sidecar::builder(executable(), &manifest_over(&source, CACHES, "")).secret("nats", "url", &url);
    let mut app = App { sidecar: builder.start().unwrap() };
    app.until_fresh();
    for id in [2, 3] {
        write(id);
        app.until_get(&format!("/v1/rows/{id}"), &format!("hit {{\"id\":{id}}}"));
    }
    let log = nats.log();
    assert!(!log.contains("Violation"), "something else was asked for: {log}");
    assert_eq!(app.breaks(), [""; 0]);
    assert!(!app.sidecar.log().contains("change-me"));
}
