//! What a request's headers ask for, parsed.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    HeaderMap,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, IF_NONE_MATCH},
};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::{fill::unsupported_coding, problem::Problem};
use crate::{
    coding::Coding,
    engine::Wanted,
    position::{NoPosition, Position},
    upstream::judge::Wants,
};

/// The longest that a request waits, whatever it prefers.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What a read asks for.
#[derive(Debug, Default)]
pub(crate) struct ReadDirectives {
    /// Nothing but what is cached.
    pub(crate) only_if_cached: bool,
    /// How long it may wait for what it wants.
    pub(crate) wait: Option<Duration>,
    reload: bool,
    max_age: Option<Duration>,
    max_staleness: Option<Duration>,
    min_positions: Positions,
}

/// Positions by source.
pub(crate) type Positions = Vec<(String, Position)>;

impl ReadDirectives {
    /// Without `sources` it isn't known which there are, and a position may name any.
    pub(crate) fn parse(headers: &HeaderMap, sources: Option<&[&str]>) -> Result<Self, Problem> {
        let mut read = Self::default();
        for (name, value) in cache_control(headers) {
            match (name.as_str(), value) {
                ("no-cache" | "no-store", _) => read.reload = true,
                ("only-if-cached", _) => read.only_if_cached = true,
                ("max-age", Some(seconds)) => {
                    read.max_age = Some(Duration::from_secs(whole(&seconds, "max-age")?));
                }
                _ => {}
            }
        }
        if let Some(text) = header(headers, "freshet-max-staleness")? {
            read.max_staleness = Some(Duration::from_millis(whole(text, "Freshet-Max-Staleness")?));
        }
        if let Some(text) = header(headers, "freshet-min-position")? {
            read.min_positions = positions(text, "Freshet-Min-Position", sources)?;
        }
        read.wait = preferred_wait(headers);
        Ok(read)
    }

    /// What it asks of an upstream cache.
    pub(crate) fn of_upstream(&self, accept: Option<Bytes>) -> Wants {
        Wants { reload: self.reload, max_age: self.max_age, only_if_cached: self.only_if_cached, accept }
    }

    /// What it asks of a cache of this source.
    pub(crate) fn wanted(&self, source: &str, lease: bool) -> Wanted<'_> {
        Wanted {
            reload: self.reload,
            max_age: self.max_age,
            max_staleness: self.max_staleness,
            min_position: self.min_positions.iter().find(|(name, _)| name == source).map(|(_, p)| p),
            lease: lease && !self.only_if_cached,
            again: false,
        }
    }
}

/// `Prefer: wait=N` of RFC 7240, decimals allowed. As with all preferences, what can't be read isn't one.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences =
        headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let wait = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let seconds = value.trim().trim_matches('"');
        let plain = seconds.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let seconds = plain.then(|| seconds.parse().ok()).flatten()?;
        name.trim()
            .eq_ignore_ascii_case("wait")
            .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(MAX_WAIT))
    });
    wait.map(|wait| wait.min(MAX_WAIT)).next()
}

/// What a fill says of its value.
#[derive(Debug, Default)]
pub(crate) struct FillDirectives {
    pub(crate) max_age: Option<Duration>,
    pub(crate) age: Duration,
    pub(crate) absent: bool,
    positions: Positions,
}

impl FillDirectives {
    pub(crate) fn parse(headers: &HeaderMap, sources: &[&str]) -> Result<Self, Problem> {
        let mut fill = Self::default();
        for (name, value) in cache_control(headers) {
            match (name.as_str(), value) {
                ("max-age", Some(seconds)) => {
                    fill.max_age = Some(Duration::from_secs(whole(&seconds, "max-age")?));
                }
                ("no-store", _) => fill.max_age = Some(Duration::ZERO),
                _ => {}
            }
        }
        if let Some(text) = header(headers, "age")? {
            fill.age = Duration::from_secs(whole(text, "Age")?);
        }
        if let Some(text) = header(headers, "freshet-absent")? {
            fill.absent = match text.trim() {
                "?1" => true,
                "?0" => false,
                _ => return Err(bad_header("Freshet-Absent is ?1 or ?0")),
            };
        }
        if let Some(text) = header(headers, "freshet-position")? {
            fill.positions = positions(text, "Freshet-Position", Some(sources))?;
        }
        Ok(fill)
    }

    /// What is said without headers; the position as a header would say it.
    pub(crate) fn new(
        max_age: Option<Duration>,
        age: Duration,
        absent: bool,
        position: Option<&str>,
        sources: &[&str],
    ) -> Result<Self, Problem> {
        let positions = position.map(|text| positions(text, "position", Some(sources))).transpose()?;
        Ok(Self { max_age, age, absent, positions: positions.unwrap_or_default() })
    }

    /// The position in this source's database at which the value was read.
    pub(crate) fn position(&mut self, source: &str) -> Option<Position> {
        let at = self.positions.iter().position(|(name, _)| name == source)?;
        Some(self.positions.swap_remove(at).1)
    }
}

/// Which of these entity tags is among those that the client has. Weak comparison, as RFC 9110 asks for reads; `*` is
/// the first.
pub(crate) fn none_match<'a>(headers: &HeaderMap, etags: &[&'a Bytes]) -> Option<&'a Bytes> {
    let lines = headers.get_all(IF_NONE_MATCH).iter();
    let mut had = lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    had.find_map(|tag| {
        let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
        etags.iter().find(|etag| tag == b"*" || tag == ***etag).copied()
    })
}

