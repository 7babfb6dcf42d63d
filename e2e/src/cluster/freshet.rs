//! Freshet itself and its example app in a cluster: the checkout's own programs as images, and the chart.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Cluster;
use super::archive::of_static_binary;
use super::assets::checkout;
use super::binary::static_binary;
use crate::artefact::{Inputs, artefact, folder};
use crate::command::{logged, program, step};

/// Where Freshet is installed, unless told otherwise.
pub const NAMESPACE: &str = "freshet-system";

/// The version of everything that the checkout builds: the tag of its images.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The image of `examples/shop`, as its manifests name it.
const SHOP: &str = "ghcr.io/freshet-dev/freshet-example-shop";

/// The checkout's programs as image archives.
#[derive(Clone, Debug)]
pub struct OwnImages {
    operator: PathBuf,
    sidecar: PathBuf,
    shop: PathBuf,
}

impl OwnImages {
    /// Builds what has changed since the last time.
    pub fn build() -> Result<Self> {
        let own = |package: &str| {
            step(package, || {
                let name = format!("ghcr.io/freshet-dev/{package}:{VERSION}");
                archive_of(package, &name, &static_binary(package)?)
            })
        };
        let (operator, sidecar) = (own("freshet-operator")?, own("freshet-sidecar")?);
        let shop = step("freshet-example-shop", || {
            archive_of("freshet-example-shop", &format!("{SHOP}:{VERSION}"), &shop_binary()?)
        })?;
        Ok(Self { operator, sidecar, shop })
    }

    /// Puts them into the cluster's nodes, in place of earlier ones of the same names.
    pub fn load(&self, cluster: &Cluster) -> Result<()> {
        [&self.operator, &self.sidecar, &self.shop].into_iter().try_for_each(|it| cluster.load_image(it))
    }

    /// What they are made of: another text for other images, though their names stay.
    #[must_use]
    pub fn key(&self) -> String {
        [&self.operator, &self.sidecar, &self.shop]
            .into_iter()
            .fold(Inputs::new(), |inputs, archive| inputs.artefact(archive))
            .key()
    }
}

impl Cluster {
    /// Installs the chart with its default values, or upgrades it, and waits until the operator serves. The images
    /// are those of the nodes: an operator that runs an earlier one is replaced.
    pub fn install_freshet(&self, images: &OwnImages) -> Result<()> {
        let chart = checkout().join("charts/freshet");
        let chart = chart.to_str().context("the checkout's path is text")?;
        let images = format!("podAnnotations.images={}", images.key());
        self.helm(&[
            "upgrade",
            "--install",
            "freshet",
            chart,
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            "--set-string",
            &images,
            "--wait",
            "--timeout",
            "3m",
        ])?;
        Ok(())
    }
}

/// The archive of a binary's image, kept by what the binary is.
fn archive_of(label: &str, name: &str, binary: &Path) -> Result<PathBuf> {
    let inputs = Inputs::new().text(name).path(binary)?;
    let kept = artefact(&format!("{label}-image"), &inputs, |into| {
        of_static_binary(&into.join("image.tar"), name, binary)
    })?;
    Ok(kept.join("image.tar"))
}

/// The example app's program, built by Go from `examples/shop` and the client (20 s) unless it is there already.
pub fn shop_binary() -> Result<PathBuf> {
    let module = checkout().join("examples/shop");
    let inputs = Inputs::new().path(&module)?.path(checkout().join("clients/go"))?;
    let kept = artefact("freshet-example-shop", &inputs, |into| {
        let mut go = program("go");
        go.current_dir(&module).args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
        go.args(["-ldflags", "-s -w", "-o"]).arg(into.join("freshet-example-shop")).arg(".");
        // Nothing of the caller's environment may change what is built.
        go.env("CGO_ENABLED", "0").env("GOFLAGS", "").env("GOWORK", "off");
        logged(&mut go, &folder().join("freshet-example-shop.log"))
    })?;
    Ok(kept.join("freshet-example-shop"))
}
