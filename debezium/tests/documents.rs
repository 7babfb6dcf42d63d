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

#[test]
fn the_guide_s_table_is_what_is_generated() {
    let (postgres, mariadb) =
        (example(Database::Postgres).properties(), example(Database::MariaDb).properties());
    let only = |property: &&Property| !postgres.iter().any(|other| other.name == property.name);
    let row = |property: &Property| {
        // What separates a table's cells is no part of them.
        let value = property.value.replace('|', "\\|");
        format!("| `{}` | `{value}` | {} |\n", property.name, property.protects)
    };
    let table = |properties: &mut dyn Iterator<Item = &Property>| {
        let rows: String = properties.map(row).collect();
        format!("\n| setting | in the example | protects |\n|---|---|---|\n{rows}\n")
    };
    let file = "docs/guides/debezium.md";
    between(file, "<!-- generated: Postgres -->\n", "<!-- end -->", &table(&mut postgres.iter()));
    let further = table(&mut mariadb.iter().filter(only));
    between(file, "<!-- generated: MariaDB alone -->\n", "<!-- end of MariaDB -->", &further);
    let ranked = Pipeline { ranked: Some(Vec::new()), ..example(Database::Postgres) }.properties();
    let further = table(&mut ranked.iter().filter(only));
    between(file, "<!-- generated: views over rows -->\n", "<!-- end of views over rows -->", &further);
}
