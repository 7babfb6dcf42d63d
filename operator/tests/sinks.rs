//! What `freshet-operator debezium` prints for Kafka and for NATS, given as it is to a real Debezium Server that writes to a
//! real one, where nothing was made but by the commands in it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers are tests")]

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use freshet_e2e::process::{
    Authority, Kafka, MariaDb, Nats, Postgres,
    debezium::{AsWritten, java_home},
    kafka::Mechanism,
    nats::StreamConfig,
    until,
};
use serde_json::Value;

const SOON: Duration = Duration::from_mins(1);

const SHOP: &str = include_str!("../../crds/tests/shop.yaml");

/// What is printed for the shop with another source: the file, the statements for the database, and the commands for what
/// is written to.
struct Generated {
    file: String,
    statements: String,
    commands: Vec<String>,
}

fn generated(source: &str, further: &[&str]) -> Generated {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.yaml");
    let redis = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";
    assert!(SHOP.contains(redis));
    fs::write(&path, SHOP.replace(redis, source)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet-operator"));
    command.args(["debezium", "--host", "127.0.0.1", "--binding"]).arg(&path).args(further);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = String::from_utf8(output.stdout).unwrap();
    // The first indented lines under a heading; what is indented more goes on with the line before it.
    let under = |heading: &str| {
        let lines = file.lines().skip_while(|line| !line.starts_with(&format!("# --- {heading}"))).skip(1);
        let here =
            lines.take_while(|line| line.starts_with("# ")).skip_while(|line| !line.starts_with("#   "));
        here.map_while(|line| line.strip_prefix("#   ")).fold(Vec::<String>::new(), |mut all, line| {
            match (line.strip_prefix("  "), all.last_mut()) {
                (Some(more), Some(last)) => *last = format!("{last} {more}"),
                _ => all.push(line.to_owned()),
            }
            all
        })
    };
    let statements = under("In the database").join(" ").replace("'…'", "'s3cret'");
    let commands = [under("In Kafka"), under("In NATS JetStream")].concat();
    Generated { statements, commands, file: file.clone() }
}

impl Generated {
    /// What stands behind an option in one of the commands.
    fn said<'c>(command: &'c str, option: &str) -> &'c str {
        let rest =
            command.split_once(&format!("{option} ")).unwrap_or_else(|| panic!("{option}: {command}")).1;
        rest.split(' ').next().unwrap().trim_matches('\'')
    }
}

/// Waits until some value is so, of those that `read` finds.
fn arrives(read: &dyn Fn() -> Result<Vec<Value>>, what: &str, is: impl Fn(&Value) -> bool) {
    until(what, SOON, || {
        let values = read()?;
        ensure!(values.iter().any(&is), "{} values without it", values.len());
        Ok(())
    })
    .unwrap();
}

/// Changes of all kinds come, and those that were made while Debezium was away; nothing is read twice.
fn is_followed(debezium: &mut AsWritten, execute: &dyn Fn(&str), read: &dyn Fn() -> Result<Vec<Value>>) {
    let of = |value: &Value, op: &str| value["source"]["table"] == "product" && value["op"] == op;
    arrives(read, "the row of before", |value| of(value, "r") && value["after"]["id"] == 1);
    execute("INSERT INTO inventory.product VALUES (7, NULL)");
    arrives(read, "a row", |value| {
        of(value, "c") && value["after"]["id"] == 7 && value["after"]["note"].is_null()
    });
    arrives(read, "the end of a transaction", |value| value["status"] == "END");
    arrives(read, "Debezium's heartbeat", |value| {
        value.as_object().is_some_and(|fields| fields.len() == 1 && fields.contains_key("ts_ms"))
    });
    debezium.stop().unwrap();
    execute("INSERT INTO inventory.product VALUES (8, 'away')");
    debezium.restart().unwrap();
    arrives(read, "what was changed meanwhile", |value| of(value, "c") && value["after"]["id"] == 8);
    execute("TRUNCATE TABLE inventory.product");
    arrives(read, "the truncate", |value| of(value, "t"));
    let all = read().unwrap();
    let count = |is: &dyn Fn(&Value) -> bool| all.iter().filter(|value| is(value)).count();
    assert_eq!(count(&|value| of(value, "r")), 1, "it went on where it was: {}", debezium.log());
    assert_eq!(count(&|value| of(value, "c") && value["after"]["id"] == 8), 1);
}

