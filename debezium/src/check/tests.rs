use freshet_crds::manifest;

use super::*;

const SHOP: &str = include_str!("../../../crds/tests/shop.yaml");

/// A binding of one stream that hydrates rows and takes the database's heartbeat.
fn binding() -> Binding {
    let text = SHOP
        .replace("topicPrefix: shop", "stream: shop.cdc")
        .replace("heartbeat: Debezium", "heartbeat: Database")
        .replace("    ttl: 10m", "    onChange: Hydrate");
    manifest::read(&text).unwrap().binding().unwrap()
}

fn per_table() -> Binding {
    manifest::read(SHOP).unwrap().binding().unwrap()
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
    for binding in [binding(), per_table()] {
        for database in [Database::Postgres, Database::MariaDb] {
            assert_eq!(found(&binding, &generated(&binding, database), None), [""; 0]);
        }
    }
}

/// Settings, the faulty values they are given, and what must be said of each.
const POSTGRES: &[(&str, &str, &str)] = &[
    ("sink.type", "kafka", "error: f:LINE: the sink isn't Redis"),
    ("sink.redis.address", "other:6379", "warning: f:LINE: Debezium writes to other:6379"),
    ("sink.redis.db.index", "3", "error: f:LINE: Debezium writes to database 3"),
    ("sink.redis.message.format", "", "hint: f: compact entries"),
    ("sink.redis.message.format", "xml", "error: f:LINE: xml is no format"),
    ("source.topic.prefix", "", "error: f: there is no topic prefix"),
    (
        "transforms",
        "",
        "error: f: changes of inventory.product go to shop.inventory.product, the binding looks for them in shop.cdc",
    ),
    (
        "transforms.one.replacement",
        "shop.other",
        "error: f:TRANSFORMS: changes of inventory.category go to shop.other",
    ),
    (
        "transforms.one.regex",
        "shop[.]inventory.*",
        "error: f:TRANSFORMS: the database's heartbeats go to shop.message",
    ),
    ("transforms.one.regex", "(?!x).*", "warning: f:TRANSFORMS: (?!x).* can't be judged"),
    ("source.table.include.list", "inventory[.]product", "error: f:LINE: inventory.category isn't captured"),
    ("source.table.exclude.list", "inventory[.]p.*", "error: f:LINE: inventory.product isn't captured"),
    ("source.schema.include.list", "sales", "error: f:LINE: inventory.product isn't captured"),
    ("source.schema.exclude.list", "INVENTORY", "error: f:LINE: inventory.product isn't captured"),
    ("source.table.include.list", "(?<=a)b", "warning: f:LINE: (?<=a)b can't be judged"),
    ("source.skipped.operations", "", "error: f: truncates are skipped"),
    ("source.skipped.operations", "u,d", "error: f:LINE: deletes are skipped"),
    ("source.plugin.name", "", "warning: f: the log isn't decoded by"),
    ("source.slot.drop.on.stop", "true", "error: f:LINE: what changes while Debezium is away"),
    ("source.publication.autocreate.mode", "", "warning: f: Debezium makes a publication of all tables"),
    ("source.message.key.columns", "inventory.product:name", "hint: f:LINE: events have other keys"),
    ("format.value", "avro", "error: f:LINE: values aren't JSON"),
    ("format.value.replace.null.with.default", "", "error: f: a column's DEFAULT"),
    (
        "format.value.replace.null.with.default",
        "${NULLS}",
        "hint: f:LINE: debezium.format.value.replace.null.with.default comes from",
    ),
    ("format.value.schemas.enable", "", "hint: f: each entry carries its schema"),
    (
        "source.tombstones.on.delete",
        "",
        "warning: f: each delete is followed by an entry that, in one stream",
    ),
    ("source.decimal.handling.mode", "", "warning: f: exact numbers are base64"),
    ("source.decimal.handling.mode", "double", "warning: f:LINE: exact numbers lose digits"),
    ("source.provide.transaction.metadata", "", "warning: f: transactions don't say"),
    (
        "source.column.exclude.list",
        "inventory.product.note",
        "warning: f:LINE: debezium.source.column.exclude.list: hydrated",
    ),
    ("source.heartbeat.interval.ms", "", "error: f: there are no heartbeats"),
    (
        "source.heartbeat.interval.ms",
        "often",
        "error: f:LINE: debezium.source.heartbeat.interval.ms is no number",
    ),
    (
        "source.heartbeat.interval.ms",
        "6000",
        "warning: f:LINE: while nothing changes, heartbeats are 6000 ms apart",
    ),
    (
        "source.heartbeat.interval.ms",
        "10000",
        "error: f:LINE: while nothing changes, heartbeats are 10000 ms apart",
    ),
    ("source.heartbeat.action.query", "", "error: f: no heartbeat goes through the database's log"),
    ("source.heartbeat.action.query", "SELECT 1", "error: f:LINE: the heartbeat's query doesn't write"),
    ("sink.redis.skip.heartbeat.messages", "", "warning: f: the sink skips Debezium's own heartbeats"),
    ("source.poll.interval.ms", "", "warning: f: a change waits up to 500 ms"),
    ("source.offset.storage", "", "error: f: nothing says where the position in the log is kept"),
    (
        "source.offset.storage",
        "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
        "error: f:LINE: the position in the log is gone with the process",
    ),
    (
        "source.offset.storage",
        "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "hint: f:LINE: the position in the log is in a file",
    ),
    ("source.offset.storage.redis.key", "", "hint: f: the default key is shared"),
    ("source.offset.flush.interval.ms", "", "hint: f: a restart repeats"),
    ("sink.redis.buffer.fill.rate", "", "hint: f: with a maxmemory"),
    (
        "source.connector.class",
        "io.debezium.connector.oracle.OracleConnector",
        "warning: f:LINE: what is particular to this connector",
    ),
];
const MARIADB: &[(&str, &str, &str)] = &[
    ("source.driver.socketTimeout", "", "warning: f: a connection to the database that is half open"),
    ("source.database.server.id", "", "error: f: Debezium has no id"),
    ("source.include.schema.changes", "false", "warning: f:LINE: an altered or dropped table"),
    (
        "source.table.include.list",
        "inventory[.](product|category)",
        "error: f:LINE: inventory.freshet_heartbeat isn't captured",
    ),
    ("source.database.exclude.list", "inventory", "error: f:LINE: inventory.product isn't captured"),
    (
        "source.connect.keep.alive.interval.ms",
        "",
        "error: f: while nothing changes, heartbeats are 48000 ms apart",
    ),
    (
        "source.schema.history.internal",
        "io.debezium.relational.history.MemorySchemaHistory",
        "error: f:LINE: how tables looked",
    ),
    (
        "source.schema.history.internal.redis.key",
        "shop.cdc",
        "error: f:LINE: shop.cdc is a stream of the binding's",
    ),
    (
        "source.schema.history.internal.redis.key",
        "history",
        "hint: f:LINE: whoever trims streams has to leave history alone",
    ),
    ("source.heartbeat.action.query", "SELECT 1", "error: f:LINE: the heartbeat's query doesn't write"),
];

