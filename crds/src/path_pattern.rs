//! Patterns of the paths that may be asked of an upstream.
//!
//! A pattern is a path below the upstream's `url`: `search/repositories`. A segment `*` stands for any one segment, and
//! `**` as the last one for one segment or more. All else is compared byte for byte as it is written in the request, so
//! that another encoding of a segment is another segment. Queries aren't compared.

use std::{fmt, str::FromStr};

/// The form of a pattern, in words.
pub(crate) const PATTERN_FORM: &str = "allow has paths below url such as search/issues, repos/*/* or docs/**: without a slash at either end, \
                                       * stands for one segment, ** at the end for one or more, and nothing else is special";
/// What may be in a segment besides letters and digits.
const MARKS: &str = "._~!$&()+,;=:@%-";

/// Which paths may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(Box<str>);

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{PATTERN_FORM}")]
pub struct InvalidPattern;

impl PathPattern {
    /// Whether a path, without a slash at its beginning and without its query, is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        for wanted in self.0.split('/') {
            match (wanted, segments.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (wanted, Some(segment)) if wanted == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_good = |segment: &str| {
            segment == "*"
                || (!segment.is_empty()
                    && segment.chars().all(|c| c.is_ascii_alphanumeric() || MARKS.contains(c)))
        };
        let head = match text.rsplit_once('/') {
            Some((head, "**")) => head,
            None if text == "**" => return Ok(Self(text.into())),
            _ => text,
        };
        if text.len() <= 256 && head.split('/').all(is_good) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidPattern)
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The CEL rule of a list of such patterns.
pub(crate) fn patterns_rule(this: &str) -> String {
    let segment = format!("([A-Za-z0-9{MARKS}]+|[*])");
    format!("{this}.all(p, p.matches('^({segment}/)*({segment}|[*][*])$'))")
}

#[cfg(test)]
mod tests {
    use super::PathPattern;

    #[test]
    fn a_pattern_says_which_paths_may_be_asked_for() {
        let matching = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().matches(path);
        for (pattern, path) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("a/*", "a/b"),
            ("*/b", "a/b"),
            ("**", "a"),
            ("**", "a/b/c"),
            ("a/**", "a/b/c"),
            ("a/*/**", "a/b/c"),
            ("a%20b", "a%20b"),
        ] {
            assert!(matching(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a", "b"),
            ("a", "A"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("a/*", "a"),
            ("a/*", "a/b/c"),
            ("a/**", "a"),
            ("a/*/**", "a/b"),
            ("a", "%61"),
        ] {
            assert!(!matching(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "/", "/a", "a/", "a//b", "**/a", "a*", "a/b*/c", "***", "a b", "a?b", "ä"] {
            assert!(text.parse::<PathPattern>().is_err(), "{text}");
        }
    }
}
