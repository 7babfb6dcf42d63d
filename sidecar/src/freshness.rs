//! Whether a value can be vouched for now: a pure function of what is known about its feed.

use std::time::Duration;

use freshet_crds::binding::StalenessBound;

use crate::{
    clock::Tick,
    planted::{Bug, planted},
};

/// How soon a break in a stream's continuity is noticed, in running time.
pub const CONTINUITY_PERIOD: Duration = Duration::from_secs(2);

/// What is known about a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whether the cache's streams are positioned.
    pub attached: bool,
    /// Whether there is a connection.
    pub connected: bool,
    /// Whether streams that were positioned lost their positions to a break.
    pub gapped: bool,
    /// An instant up to which everything in the streams has been applied.
    pub proven: Option<Tick>,
    /// The instant that the newest applied heartbeat of the declared kind stands for.
    pub heartbeat: Option<Tick>,
}

/// Why nothing can be vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The streams aren't positioned yet, or no heartbeat was seen yet.
    Starting,
    /// There is no connection to the source.
    Disconnected,
    /// Changes or heartbeats arrive too late.
    Lagging,
    /// Continuity broke, and the streams have no new positions yet.
    Gapped,
    /// There is no binding.
    NoBinding,
    /// The cache's definition has fields that this version doesn't know.
    BindingTooNew,
}

/// The judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouch {
    /// A value is as fresh as the binding asks.
    Fresh,
    /// It isn't, or nobody knows.
    Stale {
        /// Why.
        reason: Reason,
        /// For how long, if a value may still be served, marked.
        serve: Option<Duration>,
    },
}

// === impl Evidence ===

impl Evidence {
    /// The instant through which the database's changes have been applied, as far as the binding asks to know.
    #[must_use]
    pub fn applied_through(&self, bound: Option<&StalenessBound>) -> Option<Tick> {
        if bound.is_some() { self.heartbeat } else { self.proven }
    }

    /// Judges at `now`.
    #[must_use]
    pub fn vouch(&self, bound: Option<&StalenessBound>, now: Tick) -> Vouch {
        let stale = |reason| Vouch::Stale { reason, serve: None };
        if !self.attached {
            return stale(match self {
                Self { gapped: true, .. } => Reason::Gapped,
                Self { connected: true, .. } => Reason::Starting,
                _ => Reason::Disconnected,
            });
        }
        let late = if self.connected { Reason::Lagging } else { Reason::Disconnected };
        let Some(bound) = bound else {
            return match self.proven {
                Some(at) if self.connected && now.since(at) <= CONTINUITY_PERIOD => Vouch::Fresh,
                None if self.connected => stale(Reason::Starting),
                _ => stale(late),
            };
        };
        let Some(at) = self.heartbeat else {
            return if planted(Bug::StartingIgnored) { Vouch::Fresh } else { stale(Reason::Starting) };
        };
        let staleness = now.since(at);
        if staleness <= bound.max_staleness || planted(Bug::StalenessIgnored) {
            return Vouch::Fresh;
        }
        let beyond = staleness.saturating_sub(bound.max_staleness);
        Vouch::Stale { reason: late, serve: (beyond <= bound.serve_stale_for).then_some(beyond) }
    }
}

// === impl Reason ===

impl Reason {
    /// Its name in answers, status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Disconnected => "disconnected",
            Self::Lagging => "lagging",
            Self::Gapped => "gapped",
            Self::NoBinding => "no-binding",
            Self::BindingTooNew => "binding-too-new",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use freshet_crds::{Heartbeat, binding::StalenessBound};

    use super::{Evidence, Reason, Vouch};
    use crate::clock::Tick;

    const BOUND: StalenessBound = StalenessBound {
        max_staleness: Duration::from_secs(10),
        heartbeat: Heartbeat::Database,
        serve_stale_for: Duration::ZERO,
    };

    fn evidence() -> Evidence {
        Evidence {
            attached: true,
            connected: true,
            gapped: false,
            proven: Some(Tick(1000)),
            heartbeat: Some(Tick(1000)),
        }
    }

    fn reason(vouch: Vouch) -> Option<Reason> {
        match vouch {
            Vouch::Fresh => None,
            Vouch::Stale { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn continuity_alone_vouches_for_two_seconds_and_only_while_connected() {
        let e = evidence();
        assert_eq!(e.vouch(None, Tick(3000)), Vouch::Fresh);
        assert_eq!(reason(e.vouch(None, Tick(3001))), Some(Reason::Lagging));
        let cut = Evidence { connected: false, ..e };
        assert_eq!(reason(cut.vouch(None, Tick(1001))), Some(Reason::Disconnected));
    }

    #[test]
    fn a_declared_heartbeat_must_be_seen_and_bounds_staleness() {
        let e = evidence();
        assert_eq!(e.vouch(Some(&BOUND), Tick(11_000)), Vouch::Fresh);
        assert_eq!(reason(e.vouch(Some(&BOUND), Tick(11_001))), Some(Reason::Lagging));
        let cut = Evidence { connected: false, ..e };
        assert_eq!(cut.vouch(Some(&BOUND), Tick(11_000)), Vouch::Fresh, "the bound covers a cut connection");
        let none = Evidence { heartbeat: None, ..e };
        assert_eq!(reason(none.vouch(Some(&BOUND), Tick(1001))), Some(Reason::Starting));
    }

    #[test]
    fn without_positions_it_says_why() {
        let start = Evidence { attached: false, ..evidence() };
        assert_eq!(reason(start.vouch(None, Tick(1001))), Some(Reason::Starting));
        let unproven = Evidence { proven: None, ..evidence() };
        assert_eq!(reason(unproven.vouch(None, Tick(1001))), Some(Reason::Starting));
        let cut = Evidence { connected: false, ..start };
        assert_eq!(reason(cut.vouch(None, Tick(1001))), Some(Reason::Disconnected));
        let gapped = Evidence { gapped: true, ..cut };
        assert_eq!(reason(gapped.vouch(None, Tick(1001))), Some(Reason::Gapped));
    }

    #[test]
    fn stale_service_is_bounded_and_ends_with_the_epoch() {
        let serve = StalenessBound { serve_stale_for: Duration::from_secs(5), ..BOUND };
        let served = |e: Evidence, at| match e.vouch(Some(&serve), Tick(at)) {
            Vouch::Stale { serve, .. } => serve,
            Vouch::Fresh => None,
        };
        assert_eq!(served(evidence(), 13_000), Some(Duration::from_secs(2)));
        assert_eq!(served(evidence(), 16_001), None);
        let unattached = Evidence { attached: false, ..evidence() };
        assert_eq!(served(unattached, 13_000), None);
    }
}
