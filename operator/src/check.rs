//! `freshet-operator check`: whether a Debezium Server's settings, and its database, are what a binding needs.

use std::{fs, io, path::PathBuf, process::ExitCode};

use freshet_debezium::check::{self, Finding, Properties, Severity, Unreadable};

use crate::debezium::NoPipeline;

mod database;

/// What `check` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The file of the binding.
    #[arg(long, value_name = "FILE")]
    binding: PathBuf,
    /// The source of the binding, if it has several.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Debezium Server's application.properties.
    #[arg(long, value_name = "FILE")]
    debezium: PathBuf,
    /// The Postgres that Debezium follows, to look at its publication, too: `postgres://user@host/database`. The
    /// password is taken from PGPASSWORD where the URL has none.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
}

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The binding.
    #[error(transparent)]
    Binding(#[from] NoPipeline),
    /// The settings' file can't be read.
    #[error("{0}: {1}")]
    File(String, #[source] io::Error),
    /// It isn't one.
    #[error("{0}: {1}")]
    Properties(String, #[source] Unreadable),
    /// The database can't be asked.
    #[error("the database can't be asked: {0}")]
    Database(String),
}

// === impl Check ===

impl Check {
    /// Prints what was found, a line each. 0: nothing that breaks a promise; 1: something does; 2: can't be told.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        match self.findings() {
            Ok(findings) => {
                let file = self.debezium.display().to_string();
                for finding in &findings {
                    println!("{}", finding.line(&file));
                }
                let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
                eprintln!("{} found, {errors} of them errors", findings.len());
                ExitCode::from(u8::from(errors > 0))
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(2)
            }
        }
    }

    fn findings(&self) -> Result<Vec<Finding>, Unusable> {
        let binding = crate::debezium::read(&self.binding)?;
        let source = self.source.as_deref();
        let file = self.debezium.display().to_string();
        let text = fs::read_to_string(&self.debezium).map_err(|e| Unusable::File(file.clone(), e))?;
        let properties = Properties::read(&text).map_err(|e| Unusable::Properties(file, e))?;
        let unfit = |why| NoPipeline::unfit(&self.binding, why);
        let facts = match &self.database_url {
            Some(url) => {
                let tables = check::tables(&binding, source, &properties).map_err(unfit)?;
                let (publication, slot) = check::publication_and_slot(&properties);
                let signals = check::signal_table(&properties);
                let asked = database::ask(url, publication, slot, &tables, signals);
                Some(asked.map_err(|error| Unusable::Database(error.to_string()))?)
            }
            None => None,
        };
        check::check(&binding, source, &properties, facts.as_ref()).map_err(|why| unfit(why).into())
    }
}
