//! `freshet-operator debezium`: the settings of a Debezium Server that fits a binding.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use freshet_crds::{
    binding::{Binding, Invalid},
    manifest::{self, ReadError},
};
use freshet_debezium::{Database, NoTriggers, Pipeline, Unfit, Wanted};

/// What `debezium` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Generate {
    /// The file of the binding.
    #[arg(long, value_name = "FILE")]
    binding: PathBuf,
    /// The database whose changes the source's streams carry.
    #[arg(long, value_enum, default_value_t = Kind::Postgres)]
    database: Kind,
    /// The source of the binding, if it has several.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The database's host; else a placeholder, taken from Debezium Server's environment.
    #[arg(long)]
    host: Option<String>,
    /// Its port; else the usual one.
    #[arg(long)]
    port: Option<u16>,
    /// The database's name (Postgres); else a placeholder.
    #[arg(long)]
    dbname: Option<String>,
    /// Debezium's user there; else `debezium`. Its password is always a placeholder.
    #[arg(long)]
    user: Option<String>,
}

/// A database that settings can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
}

/// Why there are no settings for a binding: the file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .file.display())]
pub struct NoPipeline {
    file: PathBuf,
    why: Why,
}

/// What is wrong with a binding's file.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It can't be read.
    #[error(transparent)]
    File(#[from] io::Error),
    /// It isn't a binding.
    #[error(transparent)]
    Manifest(#[from] ReadError),
    /// The binding has faults.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Invalid>),
    /// No settings fit it.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No triggers fit it.
    #[error(transparent)]
    NoTriggers(#[from] NoTriggers),
}

/// Reads a binding as strictly as a file written by a person is read.
pub fn read(file: &Path) -> Result<Binding, NoPipeline> {
    let read = || -> Result<Binding, Why> {
        let text = fs::read_to_string(file)?;
        manifest::read(&text)?.binding().map_err(Why::Invalid)
    };
    read().map_err(|why| NoPipeline { file: file.to_owned(), why })
}

// === impl Generate ===

impl Generate {
    /// The settings as a file.
    pub fn file(&self) -> Result<String, NoPipeline> {
        let binding = read(&self.binding)?;
        let wanted = Wanted {
            database: self.database.into(),
            source: self.source.clone(),
            host: self.host.clone(),
            port: self.port,
            name: self.dbname.clone(),
            user: self.user.clone(),
        };
        let pipeline =
            Pipeline::for_binding(&binding, &wanted).map_err(|why| NoPipeline::unfit(&self.binding, why))?;
        Ok(pipeline.file(&binding.name))
    }
}

// === impl NoPipeline ===

impl NoPipeline {
    /// No settings fit this file's binding.
    #[must_use]
    pub fn unfit(file: &Path, why: impl Into<Why>) -> Self {
        Self { file: file.to_owned(), why: why.into() }
    }
}

// === impl Kind ===

impl From<Kind> for Database {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres,
            Kind::Mariadb => Self::MariaDb,
        }
    }
}
