//! The node image built from packages: what kind expects of `kindest/node`, made of Debian's containerd and systemd,
//! the Kubernetes programs in one binary, and the control plane's images inside.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::archive::{self, Config};
use super::assets::asset;
use super::debian::{self, Base};
use super::tools::{self, KUBERNETES};
use crate::artefact::{Inputs, artefact};
use crate::command::{output, program};

/// The control plane's programs that run from an image; CoreDNS has the same one.
const FROM_IMAGE: [&str; 5] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];

/// What boots the node.
const SYSTEM: [&str; 18] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "iproute2",
    "conntrack",
    "ethtool",
    "socat",
    "kmod",
    "mount",
    "procps",
    "ca-certificates",
    "jq",
    "hostname",
    "util-linux",
];

/// What a machine needs at boot and a node must not do: bring up consoles, devices and time-outs of its own.
const HOOKS: [&str; 3] = [
    r#"rm -f "$1"/etc/systemd/system/*.wants/* "$1"/lib/systemd/system/multi-user.target.wants/getty.target \
       "$1"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service"#,
    r#"chroot "$1" systemctl mask systemd-binfmt systemd-udevd"#,
    r#"printf 'ReadKMsg=no\nStorage=volatile\n' >>"$1"/etc/systemd/journald.conf"#,
];

/// A node image in an archive.
pub(crate) struct NodeImage {
    /// The name it has in the archive: ours, and another for every recipe.
    pub(crate) name: String,
    pub(crate) archive: PathBuf,
}

/// Builds it, or finds it built.
pub(crate) fn image() -> Result<NodeImage> {
    let programs = tools::node()?;
    let root = debian::root("node-root", Base::Minimal, &SYSTEM, &HOOKS)?;
    let iptables = debian::root("iptables-root", Base::Extract, &["iptables"], &[])?;
    let recipe = Inputs::new().path(asset("node"))?.text(KUBERNETES).text("layout 1");
    let inputs = recipe.artefact(&programs).artefact(&root).artefact(&iptables);
    let name = format!("freshet-node:{KUBERNETES}-{}", inputs.key());
    let built = artefact("node-image", &inputs, |into| {
        let scratch = into.join("scratch");
        fs::create_dir(&scratch)?;
        let images = [control_plane(&scratch, &programs, &iptables)?, pause(&scratch, &programs)?];
        let layer = node_layer(&scratch, &programs, &images)?;
        let config = Config {
            entrypoint: vec!["/usr/local/bin/boot".to_owned(), "/sbin/init".to_owned()],
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
                "container=docker".to_owned(),
            ],
            // What systemd takes for "halt".
            stop_signal: "SIGRTMIN+3".to_owned(),
            ..Config::default()
        };
        archive::write(&into.join("node.tar"), &[&name], &[root, layer], &config, "Debian and Go modules")?;
        Ok(fs::remove_dir_all(&scratch)?)
    })?;
    Ok(NodeImage { name, archive: built.join("node.tar") })
}

