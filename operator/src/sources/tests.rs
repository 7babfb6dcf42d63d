use std::net::TcpListener;

use freshet_e2e::process::Redis;

use super::*;

fn target(url: String) -> Target {
    Target {
        name: "cdc".into(),
        url,
        streams: BTreeSet::from(["shop.inventory.product".into(), "shop.x".into()]),
    }
}

async fn probe_url(url: String) -> Result<Reached, Unreachable> {
    probe(&target(url), "default").await
}

#[tokio::test]
async fn a_redis_with_its_streams_is_reached() {
    let redis = Redis::start().unwrap();
    redis.xadd("shop.inventory.product", &[("key", "1")]).unwrap();
    let reached = probe_url(redis.url()).await.unwrap();
    assert_eq!(reached.absent, ["shop.x"]);
}

#[tokio::test]
async fn credentials_are_checked_and_never_told() {
    let redis = Redis::builder().password("correct-horse").start().unwrap();
    let with = |user: &str| format!("redis://{user}@{}", redis.address());
    assert!(probe_url(with(":correct-horse")).await.is_ok());
    let wrong = probe_url(with(":wrong-horse")).await.unwrap_err();
    let without = probe_url(redis.url()).await.unwrap_err();
    for error in [&wrong, &without] {
        assert!(matches!(error, Unreachable::Refused(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("horse"), "{error}");
    }
    assert!(!format!("{:?}", target(with(":correct-horse"))).contains("horse"));
    redis
        .command::<String>(&["ACL", "SETUSER", "weak", "on", ">pony", "+ping", "+client", "+select", "~*"])
        .unwrap();
    let weak = probe_url(with("weak:pony")).await.unwrap_err();
    assert!(matches!(weak, Unreachable::NotPermitted(_)), "{weak:?}");
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
    assert_eq!(
        probe_url(format!("redis://{}", silent.local_addr().unwrap())).await,
        Err(Unreachable::Timeout)
    );
    assert!(start.elapsed() < DEADLINE * 2);
    let address = silent.local_addr().unwrap();
    drop(silent);
    assert!(matches!(probe_url(format!("redis://{address}")).await, Err(Unreachable::NoConnection(_))));
    let nowhere = probe_url("redis://no-such-host.invalid".into()).await;
    assert_eq!(nowhere, Err(Unreachable::NoAddress("no-such-host.invalid".into())));
}

#[tokio::test]
async fn a_url_that_is_none_is_told_without_it() {
    for url in ["rediss://:hush@redis", "hush", "http://hush", "unix:///hush"] {
        let error = probe_url(url.into()).await.unwrap_err();
        assert_eq!(error, Unreachable::InvalidUrl, "{url}");
        assert!(!error.to_string().contains("hush"));
    }
}
