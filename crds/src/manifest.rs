//! Reading a CacheBinding manifest: strictly when a person wrote it, tolerantly when an operator rendered it.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{
    CacheBinding,
    binding::{Binding, Invalid},
    names,
};

mod newer;
mod weight;

/// A manifest as read.
#[derive(Debug)]
pub struct Manifest {
    /// The object, without the parts that are newer.
    pub object: CacheBinding,
    /// The operator's version, if one rendered it.
    pub rendered_by: Option<String>,
    /// What this version doesn't know; only in rendered manifests.
    pub newer: Newer,
}

/// What a newer operator rendered and this version doesn't know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Newer {
    /// Names of caches with a field or a value that this version doesn't know, and of those whose source is newer.
    pub caches: BTreeSet<String>,
    /// Names of views with a field or a value that this version doesn't know, and of those whose cache is newer.
    pub views: BTreeSet<String>,
    /// Names of sources that this version can't follow, because what it would need to know is in unknown fields.
    pub sources: BTreeSet<String>,
    /// All unknown fields and unreadable sources that are in neither caches nor views, as in `spec.sources[cdc].filter`.
    pub fields: Vec<String>,
}

/// Why a manifest can't be read. Lines and columns count from 1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// Not YAML, a missing field or a wrong type; the text has the line.
    #[error("{0}")]
    Malformed(String),
    /// Another kind of object.
    #[error("this is a {found}, not a freshet.dev/v1alpha1 CacheBinding")]
    WrongKind {
        /// `apiVersion kind` of what it is.
        found: String,
    },
    /// A field that doesn't exist.
    #[error("unknown field `{path}`{}", .line.map(|l| format!(" at line {l}")).unwrap_or_default())]
    UnknownField {
        /// Where it is, as in `spec.caches[0].tabel`.
        path: String,
        /// Its line, if it could be found.
        line: Option<usize>,
    },
}

impl Manifest {
    /// Checks the binding, the parts that are newer excepted.
    pub fn binding(&self) -> Result<Binding, Vec<Invalid>> {
        Binding::parse_beside(&self.object, &self.newer)
    }
}

/// Reads a manifest, YAML or JSON.
///
/// With the annotation [`names::RENDERED_BY`] what is unknown is collected; without it the first unknown field is an
/// error.
pub fn read(text: &str) -> Result<Manifest, ReadError> {
    let malformed = |e: serde_yaml::Error| ReadError::Malformed(e.to_string());
    weight::check(text)?;
    let head: Head = serde_yaml::from_str(text).map_err(malformed)?;
    if head.api_version != "freshet.dev/v1alpha1" || head.kind != "CacheBinding" {
        return Err(ReadError::WrongKind {
            found: format!("{} {}", head.api_version, head.kind).trim().into(),
        });
    }
    let mut newer = Newer::default();
    let rendered_by = head.metadata.annotations.unwrap_or_default().remove(names::RENDERED_BY);
    let text = match rendered_by {
        Some(_) => newer::without_unreadable(text, &mut newer).map_err(malformed)?,
        None => Cow::Borrowed(text),
    };
    let mut unknown = Vec::new();
    let mut object: CacheBinding =
        serde_ignored::deserialize(serde_yaml::Deserializer::from_str(&text), |path| {
            unknown.push(steps(&path));
        })
        .map_err(malformed)?;
    // Kubernetes' own fields aren't ours to judge.
    unknown.retain(|path| match path.first() {
        Some(Step::Field(name)) => !matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"),
        _ => true,
    });
    if rendered_by.is_some() {
        newer::take_out(&mut object.spec, &unknown, &mut newer);
    } else if let Some(path) = unknown.first() {
        return Err(ReadError::UnknownField { path: display(path), line: line_of(&text, path) });
    }
    Ok(Manifest { object, rendered_by, newer })
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: HeadMetadata,
}

#[derive(Default, serde::Deserialize)]
struct HeadMetadata {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

fn steps(path: &serde_ignored::Path<'_>) -> Vec<Step> {
    use serde_ignored::Path;
    let (parent, step) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Step::Index(*index))),
        Path::Map { parent, key } => (parent, Some(Step::Field(key.clone()))),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            (parent, None)
        }
    };
    let mut all = steps(parent);
    all.extend(step);
    all
}

fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) if text.is_empty() => text.push_str(name),
            Step::Field(name) => text.extend([".", name]),
            Step::Index(i) => text.extend(["[", &i.to_string(), "]"]),
        }
    }
    text
}

/// The line of a field: walks to it and fails at its key, because errors are what the YAML reader puts lines on.
fn line_of(text: &str, path: &[Step]) -> Option<usize> {
    let error = Seek { path }.deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|l| l.line())
}

/// Descends along a path; ends in an error at its last step.
struct Seek<'p> {
    path: &'p [Step],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        match self.path.first() {
            Some(Step::Field(_)) => d.deserialize_map(self),
            Some(Step::Index(_)) => d.deserialize_seq(self),
            None => d.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path that was read before")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Field(name), rest)) = self.path.split_first() else { return Ok(()) };
        while let Some(here) = map.next_key_seed(Key { name, last: rest.is_empty() })? {
            if here {
                return map.next_value_seed(Seek { path: rest });
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Index(index), rest)) = self.path.split_first() else { return Ok(()) };
        for _ in 0..*index {
            seq.next_element::<IgnoredAny>()?;
        }
        seq.next_element_seed(Seek { path: rest }).map(drop)
    }
}

/// Reads a key and tells whether it is the wanted one; if that is the path's last step, fails on it.
struct Key<'p> {
    name: &'p str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<bool, D::Error> {
        d.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        if text != self.name {
            Ok(false)
        } else if self.last {
            Err(E::custom("here"))
        } else {
            Ok(true)
        }
    }
}
