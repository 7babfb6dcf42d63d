//! Tests on a real cluster: `cargo xtask e2e` makes one if there is none, and runs them; to run them again and again,
//! make one by `cargo xtask cluster up` and use `cargo test --workspace --test cluster`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod pipeline;
mod static_image;
