//! The caches that a run has: one of each kind of rule.

use super::database::{Place, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Rows by their key, hydrated.
    Hydrated,
    /// Rows by their key.
    Plain,
    /// Rows by a column that the event's key doesn't have.
    ByCode,
    /// Rows of a table without a key.
    Keyless,
    /// Something made of two whole tables.
    Page,
    /// The rows of [`Kind::Plain`], hydrated, with the key's column declared.
    Declared,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Hydrated, Self::Plain, Self::ByCode, Self::Keyless, Self::Page, Self::Declared];

    pub(crate) fn of(n: u8) -> Self {
        Self::ALL[usize::from(n) % Self::ALL.len()]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hydrated => "a",
            Self::Plain => "b",
            Self::ByCode => "code",
            Self::Keyless => "k",
            Self::Page => "page",
            Self::Declared => "declared",
        }
    }

    /// Its definition in the binding, in one of two versions.
    pub(crate) fn definition(self, other: bool) -> String {
        let rest = match self {
            Self::Hydrated => "table: s.a, onChange: Hydrate",
            Self::Plain => "table: s.b",
            Self::ByCode => "table: s.b, key: [{column: code}]",
            Self::Keyless => "table: s.k, key: [{column: id}]",
            Self::Page => "dependsOn: [s.a, s.b]",
            Self::Declared => "table: s.b, key: [{column: id, type: Integer}], onChange: Hydrate",
        };
        // Pages live for less than a run does.
        let ttl = match (self, other) {
            (Self::Page, false) => "7s",
            (Self::Page, true) => "8s",
            (_, false) => "1h",
            (_, true) => "2h",
        };
        format!("{{name: {}, {rest}, ttl: {ttl}}}", self.name())
    }

    /// What a value of a key is about.
    pub(crate) fn place(self, key: u8) -> Place {
        match self {
            Self::Hydrated => Place::Row(Table::A, key),
            Self::Plain | Self::Declared => Place::Row(Table::B, key),
            Self::ByCode => Place::Code(key),
            Self::Keyless => Place::Row(Table::K, key),
            Self::Page => Place::Whole(Table::A),
        }
    }

    /// The other thing that it is about.
    pub(crate) fn place_too(self) -> Option<Place> {
        (self == Self::Page).then_some(Place::Whole(Table::B))
    }

    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Hydrated => &[Table::A],
            Self::Plain | Self::ByCode | Self::Declared => &[Table::B],
            Self::Keyless => &[Table::K],
            Self::Page => &[Table::A, Table::B],
        }
    }
}
