//! Whether Postgres sends what the settings ask for.

use super::{Report, Said, Severity, Subject, rows};

pub(super) const PUBLICATION: &str = "debezium.source.publication.name";
pub(super) const SLOT: &str = "debezium.source.slot.name";

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
    /// The table that the settings let a snapshot be asked for by, if they name one.
    pub signals: Option<Table>,
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
    /// The columns of its primary key; none: it has no such key.
    pub key: Vec<String>,
    /// All of its columns.
    pub columns: Vec<String>,
    /// What has its rows: itself, or its partitions, down to those that have none themselves.
    pub parts: Vec<Part>,
}

/// What has rows of a table: the table itself or a partition. What is logged of a row is up to this, and not to the
/// partitioned table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// `schema.table`.
    pub name: String,
    /// Whether it has a primary key.
    pub primary_key: bool,
    /// `pg_class.relreplident`: `d`, `n`, `f` or `i`.
    pub identity: char,
    /// Whether values may be stored apart from their row, and left out of an update's event.
    pub toasted: bool,
}

// === impl Part ===

impl Part {
    /// Whether nothing tells which row an update or a delete is about.
    fn is_anonymous(&self) -> bool {
        self.identity == 'n' || (self.identity == 'd' && !self.primary_key)
    }
}

pub(super) fn check(subject: &Subject<'_>, facts: &Facts, report: &mut Report<'_>) {
    if facts.wal_level != "logical" {
        report.database(
            Severity::Error,
            format!("wal_level is {}", facts.wal_level),
            "set wal_level=logical and restart Postgres",
        );
    }
    let (named, slot_named) = super::publication_and_slot(report.properties);
    match slot_named {
        Some(_) => slot(facts, report),
        None => report.elsewhere(SLOT, "the slot is there, by pgoutput, and hasn't lost log"),
    }
    let query = report.properties.said("debezium.source.heartbeat.action.query");
    if matches!(query, Said::Value(query) if query.contains("freshet_hb")) && !facts.sequence {
        report.database(
            Severity::Error,
            "the heartbeat's sequence isn't there: no heartbeat comes",
            format!("{}, and GRANT USAGE on it to Debezium's user", crate::HEARTBEAT_SEQUENCE),
        );
    }
    for table in &facts.tables {
        of_table(subject, table, report);
    }
    let Some(named) = named else {
        report.elsewhere(PUBLICATION, "it is a publication of all rows and columns of the binding's tables");
        return;
    };
    let Some(publication) = &facts.publication else {
        absent(subject, named, report);
        return;
    };
    publishes(subject, publication, report);
    signals(subject, publication, facts.signals.as_ref(), report);
    for table in facts.tables.iter().filter(|table| table.exists) {
        in_publication(subject, publication, table, report);
    }
}

fn absent(subject: &Subject<'_>, named: &str, report: &mut Report<'_>) {
    let mode = report.properties.said("debezium.source.publication.autocreate.mode");
    let severity = match mode {
        Said::Value(mode) if mode.eq_ignore_ascii_case("disabled") => Severity::Error,
        _ => Severity::Hint,
    };
    // The last of the statements makes it, under the name that would be generated.
    let sql = subject.wanted.statements().pop().unwrap_or_default();
    let sql = sql.replacen(&subject.wanted.slot(), &subject.wanted.quoted_part(named), 1);
    report.database(severity, "the publication isn't there", sql);
}

