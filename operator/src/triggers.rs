//! `freshet-operator triggers`: the SQL by which a database tells what changes, without a Debezium.

use std::path::PathBuf;

use crate::debezium::{NoPipeline, read};

/// What `triggers` is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Triggers {
    /// The file of the binding.
    #[arg(long, value_name = "FILE")]
    binding: PathBuf,
    /// The source of the binding, if several are a `postgresNotify`.
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

// === impl Triggers ===

impl Triggers {
    /// The SQL.
    pub fn sql(&self) -> Result<String, NoPipeline> {
        let binding = read(&self.binding)?;
        let sql = freshet_debezium::triggers(&binding, self.source.as_deref());
        sql.map_err(|why| NoPipeline::unfit(&self.binding, why))
    }
}
