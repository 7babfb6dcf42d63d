//! `cargo xtask cluster …` and `cargo xtask e2e`: the cluster by hand, and the tests on it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use freshet_e2e::artefact;
use freshet_e2e::cluster::{self, Cluster, OwnImages, Owner};
use freshet_e2e::command::{program, show, step};
use freshet_e2e::stop::take_stop;

use crate::demo;

/// What can be done with the cluster by hand.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Makes the cluster of this checkout, or finds it running.
    Up {
        /// Let it run until `down`; otherwise it may be removed once the shell that started this has ended.
        #[arg(long)]
        detach_owner: bool,
        #[command(flatten)]
        which: Which,
    },
    /// Removes it, and all of ours in Docker, in the kernel and among the processes with the last one.
    Down(Which),
    /// Prints the path of its kubeconfig: `export KUBECONFIG=$(cargo xtask cluster kubeconfig)`.
    Kubeconfig(Which),
    /// Puts an image archive (as of `docker save`) into its nodes.
    Load {
        /// The archive.
        image: PathBuf,
        #[command(flatten)]
        which: Which,
    },
    /// Removes clusters whose owner has ended; prints what is left of any.
    Sweep {
        /// Also those that belong to nobody (`--detach-owner`).
        #[arg(long)]
        detached: bool,
    },
}

/// Which of the checkout's clusters is meant.
#[derive(clap::Args)]
pub(crate) struct Which {
    /// What it is for; clusters for different purposes run side by side. Without it: the one of the tests.
    #[arg(long = "for", value_name = "PURPOSE", default_value = "", hide_default_value = true)]
    purpose: String,
}

pub(crate) fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Up { detach_owner, which } => {
            let owner = if detach_owner { Owner::Nobody } else { Owner::parent() };
            let cluster = Cluster::up(&which.purpose, owner)?;
            println!("export KUBECONFIG={}", cluster.kubeconfig().display());
            Ok(())
        }
        Verb::Down(which) => match Cluster::find(&which.purpose)? {
            Some(cluster) => cluster.down(),
            None => cluster::sweep(false),
        },
        Verb::Kubeconfig(which) => {
            println!("{}", Cluster::attach(&which.purpose)?.kubeconfig().display());
            Ok(())
        }
        Verb::Load { image, which } => {
            let cluster = Cluster::attach(&which.purpose)?;
            step(&format!("loading {}", image.display()), || cluster.load_image(&image))
        }
        Verb::Sweep { detached } => {
            cluster::sweep(detached)?;
            cluster::leftovers()?.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
    }
}

/// Runs the tests that need the cluster: first those that make and kill clusters of their own, then the others and the
/// demo on one that is removed at the end, also after a failure or a signal, unless it was there before. `filter` goes
/// to the test programs.
pub(crate) fn e2e(root: &Path, filter: &[String]) -> Result<()> {
    if filter.is_empty() {
        tests(root, "leftovers", filter).inspect_err(|_| {
            // The test may have been ended in the middle of a run that it made.
            take_stop();
            // The tests' Cargo may have put another xtask where this one was; this is the program that runs.
            let mut sweep = program(format!("/proc/{}/exe", std::process::id()));
            // All of them: the one that belongs to nobody, too, is the test's.
            sweep.args(["cluster", "sweep", "--detached"]);
            if let Err(error) = show(sweep.env("FRESHET_CACHE", artefact::folder_for_killed_runs())) {
                eprintln!("removing what the tests of leftovers left: {error:#}");
            }
        })?;
    }
    let cluster = Cluster::up("", Owner::this())?;
    let tested = tests(root, "cluster", filter).and_then(|()| tests(root, "story", filter));
    let tested = tested.and_then(|()| {
        if filter.is_empty() {
            step("the demo, and what it says to try next", || {
                demo::play(&cluster, &OwnImages::build()?)?;
                demo::try_next(&cluster)
            })
        } else {
            Ok(())
        }
    });
    // The clean-up must not be ended by the signal that ended the tests.
    let stopped = take_stop();
    let removed = if cluster.made_here() {
        cluster.down()
    } else {
        eprintln!("The cluster {} was there before, and stays.", cluster.name());
        Ok(())
    };
    tested?;
    removed?;
    if stopped {
        bail!("asked to stop");
    }
    Ok(())
}

fn tests(root: &Path, name: &str, filter: &[String]) -> Result<()> {
    step(&format!("tests of {name}"), || {
        let mut cargo = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root).args(["test", "--workspace", "--test", name, "--"]).args(filter);
        show(&mut cargo).with_context(|| format!("the tests of {name} failed"))
    })
}
