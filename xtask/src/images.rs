//! `cargo xtask images`: what a cluster consists of, built ahead of the first one.

use freshet_e2e::cluster;

/// Builds the tools and, where no registry can be reached, the node's and the pipeline's images.
pub(crate) fn run() -> anyhow::Result<()> {
    cluster::build_images()
}
