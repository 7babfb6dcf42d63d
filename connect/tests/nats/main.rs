//! Connections to a real NATS: who is let in, and what those are told who aren't.

#![expect(clippy::unwrap_used, reason = "a test's helpers are tests")]

mod listening;

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use freshet_connect::{
    Certificates, ConnectError, System,
    nats::{Found, Kept, Link, NatsError, Target, connect, probe},
};
use freshet_crds::host_port::HostPort;
use freshet_e2e::process::{
    Authority, Nats, Port, Redis,
    nats::{RetentionPolicy, StorageType, StreamConfig},
};

/// How long connecting may take on a busy machine.
const WITHIN: Duration = Duration::from_secs(10);

fn target(url: &str) -> Target {
    Target { url: url.parse().unwrap(), certificates: Certificates::default(), credentials: None }
}

fn at(port: u16) -> HostPort {
    HostPort { host: "127.0.0.1".into(), port }
}

fn of(nats: &Nats) -> HostPort {
    at(nats.address().port())
}

fn trusting(authority: &Authority, client: Option<&Authority>) -> Certificates {
    let issued = |by: &Authority| by.issue(&["freshet"]).unwrap();
    Certificates {
        authorities: Some(authority.pem().into_bytes()),
        client: client.map(issued).map(|one| (one.certificate.into_bytes(), one.key.into_bytes())),
    }
}

/// Connects, and exchanges something with the server, which shows that it has taken us.
async fn let_in(target: &Target) -> Link {
    let link = connect(target, &System, WITHIN).await.unwrap();
    link.client().flush().await.unwrap();
    assert!(link.is_unbroken());
    link
}

async fn refusal(target: &Target) -> ConnectError {
    let error = connect(target, &System, WITHIN).await.expect_err("it lets us in");
    assert!(!format!("{error} {error:?} {target:?}").contains("hush"), "{error:?}");
    error
}

