//! Runs one target: under libFuzzer where `cargo xtask fuzz` has built it so, else over files.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzzer {
    use std::sync::OnceLock;

    use freshet_fuzz::{Target, target};

    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

    /// The target that `FRESHET_FUZZ_TARGET` names.
    fn chosen() -> &'static Target {
        CHOSEN.get_or_init(|| {
            let name = std::env::var("FRESHET_FUZZ_TARGET").unwrap_or_default();
            target(&name).unwrap_or_else(|| panic!("FRESHET_FUZZ_TARGET names no target: `{name}`"))
        })
    }

    libfuzzer_sys::fuzz_target!(init: chosen(), |input: &[u8]| (chosen().run)(input));
}

#[cfg(not(fuzzing))]
fn main() -> anyhow::Result<()> {
    use anyhow::{Context as _, bail};
    use freshet_fuzz::{TARGETS, target};

    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["targets"] => TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.longest)),
        ["seed", name, folder] => {
            let target = target(name).with_context(|| format!("there is no target {name}"))?;
            for (i, seed) in (target.seeds)().iter().enumerate() {
                std::fs::write(format!("{folder}/seed-{i:04}"), seed)?;
            }
        }
        ["replay", name, files @ ..] => {
            let target = target(name).with_context(|| format!("there is no target {name}"))?;
            for file in files {
                println!("{file}");
                (target.run)(&std::fs::read(file).with_context(|| (*file).to_owned())?);
            }
        }
        _ => bail!("targets, or seed TARGET FOLDER, or replay TARGET FILE..."),
    }
    Ok(())
}
