//! The value that a JSON pointer means, as it is written: nothing else of the document is read.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// What is at these steps of a JSON text: names of members, and places in arrays. Of a name that is there twice the last
/// counts. `None` if nothing is, or the text isn't JSON.
#[must_use]
pub fn find<'a>(json: &'a str, steps: &[Box<str>]) -> Option<&'a RawValue> {
    let mut reader = serde_json::Deserializer::from_str(json);
    Find(steps).deserialize(&mut reader).ok()?
}

struct Find<'p>(&'p [Box<str>]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

/// Of anything but an object or array it is an error, which is as good as nothing.
impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Some((name, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        while let Some(is_here) = map.next_key_seed(Name(name))? {
            if is_here {
                found = map.next_value_seed(Inner(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Ok(None) };
        let is_index = &**step == "0" || !step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit());
        let index: Option<usize> = step.parse().ok().filter(|_| is_index);
        let mut found = None;
        for at in 0.. {
            if Some(at) == index {
                match items.next_element_seed(Inner(rest))? {
                    Some(value) => found = value,
                    None => break,
                }
            } else if items.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// What is further in: a value in which there is nothing further is no error of what is around it.
struct Inner<'p>(&'p [Box<str>]);

impl<'de> DeserializeSeed<'de> for Inner<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let value: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        Ok(if self.0.is_empty() { Some(value) } else { find(value.get(), self.0) })
    }
}

/// Whether a member has this name. Bytes, since a name may have what no text has: half a surrogate pair.
struct Name<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<bool, E> {
        Ok(name == self.0.as_bytes())
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use freshet_crds::json_pointer::JsonPointer;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::find;

    fn at<'a>(json: &'a str, pointer: &str) -> Option<&'a str> {
        let pointer: JsonPointer = pointer.parse().unwrap();
        find(json, pointer.steps()).map(serde_json::value::RawValue::get)
    }

    #[test]
    fn what_is_meant_is_found_as_it_is_written() {
        let json =
            r#" {"a": {"b": [10, 1e2 , {"c~/": -0.50}]}, "n": null, "": 7, "x": 1, "x": 2, "A": "\ud83d"} "#;
        for (pointer, found) in [
            ("/a/b/0", Some("10")),
            ("/a/b/1", Some("1e2")),
            ("/a/b/2/c~0~1", Some("-0.50")),
            ("/a/b/2", Some(r#"{"c~/": -0.50}"#)),
            ("/n", Some("null")),
            ("/", Some("7")),
            ("/x", Some("2")),
            ("/a/b/3", None),
            ("/a/b/00", None),
            ("/a/b/01", None),
            ("/a/b/-", None),
            ("/a/b/+1", None),
            ("/a/b/99999999999999999999", None),
            ("/x/y", None),
            ("/a/c", None),
            ("/A/b", None),
        ] {
            assert_eq!(at(json, pointer), found, "{pointer}");
        }
        assert_eq!(at("[1]", ""), Some("[1]"));
        assert_eq!(at("5", "/a"), None);
        assert_eq!(at("1e999", "/a"), None);
        // A name that is no text, and a number that no machine has, hide nothing that is beside them.
        assert_eq!(at(r#"{"\ud83d": 1, "b": 1e999, "a": {"\udc00": 2, "c": 3}}"#, "/a/c"), Some("3"));
        assert_eq!(at(r#"{"\u0061": 4}"#, "/a"), Some("4"));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c~/\"\\\\é]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c0-2~/]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// serde_json's own pointers, which read all of the document first, find the same.
        #[test]
        fn it_finds_what_a_reader_of_all_finds(
            json in json(),
            steps in prop::collection::vec("[a-c0-2~/]{0,2}", 0..4),
        ) {
            let steps: Vec<_> = steps.iter().map(|s| s.replace('~', "~0").replace('/', "~1")).collect();
            let pointer = if steps.is_empty() { String::new() } else { format!("/{}", steps.join("/")) };
            for text in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
                let found = at(&text, &pointer).map(|text| serde_json::from_str::<Value>(text).unwrap());
                prop_assert_eq!(found.as_ref(), json.pointer(&pointer));
            }
        }
    }
}
