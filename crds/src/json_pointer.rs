//! JSON pointers (RFC 6901): which value within a JSON document is meant.

use std::{fmt, str::FromStr};

/// The form of a pointer, in words.
pub(crate) const POINTER_FORM: &str = "a JSON pointer is empty, for all of an item, or begins with a slash, such as /stars or /owner/login; in a name \
                                       ~0 stands for ~ and ~1 for /";
/// The most characters of a pointer.
const MAX_POINTER: usize = 256;

/// Where in a JSON document a value is: names of members and places in arrays, from the outside in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonPointer(Box<[Box<str>]>);

/// A text that is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{POINTER_FORM}")]
pub struct InvalidPointer;

impl JsonPointer {
    /// Its steps, decoded. None: it is the document itself that is meant.
    #[must_use]
    pub fn steps(&self) -> &[Box<str>] {
        &self.0
    }

    /// Whether it means the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for JsonPointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let steps =
            text.strip_prefix('/').filter(|_| text.chars().count() <= MAX_POINTER).ok_or(InvalidPointer)?;
        steps.split('/').map(decoded).collect::<Option<_>>().map(Self).ok_or(InvalidPointer)
    }
}

fn decoded(step: &str) -> Option<Box<str>> {
    let mut escapes = step.split('~').skip(1);
    // In this order: `~01` is `~1`, and no slash.
    escapes
        .all(|after| after.starts_with(['0', '1']))
        .then(|| step.replace("~1", "/").replace("~0", "~").into())
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

/// The CEL rule of a pointer.
pub(crate) fn pointer_rule(this: &str) -> String {
    format!("{this}.matches('^(/([^/~]|~[01])*)*$')")
}

#[cfg(test)]
mod tests {
    use super::JsonPointer;

    #[test]
    fn a_pointer_has_steps_and_is_written_as_it_was_read() {
        for (text, steps) in [
            ("", &[][..]),
            ("/", &[""]),
            ("/stars", &["stars"]),
            ("/owner/login", &["owner", "login"]),
            ("/a~1b/~0", &["a/b", "~"]),
            ("/~01", &["~1"]),
            ("/0//x y", &["0", "", "x y"]),
        ] {
            let pointer: JsonPointer = text.parse().unwrap();
            assert_eq!(pointer.steps().iter().map(|s| &**s).collect::<Vec<_>>(), steps, "{text}");
            assert_eq!((pointer.to_string().as_str(), pointer.is_root()), (text, steps.is_empty()));
        }
        for text in ["stars", "a/b", "/~", "/~2", "/a~", "#/a", " /a"] {
            assert!(text.parse::<JsonPointer>().is_err(), "{text}");
        }
        assert!(format!("/{}", "a".repeat(255)).parse::<JsonPointer>().is_ok());
        assert!(format!("/{}", "a".repeat(256)).parse::<JsonPointer>().is_err());
    }
}
