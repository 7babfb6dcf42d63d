//! Fetches anew, in the background, what is in use.
//!
//! An answer is due at the interval that the binding has, and a little before its life ends if that is earlier. It is
//! fetched if it was asked for since it came; one that nobody has asked for is left alone until somebody does. What views
//! need is fetched in any case ([`crate::views::service`]).

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Upstream, reading::Hung, service::Service};
use crate::{catalog::Catalog, clock::Tick, views};

/// How often it is looked at which answers are due.
const LOOK: Duration = Duration::from_millis(200);
/// How long after a refresh that has failed it is tried again, at most.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Service {
    /// Fetches anew what is in use and due, for as long as the process lives.
    pub async fn refresh(self: Arc<Self>) {
        let mut period = interval(LOOK);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tended = None;
        loop {
            // With many keys that a view needs the next one goes as soon as there is a place.
            tokio::select! {
                _ = period.tick() => {}
                () = self.landed.notified() => {}
            }
            let Some(catalog) = self.engine().catalog() else { continue };
            views::service::tend(&self, &catalog, &mut tended, Tick::now());
            for upstream in catalog.upstreams.values().filter(|upstream| upstream.spec.refresh.is_some()) {
                self.refresh_due(&catalog, upstream, Tick::now());
            }
        }
    }

    /// As many as have a place; the others wait for the next look.
    fn refresh_due(self: &Arc<Self>, catalog: &Catalog, upstream: &Arc<Upstream>, now: Tick) {
        while let Some(place) = upstream.place(now) {
            let Some((key, accept, Hung(hung))) = upstream.due(self.engine(), now) else { return };
            if let Some(place) = place.of(hung) {
                self.begin_in_background(catalog, upstream, &key, accept, (place, false));
            }
        }
    }
}
