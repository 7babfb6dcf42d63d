//! The names under which the operator acts.

use std::collections::BTreeMap;

/// The field manager of everything the operator writes, and the controller that its Events name.
pub const MANAGER: &str = "freshet-operator";
/// The label of everything the operator makes, by which it watches what it made.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The labels of everything the operator makes.
#[must_use]
pub fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.to_owned(), MANAGER.to_owned())])
}
