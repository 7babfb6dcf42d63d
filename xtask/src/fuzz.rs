//! `cargo xtask fuzz`: the parsers of foreign bytes under libFuzzer, on the pinned stable toolchain.
//!
//! What cargo-fuzz would do, without it: the crate `fuzz` is built with the compiler's coverage counters and with
//! libFuzzer, whose C++ comes in a crate. An input that breaks a property, takes too long or too much memory is saved,
//! and its path printed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use freshet_e2e::cargo::build;
use freshet_e2e::command::{BUILD, output, output_within, program, said};

/// The crate of the targets.
const CRATE: &str = "freshet-fuzz";
/// Debian packages that building libFuzzer needs.
pub(crate) const PACKAGES: &[&str] = &["g++"];

/// How long each target tries new inputs in a bounded run.
const BOUNDED: Duration = Duration::from_secs(2);
/// How long one input may take. A thousand times what any takes, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most memory a target may have, in mebibytes; what one input may cost is bounded in proportion to it as well.
const MEMORY: u32 = 768;
/// How long anything may take beyond the time that new inputs are tried: start, corpus, minimizing.
const SPARE: Duration = Duration::from_mins(2);

/// What the coverage counters need. `fuzzing` is what the crate looks at.
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What is done with the targets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// The corpus, and a few seconds of new inputs each.
    Bounded,
    /// So long for each, and what was found is kept beside the build.
    Long(Duration),
    /// The corpus becomes the smallest set of inputs, of it, the seeds and what was found, that reaches as much.
    Distill,
}

/// Runs the targets of these names, or all.
pub(crate) fn run(root: &Path, only: &[String], mode: Mode) -> Result<()> {
    let package = Package::build(root)?;
    let targets = package.targets()?;
    if let Some(unknown) = only.iter().find(|name| !targets.iter().any(|(known, _)| known == *name)) {
        let known: Vec<_> = targets.iter().map(|(name, _)| name.as_str()).collect();
        bail!("no target is called {unknown}; there are: {}", known.join(", "));
    }
    for (name, longest) in targets.iter().filter(|(name, _)| only.is_empty() || only.contains(name)) {
        package.target(name, longest).run(mode).with_context(|| format!("the target {name}"))?;
    }
    Ok(())
}

/// The crate of the targets, built.
struct Package {
    /// Its folder.
    folder: PathBuf,
    /// The program with libFuzzer.
    fuzzer: PathBuf,
    /// The program without: it lists and seeds.
    plain: PathBuf,
    /// Where inputs are kept that aren't the project's.
    work: PathBuf,
}

impl Package {
    fn build(root: &Path) -> Result<Self> {
        let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        // Only with a target named do build scripts and macros go without the flags.
        let fuzzer = build(CRATE, |cargo| {
            cargo.args(["--profile", "fuzz", "--target", &triple]);
            cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f")).env("CARGO_INCREMENTAL", "0");
        })?;
        let plain = build(CRATE, |_| {})?;
        let work = plain.with_file_name("freshet-fuzz-work");
        Ok(Self { folder: root.join("fuzz"), fuzzer, plain, work })
    }

    /// Name and longest input of each target.
    fn targets(&self) -> Result<Vec<(String, String)>> {
        let listed = output(program(&self.plain).arg("targets"))?;
        let parse =
            |line: &str| line.split_once(' ').map(|(name, longest)| (name.to_owned(), longest.to_owned()));
        listed.lines().map(parse).collect::<Option<_>>().context("targets are listed with a length each")
    }

    fn target<'a>(&'a self, name: &'a str, longest: &'a str) -> Target<'a> {
        Target {
            package: self,
            name,
            longest,
            corpus: self.folder.join("corpus").join(name),
            found: self.work.join("found").join(name),
            fresh: self.work.join("fresh").join(name),
            failures: self.work.join("failures"),
        }
    }
}

struct Target<'a> {
    package: &'a Package,
    name: &'a str,
    longest: &'a str,
    /// The project's inputs.
    corpus: PathBuf,
    /// What long runs have found since.
    found: PathBuf,
    /// What the run at hand finds, or makes.
    fresh: PathBuf,
    /// Inputs that failed.
    failures: PathBuf,
}

