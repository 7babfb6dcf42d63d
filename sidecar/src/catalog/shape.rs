//! How the texts of a cache's keys look, as the binding declares it and as events have shown it.

use freshet_crds::KeyType;

use crate::key::{Form, Scalar, Unaddressable};

/// What is known of a cache's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// The forms of its columns; `None` while their number is unknown.
    pub forms: Option<Box<[Form]>>,
    /// What was declared of each column and events have shown; `None` before the first event where nothing was.
    pub(super) shown: Option<Box<[Form]>>,
    /// Whether it was the database's own events that have.
    pub(super) by_log: bool,
    /// The forms that the binding declares, which learning narrows but never widens.
    pub(super) declared: Option<Box<[Form]>>,
}

// === impl Shape ===

impl Shape {
    /// What these columns of an event teach: `None` if nothing new.
    ///
    /// Once events have shown a column to be an integer or a boolean, a request must spell it as one; once they have
    /// shown other spellings of numbers or UUIDs, it must use those; and once they have shown how many columns there
    /// are, it must have as many. `collated` if they are of a database that compares texts by a collation.
    #[must_use]
    pub fn learn(&self, scalars: &[&Scalar<'_>], collated: bool) -> Option<Self> {
        if scalars.iter().any(|scalar| matches!(scalar, Scalar::Null)) {
            return None;
        }
        // What others have told of the keys counts until the database shows them.
        let known = self.shown.as_deref().filter(|_| self.by_log);
        let shape = self.with(known, scalars, collated)?;
        Some(Self { by_log: true, ..shape })
    }

    /// Whether the database's own events have shown it.
    #[must_use]
    pub fn is_of_log(&self) -> bool {
        self.by_log
    }

    /// What the columns of a published change teach, who may spell them as no event of the database would: only as long as
    /// none has shown them.
    ///
    /// # Errors
    ///
    /// Of columns that no event of the database would spell so nobody can say which row is meant.
    pub fn hear(&self, scalars: &[&Scalar<'_>]) -> Result<Option<Self>, Unaddressable> {
        if !self.by_log {
            return Ok(self.with(self.shown.as_deref(), scalars, false));
        }
        let forms = self.forms.as_deref().unwrap_or_default();
        let fit = forms.len() == scalars.len() && forms.iter().zip(scalars).all(|(form, s)| form.fits(s));
        if fit { Ok(None) } else { Err(Unaddressable) }
    }

    /// The shape with what these columns add to what was `known`; `None` if nothing.
    fn with(&self, known: Option<&[Form]>, scalars: &[&Scalar<'_>], collated: bool) -> Option<Self> {
        let known = known.filter(|known| known.len() == scalars.len());
        let before = |i: usize| match known {
            Some(known) => known[i],
            None => self.declared.as_ref().and_then(|d| d.get(i)).copied().unwrap_or(Form::AUTO),
        };
        if known.is_some() && scalars.iter().enumerate().all(|(i, s)| before(i).learn(s, collated).is_none())
        {
            return None;
        }
        let shown: Box<[Form]> = scalars
            .iter()
            .enumerate()
            .map(|(i, s)| before(i).learn(s, collated).unwrap_or(before(i)))
            .collect();
        let forms = shown.iter().map(|form| {
            let narrowed = form.kind == KeyType::Auto && form.shown.only_integers();
            if narrowed { Form { kind: KeyType::Integer, ..*form } } else { *form }
        });
        Some(Self {
            forms: Some(forms.collect()),
            shown: Some(shown),
            by_log: self.by_log,
            declared: self.declared.clone(),
        })
    }
}
