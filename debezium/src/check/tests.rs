use freshet_crds::{binding::TransportSpec, manifest};

use super::*;

mod database;
mod faults;

use database::facts;
use faults::{Fault, JET_STREAM, KAFKA, MARIADB, PER_TABLE, POSTGRES, RANKED, RANKED_MARIADB};

const SHOP: &str = include_str!("../../../crds/tests/shop.yaml");

/// A binding of one stream that hydrates rows and takes the database's heartbeat.
fn binding() -> Binding {
    let text = SHOP
        .replace("topicPrefix: shop", "stream: shop.cdc")
        .replace("heartbeat: Debezium", "heartbeat: Database")
        .replace("    ttl: 10m", "    onChange: Hydrate");
    manifest::read(&text).unwrap().binding().unwrap()
}

/// The same with a view over rows.
fn ranked() -> Binding {
    let text = SHOP
        .replace("topicPrefix: shop", "stream: shop.cdc")
        .replace("heartbeat: Debezium", "heartbeat: Database")
        .replace("    ttl: 10m", "    onChange: Hydrate\n    warmStart: true")
        .replace(
            "  memory: 64Mi",
            "  memory: 64Mi\n  views: [{name: top, cache: products, orderBy: /price}]",
        );
    manifest::read(&text).unwrap().binding().unwrap()
}

fn per_table() -> Binding {
    manifest::read(SHOP).unwrap().binding().unwrap()
}

/// The shop with another source.
fn from(source: &str) -> Binding {
    let redis = "redisStream:\n      url: redis://redis:6379\n      topicPrefix: shop";
    assert!(SHOP.contains(redis));
    manifest::read(&SHOP.replace(redis, source)).unwrap().binding().unwrap()
}

fn kafka() -> Binding {
    from("kafka: {brokers: [a, 'b:9093'], topicPrefix: shop}")
}

fn jet_stream() -> Binding {
    from("natsJetStream: {url: 'nats://a', stream: Changes}")
}

fn generated(binding: &Binding, database: Database) -> String {
    let wanted = Wanted { database, source: None, host: None, port: None, name: None, user: None };
    Pipeline::for_binding(binding, &wanted).unwrap().file("shop")
}

fn found(binding: &Binding, file: &str, facts: Option<&Facts>) -> Vec<String> {
    let properties = Properties::read(file).unwrap();
    let findings = check(binding, None, &properties, facts).unwrap();
    findings.iter().map(|finding| finding.line("f")).collect()
}

#[test]
fn what_is_generated_has_no_fault() {
    let elsewhere = |url: &str| {
        let text = SHOP.replace("url: redis://redis:6379", url);
        manifest::read(&text).unwrap().binding().unwrap()
    };
    for binding in [
        binding(),
        ranked(),
        per_table(),
        kafka(),
        from(
            "kafka: {brokers: [a], topic: t, tls: {}, sasl: {mechanism: ScramSha256, secretRef: {name: s}}}",
        ),
        jet_stream(),
        from("natsJetStream: {urlFrom: {secretKeyRef: {name: n, key: url}}, stream: Changes}"),
        elsewhere("url: redis://redis/300"),
        elsewhere("url: rediss+sentinel://sentinel/master"),
        elsewhere("urlFrom: {secretKeyRef: {name: redis, key: url}}"),
    ] {
        for database in [Database::Postgres, Database::MariaDb] {
            assert_eq!(found(&binding, &generated(&binding, database), None), [""; 0]);
        }
    }
}

/// Each fault put into the generated file, and what must be said of it: with the line, where the setting is there.
#[test]
fn every_fault_is_told_with_its_place() {
    for (binding, database, faults) in tables() {
        for (name, value, wanted) in faults {
            let (file, line) = with(&generated(&binding, database), name, value);
            let (_, transforms) = with(&file, "transforms", "one");
            let wanted =
                wanted.replace("LINE", &line.to_string()).replace("TRANSFORMS", &transforms.to_string());
            let found = found(&binding, &file, None);
            assert!(found.iter().any(|line| line.starts_with(&wanted)), "{name}={value}: {found:#?}");
        }
    }
}

#[test]
fn a_snapshot_may_be_gone_when_a_sidecar_starts() {
    let mut binding = ranked();
    let TransportSpec::RedisStream(redis) = &mut binding.sources[0].transport else { panic!() };
    redis.retention = Some(Duration::from_hours(24));
    let found = found(&binding, &generated(&binding, Database::Postgres), None);
    assert!(
        found.len() == 1 && found[0].contains("the binding's retention removes snapshots like all else"),
        "{found:#?}"
    );
    assert!(found[0].starts_with("hint: f:"), "{found:#?}");
}