#[test]
fn kafka_is_written_to_by_what_is_generated() {
    let (postgres, authority) = (Postgres::start().unwrap(), Authority::new("kafka").unwrap());
    let kafka = Kafka::builder()
        .tls(&authority.issue(&["127.0.0.1"]).unwrap())
        .user(Mechanism::ScramSha512, "debezium", "hush-hush")
        .authorizes()
        .start()
        .unwrap();
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY, name text); \
             CREATE TABLE inventory.product (id int PRIMARY KEY, note text DEFAULT 'none'); \
             INSERT INTO inventory.product VALUES (1, 'before')",
        )
        .unwrap();
    let source = format!(
        "kafka: {{brokers: ['{}'], topicPrefix: shop, tls: {{caFrom: {{configMapKeyRef: {{name: ca, key: ca.crt}}}}}}, \
         sasl: {{mechanism: ScramSha512, secretRef: {{name: reader}}}}}}",
        kafka.brokers()
    );
    let port = postgres.port().to_string();
    let generated = generated(&source, &["--port", &port, "--dbname", "postgres"]);
    postgres.execute(&generated.statements).unwrap();
    let made = generated.commands.iter().filter(|command| command.starts_with("kafka-topics.sh"));
    let topics: Vec<_> = made.map(|command| Generated::said(command, "--topic").to_owned()).collect();
    for topic in &topics {
        kafka.create_topic(topic, 1, &[]).unwrap();
        kafka.allow("debezium", topic, true).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("ca.crt");
    fs::write(&trusted, authority.pem()).unwrap();
    let environment = [
        ("DEBEZIUM_PASSWORD", "s3cret"),
        ("KAFKA_CA", trusted.to_str().unwrap()),
        ("KAFKA_USER", "debezium"),
        ("KAFKA_PASSWORD", "hush-hush"),
    ];
    let mut debezium = AsWritten::start(&generated.file, &environment).unwrap();
    let read = || -> Result<Vec<Value>> {
        let mut values = Vec::new();
        for topic in &topics {
            let records = kafka.records(topic, 0)?.into_iter();
            values.extend(records.filter_map(|record| serde_json::from_slice(&record.message.value?).ok()));
        }
        Ok(values)
    };
    is_followed(&mut debezium, &|sql| postgres.execute(sql).unwrap(), &read);
    let is_beat = |value: &Value| value["op"] == "m" && value["message"]["prefix"] == "freshet-hb";
    arrives(&read, "a numbered heartbeat", is_beat);
    let mut there = topics.clone();
    there.sort();
    assert_eq!(kafka.topics().unwrap(), there, "there is no topic but those");
}

#[test]
fn a_stream_of_nats_is_written_to_by_what_is_generated() {
    let mariadb = MariaDb::start().unwrap();
    // It may do what the guide says and nothing else.
    let guide = include_str!("../../docs/guides/nats.md");
    let mut all = guide.split("```\npermissions: ").skip(1).filter_map(|rest| rest.split("```").next());
    let rights = all.find(|rights| rights.contains("__debezium-heartbeat")).unwrap();
    let users = format!(
        "{{users: [{{user: admin, password: admin}}, {{user: debezium, password: hush-hush, permissions: {rights}}}]}}"
    );
    let nats = Nats::builder()
        .jetstream()
        .set("authorization", &users)
        .set("no_auth_user", "admin")
        .start()
        .unwrap();
    mariadb
        .execute(
            "CREATE DATABASE inventory; CREATE TABLE inventory.category (id INT PRIMARY KEY, name TEXT); \
             CREATE TABLE inventory.product (id INT PRIMARY KEY, note VARCHAR(10) DEFAULT 'none'); \
             INSERT INTO inventory.product VALUES (1, 'before')",
        )
        .unwrap();
    let port = mariadb.port().to_string();
    let source = "natsJetStream: {urlFrom: {secretKeyRef: {name: nats, key: url}}, stream: Changes}";
    let generated = generated(source, &["--port", &port, "--database", "mariadb"]);
    mariadb.execute(&generated.statements).unwrap();
    let made = generated.commands.iter().find(|command| command.starts_with("nats stream add")).unwrap();
    let name = Generated::said(made, "add");
    let subjects = Generated::said(made, "--subjects").split(',').map(str::to_owned).collect();
    assert_eq!(name, "Changes");
    nats.create_stream_with(&StreamConfig { name: name.to_owned(), subjects, ..StreamConfig::default() })
        .unwrap();
    let url = format!("nats://debezium:hush-hush@{}", nats.address());
    let environment = [("DEBEZIUM_PASSWORD", "s3cret"), ("NATS_URL", &url)];
    let mut debezium = AsWritten::start(&generated.file, &environment).unwrap();
    let read = || -> Result<Vec<Value>> {
        let messages = nats.messages("Changes")?.into_iter();
        Ok(messages.filter_map(|message| serde_json::from_slice(&message.payload).ok()).collect())
    };
    is_followed(&mut debezium, &|sql| mariadb.execute(sql).unwrap(), &read);
    let is_beat = |value: &Value| value["after"]["beat"].is_i64();
    arrives(&read, "a counted heartbeat", is_beat);
    let kept = nats.messages("Changes").unwrap();
    let heartbeats = kept.iter().filter(|message| message.subject == "__debezium-heartbeat.shop");
    assert!(heartbeats.count() > 0, "known by their subject");
    let log = nats.log();
    assert!(!log.contains("Violation"), "something else was asked for: {log}");
}