impl Target<'_> {
    fn run(&self, mode: Mode) -> Result<()> {
        if self.fresh.exists() {
            fs::remove_dir_all(&self.fresh)?;
        }
        for folder in [&self.corpus, &self.found, &self.fresh, &self.failures] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        match mode {
            Mode::Bounded => self.fuzz(&[&self.fresh, &self.corpus], BOUNDED),
            Mode::Long(time) => self.fuzz(&[&self.found, &self.corpus], time),
            Mode::Distill => self.distill(),
        }
    }

    /// Runs the inputs of the folders, and new ones for so long, kept in the first.
    fn fuzz(&self, folders: &[&Path], time: Duration) -> Result<()> {
        let mut fuzzer = self.fuzzer();
        fuzzer.arg(format!("-max_total_time={}", time.as_secs())).args(folders);
        let dictionary = self.package.folder.join("dictionaries").join(self.name);
        if dictionary.is_file() {
            fuzzer.arg(format!("-dict={}", dictionary.display()));
        }
        let before = self.failed()?;
        let said = said(&mut fuzzer, None, time + SPARE)?;
        if !said.status.success() {
            let new: Vec<_> = self.failed()?.difference(&before).cloned().collect();
            let lines: Vec<_> = said.errors.lines().collect();
            let from =
                lines.iter().position(|line| is_failure(line)).unwrap_or(lines.len().saturating_sub(20));
            let shown: Vec<_> = lines[from..].iter().take(12).map(|line| first(line, 400)).collect();
            bail!(
                "{}\nThe input is saved: {}\nTo see it fail again: cargo run -p freshet-fuzz -- replay {} {}",
                shown.join("\n"),
                if new.is_empty() { "(not saved)".into() } else { new.join(" ") },
                self.name,
                new.first().map_or("", String::as_str),
            );
        }
        let last =
            |what: &str| said.errors.lines().rev().find_map(|line| word_after(line, what)).unwrap_or("?");
        println!(
            "{:>12}: {} inputs, coverage {}, {} MB",
            self.name,
            last("number_of_executed_units:"),
            last("cov:"),
            last("peak_rss_mb:")
        );
        Ok(())
    }

    fn distill(&self) -> Result<()> {
        let seeds = self.package.work.join("seeds").join(self.name);
        fs::create_dir_all(&seeds)?;
        output(program(&self.package.plain).args(["seed", self.name]).arg(&seeds))?;
        let mut merge = self.fuzzer();
        // How often a place is reached would make it ten times as large.
        merge.args(["-set_cover_merge=1", "-use_counters=0"]).args([
            &self.fresh,
            &self.corpus,
            &self.found,
            &seeds,
        ]);
        output_within(&mut merge, BUILD)?;
        let count = |folder: &Path| fs::read_dir(folder).map(Iterator::count);
        println!("{:>12}: {} inputs instead of {}", self.name, count(&self.fresh)?, count(&self.corpus)?);
        fs::remove_dir_all(&self.corpus)?;
        fs::create_dir_all(&self.corpus)?;
        for input in fs::read_dir(&self.fresh)? {
            let input = input?;
            fs::copy(input.path(), self.corpus.join(input.file_name()))?;
        }
        Ok(())
    }

    fn fuzzer(&self) -> Command {
        let mut fuzzer = program(&self.package.fuzzer);
        fuzzer.env("FRESHET_FUZZ_TARGET", self.name).env("RUST_BACKTRACE", "0").args([
            &format!("-max_len={}", self.longest),
            &format!("-timeout={}", PATIENCE.as_secs()),
            &format!("-rss_limit_mb={MEMORY}"),
            &format!("-artifact_prefix={}/{}-", self.failures.display(), self.name),
            "-print_final_stats=1",
        ]);
        fuzzer
    }

    /// Paths of inputs that have failed so far.
    fn failed(&self) -> Result<BTreeSet<String>> {
        fs::read_dir(&self.failures)?.map(|file| Ok(file?.path().display().to_string())).collect()
    }
}

/// Whether libFuzzer or the target begins to tell what went wrong.
fn is_failure(line: &str) -> bool {
    ["panicked at", "memory allocation of", "ERROR: libFuzzer"].iter().any(|text| line.contains(text))
}

/// The word after this one.
fn word_after<'l>(line: &'l str, before: &str) -> Option<&'l str> {
    line.split_once(before)?.1.split_whitespace().next()
}

/// The line's beginning.
fn first(line: &str, most: usize) -> String {
    line.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_says_is_read() {
        let line = "#14941\tREDUCE cov: 1141 ft: 2804 corp: 374/10095b lim: 76 exec/s: 0 rss: 32Mb";
        assert_eq!(word_after(line, "cov:"), Some("1141"));
        assert_eq!(word_after("stat::peak_rss_mb:              31", "peak_rss_mb:"), Some("31"));
        assert_eq!(word_after(line, "peak_rss_mb:"), None);
        assert!(is_failure("==9== ERROR: libFuzzer: out-of-memory (used: 800Mb; limit: 768Mb)"));
        assert!(!is_failure(line));
    }
}
