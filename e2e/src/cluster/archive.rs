//! Container images written by hand, as archives that `docker load`, `ctr import` and `kind load` read. No image
//! ever enters a Docker daemon on its way into a node, so none stays there under an official name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

use crate::command::{BUILD, output_within, program};

/// The label that says of an image that we built it from packages. Its value says from which.
pub const BUILT_FROM: &str = "dev.freshet.built-from";

/// What a container of the image runs as, unless its pod says otherwise.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    /// The start of the command line, which arguments don't replace.
    pub(super) entrypoint: Vec<String>,
    /// The rest of it, which they do.
    pub(super) cmd: Vec<String>,
    /// `NAME=value` each.
    pub(super) env: Vec<String>,
    /// `uid:gid`; empty: root.
    pub(super) user: String,
    /// The folder it starts in; empty: `/`.
    pub(super) working_dir: String,
    /// The signal that asks it to end; empty: SIGTERM.
    pub(super) stop_signal: String,
}

/// Writes an image archive to `file`: the `layers` (plain tar files, lowest first) under all of `names`, with the
/// label [`BUILT_FROM`] = `built_from`.
pub(super) fn write(
    file: &Path,
    names: &[impl AsRef<str>],
    layers: &[PathBuf],
    config: &Config,
    built_from: &str,
) -> Result<()> {
    let folder = scratch(file)?;
    let mut sums = Vec::new();
    for layer in layers {
        let sum = sha256(layer)?;
        let place = folder.path().join(format!("{sum}.tar"));
        if !place.exists() {
            // Same file system by construction of the callers, mostly; a copy otherwise.
            fs::hard_link(layer, &place)
                .or_else(|_| fs::copy(layer, &place).map(drop))
                .with_context(|| format!("adding the layer {}", layer.display()))?;
        }
        sums.push(sum);
    }
    let mut settings = serde_json::to_value(config)?;
    settings["Labels"] = json!({BUILT_FROM: built_from});
    let image = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": sums.iter().map(|sum| format!("sha256:{sum}")).collect::<Vec<_>>()},
        "history": sums.iter().map(|_| json!({"created_by": built_from})).collect::<Vec<_>>(),
    });
    let text = serde_json::to_vec(&image)?;
    let unnamed = folder.path().join("config");
    fs::write(&unnamed, text)?;
    let name = format!("{}.json", sha256(&unnamed)?);
    fs::rename(&unnamed, folder.path().join(&name))?;
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let layers: Vec<String> = sums.iter().map(|sum| format!("{sum}.tar")).collect();
    let manifest = json!([{"Config": name, "RepoTags": names, "Layers": layers}]);
    fs::write(folder.path().join("manifest.json"), serde_json::to_vec(&manifest)?)?;
    let mut parts = vec!["manifest.json".to_owned(), name];
    parts.extend(
        sums.iter()
            .enumerate()
            .filter(|(at, sum)| !sums[..*at].contains(sum))
            .map(|(_, sum)| format!("{sum}.tar")),
    );
    pack(folder.path(), file, &parts)
}

/// Writes the folder's content as a layer: owned by root, in a fixed order, with no times in it, so that the same
/// content is the same layer.
pub(super) fn layer(folder: &Path, file: &Path) -> Result<()> {
    pack(folder, file, &[".".to_owned()])
}

/// Writes to `file` an image `FROM scratch` that holds one static binary, `/<name of the binary>`, and starts it as
/// an unprivileged user.
pub fn of_static_binary(file: &Path, name: &str, binary: &Path) -> Result<()> {
    let base = binary.file_name().context("a binary's path ends in its name")?.to_string_lossy().into_owned();
    let folder = scratch(file)?;
    let content = folder.path().join("content");
    // Programs expect a writable /tmp and something to resolve user names with, and nothing else.
    fs::create_dir_all(content.join("tmp"))?;
    fs::create_dir_all(content.join("etc"))?;
    fs::set_permissions(content.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(content.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    fs::write(content.join("etc/passwd"), "nonroot:x:65532:65532::/:/none\n")?;
    fs::copy(binary, content.join(&base)).with_context(|| format!("copying {}", binary.display()))?;
    let packed = folder.path().join("layer");
    layer(&content, &packed)?;
    let config = Config {
        entrypoint: vec![format!("/{base}")],
        user: "65532:65532".to_owned(),
        env: vec!["PATH=/".to_owned()],
        ..Config::default()
    };
    write(file, &[name], &[packed], &config, "this checkout")
}

fn scratch(file: &Path) -> Result<tempfile::TempDir> {
    let beside = file.parent().context("an archive lies in a folder")?;
    fs::create_dir_all(beside).with_context(|| format!("making {}", beside.display()))?;
    tempfile::Builder::new()
        .prefix(".archive-")
        .tempdir_in(beside)
        .with_context(|| format!("making a folder in {}", beside.display()))
}

fn pack(folder: &Path, file: &Path, parts: &[String]) -> Result<()> {
    let mut tar = program("tar");
    tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "-C"]);
    output_within(tar.arg(folder).arg("-cf").arg(file).args(parts), BUILD).map(drop)
}

/// By the program: ours would take a minute for a node image in a debug build.
fn sha256(file: &Path) -> Result<String> {
    let line = output_within(program("sha256sum").arg("--binary").arg(file), BUILD)?;
    let sum = line.trim_start_matches('\\').split_whitespace().next().context("sha256sum printed nothing")?;
    Ok(sum.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_names_its_parts_by_what_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("freshet-nothing");
        fs::write(&binary, "not really").unwrap();
        let file = folder.path().join("image.tar");
        of_static_binary(&file, "freshet.dev/nothing:1", &binary).unwrap();
        let read =
            |name: &str| crate::command::output(program("tar").arg("-xOf").arg(&file).arg(name)).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&read("manifest.json")).unwrap();
        assert_eq!(manifest[0]["RepoTags"], json!(["freshet.dev/nothing:1"]));
        let config = manifest[0]["Config"].as_str().unwrap();
        let config: serde_json::Value = serde_json::from_str(&read(config)).unwrap();
        assert_eq!(config["config"]["Entrypoint"], json!(["/freshet-nothing"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Labels"][BUILT_FROM], "this checkout");
        let layer = manifest[0]["Layers"][0].as_str().unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{}", layer.trim_end_matches(".tar")));
        let first = fs::read(&file).unwrap();
        of_static_binary(&file, "freshet.dev/nothing:1", &binary).unwrap();
        assert!(first == fs::read(&file).unwrap(), "the same binary gives the same archive");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no scratch folder stays");
    }
}
