//! Sessions that listen, on a real PostgreSQL: what they hear, and what those are told who can't.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::{collections::VecDeque, io::Write as _, net::TcpListener, sync::LazyLock, thread, time::Duration};

use anyhow::ensure;
use freshet_connect::{
    Certificates, ConnectError, System,
    postgres::{Listening, PostgresError, Target, listen, probe},
};
use freshet_crds::host_port::HostPort;
use freshet_e2e::process::{Authority, Port, Postgres, Redis, until};
use tokio::runtime::Runtime;

/// How long connecting may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(10);
/// A name that needs its quotes.
const CHANNEL: &str = "The \"shop's\" \\";

fn target(url: &str) -> Target {
    Target { url: url.parse().unwrap(), tls: None }
}

fn of(postgres: &Postgres) -> HostPort {
    HostPort { host: "127.0.0.1".into(), port: postgres.port() }
}

fn url(postgres: &Postgres, login: &str, database: &str) -> String {
    format!("postgres://{login}127.0.0.1:{}/{database}", postgres.port())
}

/// Servers are spoken to by a client that waits, sessions by one that doesn't.
fn now<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    RUNTIME.block_on(future)
}

fn hear(postgres: &Postgres) -> Listening {
    now(listen(&target(&postgres.url()), &System, CHANNEL, WITHIN)).unwrap()
}

fn refusal(target: &Target) -> PostgresError {
    let error = now(probe(target, &System, CHANNEL, [], WITHIN)).expect_err("it lets us in");
    assert!(!format!("{error} {error:?} {target:?}").contains("hush"), "{error:?}");
    error
}

fn say(postgres: &Postgres, channel: &str, text: &str) {
    let quoted = |text: &str| text.replace('\'', "''");
    postgres.execute(&format!("SELECT pg_notify('{}', '{}')", quoted(channel), quoted(text))).unwrap();
}

#[test]
fn what_is_said_in_the_channel_is_heard_in_order_and_before_the_answer() {
    let postgres = Postgres::start().unwrap();
    let mut session = hear(&postgres);
    assert_eq!(*session.at(), of(&postgres));
    let mut heard = VecDeque::new();
    now(session.next(&mut heard, tokio::time::Instant::now())).unwrap();
    now(session.round_trip(&mut heard)).unwrap();
    assert_eq!(heard, [""; 0]);
    say(&postgres, CHANNEL, "a");
    say(&postgres, "another", "b");
    say(&postgres, CHANNEL, "ü'c");
    now(session.round_trip(&mut heard)).unwrap();
    assert_eq!(heard, ["a", "ü'c"]);
    say(&postgres, CHANNEL, "d");
    heard.clear();
    while heard.is_empty() {
        now(session.next(&mut heard, tokio::time::Instant::now() + WITHIN)).unwrap();
    }
    assert_eq!(heard, ["d"]);
    // Rolled back, it was never said.
    let mut client = postgres.client().unwrap();
    client.batch_execute("BEGIN; SELECT pg_notify('x', 'never'); ROLLBACK").unwrap();
    now(session.round_trip(&mut heard)).unwrap();
    assert_eq!(heard, ["d"]);
}

#[test]
fn the_end_of_a_session_is_noticed_by_whoever_waits_or_asks() {
    let mut postgres = Postgres::start().unwrap();
    let (mut waits, mut asks) = (hear(&postgres), hear(&postgres));
    postgres.stop().unwrap();
    let until = tokio::time::Instant::now() + WITHIN;
    let waited = now(waits.next(&mut VecDeque::new(), until)).unwrap_err();
    assert!(
        matches!(&waited, PostgresError::Says(says) if says.contains("terminating connection")),
        "{waited:?}"
    );
    now(asks.round_trip(&mut VecDeque::new())).unwrap_err();
}

/// The session by which it is known that notifications come through is gone when that is known.
#[test]
fn one_session_is_left_where_two_began() {
    let postgres = Postgres::start().unwrap();
    let mut session = hear(&postgres);
    let ours = "SELECT count(*), min(application_name) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                AND pid <> pg_backend_pid()";
    until("there is one session", WITHIN, || {
        let found = postgres.query(ours)?.concat();
        ensure!(found == [Some("1".to_owned()), Some("freshet".to_owned())], "{found:?}");
        Ok(())
    })
    .unwrap();
    now(session.round_trip(&mut VecDeque::new())).unwrap();
}

#[test]
fn who_is_let_in_is_said_by_name_and_password() {
    let postgres = Postgres::start().unwrap();
    let made = "CREATE ROLE freshet LOGIN PASSWORD 'hush-hush'; CREATE ROLE stranger LOGIN; CREATE DATABASE shop; \
                REVOKE CONNECT ON DATABASE shop FROM PUBLIC";
    for statement in made.split("; ") {
        postgres.execute(statement).unwrap();
    }
    let lines =
        "host all postgres all trust\nhost all freshet all scram-sha-256\nhost shop stranger all trust";
    postgres.admit(lines).unwrap();
    let at = of(&postgres);
    let of = |login: &str, database: &str| target(&url(&postgres, login, database));
    now(probe(&of("freshet:hush-hush@", "postgres"), &System, CHANNEL, [], WITHIN)).unwrap();
    let wrong = refusal(&of("freshet:hush@", "postgres"));
    assert_eq!(wrong, PostgresError::Connect(ConnectError::Refused(at.clone())));
    assert_eq!(refusal(&of("", "postgres")), PostgresError::NoPassword(at.clone()));
    assert_eq!(refusal(&of("nobody:hush@", "postgres")), PostgresError::NoEntry(at.clone(), false));
    let missing = refusal(&of("freshet:hush-hush@", "nope"));
    assert_eq!(missing, PostgresError::NoDatabase(at.clone(), "nope".into()));
    let denied = refusal(&of("stranger@", "shop"));
    assert!(
        matches!(&denied, PostgresError::NotPermitted(says) if says.contains("permission denied")),
        "{denied:?}"
    );
}

