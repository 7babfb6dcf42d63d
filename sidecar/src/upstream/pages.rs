//! Answers in pages: where the next one is, and how all become one value.

use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::{HeaderMap, header::LINK};
use serde_json::value::RawValue;
use url::Url;

/// A page that isn't a JSON array. No text of it carries a part of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it isn't a JSON array")]
pub struct NoArray;

/// A place that isn't below the same scheme, host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it leads elsewhere than to the upstream's own scheme, host and port")]
pub struct Elsewhere;

/// Where a reference leads from `base`, as path and query, if it stays at the same scheme, host and port.
pub fn follow(base: &Url, reference: &str) -> Result<Url, Elsewhere> {
    let mut place = base.join(reference).map_err(|_| Elsewhere)?;
    let stays = place.origin() == base.origin() && place.origin().is_tuple();
    let plain = place.username().is_empty() && place.password().is_none();
    place.set_fragment(None);
    if stays && plain { Ok(place) } else { Err(Elsewhere) }
}

/// The reference of the `Link` with `rel=next`, if there is one.
#[must_use]
pub fn next(head: &HeaderMap) -> Option<String> {
    head.get_all(LINK).iter().filter_map(|line| line.to_str().ok()).find_map(next_in)
}

/// RFC 8288: `<reference>; name=value; name="value", <reference>…`.
fn next_in(mut text: &str) -> Option<String> {
    loop {
        text = text.trim_start_matches([',', ' ', '\t']);
        let (reference, rest) = text.strip_prefix('<')?.split_once('>')?;
        let (mut is_next, mut seen, mut rest) = (false, false, rest);
        while let Some(parameter) = rest.trim_start().strip_prefix(';') {
            let parameter = parameter.trim_start();
            let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
            let (name, after) = parameter.split_at(end);
            let (value, left) = match after.strip_prefix('=') {
                None => (String::new(), after),
                Some(after) => value(after.trim_start()),
            };
            // Of several, only the first `rel` counts.
            if name.trim().eq_ignore_ascii_case("rel") && !seen {
                seen = true;
                is_next = value.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"));
            }
            rest = left;
        }
        if is_next {
            return Some(reference.trim().to_owned());
        }
        text = rest.trim_start().strip_prefix(',')?;
    }
}

/// A token or quoted text, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut out, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (out, &quoted[at + 1..]),
            '\\' => out.extend(chars.next().map(|(_, c)| c)),
            c => out.push(c),
        }
    }
    (out, "")
}

/// One array of the elements of all, each as it was written.
pub fn merge(pages: &[Bytes]) -> Result<Bytes, NoArray> {
    let mut merged = BytesMut::with_capacity(pages.iter().map(Bytes::len).sum::<usize>() + 2);
    merged.put_u8(b'[');
    let mut first = true;
    for page in pages {
        let elements: Vec<&RawValue> = serde_json::from_slice(page).map_err(|_| NoArray)?;
        for element in elements {
            if !first {
                merged.put_u8(b',');
            }
            first = false;
            merged.put_slice(element.get().as_bytes());
        }
    }
    merged.put_u8(b']');
    Ok(merged.freeze())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn next_of(lines: &[&str]) -> Option<String> {
        let head: HeaderMap = lines.iter().map(|line| (LINK, HeaderValue::from_str(line).unwrap())).collect();
        next(&head)
    }

    #[test]
    fn the_next_page_is_found() {
        for lines in [
            vec!["<https://a/x?page=2>; rel=\"next\", <https://a/x?page=9>; rel=\"last\""],
            vec!["<https://a/x?page=1>; rel=\"prev\" , <https://a/x?page=2> ; REL=next"],
            vec!["<https://a/x?page=2>;title=\"a, <b>; rel=prev\";rel=\"last next\""],
            vec!["<https://a/x?page=2>; rel=next; rel=prev"],
            vec!["<https://a/y>; rel=first", "<https://a/x?page=2>; rel=next"],
            vec!["<https://a/,;y>; foo; rel=up,<https://a/x?page=2>;rel=next"],
        ] {
            assert_eq!(next_of(&lines).as_deref(), Some("https://a/x?page=2"), "{lines:?}");
        }
        for lines in [
            vec![],
            vec!["<https://a/x>; rel=last"],
            vec!["https://a/x; rel=next"],
            vec!["<https://a/x; rel=next"],
            vec!["<https://a/x>; rel=prev; rel=next"],
            vec!["<https://a/x>; title=\"rel=next"],
            vec![""],
        ] {
            assert_eq!(next_of(&lines), None, "{lines:?}");
        }
    }

    #[test]
    fn a_reference_stays_where_it_is() {
        let base = Url::parse("https://a.example/x/y?z").unwrap();
        for (reference, path) in [
            ("/b?c", "/b?c"),
            ("https://a.example/b", "/b"),
            ("https://a.example:443/b", "/b"),
            ("//a.example/b", "/b"),
            ("HTTPS://A.EXAMPLE/b#c", "/b"),
            ("?page=2", "/x/y?page=2"),
            ("w", "/x/w"),
            ("../../../w", "/w"),
        ] {
            let place = follow(&base, reference).unwrap();
            assert_eq!(&place[url::Position::BeforePath..], path, "{reference}");
        }
        for reference in [
            "http://a.example/b",
            "https://a.example:444/b",
            "https://b.example/",
            "//b.example/",
            "https://u:p@a.example/",
            "\\\\b.example\\x",
            "https:\\\\b.example",
            "file:///etc/passwd",
            "data:,x",
            "https://",
        ] {
            assert_eq!(follow(&base, reference), Err(Elsewhere), "{reference}");
        }
    }

    #[test]
    fn pages_that_are_no_arrays_are_refused() {
        let merged = merge(&["[1, {\"a\": 1.00}]".into(), " [ ]\n".into(), "[\"x\"]".into()]).unwrap();
        assert_eq!(merged, "[1,{\"a\": 1.00},\"x\"]");
        assert_eq!(merge(&["[]".into()]).unwrap(), "[]");
        for page in ["", "{}", "[1", "[1]]", "[1] x", "null", "\"[]\"", "[\u{0}]"] {
            assert_eq!(merge(&["[1]".into(), page.to_owned().into()]), Err(NoArray), "{page}");
        }
        assert_eq!(merge(&[Bytes::from_static(b"[\"\xff\"]")]), Err(NoArray));
        assert_eq!(merge(&[vec![b'['; 1_000_000].into()]), Err(NoArray), "what nests too deep");
    }

    proptest! {
        #[test]
        fn no_element_is_lost_or_moved(pages in prop::collection::vec(prop::collection::vec(any::<i64>(), 0..5), 0..5)) {
            let texts: Vec<Bytes> =
                pages.iter().map(|page| serde_json::to_vec_pretty(page).unwrap().into()).collect();
            let merged: Value = serde_json::from_slice(&merge(&texts).unwrap()).unwrap();
            prop_assert_eq!(merged, serde_json::to_value(pages.concat()).unwrap());
        }

        #[test]
        fn no_link_panics(text in "[ -~]{0,60}") {
            if let Ok(line) = HeaderValue::from_str(&text) {
                let _ = next(&[(LINK, line)].into_iter().collect());
            }
        }
    }
}
