//! The settings as a file, with its reasons.

use std::fmt::Write as _;

use crate::{Database, Part, Pipeline};

/// How wide a heading is.
const WIDTH: usize = 116;

// === impl Pipeline ===

impl Pipeline {
    /// `application.properties` of Debezium Server for this pipeline, with what the database needs before it, in
    /// comments. `binding` is the name of the binding that it is for.
    #[must_use]
    pub fn file(&self, binding: &str) -> String {
        let mut text = String::new();
        let mut line = |words: &str| {
            text.push_str(words);
            text.push('\n');
        };
        line(&format!(
            "# Debezium Server 3.6 from {} to {}, for the CacheBinding {binding}: made by `freshet-operator debezium`.",
            self.database.name(),
            self.sink.name()
        ));
        line("# What stands in ${…} comes from Debezium Server's environment.");
        line("");
        line(&heading("In the database, once, by its owner"));
        let server = match self.database {
            Database::Postgres => "The server runs with wal_level=logical.",
            Database::MariaDb => {
                "The server runs with log_bin, a server_id, binlog_format=ROW, binlog_row_image=FULL, gtid_strict_mode=1."
            }
        };
        line(&format!("# {server}"));
        for statement in self.statements() {
            line(&format!("#   {};", statement.replace(" WITH (", "\n#     WITH (")));
        }
        for remark in self.remarks() {
            line(&format!("# {remark}"));
        }
        let commands = self.commands();
        if !commands.is_empty() {
            line("");
            line(&heading(&format!("In {}, once, by whoever runs it", self.sink.name())));
            line("# Nothing is made by the first who writes: it would be on one server, or be lost with it.");
            for command in commands {
                line(&format!(
                    "#   {}",
                    command
                        .replace(" --config min", "\n#     --config min")
                        .replace(" --storage", "\n#     --storage")
                ));
            }
        }
        if let Some(ranked) = &self.ranked {
            line("");
            line(&heading("Whenever a snapshot is wanted, by whoever may write to this table"));
            line(
                "# After a loss views over rows are whole again with the next snapshot, and with MariaDB they are with the first one",
            );
            line(
                "# that is asked for. Debezium makes it while it runs, and the log waits until it is through:",
            );
            line(&format!("#   {};", self.asks_for_snapshot(ranked)));
        }
        let properties = self.properties();
        for part in Part::ALL {
            let mut here = properties.iter().filter(|property| property.part == part).peekable();
            if here.peek().is_some() {
                line("");
                line(&heading(part.heading()));
            }
            // What is true of several in a row is said once.
            let mut said = "";
            for property in here {
                if property.protects != said {
                    line(&format!("# {}", property.protects));
                    said = property.protects;
                }
                line(&format!("{}={}", property.name, escaped(&property.value)));
            }
        }
        text
    }
}

fn heading(words: &str) -> String {
    let mut text = format!("# --- {words} ");
    while text.len() < WIDTH {
        text.push('-');
    }
    text
}

/// A value as the file's syntax wants it: a backslash is an escape there, and blanks before a value don't count.
#[must_use]
pub fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (place, letter) in value.chars().enumerate() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            ' ' if place == 0 => text.push_str("\\ "),
            // The file is read as UTF-8 by some versions and as Latin-1 by others.
            other if !other.is_ascii() => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
            other => text.push(other),
        }
    }
    text
}
