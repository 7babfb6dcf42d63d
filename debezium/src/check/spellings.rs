//! The spellings that Debezium Server takes for one setting, and which of them counts: each setting ends under the name
//! by which it is looked at.
//!
//! As the server of 3.6 does it, which a run of it has shown: names without a profile yield to those of `%prod`; names in
//! a shell's manner (`DEBEZIUM_SOURCE_SLOT_NAME`) are lower-cased and their underscores become dots, but for those that
//! it asks for by their whole name; what a format or transform is told may also be said in more general words.

use std::collections::BTreeMap;

use super::properties::Setting;

/// What is said of each setting, by its name.
pub(super) type Settings = BTreeMap<String, Setting>;

/// A name with what is wrong with it, and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) what: String,
    pub(super) line: usize,
}

/// Prefixes of names that may be written in a shell's manner.
const SHELL: [&str; 3] = ["debezium.source.", "debezium.format.", "debezium.transforms."];
/// Names under them that the server asks for as they are.
const ASKED: [&str; 3] = ["debezium.format.key", "debezium.format.value", "debezium.format.header"];
/// What each entry consists of.
const PARTS: [&str; 3] = ["key", "value", "header"];
const TRANSFORMS: &str = "debezium.transforms";
const OF_SOURCE: &str = "debezium.source.transforms";

/// The settings as the server takes them, of those that a file has in this order, and what can't be told of them.
pub(super) fn settle(written: Vec<(String, Setting)>) -> (Settings, Vec<Doubt>) {
    let (mut plain, mut of_profile, mut shell) = (Settings::new(), Settings::new(), Settings::new());
    let mut doubts = Vec::new();
    for (name, setting) in written {
        if let Some(name) = name.strip_prefix("%prod.") {
            of_profile.insert(name.to_owned(), setting);
        } else if name.starts_with("%{") {
            let what = format!("{name} is of several profiles, and whether it counts isn't known here");
            doubts.push(Doubt { what, line: setting.line });
        } else if !name.starts_with('%') {
            plain.insert(name, setting);
        }
    }
    plain.extend(of_profile);
    for (name, setting) in &plain {
        if let Some(meant) = in_shells_manner(name) {
            let what = format!("{meant} is said twice, and which one counts is up to chance");
            let line = setting.line;
            let other = shell.insert(meant, setting.clone());
            doubts.extend(other.filter(|other| other.value != setting.value).map(|_| Doubt { what, line }));
        }
    }
    for (name, setting) in shell {
        match plain.get(&name) {
            Some(other) if other.value != setting.value => {
                let what = format!("{name} is said twice, and which one counts is up to chance");
                doubts.push(Doubt { what, line: setting.line.max(other.line) });
            }
            Some(_) => {}
            None => {
                plain.insert(name, setting);
            }
        }
    }
    transforms(&mut plain);
    formats(&mut plain);
    storage(&mut plain);
    (plain, doubts)
}

/// The name that is meant by one of letters, digits and underscores alone.
fn in_shells_manner(name: &str) -> Option<String> {
    let within = name.get(1..name.len().checked_sub(1)?)?;
    if !within.contains('_') || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let meant = name.replace('_', ".").to_ascii_lowercase();
    let counts = SHELL.iter().any(|prefix| meant.starts_with(prefix)) && !ASKED.contains(&meant.as_str());
    counts.then_some(meant)
}

/// Transforms may be the source's; where others are named, theirs win, and where none are, others say nothing.
fn transforms(settings: &mut Settings) {
    if !settings.contains_key(TRANSFORMS) {
        settings.retain(|name, _| !name.starts_with("debezium.transforms."));
    }
    let of_source = |name: &str| {
        let rest = name.strip_prefix(OF_SOURCE)?;
        (rest.is_empty() || rest.starts_with('.')).then(|| format!("{TRANSFORMS}{rest}"))
    };
    imply(settings, of_source);
}

/// What formats are told: of one part, of all parts, and the same in Kafka Connect's words.
fn formats(settings: &mut Settings) {
    for part in PARTS {
        let own = |rest: &str| format!("debezium.format.{part}.{rest}");
        let of_another = |rest: &str| PARTS.iter().any(|part| rest.split('.').next() == Some(part));
        imply(settings, |name| {
            name.strip_prefix("debezium.format.").filter(|rest| !of_another(rest)).map(own)
        });
        imply(settings, |name| {
            name.strip_prefix("debezium.source.")?.strip_prefix(part)?.strip_prefix(".converter.").map(own)
        });
        imply(settings, |name| name.strip_prefix("debezium.source.converter.").map(own));
    }
}