fn publishes(subject: &Subject<'_>, publication: &Publication, report: &mut Report<'_>) {
    for operation in &publication.without {
        report.database(
            Severity::Error,
            format!(
                "the publication {} doesn't send {operation}s: caches never hear of them",
                publication.name
            ),
            format!(
                "ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
                subject.wanted.quoted_part(&publication.name)
            ),
        );
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
    let anonymous: Vec<_> = table.parts.iter().filter(|part| part.is_anonymous()).collect();
    if !anonymous.is_empty() {
        report.database(
            Severity::Error,
            format!(
                "{} no replica identity: once published, Postgres refuses updates and deletes there",
                have(table, &anonymous)
            ),
            format!("give it a primary key, or {}", with_full_identity(subject, &anonymous)),
        );
    } else if table.key.is_empty() && !subject.ranks(name) {
        report.database(
            Severity::Hint,
            format!("{name} has no primary key: each change of it voids all that is cached of it"),
            "give it a primary key",
        );
    }
    rows::check(subject, table, report);
    let toasted: Vec<_> = table.parts.iter().filter(|part| part.toasted && part.identity != 'f').collect();
    if !toasted.is_empty() && subject.ranks(name) {
        report.database(
            Severity::Warning,
            format!(
                "{name} can have values of more than 2 kB: after an update that leaves them as they are, which has an event \
                 without them, views over it are incomplete"
            ),
            format!("if it has such values: {}", with_full_identity(subject, &toasted)),
        );
    } else if !toasted.is_empty() && subject.wanted.hydrated.contains(name) {
        report.database(
            Severity::Hint,
            format!(
                "{name} is hydrated and can have values of more than 2 kB: an update that leaves them as they are has \
                 an event without them and only voids the row"
            ),
            format!("if it has such values: {}", with_full_identity(subject, &toasted)),
        );
    }
}

/// Whether requests for snapshots come through.
fn signals(subject: &Subject<'_>, publication: &Publication, table: Option<&Table>, report: &mut Report<'_>) {
    let Some(table) = table.filter(|_| subject.wanted.tells_snapshots()) else { return };
    let name = &table.name;
    if !table.exists {
        let make = crate::signal_table(&subject.wanted.quoted(name));
        let publish = published(subject, publication, name);
        report.database(
            Severity::Warning,
            format!("the table {name} isn't there: no snapshot can be asked for"),
            format!("{make}; {publish}"),
        );
    } else if !table.published {
        report.database(
            Severity::Warning,
            format!(
                "{name} isn't in the publication {}: no request for a snapshot is heard",
                publication.name
            ),
            published(subject, publication, name),
        );
    }
}

/// What adds a table to the publication.
fn published(subject: &Subject<'_>, publication: &Publication, table: &str) -> String {
    let (publication, table) = (subject.wanted.quoted_part(&publication.name), subject.wanted.quoted(table));
    format!("ALTER PUBLICATION {publication} ADD TABLE {table}")
}

/// How many parts are named before the others are counted.
const NAMED: usize = 3;

/// "so and so has", of a table or of its partitions.
fn have(table: &Table, parts: &[&Part]) -> String {
    let named: Vec<_> = parts.iter().take(NAMED).map(|part| part.name.as_str()).collect();
    let named = named.join(", ");
    match (table.partitioned, parts.len()) {
        (false, _) => format!("{named} has"),
        (true, 1) => format!("{named}, a partition of {}, has", table.name),
        (true, ..=NAMED) => format!("{named}, partitions of {}, have", table.name),
        (true, all) => format!("{named} and {} further partitions of {} have", all - NAMED, table.name),
    }
}

fn with_full_identity(subject: &Subject<'_>, parts: &[&Part]) -> String {
    let alter =
        |part: &&Part| format!("ALTER TABLE {} REPLICA IDENTITY FULL", subject.wanted.quoted(&part.name));
    let mut all = parts.iter().take(NAMED).map(alter).collect::<Vec<_>>().join("; ");
    if parts.len() > NAMED {
        all += ", and so the others";
    }
    all
}

fn in_publication(subject: &Subject<'_>, publication: &Publication, table: &Table, report: &mut Report<'_>) {
    let name = &table.name;
    let quoted = subject.wanted.quoted(name);
    let alter = format!("ALTER PUBLICATION {}", subject.wanted.quoted_part(&publication.name));
    if !table.published {
        report.database(
            Severity::Error,
            format!(
                "{name} isn't in the publication {}: what is cached of it is never voided",
                publication.name
            ),
            format!("{alter} ADD TABLE {quoted}"),
        );
        return;
    }
    if table.partitioned && !publication.via_root {
        report.database(
            Severity::Error,
            format!(
                "{name} is partitioned, and its changes bear the partitions' names, which no cache depends on"
            ),
            format!("{alter} SET (publish_via_partition_root = true)"),
        );
    }
    let whole = format!("BEGIN; {alter} DROP TABLE {quoted}; {alter} ADD TABLE {quoted}; COMMIT");
    if let Some(filter) = &table.row_filter {
        report.database(
            Severity::Error,
            format!("only rows of {name} with {filter} are published: changes of others are never heard of"),
            whole.as_str(),
        );
    }
    if !table.left_out.is_empty() {
        report.database(
            Severity::Warning,
            format!("columns of {name} aren't published: {}", table.left_out.join(", ")),
            whole,
        );
    }
}
