//! What becomes of the parts of a rendered manifest that only a newer version knows.
//!
//! Such a cache, each cache of such a source, such a view and each view of such a cache is taken out of the binding and is
//! off; all others go on.

use std::{borrow::Cow, collections::BTreeSet};

use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::{Newer, Step, display};
use crate::{Cache, CacheBindingSpec, Source, View, binding};

/// The manifest without the sources, caches and views in which a known field has a value of an unknown kind. What has no name
/// stays, since nobody could be told of it.
pub(super) fn without_unreadable<'t>(
    text: &'t str,
    newer: &mut Newer,
) -> Result<Cow<'t, str>, serde_yaml::Error> {
    let mut manifest: Value = serde_yaml::from_str(text)?;
    let Some(spec) = manifest.get_mut("spec") else { return Ok(Cow::Borrowed(text)) };
    let sources = take_unreadable::<Source>(spec, "sources");
    let caches = take_unreadable::<Cache>(spec, "caches");
    let views = take_unreadable::<View>(spec, "views");
    if sources.is_empty() && caches.is_empty() && views.is_empty() {
        return Ok(Cow::Borrowed(text));
    }
    newer.fields.extend(sources.iter().map(|name| format!("spec.sources[{name}]")));
    newer.sources.extend(sources);
    newer.caches.extend(caches);
    newer.views.extend(views);
    serde_yaml::to_string(&manifest).map(Cow::Owned)
}

fn take_unreadable<T: DeserializeOwned>(spec: &mut Value, list: &str) -> BTreeSet<String> {
    let Some(Value::Sequence(items)) = spec.get_mut(list) else { return BTreeSet::new() };
    let mut taken = BTreeSet::new();
    items.retain(|item| match item.get("name").and_then(Value::as_str) {
        Some(name) if T::deserialize(item).is_err() => {
            taken.insert(name.to_owned());
            false
        }
        _ => true,
    });
    taken
}

/// Takes out of the spec what has `unknown` fields and can't be used without them.
pub(super) fn take_out(spec: &mut CacheBindingSpec, unknown: &[Vec<Step>], newer: &mut Newer) {
    for path in unknown {
        match path.as_slice() {
            [Step::Field(top), Step::Field(list), Step::Index(i), ..]
                if top == "spec" && list == "caches" =>
            {
                newer.caches.insert(spec.caches[*i].name.clone());
            }
            [Step::Field(top), Step::Field(list), Step::Index(i), ..] if top == "spec" && list == "views" => {
                newer.views.insert(spec.views[*i].name.clone());
            }
            [Step::Field(top), Step::Field(list), Step::Index(i), rest @ ..]
                if top == "spec" && list == "sources" =>
            {
                let source = &spec.sources[*i];
                newer.fields.push(format!("spec.sources[{}].{}", source.name, display(rest)));
                if !binding::follows(source) {
                    newer.sources.insert(source.name.clone());
                }
            }
            _ => newer.fields.push(display(path)),
        }
    }
    // Without a source of its own a cache belongs to the only one there is, which only the newer version can tell.
    let of_tables = spec.caches.iter().filter(|cache| cache.upstream.is_none());
    let lost = of_tables.filter(|cache| match &cache.source {
        Some(source) => newer.sources.contains(source),
        None => !newer.sources.is_empty(),
    });
    newer.caches.extend(lost.map(|cache| cache.name.clone()));
    let lost = spec.views.iter().filter(|view| newer.caches.contains(&view.cache));
    newer.views.extend(lost.map(|view| view.name.clone()));
    spec.views.retain(|view| !newer.views.contains(&view.name));
    spec.sources.retain(|source| !newer.sources.contains(&source.name));
    spec.caches.retain(|cache| !newer.caches.contains(&cache.name));
}