/// A `.creds` file's part under a heading.
fn part(credentials: &str, heading: &str) -> String {
    let begins = format!("-----BEGIN {heading}-----\n");
    credentials.split_once(&begins).unwrap().1.lines().next().unwrap().to_owned()
}

/// What the generated file leaves to the environment of a NATS that wants TLS and signed credentials is what the sink takes.
#[test]
fn a_nats_with_tls_and_signed_credentials_is_written_to_by_what_is_generated() {
    let (postgres, authority) = (Postgres::start().unwrap(), Authority::new("nats").unwrap());
    let nats = Nats::builder().jetstream().tls(&authority.issue(&["127.0.0.1"]).unwrap());
    let nats = nats.signed_credentials().unwrap().start().unwrap();
    postgres
        .execute(
            "CREATE SCHEMA inventory; CREATE TABLE inventory.category (id int PRIMARY KEY); \
             CREATE TABLE inventory.product (id int PRIMARY KEY); INSERT INTO inventory.product VALUES (7)",
        )
        .unwrap();
    let source = format!(
        "natsJetStream: {{url: 'tls://{}', stream: Changes, caFrom: {{configMapKeyRef: {{name: ca, key: ca.crt}}}}, \
         credentialsFrom: {{secretKeyRef: {{name: nats, key: user.creds}}}}}}",
        nats.address()
    );
    let port = postgres.port().to_string();
    let generated = generated(&source, &["--port", &port, "--dbname", "postgres"]);
    postgres.execute(&generated.statements).unwrap();
    nats.create_stream("Changes", &["shop", "shop.>", "__debezium-heartbeat.shop"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (trusted, keystore) = (folder.path().join("ca.crt"), folder.path().join("trusted.p12"));
    fs::write(&trusted, authority.pem()).unwrap();
    let keytool = Command::new(java_home().unwrap().join("bin/keytool"))
        .args(["-importcert", "-noprompt", "-alias", "ca", "-storetype", "PKCS12", "-storepass", "hush-hush"])
        .args(["-file", trusted.to_str().unwrap(), "-keystore", keystore.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(keytool.status.success(), "{}", String::from_utf8_lossy(&keytool.stdout));
    let java = format!(
        "-Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStore={} -Djavax.net.ssl.trustStorePassword=hush-hush",
        keystore.display()
    );
    let credentials = nats.credentials().unwrap();
    let (jwt, seed) = (part(credentials, "NATS USER JWT"), part(credentials, "USER NKEY SEED"));
    let environment = [
        ("DEBEZIUM_PASSWORD", "s3cret"),
        ("NATS_JWT", &jwt),
        ("NATS_SEED", &seed),
        ("JAVA_TOOL_OPTIONS", &java),
    ];
    // The sink gives up after 2 s, which a cold JVM on a busy machine may need for TLS: a supervisor starts it again.
    let _debezium = until("it is let in", SOON, || AsWritten::start(&generated.file, &environment))
        .unwrap_or_else(|error| panic!("{error:#}: {}", nats.log()));
    let read = || -> Result<Vec<Value>> {
        let messages = nats.messages("Changes")?.into_iter();
        Ok(messages.filter_map(|message| serde_json::from_slice(&message.payload).ok()).collect())
    };
    arrives(&read, "the row", |value| value["after"]["id"] == 7);
    arrives(&read, "a numbered heartbeat", |value| value["op"] == "m");
}
