//! URLs of a NATS, which may come from a Secret.

use freshet_crds::nats_url::{NatsLogin, NatsUrl};

use crate::Bound;

/// Reads it, and looks for its credentials in what is shown of it.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(128, input);
    let url = text.parse::<NatsUrl>();
    drop(bound);
    let Ok(url) = url else { return };
    assert!(text.starts_with(if url.tls { "tls://" } else { "nats://" }));
    assert!(!url.servers.is_empty());
    for server in &url.servers {
        assert!(!server.host.is_empty() && server.port > 0 && text.contains(server.host.as_str()));
    }
    assert_eq!(url.login != NatsLogin::None, text.contains('@'));
    let marked = |secret: &str| format!("{secret}-f3a1c9-mark");
    let login = match url.login {
        NatsLogin::None => return,
        NatsLogin::Token(token) => NatsLogin::Token(marked(&token)),
        NatsLogin::User { user, password } => NatsLogin::User { user, password: marked(&password) },
    };
    let shown = format!("{:?}", NatsUrl { login, ..url });
    assert!(!shown.contains("f3a1c9"), "a password is shown");
}

/// All forms, and what nearly is one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "nats://nats:4222",
        "tls://a,b:5000,[fd00::1]:4222,[::1]",
        "nats://shop:p%40ss@nats",
        "tls://t0%3Aken@a,b",
        "nats://a,nats://b",
        "nats://a:b:c@d@e",
        "nats://:pw@a",
        "nats://%ff@a",
        "nats://@a",
        "nats://a:0",
        "nats://a:65536",
        "nats://a/b?c#d",
        "wss://a",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
