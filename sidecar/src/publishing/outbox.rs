//! What a publisher has said, and what it has to say next: names, numbers and starts, and when silence is told of.
//!
//! Nothing here does I/O or reads a clock.

use std::{sync::Arc, time::Duration};

use super::saying::{Envelope, Says};
use crate::{
    clock::{Now, Tick, millis},
    publication::MAX_PUBLISHER,
};

/// How long after the last message, and after each beat, the next beat comes.
pub const BEAT: Duration = Duration::from_secs(1);
/// How many beats there are before the bye.
pub const BEATS: u32 = 10;
/// How long after an attempt without a known outcome the next one comes, while nobody waits for it.
pub const AGAIN: Duration = Duration::from_secs(1);
/// For how long a start is waited for that wins over everything that was heard: where clocks are as they should be that is a
/// millisecond at most.
const PATIENCE: Duration = Duration::from_millis(100);
/// What names are made of.
const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// One source's publisher.
///
/// A name is good from its first number to its bye. It is given up without one where nobody can say which of its numbers were
/// used, and where the clock has gone back by more than `clockSkew`: its starts mustn't.
#[derive(Debug)]
pub struct Outbox {
    /// Makes a name from nothing.
    draw: fn() -> Arc<str>,
    /// The name, from its first number on.
    name: Option<Arc<str>>,
    /// Its last number that was used.
    last: u64,
    /// The start of what it has said last.
    start_ms: u64,
    /// What may have been written, and when that was tried last.
    unknown: Option<(Batch, Tick)>,
    /// When it was said last that it is there, and how many beats there were since its last message.
    quiet: Option<(Tick, u32)>,
}

/// Messages that are written together, in their order, with numbers that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    all: Arc<[Envelope]>,
    /// How many of them, from the first on, the source is known to have; never all.
    done: usize,
}

/// What is to be done when nobody has anything to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Write once more what may have been written.
    Again,
    /// Say that nothing was said.
    Beat,
    /// Say that this was all.
    Bye,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { draw: random_name, name: None, last: 0, start_ms: 0, unknown: None, quiet: None }
    }
}

// === impl Outbox ===

impl Outbox {
    /// Numbers what is to be said, with one start for all of it: now, but later than what was said and heard before
    /// (`heard_ms`), so that it wins over that. `Err`: how long to wait, since receivers leave out what begins later than now by
    /// more than `skew`.
    pub fn number(
        &mut self,
        says: Vec<Says>,
        now: Now,
        heard_ms: u64,
        skew: Duration,
    ) -> Result<Batch, Duration> {
        let most = now.wall_ms.saturating_add(millis(skew));
        if self.start_ms > most {
            self.give_up();
            self.start_ms = 0;
        }
        let wanted = now.wall_ms.max(self.start_ms).max(heard_ms.saturating_add(1));
        let early = Duration::from_millis(wanted.saturating_sub(most));
        if !early.is_zero() && early <= PATIENCE {
            return Err(early);
        }
        // Of what is later still a clock has gone back since it was heard.
        self.start_ms = wanted.min(most);
        Ok(self.batch(says))
    }

    /// Numbers what says that nothing, or nothing more, is said; `None` where nobody has heard of this publisher yet.
    pub fn notice(&mut self, says: Says) -> Option<Batch> {
        self.name.as_ref()?;
        Some(self.batch(vec![says]))
    }

    fn batch(&mut self, says: Vec<Says>) -> Batch {
        let publisher = self.name.get_or_insert_with(self.draw);
        let (publisher, start_ms) = (Arc::clone(publisher), self.start_ms);
        let envelopes = says.into_iter().zip(self.last + 1..).map(|(says, sequence)| Envelope {
            publisher: Arc::clone(&publisher),
            sequence,
            start_ms,
            says,
        });
        Batch { all: envelopes.collect(), done: 0 }
    }

    /// Notes that a batch was written.
    pub fn written(&mut self, batch: &Batch, now: Tick) {
        self.unknown = None;
        self.last = batch.last();
        match batch.envelopes().last().map(|envelope| &envelope.says) {
            Some(Says::Bye) => self.give_up(),
            Some(Says::Beat) => self.quiet(now),
            _ => self.quiet = Some((now, 0)),
        }
    }

    /// Notes that nobody knows whether a batch was written: it is to be written once more before anything else.
    pub fn unknown(&mut self, batch: Batch, now: Tick) {
        if batch.envelopes().iter().any(|envelope| envelope.says == Says::Bye) {
            // Whoever hears it twice takes the second for a stranger's.
            self.give_up();
        } else {
            self.unknown = Some((batch, now));
        }
    }

    /// Notes that nothing of a notice was written: the next one has its number.
    pub fn unheard(&mut self, notice: &Batch, now: Tick) {
        match notice.envelopes()[0].says {
            Says::Bye => self.give_up(),
            _ => self.quiet(now),
        }
    }

    fn quiet(&mut self, now: Tick) {
        let beats = self.quiet.map_or(0, |(_, beats)| beats);
        self.quiet = Some((now, beats + 1));
    }

    /// Forgets the name and what may have been written under it: whoever comes next is another.
    ///
    /// Its starts begin after those of the one before, unless that ended because the clock has gone back.
    pub fn give_up(&mut self) {
        *self = Self { draw: self.draw, start_ms: self.start_ms, ..Self::default() };
    }

    /// Forgets the name and what may have been written under it, but will never be: whoever comes next begins as if it had said
    /// something that nobody has heard, so that all who hear it know that something is missing.
    pub fn lose(&mut self) {
        self.give_up();
        self.last = 1;
    }

    /// What may have been written.
    #[must_use]
    pub fn in_doubt(&self) -> Option<Batch> {
        self.unknown.as_ref().map(|(batch, _)| batch.clone())
    }

    /// What is to be done next, and when, unless something is said before.
    #[must_use]
    pub fn due(&self) -> Option<(Tick, Due)> {
        if let Some((_, tried)) = &self.unknown {
            return Some((*tried + AGAIN, Due::Again));
        }
        let (since, beats) = self.quiet.filter(|_| self.name.is_some())?;
        Some((since + BEAT, if beats < BEATS { Due::Beat } else { Due::Bye }))
    }
}

impl Batch {
    /// What is still to be written; at least one message.
    #[must_use]
    pub fn envelopes(&self) -> &[Envelope] {
        &self.all[self.done..]
    }

    /// How many messages the source is known to have, and of how many.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.all.len())
    }

    /// Notes that the source is known to have so many more, the first of those that are left, and not all of them: they aren't
    /// to be written again.
    pub fn advance(&mut self, count: usize) {
        self.done += count;
    }

    /// The numbers of what is still to be written.
    #[must_use]
    pub fn sequences(&self) -> std::ops::RangeInclusive<u64> {
        self.envelopes()[0].sequence..=self.last()
    }

    /// The bytes of the values that are still to be written.
    #[must_use]
    pub fn size(&self) -> usize {
        let of = |envelope: &Envelope| match &envelope.says {
            Says::Value { body, .. } => body.bytes().len(),
            Says::Delete { .. } | Says::Clear { .. } | Says::Beat | Says::Bye => 0,
        };
        self.envelopes().iter().map(of).sum()
    }

    fn last(&self) -> u64 {
        self.all[self.all.len() - 1].sequence
    }
}

/// A name that nobody else has.
fn random_name() -> Arc<str> {
    let letter = |_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
    (0..MAX_PUBLISHER).map(letter).collect::<String>().into()
}

#[cfg(test)]
mod tests;
