//! The benchmarks that run inside one process: a program of its own, because `cargo xtask` isn't built to be fast.

use anyhow::{Context as _, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, number] = arguments.as_slice() else {
        bail!("freshet-bench audit ROUNDS or freshet-bench entries ENTRIES, as `cargo xtask bench` runs it")
    };
    let number = number.parse().with_context(|| format!("{number} is no number"))?;
    match what.as_str() {
        "audit" => show(&freshet_bench::audit::run(number)?),
        "entries" => show(&freshet_bench::entries::run(number)?),
        other => bail!("there is no benchmark {other}"),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what it is for")]
fn show(report: &impl std::fmt::Display) {
    print!("{report}");
}
