//! Being asked to stop: noticed by everything here that waits, so that what was set up is taken down again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From here on SIGINT, SIGTERM and SIGHUP don't end this process: the program that runs is ended and its caller
/// gets an error, so that the caller can take down what it has set up.
pub fn stop_on_signals() -> Result<()> {
    let flag = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("watching for signals")?;
    }
    Ok(())
}

/// Whether we were asked to stop; forgets it, so that the clean-up isn't ended by the same signal.
pub fn take_stop() -> bool {
    STOP.get().is_some_and(|flag| flag.swap(false, Ordering::SeqCst))
}

/// An error when we were asked to stop.
pub(crate) fn check_stop() -> Result<()> {
    if STOP.get().is_some_and(|flag| flag.load(Ordering::SeqCst)) {
        bail!("asked to stop");
    }
    Ok(())
}
