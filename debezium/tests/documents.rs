//! What the example and the guide show is what is generated. `FRESHET_BLESS=1` writes it into them.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::{fs, path::PathBuf};

use freshet_crds::manifest;
use freshet_debezium::{Database, Pipeline, Property, Wanted};

fn path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The pipeline of `examples/`, as its binding has it.
fn example(database: Database) -> Pipeline {
    let binding = manifest::read(&read("examples/shop/00-binding.yaml")).unwrap().binding().unwrap();
    let wanted = Wanted {
        database,
        source: None,
        host: Some("postgres".into()),
        port: None,
        name: Some("shop".into()),
        user: None,
    };
    Pipeline::for_binding(&binding, &wanted).unwrap()
}

/// Compares what stands between two marks with what should, or writes it.
fn between(file: &str, begin: &str, end: &str, wanted: &str) {
    let text = read(file);
    let (before, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{file} has no {begin:?}"));
    let (found, after) = rest.split_once(end).unwrap_or_else(|| panic!("{file} has no {end:?}"));
    if found != wanted && std::env::var_os("FRESHET_BLESS").is_some() {
        fs::write(path(file), format!("{before}{begin}{wanted}{end}{after}")).unwrap();
    } else {
        assert!(
            found == wanted,
            "{file} isn't what is generated: run this test with FRESHET_BLESS=1\n{wanted}"
        );
    }
}

#[test]
fn the_example_s_debezium_is_told_what_is_generated() {
    let indented = |line: &str| if line.is_empty() { "\n".into() } else { format!("    {line}\n") };
    let wanted: String = example(Database::Postgres).file("shop").lines().map(indented).collect();
    between(
        "examples/pipeline/30-debezium.yaml",
        "  application.properties: |\n",
        "\n---\n",
        wanted.trim_end(),
    );
}

#[test]
fn the_example_s_database_has_what_is_asked_for() {
    let manifest =
        read("examples/pipeline/20-postgres.yaml").split_whitespace().collect::<Vec<_>>().join(" ");
    for statement in example(Database::Postgres).statements() {
        let statement = statement.replace("'…'", ":'password'");
        assert!(manifest.contains(&statement), "{statement}");
    }
}

/// The example with another source, in whose place `fields` stand.
fn example_into(fields: &str) -> Pipeline {
    let text = read("examples/shop/00-binding.yaml");
    let mut manifest = manifest::read(&text).unwrap();
    manifest.object.spec.sources[0] = serde_yaml::from_str(&format!("{{name: cdc, {fields}}}")).unwrap();
    let wanted = Wanted {
        database: Database::Postgres,
        source: None,
        host: Some("postgres".into()),
        port: None,
        name: Some("shop".into()),
        user: None,
    };
    Pipeline::for_binding(&manifest.binding().unwrap(), &wanted).unwrap()
}

fn table<'p>(properties: impl Iterator<Item = &'p Property>) -> String {
    let row = |property: &Property| {
        // What separates a table's cells is no part of them.
        let value = property.value.replace('|', "\\|");
        format!("| `{}` | `{value}` | {} |\n", property.name, property.protects)
    };
    let rows: String = properties.map(row).collect();
    format!("\n| setting | in the example | protects |\n|---|---|---|\n{rows}\n")
}

#[test]
fn the_guides_of_other_sinks_show_what_is_generated_for_them_alone() {
    let redis = example(Database::Postgres).properties();
    let is_same = |other: &Property, property: &Property| {
        (other.name, &other.value) == (property.name, &property.value)
    };
    for (file, mark, fields) in [
        (
            "docs/guides/kafka.md",
            "Kafka",
            "kafka: {brokers: ['kafka-0.kafka:9093'], topic: shop.cdc, tls: {caFrom: {configMapKeyRef: {name: c, key: k}}}, \
             sasl: {mechanism: ScramSha512, secretRef: {name: s}}}",
        ),
        (
            "docs/guides/nats.md",
            "NATS JetStream",
            "natsJetStream: {url: 'tls://nats-0.nats', stream: DebeziumStream, caFrom: {configMapKeyRef: {name: c, key: k}}, \
             credentialsFrom: {secretKeyRef: {name: s, key: k}}}",
        ),
    ] {
        let properties = example_into(fields).properties();
        let own = properties.iter().filter(|own| !redis.iter().any(|other| is_same(other, own)));
        let (begin, end) = (format!("<!-- generated: {mark} alone -->\n"), format!("<!-- end of {mark} -->"));
        between(file, &begin, &end, &table(own));
    }
}

#[test]
fn the_guide_s_table_is_what_is_generated() {
    let (postgres, mariadb) =
        (example(Database::Postgres).properties(), example(Database::MariaDb).properties());
    let only = |property: &&Property| !postgres.iter().any(|other| other.name == property.name);
    let file = "docs/guides/debezium.md";
    between(file, "<!-- generated: Postgres -->\n", "<!-- end -->", &table(postgres.iter()));
    let further = table(mariadb.iter().filter(only));
    between(file, "<!-- generated: MariaDB alone -->\n", "<!-- end of MariaDB -->", &further);
    let ranked = Pipeline { ranked: Some(Vec::new()), ..example(Database::Postgres) }.properties();
    let further = table(ranked.iter().filter(only));
    between(file, "<!-- generated: views over rows -->\n", "<!-- end of views over rows -->", &further);
}
