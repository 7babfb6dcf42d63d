use std::net::TcpListener;

use freshet_connect::Certificates;
use freshet_e2e::process::Redis;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn want(url: &str, streams: &[&str], retention: Option<Duration>) -> Want {
    let redis = freshet_connect::Target {
        url: url.parse().unwrap(),
        certificates: Certificates::default(),
        stream: None,
    };
    let target = Target { name: "cdc".into(), redis, streams: BTreeSet::new() };
    let streams = streams.iter().map(|stream| (*stream).to_owned()).collect();
    Want { source: "cdc".into(), target: Some(target), streams, retention }
}

/// A Redis whose stream has entries from the year 2001.
fn redis() -> Redis {
    let redis = Redis::start().unwrap();
    let script =
        "for i = 1, 1000 do redis.call('XADD', 's', string.format('1000000000000-%d', i), 'key', 'k') end";
    redis.command::<()>(&["EVAL", script, "0"]).unwrap();
    redis
}

fn length(redis: &Redis) -> u64 {
    redis.command(&["XLEN", "s"]).unwrap()
}

fn uids(uids: &[&str]) -> BTreeSet<String> {
    uids.iter().map(|uid| (*uid).to_owned()).collect()
}

#[tokio::test]
async fn a_binding_s_stream_is_trimmed_and_it_is_told() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    let wanted = want(&redis.url(), &["s", "absent"], Some(MINUTE));
    ledger.want("1", "shop", "one", Some(vec![wanted.clone()]));
    assert!(ledger.became("1").is_empty());
    round(&ledger, &metrics).await;
    assert_eq!(ledger.became("1")["cdc"], Became::Trimmed);
    assert_eq!(metrics.trimmed_entries.get(), 1000 - length(&redis));
    assert!(length(&redis) < 100);
    // While it isn't accepted it wants what it wanted; when it wants something else, that is still to be done.
    ledger.want("1", "shop", "one", None);
    assert_eq!(ledger.became("1").len(), 1);
    ledger.want("1", "shop", "one", Some(vec![Want { retention: Some(MINUTE * 2), ..wanted }]));
    assert!(ledger.became("1").is_empty());
}

#[tokio::test]
async fn nothing_is_removed_that_another_binding_keeps() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    // The same server by another name.
    let other = redis.url().replace("127.0.0.1", "localhost");
    ledger.want("1", "shop", "one", Some(vec![want(&redis.url(), &["s"], Some(MINUTE))]));
    ledger.want("2", "blog", "two", Some(vec![want(&other, &["s"], None)]));
    round(&ledger, &metrics).await;
    assert_eq!(ledger.became("1")["cdc"], Became::Held("s".into(), "blog/two".into()));
    assert_eq!((length(&redis), metrics.trim_failures.get()), (1000, 0));
    ledger.want("2", "blog", "two", Some(vec![want(&other, &["s"], Some(MINUTE * 60 * 24 * 366 * 60))]));
    round(&ledger, &metrics).await;
    assert_eq!(length(&redis), 1000, "the longest counts, and that is sixty years");
    assert!(ledger.is_whole(&uids(&["1"])), "the other one is deleted");
    round(&ledger, &metrics).await;
    assert!(length(&redis) < 100);
}

#[tokio::test]
async fn what_fails_is_told_and_counted() {
    let (metrics, ledger) = (Metrics::new("1"), Ledger::default());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ledger.want("1", "shop", "one", Some(vec![want(&format!("redis://{free}"), &["s"], Some(MINUTE))]));
    let nowhere = Want { target: None, ..want("redis://x", &["s"], Some(MINUTE)) };
    ledger.want("2", "shop", "two", Some(vec![nowhere]));
    let redis = redis();
    redis.command::<String>(&["SET", "text", "1"]).unwrap();
    ledger.want("3", "shop", "three", Some(vec![want(&redis.url(), &["a", "s", "text"], Some(MINUTE))]));
    round(&ledger, &metrics).await;
    let failed = |uid: &str| match &ledger.became(uid)["cdc"] {
        Became::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(failed("1").contains("no connection"), "{}", failed("1"));
    assert!(failed("2").contains("SourcesReachable"), "{}", failed("2"));
    assert!(failed("3").contains("text isn't a stream"), "{}", failed("3"));
    assert!(length(&redis) < 100, "the other streams are trimmed all the same");
    assert_eq!(metrics.trim_failures.get(), 3);
}

#[tokio::test]
async fn nothing_is_removed_before_all_bindings_were_looked_at() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    ledger.want("1", "shop", "one", Some(vec![want(&redis.url(), &["s"], Some(MINUTE))]));
    let keeping = || keep(&ledger, || uids(&["1", "2"]), &metrics);
    // A round takes some milliseconds, and the first one begins at once.
    assert!(tokio::time::timeout(Duration::from_millis(500), keeping()).await.is_err());
    assert_eq!(length(&redis), 1000);
    ledger.want("2", "blog", "two", None);
    assert!(tokio::time::timeout(Duration::from_millis(500), keeping()).await.is_err());
    assert!(length(&redis) < 100);
}
