//! The sidecar's entry point.

use std::process::ExitCode;

fn main() -> ExitCode {
    freshet_sidecar::app::main()
}
