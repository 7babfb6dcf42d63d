//! The vocabulary itself, on the real programs.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use freshet_e2e::process::debezium::{Format, Heartbeat, Routing, Settings};
use freshet_e2e::process::{Child, Debezium, Postgres, Redis, until};

#[test]
fn redis_keeps_its_data_over_a_kill_when_append_only() {
    let mut redis = Redis::builder().append_only().start().unwrap();
    let id = redis.xadd("shop.cdc", &[("key", "{\"id\":1}"), ("value", "default")]).unwrap();
    let address = redis.address();
    redis.kill().unwrap();
    assert!(redis.command::<String>(&["PING"]).is_err());
    redis.restart().unwrap();
    assert_eq!(redis.address(), address);
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", "shop.cdc", "-", "+"]).unwrap();
    assert_eq!(entries, [(id, ["key", "{\"id\":1}", "value", "default"].map(String::from).to_vec())]);
}

#[test]
fn redis_forgets_everything_otherwise() {
    let mut redis = Redis::start().unwrap();
    redis.xadd("shop.cdc", &[("a", "b")]).unwrap();
    redis.restart().unwrap();
    assert_eq!(redis.command::<u64>(&["EXISTS", "shop.cdc"]).unwrap(), 0);
}

#[test]
fn redis_wants_its_password() {
    let redis = Redis::builder().password("s3cret").set("maxmemory", "50mb").start().unwrap();
    assert!(!redis.url().contains("s3cret"));
    let limit: Vec<String> = redis.command(&["CONFIG", "GET", "maxmemory"]).unwrap();
    assert_eq!(limit, ["maxmemory", "52428800"]);
    let stranger = redis::Client::open(redis.url()).unwrap().get_connection();
    let refused = stranger.and_then(|mut connection| redis::cmd("PING").exec(&mut connection));
    assert!(refused.unwrap_err().to_string().contains("NOAUTH"));
}

#[test]
fn a_frozen_redis_answers_nothing_until_it_goes_on() {
    let mut redis = Redis::start().unwrap();
    let mut connection = redis.connection().unwrap();
    redis.pause().unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert!(redis::cmd("PING").exec(&mut connection).unwrap_err().is_timeout());
    redis.resume().unwrap();
    assert_eq!(redis.command::<String>(&["PING"]).unwrap(), "PONG");
}

#[test]
fn a_start_that_fails_says_why_at_once() {
    let failed = Redis::builder().set("maxmemory", "a lot").start().unwrap_err();
    assert!(format!("{failed:#}").contains("argument must be a memory value"), "{failed:#}");
    let folder = tempfile::tempdir().unwrap();
    let command = Child::command("no-such-program");
    let mut child = Child::spawn("nothing", command, &folder.path().join("log")).unwrap();
    let ended = child.await_ready(Duration::from_secs(10), || -> Result<()> { bail!("never") }).unwrap_err();
    assert!(format!("{ended:#}").contains("no-such-program: not found"), "{ended:#}");
}

