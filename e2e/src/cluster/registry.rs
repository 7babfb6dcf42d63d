//! Whether the images that a user pulls can be pulled here, decided once per run for all of them: a cluster made of
//! some pulled and some built images would be a third thing that nobody else has.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, bail};

use super::daemon::Docker;
use super::lifecycle::choose_daemon;
use crate::command::{Said, output, program, said};

/// How long the registries have to answer; all are asked at once.
const WITHIN: Duration = Duration::from_secs(8);

/// The registries that the pipeline's and the node's images come from.
const REGISTRIES: [&str; 2] = ["registry-1.docker.io", "quay.io"];

/// An image of each, with a tag that none has: asking for it leaves nothing behind.
const NO_IMAGES: [&str; 2] = ["docker.io/library/redis:freshet-asks", "quay.io/debezium/server:freshet-asks"];

/// Where images come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Pulled under their official names.
    Pulled,
    /// Built from packages under the same names, and labelled so.
    Built,
}

/// The source of this run's images: `FRESHET_IMAGES=pull|build` if it is set, else pulled if every registry answers the
/// daemon that would pull within 10 s.
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
        _ => match choose_daemon()? {
            users @ Docker::Users(_) => pulls(&users),
            // It may not run yet, and has our environment and our network when it does.
            Docker::Own(_) => reachable(),
        },
    };
    Ok(*DECIDED.get_or_init(|| decided))
}

/// Whether this daemon reaches the registries: it may have a proxy, a mirror or a network that we don't have.
fn pulls(docker: &Docker) -> Source {
    let answers: Vec<_> = std::thread::scope(|scope| {
        let pull = |image| scope.spawn(move || said(docker.cli().args(["pull", image]), None, WITHIN));
        let pulls = NO_IMAGES.map(pull);
        pulls.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let answered = |answer| matches!(answer, Ok(Ok(Said { errors, .. })) if is_from_registry(&errors));
    if answers.into_iter().all(answered) { Source::Pulled } else { Source::Built }
}

/// Whether it was a registry that had no such image; daemons word it in two ways.
fn is_from_registry(refusal: &str) -> bool {
    refusal.contains("manifest unknown") || refusal.trim_end().ends_with(": not found")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_says_that_it_has_no_such_image() {
        for refusal in [
            "Error response from daemon: manifest for redis:freshet-asks not found: manifest unknown: manifest unknown",
            "Error response from daemon: failed to resolve reference \"docker.io/library/redis:freshet-asks\": \
             docker.io/library/redis:freshet-asks: not found\n",
        ] {
            assert!(is_from_registry(refusal), "{refusal}");
        }
        for refusal in [
            "Error response from daemon: Get \"https://quay.io/v2/\": dial tcp: lookup quay.io: no such host",
            "Error response from daemon: Get \"https://quay.io/v2/\": net/http: TLS handshake timeout",
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        ] {
            assert!(!is_from_registry(refusal), "{refusal}");
        }
    }
}