/// What the sink is told of Redis holds for what Debezium remembers there, too.
fn storage(settings: &mut Settings) {
    for storage in ["debezium.source.offset.storage.redis", "debezium.source.schema.history.internal.redis"] {
        imply(settings, |name| {
            name.strip_prefix("debezium.sink.redis.").map(|rest| format!("{storage}.{rest}"))
        });
    }
}

/// Adds what settings say in other words, where nothing else says it.
fn imply(settings: &mut Settings, meant: impl Fn(&str) -> Option<String>) {
    let implied: Vec<_> =
        settings.iter().filter_map(|(name, setting)| Some((meant(name)?, setting.clone()))).collect();
    for (name, setting) in implied {
        settings.entry(name).or_insert(setting);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Properties, Said};

    /// What a server of 3.6.1 made of these lines, by its own account (`Configuration for DebeziumEngine`).
    const LINES: &str = "\
        debezium.sink.redis.key=fromsink\n\
        DEBEZIUM_SOURCE_SNAPSHOT_MODE=no_data\n\
        debezium_source_slot_name=shellslot\n\
        debezium.format.schemas.enable=false\n\
        debezium.format.value.schemas.enable=true\n\
        debezium.source.key.converter.schemas.enable=src\n\
        debezium.source.key.converter.other=src\n\
        debezium.source.converter.third=src\n\
        DEBEZIUM_FORMAT_VALUE=avro\n\
        DEBEZIUM_FORMAT_VALUE_REPLACE_NULL_WITH_DEFAULT=false\n\
        debezium.source.transforms=fromsource\n\
        debezium.source.transforms.fromsource.type=A\n\
        debezium.source.transforms.one.type=S\n\
        debezium.transforms.one.type=T\n\
        %prod.debezium.source.skipped.operations=prodwins\n\
        debezium.source.skipped.operations=plain\n\
        %dev.debezium.source.tombstones.on.delete=dev\n";

    fn said<'p>(properties: &'p Properties, name: &str) -> Option<&'p str> {
        match properties.said(&format!("debezium.{name}")) {
            Said::Value(value) => Some(value),
            Said::Nothing | Said::Elsewhere => None,
        }
    }

    #[test]
    fn every_spelling_counts_as_it_does_for_the_server() {
        let common = [
            ("source.offset.storage.redis.key", Some("fromsink")),
            ("source.schema.history.internal.redis.key", Some("fromsink")),
            ("source.snapshot.mode", Some("no_data")),
            ("source.slot.name", Some("shellslot")),
            ("format.key.schemas.enable", Some("false")),
            ("format.value.schemas.enable", Some("true")),
            ("format.header.schemas.enable", Some("false")),
            ("format.key.other", Some("src")),
            ("format.value.other", None),
            ("format.value.third", Some("src")),
            // It asks for the format itself by that name alone.
            ("format.value", None),
            ("format.value.replace.null.with.default", Some("false")),
            ("format.key.replace.null.with.default", None),
            ("source.skipped.operations", Some("prodwins")),
            ("source.tombstones.on.delete", None),
            ("transforms.fromsource.type", Some("A")),
        ];
        for (further, transforms, of_one) in
            [("", "fromsource", "S"), ("debezium.transforms=one\n", "one", "T")]
        {
            let properties = Properties::read(&format!("{LINES}{further}")).unwrap();
            for (name, value) in common {
                assert_eq!(said(&properties, name), value, "{name}");
            }
            assert_eq!(said(&properties, "transforms"), Some(transforms));
            assert_eq!(said(&properties, "transforms.one.type"), Some(of_one));
            assert_eq!(properties.line("debezium.transforms.fromsource.type"), Some(12));
            assert_eq!(properties.doubts(), []);
        }
    }

    #[test]
    fn what_is_up_to_chance_is_told() {
        let text = "debezium.source.poll.interval.ms=6\nDEBEZIUM_SOURCE_POLL_INTERVAL_MS=7\n\
                    debezium.source.slot.name=a\ndebezium_source_slot_name=a\nDEBEZIUM_SOURCE_SLOT_NAME=b\n%{prod,dev}.debezium.sink.type=x\n";
        let properties = Properties::read(text).unwrap();
        let doubts: Vec<_> =
            properties.doubts().iter().map(|doubt| (doubt.line, doubt.what.as_str())).collect();
        assert_eq!(
            doubts,
            [
                (
                    6,
                    "%{prod,dev}.debezium.sink.type is of several profiles, and whether it counts isn't known here"
                ),
                (4, "debezium.source.slot.name is said twice, and which one counts is up to chance"),
                (2, "debezium.source.poll.interval.ms is said twice, and which one counts is up to chance"),
            ]
        );
    }
}
