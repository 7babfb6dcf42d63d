//! The wire types of `caches[]`: what one cache holds, and what voids it.

#![expect(unreachable_pub, reason = "the schema derive repeats each type in a private module")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Upstream;

/// One cache: rows of a table by key, anything computed from tables, or what a REST service answers.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.upstream) || (has(self.published) && self.published) || has(self.table) || (has(self.dependsOn) && self.dependsOn.size() > 0) || (has(self.mayDependOn) && self.mayDependOn.size() > 0)")
        .message(crate::refusals::NO_TABLES),
    validation = Rule::new("!has(self.upstream) || !(has(self.table) || has(self.key) || has(self.source) || self.onChange == 'Hydrate' || self.fillDependencies == 'Required' || (has(self.dependsOn) && self.dependsOn.size() > 0) || (has(self.mayDependOn) && self.mayDependOn.size() > 0))")
        .message(crate::refusals::UPSTREAM_ALONE),
    validation = Rule::new("!has(self.published) || !self.published || !(has(self.upstream) || has(self.table) || self.onChange == 'Hydrate' || self.fillDependencies == 'Required' || (has(self.dependsOn) && self.dependsOn.size() > 0) || (has(self.mayDependOn) && self.mayDependOn.size() > 0))")
        .message(crate::refusals::PUBLISHED_ALONE),
    validation = Rule::new("!has(self.key) || has(self.table)")
        .message(crate::refusals::KEY_NEEDS_TABLE),
    validation = Rule::new("self.onChange != 'Hydrate' || has(self.table)")
        .message(crate::refusals::HYDRATE_NEEDS_TABLE),
    validation = Rule::new("self.onChange != 'Hydrate' || ((!has(self.dependsOn) || self.dependsOn.size() == 0) && (!has(self.mayDependOn) || self.mayDependOn.size() == 0) && self.fillDependencies == 'Optional')")
        .message(crate::refusals::HYDRATED_IS_ONE_ROW),
    validation = Rule::new("self.onChange == 'Hydrate' || ((!has(self.columns) || self.columns.size() == 0) && (!has(self.lookups) || self.lookups.size() == 0))")
        .message(crate::refusals::COLUMNS_OF_HYDRATED),
    validation = Rule::new("has(self.key) || !has(self.lookups) || self.lookups.size() == 0")
        .message(crate::refusals::LOOKUPS_NEED_KEY),
    validation = Rule::new("!has(self.warmStart) || !self.warmStart || self.onChange == 'Hydrate'")
        .message(crate::refusals::WARM_IS_HYDRATED)
)]
pub struct Cache {
    /// The name under which applications use it: `/v1/<name>/`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
            .message(crate::refusals::CACHE_NAME_FORM),
        validation = Rule::new("!(self in ['status', 'views', 'events'])")
            .message(crate::refusals::CACHE_NAME_TAKEN)
    )]
    pub name: String,
    /// The source whose changes concern it; required when there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub source: Option<String>,
    /// The table whose rows it holds: `schema.table` (Postgres) or `database.table` (MariaDB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    #[x_kube(
        validation = Rule::new(r"self.matches('^[^. \\t\\r\\n\\f]+([.][^. \\t\\r\\n\\f]+){1,2}$')")
            .message(crate::refusals::TABLE_FORM)
    )]
    pub table: Option<String>,
    /// The columns that make the key, in order. Default: the change event's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["column".into()])
    )]
    pub key: Option<Vec<KeyColumn>>,
    /// What a change does to the row's value.
    #[serde(default)]
    pub on_change: OnChange,
    /// With `onChange: Hydrate`: the columns of the row that the value has, in this order. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub columns: Vec<String>,
    /// With `onChange: Hydrate`: other columns by which rows are found, each unique in its table:
    /// `/v1/<name>/_by/<column>/<value>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["column".into()]))]
    pub lookups: Vec<KeyColumn>,
    /// With `onChange: Hydrate`: the cache starts with the rows that the stream still tells of: those of the snapshot that
    /// it begins with, and those that were changed since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warm_start: bool,
    /// Whether its values are what applications publish through the source: each becomes the value of its key in every pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub published: bool,
    /// The longest life of a value.
    #[serde(default = "default_ttl")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new(crate::quantity::duration_rule(crate::quantity::MOMENT))
            .message("ttl is a duration such as 10m, more than zero and at most 366d")
    )]
    pub ttl: String,
    /// Up to how much of `ttl` a value's life is shortened by lot, so that values that were stored together don't expire
    /// together.
    #[serde(default = "default_ttl_jitter")]
    #[schemars(length(max = 8))]
    #[x_kube(
        validation = Rule::new(crate::quantity::part_rule("self", crate::binding::MAX_JITTER)).message(crate::binding::JITTER_FORM)
    )]
    pub ttl_jitter: String,
    /// The part of `memory` that is this cache's, neither more nor less. Caches without a share have what is left
    /// together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(
        validation = Rule::new(crate::quantity::share_rule("self")).message(crate::shares::SHARE_FORM)
    )]
    pub share: Option<String>,
    /// Tables any change of which voids every value of this cache.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(r"self.all(t, t.matches('^[^. \\t\\r\\n\\f]+([.][^. \\t\\r\\n\\f]+){1,2}$'))")
            .message("a table in dependsOn is written schema.table (Postgres) or database.table (MariaDB)")
    )]
    pub depends_on: Vec<String>,
    /// Tables that fills may name in `Freshet-Depends`, as a whole or by row, beside those that caches of the same source
    /// use anyway. They are followed; by themselves they void nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new(r"self.all(t, t.matches('^[^. \\t\\r\\n\\f]+([.][^. \\t\\r\\n\\f]+){1,2}$'))")
            .message("a table in mayDependOn is written schema.table (Postgres) or database.table (MariaDB)")
    )]
    pub may_depend_on: Vec<String>,
    /// Whether fills have to say what their value depends on.
    #[serde(default)]
    pub fill_dependencies: FillDependencies,
    /// The REST service that it reads through: nobody else fills it, and no change concerns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
}

impl Cache {
    /// The tables that it names.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &String> {
        self.table.iter().chain(&self.depends_on).chain(&self.may_depend_on)
    }
}

/// Whether fills have to say what their value depends on.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FillDependencies {
    /// What a fill names in `Freshet-Depends` adds to what all of the cache depends on.
    #[default]
    Optional,
    /// Likewise, and a fill without it is refused: nobody forgets it.
    Required,
}

/// One column of a key.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.collation == 'Binary' || self.type == 'Text'")
        .message(crate::refusals::CASE_IS_OF_TEXT)
)]
pub struct KeyColumn {
    /// The column's name.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,
    /// The form of the key's text.
    #[serde(default, rename = "type")]
    pub kind: KeyType,
    /// How the database compares it.
    #[serde(default)]
    pub collation: Collation,
}

/// The form that a key column's text must have.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// Whatever looks like a number or a UUID must be canonical.
    #[default]
    Auto,
    /// A decimal integer without leading zeros or plus sign.
    Integer,
    /// A UUID in lower case with dashes.
    Uuid,
    /// Any text.
    Text,
}

/// How the database compares a text column.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collation {
    /// Byte for byte.
    #[default]
    Binary,
    /// Without regard to case: keys are folded to lower case on both sides.
    CaseInsensitive,
}

/// What a change does to the row's value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// The value is gone.
    #[default]
    Invalidate,
    /// The row's image in the change event becomes the value, if it is provably newer.
    Hydrate,
}

fn default_ttl() -> String {
    "1h".into()
}

fn default_ttl_jitter() -> String {
    "10%".into()
}
