use std::net::TcpListener;

use freshet_connect::{Certificates, Unusable};
use freshet_e2e::process::{Authority, Redis};

use super::*;

fn target(url: &str) -> Target {
    Target {
        name: "cdc".into(),
        redis: freshet_connect::Target {
            url: url.parse().unwrap(),
            certificates: Certificates::default(),
            stream: None,
        },
        streams: BTreeSet::from(["shop.inventory.product".into(), "shop.x".into()]),
    }
}

async fn probe_url(url: String) -> Result<Reached, Unreachable> {
    probe(&target(&url), "default").await
}

#[tokio::test]
async fn a_redis_with_its_streams_is_reached() {
    let redis = Redis::start().unwrap();
    redis.xadd("shop.inventory.product", &[("key", "1")]).unwrap();
    let reached = probe_url(redis.url()).await.unwrap();
    assert_eq!(reached.absent, ["shop.x"]);
}

#[tokio::test]
async fn a_redis_that_removes_streams_is_told() {
    for (limit, policy, evicting) in [
        ("0", "allkeys-lru", false),
        ("100mb", "allkeys-lru", true),
        ("100mb", "allkeys-random", true),
        ("100mb", "volatile-lru", false),
        ("100mb", "noeviction", false),
    ] {
        let redis = Redis::builder().set("maxmemory", limit).set("maxmemory-policy", policy).start().unwrap();
        let reached = probe_url(redis.url()).await.unwrap();
        assert_eq!(reached.evicting.as_deref(), evicting.then_some(policy), "{limit} {policy}");
    }
}

#[tokio::test]
async fn credentials_are_checked_and_never_told() {
    let redis = Redis::builder().password("correct-horse").start().unwrap();
    let with = |user: &str| format!("redis://{user}@{}", redis.address());
    assert!(probe_url(with(":correct-horse")).await.is_ok());
    let wrong = probe_url(with(":wrong-horse")).await.unwrap_err();
    let without = probe_url(redis.url()).await.unwrap_err();
    for error in [&wrong, &without] {
        assert!(
            matches!(error, Unreachable::Connect(ConnectError::Redis(Unusable::Refused(_)))),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("horse"), "{error}");
    }
    assert!(!format!("{:?}", target(&with(":correct-horse"))).contains("horse"));
    redis
        .command::<String>(&["ACL", "SETUSER", "weak", "on", ">pony", "+ping", "+client", "+select", "~*"])
        .unwrap();
    let weak = probe_url(with("weak:pony")).await.unwrap_err();
    assert!(matches!(weak, Unreachable::Connect(ConnectError::Redis(Unusable::NotPermitted(_)))), "{weak:?}");
}

#[tokio::test]
async fn a_key_that_is_no_stream_is_told() {
    let redis = Redis::start().unwrap();
    redis.command::<String>(&["SET", "shop.x", "1"]).unwrap();
    assert_eq!(probe_url(redis.url()).await, Err(Unreachable::NotAStream("shop.x".into())));
}

#[tokio::test]
async fn what_does_not_answer_is_told_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = std::time::Instant::now();
    let waited = probe_url(format!("redis://{}", silent.local_addr().unwrap())).await;
    assert!(matches!(waited, Err(Unreachable::Connect(ConnectError::Timeout(_)))), "{waited:?}");
    assert!(start.elapsed() < DEADLINE * 2);
    let address = silent.local_addr().unwrap();
    drop(silent);
    assert!(matches!(
        probe_url(format!("redis://{address}")).await,
        Err(Unreachable::Connect(ConnectError::NoConnection(..)))
    ));
    let nowhere = probe_url("redis://no-such-host.invalid".into()).await;
    assert_eq!(nowhere, Err(ConnectError::NoAddress("no-such-host.invalid".into()).into()));
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_told_apart() {
    let (authority, other) = (Authority::new("test").unwrap(), Authority::new("other").unwrap());
    let issue = |by: &Authority| by.issue(&["127.0.0.1"]).unwrap();
    let redis = Redis::builder().tls_with_clients_of(&issue(&authority), &authority).start().unwrap();
    let probe = async |trusted: &Authority, client: Option<&Authority>| {
        let mut target = target(&format!("rediss://{}", redis.tls_address()));
        target.redis.certificates = Certificates {
            authorities: Some(trusted.pem().into_bytes()),
            client: client.map(issue).map(|pair| (pair.certificate.into_bytes(), pair.key.into_bytes())),
        };
        super::probe(&target, "default").await
    };
    assert_eq!(probe(&authority, Some(&authority)).await.unwrap().absent.len(), 2);
    let says = |error| matches!(error, Err(Unreachable::Connect(ConnectError::Untrusted(..))));
    assert!(says(probe(&other, Some(&authority)).await));
    for client in [None, Some(&other)] {
        let refused = probe(&authority, client).await;
        assert!(matches!(refused, Err(Unreachable::Connect(ConnectError::ClientRefused(..)))), "{refused:?}");
    }
}
