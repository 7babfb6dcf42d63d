//! Whether Postgres sends what the settings ask for.

use super::{Report, Severity, Subject};

/// What a Postgres says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `wal_level`.
    pub wal_level: String,
    /// The publication that the settings name, if it is there.
    pub publication: Option<Publication>,
    /// The slot that the settings name, if it is there.
    pub slot: Option<Slot>,
    /// The binding's tables, in its order.
    pub tables: Vec<Table>,
    /// Whether the sequence of the heartbeat is there.
    pub sequence: bool,
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Whether a partition's changes bear the name of the partitioned table.
    pub via_root: bool,
    /// Operations that it doesn't send: `insert`, `update`, `delete`, `truncate`.
    pub without: Vec<String>,
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// The plugin that decodes the log.
    pub plugin: String,
    /// Whether log that it still needed was removed.
    pub lost: bool,
}

/// A table of the binding's.
#[expect(clippy::struct_excessive_bools, reason = "the catalogue's own facts, independent of each other")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// `schema.table`.
    pub name: String,
    /// Whether there is one of this name.
    pub exists: bool,
    /// Whether it is partitioned.
    pub partitioned: bool,
    /// Whether it is in the publication, itself or by its partitions.
    pub published: bool,
    /// The rows that are published, where not all are.
    pub row_filter: Option<String>,
    /// Columns that aren't published.
    pub left_out: Vec<String>,
    /// Whether it has a primary key.
    pub primary_key: bool,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`.
    pub identity: char,
    /// Whether values may be stored apart from their row, and left out of an update's event.
    pub toasted: bool,
}

pub(super) fn check(subject: &Subject<'_>, facts: &Facts, report: &mut Report<'_>) {
    if facts.wal_level != "logical" {
        report.database(
            Severity::Error,
            format!("wal_level is {}", facts.wal_level),
            "set wal_level=logical and restart Postgres",
        );
    }
    slot(facts, report);
    let name = "debezium.source.heartbeat.action.query";
    let query = report.properties.get(name).unwrap_or_default();
    if query.contains("freshet_hb") && !facts.sequence {
        report.database(
            Severity::Error,
            "the heartbeat's sequence isn't there: no heartbeat comes",
            format!("{}, and GRANT USAGE on it to Debezium's user", crate::HEARTBEAT_SEQUENCE),
        );
    }
    let Some(publication) = &facts.publication else {
        let mode = "debezium.source.publication.autocreate.mode";
        let disabled = report.properties.get(mode).is_some_and(|mode| mode.eq_ignore_ascii_case("disabled"));
        let severity = if disabled { Severity::Error } else { Severity::Hint };
        // The last of the statements makes it, under the name that would be generated.
        let sql = subject.wanted.statements().pop().unwrap_or_default();
        let (named, _) = super::publication_and_slot(report.properties);
        let sql = sql.replacen(&subject.wanted.slot(), named, 1);
        report.database(severity, "the publication isn't there", sql);
        for table in &facts.tables {
            of_table(subject, table, report);
        }
        return;
    };
    for operation in &publication.without {
        report.database(
            Severity::Error,
            format!(
                "the publication {} doesn't send {operation}s: caches never hear of them",
                publication.name
            ),
            format!(
                "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
                publication.name
            ),
        );
    }
    for table in &facts.tables {
        of_table(subject, table, report);
        if table.exists {
            in_publication(publication, table, report);
        }
    }
}

fn slot(facts: &Facts, report: &mut Report<'_>) {
    match &facts.slot {
        None => report.database(
            Severity::Hint,
            "the replication slot isn't there yet",
            "Debezium makes it when it starts first; if it had run before, changes since then were missed",
        ),
        Some(slot) if slot.lost => report.database(
            Severity::Error,
            format!("the slot {} has lost log that it still needed: changes are missing", slot.name),
            "drop the slot and Debezium's offsets, raise max_slot_wal_keep_size, start Debezium anew",
        ),
        Some(slot) if slot.plugin != "pgoutput" => report.database(
            Severity::Warning,
            format!("the slot {} is decoded by {}", slot.name, slot.plugin),
            "use pgoutput, Postgres' own",
        ),
        Some(_) => {}
    }
}

fn of_table(subject: &Subject<'_>, table: &Table, report: &mut Report<'_>) {
    let name = &table.name;
    if !table.exists {
        report.database(
            Severity::Error,
            format!("there is no table {name}"),
            "correct the binding, or the database's name in the URL",
        );
        return;
    }
    let full = format!("ALTER TABLE {name} REPLICA IDENTITY FULL");
    if table.identity == 'n' || (table.identity == 'd' && !table.primary_key) {
        report.database(
            Severity::Error,
            format!(
                "{name} has no replica identity: once published, Postgres refuses updates and deletes of it"
            ),
            format!("give it a primary key, or {full}"),
        );
    } else if !table.primary_key {
        report.database(
            Severity::Hint,
            format!("{name} has no primary key: each change of it voids all that is cached of it"),
            "give it a primary key",
        );
    }
    if table.toasted && table.identity != 'f' && subject.wanted.hydrated.contains(name) {
        report.database(
            Severity::Hint,
            format!(
                "{name} is hydrated and can have values of more than 2 kB: an update that leaves them as they are has \
                 an event without them and only voids the row"
            ),
            format!("if it has such values: {full}"),
        );
    }
}

fn in_publication(publication: &Publication, table: &Table, report: &mut Report<'_>) {
    let (name, publication_name) = (&table.name, &publication.name);
    if !table.published {
        report.database(
            Severity::Error,
            format!(
                "{name} isn't in the publication {publication_name}: what is cached of it is never voided"
            ),
            format!("ALTER PUBLICATION {publication_name} ADD TABLE {name}"),
        );
        return;
    }
    if table.partitioned && !publication.via_root {
        report.database(
            Severity::Error,
            format!(
                "{name} is partitioned, and its changes bear the partitions' names, which no cache depends on"
            ),
            format!("ALTER PUBLICATION {publication_name} SET (publish_via_partition_root = true)"),
        );
    }
    if let Some(filter) = &table.row_filter {
        report.database(
            Severity::Error,
            format!("only rows of {name} with {filter} are published: changes of others are never heard of"),
            format!("ALTER PUBLICATION {publication_name} SET TABLE … without WHERE"),
        );
    }
    if !table.left_out.is_empty() {
        report.database(
            Severity::Warning,
            format!("columns of {name} aren't published: {}", table.left_out.join(", ")),
            format!("ALTER PUBLICATION {publication_name} SET TABLE … without a list of columns"),
        );
    }
}
