//! An audit: nobody writes, everything has arrived, and then every hit has to be what the database has.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::app::{Filled, Got, Place};
use super::layout;
use super::ledger::{Read, Rule, Value, Violation};
use super::recovery::wall_ms;
use super::shape::Cache;
use super::stage::Stage;
use super::world::{PATIENCE, SIDECARS, World};
use crate::process::until;

/// How much longer than the binding's `readLag` fills may be held off after the last change.
const HELD_OFF: Duration = Duration::from_millis(100);

/// Of a hundred values that were filled while all was quiet, so many have to be hits.
const FILLED: usize = 95;

/// Audits every key of every sidecar. Returns how many values were compared.
pub(crate) fn audit(world: &mut World, stage: &Stage) -> Result<usize> {
    let _quiet = stage.quiet.write().unwrap_or_else(PoisonError::into_inner);
    settle(world)?;
    let mut truth: HashMap<Place, Value> = HashMap::new();
    let mut database = world.app(stage, 0);
    for source in world.sources() {
        for cache in Cache::ALL {
            for number in cache.numbers() {
                let place = Place { source, cache, number };
                truth.insert(place, database.load(place).context("the database of an audit")?);
            }
        }
    }
    let (mut compared, mut hits, mut violations) = (0, 0, Vec::new());
    for sidecar in 0..SIDECARS {
        let mut app = world.app(stage, sidecar);
        for (place, value) in &truth {
            match app.get(*place, false)? {
                Got::Hit(read) => {
                    compared += 1;
                    violations.extend(compare(&read, value, stage));
                }
                Got::Miss { lease, .. } => {
                    let lease =
                        lease.with_context(|| format!("no lease for {place:?} while all is quiet"))?;
                    let filled = app.fill(&lease, value)?;
                    if filled != Filled::Stored {
                        let what = format!("sidecar {sidecar}: a fill of {place:?} was {filled:?}");
                        violations.push(Violation::new(Rule::NotFilled, stage.now(), what));
                    }
                }
            }
        }
        for (place, value) in &truth {
            if let Got::Hit(read) = app.get(*place, false)? {
                compared += 1;
                hits += 1;
                violations.extend(compare(&read, value, stage));
            }
        }
    }
    if hits * 100 < truth.len() * SIDECARS * FILLED {
        let what = format!("{hits} hits of {} values filled while all was quiet", truth.len() * SIDECARS);
        violations.push(Violation::new(Rule::NotFilled, stage.now(), what));
    }
    stage.report(violations);
    Ok(compared)
}

/// Waits until every sidecar has applied what was committed before now.
fn settle(world: &mut World) -> Result<()> {
    let now = wall_ms();
    world.await_pipeline(now)?;
    until("everything is applied", PATIENCE, || {
        for (number, sidecar) in world.sidecars.iter().enumerate() {
            let status = sidecar.status()?;
            for source in world.sources() {
                let told = &status["sources"][source.name()];
                let age = told["appliedThroughAgeMs"].as_u64().context("not known how far it is")?;
                // The age is told by the clocks of one machine: what is left is for the status to arrive.
                let behind = wall_ms() < now + age + 200;
                ensure!(told["state"] == "Fresh" && !behind, "sidecar {number}, {source}: {told}");
            }
        }
        Ok(())
    })?;
    // A change's delivery and its visibility are apart for as long as the contract says, and that is time.
    thread::sleep(layout::read_lag(world.transport) + HELD_OFF);
    Ok(())
}

fn compare(read: &Read, truth: &Value, stage: &Stage) -> Option<Violation> {
    if read.value == *truth {
        return None;
    }
    let what = format!(
        "{} of sidecar {}, {}: {:?} is served although all is quiet, and the database has {truth:?}: {}",
        read.cache.name(),
        read.sidecar,
        read.key,
        read.value,
        read.status
    );
    // The ledger tells more, whether it finds a rule broken or not.
    let context = stage.ledger().served(read, Some(Duration::ZERO)).map(|violation| violation.context);
    Some(Violation {
        key: Some(read.key),
        context: context.unwrap_or_default(),
        ..Violation::new(Rule::Lost, stage.now(), what)
    })
}
