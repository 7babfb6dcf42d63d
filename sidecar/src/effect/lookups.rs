//! What rows are found by that isn't their key.

use std::sync::Arc;

use super::Effect;
use crate::{
    catalog::Cache,
    change::{Op, RowChange},
    image::{Image, UNAVAILABLE},
    key::{Key, Scalar},
    planted::{Bug, planted},
};

/// Nobody can say what the row is found by from now on.
#[derive(Debug)]
pub(super) struct Unknown;

/// What a row is found by after a change, each void from now on: whoever asked by it before, and found another row or none,
/// is wrong. What it was found by before ends with the row's own value.
pub(super) fn names<'a>(
    row: &RowChange<'_>,
    cache: &'a Arc<Cache>,
    collated: bool,
    effects: &mut Vec<Effect<'a>>,
) -> Result<Vec<Key>, Unknown> {
    let mut names = Vec::new();
    if cache.lookups.is_empty() || row.op == Op::Delete {
        return Ok(names);
    }
    let after = row.after.and_then(|after| Image::read(after.get())).ok_or(Unknown)?;
    for lookup in &cache.lookups {
        let scalar = match after.column(&lookup.column).map_err(|_| Unknown)? {
            Scalar::Null => continue,
            // It didn't change, so that nobody else has it now, and nobody knows what it is.
            Scalar::Text(text) if text == UNAVAILABLE => continue,
            scalar => scalar,
        };
        let known = lookup.shape();
        let shape = match known.learn(&[&scalar], collated) {
            Some(learned) => {
                effects.push(Effect::Reshape { cache, lookup: Some(lookup), shape: learned.clone() });
                Arc::new(learned)
            }
            None => known,
        };
        let forms = shape.forms.as_deref().unwrap_or_default();
        let padded = scalar.is_padded();
        let spelled =
            Key::from_event([scalar].into_iter().zip(forms.iter().copied())).map_err(|_| Unknown)?;
        let Some(value) = spelled else { continue };
        let name = Key::by(&lookup.column, &value);
        if !planted(Bug::NewNameIgnored) {
            effects.push(Effect::VoidRow { cache, key: name.clone() });
        }
        // Of two texts that blanks tell apart each may be a row's.
        if !padded {
            names.push(name);
        }
    }
    Ok(names)
}
