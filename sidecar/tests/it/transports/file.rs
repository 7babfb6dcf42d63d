//! A file that lines are added to.

use std::{
    fs::{self, OpenOptions},
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::broker::{Broker, Bus, Source};

pub(crate) struct File(TempDir);

impl File {
    fn path(&self) -> PathBuf {
        self.0.path().join("entries.jsonl")
    }

    /// Adds an entry so many times.
    fn add(&self, name: &str, value: &str, count: usize) {
        let line = format!("{}\n", json!({"fields": [[name, value]]}));
        let mut file = BufWriter::new(OpenOptions::new().append(true).open(self.path()).unwrap());
        for _ in 0..count {
            file.write_all(line.as_bytes()).unwrap();
        }
        file.flush().unwrap();
    }
}

impl Source for File {
    const NAME: &'static str = "file";

    fn open() -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        fs::write(file.path(), "").unwrap();
        file
    }

    fn source(&self) -> String {
        format!("file: {{path: '{}', stream: shop.cdc}}", self.path().display())
    }
}

impl Broker for File {
    fn write(&self, table: &str, key: &str, value: Option<&str>) {
        self.write_many(table, key, value.unwrap_or("default"), 1);
    }

    fn write_many(&self, _table: &str, key: &str, value: &str, count: usize) {
        self.add(key, value, count);
    }

    fn remove_all(&self) {
        OpenOptions::new().write(true).truncate(true).open(self.path()).unwrap();
    }

    fn make_anew(&self) {
        let other = self.0.path().join("other.jsonl");
        fs::write(&other, "").unwrap();
        fs::rename(&other, self.path()).unwrap();
    }
}

impl Bus for File {
    const KEEPS: bool = true;

    fn publish(&self, envelope: &Value) {
        self.publish_many(envelope, 1);
    }

    fn publish_many(&self, envelope: &Value, count: usize) {
        self.add("freshet", &envelope.to_string(), count);
    }
}
