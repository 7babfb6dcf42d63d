//! What a request asks of an upstream: the raw rest of its path, its query included, which goes there undecoded.
//!
//! Undecoded, because what a decoder here takes for one thing the upstream's may take for another. So whatever could mean
//! another path there than it says is refused: dot segments, however they are written, slashes and backslashes that are
//! encoded, and segments that are empty.

use percent_encoding::percent_decode_str;

use crate::path_pattern::PathPattern;

/// The longest key in bytes, of whatever cache.
pub const MAX_KEY: usize = 1024;

/// What may be in a path or query besides letters, digits and percent-encoding.
const MARKS: &[u8] = b"-._~!$&'()*+,;=:@/?";

/// The raw rest of a request's path, with its query: the key of an upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest<'a> {
    text: &'a str,
    /// Where the path ends.
    path: usize,
}

/// Why a request's rest is refused. All are the caller's to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRest {
    /// More than [`MAX_KEY`] bytes.
    #[error("path and query behind the cache's name have at most {MAX_KEY} bytes")]
    TooLong,
    /// A segment is empty.
    #[error("the path has no empty segments, nor a slash at its end")]
    Empty,
    /// A segment is `.` or `..`, however it is written.
    #[error("the path has no `.` or `..` segments, encoded ones and those with parameters included")]
    Dots,
    /// A slash or backslash is encoded, or a backslash raw.
    #[error("the path has no encoded slashes, and no backslashes: the upstream may take them for its own")]
    Slash,
    /// Percent-encoding that isn't, or characters that have to be encoded.
    #[error(
        "path and query have letters, digits, -._~!$&'()*+,;=:@ and percent-encoding, in a query also / and ?"
    )]
    Character,
}

impl<'a> Rest<'a> {
    /// Reads what follows the cache's name and a slash: `text` is a path of which a question mark ends the first part.
    pub fn parse(text: &'a str) -> Result<Self, BadRest> {
        if text.len() > MAX_KEY {
            return Err(BadRest::TooLong);
        }
        let end = text.find('?').unwrap_or(text.len());
        let path = &text[..end];
        if path.contains('\\') {
            return Err(BadRest::Slash);
        }
        if !is_well_formed(text) {
            return Err(BadRest::Character);
        }
        for segment in path.split('/') {
            // What some servers take for parameters, and leave out before they look at dots.
            let name = segment.split(';').next().unwrap_or_default();
            let decoded: Vec<u8> = percent_decode_str(name).collect();
            if segment.is_empty() {
                return Err(BadRest::Empty);
            }
            if matches!(decoded.as_slice(), b"." | b"..") {
                return Err(BadRest::Dots);
            }
            if percent_decode_str(segment).any(|byte| matches!(byte, b'/' | b'\\')) {
                return Err(BadRest::Slash);
            }
            // `%2e;` and the like: a separator that is encoded before it is one.
            let decoded_name = percent_decode_str(segment).take_while(|byte| *byte != b';');
            if matches!(decoded_name.collect::<Vec<_>>().as_slice(), b"." | b"..") {
                return Err(BadRest::Dots);
            }
        }
        Ok(Self { text, path: end })
    }

    /// All of it: path and query.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether it may be asked for; without patterns everything may.
    #[must_use]
    pub fn is_allowed(&self, allow: &[PathPattern]) -> bool {
        allow.is_empty() || allow.iter().any(|pattern| pattern.matches(&self.text[..self.path]))
    }
}

/// The CEL rules of such a text: two, since the API server counts what one may cost at most.
pub(crate) fn rest_rules(this: &str) -> [String; 2] {
    // Double quotes: a single one is among the characters.
    let whole = "^([A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})+$";
    let segments = "^[^/?]+(/[^/?]+)*([?].*)?$";
    let slashes = "^[^?]*%(2[fF]|5[cC])";
    let dots = "^([^/?]+/)*([.]|%2[eE]){1,2}((;|%3[bB])[^/?]*)?([/?]|$)";
    [
        format!("{this}.matches(\"{whole}\") && {this}.matches(\"{segments}\")"),
        format!("!{this}.matches(\"{slashes}\") && !{this}.matches(\"{dots}\")"),
    ]
}

