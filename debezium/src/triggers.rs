//! The triggers by which a PostgreSQL tells a channel what has changed, where no Debezium stands between.

use std::collections::BTreeSet;

use freshet_crds::binding::{Binding, CacheSpec, SourceSpec, TransportSpec};

/// What all triggers have in common.
const FUNCTIONS: &str = include_str!("triggers.sql");

/// Why there are no triggers for a binding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTriggers {
    /// No such source.
    #[error("the binding has no source `{0}`; its sources are {1}")]
    NoSource(String, String),
    /// No source's changes come through a channel.
    #[error("no source of the binding is a postgresNotify, whose channel triggers tell")]
    NoChannel,
    /// Several channels, and none was named.
    #[error("several sources of the binding are a postgresNotify ({0}): name one with --source")]
    SeveralChannels(String),
    /// Its changes don't come through a channel.
    #[error("the source `{0}` is a {1}: triggers tell a postgresNotify")]
    NotNotify(String, &'static str),
    /// Nothing to tell of.
    #[error("no cache of the binding uses a table of the source `{0}`: there is nothing to tell of")]
    NoTables(String),
}

/// The SQL that has a database tell the channel of a source of every change of the tables that its caches name. It can be run
/// again, and leaves the triggers of other channels as they are. Without a `name` it is the only such source.
pub fn triggers(binding: &Binding, name: Option<&str>) -> Result<String, NoTriggers> {
    let (index, source) = source(binding, name)?;
    let (TransportSpec::PostgresNotify(_), Some(channel)) = (&source.transport, source.layout.stream())
    else {
        return Err(NoTriggers::NotNotify(source.name.clone(), source.transport.kind()));
    };
    let caches = binding.caches.iter().filter(|cache| cache.source == index);
    let tables: BTreeSet<_> = caches.flat_map(CacheSpec::tables).map(short).collect();
    if tables.is_empty() {
        return Err(NoTriggers::NoTables(source.name.clone()));
    }
    let installed = tables.iter().map(|(schema, table)| {
        let target = format!("{}.{}", identifier(schema), identifier(table));
        let name = format!("{schema}.{table}");
        format!("SELECT freshet.install({}, {}, {});\n", literal(channel), literal(&name), literal(&target))
    });
    Ok(format!(
        "-- Tells the channel {} what changes in the tables of the binding {}. For the tables' owner, and to be run again\n\
         -- whenever the binding names further tables. DROP SCHEMA freshet CASCADE takes all of it back.\n\
         BEGIN;\n\n{FUNCTIONS}\n{}\nCOMMIT;\n",
        comment(channel),
        comment(&binding.name),
        installed.collect::<String>(),
    ))
}

fn source<'b>(binding: &'b Binding, name: Option<&str>) -> Result<(usize, &'b SourceSpec), NoTriggers> {
    let all = || binding.sources.iter().enumerate();
    let listed = |sources: &[(usize, &SourceSpec)]| {
        sources.iter().map(|(_, source)| source.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    if let Some(name) = name {
        let none = || NoTriggers::NoSource(name.to_owned(), listed(&all().collect::<Vec<_>>()));
        return all().find(|(_, source)| source.name == name).ok_or_else(none);
    }
    let told: Vec<_> =
        all().filter(|(_, source)| matches!(source.transport, TransportSpec::PostgresNotify(_))).collect();
    match told.as_slice() {
        [only] => Ok(*only),
        [] => Err(NoTriggers::NoChannel),
        several => Err(NoTriggers::SeveralChannels(listed(several))),
    }
}

/// A table's schema and name, without the database that a binding may write before them.
fn short(table: &str) -> (&str, &str) {
    let (rest, name) = table.rsplit_once('.').unwrap_or(("", table));
    (rest.rsplit_once('.').map_or(rest, |(_, schema)| schema), name)
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL takes it, whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A name within a line's comment.
fn comment(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use freshet_crds::{binding::Binding, manifest};

    use super::{NoTriggers, triggers};

    fn binding(sources: &str, caches: &str) -> Binding {
        let text = format!(
            "apiVersion: freshet.dev/v1alpha1\nkind: CacheBinding\nmetadata: {{name: shop}}\nspec:\n  sources: [{sources}]\n  \
             caches: [{caches}]"
        );
        manifest::read(&text).unwrap().binding().unwrap()
    }

    const DB: &str = "{name: db, postgresNotify: {url: 'postgres://a/b', channel: \"it's \\\"a\\\"\\\\\"}}";

    #[test]
    fn each_table_is_told_of_once_whatever_its_name_is() {
        let caches = "{name: a, table: 'inventory.pro\"du''ct'}, {name: b, dependsOn: ['shop.inventory.pro\"du''ct', a.b]}, \
                      {name: c, table: a.c}, {name: d, published: true}";
        let sql = triggers(&binding(DB, caches), None).unwrap();
        let installed: Vec<_> =
            sql.lines().filter(|line| line.starts_with("SELECT freshet.install")).collect();
        let channel = r#"E'it''s "a"\\'"#;
        assert_eq!(
            installed,
            [
                format!(r#"SELECT freshet.install({channel}, 'a.b', '"a"."b"');"#),
                format!(r#"SELECT freshet.install({channel}, 'a.c', '"a"."c"');"#),
                format!(
                    r#"SELECT freshet.install({channel}, 'inventory.pro"du''ct', '"inventory"."pro""du''ct"');"#
                ),
            ]
        );
    }

    #[test]
    fn what_no_trigger_can_do_is_refused() {
        let redis = "{name: cdc, redisStream: {url: 'redis://a', stream: b}}";
        let both = format!("{DB}, {redis}");
        let caches = "{name: a, source: cdc, table: a.b}, {name: d, source: db, published: true}";
        let refused = |source: Option<&str>| triggers(&binding(&both, caches), source).unwrap_err();
        assert_eq!(refused(Some("cdc")), NoTriggers::NotNotify("cdc".into(), "redisStream"));
        assert_eq!(refused(Some("db")), NoTriggers::NoTables("db".into()));
        assert_eq!(refused(None), NoTriggers::NoTables("db".into()), "the only one that could");
        assert_eq!(refused(Some("nope")), NoTriggers::NoSource("nope".into(), "db, cdc".into()));
        let caches = "{name: a, source: cdc, table: a.b}";
        let refused = |sources: &str| triggers(&binding(sources, caches), None).unwrap_err();
        assert_eq!(refused(redis), NoTriggers::NoChannel);
        let several = format!("{both}, {}", DB.replacen("db", "db-2", 1));
        assert_eq!(refused(&several), NoTriggers::SeveralChannels("db, db-2".into()));
    }
}
