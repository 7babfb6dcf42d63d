//! The pipeline's images: Redis, Postgres and Debezium Server under the names and tags that `examples/pipeline/` uses
//! and anyone can pull. Where nobody can, they are built from packages, and say so in a label.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::archive::{self, Config};
use super::assets::asset;
use super::daemon::Docker;
use super::debian::{self, Base};
use crate::artefact::{Inputs, artefact};
use crate::command::{BUILD, output_within, program};
use crate::process::debezium;

/// One of the pipeline's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Redis.
    Redis,
    /// Postgres.
    Postgres,
    /// Debezium Server.
    Debezium,
}

/// All of them.
pub const PIPELINE: [Image; 3] = [Image::Redis, Image::Postgres, Image::Debezium];

impl Image {
    /// The official name and tag. Redis and Postgres follow Debian's minor versions, whichever way they come.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Redis => "docker.io/library/redis:7.0-bookworm".to_owned(),
            Self::Postgres => "docker.io/library/postgres:15-bookworm".to_owned(),
            Self::Debezium => format!("quay.io/debezium/server:{}", debezium::VERSION),
        }
    }

    /// An archive with the image, pulled by the given daemon or, without one, built.
    pub(crate) fn archive(self, pull: Option<&Docker>) -> Result<PathBuf> {
        match (pull, self) {
            (Some(docker), _) => self.pulled(docker),
            (None, Self::Redis) => self.redis(),
            (None, Self::Postgres) => self.postgres(),
            (None, Self::Debezium) => self.debezium(),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::Debezium => "debezium",
        }
    }

    fn pulled(self, docker: &Docker) -> Result<PathBuf> {
        let name = self.name();
        let built =
            artefact(&format!("{}-pulled", self.label()), &Inputs::new().text(&name).renewed(), |into| {
                output_within(docker.cli().args(["pull", "--quiet", &name]), BUILD)
                    .context("FRESHET_IMAGES=build makes the images of packages instead")?;
                let mut save = docker.cli();
                save.args(["save", "--output"]).arg(into.join("image.tar")).arg(&name);
                output_within(&mut save, BUILD).map(drop)
            })?;
        Ok(built.join("image.tar"))
    }

    /// Puts `own` (a folder that `fill` lays out) on top of the Debian root and keeps the result.
    fn built(
        self,
        root: PathBuf,
        inputs: Inputs,
        config: &Config,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let name = self.name();
        let inputs = inputs.text(&name).text("layout 2").text(serde_json::to_string(config)?).artefact(&root);
        let built = artefact(&format!("{}-image", self.label()), &inputs, |into| {
            let scratch = into.join("scratch");
            let own = scratch.join("own");
            fs::create_dir_all(own.join("etc"))?;
            let user = config.user.split(':').next().unwrap_or_default();
            let (label, home) = (self.label(), &config.working_dir);
            let root_user = "root:x:0:0::/root:/bin/sh\n";
            fs::write(
                own.join("etc/passwd"),
                format!("{root_user}{label}:x:{user}:{user}::{home}:/bin/sh\n"),
            )?;
            fs::write(own.join("etc/group"), format!("root:x:0:\n{label}:x:{user}:\n"))?;
            // Without it /etc/hosts is not asked.
            fs::write(own.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
            fill(&own)?;
            let layer = scratch.join("layer.tar");
            archive::layer(&own, &layer)?;
            archive::write(&into.join("image.tar"), &[&name], &[root, layer], config, "packages")?;
            fs::remove_dir_all(&scratch).context("removing the scratch folder")
        })?;
        Ok(built.join("image.tar"))
    }

    fn redis(self) -> Result<PathBuf> {
        let root = debian::root("redis-root", Base::Extract, &["redis-server", "dash", "coreutils"], &[])?;
        let config = Config {
            cmd: vec!["redis-server".to_owned()],
            env: vec!["PATH=/usr/local/bin:/usr/bin:/bin".to_owned()],
            user: "999:999".to_owned(),
            working_dir: "/data".to_owned(),
            ..Config::default()
        };
        self.built(root, Inputs::new(), &config, |own| Ok(fs::create_dir(own.join("data"))?))
    }

    fn postgres(self) -> Result<PathBuf> {
        let packages = ["postgresql-15", "dash", "coreutils", "libc-bin"];
        let root = debian::root("postgres-root", Base::Extract, &packages, &[])?;
        let config = Config {
            entrypoint: vec!["docker-entrypoint.sh".to_owned()],
            cmd: vec!["postgres".to_owned()],
            env: vec![
                "PATH=/usr/local/bin:/usr/lib/postgresql/15/bin:/usr/bin:/bin".to_owned(),
                "LANG=C.UTF-8".to_owned(),
                "PGDATA=/var/lib/postgresql/data".to_owned(),
            ],
            user: "999:999".to_owned(),
            working_dir: "/var/lib/postgresql".to_owned(),
            // "Fast": the default, SIGTERM, waits for clients to leave.
            stop_signal: "SIGINT".to_owned(),
        };
        let entrypoint = asset("postgres/entrypoint");
        self.built(root, Inputs::new().path(&entrypoint)?, &config, |own| {
            for folder in [
                "usr/local/bin",
                "var/lib/postgresql/data",
                "var/run/postgresql",
                "docker-entrypoint-initdb.d",
            ] {
                fs::create_dir_all(own.join(folder))?;
            }
            fs::copy(&entrypoint, own.join("usr/local/bin/docker-entrypoint.sh"))?;
            Ok(())
        })
    }

    fn debezium(self) -> Result<PathBuf> {
        let (distribution, java) = (debezium::distribution()?, debezium::java_home()?);
        let root = debian::root("java-root", Base::Extract, &["bash", "dash", "coreutils", "zlib1g"], &[])?;
        let config = Config {
            cmd: vec!["/debezium/run.sh".to_owned()],
            env: vec![
                "PATH=/opt/java/bin:/usr/bin:/bin".to_owned(),
                "JAVA_HOME=/opt/java".to_owned(),
                "LANG=C.UTF-8".to_owned(),
            ],
            user: "185:185".to_owned(),
            working_dir: "/debezium".to_owned(),
            ..Config::default()
        };
        let inputs = Inputs::new().artefact(&distribution).artefact(&java);
        self.built(root, inputs, &config, |own| {
            fs::create_dir(own.join("opt"))?;
            // Hard links: half a gigabyte needn't be copied to be packed.
            for (from, to) in [(&distribution, "debezium"), (&java, "opt/java")] {
                let mut copy = program("cp");
                copy.args(["--archive", "--link"]).arg(from).arg(own.join(to));
                output_within(&mut copy, BUILD)?;
            }
            fs::create_dir_all(own.join("debezium/data"))?;
            Ok(())
        })
    }
}