/// Runs itself as another process, has that start a child, and kills it.
#[test]
fn a_child_dies_with_the_process_that_started_it() {
    if std::env::var_os("FRESHET_TEST_PARENT").is_some() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Child::command("sleep");
        command.arg("600");
        let mut child = Child::spawn("sleep", command, &folder.path().join("log")).unwrap();
        println!("child {}.", child.pid());
        child.wait(Duration::from_mins(1)).unwrap();
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut parent = Command::new(this)
        .args(["--exact", "a_child_dies_with_the_process_that_started_it", "--nocapture"])
        .env("FRESHET_TEST_PARENT", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = parent.stdout.take().unwrap();
    let mut seen = String::new();
    let pid: u32 = until("the child's id is printed", Duration::from_secs(10), || {
        let mut block = [0; 256];
        let read = output.read(&mut block)?;
        seen.push_str(&String::from_utf8_lossy(&block[..read]));
        match seen.split_once("child ").and_then(|(_, rest)| rest.split_once('.')) {
            Some((pid, _)) => Ok(pid.parse()?),
            None => bail!("only {seen:?}"),
        }
    })
    .unwrap();
    // A zombie has died; that nobody has asked for its exit code yet is its new parent's affair.
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(alive());
    parent.kill().unwrap();
    assert_eq!(parent.wait().unwrap().signal(), Some(9));
    until("the child is gone", Duration::from_secs(10), || -> Result<()> {
        if alive() {
            bail!("process {pid} lives");
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn postgres_keeps_its_data_over_a_crash() {
    let mut postgres = Postgres::start().unwrap();
    postgres
        .execute("CREATE TABLE product (id int PRIMARY KEY, name text); INSERT INTO product VALUES (1, NULL)")
        .unwrap();
    postgres.kill().unwrap();
    assert!(postgres.client().is_err());
    postgres.restart().unwrap();
    let rows = postgres.query("SELECT * FROM product").unwrap();
    assert_eq!(rows, [[Some("1".to_owned()), None]]);
    let settings =
        postgres.query("SELECT current_setting('wal_level'), current_setting('server_encoding')").unwrap();
    assert_eq!(settings, [["logical", "UTF8"].map(|word| Some(word.to_owned()))]);
    postgres.stop().unwrap();
}

/// The values of all entries of a stream in the extended format, as JSON.
fn values(redis: &Redis, stream: &str) -> Result<Vec<serde_json::Value>> {
    let entries: Vec<(String, Vec<String>)> = redis.command(&["XRANGE", stream, "-", "+"])?;
    entries.iter().map(|(_, fields)| Ok(serde_json::from_str(&fields[3])?)).collect()
}

#[test]
fn a_row_arrives_in_redis_through_debezium() {
    let (postgres, redis) =
        (Postgres::start().unwrap(), Redis::builder().password("s3cret").start().unwrap());
    postgres.execute("CREATE TABLE product (id int PRIMARY KEY); INSERT INTO product VALUES (1)").unwrap();
    let settings = Settings::default().heartbeat(Heartbeat::Database, Duration::from_millis(100));
    let mut debezium = Debezium::start(settings, &postgres, &redis).unwrap();
    let stream = debezium.settings().stream("public.product");
    let arrives = |operation: &str, id: u64| {
        until("the row", Duration::from_secs(20), || {
            let values = values(&redis, &stream)?;
            let found = |value: &&serde_json::Value| value["op"] == operation && value["after"]["id"] == id;
            values.iter().find(found).map(drop).ok_or_else(|| anyhow!("{} entries without it", values.len()))
        })
        .unwrap();
    };
    arrives("r", 1);
    postgres.execute("INSERT INTO product VALUES (2)").unwrap();
    arrives("c", 2);
    // What is written while it is down comes when it is back.
    debezium.kill().unwrap();
    postgres.execute("INSERT INTO product VALUES (3)").unwrap();
    debezium.restart(&postgres).unwrap();
    arrives("c", 3);
    let beats = || {
        let values = values(&redis, &stream)?;
        let beats = values.iter().filter(|value| value["message"]["prefix"] == "freshet-hb").count();
        if beats < 2 {
            bail!("{beats} heartbeats");
        }
        Ok(())
    };
    until("heartbeats", Duration::from_secs(20), beats).unwrap();
    debezium.stop().unwrap();
}

#[test]
fn the_compact_format_has_one_stream_per_table() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    postgres.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)").unwrap();
    postgres.execute("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)").unwrap();
    let settings = Settings::default().format(Format::Compact).routing(Routing::PerTable).table("public.a");
    let _debezium =
        Debezium::start(settings.heartbeat(Heartbeat::Off, Duration::ZERO), &postgres, &redis).unwrap();
    let entries: Vec<(String, Vec<String>)> = until("the snapshot", Duration::from_secs(20), || {
        let entries: Vec<_> = redis.command(&["XRANGE", "shop.public.a", "-", "+"])?;
        if entries.is_empty() {
            bail!("nothing");
        }
        Ok(entries)
    })
    .unwrap();
    assert_eq!((entries.len(), entries[0].1.len()), (1, 2));
    assert_eq!(entries[0].1[0], "{\"id\":1}");
    assert_eq!(redis.command::<u64>(&["EXISTS", "shop.public.b"]).unwrap(), 0);
}
