//! What is said of a PostgreSQL.

use freshet_connect::postgres::{self, PostgresError};
use freshet_e2e::process::Postgres;

use super::*;

fn of(postgres: &Postgres, login: &str) -> Target {
    let url = format!("postgres://{login}127.0.0.1:{}/postgres", postgres.port());
    let access = Access::Postgres(postgres::Target { url: url.parse().unwrap(), tls: None });
    let tables = ["a.told", "a.untold"].map(str::to_owned).into();
    Target { name: "db".into(), access, streams: ["bus".to_owned()].into(), tables, uses: Uses::Keys }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_is_reached_and_what_nothing_tells_of_is_told() {
    let (primary, standby) = tokio::task::spawn_blocking(|| {
        let primary = Postgres::start().unwrap();
        let made = "CREATE SCHEMA a; CREATE TABLE a.told (b int); CREATE TABLE a.untold (b int); \
                    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
                    CREATE TRIGGER t AFTER INSERT ON a.told EXECUTE FUNCTION f(); \
                    CREATE ROLE freshet LOGIN PASSWORD 'hush'";
        primary.execute(made).unwrap();
        primary.admit("host all postgres all trust\nhost replication postgres all trust\nhost all all all scram-sha-256").unwrap();
        let standby = primary.standby().unwrap();
        (primary, standby)
    })
    .await
    .unwrap();
    let reached = probe(&of(&primary, "freshet:hush@"), "default").await;
    assert_eq!(reached, Ok(Reached { absent: vec![], flaws: vec![Flaw::Untold("a.untold".into())] }));
    let refused = probe(&of(&primary, "freshet:wrong@"), "default").await;
    assert!(
        matches!(&refused, Err(Unreachable::Postgres(PostgresError::Connect(ConnectError::Refused(_))))),
        "{refused:?}"
    );
    let standing_by = probe(&of(&standby, "postgres@"), "default").await;
    assert!(matches!(&standing_by, Err(Unreachable::Postgres(PostgresError::Standby(_)))), "{standing_by:?}");
    // Dropping one waits for its end.
    tokio::task::spawn_blocking(move || drop((standby, primary))).await.unwrap();
}
