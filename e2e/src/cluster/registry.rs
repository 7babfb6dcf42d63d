//! Whether the images that a user pulls can be pulled here, decided once per run for all of them: a cluster made of
//! some pulled and some built images would be a third thing that nobody else has.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};

use super::command::{output, program};

/// How long the registries have to answer; all are asked at once.
const WITHIN: Duration = Duration::from_secs(8);

/// The registries that the pipeline's and the node's images come from.
const REGISTRIES: [&str; 2] = ["registry-1.docker.io", "quay.io"];

/// Where images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Pulled under their official names.
    Pulled,
    /// Built from packages under the same names, and labelled so.
    Built,
}

/// The source of this run's images: `FRESHET_IMAGES=pull|build` if it is set, else pulled if every registry answers
/// within 10 s.
pub fn source() -> Result<Source> {
    static DECIDED: OnceLock<Source> = OnceLock::new();
    if let Some(decided) = DECIDED.get() {
        return Ok(*decided);
    }
    let decided = match std::env::var("FRESHET_IMAGES").as_deref() {
        Ok("pull") => Source::Pulled,
        Ok("build") => Source::Built,
        Ok(other) if !other.is_empty() => {
            bail!("FRESHET_IMAGES={other}: it is `pull` or `build`, or not set")
        }
        _ => reachable(),
    };
    Ok(*DECIDED.get_or_init(|| decided))
}

/// A registry's answer to `GET /v2/` names the API version, with 401 as well; a captive portal's doesn't.
fn reachable() -> Source {
    let mut curl = program("curl");
    let within = WITHIN.as_secs().to_string();
    curl.args(["--silent", "--include", "--parallel", "--parallel-immediate", "--max-time", &within]);
    curl.args(REGISTRIES.map(|name| format!("https://{name}/v2/")));
    let Ok(answers) = output(&mut curl) else { return Source::Built };
    let registries = answers
        .lines()
        .filter(|line| line.to_ascii_lowercase().starts_with("docker-distribution-api-version:"));
    if registries.count() == REGISTRIES.len() { Source::Pulled } else { Source::Built }
}
