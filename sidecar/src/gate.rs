//! What an application's start waits for: a sidecar that listens, or one that has read up and vouches for every cache.
//!
//! Who injects the sidecar says which, for the kubelet's patience has to fit it: what the binding says later is for later pods.
//! The gate opens once and stays open; at its deadline it opens all the same, since an application with a cold cache is
//! better than none.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use freshet_crds::StartGate;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::{
    catalog::Catalog,
    clock::{Tick, millis},
    feed::Feed,
    status::judge,
};

/// The gate of one sidecar.
#[derive(Debug)]
pub struct Gate {
    /// What it waits for, and how long at most.
    waits: StartGate,
    deadline: Duration,
    /// When the sidecar was started.
    began: Tick,
    opened: OnceLock<Opened>,
}

/// When and why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// When.
    pub at: Tick,
    /// Whether what it waits for was there; otherwise its deadline had passed.
    pub in_time: bool,
}

impl Gate {
    /// A gate that is shut.
    #[must_use]
    pub fn new(waits: StartGate, deadline: Duration, began: Tick) -> Self {
        Self { waits, deadline, began, opened: OnceLock::new() }
    }

    /// Opens it if it is time; what is waited for, if not.
    pub fn try_open(&self, catalog: Option<&Catalog>, now: Tick) -> Result<Opened, Vec<String>> {
        if let Some(opened) = self.opened.get() {
            return Ok(*opened);
        }
        let Self { waits, deadline, .. } = *self;
        let missing = if waits == StartGate::Synced { unsynced(catalog, now) } else { Vec::new() };
        let in_time = missing.is_empty();
        if !in_time && now.since(self.began) < deadline {
            return Err(missing);
        }
        let opened = Opened { at: now, in_time };
        if self.opened.set(opened).is_ok() && waits == StartGate::Synced {
            let after_ms = millis(now.since(self.began));
            if in_time {
                info!(after_ms, "synced: the application may start");
            } else {
                let missing = missing.join(", ");
                warn!(after_ms, missing, "not synced at the deadline: the application starts all the same");
            }
        }
        Ok(*self.opened.get().unwrap_or(&opened))
    }

    /// What status tells of it.
    #[must_use]
    pub fn report(&self, catalog: Option<&Catalog>, now: Tick) -> Value {
        let Self { waits, deadline, .. } = *self;
        let opened = self.try_open(catalog, now);
        json!({
            "gate": waits,
            "deadlineMs": (waits == StartGate::Synced).then(|| millis(deadline)),
            "open": opened.is_ok(),
            "inTime": opened.as_ref().ok().map(|opened| opened.in_time),
            "afterMs": opened.as_ref().ok().map(|opened| millis(opened.at.since(self.began))),
            "waitsFor": opened.err(),
        })
    }
}

/// Why the caches aren't all vouched for by what was read since the start: of each source that isn't its name and why, and
/// the views over upstreams' answers that aren't whole. One over rows may need a snapshot that nobody has asked for yet.
fn unsynced(catalog: Option<&Catalog>, now: Tick) -> Vec<String> {
    let Some(catalog) = catalog else { return vec!["there is no binding yet".to_owned()] };
    let why = |feed: &Arc<Feed>| {
        let (evidence, state) = judge(catalog, feed, now);
        // A heartbeat proves what came before it; here everything that was there has to be read.
        let synced = state == "Fresh" && evidence.proven.is_some();
        (!synced).then(|| format!("{}: {state}", feed.spec.name))
    };
    let sources = catalog.feeds.iter().filter_map(|(feed, _)| why(feed));
    let views = catalog.views.values().filter(|view| view.whole_since().is_none());
    let mut missing: Vec<_> =
        sources.chain(views.map(|view| format!("view {}: incomplete", view.spec.name))).collect();
    missing.sort();
    missing
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freshet_crds::StartGate;

    use super::{Gate, Opened};
    use crate::clock::Tick;

    #[test]
    fn it_opens_at_its_deadline_and_stays_open() {
        let second = Duration::from_secs(1);
        let gate = Gate::new(StartGate::Synced, second, Tick(500));
        assert_eq!(gate.try_open(None, Tick(1499)).unwrap_err(), ["there is no binding yet"]);
        let late = Opened { at: Tick(1500), in_time: false };
        assert_eq!(gate.try_open(None, Tick(1500)), Ok(late));
        assert_eq!(gate.try_open(None, Tick(1600)), Ok(late));
        let open = Gate::new(StartGate::Listening, second, Tick(500));
        assert_eq!(open.try_open(None, Tick(500)), Ok(Opened { at: Tick(500), in_time: true }));
    }
}
