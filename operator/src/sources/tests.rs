use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use freshet_connect::{Certificates, Resolve, Unusable};
use freshet_e2e::process::{Authority, Port, Redis};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    redis_stream::{ask, is_too_old},
    *,
};

mod kafka;
mod nats;
mod postgres;

fn redis(url: &str) -> freshet_connect::Target {
    freshet_connect::Target { url: url.parse().unwrap(), certificates: Certificates::default(), stream: None }
}

fn target(url: &str) -> Target {
    with(redis(url))
}

fn with(redis: freshet_connect::Target) -> Target {
    Target {
        name: "cdc".into(),
        access: Access::Redis(redis),
        streams: BTreeSet::from(["shop.inventory.product".into(), "shop.x".into()]),
        tables: BTreeSet::new(),
        uses: Uses::Keys,
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
        let flaw = evicting.then(|| Flaw::Evicting(policy.into()));
        assert_eq!(reached.flaws, Vec::from_iter(flaw), "{limit} {policy}");
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
    let free = Port::free().unwrap();
    assert!(matches!(
        probe_url(format!("redis://{}", free.address())).await,
        Err(Unreachable::Connect(ConnectError::NoConnection(..)))
    ));
}

/// The machine's own look-ups are of no concern here, and may take long.
#[tokio::test]
async fn a_host_without_an_address_is_told() {
    #[derive(Clone)]
    struct Nowhere;
    impl Resolve for Nowhere {
        async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            Ok(Vec::new())
        }
    }
    let nowhere = ask(&redis("redis://no-such-host.invalid"), &BTreeSet::new(), &Nowhere).await;
    assert_eq!(nowhere, Err(ConnectError::NoAddress("no-such-host.invalid".into()).into()));
}

/// A server that is loading its data, whatever it is asked.
async fn loading() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut asked).await {
                    let commands = String::from_utf8_lossy(&asked[..read]).matches('*').count();
                    let says = "-LOADING Redis is loading the dataset in memory\r\n".repeat(commands);
                    if stream.write_all(says.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_node_that_is_loading_does_not_speak_for_the_others() {
    let (one, two) = (loading().await, loading().await);
    let mut cluster = redis(&format!("redis+cluster://{one},{two}"));
    cluster.stream = Some("s".into());
    match probe(&with(cluster), "default").await {
        Err(Unreachable::Connect(ConnectError::NoNode(says))) => {
            assert!(says.contains("LOADING"), "{says}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_stream_is_looked_at() {
    let redis = Redis::start().unwrap();
    redis.command::<String>(&["SET", "s-99", "1"]).unwrap();
    let streams = (0..100).map(|number| format!("s-{number:02}")).collect();
    let target = Target { streams, ..target(&redis.url()) };
    assert_eq!(probe(&target, "default").await, Err(Unreachable::NotAStream("s-99".into())));
}

#[test]
fn what_is_too_old_says_so_also_without_a_stream() {
    for (version, old) in
        [("6.2.14", true), ("7.0.0", false), ("7.4.2", false), ("10.0.1", false), ("x", false)]
    {
        assert_eq!(is_too_old(&format!("# Server\r\nredis_version:{version}\r\n")), old, "{version}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_certificates_is_told_apart() {
    let (authority, other) = (Authority::new("test").unwrap(), Authority::new("other").unwrap());
    let issue = |by: &Authority| by.issue(&["127.0.0.1"]).unwrap();
    let redis = Redis::builder().tls_with_clients_of(&issue(&authority), &authority).start().unwrap();
    let probe = async |trusted: &Authority, client: Option<&Authority>| {
        let mut tls = super::tests::redis(&format!("rediss://{}", redis.tls_address()));
        tls.certificates = Certificates {
            authorities: Some(trusted.pem().into_bytes()),
            client: client.map(issue).map(|pair| (pair.certificate.into_bytes(), pair.key.into_bytes())),
        };
        super::probe(&with(tls), "default").await
    };
    assert_eq!(probe(&authority, Some(&authority)).await.unwrap().absent.len(), 2);
    let says = |error| matches!(error, Err(Unreachable::Connect(ConnectError::Untrusted(..))));
    assert!(says(probe(&other, Some(&authority)).await));
    for client in [None, Some(&other)] {
        let refused = probe(&authority, client).await;
        assert!(matches!(refused, Err(Unreachable::Connect(ConnectError::ClientRefused(..)))), "{refused:?}");
    }
}
