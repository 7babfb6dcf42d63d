//! Where the cluster's recipes lie in the checkout.

use std::path::{Path, PathBuf};

/// The top of the checkout that this was compiled in.
#[must_use]
pub fn checkout() -> PathBuf {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e).to_owned()
}

/// A file or folder of `e2e/cluster/`.
pub(crate) fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name)
}
