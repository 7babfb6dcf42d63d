//! The vocabulary itself, on the real programs.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use freshet_e2e::process::{Child, Redis, until};

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
    let mut child = Child::spawn("nothing", Child::command("no-such-program"), &folder.path().join("log"));
    let status = child.as_mut().unwrap().wait(Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(127));
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
    let alive = || std::path::Path::new(&format!("/proc/{pid}")).exists();
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