/// The coding of a request's body; `None` if it has none.
pub(crate) fn content_coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let lines = headers.get_all(CONTENT_ENCODING).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let names = names.map(|name| std::str::from_utf8(name).unwrap_or("?").trim());
    let mut codings = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    match (codings.next(), codings.next()) {
        (None, _) => Ok(None),
        (Some(name), None) if let Some(coding) = Coding::named(name) => Ok(Some(coding)),
        _ => Err(unsupported_coding(format!("values are in one of {}, or in no encoding", Coding::NAMES))),
    }
}

/// Whether a client says that it takes a coding. One that says nothing of codings may know none.
pub(crate) fn accepts(headers: &HeaderMap, coding: Coding) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let mut any = false;
    for item in lines.flat_map(|line| line.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        let taken = weight.is_none_or(|q| q.parse::<f32>().is_ok_and(|q| q > 0.0));
        if Coding::named(name) == Some(coding) {
            return taken;
        }
        any |= name == "*" && taken;
    }
    any
}

/// Whether a Content-Type is `wanted`, whatever its parameters. Types are told apart without regard to case.
pub(crate) fn is_media_type(given: &[u8], wanted: &str) -> bool {
    let essence = given.split(|b| *b == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}

/// The text of a header of ours, which must be ASCII.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    headers
        .get(name)
        .map(|value| value.to_str().map_err(|_| bad_header(format!("{name} has bytes that aren't ASCII"))))
        .transpose()
}

fn cache_control(headers: &HeaderMap) -> impl Iterator<Item = (String, Option<String>)> {
    headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| {
        value.split(',').map(|directive| {
            let (name, value) = directive.split_once('=').map_or((directive, None), |(n, v)| (n, Some(v)));
            (name.trim().to_ascii_lowercase(), value.map(|v| v.trim().trim_matches('"').to_owned()))
        })
    })
}

fn whole(text: &str, name: &str) -> Result<u64, Problem> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad_header(format!(
            "{name} is a whole number, not `{}`",
            text.chars().take(32).collect::<String>()
        )));
    }
    // More digits than fit mean "for ever", as RFC 9111 has it.
    Ok(text.parse().unwrap_or(u64::from(u32::MAX)).min(u64::from(u32::MAX)))
}

/// Reads positions: an RFC 9651 dictionary of strings by source.
fn positions(text: &str, name: &'static str, sources: Option<&[&str]>) -> Result<Positions, Problem> {
    let fault =
        |detail: String| Problem::bad_request("position", "Not a position", format!("{name} {detail}"));
    let dictionary = Parser::new(text)
        .parse::<Dictionary>()
        .map_err(|_| fault("is a dictionary by source, as in `cdc=\"lsn:0/157D6E8\"`".into()))?;
    let mut positions = Positions::new();
    for (source, entry) in &dictionary {
        if sources.is_some_and(|sources| !sources.contains(&source.as_str())) {
            return Err(fault(format!(
                "names the source `{}`, which the binding doesn't have",
                source.as_str()
            )));
        }
        let ListEntry::Item(Item { bare_item: BareItem::String(position), .. }) = entry else {
            return Err(fault("has text values, as in `cdc=\"lsn:0/157D6E8\"`".into()));
        };
        let position = position
            .as_str()
            .parse()
            .map_err(|e: NoPosition| fault(format!("of `{}` is none: {e}", source.as_str())))?;
        positions.push((source.as_str().to_owned(), position));
    }
    if positions.is_empty() { Err(fault("is empty".into())) } else { Ok(positions) }
}

fn bad_header(detail: impl Into<String>) -> Problem {
    Problem::bad_request("header", "A header isn't understood", detail)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::{
        HeaderMap,
        header::{ACCEPT_ENCODING, HeaderValue, IF_NONE_MATCH},
    };

    use super::{accepts, is_media_type, none_match};
    use crate::coding::Coding;

    #[test]
    fn a_coding_is_taken_by_name_before_the_rest() {
        for (line, takes) in [
            ("gzip", true),
            ("br, gzip;q=0.1", true),
            ("x-gzip", true),
            ("*", true),
            ("*;q=0, gzip", true),
            ("GZIP ; q=1", true),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*, gzip; Q=0", false),
            ("*;q=0", false),
            ("br", false),
            ("identity", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(line));
            assert_eq!(accepts(&headers, Coding::Gzip), takes, "{line}");
        }
        assert!(!accepts(&HeaderMap::new(), Coding::Gzip), "who says nothing may know none");
    }

    #[test]
    fn either_forms_tag_is_one_of_the_value() {
        let (plain, coded) = (Bytes::from_static(b"\"a\""), Bytes::from_static(b"\"b\""));
        for (line, matched) in [
            ("\"b\"", Some(&coded)),
            ("\"x\", W/\"a\"", Some(&plain)),
            ("*", Some(&coded)),
            ("\"c\"", None),
            ("a", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static(line));
            assert_eq!(none_match(&headers, &[&coded, &plain]), matched, "{line}");
        }
    }

    #[test]
    fn a_media_type_is_told_without_its_parameters() {
        for (given, is) in [
            ("application/vnd.x+json", true),
            ("application/vnd.x+json; charset=utf-8", true),
            ("Application/Vnd.X+JSON ;charset=utf-8", true),
            ("application/vnd.x+json2", false),
            ("text/plain; a=application/vnd.x+json", false),
            ("", false),
        ] {
            assert_eq!(is_media_type(given.as_bytes(), "application/vnd.x+json"), is, "{given}");
        }
    }
}
