//! Debezium's regular expressions: lists of names that are captured, and topics that are renamed.

use regex::{Captures, Regex, RegexBuilder};

use super::{Properties, Said};

/// Why expressions can't be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unjudged {
    /// Java's have forms that ours lack, as this one.
    Form(String),
    /// The environment has the setting of this name.
    Elsewhere(String),
}

/// A list of expressions, each of which means whole names, in upper or lower case.
pub(super) struct List(Vec<(String, Regex)>);

/// A renaming of topics.
pub(super) struct Renaming {
    regex: Regex,
    replacement: String,
}

/// What becomes of a topic's name.
#[derive(Debug)]
pub(super) struct Route {
    renamings: Vec<Renaming>,
    /// Transforms that do something that isn't known here, or only to some.
    pub(super) unknown: Vec<String>,
}

// === impl List ===

impl List {
    /// The list of a setting; `None` if it isn't set.
    pub(super) fn of(properties: &Properties, name: &str) -> Result<Option<Self>, Unjudged> {
        let text = match properties.said(name) {
            Said::Nothing => return Ok(None),
            Said::Elsewhere => return Err(Unjudged::Elsewhere(name.to_owned())),
            Said::Value(text) => text,
        };
        let expressions = text.split(',').map(str::trim).filter(|expression| !expression.is_empty());
        let compile = |expression: &str| {
            RegexBuilder::new(&format!("^(?:{expression})$"))
                .case_insensitive(true)
                .build()
                .map(|regex| (expression.to_owned(), regex))
                .map_err(|_| Unjudged::Form(expression.to_owned()))
        };
        expressions.map(compile).collect::<Result<_, _>>().map(|list| Some(Self(list)))
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.0.iter().any(|(_, regex)| regex.is_match(name))
    }

    /// An expression that isn't just one of these names, with its dot escaped or not.
    pub(super) fn beyond(&self, names: &[String]) -> Option<&str> {
        let spells = |expression: &str, name: &str| {
            let plain = expression.replace("[.]", ".").replace('\\', "");
            plain.eq_ignore_ascii_case(name)
        };
        let others = |expression: &&str| !names.iter().any(|name| spells(expression, name));
        self.0.iter().map(|(expression, _)| expression.as_str()).find(others)
    }
}

// === impl Route ===

impl Route {
    /// The renamings of a file, in order.
    pub(super) fn of(properties: &Properties) -> Result<Self, Unjudged> {
        let said = |name: &str| match properties.said(name) {
            Said::Nothing => Ok(None),
            Said::Value(value) => Ok(Some(value)),
            Said::Elsewhere => Err(Unjudged::Elsewhere(name.to_owned())),
        };
        let mut route = Self { renamings: Vec::new(), unknown: Vec::new() };
        let names = said("debezium.transforms")?.unwrap_or_default();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let of = |what: &str| said(&format!("debezium.transforms.{name}.{what}"));
            let class = of("type")?.unwrap_or_default();
            let class = class.rsplit('.').next().unwrap_or_default();
            let (regex, replacement) = match class {
                "RegexRouter" => (of("regex")?, of("replacement")?),
                "ByLogicalTableRouter" => (of("topic.regex")?, of("topic.replacement")?),
                // It changes values, and topics only by a column's.
                "ExtractNewRecordState" if of("route.by.field")?.is_none() => continue,
                _ => (None, None),
            };
            match (regex, replacement, of("predicate")?) {
                (Some(regex), Some(replacement), None) => route.renamings.push(Renaming {
                    regex: Regex::new(&format!("^(?:{regex})$"))
                        .map_err(|_| Unjudged::Form(regex.to_owned()))?,
                    replacement: replacement.to_owned(),
                }),
                _ => route.unknown.push(name.to_owned()),
            }
        }
        Ok(route)
    }

    /// Whether every topic comes to this stream, whatever its name.
    pub(super) fn sends_all_to(&self, stream: &str) -> bool {
        // A name that no expression means in particular.
        self.unknown.is_empty() && self.stream("\u{1}") == stream
    }

    /// The stream of what would be in this topic.
    pub(super) fn stream(&self, topic: &str) -> String {
        self.renamings.iter().fold(topic.to_owned(), |topic, renaming| {
            match renaming.regex.captures(&topic) {
                Some(found) => replaced(&renaming.replacement, &found),
                None => topic,
            }
        })
    }
}