fn tables() -> [(Binding, Database, &'static [Fault]); 7] {
    [
        (binding(), Database::Postgres, POSTGRES),
        (binding(), Database::MariaDb, MARIADB),
        (per_table(), Database::Postgres, PER_TABLE),
        (ranked(), Database::Postgres, RANKED),
        (ranked(), Database::MariaDb, RANKED_MARIADB),
        (kafka(), Database::Postgres, KAFKA),
        (jet_stream(), Database::Postgres, JET_STREAM),
    ]
}

/// Whatever the environment has, of all that is generated and of all that is looked at, is at most pointed out.
#[test]
fn what_the_environment_has_is_never_judged() {
    for (binding, database, faults) in tables() {
        let good = generated(&binding, database);
        let generated = good.lines().filter_map(|line| line.strip_prefix("debezium.")?.split_once('='));
        for name in generated.map(|(name, _)| name).chain(faults.iter().map(|(name, ..)| *name)) {
            let (file, line) = with(&good, name, "${SOMEWHERE}");
            let facts = (database == Database::Postgres).then(facts);
            let told =
                format!("hint: f:{line}: debezium.{name} comes from the environment and wasn't looked at");
            for finding in found(&binding, &file, facts.as_ref()) {
                assert!(
                    finding.starts_with(&told) || name == "source.message.key.columns",
                    "{name}: {finding}"
                );
            }
        }
    }
    let binding = binding();
    for name in ["transforms.one.replacement", "source.table.include.list", "source.topic.prefix"] {
        let (file, _) = with(&generated(&binding, Database::Postgres), name, "a${B:c}");
        let found = found(&binding, &file, None);
        assert_eq!(found.len(), usize::from(name != "source.topic.prefix"), "{name}: {found:#?}");
    }
}

#[test]
fn debezium_s_heartbeats_have_to_come_where_they_are_the_proof() {
    let text = SHOP.replace("topicPrefix: shop", "stream: shop.cdc");
    let binding = manifest::read(&text).unwrap().binding().unwrap();
    let (file, _) = with(&generated(&binding, Database::Postgres), "transforms.one.regex", "shop[.].*");
    let found = found(&binding, &file, None);
    assert!(found.len() == 1 && found[0].starts_with("error: f:"), "{found:#?}");
    assert!(found[0].contains("Debezium's heartbeats go to __debezium-heartbeat.shop"), "{found:#?}");
}

/// The file with another value of a setting, or without it, and the setting's line.
fn with(file: &str, name: &str, value: &str) -> (String, usize) {
    let begins = format!("debezium.{name}=");
    let mut lines: Vec<String> = file.lines().map(str::to_owned).collect();
    let place = lines.iter().position(|line| line.starts_with(&begins)).unwrap_or_else(|| {
        lines.push(String::new());
        lines.len() - 1
    });
    lines[place] = if value.is_empty() { String::new() } else { format!("{begins}{value}") };
    (lines.join("\n"), place + 1)
}

#[test]
fn both_speak_tls_or_none_does() {
    let text = SHOP.replace("redis://redis:6379", "rediss://redis:6380");
    let binding = manifest::read(&text).unwrap().binding().unwrap();
    let good = generated(&binding, Database::Postgres);
    assert_eq!(found(&binding, &good, None), [""; 0]);
    let (file, _) = with(&good, "sink.redis.ssl.enabled", "");
    let found = found(&binding, &file, None);
    assert!(found[0].starts_with("error: f: the binding's URL says TLS"), "{found:#?}");
}

#[test]
fn a_cluster_is_one_for_both() {
    let text = SHOP
        .replace("redis://redis:6379", "redis+cluster://a:1,b:2")
        .replace("topicPrefix: shop", "stream: shop.cdc");
    let binding = manifest::read(&text).unwrap().binding().unwrap();
    let good = generated(&binding, Database::Postgres);
    assert!(good.contains("\ndebezium.sink.redis.address=a:1,b:2\n"), "{good}");
    assert_eq!(found(&binding, &good, None), [""; 0]);
    let (file, _) = with(&good, "sink.redis.cluster.enabled", "");
    let found = found(&binding, &file, None);
    assert!(found[0].starts_with("error: f: the binding's URL says Cluster"), "{found:#?}");
}

#[test]
fn a_row_without_its_event_needs_what_tells_its_version() {
    let unwrap = "debezium.transforms=one,u\n\
                  debezium.transforms.u.type=io.debezium.transforms.ExtractNewRecordState\n\
                  debezium.transforms.u.add.fields=op,table:t,lsn\n";
    let binding = binding();
    let found = found(&binding, &(generated(&binding, Database::Postgres) + unwrap), None);
    for wanted in [
        "error: f: ExtractNewRecordState writes a column's DEFAULT",
        "ExtractNewRecordState drops truncates: ",
        "don't carry source.ts_ms:",
    ] {
        assert!(found.iter().any(|line| line.contains(wanted)), "{wanted}: {found:#?}");
    }
    assert!(!found.iter().any(|line| line.contains("don't carry table")), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("drops deletes")), "{found:#?}");
    let drop = format!("{unwrap}debezium.transforms.u.delete.tombstone.handling.mode=drop\n");
    let found = self::found(&binding, &(generated(&binding, Database::Postgres) + &drop), None);
    assert!(found.iter().any(|line| line.contains("drops deletes")), "{found:#?}");
}

