//! `freshet-operator debezium`: the settings of a Debezium Server that fits a binding.

use std::{fs, io, path::PathBuf};

use clap::ValueEnum;
use freshet_crds::{
    binding::{Binding, Invalid},
    manifest::{self, ReadError},
};
use freshet_debezium::{Database, Pipeline, Unfit, Wanted};

/// What `debezium` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Generate {
    #[command(flatten)]
    pipeline: Source,
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

/// A binding's source, and what changes come to it from.
#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// The file of the binding.
    #[arg(long, value_name = "FILE")]
    pub binding: PathBuf,
    /// The database whose changes the source's streams carry.
    #[arg(long, value_enum, default_value_t = Kind::Postgres)]
    pub database: Kind,
    /// The source of the binding, if it has several.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
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
}

// === impl Generate ===

impl Generate {
    /// The settings as a file.
    pub fn file(&self) -> Result<String, NoPipeline> {
        let binding = self.pipeline.binding()?;
        let wanted = Wanted {
            host: self.host.clone(),
            port: self.port,
            name: self.dbname.clone(),
            user: self.user.clone(),
            ..self.pipeline.wanted()
        };
        let pipeline =
            Pipeline::for_binding(&binding, &wanted).map_err(|error| self.pipeline.wrong(error.into()))?;
        Ok(pipeline.file(&binding.name))
    }
}

// === impl Source ===

impl Source {
    /// Reads the binding as strictly as a file written by a person is read.
    pub fn binding(&self) -> Result<Binding, NoPipeline> {
        let read = || -> Result<Binding, Why> {
            let text = fs::read_to_string(&self.binding)?;
            manifest::read(&text)?.binding().map_err(Why::Invalid)
        };
        read().map_err(|why| self.wrong(why))
    }

    fn wrong(&self, why: Why) -> NoPipeline {
        NoPipeline { file: self.binding.clone(), why }
    }

    /// Nothing is said about where the database is.
    #[must_use]
    pub fn wanted(&self) -> Wanted {
        Wanted {
            database: self.database.into(),
            source: self.source.clone(),
            host: None,
            port: None,
            name: None,
            user: None,
        }
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
