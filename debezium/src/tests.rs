use freshet_crds::{binding::Binding, manifest};

use super::*;

const SHOP: &str = include_str!("../../crds/tests/shop.yaml");

fn binding(replacements: &[(&str, &str)]) -> Binding {
    let text = replacements.iter().fold(SHOP.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    manifest::read(&text).unwrap().binding().unwrap()
}

fn wanted(database: Database) -> Wanted {
    Wanted { database, source: None, host: None, port: None, name: None, user: None }
}

fn value(pipeline: &Pipeline, name: &str) -> Option<String> {
    let name = format!("debezium.{name}");
    pipeline.properties().into_iter().find(|property| property.name == name).map(|property| property.value)
}

#[test]
fn a_binding_s_tables_and_no_others_are_captured() {
    let pipeline = Pipeline::for_binding(&binding(&[]), &wanted(Database::Postgres)).unwrap();
    let list = value(&pipeline, "source.table.include.list").unwrap();
    assert_eq!(list, "inventory[.]product,inventory[.]category");
    assert_eq!(value(&pipeline, "source.topic.prefix").as_deref(), Some("shop"));
    assert_eq!(value(&pipeline, "transforms"), None, "a stream per table needs no routing");
    let maria = Pipeline::for_binding(&binding(&[]), &wanted(Database::MariaDb)).unwrap();
    let list = value(&maria, "source.table.include.list").unwrap();
    assert!(list.ends_with(",inventory[.]freshet_heartbeat"), "{list}");
    assert!(
        maria.statements().iter().any(|sql| sql.contains("TABLE IF NOT EXISTS inventory.freshet_heartbeat"))
    );
}

#[test]
fn one_stream_is_routed_into() {
    let binding = binding(&[("topicPrefix: shop", "stream: all.changes")]);
    let pipeline = Pipeline::for_binding(&binding, &wanted(Database::Postgres)).unwrap();
    assert_eq!(value(&pipeline, "transforms.one.replacement").as_deref(), Some("all.changes"));
    assert_eq!(value(&pipeline, "source.topic.prefix").as_deref(), Some("shop"), "the binding's name");
}

/// What makes the shop's products start warm, and ranks all of them.
const RANKED: [(&str, &str); 4] = [
    ("topicPrefix: shop", "stream: shop.cdc"),
    ("heartbeat: Debezium", "heartbeat: Database"),
    ("    ttl: 10m", "    onChange: Hydrate\n    warmStart: true"),
    ("  memory: 64Mi", "  memory: 64Mi\n  views: [{name: top, cache: products, orderBy: /price}]"),
];

#[test]
fn snapshots_are_told_where_a_view_has_all_rows() {
    let ranked = binding(&RANKED);
    for (database, table, ask) in [
        (Database::Postgres, "public.freshet_signal", "gen_random_uuid()"),
        (Database::MariaDb, "inventory.freshet_signal", "UUID()"),
    ] {
        let pipeline = Pipeline::for_binding(&ranked, &wanted(database)).unwrap();
        assert_eq!(pipeline.ranked.as_deref(), Some(&["inventory.product".to_owned()][..]));
        for (name, is) in [
            ("notification.enabled.channels", "sink"),
            ("notification.sink.topic.name", "shop.notification"),
            ("signal.enabled.channels", "source"),
            ("signal.data.collection", table),
        ] {
            assert_eq!(value(&pipeline, &format!("source.{name}")).as_deref(), Some(is));
        }
        let list = value(&pipeline, "source.table.include.list").unwrap();
        assert!(list.ends_with(&format!(",{}", table.replace('.', "[.]"))), "{list}");
        let sql = pipeline.statements().join("\n");
        assert!(sql.contains(&format!("CREATE TABLE IF NOT EXISTS {table} (")), "{sql}");
        let ask = format!(
            "\n#   INSERT INTO {table} VALUES ({ask}, 'execute-snapshot', '{{\"type\": \"blocking\", \"data-collections\": \
             [\"inventory[.]product\", \"{}\"]}}');\n",
            table.replace('.', "[.]")
        );
        let file = pipeline.file("shop");
        assert!(file.contains(&ask), "{file}");
    }
    let pipeline = Pipeline::for_binding(&ranked, &wanted(Database::Postgres)).unwrap();
    let publication = pipeline.statements().pop().unwrap();
    assert!(publication.contains("inventory.category, public.freshet_signal WITH"), "{publication}");
    let without = Pipeline::for_binding(&binding(&RANKED[..3]), &wanted(Database::Postgres)).unwrap();
    assert_eq!(without.ranked, None);
    let file = without.file("shop");
    assert!(!file.contains("notification") && !file.contains("signal"), "{file}");
}

/// A view is the business of the Debezium whose source its cache has, and of no other.
#[test]
fn snapshots_are_told_by_the_source_of_the_view_s_cache() {
    let second =
        ("  freshness:", "  - {name: other, redisStream: {url: \"redis://r\", stream: s}}\n  freshness:");
    let named = ("  - name: products", "  - source: cdc\n    name: products");
    let pages = ("  - name: pages", "  - source: other\n    name: pages");
    let binding = binding(&[&RANKED[..], &[second, named, pages]].concat());
    let of = |source: &str| {
        let wanted = Wanted { source: Some(source.into()), ..wanted(Database::Postgres) };
        Pipeline::for_binding(&binding, &wanted).unwrap().tells_snapshots()
    };
    assert_eq!((of("cdc"), of("other")), (true, false));
}

#[test]
fn redis_is_where_the_binding_says() {
    for (url, address, others) in [
        ("url: redis://redis", "redis:6379", ""),
        ("url: redis://redis:7000/3", "redis:7000", "sink.redis.db.index=3"),
        ("url: redis://redis/300", "redis:6379", "sink.redis.db.index=300"),
        ("url: redis://[::1]", "[::1]:6379", ""),
        ("url: rediss://redis", "redis:6379", "sink.redis.ssl.enabled=true"),
        ("url: rediss+sentinel://s/m", "${REDIS_ADDRESS}", "sink.redis.ssl.enabled=true"),
        (
            "urlFrom: {secretKeyRef: {name: redis, key: url}}",
            "${REDIS_ADDRESS}",
            "sink.redis.password=${REDIS_PASSWORD}",
        ),
    ] {
        let binding = binding(&[("url: redis://redis:6379", url)]);
        let pipeline = Pipeline::for_binding(&binding, &wanted(Database::Postgres)).unwrap();
        assert_eq!(value(&pipeline, "sink.redis.address").as_deref(), Some(address), "{url}");
        assert!(pipeline.file("shop").contains(others), "{url}");
    }
}

#[test]
fn what_cannot_be_told_is_refused_with_the_reason() {
    let refused = |replacements: &[(&str, &str)], wanted: &Wanted| {
        Pipeline::for_binding(&binding(replacements), wanted).unwrap_err().to_string()
    };
    let postgres = wanted(Database::Postgres);
    let second =
        ("  freshness:", "  - {name: other, redisStream: {url: \"redis://r\", stream: s}}\n  freshness:");
    let named = ("  - name: p", "  - source: cdc\n    name: p");
    let several = refused(&[second, named], &postgres);
    assert!(several.contains("cdc, other") && several.contains("--source"), "{several}");
    let asks = |name: &str| Wanted { source: Some(name.into()), ..postgres.clone() };
    assert!(refused(&[second, named], &asks("other")).contains("nothing to capture"));
    assert!(refused(&[], &asks("none")).contains("no source `none`; its sources are cdc"));
    let mut upstreams = binding(&[]);
    upstreams.sources.clear();
    let none = Pipeline::for_binding(&upstreams, &postgres).unwrap_err();
    assert!(none.to_string().contains("has no sources"), "{none}");
    let file = refused(&[(REDIS, "file: {path: /tmp/recorded, topicPrefix: shop}")], &postgres);
    assert!(file.contains("`cdc` is a file"), "{file}");
    // Of what applications publish there are no tables, and this is said first.
    let mut published = binding(&[(REDIS, "nats: {url: 'nats://a', subject: shop.>}")]);
    published.caches.clear();
    let subject = Pipeline::for_binding(&published, &postgres).unwrap_err().to_string();
    assert!(subject.contains("`cdc` is a nats, which no Debezium Server writes"), "{subject}");
    let routed = ("topicPrefix: shop", "stream: s");
    let parts = ("table: inventory.product", "table: a.inventory.product");
    assert!(refused(&[routed, parts], &wanted(Database::MariaDb)).contains("database.table"));
    let others = ("dependsOn: [inventory.product, inventory.category]", "dependsOn: [b.inventory.category]");
    assert!(refused(&[routed, parts, others], &postgres).contains("several databases (a, b)"));
    assert!(refused(&[("topicPrefix: shop", "stream: a$b")], &postgres).contains("stream's name"));
    let host = Wanted { host: Some("a\nb=c".into()), ..postgres };
    assert!(refused(&[], &host).contains("host"));
}

#[test]
fn the_database_s_name_is_that_of_its_tables() {
    let binding = binding(&[
        ("topicPrefix: shop", "stream: s"),
        ("table: inventory.product", "table: erp.inventory.product"),
    ]);
    let pipeline = Pipeline::for_binding(&binding, &wanted(Database::Postgres)).unwrap();
    assert_eq!(value(&pipeline, "source.database.dbname").as_deref(), Some("erp"));
    let list = value(&pipeline, "source.table.include.list").unwrap();
    assert_eq!(list, "inventory[.]product,inventory[.]category", "once, though written in two ways");
}

#[test]
fn names_are_written_so_that_they_mean_themselves() {
    let tables = "table: Sales.order$";
    let binding = binding(&[("table: inventory.product", tables)]);
    let pipeline = Pipeline::for_binding(&binding, &wanted(Database::Postgres)).unwrap();
    let list = value(&pipeline, "source.table.include.list").unwrap();
    assert!(list.starts_with("Sales[.]order[$],"), "{list}");
    let sql = pipeline.statements().join("\n");
    assert!(sql.contains("\"Sales\".\"order$\""), "{sql}");
    let prefixed = Pipeline { prefix: "Shop-1.x".into(), ..pipeline };
    assert_eq!(prefixed.slot(), "freshet_shop_1_x");
    assert_eq!(escaped("a\\b ü"), "a\\\\b \\u00fc");
}

#[test]
fn no_password_is_in_the_file_and_every_setting_has_its_reason() {
    for database in [Database::Postgres, Database::MariaDb] {
        let pipeline = Pipeline::for_binding(&binding(&RANKED), &wanted(database)).unwrap();
        let file = pipeline.file("shop");
        let passwords = file.lines().filter(|line| !line.starts_with('#') && line.contains("password"));
        assert!(
            passwords.clone().count() > 0 && passwords.clone().all(|line| line.contains("=${")),
            "{file}"
        );
        for property in pipeline.properties() {
            assert!(file.contains(&format!("# {}\n", property.protects)), "{}", property.name);
            assert!(file.contains(&format!("\n{}={}\n", property.name, property.value)), "{}", property.name);
            assert!((10..=118).contains(&property.protects.len()), "{}", property.name);
        }
    }
}

const REDIS: &str = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";

/// The pipeline of the shop with another source, and its settings that are about what it writes to.
fn into(source: &str, database: Database) -> (Pipeline, Vec<(String, String)>) {
    let pipeline = Pipeline::for_binding(&binding(&[(REDIS, source)]), &wanted(database)).unwrap();
    let of_sink = pipeline.properties().into_iter().filter_map(|property| {
        Some((property.name.strip_prefix("debezium.sink.")?.to_owned(), property.value))
    });
    let of_sink = of_sink.collect();
    (pipeline, of_sink)
}

fn has(settings: &[(String, String)], name: &str, value: &str) {
    assert!(settings.contains(&(name.to_owned(), value.to_owned())), "{name}: {settings:#?}");
}

#[test]
fn kafka_is_written_to_as_the_binding_reads_it() {
    let (pipeline, sink) = into("kafka: {brokers: [a, 'b:9093'], topicPrefix: shop}", Database::Postgres);
    has(&sink, "type", "kafka");
    for (name, value) in [
        ("bootstrap.servers", "a:9092,b:9093"),
        ("security.protocol", "PLAINTEXT"),
        ("acks", "all"),
        ("enable.idempotence", "true"),
    ] {
        has(&sink, &format!("kafka.producer.{name}"), value);
    }
    assert_eq!(value(&pipeline, "transforms"), None);
    let made = pipeline.commands();
    let of = |topic: &str| made.iter().any(|line| line.contains(&format!("--topic {topic} --partitions 1 ")));
    for topic in ["shop.inventory.product", "shop.transaction", "shop.message", "__debezium-heartbeat.shop"] {
        assert!(of(topic), "{topic}: {made:#?}");
    }
    assert!(made.len() == 5 && made.iter().all(|line| line.contains("cleanup.policy=delete")), "{made:#?}");
    let (pipeline, _) = into("kafka: {brokers: [a], topic: shop.cdc}", Database::MariaDb);
    assert_eq!(value(&pipeline, "transforms.one.replacement").as_deref(), Some("shop.cdc"));
    assert!(matches!(&pipeline.commands()[..], [one] if one.contains("--topic shop.cdc ")));
    let file = pipeline.file("shop");
    assert!(
        file.contains(" to Kafka, for the CacheBinding shop") && file.contains("#   kafka-topics.sh"),
        "{file}"
    );
    assert!(!file.contains(".redis."), "{file}");
    let history = value(&pipeline, "source.schema.history.internal").unwrap();
    assert_eq!(history, "io.debezium.storage.file.history.FileSchemaHistory");
}

#[test]
fn the_user_of_kafka_and_its_certificates_come_from_the_environment() {
    let tls = "kafka: {brokers: [a], topic: t, tls: {caFrom: {configMapKeyRef: {name: c, key: k}}}, sasl: {mechanism: \
               ScramSha512, secretRef: {name: s}}}";
    let (_, sink) = into(tls, Database::Postgres);
    for (name, value) in [
        ("security.protocol", "SASL_SSL"),
        ("ssl.truststore.type", "PEM"),
        ("ssl.truststore.location", "${KAFKA_CA}"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        (
            "sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"${KAFKA_USER}\" \
             password=\"${KAFKA_PASSWORD}\";",
        ),
    ] {
        has(&sink, &format!("kafka.producer.{name}"), value);
    }
    assert!(!sink.iter().any(|(name, _)| name.contains("keystore")), "{sink:#?}");
    for (source, protocol) in [
        ("kafka: {brokers: [a], topic: t, tls: {}}", "SSL"),
        ("kafka: {brokers: [a], topic: t, sasl: {mechanism: Plain, secretRef: {name: s}}}", "SASL_PLAINTEXT"),
    ] {
        has(&into(source, Database::Postgres).1, "kafka.producer.security.protocol", protocol);
    }
}

#[test]
fn a_stream_of_nats_has_every_topic_as_a_subject() {
    let nats = "natsJetStream: {url: 'tls://a,b:1', stream: Changes, caFrom: {secretKeyRef: {name: c, key: k}}, \
                credentialsFrom: {secretKeyRef: {name: n, key: k}}}";
    let (pipeline, sink) = into(nats, Database::Postgres);
    for (name, value) in [
        ("type", "nats-jetstream"),
        ("nats-jetstream.url", "tls://a:4222,tls://b:1"),
        ("nats-jetstream.stream-name", "Changes"),
        ("nats-jetstream.create-stream", "false"),
        ("nats-jetstream.auth.jwt", "${NATS_JWT}"),
    ] {
        has(&sink, name, value);
    }
    assert_eq!(value(&pipeline, "transforms"), None, "a heartbeat is known by its subject alone");
    assert_eq!(value(&pipeline, "source.topic.prefix").as_deref(), Some("shop"), "the binding's name");
    let made = pipeline.commands().remove(0);
    let wants = "nats stream add Changes --subjects 'shop,shop.>,__debezium-heartbeat.shop' --storage file";
    assert!(made.starts_with(wants), "{made}");
    let secret = "natsJetStream: {urlFrom: {secretKeyRef: {name: n, key: k}}, stream: S}";
    has(&into(secret, Database::Postgres).1, "nats-jetstream.url", "${NATS_URL}");
}
