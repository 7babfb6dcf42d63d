//! A properties file as Debezium Server reads it, with the line of each setting.

use super::spellings::{Doubt, Settings, settle};

/// The settings of a file, each under the name that is preferred, however the file spells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    settings: Settings,
    doubts: Vec<Doubt>,
}

/// What a file says of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'p> {
    /// Nothing: Debezium takes its default.
    Nothing,
    /// That the environment says it, in whole or in part (`${…}`): no judgement is possible.
    Elsewhere,
    /// Its value.
    Value(&'p str),
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// A file that isn't one of properties.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Unreadable {
    line: usize,
    what: &'static str,
}

// === impl Properties ===

impl Properties {
    /// Reads a file. A name that is there twice has its last value, as in Debezium.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        let mut written = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((place, line)) = lines.next() {
            let mut logical = line.trim_start().to_owned();
            if logical.is_empty() || logical.starts_with(['#', '!']) {
                continue;
            }
            // An odd number of backslashes at the end: the last one isn't escaped itself.
            while (logical.len() - logical.trim_end_matches('\\').len()) % 2 == 1 {
                logical.pop();
                logical += lines.next().map(|(_, more)| more.trim_start()).unwrap_or_default();
            }
            let (name, value) = parted(&logical);
            let unescaped = |text: &str| unescaped(text).map_err(|what| Unreadable { line: place + 1, what });
            written.push((unescaped(name)?, Setting { value: unescaped(value)?, line: place + 1 }));
        }
        let (settings, doubts) = settle(written);
        Ok(Self { settings, doubts })
    }

    /// What the file says of a setting.
    #[must_use]
    pub fn said(&self, name: &str) -> Said<'_> {
        match self.settings.get(name).map(|setting| setting.value.trim()) {
            None => Said::Nothing,
            Some(value) if value.contains("${") => Said::Elsewhere,
            Some(value) => Said::Value(value),
        }
    }

    /// A setting's line, counted from 1.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<usize> {
        self.settings.get(name).map(|setting| setting.line)
    }

    /// The names of all settings that begin so.
    pub fn beginning<'p>(&'p self, with: &'p str) -> impl Iterator<Item = &'p str> {
        self.settings.keys().map(String::as_str).filter(move |name| name.starts_with(with))
    }

    /// What is said of settings so that nobody can tell what counts.
    pub(super) fn doubts(&self) -> &[Doubt] {
        &self.doubts
    }
}

/// Name and value: what stands before and after the first `=`, `:` or blank that isn't escaped.
fn parted(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, letter)| {
        let ends = !escaped && matches!(letter, '=' | ':' | ' ' | '\t' | '\x0c');
        escaped = *letter == '\\' && !escaped;
        ends
    });
    let Some((end, _)) = end else { return (line, "") };
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    (name, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start())
}

fn unescaped(text: &str) -> Result<String, &'static str> {
    const UNICODE: &str = "\\u is followed by four hexadecimal digits";
    let mut units = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            '\\' => match letters.next() {
                Some('u') => {
                    let digits: String = letters.by_ref().take(4).collect();
                    let unit = u16::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                    units.push(unit.ok_or(UNICODE)?);
                    continue;
                }
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
    }
    String::from_utf16(&units).map_err(|_| "half of a character's two units")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_java_reads_it() {
        let text =
            "# a=1\n! b=2\n\n  c = x y \nd:1\ne 2\nf=a\\\n   b\\\\\ng=\\u00fc\\t\\=\nh\\ i=3\nc=last\nj\n";
        let read = Properties::read(text).unwrap();
        let got: Vec<_> =
            read.settings.iter().map(|(name, s)| (name.as_str(), s.value.as_str(), s.line)).collect();
        assert_eq!(
            got,
            [
                ("c", "last", 11),
                ("d", "1", 5),
                ("e", "2", 6),
                ("f", "ab\\", 7),
                ("g", "ü\t=", 9),
                ("h i", "3", 10),
                ("j", "", 12),
            ]
        );
        assert_eq!(
            Properties::read("a=1\nb=\\u12").unwrap_err().to_string(),
            "line 2: \\u is followed by four hexadecimal digits"
        );
    }

    #[test]
    fn what_is_left_to_the_environment_is_not_guessed() {
        let read = Properties::read("a=${A:1}\nb=2").unwrap();
        assert_eq!(
            ["a", "b", "c"].map(|name| read.said(name)),
            [Said::Elsewhere, Said::Value("2"), Said::Nothing]
        );
    }
}
