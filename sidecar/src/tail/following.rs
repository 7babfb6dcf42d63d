//! Which streams are followed, how their topics are divided, and whether they have one order.

use super::{Parts, Plan, Tail};
use crate::{change::TableId, clock::Tick, continuity::Break, store::Shelf};

impl<S: Shelf> Tail<S> {
    /// Whether a plan's streams have one order. Without it nothing tells what else was written before a heartbeat, an end of a
    /// transaction, or a place of the log: none of them counts.
    #[must_use]
    pub fn has_order(&self, plan: &Plan) -> bool {
        self.has_one_order || plan.streams.len() == 1
    }

    /// What to follow from now on; `None` if the binding has the feed no more. A stream that isn't part of it loses
    /// its position: what happens in it until it is followed again is nobody's.
    pub fn plan(&mut self) -> Option<Plan> {
        let mut plan = Plan::of(&self.feed, self.engine.catalog()?)?;
        plan.divide(&self.parts);
        self.follow(&plan);
        Some(plan)
    }

    /// Takes into the plan how topics are divided. A part that is new in a topic that is followed is read from its first
    /// record on; where parts are gone, so is the topic.
    pub fn divide(&mut self, plan: &mut Plan, parts: Parts, now: Tick) {
        if parts == self.parts {
            return;
        }
        if plan.topics().any(|topic| parts.count(topic) < self.parts.count(topic)) {
            self.lose(Break::StreamGone, now);
        }
        for topic in plan.topics() {
            if self.parts.streams(topic).iter().any(|stream| !self.lacks_position(stream)) {
                parts.streams(topic).iter().for_each(|stream| self.continuity.begin(stream));
            }
        }
        let had_order = self.has_order(plan);
        plan.divide(&parts);
        self.parts = parts;
        self.follow(plan);
        if had_order && !self.has_order(plan) {
            // What rested on it is worth nothing any more: books, positions, heartbeats, rosters.
            self.lose(Break::OrderLost, now);
        }
    }

    fn follow(&mut self, plan: &Plan) {
        self.continuity.retain(|stream| plan.streams.contains_key(stream));
        self.deletes.retain(|stream, _| plan.streams.contains_key(stream));
        let tables = plan.tables.keys().map(|name| TableId::of(name)).collect();
        self.accounts.follow(plan.streams.len() == 1, tables);
    }
}
