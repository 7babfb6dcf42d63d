//! The operator's entry point.

use std::process::ExitCode;

use freshet_operator::args::Args;

fn main() -> ExitCode {
    // Before anything makes a connection: kube would otherwise look for a provider of its own.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    Args::parse_and_run()
}