#[tokio::test]
async fn a_server_without_credentials_lets_us_in() {
    let mut nats = Nats::start().unwrap();
    let link = let_in(&target(&nats.url())).await;
    assert_eq!(*link.at(), of(&nats));
    nats.restart().unwrap();
    let begun = Instant::now();
    while link.is_unbroken() {
        assert!(begun.elapsed() < WITHIN, "the connection of before is gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn users_and_tokens_are_let_in_and_others_refused() {
    let user = Nats::builder().user("shop", "hush-hush").start().unwrap();
    let token = Nats::builder().token("hush-token").start().unwrap();
    for nats in [&user, &token] {
        let_in(&target(&nats.url_with_credentials())).await;
        let address = nats.address();
        let wrong = ["", "shop:hush@", "hush@"].map(|login| format!("nats://{login}{address}"));
        for url in wrong {
            assert_eq!(refusal(&target(&url)).await, ConnectError::Refused(of(nats)));
        }
    }
}

#[tokio::test]
async fn signed_credentials_are_let_in_and_others_refused() {
    let nats = Nats::builder().signed_credentials().unwrap().start().unwrap();
    let with = |file: &str| Target { credentials: Some(file.to_owned()), ..target(&nats.url()) };
    let file = nats.credentials().unwrap();
    let_in(&with(file)).await;
    assert_eq!(refusal(&target(&nats.url())).await, ConnectError::Refused(of(&nats)));
    let stranger = Nats::builder().signed_credentials().unwrap().start().unwrap();
    let foreign = with(stranger.credentials().unwrap());
    assert_eq!(refusal(&foreign).await, ConnectError::Refused(of(&nats)));
    // The JWT of one with the seed of another.
    let (seed, jwt) = ("-----BEGIN USER NKEY SEED-----", stranger.credentials().unwrap());
    let mixed = format!("{}{seed}{}", jwt.split(seed).next().unwrap(), file.split(seed).nth(1).unwrap());
    assert_eq!(refusal(&with(&mixed)).await, ConnectError::Refused(of(&nats)));
    for none in ["", "hush", file.split(seed).next().unwrap()] {
        assert_eq!(refusal(&with(none)).await, ConnectError::BadCredentials);
    }
}

#[tokio::test]
async fn tls_is_what_the_url_says() {
    let authority = Authority::new("ours").unwrap();
    let nats = Nats::builder().tls(&authority.issue(&["127.0.0.1"]).unwrap()).start().unwrap();
    let trusted = Target { certificates: trusting(&authority, None), ..target(&nats.url()) };
    let_in(&trusted).await;
    let other = Authority::new("another").unwrap();
    let untrusted = Target { certificates: trusting(&other, None), ..trusted.clone() };
    let error = refusal(&untrusted).await;
    assert!(matches!(&error, ConnectError::Untrusted(at, why) if *at == of(&nats) && why.contains("caFrom")));
    let public = Target { certificates: Certificates::default(), ..trusted.clone() };
    assert!(matches!(refusal(&public).await, ConnectError::Untrusted(..)));
    let plain = target(&format!("nats://{}", nats.address()));
    assert_eq!(refusal(&plain).await, ConnectError::WantsTls(of(&nats)));

    // The certificate's name is held against the URL's, not against the address behind it.
    let named = Nats::builder().tls(&authority.issue(&["localhost"]).unwrap()).start().unwrap();
    let by = |host: &str| Target {
        certificates: trusting(&authority, None),
        ..target(&format!("tls://{host}:{}", named.address().port()))
    };
    let_in(&by("localhost")).await;
    let error = refusal(&by("127.0.0.1")).await;
    assert!(matches!(&error, ConnectError::Untrusted(_, why) if why.contains("localhost")), "{error:?}");

    let without = Nats::start().unwrap();
    let tls = Target {
        certificates: trusting(&authority, None),
        ..target(&format!("tls://{}", without.address()))
    };
    assert_eq!(refusal(&tls).await, ConnectError::HasNoTls(of(&without)));
}

#[tokio::test]
async fn clients_show_their_certificate() {
    let (authority, clients) = (Authority::new("ours").unwrap(), Authority::new("clients").unwrap());
    let server = authority.issue(&["127.0.0.1"]).unwrap();
    let nats = Nats::builder().tls_with_clients_of(&server, &clients).unwrap().start().unwrap();
    let with = |client| Target { certificates: trusting(&authority, client), ..target(&nats.url()) };
    let_in(&with(Some(&clients))).await;
    for client in [None, Some(&authority)] {
        let refused = refusal(&with(client)).await;
        assert!(matches!(&refused, ConnectError::ClientRefused(at, _) if *at == of(&nats)), "{refused:?}");
    }
}

#[tokio::test]
async fn any_of_the_servers_will_do() {
    let nats = Nats::start().unwrap();
    let dead = Port::free().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{},{},{}", dead.address(), silent.local_addr().unwrap(), nats.address());
    // In random order: each has been tried first with a probability of almost one.
    for _ in 0..8 {
        let begun = Instant::now();
        let link = connect(&target(&url), &System, Duration::from_secs(6)).await.unwrap();
        assert_eq!(*link.at(), of(&nats));
        assert!(begun.elapsed() < Duration::from_secs(6));
    }
}

#[tokio::test]
async fn who_does_not_answer_or_is_no_nats_is_told() {
    let dead = Port::free().unwrap();
    let refused = refusal(&target(&format!("nats://{}", dead.address()))).await;
    assert!(matches!(&refused, ConnectError::NoConnection(at, _) if at.port == dead.number()), "{refused:?}");
    let short = async |port: u16| {
        let target = target(&format!("nats://127.0.0.1:{port}"));
        connect(&target, &System, Duration::from_secs(3)).await.expect_err("it lets us in")
    };
    let mut paused = Nats::start().unwrap();
    paused.pause().unwrap();
    let port = paused.address().port();
    assert_eq!(short(port).await, ConnectError::Timeout(at(port)));
    paused.resume().unwrap();
    // It waits for us to say something first.
    let redis = Redis::start().unwrap();
    let port = redis.socket_address().port();
    assert_eq!(short(port).await, ConnectError::Timeout(at(port)));
    for says in ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail\r\n", ""] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let answers = thread::spawn(move || {
            let (mut asks, _) = other.accept().unwrap();
            asks.write_all(says.as_bytes()).unwrap();
            asks.shutdown(std::net::Shutdown::Write).unwrap();
            asks.read_to_end(&mut Vec::new()).ok();
        });
        assert_eq!(short(port).await, ConnectError::NotNats(at(port)), "{says:?}");
        answers.join().unwrap();
    }
}

