//! What is said of a NATS.

use freshet_connect::nats::{self, NatsError};
use freshet_e2e::process::{
    Nats,
    nats::{RetentionPolicy, StorageType, StreamConfig},
};

use super::*;

fn of(url: &str, uses: Uses) -> Target {
    let nats =
        nats::Target { url: url.parse().unwrap(), certificates: Certificates::default(), credentials: None };
    Target {
        name: "cdc".into(),
        access: Access::Nats(nats),
        streams: BTreeSet::from(["D".into()]),
        tables: BTreeSet::new(),
        uses,
    }
}

async fn probe_url(url: &str) -> Result<Reached, Unreachable> {
    let said = probe(&of(url, Uses::History), "default").await;
    assert!(!format!("{said:?}").contains("hush"), "{said:?}");
    said
}

fn connect_error(said: Result<Reached, Unreachable>) -> ConnectError {
    match said {
        Err(Unreachable::Nats(NatsError::Connect(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_reached_and_what_it_lacks_is_told() {
    let nats = Nats::builder().jetstream().start().unwrap();
    let make = |change: fn(&mut StreamConfig)| {
        let mut config =
            StreamConfig { name: "D".into(), subjects: vec!["shop.>".into()], ..StreamConfig::default() };
        change(&mut config);
        tokio::task::block_in_place(|| {
            nats.delete_stream("D").ok();
            nats.create_stream_with(&config).unwrap();
        });
    };
    let look = async |uses| probe(&of(&nats.url(), uses), "default").await;
    let flaws = async |uses| look(uses).await.unwrap().flaws;
    assert_eq!(look(Uses::Keys).await, Ok(Reached { absent: vec!["D".into()], flaws: vec![] }));
    make(|_| {});
    assert_eq!(look(Uses::History).await, Ok(Reached::default()));
    make(|config| config.storage = StorageType::Memory);
    assert_eq!(flaws(Uses::Keys).await, [Flaw::Forgetful("D".into())]);
    make(|config| config.max_messages_per_subject = 2);
    assert_eq!(flaws(Uses::Keys).await, [Flaw::FewPerSubject("D".into(), 2)]);
    make(|config| config.retention = RetentionPolicy::WorkQueue);
    assert_eq!(look(Uses::Keys).await, Err(Unreachable::Consumed("D".into())));
}

#[tokio::test]
async fn what_keeps_us_from_a_nats_is_told() {
    let user = Nats::builder().user("shop", "hush-hush").start().unwrap();
    let address = user.address();
    for login in ["", "shop:hush@", "hush@"] {
        let said = probe_url(&format!("nats://{login}{address}")).await;
        assert!(matches!(connect_error(said), ConnectError::Refused(_)), "{login}");
    }
    // Let in, and then there is no JetStream.
    let said = probe_url(&user.url_with_credentials()).await;
    assert!(matches!(said, Err(Unreachable::Nats(NatsError::NoJetStream(_)))), "{said:?}");
    let encrypted = connect_error(probe_url(&format!("tls://shop:hush@{address}")).await);
    assert!(matches!(encrypted, ConnectError::HasNoTls(_)), "{encrypted:?}");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = std::time::Instant::now();
    let waited = connect_error(probe_url(&format!("nats://{}", silent.local_addr().unwrap())).await);
    assert!(matches!(waited, ConnectError::Timeout(_)) && begun.elapsed() < DEADLINE, "{waited:?}");
    let free = Port::free().unwrap();
    let none = connect_error(probe_url(&format!("nats://{}", free.address())).await);
    assert!(matches!(none, ConnectError::NoConnection(..)), "{none:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_certificates_of_a_nats_is_told_apart() {
    let (authority, other) = (Authority::new("ours").unwrap(), Authority::new("other").unwrap());
    let server = |name: &str| authority.issue(&[name]).unwrap();
    let nats = Nats::builder().jetstream().tls(&server("127.0.0.1")).start().unwrap();
    let probe = async |url: String, trusted: Option<&Authority>| {
        let mut target = of(&url, Uses::Keys);
        let Access::Nats(nats) = &mut target.access else { panic!() };
        nats.certificates.authorities = trusted.map(|authority| authority.pem().into_bytes());
        super::probe(&target, "default").await
    };
    assert_eq!(probe(nats.url(), Some(&authority)).await.unwrap().absent, ["D"]);
    for trusted in [Some(&other), None] {
        let said = connect_error(probe(nats.url(), trusted).await);
        assert!(matches!(said, ConnectError::Untrusted(..)), "{said:?}");
    }
    let plain = connect_error(probe(format!("nats://{}", nats.address()), None).await);
    assert!(matches!(plain, ConnectError::WantsTls(_)), "{plain:?}");
    let named = Nats::builder().tls(&server("nats.example")).start().unwrap();
    let said = connect_error(probe(named.url(), Some(&authority)).await);
    assert!(matches!(&said, ConnectError::Untrusted(_, why) if why.contains("nats.example")), "{said:?}");
}

/// The server answers nothing to who may not ask.
#[tokio::test]
async fn what_is_not_permitted_is_told_by_its_subject() {
    let users = "{ users: [{ user: shop, password: hush, permissions: { publish: none } }] }";
    let nats = Nats::builder().jetstream().set("authorization", users).start().unwrap();
    let said = probe_url(&format!("nats://shop:hush@{}", nats.address())).await;
    assert!(
        matches!(&said, Err(Unreachable::Nats(NatsError::NotPermitted(says))) if says.contains("$JS.API.STREAM.INFO.D")),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_reached_if_it_may_be_listened_to() {
    let may = "{ publish: \"_INBOX.>\", subscribe: [\"_INBOX.>\", \"shop.>\"] }";
    let users = format!("{{ users: [{{ user: shop, password: hush, permissions: {may} }}] }}");
    let nats = Nats::builder().set("authorization", &users).start().unwrap();
    let ask = async |login: &str, subject: &str| {
        let url = format!("nats://{login}{}", nats.address());
        let Access::Nats(nats) = of(&url, Uses::Keys).access else { panic!() };
        let target = Target {
            access: Access::NatsSubject(nats),
            streams: BTreeSet::from([subject.into()]),
            ..of(&url, Uses::Keys)
        };
        let said = probe(&target, "default").await;
        assert!(!format!("{said:?}").contains("hush"), "{said:?}");
        said
    };
    assert_eq!(ask("shop:hush@", "shop.bus").await, Ok(Reached::default()));
    assert_eq!(ask("shop:hush@", "shop.>").await, Ok(Reached::default()));
    let denied = ask("shop:hush@", "other.*").await;
    let says = "Permissions Violation for Subscription to \"other.*\"";
    assert_eq!(denied, Err(Unreachable::Nats(NatsError::NotPermitted(says.into()))));
    let refused = connect_error(ask("shop:pw@", "shop.bus").await);
    assert!(matches!(refused, ConnectError::Refused(_)), "{refused:?}");
}
