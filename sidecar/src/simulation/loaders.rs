//! Who was told to load, and whether whoever comes later may be told that somebody is loading.

use super::{
    account::Judge,
    checker::Violation,
    kinds::Kind,
    world::{START, World},
};
use crate::{
    clock::{Tick, millis},
    loaders::{LOADING_TIME, Loading},
};

/// The last reader of a key that was told to load it, and hasn't come back.
#[derive(Clone, Debug)]
pub(crate) struct Loader {
    token: String,
    told: u64,
    moment: u64,
}

impl Judge {
    /// A reader was told who is to load: never nobody.
    pub(crate) fn told(
        &mut self,
        kind: Kind,
        key: u8,
        token: &str,
        fill: Loading,
        now: u64,
    ) -> Option<(Loader, Tick)> {
        match fill {
            Loading::You => {
                let loader = Loader { token: token.to_owned(), told: now, moment: self.moment };
                self.loaders.insert((kind, key), loader);
                None
            }
            Loading::Other(until) => {
                let nobody = Loader { token: String::new(), told: 0, moment: 0 };
                Some((self.loaders.get(&(kind, key)).cloned().unwrap_or(nobody), until))
            }
        }
    }

    /// A load has come to its end: with a value, whoever brought it, or with a refusal.
    pub(crate) fn loaded(&mut self, kind: Kind, key: u8, token: &str, stored: bool) {
        if stored || self.loaders.get(&(kind, key)).is_some_and(|loader| loader.token == token) {
            self.loaders.remove(&(kind, key));
        }
    }
}

/// Somebody is loading: was told to less than 10 s ago, hasn't come back, and what is brought would be taken.
pub(crate) fn is_loading(
    world: &World,
    kind: Kind,
    key: u8,
    (loader, until): &(Loader, Tick),
) -> Result<(), Violation> {
    let fault = |text: &str| Err(Violation::new("loader", format!("{} {key}: {text}", kind.name())));
    if loader.token.is_empty() {
        return fault("nobody is loading");
    }
    let end = loader.told + millis(LOADING_TIME);
    if world.now >= end || *until != Tick(START + end) {
        return fault("whoever was told to load has had its time");
    }
    let applied = |event: usize| {
        let fate = &world.judge.fates[event];
        !fate.dropped && fate.delivered.is_some_and(|(_, moment)| moment > loader.moment)
    };
    if kind.known_places(key).any(|place| world.db.of(place).any(applied)) {
        return fault("what is being loaded will be refused");
    }
    Ok(())
}
