//! Waiting for a condition, with a deadline and an account of what was last seen.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::stop::check_stop;

/// Asks `probe` every few milliseconds until it answers `Ok`, for at most `within`.
///
/// The error of the last attempt becomes the reason of the failure, after `what`: "the row in the stream: not within
/// 10 s: stream shop.cdc has 3 entries". Being asked to stop ends it, too.
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= within => {
                return Err(anyhow!("{what}: not within {within:?}: {last:#}"));
            }
            Err(_) => {}
        }
        check_stop().with_context(|| what.to_owned())?;
        thread::sleep(pause);
        // Quick at first, because most conditions hold at once; then sparing with the processor.
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_reason_is_told() {
        let mut asked = 0;
        let failed = until("the third answer", Duration::from_millis(500), || -> Result<()> {
            asked += 1;
            Err(anyhow!("this was {}", if asked == 1 { "the first" } else { "a later one" }))
        });
        let reason = failed.unwrap_err().to_string();
        assert_eq!(reason, "the third answer: not within 500ms: this was a later one");
    }

    #[test]
    fn the_first_success_ends_it() {
        let mut asked = 0;
        let answer = until("three", Duration::from_secs(5), || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err(anyhow!("only {asked}")) }
        });
        assert_eq!(answer.unwrap(), 3);
    }
}