/// One image under all the names that kubeadm asks for.
fn control_plane(scratch: &Path, programs: &Path, iptables: &Path) -> Result<PathBuf> {
    let own = scratch.join("control-plane");
    for folder in ["tmp", "usr/sbin", "usr/local/bin"] {
        fs::create_dir_all(own.join(folder))?;
    }
    fs::set_permissions(own.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::hard_link(programs.join("kubernetes"), own.join("usr/local/bin/kubernetes"))?;
    fs::hard_link(programs.join("coredns"), own.join("coredns"))?;
    for name in FROM_IMAGE {
        symlink("kubernetes", own.join("usr/local/bin").join(name))?;
    }
    // The package's set-up would have made these; it was only unpacked.
    for tool in ["iptables", "ip6tables"] {
        for form in ["", "-save", "-restore"] {
            symlink("xtables-nft-multi", own.join(format!("usr/sbin/{tool}{form}")))?;
        }
    }
    let config = Config {
        entrypoint: vec!["/coredns".to_owned()],
        env: vec!["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        ..Config::default()
    };
    let names: Vec<String> =
        images_of_kubeadm(scratch, programs)?.into_iter().filter(|name| !name.contains("/pause:")).collect();
    let layer = scratch.join("control-plane.layer");
    archive::layer(&own, &layer)?;
    let file = scratch.join("control-plane.tar");
    archive::write(&file, &names, &[iptables.to_owned(), layer], &config, "Go modules and Debian")?;
    Ok(file)
}

/// The image of the process that holds a pod's namespaces.
fn pause(scratch: &Path, programs: &Path) -> Result<PathBuf> {
    let names = images_of_kubeadm(scratch, programs)?;
    let name = names.iter().find(|name| name.contains("/pause:")).context("kubeadm names no pause image")?;
    let toml = asset("node/containerd.toml");
    if !fs::read_to_string(&toml)?.contains(&format!("sandbox_image = \"{name}\"")) {
        bail!("{}: kubeadm {KUBERNETES} wants sandbox_image = \"{name}\"", toml.display());
    }
    let own = scratch.join("pause");
    fs::create_dir(&own)?;
    let source = asset("node/pause.c");
    output(program("gcc").args(["-Os", "-static", "-s", "-o"]).arg(own.join("pause")).arg(source))?;
    let config = Config { entrypoint: vec!["/pause".to_owned()], ..Config::default() };
    let layer = scratch.join("pause.layer");
    archive::layer(&own, &layer)?;
    let file = scratch.join("pause.tar");
    archive::write(&file, &[name], &[layer], &config, "e2e/cluster/node/pause.c")?;
    Ok(file)
}

fn images_of_kubeadm(scratch: &Path, programs: &Path) -> Result<Vec<String>> {
    let kubeadm = scratch.join("kubeadm");
    if !kubeadm.exists() {
        symlink(programs.join("kubernetes"), &kubeadm)?;
    }
    let list =
        output(program(&kubeadm).args(["config", "images", "list", "--kubernetes-version", KUBERNETES]))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// What the node has on top of Debian.
fn node_layer(scratch: &Path, programs: &Path, images: &[PathBuf]) -> Result<PathBuf> {
    let own = scratch.join("node");
    let bin = own.join("usr/local/bin");
    let units = own.join("etc/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    let kind = own.join("kind");
    for folder in [&bin, &wanted, &kind.join("images"), &kind.join("manifests"), &own.join("etc/containerd")]
    {
        fs::create_dir_all(folder)?;
    }
    for folder in ["etc/kubernetes/manifests", "etc/cni/net.d", "opt/cni"] {
        fs::create_dir_all(own.join(folder))?;
    }
    fs::hard_link(programs.join("kubernetes"), bin.join("kubernetes"))?;
    for name in ["kubelet", "kubeadm", "kubectl"] {
        symlink("kubernetes", bin.join(name))?;
    }
    for script in ["boot", "node-cgroups", "node-cni", "crictl"] {
        fs::copy(asset("node").join(script), bin.join(script))?;
    }
    fs::copy(asset("node/containerd.toml"), own.join("etc/containerd/config.toml"))?;
    for unit in ["kubelet.service", "node-images.service", "node-cni.service"] {
        fs::copy(asset("node").join(unit), units.join(unit))?;
        symlink(format!("/etc/systemd/system/{unit}"), wanted.join(unit))?;
    }
    symlink("/lib/systemd/system/containerd.service", wanted.join("containerd.service"))?;
    for manifest in ["default-cni.yaml", "default-storage.yaml"] {
        fs::copy(asset("node").join(manifest), kind.join("manifests").join(manifest))?;
    }
    for image in images {
        fs::rename(image, kind.join("images").join(image.file_name().unwrap_or_default()))?;
    }
    fs::write(kind.join("version"), KUBERNETES)?;
    symlink("/usr/lib/cni", own.join("opt/cni/bin"))?;
    let layer = scratch.join("node.layer");
    archive::layer(&own, &layer)?;
    Ok(layer)
}
