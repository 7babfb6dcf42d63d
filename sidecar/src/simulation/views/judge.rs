//! What of a view may be shown: the top of the table as it was after some commit, and not too long ago.

use freshet_crds::Heartbeat;

use super::{Of, Shape, State, World};
use crate::{
    simulation::{
        checker::{Violation, pending, positions, tell},
        database::{Mark, Record, Table},
    },
    views::rows::Freshness,
};

impl State {
    fn top(&self, table: Table, shape: Shape) -> (usize, String) {
        shape.top(self.rows.iter().filter(|(of, _)| *of == table).map(|(_, row)| row))
    }
}

impl World {
    /// Judges what is shown: how many rows there are, and the text of the first ones.
    pub(super) fn judge_rows(
        &self,
        of: Of,
        shown: &(usize, String),
        freshness: &Freshness,
        wish: Option<&Mark>,
    ) -> Result<(), Violation> {
        let table = of.kind.tables()[0];
        let fault = |rule, text: String| Err(Violation::new(rule, format!("view {}: {text}", of.name)));
        if !self.judge.beats[usize::from(self.setting.heartbeat == Some(Heartbeat::Debezium))] {
            return fault("starting", "shown before any heartbeat was seen".to_owned());
        }
        let Some(scanned) = self.judge.scanned.get(&table).copied() else {
            return fault("view", "shown before any snapshot was read".to_owned());
        };
        // What is known of rows outlives another definition of their cache.
        if let Some(void) = self.judge.unreadable.get(&table).filter(|void| scanned < **void) {
            return fault("unreadable", format!("its snapshot is from before moment {void}"));
        }
        // The newest one of those that look so has missed the least.
        let Some(state) = self.states.0.iter().rev().find(|state| state.top(table, of.shape) == *shown)
        else {
            return fault("view", format!("{} of {} rows were never there", shown.1, shown.0));
        };
        let of_table = |event: &usize| self.db.events[*event].table == table;
        let missed: Vec<usize> = (state.events..self.db.events.len()).filter(of_table).collect();
        positions(self, &missed, freshness.position.as_deref(), wish)
            .or_else(|(rule, text)| fault(rule, text))?;
        for event in missed {
            let fate = &self.judge.fates[event];
            match fate.delivered {
                Some(_) if fate.is_unheard(self) => Ok(()),
                Some(_) if fate.is_known_only_to_be_lost() => Err("lost"),
                // It counts when its transaction has ended, and nothing before it is missing.
                Some(_) if fate.heard > 0 && (!self.has_ended(event) || self.is_doubtful(fate.record)) => {
                    pending(self, event, freshness.detail.is_some())
                }
                Some(_) => Err("not the newest rows"),
                None => pending(self, event, freshness.detail.is_some()),
            }
            .or_else(|rule| {
                let text =
                    format!("{} as after {} commits misses {}", shown.1, state.commits, tell(self, event));
                fault(rule, text)
            })?;
        }
        Ok(())
    }

    /// Whether the end of a change's transaction was read.
    fn has_ended(&self, event: usize) -> bool {
        let commit = self.db.events[event].commit;
        self.judge.ended.contains(&commit) || self.setting.binlog && self.db.is_definition(commit)
    }

    /// Whether a heartbeat before a record hasn't come: whether more is missing shows with the next one.
    fn is_doubtful(&self, record: usize) -> bool {
        let from = self.judge.beat.map_or(0, |beat| beat + 1);
        self.db.log[from.min(record)..record].iter().any(|record| matches!(record, Record::Beat(_)))
    }
}
