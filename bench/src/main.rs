//! The benchmarks that run inside one process: a program of its own, because `cargo xtask` isn't built to be fast.

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, number, program) = match arguments.as_slice() {
        [what, number] => (what, number, None),
        [what, number, program] => (what, number, Some(program)),
        _ => bail!(
            "freshet-bench audit ROUNDS, entries ENTRIES, or views SAMPLES SIDECAR, as `cargo xtask bench` runs it"
        ),
    };
    let number = number.parse().with_context(|| format!("{number} is no number"))?;
    match (what.as_str(), program) {
        ("audit", None) => show(&freshet_bench::audit::run(number)?),
        ("entries", None) => show(&freshet_bench::entries::run(number)?),
        ("views", Some(sidecar)) => show(&freshet_bench::views::run(sidecar.as_ref(), number)?),
        (other, _) => bail!("there is no benchmark {other} with these arguments"),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn show(report: &impl std::fmt::Display) {
    print!("{report}");
}
