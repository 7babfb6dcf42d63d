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
