//! The wire types of `spec.views`: the top of what an upstream cache holds, or of a table's rows.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use std::{borrow::Cow, fmt};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Serialize,
    de::{self, Deserializer},
};

/// The first items, in some order, of those that named keys of an upstream cache hold, or of all rows of a table, as one
/// JSON array.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.keys) && self.keys.size() > 0) || (self.orderBy != '' && (!has(self.filter) || self.filter.all(f, f.pointer != '')))")
        .message(crate::refusals::VIEW_OF_COLUMNS)
)]
pub struct View {
    /// The name under which applications read it: `/v1/views/<name>`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
            .message(crate::refusals::VIEW_NAME_FORM)
    )]
    pub name: String,
    /// The cache whose answers or rows are the items: one of the binding's with an `upstream`, or with `onChange: Hydrate`
    /// and `warmStart: true`.
    #[schemars(length(min = 1, max = 63))]
    pub cache: String,
    /// Over a cache with an `upstream`, 1 to 64: what follows the cache's name in a request's path, for each answer whose
    /// items it has. An answer that is an array has its elements, one that is an object is an item itself. All are fetched and
    /// kept, whether anybody asks for them or not. Over a cache of rows none: all rows of the table are items, and are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(format!("self.all(k, {})", crate::rest::rest_rules("k")[0])).message(crate::binding::VIEW_KEY_FORM),
        validation = Rule::new(format!("self.all(k, {})", crate::rest::rest_rules("k")[1])).message(crate::binding::VIEW_KEY_FORM),
        validation = Rule::new("self.all(k, !k.startsWith('_'))").message(crate::refusals::VIEW_KEY_RESERVED)
    )]
    pub keys: Vec<String>,
    /// A JSON pointer (RFC 6901) to what an item is ordered by, such as `/stars`; empty: the item itself.
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = Rule::new(crate::json_pointer::pointer_rule("self")).message(crate::json_pointer::POINTER_FORM)
    )]
    pub order_by: String,
    /// What that is taken for. An item that has nothing such comes last in either order.
    #[serde(default)]
    pub order_as: OrderAs,
    /// Whether the greatest comes first, or the least.
    #[serde(default)]
    pub order: Order,
    /// The most items.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// What must hold of an item, all of it. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pointer".into()]))]
    pub filter: Vec<Condition>,
}

/// What the value that items are ordered by is taken for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderAs {
    /// A number, a time if it is a text of that form, or else a text. Numbers are less than times, and times less than texts.
    #[default]
    Auto,
    /// A number, or a text that is one; of any size and precision.
    Number,
    /// A text, by its Unicode code points.
    Text,
    /// A text of RFC 3339's form with date, time and offset, by the instant that it means.
    Time,
}

/// Which item comes first.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The least.
    Ascending,
    /// The greatest.
    #[default]
    Descending,
}

/// What must hold of a value within an item: all that is given. A `null` is as good as no value.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.exists) || has(self.equals) || has(self.notEquals) || has(self.atLeast) || has(self.atMost)")
        .message(crate::refusals::CONDITION_SAYS_NOTHING)
)]
pub struct Condition {
    /// A JSON pointer to the value; empty: the item itself.
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = Rule::new(crate::json_pointer::pointer_rule("self")).message(crate::json_pointer::POINTER_FORM)
    )]
    pub pointer: String,
    /// Whether there is a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// A text, number or boolean that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Operand>,
    /// What it isn't: it holds wherever `equals` wouldn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Operand>,
    /// What it is or is greater than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Operand>,
    /// What it is or is less than.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Operand>,
}

/// What a value is compared with, as text. A whole number without quotes is taken too.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Operand(String);

/// The most bytes of an operand.
pub(crate) const MAX_OPERAND: usize = 256;

impl Operand {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Operand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OperandVisitor)
    }
}

struct OperandVisitor;

impl de::Visitor<'_> for OperandVisitor {
    type Value = Operand;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or text in quotes such as \"0.5\" or \"true\"")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Operand, E> {
        Ok(Operand(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Operand, E> {
        Ok(Operand(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Operand, E> {
        Ok(Operand(text.into()))
    }
}

impl JsonSchema for Operand {
    fn schema_name() -> Cow<'static, str> {
        "Operand".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "maxLength": MAX_OPERAND })
    }
}

fn default_limit() -> u32 {
    100
}
