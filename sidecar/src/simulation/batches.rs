//! Batches: keys that are read at one instant, and filled with what one read of the database has found.

use super::{
    checker::Violation,
    database::KEYS,
    kinds::Kind,
    step::{SLOTS, Said, Step},
    world::World,
};

impl World {
    pub(crate) fn batch(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::GetAll { cache, keys, how } => self.get_all(self.setting.kind(cache), keys, how)?,
            Step::ReadAll { lag, placed } => self.read_all(lag, placed),
            Step::FillAll { said } => self.fill_all(said)?,
            Step::UseAll { cache, keys, lag, placed, said } => {
                self.get_all(self.setting.kind(cache), keys, 0)?;
                self.read_all(lag, placed);
                self.fill_all(said)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads these keys at one instant; the leases of those that miss go into the slots, in order.
    fn get_all(&mut self, kind: Kind, keys: u8, how: u8) -> Result<(), Violation> {
        let keys: Vec<u8> = (0..KEYS).filter(|key| keys & (1 << key) != 0).collect();
        // Whatever can get in between two of the keys does.
        let answers = self.look_at(kind, &keys, how, |world| {
            if !world.engine.is_busy() {
                world.pump();
            }
        })?;
        let misses = answers.into_iter().flatten().filter_map(Result::err);
        for (slot, pending) in misses.take(SLOTS.into()).enumerate() {
            self.slots[slot] = Some(pending);
        }
        self.tally.count("batch");
        Ok(())
    }

    /// Reads the database once for all leases that are held.
    fn read_all(&mut self, lag: u64, placed: u8) {
        for slot in 0..self.slots.len() {
            if let Some(mut pending) = self.slots[slot].take() {
                self.read(&mut pending, lag, placed);
                self.slots[slot] = Some(pending);
            }
        }
    }

    /// Fills with all that was read.
    fn fill_all(&mut self, said: Said) -> Result<(), Violation> {
        for slot in 0..self.slots.len() {
            if let Some(pending) = self.slots[slot].take_if(|pending| pending.read.is_some()) {
                self.fill(pending, said)?;
            }
        }
        Ok(())
    }
}