/// Each fault put into the generated file, and what must be said of it: with the line, where the setting is there.
#[test]
fn every_fault_is_told_with_its_place() {
    let binding = binding();
    for (database, faults) in [(Database::Postgres, POSTGRES), (Database::MariaDb, MARIADB)] {
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
fn a_stream_per_table_has_the_binding_s_prefix() {
    let binding = per_table();
    let (file, line) = with(&generated(&binding, Database::Postgres), "source.topic.prefix", "erp");
    let found = found(&binding, &file, None);
    let wanted = format!(
        "error: f:{line}: changes of inventory.product go to erp.inventory.product, the binding looks"
    );
    assert!(found.iter().any(|line| line.starts_with(&wanted)), "{found:#?}");
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
    for wanted in ["error: f: ExtractNewRecordState writes a column's DEFAULT", "don't carry source.ts_ms:"] {
        assert!(found.iter().any(|line| line.contains(wanted)), "{wanted}: {found:#?}");
    }
    assert!(!found.iter().any(|line| line.contains("don't carry table")), "{found:#?}");
}

type Break = fn(&mut Facts);

fn facts() -> Facts {
    let table = |name: &str| Table {
        name: name.into(),
        exists: true,
        published: true,
        primary_key: true,
        identity: 'd',
        ..Table::default()
    };
    Facts {
        wal_level: "logical".into(),
        publication: Some(Publication { name: "freshet_shop".into(), via_root: true, without: vec![] }),
        slot: Some(Slot { name: "freshet_shop".into(), plugin: "pgoutput".into(), lost: false }),
        tables: vec![table("inventory.product"), table("inventory.category")],
        sequence: true,
    }
}

#[test]
fn what_the_database_lacks_is_told() {
    let binding = binding();
    let file = generated(&binding, Database::Postgres);
    assert_eq!(found(&binding, &file, Some(&facts())), [""; 0]);
    let cases: &[(Break, &str)] = &[
        (|f| f.wal_level = "replica".into(), "error: database: wal_level is replica"),
        (|f| f.sequence = false, "error: database: the heartbeat's sequence isn't there"),
        (
            |f| f.publication = None,
            "error: database: the publication isn't there: CREATE PUBLICATION freshet_shop FOR",
        ),
        (|f| f.publication.as_mut().unwrap().without.push("truncate".into()), "doesn't send truncates"),
        (|f| f.slot = None, "hint: database: the replication slot isn't there yet"),
        (|f| f.slot.as_mut().unwrap().lost = true, "error: database: the slot freshet_shop has lost log"),
        (
            |f| f.slot.as_mut().unwrap().plugin = "decoderbufs".into(),
            "warning: database: the slot freshet_shop is decoded by",
        ),
        (|f| f.tables[1].exists = false, "error: database: there is no table inventory.category"),
        (|f| f.tables[0].published = false, "error: database: inventory.product isn't in the publication"),
        (
            |f| f.tables[0].row_filter = Some("(id > 5)".into()),
            "error: database: only rows of inventory.product with (id > 5)",
        ),
        (
            |f| f.tables[0].left_out.push("note".into()),
            "warning: database: columns of inventory.product aren't published: note",
        ),
        (|f| f.tables[0].primary_key = false, "error: database: inventory.product has no replica identity"),
        (|f| f.tables[0].identity = 'n', "error: database: inventory.product has no replica identity"),
        (
            |f| (f.tables[0].primary_key, f.tables[0].identity) = (false, 'f'),
            "hint: database: inventory.product has no primary key",
        ),
        (|f| f.tables[0].toasted = true, "hint: database: inventory.product is hydrated and can have values"),
        (
            |f| (f.tables[0].partitioned, f.publication.as_mut().unwrap().via_root) = (true, false),
            "error: database: inventory.product is partitioned",
        ),
    ];
    for (fault, wanted) in cases {
        let mut broken = facts();
        fault(&mut broken);
        let found = found(&binding, &file, Some(&broken));
        assert!(found.len() == 1 && found[0].contains(wanted), "{wanted}: {found:#?}");
    }
}
