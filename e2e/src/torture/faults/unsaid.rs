//! What writers do where nothing keeps what is said of it.

use anyhow::Result;

use super::{Act, Done, Expect, healed};
use crate::torture::writer::Deed;

/// A transaction is said to nobody, as if the network had lost it: the next message, or a beat, has to show that.
pub(super) fn lost(act: &mut Act<'_>) -> Result<Done> {
    let source = act.any_source();
    act.ask(source, Deed::Unsaid)?;
    Ok(healed(format!("{source}: a transaction was said to nobody"), Expect::Lost(vec![source])))
}

pub(super) fn truncate(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Truncate)
}

pub(super) fn swaps(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Swaps)
}

pub(super) fn redefine(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Redefine)
}

pub(super) fn huge(act: &mut Act<'_>) -> Result<Done> {
    deed(act, Deed::Huge(act.huge))
}

/// It is done when its writer says so: what came of it, readers and the next audit see. It touches no connection, so that
/// nothing is missed, and whatever it does to whole tables is said of those that it was done to.
fn deed(act: &mut Act<'_>, deed: Deed) -> Result<Done> {
    let source = act.any_source();
    act.ask(source, deed)?;
    Ok(healed(format!("{source}: {deed:?}"), Expect::Kept))
}
