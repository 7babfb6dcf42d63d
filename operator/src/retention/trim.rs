//! Removing old entries from one stream, in steps that Redis is never long busy with.

use std::time::Duration;

use freshet_connect::{ConnectError, refusal};
use redis::{FromRedisValue as _, RedisError, Value, aio::MultiplexedConnection};
use tokio::time::Instant;

use super::plan::Server;

/// So many entries are removed at once: a few milliseconds of Redis's time.
const STEP: usize = 10_000;
/// What others get of Redis's time between two steps, at least.
const PAUSE: Duration = Duration::from_millis(5);
/// Debezium keeps its own things under names like this.
const DEBEZIUM_S: &str = "metadata:debezium:";

/// Why a stream isn't trimmed. No text of it carries a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTrimmed {
    /// It is what Debezium keeps for itself.
    #[error("{0} is Debezium's own: it is never trimmed")]
    Debezium(String),
    /// It isn't a stream.
    #[error("{0} isn't a stream: nothing is removed from it")]
    NotAStream(String),
    /// Redis can't be reached or refuses.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It said something that isn't understood.
    #[error("{0}: Redis's answer isn't understood")]
    Answer(String),
    /// Where it is isn't known.
    #[error("where it is isn't known: see SourcesReachable")]
    Unknown,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// Who this is, as all that have the same data set say it, and whether it is their master.
pub(super) async fn server(
    link: &mut MultiplexedConnection,
    database: u16,
) -> Result<(Server, bool), NotTrimmed> {
    let info: String =
        redis::cmd("INFO").arg("replication").query_async(link).await.map_err(|e| failed(&e))?;
    let of = |name: &str| {
        info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
    };
    let replication = of("master_replid").ok_or_else(|| NotTrimmed::Answer("INFO".into()))?;
    // Zeros where there was none.
    let former = of("master_replid2").filter(|id| id.bytes().any(|digit| digit != b'0'));
    Ok((Server { replication, former, database }, of("role").is_some_and(|role| role == "master")))
}

