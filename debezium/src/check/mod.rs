//! Whether a Debezium Server's settings, and the database they are for, are what a binding's promises need.
//!
//! [`check`] is a comparison of what was read before; it does no I/O.

mod captured;
mod database;
mod heartbeats;
mod memory;
mod patterns;
mod properties;
mod streams;
mod values;

use std::fmt;

use freshet_crds::binding::{Binding, StalenessBound};

pub use database::{Facts, Publication, Slot, Table};
pub use properties::{Properties, Unreadable};

use crate::{Database, Pipeline, Unfit, Wanted};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A promise of the binding doesn't hold.
    Error,
    /// It holds, but worse than it could: later, or with more misses.
    Warning,
    /// Worth knowing.
    Hint,
}

/// Where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this line of the settings.
    Line(usize),
    /// In the settings, where something is missing.
    Settings,
    /// In the database.
    Database,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What it is and what comes of it.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Compares one source of a binding with settings, and with what the database says, if it was asked. The worst comes
/// first, and then what comes first in the file.
pub fn check(
    binding: &Binding,
    source: Option<&str>,
    properties: &Properties,
    facts: Option<&Facts>,
) -> Result<Vec<Finding>, Unfit> {
    let subject = Subject::of(binding, source, properties)?;
    let mut report = Report { properties, findings: Vec::new() };
    streams::check(&subject, &mut report);
    captured::check(&subject, &mut report);
    values::check(&subject, &mut report);
    heartbeats::check(&subject, &mut report);
    memory::check(&subject, &mut report);
    if let Some(facts) = facts {
        database::check(&subject, facts, &mut report);
    }
    let mut findings = report.findings;
    findings.sort_by_key(|finding| {
        let line = if let Place::Line(line) = finding.place { line } else { usize::MAX };
        (finding.severity, line)
    });
    Ok(findings)
}

/// The tables that a source's caches depend on, as the database that these settings are for knows them.
pub fn tables(
    binding: &Binding,
    source: Option<&str>,
    properties: &Properties,
) -> Result<Vec<String>, Unfit> {
    Subject::of(binding, source, properties).map(|subject| subject.tables)
}

/// The publication and the slot that these settings name (Postgres).
#[must_use]
pub fn publication_and_slot(properties: &Properties) -> (&str, &str) {
    let or = |name, default| properties.get(name).unwrap_or(default);
    (or("debezium.source.publication.name", "dbz_publication"), or("debezium.source.slot.name", "debezium"))
}

/// What is compared with the settings.
struct Subject<'b> {
    /// What would be generated for the binding, for the connector that the settings name.
    wanted: Pipeline,
    /// The connector's database; `None`: one that isn't known here.
    database: Option<Database>,
    /// The binding's tables, without the heartbeat's.
    tables: Vec<String>,
    freshness: Option<&'b StalenessBound>,
}

/// Findings under way.
struct Report<'p> {
    properties: &'p Properties,
    findings: Vec<Finding>,
}

// === impl Subject ===

impl<'b> Subject<'b> {
    fn of(binding: &'b Binding, source: Option<&str>, properties: &Properties) -> Result<Self, Unfit> {
        let class = properties.get("debezium.source.connector.class").unwrap_or_default();
        let class = class.rsplit('.').next().unwrap_or_default();
        let database = match class {
            "PostgresConnector" => Some(Database::Postgres),
            "MariaDbConnector" | "MySqlConnector" => Some(Database::MariaDb),
            _ => None,
        };
        let wanted = Wanted {
            database: database.unwrap_or(Database::Postgres),
            source: source.map(str::to_owned),
            host: None,
            port: None,
            name: None,
            user: None,
        };
        let wanted = Pipeline::for_binding(binding, &wanted)?;
        let tables = match &wanted.captured {
            crate::Captured::These(tables) => tables.clone(),
            crate::Captured::All => Vec::new(),
        };
        Ok(Self { wanted, database, tables, freshness: binding.freshness.bound.as_ref() })
    }

    fn is(&self, database: Database) -> bool {
        self.database == Some(database)
    }

    /// Whether rows of this source become values as events carry them.
    fn hydrates(&self) -> bool {
        !self.wanted.hydrated.is_empty()
    }
}

// === impl Report ===

impl Report<'_> {
    /// Something about a setting, which may be missing.
    fn setting(
        &mut self,
        severity: Severity,
        name: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.properties.line(name).map_or(Place::Settings, Place::Line);
        self.findings.push(Finding { severity, place, what: what.into(), remedy: remedy.into() });
    }

    fn database(&mut self, severity: Severity, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.push(Finding {
            severity,
            place: Place::Database,
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    /// A setting that has to have a value: its own or the default. What is left to the environment isn't judged.
    fn has_to_be(&mut self, severity: Severity, name: &str, default: &str, value: &str, what: &str) {
        if self.properties.is_open(name) {
            self.setting(
                Severity::Hint,
                name,
                format!("{name} comes from the environment and wasn't looked at"),
                format!("see to it that it is {value}"),
            );
        } else if !self.properties.get(name).unwrap_or(default).eq_ignore_ascii_case(value) {
            self.setting(severity, name, what, format!("set {name}={value}"));
        }
    }

    /// A number, or the default where there is none.
    fn number(&mut self, name: &str, default: u64) -> u64 {
        let Some(text) = self.properties.get(name) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.setting(
                Severity::Error,
                name,
                format!("{name} is no number: {text}"),
                "write a whole number",
            );
            default
        })
    }
}

// === impl Severity and Place ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        })
    }
}

impl Finding {
    /// One line: how bad, where in `file`, what, and what to do.
    #[must_use]
    pub fn line(&self, file: &str) -> String {
        let place = match self.place {
            Place::Line(line) => format!("{file}:{line}"),
            Place::Settings => file.to_owned(),
            Place::Database => "database".to_owned(),
        };
        format!("{}: {place}: {}: {}", self.severity, self.what, self.remedy)
    }
}

#[cfg(test)]
mod tests;
