//! URLs of a Redis, which may come from a Secret.

use freshet_crds::redis_url::{Credentials, HostPort, Place, RedisUrl};

use crate::Bound;

/// Reads it, and looks for its passwords in what is shown of it.
pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let bound = Bound::of(128, input);
    let url = text.parse::<RedisUrl>();
    drop(bound);
    let Ok(url) = url else { return };
    assert!(text.starts_with(if url.tls { "rediss" } else { "redis" }));
    let (hosts, sentinel): (&[HostPort], Option<&Credentials>) = match &url.place {
        Place::Server(host) => (std::slice::from_ref(host), None),
        Place::Sentinel { sentinels, credentials, .. } => (sentinels, Some(credentials)),
        Place::Cluster(nodes) => (nodes, None),
    };
    assert!(!hosts.is_empty());
    for HostPort { host, port } in hosts {
        assert!(!host.is_empty() && *port > 0 && text.contains(host.as_str()));
    }
    for credentials in sentinel.into_iter().chain([&url.credentials]) {
        let Some(password) = &credentials.password else { continue };
        let mut marked = credentials.clone();
        marked.password = Some(format!("{password}-f3a1c9-mark"));
        assert!(!format!("{marked:?}").contains("f3a1c9"), "a password is shown");
    }
}

/// All forms, and what nearly is one.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "redis://redis:6379",
        "redis://:p%40ss@redis/3",
        "rediss://app:pw@redis.shop:6380",
        "redis://[fd00::1]:6379/0",
        "redis+sentinel://:pw@a,b:5000,[::1]/mymaster/2?sentinelUser=s&sentinelPassword=q%26",
        "rediss+cluster://a,b:7000/0",
        "redis://a:b:c@d@e",
        "redis://:%ff@a",
        "redis://a:0",
        "redis://a:65536",
        "redis://a/99999",
        "redis://a?b=c",
        "redis://a#b",
        "rediss+cluster://a/1",
        "redis+sentinel://a/?sentinelPassword=",
        "unix:///run/redis.sock",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
