//! The validated form of a view.

use crate::{Order, OrderAs, json_pointer::JsonPointer};

pub(crate) const VIEW_KEY_FORM: &str = "a view's key is what follows the cache's name in a request's path: without a slash at either end, empty, `.` or `..` \
                                        segments, and encoded slashes, with a query perhaps; letters, digits, -._~!$&'()*+,;=:@ and percent-encoding, \
                                        at most 1024 bytes";

/// The first items, in some order, of those that named keys of an upstream cache hold, or of all rows of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewSpec {
    /// Its name.
    pub name: String,
    /// The name of a cache of the binding: one that has an upstream, or one that hydrates and starts warm.
    pub cache: String,
    /// Of a cache with an upstream keys, each of which may be asked of it; 1 to 64, and no two alike. Of a cache of rows none.
    pub keys: Vec<Box<str>>,
    /// Where in an item is what it is ordered by.
    pub order_by: JsonPointer,
    /// What that is taken for.
    pub order_as: OrderAs,
    /// Whether the greatest comes first.
    pub order: Order,
    /// The most items, 1 to 1000.
    pub limit: usize,
    /// What must hold of an item, all of it; at most 8.
    pub filter: Vec<ConditionSpec>,
}

impl ViewSpec {
    /// Whether its items are a table's rows, and not what an upstream answers.
    #[must_use]
    pub fn is_over_rows(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What must hold of a value within an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionSpec {
    /// Where the value is.
    pub pointer: JsonPointer,
    /// All that must hold of it; at least one.
    pub tests: Vec<Test>,
}

/// One thing that must hold of a value. What it is compared with is text, which is read as the value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Whether there is one.
    Exists(bool),
    /// It is this.
    Equals(Box<str>),
    /// It isn't this.
    NotEquals(Box<str>),
    /// It is this, or greater.
    AtLeast(Box<str>),
    /// It is this, or less.
    AtMost(Box<str>),
}