#[tokio::test]
async fn a_full_server_is_heard() {
    let nats = Nats::builder().set("max_connections", "1").start().unwrap();
    let _first = let_in(&target(&nats.url())).await;
    let full = refusal(&target(&nats.url())).await;
    assert!(full.to_string().contains("maximum connections"), "{full}");
}

/// The tests' own client waits in a runtime of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_looked_at() {
    let nats = Nats::builder().jetstream().start().unwrap();
    let target = target(&nats.url());
    let look = async |stream| probe(&target, &System, stream, WITHIN).await;
    assert_eq!(look("DebeziumStream").await, Ok(Found::Absent));
    let make = |name: &'static str, change: fn(&mut StreamConfig)| {
        let subjects = vec![format!("{name}.>")];
        let mut config = StreamConfig { name: name.to_owned(), subjects, ..StreamConfig::default() };
        change(&mut config);
        tokio::task::block_in_place(|| nats.create_stream_with(&config)).unwrap();
    };
    let whole = Kept { until_consumed: false, forgetful: false, per_subject: None };
    make("whole", |_| {});
    assert_eq!(look("whole").await, Ok(Found::There(whole)));
    make("forgetful", |config| config.storage = StorageType::Memory);
    assert_eq!(look("forgetful").await, Ok(Found::There(Kept { forgetful: true, ..whole })));
    make("few", |config| config.max_messages_per_subject = 3);
    assert_eq!(look("few").await, Ok(Found::There(Kept { per_subject: Some(3), ..whole })));
    make("work", |config| config.retention = RetentionPolicy::WorkQueue);
    make("interest", |config| config.retention = RetentionPolicy::Interest);
    for name in ["work", "interest"] {
        assert_eq!(look(name).await, Ok(Found::There(Kept { until_consumed: true, ..whole })), "{name}");
    }
}

#[tokio::test]
async fn a_server_without_streams_for_us_is_told() {
    let without = Nats::start().unwrap();
    let asked = probe(&target(&without.url()), &System, "s", WITHIN).await;
    assert_eq!(asked, Err(NatsError::NoJetStream(of(&without))));
    // The server has JetStream, and this account none of it.
    let accounts = "{ A: { users: [{user: a, password: hush}] }, B: { jetstream: enabled, users: [{user: b, \
                    password: hush, permissions: { publish: [\"$JS.API.STREAM.INFO.ours\"] }}] } }";
    let nats = Nats::builder().jetstream().set("accounts", accounts).start().unwrap();
    let by = |user: &str| target(&format!("nats://{user}:hush@{}", nats.address()));
    let asked = probe(&by("a"), &System, "s", WITHIN).await;
    assert_eq!(asked, Err(NatsError::NoJetStream(of(&nats))));
    // One may ask for one stream, and for no other.
    assert_eq!(probe(&by("b"), &System, "ours", WITHIN).await, Ok(Found::Absent));
    let denied = probe(&by("b"), &System, "theirs", WITHIN).await.unwrap_err();
    assert!(
        matches!(&denied, NatsError::NotPermitted(says) if says.contains("$JS.API.STREAM.INFO.theirs")),
        "{denied:?}"
    );
}
