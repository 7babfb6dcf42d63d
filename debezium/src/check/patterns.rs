//! Debezium's regular expressions: lists of names that are captured, and topics that are renamed.

use regex::{Captures, Regex, RegexBuilder};

use super::Properties;

/// A regular expression that this program can't judge: Java's have forms that ours lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unjudged(pub(super) String);

/// A list of expressions, each of which means whole names, in upper or lower case.
pub(super) struct List(Vec<Regex>);

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
        let Some(text) = properties.get(name) else { return Ok(None) };
        let expressions = text.split(',').map(str::trim).filter(|expression| !expression.is_empty());
        let compile = |expression: &str| {
            RegexBuilder::new(&format!("^(?:{expression})$"))
                .case_insensitive(true)
                .build()
                .map_err(|_| Unjudged(expression.to_owned()))
        };
        expressions.map(compile).collect::<Result<_, _>>().map(|list| Some(Self(list)))
    }

    pub(super) fn names(&self, name: &str) -> bool {
        self.0.iter().any(|expression| expression.is_match(name))
    }
}

// === impl Route ===

impl Route {
    /// The renamings of a file, in order.
    pub(super) fn of(properties: &Properties) -> Result<Self, Unjudged> {
        let mut route = Self { renamings: Vec::new(), unknown: Vec::new() };
        let names = properties.get("debezium.transforms").unwrap_or_default();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let of = |what: &str| properties.get(&format!("debezium.transforms.{name}.{what}"));
            let class = of("type").unwrap_or_default();
            let class = class.rsplit('.').next().unwrap_or_default();
            let (regex, replacement) = match class {
                "RegexRouter" => (of("regex"), of("replacement")),
                "ByLogicalTableRouter" => (of("topic.regex"), of("topic.replacement")),
                // It changes values, and no topics.
                "ExtractNewRecordState" => continue,
                _ => (None, None),
            };
            match (regex, replacement, of("predicate")) {
                (Some(regex), Some(replacement), None) => route.renamings.push(Renaming {
                    regex: Regex::new(&format!("^(?:{regex})$")).map_err(|_| Unjudged(regex.to_owned()))?,
                    replacement: replacement.to_owned(),
                }),
                _ => route.unknown.push(name.to_owned()),
            }
        }
        Ok(route)
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
}
