//! The caches that a run has: one of each kind of rule.

use super::database::{Place, Table};

/// One thing that a fill says its value depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Table(&'static str),
    Row(&'static str, u8),
    Tag(u8),
}

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
    /// Something made of a row of each of two tables, which each fill names, and of a tag.
    Rows,
    /// The rows of [`Kind::Plain`], hydrated and found by another column.
    Lookup,
    /// The same rows in the same cache, by their key.
    Found,
    /// Something made of a whole table that the binding names and of another that each fill names, and of a tag.
    Mixed,
}

impl Kind {
    /// Those of a run, in which fills name what their values depend on or don't.
    pub(crate) fn all(depends: bool) -> &'static [Self] {
        if depends {
            &[Self::Hydrated, Self::Lookup, Self::Rows, Self::Keyless, Self::Page, Self::Mixed, Self::Found]
        } else {
            &[Self::Hydrated, Self::Plain, Self::ByCode, Self::Keyless, Self::Page, Self::Declared]
        }
    }

    /// What stands for its cache: two kinds of one cache are defined once.
    pub(crate) fn cache(self) -> Self {
        if self == Self::Found { Self::Lookup } else { self }
    }

    /// What a fill of this key names.
    pub(crate) fn names(self, key: u8) -> Vec<Name> {
        match self {
            Self::Rows => vec![Name::Row("s.a", key), Name::Row("s.b", key), Name::Tag(key)],
            Self::Mixed => vec![Name::Table("s.k"), Name::Tag(key)],
            _ => Vec::new(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hydrated => "a",
            Self::Plain => "b",
            Self::ByCode => "code",
            Self::Keyless => "k",
            Self::Page => "page",
            Self::Declared => "declared",
            Self::Rows => "rows",
            Self::Lookup | Self::Found => "lookup",
            Self::Mixed => "mixed",
        }
    }

    /// Its definition in the binding, in one of two versions. What hydrates may start `warm`.
    pub(crate) fn definition(self, other: bool, warm: bool) -> String {
        let rest = match self {
            Self::Hydrated => "table: s.a, onChange: Hydrate, share: 20%",
            Self::Plain => "table: s.b",
            Self::ByCode => "table: s.b, key: [{column: code}]",
            Self::Keyless => "table: s.k, key: [{column: id}]",
            Self::Page => "dependsOn: [s.a, s.b]",
            Self::Declared => "table: s.b, key: [{column: id, type: Integer}], onChange: Hydrate",
            Self::Lookup | Self::Found => {
                "table: s.b, key: [{column: id, type: Integer}], onChange: Hydrate, lookups: [{column: code}]"
            }
            Self::Rows => "mayDependOn: [s.a, s.b], fillDependencies: Required",
            Self::Mixed => "dependsOn: [s.b]",
        };
        // Their shelves come and go with their definitions, and one of them changes all others'.
        let share = if self == Self::Plain && other { ", share: 30%" } else { "" };
        let warm = if warm && rest.contains("Hydrate") { ", warmStart: true" } else { "" };
        format!("{{name: {}, {rest}, ttl: {}s{share}{warm}}}", self.name(), self.ttl(other) / 1000)
    }

    /// How long its values live at most, in milliseconds. Pages live for less than a run does.
    pub(crate) fn ttl(self, other: bool) -> u64 {
        match (self, other) {
            (Self::Page, false) => 7_000,
            (Self::Page, true) => 8_000,
            (_, false) => 3_600_000,
            (_, true) => 7_200_000,
        }
    }

    /// What a value of a key is about.
    pub(crate) fn place(self, key: u8) -> Place {
        match self {
            Self::Hydrated | Self::Rows => Place::Row(Table::A, key),
            Self::Plain | Self::Declared | Self::Found => Place::Row(Table::B, key),
            Self::ByCode | Self::Lookup => Place::Code(key),
            Self::Keyless => Place::Row(Table::K, key),
            Self::Page => Place::Whole(Table::A),
            Self::Mixed => Place::Whole(Table::B),
        }
    }

    /// The other thing that it is about.
    pub(crate) fn place_too(self, key: u8) -> Option<Place> {
        match self {
            Self::Page => Some(Place::Whole(Table::B)),
            Self::Rows => Some(Place::Row(Table::B, key)),
            Self::Mixed => Some(Place::Whole(Table::K)),
            _ => None,
        }
    }

    /// What changes of it are known to void before it is filled.
    pub(crate) fn known_places(self, key: u8) -> impl Iterator<Item = Place> {
        let own = (!matches!(self, Self::Rows | Self::Lookup)).then(|| self.place(key));
        own.into_iter().chain(self.place_too(key).filter(|_| self == Self::Page))
    }

    pub(crate) fn tables(self) -> &'static [Table] {
        match self {
            Self::Hydrated => &[Table::A],
            Self::Plain | Self::ByCode | Self::Declared | Self::Lookup | Self::Found => &[Table::B],
            Self::Keyless => &[Table::K],
            Self::Page | Self::Rows => &[Table::A, Table::B],
            Self::Mixed => &[Table::B, Table::K],
        }
    }
}
