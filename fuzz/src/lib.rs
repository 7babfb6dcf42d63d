//! Everything of Freshet that parses foreign bytes, as targets of a fuzzer.
//!
//! A target is a function of bytes that panics if a property doesn't hold. `cargo xtask fuzz` builds the binary of
//! this crate with libFuzzer and runs targets for as long as asked; without libFuzzer the same binary replays files.
//! Each target has a corpus in `corpus/<name>`, which an ordinary test replays, and perhaps a dictionary in
//! `dictionaries/<name>`. To add a target: a module with a function, seeds, and a line in [`TARGETS`].

mod batch;
mod binding;
mod bound;
mod codec;
mod coding;
mod directives;
mod envelope;
mod key;
mod lease;
mod nats_url;
mod parts;
mod position;
mod properties;
mod publish;
mod quantity;
pub mod recorded;
mod redis_url;
mod reply;
mod upstream;
mod views;

pub use bound::Bound;

/// One parser under test.
#[derive(Debug)]
pub struct Target {
    /// Its name: that of its folder in the corpus.
    pub name: &'static str,
    /// Feeds it; panics if a property doesn't hold.
    pub run: fn(&[u8]),
    /// What its corpus was grown from: good inputs and known traps.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The longest input that is tried, in bytes.
    pub longest: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", run: batch::run, seeds: batch::seeds, longest: 4 << 10 },
    Target { name: "binding", run: binding::run, seeds: binding::seeds, longest: 16 << 10 },
    Target { name: "codec", run: codec::run, seeds: codec::seeds, longest: 2 << 10 },
    Target { name: "coding", run: coding::run, seeds: coding::seeds, longest: 2 << 10 },
    Target { name: "directives", run: directives::run, seeds: directives::seeds, longest: 2 << 10 },
    Target { name: "envelope", run: envelope::run, seeds: envelope::seeds, longest: 16 << 10 },
    Target { name: "key", run: key::run, seeds: key::seeds, longest: 4 << 10 },
    Target { name: "lease", run: lease::run, seeds: lease::seeds, longest: 256 },
    Target { name: "nats-url", run: nats_url::run, seeds: nats_url::seeds, longest: 512 },
    Target { name: "position", run: position::run, seeds: position::seeds, longest: 2 << 10 },
    Target { name: "properties", run: properties::run, seeds: properties::seeds, longest: 2 << 10 },
    Target { name: "publish", run: publish::run, seeds: publish::seeds, longest: 4 << 10 },
    Target { name: "quantity", run: quantity::run, seeds: quantity::seeds, longest: 128 },
    Target { name: "redis-url", run: redis_url::run, seeds: redis_url::seeds, longest: 512 },
    Target { name: "reply", run: reply::run, seeds: reply::seeds, longest: 8 << 10 },
    Target { name: "upstream", run: upstream::run, seeds: upstream::seeds, longest: 4 << 10 },
    Target { name: "views", run: views::run, seeds: views::seeds, longest: 4 << 10 },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
