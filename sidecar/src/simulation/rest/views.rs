//! A view over what the service answers: a reader is shown what the cache would serve, of every key.

use std::sync::{Arc, atomic::Ordering};

use super::{Rest, Statement, Violation, World};
use crate::views::{
    View,
    board::{Board, Gathered},
};

/// The keys that it ranks.
const KEYS: [u8; 2] = [0, 1];

/// The view, as the binding defines it: the oldest version first.
pub(crate) fn view() -> &'static str {
    "{name: versions, cache: rest, keys: ['0', '1'], orderBy: /version, order: Ascending}"
}

/// What is being ranked.
#[derive(Debug)]
pub(super) struct Ranking {
    view: Arc<View>,
    gathered: Gathered,
    /// The moment and the time at which a reader has asked.
    asked: (u64, u64),
}

impl Rest {
    /// What has been in force at this moment or since: of each answer the statement that was stored last before it, and
    /// those after it.
    fn since(&self, moment: u64) -> impl Iterator<Item = &Statement> {
        self.renewals.values().flat_map(move |stored| {
            let stored = stored.iter().map(|n| &self.statements[*n]);
            let before = stored.clone().take_while(|s| s.landed <= moment).count();
            stored.skip(before.saturating_sub(1))
        })
    }
}

impl World {
    fn view(&self) -> Option<Arc<View>> {
        self.engine.catalog()?.views.get("versions").cloned()
    }

    /// Keys are pinned as soon as there is a definition.
    fn pin_keys(&mut self, view: &View) {
        let now = self.clock().tick;
        let keys: Vec<String> = KEYS.iter().map(u8::to_string).collect();
        if view.upstream.pins.version() == 0 {
            let keys = keys.iter().map(String::as_str).collect();
            view.upstream.pin(self.keeper(), &keys, 0.0, now);
        }
        view.upstream.pins.tidy(u64::MAX, now);
    }

    /// A reader asks for the view.
    pub(super) fn look_at_view(&mut self, slow: bool) -> Result<(), Violation> {
        let Some(view) = self.view() else { return Ok(()) };
        self.pin_keys(&view);
        let (now, asked) = (self.clock().tick, (self.rest.moment, self.now));
        if let Some(board) = view.current(now) {
            return self.judge_view(&view, &board, asked);
        }
        let Ok(gathered) = view.gather(now) else {
            self.tally.count("rest: view incomplete");
            // Whoever keeps it whole looks several times a second.
            self.refresh();
            return Ok(());
        };
        if let Some(board) = view.known(&gathered, u64::MAX) {
            return self.judge_view(&view, &board, asked);
        }
        self.rest.ranking = Some(Ranking { view, gathered, asked });
        if slow { Ok(()) } else { self.show_view() }
    }

    /// What was gathered has been ranked.
    pub(super) fn show_view(&mut self) -> Result<(), Violation> {
        let Some(Ranking { view, gathered, asked }) = self.rest.ranking.take() else { return Ok(()) };
        let allowance = &self.rest.allowance;
        let board = view.ranked(gathered, |bytes| allowance.take(bytes, u64::MAX).ok_or(0));
        view.stats.ranked.fetch_add(1, Ordering::Relaxed);
        self.judge_view(&view, &board, asked)
    }

    /// What is shown is what the cache would have served of every key when it was asked for, in the view's order.
    fn judge_view(&mut self, view: &View, board: &Board, asked: (u64, u64)) -> Result<(), Violation> {
        let Ok(ranked) = board.top(view) else {
            return Err(Violation::new("rest: view", "what is ranked can't be shown".to_owned()));
        };
        let text = String::from_utf8(ranked.first(usize::MAX).0.concat()).unwrap();
        let items: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let versions = items.iter().map(|item| item["version"].as_u64().unwrap());
        let fault = |what: String| Err(Violation::new("rest: view", format!("{text}: {what}")));
        if !versions.is_sorted() {
            return fault("it isn't in order".to_owned());
        }
        let stale = board.standing().stale;
        for key in KEYS {
            let own: Vec<_> = items.iter().filter(|item| item["key"] == key).collect();
            let said = |s: &&Statement| {
                let is_shown = match own.as_slice() {
                    [] => s.gone,
                    [item] => {
                        !s.gone && serde_json::from_str::<serde_json::Value>(&s.body).unwrap() == **item
                    }
                    _ => false,
                };
                s.key == key && is_shown && self.may_show(s, view.upstream.id, stale, asked)
            };
            if !self.rest.since(asked.0).any(|s| said(&s)) {
                return fault(format!("of {key} the cache would serve something else ({stale:?})"));
            }
        }
        self.tally.count(if stale.is_some() { "rest: view, stale" } else { "rest: view" });
        Ok(())
    }

    fn may_show(&self, s: &Statement, upstream: u32, stale: Option<&str>, asked: (u64, u64)) -> bool {
        let (moment, time) = asked;
        // The view tells why the one is served that ends first; of another it may be another reason.
        let has_failed = self.rest.failed.get(&s.key).is_some_and(|at| *at >= s.landed);
        let until = match stale {
            None => s.ends.fresh,
            Some(_) if has_failed => s.ends.if_error.max(s.ends.while_revalidate),
            Some(_) => s.ends.while_revalidate,
        };
        let deleted = self.rest.deleted.get(&s.key).copied().unwrap_or_default();
        let newest = self.rest.stored.get(&(upstream, s.key, false)).copied().unwrap_or_default();
        let is_plain = s.accept.is_none() || !s.varies;
        let is_current = deleted >= moment || s.began > deleted;
        // What has landed while it was ranked may be missing.
        let is_newest = s.order >= newest || self.rest.moment > moment;
        is_plain
            && s.upstream == upstream
            && is_current
            && is_newest
            && time < s.at + until.saturating_sub(s.ends.age)
    }
}
