//! The task that looks at what is due.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    Look,
    check::Checker,
    judge::{Sighting, Step},
};
use crate::{
    catalog::{Cache, Catalog},
    clock::Tick,
    engine::Engine,
};

/// How often it is seen to what is due.
const PERIOD: Duration = Duration::from_millis(200);

/// Questions that the application is asked at once. While it takes its time with so many, no other look is taken.
const AT_ONCE: usize = 4;

/// Looks at what is due, for ever.
pub async fn run(engine: Arc<Engine>) {
    let desk = Arc::new(Desk { engine, checker: Checker::default(), failing: AtomicBool::new(false) });
    let mut questions = JoinSet::new();
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        while let Some(catalog) = desk.engine.catalog().filter(|catalog| catalog.audit.is_some()) {
            let Some((cache, look)) = desk.engine.due_look(&catalog, Tick::now()) else { break };
            while questions.len() >= AT_ONCE {
                questions.join_next().await;
            }
            if let Step::Ask(sighting) = desk.engine.look(&catalog, &cache, &look, Tick::now()) {
                questions.spawn(Arc::clone(&desk).ask(catalog, cache, look, sighting));
            }
        }
        while questions.try_join_next().is_some() {}
    }
}

struct Desk {
    engine: Arc<Engine>,
    checker: Checker,
    /// Whether the last question had no answer: that is logged once.
    failing: AtomicBool,
}

impl Desk {
    async fn ask(self: Arc<Self>, catalog: Arc<Catalog>, cache: Arc<Cache>, look: Look, about: Sighting) {
        let check = catalog.audit.as_ref().and_then(|audit| audit.check.as_ref());
        let Some(url) = check else { return };
        let answer = self.checker.ask(url, &cache.spec.name, &look.key, catalog.sidecar.max_value).await;
        let was_failing = self.failing.swap(answer.is_err(), Ordering::Relaxed);
        match &answer {
            Err(error) if !was_failing => {
                let cache = cache.spec.name.as_str();
                warn!(cache, %url, %error, "the application's check endpoint doesn't answer: what it fills isn't audited");
            }
            Ok(_) if was_failing => info!(%url, "the application's check endpoint answers again"),
            _ => {}
        }
        self.engine.answer_look(&cache, &look, about, answer.ok(), Tick::now());
    }
}
