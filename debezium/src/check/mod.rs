//! Whether a Debezium Server's settings, and the database they are for, are what a binding's promises need.
//!
//! [`check`] is a comparison of what was read before; it does no I/O.

mod captured;
mod database;
mod heartbeats;
mod jet_stream;
mod kafka;
mod memory;
mod patterns;
mod properties;
mod redis;
mod rows;
mod snapshots;
mod spellings;
mod streams;
mod topics;
mod values;

use std::{fmt, time::Duration};

use freshet_crds::{
    Heartbeat,
    binding::{Binding, CacheSpec, SourceSpec, StalenessBound},
};

pub use database::{Facts, Part, Publication, Slot, Table};
pub use properties::{Properties, Said, Unreadable};

use crate::{Database, Pipeline, Unfit, Wanted};
use patterns::Unjudged;

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
    report.doubts();
    streams::check(&subject, &mut report);
    topics::check(&subject, &mut report);
    captured::check(&subject, &mut report);
    values::check(&subject, &mut report);
    heartbeats::check(&subject, &mut report);
    snapshots::check(&subject, &mut report);
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

/// The publication and the slot that these settings name (Postgres); `None`: the environment does.
#[must_use]
pub fn publication_and_slot(properties: &Properties) -> (Option<&str>, Option<&str>) {
    let or = |name, default| match properties.said(name) {
        Said::Nothing => Some(default),
        Said::Elsewhere => None,
        Said::Value(value) => Some(value),
    };
    (or(database::PUBLICATION, "dbz_publication"), or(database::SLOT, "debezium"))
}

/// The table that these settings let a snapshot be asked for by; `None`: none, or the environment names it.
#[must_use]
pub fn signal_table(properties: &Properties) -> Option<&str> {
    snapshots::signal_table(properties)
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
    binding: &'b Binding,
    /// The source's place in the binding.
    source: usize,
}

/// Findings under way.
struct Report<'p> {
    properties: &'p Properties,
    findings: Vec<Finding>,
}

// === impl Subject ===

impl<'b> Subject<'b> {
    fn of(binding: &'b Binding, source: Option<&str>, properties: &Properties) -> Result<Self, Unfit> {
        let database = match properties.said("debezium.source.connector.class") {
            Said::Value(class) => match class.rsplit('.').next().unwrap_or_default() {
                "PostgresConnector" => Some(Database::Postgres),
                "MariaDbConnector" | "MySqlConnector" => Some(Database::MariaDb),
                _ => None,
            },
            Said::Nothing | Said::Elsewhere => None,
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
        let named = |s: &SourceSpec| source.is_none_or(|name| s.name == name);
        let source = binding.sources.iter().position(named).unwrap_or_default();
        Ok(Self { wanted, database, tables, freshness: binding.freshness.bound.as_ref(), binding, source })
    }

    /// How bad it is that what proves freshness is missing: only what the binding declares has to be there.
    fn without(&self, proof: Heartbeat) -> Severity {
        let declared = self.freshness.is_some_and(|bound| bound.heartbeat == proof);
        if declared { Severity::Error } else { Severity::Warning }
    }

    fn is(&self, database: Database) -> bool {
        self.database == Some(database)
    }

    /// The caches of a table, `schema.table`, all of whose rows views hold.
    fn ranked(&self, table: &str) -> impl Iterator<Item = &'b CacheSpec> {
        let is_of = move |name: &String| {
            // With its database before it, or without.
            name.strip_suffix(table).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let source = self.source;
        self.binding
            .ranked()
            .filter(move |cache| cache.source == source && cache.table.as_ref().is_some_and(is_of))
    }

    /// Whether views hold all rows of a table.
    fn ranks(&self, table: &str) -> bool {
        self.ranked(table).next().is_some()
    }

    /// How old the entries of the source's streams get.
    fn retention(&self) -> Option<Duration> {
        self.binding.sources.get(self.source)?.transport.redis_stream()?.retention
    }

    /// Whether rows of this source become values as events carry them.
    fn hydrates(&self) -> bool {
        !self.wanted.hydrated.is_empty()
    }
}

// === impl Report ===

impl<'p> Report<'p> {
    /// What can't be judged because nobody can tell what counts.
    fn doubts(&mut self) {
        self.findings.extend(self.properties.doubts().iter().map(|doubt| Finding {
            severity: Severity::Warning,
            place: Place::Line(doubt.line),
            what: doubt.what.clone(),
            remedy: "say it once, and plainly".into(),
        }));
    }

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

    /// A setting that the environment has, with what is expected of it; once, however often it is looked at.
    fn elsewhere(&mut self, name: &str, expected: impl fmt::Display) {
        let what = format!("{name} comes from the environment and wasn't looked at");
        if !self.findings.iter().any(|finding| finding.what == what) {
            self.setting(Severity::Hint, name, what, format!("see to it that {expected}"));
        }
    }

    /// A setting's value, or the default. `None`: the environment has it, so that it can't be judged.
    fn value(&mut self, name: &str, default: &'p str, expected: impl fmt::Display) -> Option<&'p str> {
        match self.properties.said(name) {
            Said::Nothing => Some(default),
            Said::Value(value) => Some(value),
            Said::Elsewhere => {
                self.elsewhere(name, expected);
                None
            }
        }
    }

    /// A setting that has to have a value: its own or the default.
    fn has_to_be(&mut self, severity: Severity, name: &str, default: &'p str, value: &str, what: &str) {
        let found = self.value(name, default, format!("it is {value}"));
        if found.is_some_and(|found| !found.eq_ignore_ascii_case(value)) {
            self.setting(severity, name, what, format!("set {name}={value}"));
        }
    }

    /// A number, or the default. `None`: it can't be judged, or is none, which is told.
    fn number(&mut self, name: &str, default: u64, expected: impl fmt::Display) -> Option<u64> {
        let text = match self.properties.said(name) {
            Said::Nothing => return Some(default),
            Said::Value(text) => text,
            Said::Elsewhere => {
                self.elsewhere(name, expected);
                return None;
            }
        };
        let number = text.parse().ok();
        if number.is_none() {
            let what = format!("{name} is no number: {text}");
            self.setting(Severity::Error, name, what, "write a whole number");
        }
        number
    }

    /// Expressions that can't be judged, in the setting `name`, and where to look instead.
    fn unjudged(&mut self, name: &str, unjudged: Unjudged, instead: &str) {
        match unjudged {
            Unjudged::Elsewhere(name) => self.elsewhere(&name, instead),
            Unjudged::Form(expression) => self.setting(
                Severity::Warning,
                name,
                format!(
                    "{expression} can't be judged: Java's expressions have forms that this program lacks"
                ),
                format!("see to it that {instead}"),
            ),
        }
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