/// Of what only invalidates, nothing is taken from an event but its key.
#[test]
fn values_that_cannot_be_converted_are_nothing_to_caches_that_only_invalidate() {
    let text = SHOP.replace("    key: [{column: id}]\n", "");
    let binding = manifest::read(&text).unwrap().binding().unwrap();
    let name = "source.event.converting.failure.handling.mode";
    let file = generated(&binding, Database::MariaDb);
    assert!(file.contains(&format!("{name}=warn")), "one such value doesn't stop everything");
    for mode in ["warn", "skip", "fail"] {
        assert_eq!(found(&binding, &with(&file, name, mode).0, None), [""; 0], "{mode}");
    }
}

/// One spelling each; `spellings` has the others.
#[test]
fn faults_in_other_spellings_are_told() {
    let binding = binding();
    let good = generated(&binding, Database::Postgres);
    for (name, instead, wanted) in [
        (
            "transforms",
            "debezium.source.transforms=mask",
            "warning: f:LINE: the transform mask can't be judged",
        ),
        (
            "format.value.schemas.enable",
            "debezium.format.schemas.enable=true",
            "hint: f:LINE: each entry carries",
        ),
        (
            "format.value.replace.null.with.default",
            "debezium.source.value.converter.replace.null.with.default=true",
            "error: f:LINE: a column's DEFAULT",
        ),
        (
            "source.skipped.operations",
            "DEBEZIUM_SOURCE_SKIPPED_OPERATIONS=d",
            "error: f:LINE: deletes are skipped",
        ),
        ("sink.type", "DEBEZIUM_SINK_TYPE=redis", "error: f: the sink isn't Redis"),
        ("format.value", "debezium.format.class=com.example.Avro", "error: f:LINE: values aren't written by"),
    ] {
        let (without, _) = with(&good, name, "");
        let file = format!("{}\n{instead}\n", without.trim_end());
        let wanted = wanted.replace("LINE", &file.lines().count().to_string());
        let found = found(&binding, &file, None);
        assert!(found.iter().any(|line| line.starts_with(&wanted)), "{instead}: {found:#?}");
    }
    let (twice, line) = with(&good, "source.skipped.operations", "none");
    let found = found(&binding, &format!("DEBEZIUM_SOURCE_SKIPPED_OPERATIONS=t\n{twice}"), None);
    let told = format!("warning: f:{}: debezium.source.skipped.operations is said twice", line + 1);
    assert!(found.len() == 1 && found[0].starts_with(&told), "{found:#?}");
}

/// Updates of columns that no event has are left out only where both settings say so.
#[test]
fn updates_of_left_out_columns_are_missed() {
    let binding = per_table();
    let good = generated(&binding, Database::Postgres);
    let (left_out, _) = with(&good, "source.column.exclude.list", "inventory.product.note");
    let (skipping, _) = with(&good, "source.skip.messages.without.change", "true");
    for file in [&left_out, &skipping] {
        assert_eq!(found(&binding, file, None), [""; 0]);
    }
    let (both, _) = with(&left_out, "source.skip.messages.without.change", "true");
    let found = found(&binding, &both, None);
    assert!(found[0].starts_with("error: f:") && found[0].contains("updates of columns"), "{found:#?}");
}

/// What the sink's stream has is compared with every topic, and routing makes heartbeats unknown.
#[test]
fn a_stream_that_debezium_makes_has_to_take_everything() {
    let good = generated(&jet_stream(), Database::Postgres);
    let with_all = |file: &str, settings: &[(&str, &str)]| {
        settings.iter().fold(file.to_owned(), |file, (name, value)| with(&file, name, value).0)
    };
    let made = [
        ("sink.nats-jetstream.create-stream", "true"),
        ("sink.nats-jetstream.storage", "file"),
        ("sink.nats-jetstream.subjects", "shop.>, __debezium-heartbeat.*"),
    ];
    let found_in = |file: &str| found(&jet_stream(), file, None);
    let hint = found_in(&with_all(&good, &made));
    assert!(hint.len() == 1 && hint[0].starts_with("hint: "), "{hint:#?}");
    // Another prefix than the binding's name is nothing to the binding, but to the subjects.
    let other = with(&good, "source.topic.prefix", "erp").0;
    assert_eq!(found_in(&other), [""; 0]);
    let missing = found_in(&with_all(&other, &made));
    let product = missing.iter().find(|line| line.contains("erp.inventory.product")).expect("it is told");
    assert!(product.ends_with("subjects=erp,erp.>,__debezium-heartbeat.erp"), "{product}");
    let routed = [
        ("transforms", "one"),
        ("transforms.one.type", "org.apache.kafka.connect.transforms.RegexRouter"),
        ("transforms.one.regex", ".*"),
        ("transforms.one.replacement", "shop.cdc"),
    ];
    let routed = found_in(&with_all(&good, &routed));
    assert!(
        routed.len() == 1 && routed[0].contains("Debezium's heartbeats have the subject shop.cdc"),
        "{routed:#?}"
    );
}
