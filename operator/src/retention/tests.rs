use freshet_connect::{Certificates, Target};
use freshet_e2e::process::{Port, Redis};

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

fn want(url: &str, streams: &[&str], retention: Option<Duration>) -> Want {
    let target = Target { url: url.parse().unwrap(), certificates: Certificates::default(), stream: None };
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

/// The binding `uid` in its first generation.
fn there(uid: &str) -> There {
    There { namespace: "shop".into(), name: format!("binding-{uid}"), generation: Some(1) }
}

fn all(uids: &[&str]) -> BTreeMap<String, There> {
    uids.iter().map(|uid| ((*uid).to_owned(), there(uid))).collect()
}

impl Ledger {
    fn want_of(&self, uid: &str, wants: Vec<Want>) {
        self.want(uid, there(uid), Some(wants));
    }
}

/// A round in which these bindings are there.
async fn round_of(ledger: &Ledger, uids: &[&str], metrics: &Metrics) {
    round(ledger, &|| all(uids), metrics).await;
}

fn failed(ledger: &Ledger, uid: &str) -> String {
    match &ledger.became(uid)["cdc"] {
        Became::Failed(error) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_binding_s_stream_is_trimmed_and_it_is_told() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    let wanted = want(&redis.url(), &["s", "absent"], Some(MINUTE));
    ledger.want_of("1", vec![wanted.clone()]);
    assert!(ledger.became("1").is_empty());
    round_of(&ledger, &["1"], &metrics).await;
    assert_eq!(ledger.became("1")["cdc"], Became::Trimmed);
    assert_eq!(metrics.trimmed_entries.get(), 1000 - length(&redis));
    assert!(length(&redis) < 100);
    // What can't be told anew is as it was; when it wants something else, that is still to be done.
    ledger.want("1", there("1"), None);
    assert_eq!(ledger.became("1").len(), 1);
    ledger.want_of("1", vec![Want { retention: Some(MINUTE * 2), ..wanted }]);
    assert!(ledger.became("1").is_empty());
}

#[tokio::test]
async fn nothing_is_removed_that_another_binding_keeps() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    // The same server by another name.
    let other = redis.url().replace("127.0.0.1", "localhost");
    ledger.want_of("1", vec![want(&redis.url(), &["s"], Some(MINUTE))]);
    ledger.want_of("2", vec![want(&other, &["s"], None)]);
    round_of(&ledger, &["1", "2"], &metrics).await;
    assert_eq!(ledger.became("1")["cdc"], Became::Held("s".into(), "shop/binding-2".into()));
    assert_eq!((length(&redis), metrics.trim_failures.get()), (1000, 0));
    ledger.want_of("2", vec![want(&other, &["s"], Some(MINUTE * 60 * 24 * 366 * 60))]);
    round_of(&ledger, &["1", "2"], &metrics).await;
    assert_eq!(length(&redis), 1000, "the longest counts, and that is sixty years");
    assert!(ledger.unknown(&all(&["1"])).is_empty(), "the other one is deleted");
    round_of(&ledger, &["1"], &metrics).await;
    assert!(length(&redis) < 100);
}

#[tokio::test]
async fn what_fails_is_told_and_counted() {
    let (metrics, ledger) = (Metrics::new("1"), Ledger::default());
    let free = Port::free().unwrap();
    ledger.want_of("1", vec![want(&format!("redis://{}", free.address()), &["s"], Some(MINUTE))]);
    ledger.want_of("2", vec![Want { target: None, ..want("redis://x", &["s"], Some(MINUTE)) }]);
    let redis = redis();
    redis.command::<String>(&["SET", "text", "1"]).unwrap();
    ledger.want_of("3", vec![want(&redis.url(), &["a", "s", "text"], Some(MINUTE))]);
    round_of(&ledger, &["1", "2", "3"], &metrics).await;
    let failed = |uid: &str| failed(&ledger, uid);
    assert!(failed("1").contains("no connection"), "{}", failed("1"));
    assert!(failed("2").contains("SourcesReachable"), "{}", failed("2"));
    assert!(failed("3").contains("text isn't a stream"), "{}", failed("3"));
    assert!(length(&redis) < 100, "the other streams are trimmed all the same");
    assert_eq!(metrics.trim_failures.get(), 3);
}

/// One user's missing right is nobody else's, and each is told what is done, not what was meant to be.
#[tokio::test]
async fn whoever_may_does_it_for_all() {
    let (redis, metrics) = (redis(), Metrics::new("1"));
    let acl = [
        "ACL",
        "SETUSER",
        "weak",
        "on",
        ">pony",
        "~s",
        "-@all",
        "+ping",
        "+client",
        "+info",
        "+time",
        "+xinfo|stream",
    ];
    redis.command::<String>(&acl).unwrap();
    let weak = || vec![want(&format!("redis://weak:pony@{}", redis.address()), &["s"], Some(MINUTE))];
    let alone = Ledger::default();
    alone.want_of("1", weak());
    alone.want_of("3", weak());
    round_of(&alone, &["1", "3"], &metrics).await;
    assert_eq!((length(&redis), metrics.trim_failures.get()), (1000, 2));
    for uid in ["1", "3"] {
        assert!(failed(&alone, uid).contains("doesn't permit it"), "{}", failed(&alone, uid));
    }
    // Whichever of them is asked first.
    let ledger = Ledger::default();
    ledger.want_of("1", weak());
    ledger.want_of("2", vec![want(&redis.url(), &["s"], Some(MINUTE))]);
    ledger.want_of("3", weak());
    round_of(&ledger, &["1", "2", "3"], &metrics).await;
    assert!(length(&redis) < 100);
    for uid in ["1", "2", "3"] {
        assert_eq!(ledger.became(uid)["cdc"], Became::Trimmed, "{uid}");
    }
    assert_eq!(metrics.trim_failures.get(), 2);
}

/// Asking sources takes time, and so does trimming: what is wanted by then counts.
#[tokio::test]
async fn a_change_of_what_is_wanted_ends_the_round() {
    let (redis, metrics) = (redis(), Metrics::new("1"));
    let mine = || vec![want(&redis.url(), &["s"], Some(MINUTE))];
    let looks = std::cell::Cell::new(0);
    // Another binding follows the stream while sources are asked, and wants it all.
    let ledger = Ledger::default();
    ledger.want_of("1", mine());
    let comes = || {
        looks.set(looks.get() + 1);
        ledger.want_of("2", vec![want(&redis.url(), &["s"], None)]);
        all(&["1", "2"])
    };
    round(&ledger, &comes, &metrics).await;
    assert_eq!((length(&redis), looks.get() > 0), (1000, true));
    assert!(ledger.became("1").is_empty());
    // This one's spec has changed, and nobody knows yet to what.
    let ledger = Ledger::default();
    ledger.want_of("1", mine());
    let changed = || BTreeMap::from([("1".to_owned(), There { generation: Some(2), ..there("1") })]);
    round(&ledger, &changed, &metrics).await;
    assert_eq!(length(&redis), 1000);
    round_of(&ledger, &["1"], &metrics).await;
    assert!(length(&redis) < 100);
}

/// A backlog in one of many doesn't keep the others waiting, and isn't a failure.
#[tokio::test]
async fn every_stream_gets_its_share_of_a_round() {
    let (redis, metrics, ledger) = (Redis::start().unwrap(), Metrics::new("1"), Ledger::default());
    let add = |stream: &str, batch: u32, count: u32| {
        let script = "for i = 1, ARGV[2] do redis.call('XADD', KEYS[1], ARGV[1] .. '-' .. i, 'k', 'v') end";
        let (batch, count) = ((1_000_000_000_000_u64 + u64::from(batch)).to_string(), count.to_string());
        redis.command::<()>(&["EVAL", script, "1", stream, &batch, &count]).unwrap();
    };
    let streams: Vec<_> = (0..3000).map(|number| format!("s-{number:02}")).collect();
    let names: Vec<_> = streams.iter().map(String::as_str).collect();
    (0..12).for_each(|batch| add("s-00", batch, 10_000));
    names[1..20].iter().for_each(|name| add(name, 0, 300));
    ledger.want_of("1", vec![want(&redis.url(), &names, Some(MINUTE))]);
    round_of(&ledger, &["1"], &metrics).await;
    let length = |name: &str| redis.command::<u64>(&["XLEN", name]).unwrap();
    assert!(length("s-00") > 10_000, "more than its share: {}", length("s-00"));
    for name in &names[1..20] {
        assert!(length(name) < 100, "{name}: {}", length(name));
    }
    assert_eq!((&ledger.became("1")["cdc"], metrics.trim_failures.get()), (&Became::Trimmed, 0));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_before_all_bindings_were_looked_at_and_that_is_told() {
    let (metrics, ledger) = (Metrics::new("1"), Ledger::default());
    let far = want("redis://x", &["s"], Some(MINUTE));
    ledger.want_of("1", vec![Want { target: None, ..far }]);
    // One that couldn't be looked at is as good as unknown.
    ledger.want("2", there("2"), None);
    let keeping = || keep(&ledger, || all(&["1", "2"]), &metrics);
    assert!(tokio::time::timeout(MINUTE / 2, keeping()).await.is_err());
    assert!(ledger.became("1").is_empty(), "no round, and no word yet");
    assert!(tokio::time::timeout(MINUTE * 2, keeping()).await.is_err());
    assert_eq!(ledger.became("1")["cdc"], Became::Waiting("shop/binding-2".into()));
    ledger.want_of("2", vec![]);
    assert!(tokio::time::timeout(MINUTE / 2, keeping()).await.is_err());
    assert!(matches!(ledger.became("1")["cdc"], Became::Failed(_)), "a round, which fails");
}

#[tokio::test]
async fn it_begins_once_all_are_known() {
    let (redis, metrics, ledger) = (redis(), Metrics::new("1"), Ledger::default());
    ledger.want_of("1", vec![want(&redis.url(), &["s"], Some(MINUTE))]);
    let trimmed = async {
        while length(&redis) > 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = keep(&ledger, || all(&["1"]), &metrics) => {}
        trimmed = tokio::time::timeout(MINUTE, trimmed) => trimmed.unwrap(),
    }
}