#[test]
fn tls_is_what_the_source_says() {
    let postgres = Postgres::start().unwrap();
    let at = of(&postgres);
    let (ours, other) = (Authority::new("ours").unwrap(), Authority::new("another").unwrap());
    let issued =
        |by: &Authority| by.issue(&["postgres"]).map(|c| (c.certificate.into_bytes(), c.key.into_bytes()));
    let trusting = |authority: &Authority, client| Target {
        tls: Some(Certificates { authorities: Some(authority.pem().into_bytes()), client }),
        ..target(&postgres.url())
    };
    assert_eq!(refusal(&trusting(&ours, None)), PostgresError::HasNoTls(at.clone()));
    postgres.encrypt(&ours.issue(&["127.0.0.1"]).unwrap(), Some(&ours.pem())).unwrap();
    now(probe(&trusting(&ours, None), &System, CHANNEL, [], WITHIN)).unwrap();
    let untrusted = refusal(&trusting(&other, None));
    assert!(
        matches!(&untrusted, PostgresError::Connect(ConnectError::Untrusted(a, _)) if *a == at),
        "{untrusted:?}"
    );
    let lines =
        "hostnossl all postgres 127.0.0.1/32 trust\nhostssl all postgres all trust clientcert=verify-ca";
    postgres.admit(lines).unwrap();
    now(probe(&trusting(&ours, Some(issued(&ours).unwrap())), &System, CHANNEL, [], WITHIN)).unwrap();
    let without = refusal(&trusting(&ours, None));
    assert!(
        matches!(&without, PostgresError::NotPermitted(says) if says.contains("certificate")),
        "{without:?}"
    );
    let foreign = refusal(&trusting(&ours, Some(issued(&other).unwrap())));
    assert!(matches!(&foreign, PostgresError::Connect(ConnectError::ClientRefused(..))), "{foreign:?}");
}

#[test]
fn a_table_that_nothing_tells_of_is_found() {
    let postgres = Postgres::start().unwrap();
    let made = "CREATE SCHEMA \"it's\"; CREATE TABLE \"it's\".told (a int); CREATE TABLE \"it's\".untold (a int); \
                CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                CREATE TRIGGER t AFTER INSERT ON \"it's\".told EXECUTE FUNCTION f()";
    postgres.execute(made).unwrap();
    let tables = ["it's.told", "shop.it's.told", "it's.untold", "shop.it's.none"];
    let untold = now(probe(&target(&postgres.url()), &System, CHANNEL, tables, WITHIN)).unwrap();
    assert_eq!(untold, ["it's.untold", "shop.it's.none"]);
}

#[test]
fn a_standby_takes_no_listen() {
    let primary = Postgres::start().unwrap();
    let standby = primary.standby().unwrap();
    let error = refusal(&target(&standby.url()));
    assert_eq!(error, PostgresError::Standby(of(&standby)));
    assert!(error.to_string().contains("has to lead to the primary"));
}

#[test]
fn what_isn_t_a_postgres_is_told() {
    let redis = Redis::start().unwrap();
    let at = |port: u16| HostPort { host: "127.0.0.1".into(), port };
    let of = |port: u16, tls: bool| Target {
        tls: tls.then(Certificates::default),
        ..target(&format!("postgres://u:hush@127.0.0.1:{port}/shop"))
    };
    let port = redis.socket_address().port();
    for tls in [false, true] {
        let error = now(probe(&of(port, tls), &System, CHANNEL, [], Duration::from_secs(2))).unwrap_err();
        let told =
            [PostgresError::NotPostgres(at(port)), PostgresError::Connect(ConnectError::Timeout(at(port)))];
        assert!(told.contains(&error), "{error:?}");
    }
    // One that says something at once, as a mail server does.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(b"220 mail.example.com ESMTP\r\n");
        }
    });
    for tls in [false, true] {
        let error = refusal(&of(port, tls));
        assert_eq!(error, PostgresError::NotPostgres(at(port)), "tls: {tls}");
    }
    let free = Port::free().unwrap();
    let closed = refusal(&of(free.number(), false));
    assert!(matches!(&closed, PostgresError::Connect(ConnectError::NoConnection(..))), "{closed:?}");
    let nowhere = target("postgres://nowhere.invalid/shop");
    let nowhere = refusal(&nowhere);
    assert_eq!(nowhere, PostgresError::Connect(ConnectError::NoAddress("nowhere.invalid".into())));
}
