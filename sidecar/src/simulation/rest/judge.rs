//! What readers of a REST service may be served.

use super::{Served, Statement, Violation, Wants, World, statement};

impl World {
    /// What was stored is served: as long as it may be, to whom it is meant for, and not what was there before a delete or
    /// before a later fetch has stored.
    pub(super) fn judge_stored(
        &mut self,
        upstream: u32,
        key: u8,
        wants: &Wants,
        asked: u64,
        served: &Served,
    ) -> Result<(), Violation> {
        let rest = &self.rest;
        let of = statement(&served.content_type);
        let Some(said) = of.and_then(|of| rest.renewals.get(&of)?.last()).map(|n| &rest.statements[*n])
        else {
            return Err(fault("mixed up", key, served, "was never stored"));
        };
        self.is_meant(key, wants, asked, served, said)?;
        let (detail, ends) = (detail(served), said.ends);
        let until = match detail {
            None => ends.fresh,
            Some("stale-while-revalidate") => ends.while_revalidate,
            Some(_) => ends.if_error,
        };
        // What is so at a time was so, by what its age says, for a while before.
        let age = self.now - said.at + ends.age;
        if age >= until {
            return Err(fault("life", key, served, &format!("is {age} ms old, of {until} ms")));
        }
        let on_error = detail.is_some_and(|detail| detail != "stale-while-revalidate");
        if on_error && rest.failed.get(&key).is_none_or(|at| *at < said.landed) {
            return Err(fault("life", key, served, "is served as if a fetch had failed"));
        }
        if wants.max_age.is_some_and(|most| u128::from(age) > most.as_millis()) || wants.reload {
            return Err(fault("directives", key, served, &format!("is {age} ms old, for {wants:?}")));
        }
        if said.upstream != upstream {
            return Err(fault("definition", key, served, "is of another definition"));
        }
        if let Some(newest) =
            rest.stored.get(&(upstream, key, wants.accept.is_some())).filter(|newest| **newest > said.order)
        {
            let what = format!("is of fetch {}, and fetch {newest} has stored", said.order);
            return Err(fault("backwards", key, served, &what));
        }
        self.tally.count(match detail {
            None => "rest: hit",
            Some("stale-while-revalidate") => "rest: hit while it is fetched",
            Some(_) => "rest: hit on error",
        });
        Ok(())
    }

    /// What a fetch has brought is served to who has waited for it.
    pub(super) fn judge_fetched(
        &mut self,
        key: u8,
        wants: &Wants,
        asked: u64,
        served: &Served,
        n: usize,
    ) -> Result<(), Violation> {
        let said = &self.rest.statements[n];
        self.is_meant(key, wants, asked, served, said)?;
        if said.accept != wants.accept {
            return Err(fault("mixed up", key, served, "was asked for with another Accept"));
        }
        if wants.reload && said.began < asked {
            return Err(fault("directives", key, served, "was asked for before"));
        }
        let age = (self.now - said.at + said.ends.age) / 1000;
        if served.age < age {
            return Err(fault("age", key, served, &format!("is {age} s old")));
        }
        self.tally.count("rest: fetched");
        Ok(())
    }

    fn is_meant(
        &self,
        key: u8,
        wants: &Wants,
        asked: u64,
        served: &Served,
        said: &Statement,
    ) -> Result<(), Violation> {
        if said.key != key || served.body != said.body.as_bytes() {
            return Err(fault("mixed up", key, served, &format!("isn't {}", said.body)));
        }
        if said.varies && said.accept != wants.accept {
            return Err(fault("mixed up", key, served, "depends on another Accept"));
        }
        let deleted = self.rest.deleted.get(&key).copied().unwrap_or_default();
        if deleted < asked && said.began <= deleted {
            return Err(fault("deleted", key, served, "is from before it was deleted"));
        }
        Ok(())
    }
}

/// What is told of a value that isn't fresh.
fn detail(served: &Served) -> Option<&str> {
    served.cache_status.split("; ").find_map(|part| part.strip_prefix("detail="))
}

fn fault(rule: &'static str, key: u8, served: &Served, why: &str) -> Violation {
    let what = String::from_utf8_lossy(&served.content_type);
    Violation::new(rule, format!("rest {key}: {what} {why} ({})", served.cache_status))
}