impl std::fmt::Debug for Renaming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.regex, self.replacement)
    }
}

/// A replacement in Java's form: `$1`, `${name}`, and `\` before what means itself.
fn replaced(replacement: &str, found: &Captures<'_>) -> String {
    let mut text = String::new();
    let mut letters = replacement.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => text.extend(letters.next()),
            '$' if letters.peek() == Some(&'{') => {
                let name: String = letters.by_ref().skip(1).take_while(|c| *c != '}').collect();
                text += found.name(&name).map_or("", |group| group.as_str());
            }
            '$' => {
                let mut number = 0;
                let mut first = true;
                while let Some(digit) = letters.peek().and_then(|c| c.to_digit(10)) {
                    let longer = number * 10 + digit as usize;
                    // As many digits as there is a group for.
                    if !first && longer >= found.len() {
                        break;
                    }
                    (number, first) = (longer, false);
                    letters.next();
                }
                text += found.get(number).map_or("", |group| group.as_str());
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(text: &str) -> Properties {
        Properties::read(text).unwrap()
    }

    #[test]
    fn a_list_means_whole_names_in_either_case() {
        let list = List::of(&properties("l=inventory.product, sales\\\\..*"), "l").unwrap().unwrap();
        for (name, is) in [
            ("inventory.product", true),
            ("Inventory.Product", true),
            ("inventory.products", false),
            ("sales.any", true),
            ("salesXany", false),
        ] {
            assert_eq!(list.names(name), is, "{name}");
        }
        assert!(List::of(&properties("l=(?<!a)b"), "l").is_err());
        assert!(List::of(&properties("a=b"), "l").unwrap().is_none());
    }

    #[test]
    fn a_topic_goes_through_all_renamings() {
        let text = "debezium.transforms=a, b,c\n\
                    debezium.transforms.a.type=org.apache.kafka.connect.transforms.RegexRouter\n\
                    debezium.transforms.a.regex=shop[.](.*)[.](.*)\n\
                    debezium.transforms.a.replacement=x.$2.$1\\\\$\n\
                    debezium.transforms.b.type=io.debezium.transforms.ExtractNewRecordState\n\
                    debezium.transforms.c.type=com.example.Other\n";
        let route = Route::of(&properties(text)).unwrap();
        assert_eq!(route.stream("shop.inventory.product"), "x.product.inventory$");
        assert_eq!(route.stream("shop.message"), "shop.message");
        assert_eq!(route.unknown, ["c"]);
    }

    #[test]
    fn what_the_environment_has_is_not_judged() {
        for name in ["debezium.transforms", "debezium.transforms.a.type", "debezium.transforms.a.regex"] {
            let text = format!(
                "debezium.transforms=a\ndebezium.transforms.a.type=RegexRouter\n\
                 debezium.transforms.a.regex=.*\ndebezium.transforms.a.replacement=s\n{name}=${{X}}\n"
            );
            let unjudged = Route::of(&properties(&text)).unwrap_err();
            assert_eq!(unjudged, Unjudged::Elsewhere(name.into()));
        }
        let open = List::of(&properties("l=a,${B}"), "l").err();
        assert_eq!(open, Some(Unjudged::Elsewhere("l".into())));
    }

    #[test]
    fn all_topics_or_some_come_to_a_stream() {
        for (regex, all) in [(".*", true), (".+", true), ("shop.*", false), ("(.*)", true)] {
            let text = format!(
                "debezium.transforms=a\ndebezium.transforms.a.type=RegexRouter\n\
                 debezium.transforms.a.regex={regex}\ndebezium.transforms.a.replacement=s\n"
            );
            let route = Route::of(&properties(&text)).unwrap();
            assert_eq!((route.sends_all_to("s"), route.sends_all_to("t")), (all, false), "{regex}");
        }
    }
}