/// Removes what is older, by Redis's own clock, and returns how many entries that were. Some that are older stay for a
/// while: whole blocks of a hundred or so are removed, which costs Redis next to nothing. No step is begun once `share`
/// is over, but for the first.
pub(super) async fn trim(
    link: &mut MultiplexedConnection,
    stream: &str,
    retention: Duration,
    share: Duration,
) -> Result<u64, NotTrimmed> {
    if stream.starts_with(DEBEZIUM_S) {
        return Err(NotTrimmed::Debezium(stream.to_owned()));
    }
    if !is_of_changes(link, stream).await? {
        return Ok(0);
    }
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(link).await.map_err(|e| failed(&e))?;
    let now = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    let least = now.saturating_sub(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX));
    let (start, mut removed) = (Instant::now(), 0);
    loop {
        let step: u64 = redis::cmd("XTRIM")
            .arg(stream)
            .arg(&["MINID", "~", &least.to_string(), "LIMIT", &STEP.to_string()])
            .query_async(link)
            .await
            .map_err(|e| failed(&e))?;
        removed += step;
        if step == 0 || start.elapsed() >= share {
            return Ok(removed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether there is a stream of that name with entries other than those of Debezium's schema history, which have one
/// field, `schema`.
async fn is_of_changes(link: &mut MultiplexedConnection, stream: &str) -> Result<bool, NotTrimmed> {
    let answer = redis::cmd("XINFO").arg("STREAM").arg(stream).query_async::<Value>(link).await;
    let facts = match answer {
        Ok(facts) => facts.into_sequence().unwrap_or_default(),
        Err(error) => {
            return match (error.code(), error.detail()) {
                (Some("ERR"), Some(detail)) if detail.contains("no such key") => Ok(false),
                (Some("WRONGTYPE"), _) => Err(NotTrimmed::NotAStream(stream.to_owned())),
                _ => Err(failed(&error)),
            };
        }
    };
    let mut entries = facts
        .chunks_exact(2)
        .filter(|fact| {
            String::from_redis_value(fact[0].clone())
                .is_ok_and(|name| name == "first-entry" || name == "last-entry")
        })
        .map(|fact| &fact[1]);
    if entries.any(is_of_history) {
        return Err(NotTrimmed::Debezium(stream.to_owned()));
    }
    Ok(true)
}

/// Whether an entry, `[id, [field, value, …]]`, has the one field `schema`.
fn is_of_history(entry: &Value) -> bool {
    let Value::Array(entry) = entry else { return false };
    let Some(Value::Array(fields)) = entry.get(1) else { return false };
    fields.len() == 2 && matches!(&fields[0], Value::BulkString(name) if name == b"schema")
}

fn failed(error: &RedisError) -> NotTrimmed {
    NotTrimmed::Connect(refusal(error).into())
}

#[cfg(test)]
mod tests {
    use freshet_e2e::process::Redis;
    use redis::Client;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const SHARE: Duration = Duration::from_secs(5);

    async fn link(redis: &Redis) -> MultiplexedConnection {
        Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// Entries of so many hours ago by Redis's clock, `count` of them.
    fn add(redis: &Redis, stream: &str, hours: u64, count: usize) {
        let script = "local now = redis.call('TIME')[1] * 1000 \
                      for i = 1, ARGV[2] do \
                        redis.call('XADD', KEYS[1], string.format('%.0f-*', now - ARGV[1] * 3600000), 'key', 'k', 'value', i) \
                      end";
        let (hours, count) = (hours.to_string(), count.to_string());
        redis.command::<()>(&["EVAL", script, "1", stream, &hours, &count]).unwrap();
    }

    fn length(redis: &Redis, stream: &str) -> u64 {
        redis.command(&["XLEN", stream]).unwrap()
    }

    #[tokio::test]
    async fn what_is_older_goes_and_what_is_not_stays() {
        let redis = Redis::start().unwrap();
        add(&redis, "s", 3, 25_000);
        add(&redis, "s", 0, 250);
        let mut link = link(&redis).await;
        redis.command::<String>(&["CONFIG", "RESETSTAT"]).unwrap();
        let removed = trim(&mut link, "s", HOUR, SHARE).await.unwrap();
        let left = length(&redis, "s");
        assert_eq!(removed + left, 25_250);
        assert!((250..450).contains(&left), "whole blocks: {left}");
        let stats: String = redis.command(&["INFO", "commandstats"]).unwrap();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xtrim:calls=")).unwrap();
        let calls: u32 = calls.split(',').next().unwrap().parse().unwrap();
        assert!(calls >= 4, "in steps: {calls}");
        assert_eq!(trim(&mut link, "s", HOUR, SHARE).await, Ok(0));
        assert_eq!(trim(&mut link, "absent", HOUR, SHARE).await, Ok(0));
    }

    #[tokio::test]
    async fn what_is_not_ours_to_trim_is_left_alone() {
        let redis = Redis::start().unwrap();
        let mut link = link(&redis).await;
        let of = |name: &str| NotTrimmed::Debezium(name.into());
        for stream in ["metadata:debezium:schema_history", "history"] {
            for _ in 0..300 {
                redis.command::<String>(&["XADD", stream, "*", "schema", "{}"]).unwrap();
            }
            assert_eq!(trim(&mut link, stream, Duration::ZERO, SHARE).await, Err(of(stream)));
            assert_eq!(length(&redis, stream), 300);
        }
        redis.command::<String>(&["SET", "text", "1"]).unwrap();
        assert_eq!(trim(&mut link, "text", HOUR, SHARE).await, Err(NotTrimmed::NotAStream("text".into())));
        let entry = |fields: &[&str]| {
            let bulk = |text: &&str| Value::BulkString(text.as_bytes().to_vec());
            Value::Array(vec![bulk(&"1-0"), Value::Array(fields.iter().map(bulk).collect())])
        };
        assert!(is_of_history(&entry(&["schema", "{}"])));
        // A compact entry's field is its key; a table may well have a column of that name.
        assert!(!is_of_history(&entry(&["{\"schema\":1}", "{}"])));
        assert!(!is_of_history(&entry(&["key", "k", "value", "v"])) && !is_of_history(&Value::Nil));
    }

    #[tokio::test]
    async fn least_rights_suffice_and_fewer_are_told() {
        let redis = Redis::start().unwrap();
        add(&redis, "shop.cdc", 3, 1000);
        let guide = include_str!("../../../docs/guides/debezium.md");
        let rule = guide.lines().find(|line| line.starts_with("ACL SETUSER freshet ")).unwrap();
        let rights: Vec<_> = rule.split(' ').skip(5).collect();
        let user = |name: &str, rights: &[&str]| {
            redis.command::<String>(&[&["ACL", "SETUSER", name, "on", ">pony"], rights].concat()).unwrap();
        };
        user("keeper", &rights);
        let fewer: Vec<_> = rights.iter().copied().filter(|right| *right != "+xtrim").collect();
        user("reader", &fewer);
        let link = async |name: &str| {
            let url = format!("redis://{name}:pony@{}", redis.address());
            Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
        };
        let refused = trim(&mut link("reader").await, "shop.cdc", HOUR, SHARE).await.unwrap_err().to_string();
        assert!(refused.contains("doesn't permit it"), "{refused}");
        assert_eq!(length(&redis, "shop.cdc"), 1000);
        let mut keeper = link("keeper").await;
        assert_eq!(server(&mut keeper, 0).await.unwrap().0.replication.len(), 40);
        assert!(trim(&mut keeper, "shop.cdc", HOUR, SHARE).await.unwrap() >= 900);
    }
}
