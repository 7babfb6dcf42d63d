//! The vocabulary itself, on the real programs.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use freshet_e2e::process::debezium::{Format, Heartbeat, Routing, Settings};
use freshet_e2e::process::{Child, Debezium, MariaDb, Postgres, Proxy, Redis, Silence, until};

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

#[test]
fn mariadb_keeps_its_data_over_a_kill() {
    let mut mariadb = MariaDb::start().unwrap();
    mariadb
        .execute("CREATE DATABASE shop; CREATE TABLE shop.p (id INT PRIMARY KEY, name TEXT); INSERT INTO shop.p VALUES (1, NULL)")
        .unwrap();
    let mut client = mariadb.client().unwrap();
    assert!(client.execute("SELECT nothing").unwrap_err().to_string().contains("nothing"));
    client.execute("BEGIN; INSERT INTO shop.p VALUES (2, 'ü')").unwrap();
    mariadb.kill().unwrap();
    assert!(mariadb.client().is_err() && client.execute("COMMIT").is_err());
    mariadb.restart().unwrap();
    let rows = mariadb.query("SELECT * FROM shop.p").unwrap();
    assert_eq!(rows, [vec![Some("1".to_owned()), None]]);
    let long = mariadb.query("SELECT REPEAT('x', 70000), 'ü'").unwrap();
    assert_eq!((long[0][0].as_ref().unwrap().len(), long[0][1].as_deref()), (70_000, Some("ü")));
    mariadb.stop().unwrap();
}

#[test]
fn a_row_of_mariadb_arrives_in_redis_through_debezium() {
    let (mariadb, redis) = (MariaDb::start().unwrap(), Redis::start().unwrap());
    mariadb.execute("CREATE DATABASE shop; CREATE TABLE shop.p (id INT PRIMARY KEY)").unwrap();
    let settings = Settings::mariadb().heartbeat(Heartbeat::Database, Duration::from_millis(100));
    let debezium = Debezium::start(settings, &mariadb, &redis).unwrap();
    mariadb.execute("INSERT INTO shop.p VALUES (7)").unwrap();
    let stream = debezium.settings().stream("shop.p");
    until("the row and a second heartbeat", Duration::from_secs(20), || {
        let values = values(&redis, &stream)?;
        let row = values.iter().any(|value| value["op"] == "c" && value["after"]["id"] == 7);
        let beat = values.iter().any(|value| value["op"] == "u" && value["after"]["beat"] == 2);
        if !row || !beat {
            bail!("{} entries, with the row {row}, with the heartbeat {beat}", values.len());
        }
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_replica_takes_over_without_what_did_not_reach_it() {
    let mut master = Redis::start().unwrap();
    let link = Proxy::start(master.socket_address()).unwrap();
    let replica = Redis::builder().replica_of(link.address()).start().unwrap();
    let length = |redis: &Redis| redis.command::<u64>(&["XLEN", "shop.cdc"]);
    master.xadd("shop.cdc", &[("a", "1")]).unwrap();
    until("the entry is in the replica", Duration::from_secs(10), || match length(&replica)? {
        1 => Ok(()),
        other => bail!("{other} entries"),
    })
    .unwrap();
    link.stall();
    master.xadd("shop.cdc", &[("a", "2")]).unwrap();
    until("bytes are held", Duration::from_secs(10), || match link.counts().held {
        0 => bail!("none"),
        _ => Ok(()),
    })
    .unwrap();
    master.kill().unwrap();
    replica.follow(None).unwrap();
    assert_eq!(replica.info("replication", "role").unwrap(), "master");
    assert_eq!(length(&replica).unwrap(), 1);
}

#[test]
fn a_proxy_does_to_connections_what_a_network_does() {
    let (one, other) = (Redis::start().unwrap(), Redis::start().unwrap());
    let proxy = Proxy::start(one.socket_address()).unwrap();
    let connect = || {
        let client = redis::Client::open(format!("redis://{}", proxy.address())).unwrap();
        let connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        connection.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok::<_, redis::RedisError>(connection)
    };
    let ping = |connection: &mut redis::Connection| redis::cmd("PING").exec(connection);
    let mut first = connect().unwrap();
    ping(&mut first).unwrap();
    // Held back, and then there after all.
    proxy.stall();
    first.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| ping(&mut first));
        until("bytes are held", Duration::from_secs(5), || match proxy.counts().held {
            0 => bail!("none"),
            _ => Ok(()),
        })
        .unwrap();
        assert!(!answered.is_finished());
        proxy.pass();
        answered.join().unwrap().unwrap();
    });
    // Half-open: dead for good, without a word, while new connections live, also when bytes pass again.
    assert_eq!(proxy.abandon(), 1);
    proxy.pass();
    first.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(ping(&mut first).unwrap_err().is_timeout());
    let mut second = connect().unwrap();
    ping(&mut second).unwrap();
    // Cut: told at once.
    assert_eq!(proxy.cut(), 2);
    assert!(!ping(&mut second).unwrap_err().is_timeout());
    // Refused, until it passes again, to another server.
    proxy.refuse();
    assert!(connect().and_then(|mut connection| ping(&mut connection)).is_err());
    assert!(proxy.counts().refused > 0);
    proxy.point_to(other.socket_address());
    proxy.pass();
    let mut third = connect().unwrap();
    redis::cmd("SET").arg("which").arg("other").exec(&mut third).unwrap();
    assert_eq!(other.command::<String>(&["GET", "which"]).unwrap(), "other");
}

#[test]
fn a_proxy_can_silence_one_direction() {
    let redis = Redis::start().unwrap();
    let proxy = Proxy::start(redis.socket_address()).unwrap();
    let connect = || {
        let client = redis::Client::open(format!("redis://{}", proxy.address())).unwrap();
        let connection = client.get_connection_with_timeout(Duration::from_secs(5)).unwrap();
        connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        connection
    };
    let set = |connection: &mut redis::Connection, key: &str| {
        redis::cmd("SET").arg(key).arg("1").exec(connection).unwrap_err()
    };
    let mut deaf = connect();
    proxy.silence(Silence::ToClient);
    assert!(set(&mut deaf, "said").is_timeout());
    assert_eq!(redis.command::<u64>(&["EXISTS", "said"]).unwrap(), 1, "the server has heard it");
    proxy.pass();
    let mut mute = connect();
    assert_eq!(proxy.abandon_to(Silence::ToServer), proxy.connections());
    assert!(set(&mut mute, "unsaid").is_timeout());
    assert_eq!(redis.command::<u64>(&["EXISTS", "unsaid"]).unwrap(), 0, "the server has heard nothing");
    // What the server does is heard, and ends the connection for both.
    redis.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    assert!(!set(&mut mute, "unsaid").is_timeout());
    until("no connection is left", Duration::from_secs(5), || match proxy.connections() {
        0 => Ok(()),
        left => bail!("{left} are left"),
    })
    .unwrap();
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
