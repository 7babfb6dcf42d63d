//! The rules about `spec.views`.

use super::{Faults, is_name};
use crate::{
    Cache, Condition, View,
    binding::{ConditionSpec, Test, UpstreamSpec, VIEW_KEY_FORM, ViewSpec},
    json_pointer::{JsonPointer, POINTER_FORM},
    refusals,
    rest::Rest,
    view::MAX_OPERAND,
};

/// The range of `limit`.
const ITEMS: std::ops::RangeInclusive<u32> = 1..=1000;

impl Faults {
    /// `None` if anything of it can't be read. `upstreams` are those of the `caches` that could be read.
    pub(in crate::binding) fn view(
        &mut self,
        view: &View,
        caches: &[Cache],
        upstreams: &[UpstreamSpec],
    ) -> Option<ViewSpec> {
        let path = format!("spec.views[{}]", view.name);
        if !is_name(&view.name) {
            self.add(format!("{path}.name"), refusals::VIEW_NAME_FORM);
        }
        let cache = caches.iter().find(|cache| cache.name == view.cache);
        match cache.filter(|cache| cache.upstream.is_some() || cache.warm_start) {
            None => {
                self.add(format!("{path}.cache"), format!("`{}`: {}", view.cache, refusals::VIEW_NEEDS_ALL));
            }
            Some(cache) if cache.upstream.is_some() == view.keys.is_empty() => {
                self.add(format!("{path}.keys"), refusals::VIEW_KEYS_OF_UPSTREAM);
            }
            Some(_) => {}
        }
        if view.keys.len() > 64 {
            self.add(format!("{path}.keys"), "a view has at most 64 keys");
        }
        self.unique(&format!("{path}.keys"), view.keys.iter().map(String::as_str));
        let upstream = upstreams.iter().find(|upstream| upstream.name == view.cache);
        for key in &view.keys {
            if key.starts_with('_') {
                self.add(format!("{path}.keys"), format!("`{key}`: {}", refusals::VIEW_KEY_RESERVED));
            }
            match Rest::parse(key) {
                Err(_) => self.add(format!("{path}.keys"), format!("`{key}`: {VIEW_KEY_FORM}")),
                Ok(rest) => {
                    if let Some(upstream) = upstream
                        && !rest.is_allowed(&upstream.allow)
                    {
                        self.add(format!("{path}.keys"), format!("`{key}`: {}", refusals::VIEW_KEY_ALLOWED));
                    }
                }
            }
        }
        if !ITEMS.contains(&view.limit) {
            self.add(format!("{path}.limit"), "limit is a number from 1 to 1000");
        }
        if view.filter.len() > 8 {
            self.add(format!("{path}.filter"), "a filter has at most 8 conditions");
        }
        self.unique(&format!("{path}.filter"), view.filter.iter().map(|c| c.pointer.as_str()));
        let order_by = self.pointer(&format!("{path}.orderBy"), &view.order_by);
        let filter: Vec<_> = view.filter.iter().map(|c| self.condition(&path, c)).collect();
        if view.keys.is_empty() {
            let columns = cache.map(|cache| cache.columns.as_slice()).unwrap_or_default();
            let filters = view.filter.iter().zip(&filter).filter_map(|(c, read)| {
                Some((format!("{path}.filter[{}].pointer", c.pointer), &read.as_ref()?.pointer))
            });
            let order = order_by.as_ref().map(|pointer| (format!("{path}.orderBy"), pointer));
            for (path, pointer) in order.into_iter().chain(filters) {
                self.column(&path, pointer, columns);
            }
        }
        Some(ViewSpec {
            name: view.name.clone(),
            cache: view.cache.clone(),
            keys: view.keys.iter().map(|key| key.as_str().into()).collect(),
            order_by: order_by?,
            order_as: view.order_as,
            order: view.order,
            limit: view.limit.try_into().ok()?,
            filter: filter.into_iter().collect::<Option<_>>()?,
        })
    }

    fn pointer(&mut self, path: &str, text: &str) -> Option<JsonPointer> {
        let pointer = text.parse();
        if pointer.is_err() {
            self.add(path, format!("`{text}`: {POINTER_FORM}"));
        }
        pointer.ok()
    }

    /// What of a row is meant has to be in its value, which has these columns; none: all.
    fn column(&mut self, path: &str, pointer: &JsonPointer, columns: &[String]) {
        match pointer.steps().first() {
            None => self.add(path, refusals::VIEW_OF_COLUMNS),
            Some(column) if columns.is_empty() || columns.iter().any(|known| **known == **column) => {}
            Some(column) => {
                self.add(
                    path,
                    format!("`{column}` isn't among the cache's columns: add it there, or leave it out here"),
                );
            }
        }
    }

    fn condition(&mut self, path: &str, condition: &Condition) -> Option<ConditionSpec> {
        let path = format!("{path}.filter[{}]", condition.pointer);
        let operands = [
            (&condition.equals, "equals", Test::Equals as fn(Box<str>) -> Test),
            (&condition.not_equals, "notEquals", Test::NotEquals),
            (&condition.at_least, "atLeast", Test::AtLeast),
            (&condition.at_most, "atMost", Test::AtMost),
        ];
        let mut tests: Vec<_> = condition.exists.map(Test::Exists).into_iter().collect();
        for (operand, field, test) in operands {
            let Some(operand) = operand else { continue };
            // The schema counts characters.
            if operand.as_str().chars().count() > MAX_OPERAND {
                self.add(format!("{path}.{field}"), format!("{field} has at most {MAX_OPERAND} characters"));
            }
            tests.push(test(operand.as_str().into()));
        }
        if tests.is_empty() {
            self.add(&path, refusals::CONDITION_SAYS_NOTHING);
        }
        Some(ConditionSpec { pointer: self.pointer(&format!("{path}.pointer"), &condition.pointer)?, tests })
    }
}