fn is_well_formed(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let good = if byte == b'%' {
            let mut digit = || bytes.next().is_some_and(|b| b.is_ascii_hexdigit());
            digit() && digit()
        } else {
            byte.is_ascii_alphanumeric() || MARKS.contains(&byte)
        };
        if !good {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BadRest, Rest};
    use crate::path_pattern::PathPattern;

    #[test]
    fn what_could_mean_another_path_is_refused() {
        for (text, why) in [
            ("", BadRest::Empty),
            ("a//b", BadRest::Empty),
            ("a/", BadRest::Empty),
            ("/a", BadRest::Empty),
            ("?a", BadRest::Empty),
            ("a/?q", BadRest::Empty),
            (".", BadRest::Dots),
            ("a/../b", BadRest::Dots),
            ("a/%2e%2E/b", BadRest::Dots),
            ("a/.%2e", BadRest::Dots),
            ("a/..;x=1/b", BadRest::Dots),
            ("a/..%3Bx/b", BadRest::Dots),
            ("a/.;/b", BadRest::Dots),
            ("a%2Fb", BadRest::Slash),
            ("a%2fb", BadRest::Slash),
            ("a%5Cb", BadRest::Slash),
            ("a\\b", BadRest::Slash),
            ("a%", BadRest::Character),
            ("a%2", BadRest::Character),
            ("a%zz", BadRest::Character),
            ("a b", BadRest::Character),
            ("a?b=%", BadRest::Character),
            ("a?b=\"", BadRest::Character),
            ("a?b={c}", BadRest::Character),
            ("ä", BadRest::Character),
            ("a?b=\r\nHost: x", BadRest::Character),
        ] {
            assert_eq!(Rest::parse(text), Err(why), "{text}");
        }
        assert_eq!(Rest::parse(&"a".repeat(1025)), Err(BadRest::TooLong));
        for text in [
            "a",
            "a/b",
            "a.b/c",
            "...",
            "..a",
            "a%20b",
            "a?q=../..&x=%2F",
            "a?",
            "a?b?c/d",
            "a;v=1/b",
            "@me:x",
        ] {
            assert_eq!(Rest::parse(text).unwrap().as_str(), text);
        }
        assert!(Rest::parse(&"a".repeat(1024)).is_ok());
    }

    #[test]
    fn patterns_are_of_the_path_and_not_of_the_query() {
        let allow: Vec<PathPattern> = ["search/*".parse().unwrap(), "users".parse().unwrap()].into();
        let allowed = |text| Rest::parse(text).unwrap().is_allowed(&allow);
        assert!(allowed("search/code?q=a/b") && allowed("users?page=2"));
        assert!(!allowed("search?q=/code") && !allowed("repos/users") && !allowed("users/search/x"));
        assert!(Rest::parse("anything").unwrap().is_allowed(&[]));
    }

    proptest! {
        /// Whatever is taken, a server that decodes, and cuts parameters, before or after it splits, finds the same
        /// segments, none of which leads elsewhere.
        #[test]
        fn what_is_taken_stays_below(text in "([a.%/;\\\\]|%2[eEfF]|%5[cC]|%3[bB]){0,12}") {
            if Rest::parse(&text).is_ok() {
                let decoded = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
                prop_assert_eq!(decoded.split('/').count(), text.split('/').count());
                for segment in decoded.split('/').chain(text.split('/')) {
                    let name = segment.split(';').next().unwrap();
                    prop_assert!(!matches!(name, "." | "..") && !segment.is_empty() && !segment.contains('\\'), "{text}");
                }
            }
        }
    }
}
