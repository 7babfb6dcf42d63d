//! Who of the replicas writes: the holder of a Lease.
//!
//! Whether another holder is gone is judged by how long its record has not changed on *our* monotonic clock, never
//! by the times written in it, so that clocks may differ. [`step`] is the whole decision and does no I/O.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::sync::watch;

use crate::{errors::is_conflict, ours};

/// How long a record has to stay unchanged until its holder is taken to be gone.
const DURATION: Duration = Duration::from_secs(15);
/// How often the holder renews: it may miss one and still be in time.
const RENEWAL: Duration = Duration::from_secs(4);
/// How long after its last renewal a holder stops by itself, well before anyone else begins.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the others look.
const RETRY: Duration = Duration::from_secs(2);
/// How long one call to the API server may take.
const CALL: Duration = Duration::from_secs(4);
/// How often in a row the Lease is written while others write it, too.
const TRIES: usize = 3;

/// A record as last seen, and since when it has looked like that.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// What to do about the Lease.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write this record, making the Lease if there is none.
    Write(Box<LeaseSpec>),
    /// Someone else holds it.
    Wait,
}

/// Decides what to do about the Lease as it was read. `seen` is what the last call of this function left there.
pub fn step(
    me: &str,
    lease: Option<&LeaseSpec>,
    seen: &mut Option<Seen>,
    now: Instant,
    wall: Timestamp,
) -> Step {
    let record = |taken: Option<MicroTime>, transitions: i32| {
        Step::Write(Box::new(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(taken.unwrap_or(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }))
    };
    let Some(lease) = lease else { return record(None, 0) };
    if seen.as_ref().is_none_or(|seen| seen.spec != *lease) {
        *seen = Some(Seen { spec: lease.clone(), since: now });
    }
    let transitions = lease.lease_transitions.unwrap_or(0);
    match lease.holder_identity.as_deref() {
        Some(holder) if holder == me => record(lease.acquire_time.clone(), transitions),
        None | Some("") => record(None, transitions + 1),
        Some(_) => {
            let duration = lease.lease_duration_seconds.and_then(|s| u64::try_from(s).ok());
            let duration = duration.map_or(DURATION, Duration::from_secs);
            let gone =
                seen.as_ref().is_some_and(|seen| now.saturating_duration_since(seen.since) >= duration);
            if gone { record(None, transitions + 1) } else { Step::Wait }
        }
    }
}

/// Takes part in the Lease until `stop` is true, and then gives it up. `leading` tells whether we hold it.
pub async fn keep_lease(
    client: Client,
    namespace: String,
    name: String,
    me: String,
    leading: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let api: Api<Lease> = Api::namespaced(client, &namespace);
    let mut seen = None;
    let mut renewed = Instant::now();
    while !*stop.borrow() {
        let asked = Instant::now();
        // A holder has no longer than until its deadline.
        let left = if *leading.borrow() { DEADLINE.saturating_sub(renewed.elapsed()) } else { CALL };
        let holds = match tokio::time::timeout(CALL.min(left), attempt(&api, &name, &me, &mut seen)).await {
            Ok(Ok(holds)) => {
                renewed = asked;
                holds
            }
            failed => {
                // Nothing is known: still holding, until it would be too late.
                let holds = *leading.borrow() && renewed.elapsed() < DEADLINE;
                if let Ok(Err(error)) = failed {
                    tracing::warn!(%error, holds, "can't reach the Lease");
                } else {
                    tracing::warn!(holds, "can't reach the Lease in time");
                }
                holds
            }
        };
        if leading.send_if_modified(|leading| std::mem::replace(leading, holds) != holds) {
            tracing::info!(holds, "the Lease changed hands");
        }
        // Short also for a holder whose renewal failed.
        let pause = if holds && renewed == asked { RENEWAL } else { RETRY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
    if !leading.send_replace(false) {
        return;
    }
    match tokio::time::timeout(CALL, give_up(&api, &name, &me)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "can't give up the Lease; it ends by itself"),
        Err(_) => tracing::warn!("can't give up the Lease in time; it ends by itself"),
    }
}

/// Reads the Lease and does what is due. `Ok(true)`: we hold it.
async fn attempt(
    api: &Api<Lease>,
    name: &str,
    me: &str,
    seen: &mut Option<Seen>,
) -> Result<bool, kube::Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        let lease = api.get_opt(name).await?;
        let spec = lease.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let Step::Write(spec) = step(me, spec.as_ref(), seen, Instant::now(), Timestamp::now()) else {
            return Ok(false);
        };
        match write(api, name, lease.as_ref(), *spec).await {
            Ok(()) => return Ok(true),
            // Someone else wrote it: another replica, or somebody a label. Who holds it now, the next look tells.
            Err(error) if is_conflict(&error) && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes the record over exactly the version that was read.
async fn write(
    api: &Api<Lease>,
    name: &str,
    read: Option<&Lease>,
    spec: LeaseSpec,
) -> Result<(), kube::Error> {
    let parameters = PostParams { field_manager: Some(ours::MANAGER.into()), ..PostParams::default() };
    if let Some(read) = read {
        let lease = Lease { spec: Some(spec), ..read.clone() };
        api.replace(name, &parameters, &lease).await.map(drop)
    } else {
        let metadata =
            ObjectMeta { name: Some(name.into()), labels: Some(ours::labels()), ..ObjectMeta::default() };
        api.create(&parameters, &Lease { metadata, spec: Some(spec) }).await.map(drop)
    }
}

/// Empties the record if it is still ours, so that another replica needs not wait for its end.
async fn give_up(api: &Api<Lease>, name: &str, me: &str) -> Result<(), kube::Error> {
    let lease = api.get(name).await?;
    let Some(spec) = lease.spec.clone().filter(|spec| spec.holder_identity.as_deref() == Some(me)) else {
        return Ok(());
    };
    write(api, name, Some(&lease), LeaseSpec { holder_identity: None, ..spec }).await
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use hyper::{Method, Request, StatusCode, body::Incoming};
    use serde_json::json;

    use super::*;
    use crate::serve::{answer, listen, serve};

    fn wall() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn written(step: Step) -> LeaseSpec {
        match step {
            Step::Write(spec) => *spec,
            Step::Wait => panic!("waits"),
        }
    }

    #[test]
    fn the_first_one_takes_it_and_the_second_waits() {
        let start = Instant::now();
        let spec = written(step("a", None, &mut None, start, wall()));
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(0)));
        let mut seen = None;
        assert_eq!(step("b", Some(&spec), &mut seen, start, wall()), Step::Wait);
        assert_eq!(step("b", Some(&spec), &mut seen, start + DURATION / 2, wall()), Step::Wait);
    }

    #[test]
    fn a_holder_renews_and_stays_since_when_it_was() {
        let first = written(step("a", None, &mut None, Instant::now(), wall()));
        let later = wall() + Duration::from_mins(1);
        let second = written(step("a", Some(&first), &mut None, Instant::now(), later));
        assert_eq!(second.acquire_time, first.acquire_time);
        assert_eq!(second.renew_time, Some(MicroTime(later)));
    }

    #[test]
    fn only_a_record_that_stays_the_same_is_given_up_on() {
        let start = Instant::now();
        let mut record = written(step("a", None, &mut None, start, wall()));
        let mut seen = None;
        for second in 0..60 {
            // The holder's clock stands still, and yet it renews: something else in the record changes.
            record.lease_transitions = Some(second);
            let now = start + Duration::from_secs(second.unsigned_abs().into());
            assert_eq!(step("b", Some(&record), &mut seen, now, wall()), Step::Wait);
        }
        let silent = start + Duration::from_secs(59) + DURATION;
        let taken = written(step("b", Some(&record), &mut seen, silent, wall()));
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("b"), Some(60)));
    }

    #[test]
    fn what_was_given_up_is_taken_at_once() {
        let start = Instant::now();
        let record = written(step("a", None, &mut None, start, wall()));
        for holder in [None, Some(String::new())] {
            let record = LeaseSpec { holder_identity: holder, ..record.clone() };
            assert_eq!(
                written(step("b", Some(&record), &mut None, start, wall())).lease_transitions,
                Some(1)
            );
        }
    }

    /// An API server that has a Lease of `holder`'s, and refuses so many writes because someone else was faster.
    async fn api_server(holder: &'static str, conflicts: usize) -> (Api<Lease>, watch::Sender<bool>) {
        let left = Arc::new(AtomicUsize::new(conflicts));
        let answer = move |request: Request<Incoming>| {
            let conflict = request.method() == Method::PUT
                && left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            let (status, body) = if conflict {
                (409, json!({ "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409 }))
            } else {
                let spec = json!({ "holderIdentity": holder });
                (200, json!({ "metadata": { "name": "l", "resourceVersion": "7" }, "spec": spec }))
            };
            let status = StatusCode::from_u16(status).unwrap();
            std::future::ready(answer(status, "application/json", body.to_string()))
        };
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve(listener, None, answer, stopped));
        let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
        (Api::namespaced(client, "default"), stop)
    }

    #[tokio::test]
    async fn somebody_else_s_write_does_not_take_it_from_its_holder() {
        let (api, _stop) = api_server("a", 2).await;
        assert!(attempt(&api, "l", "a", &mut None).await.unwrap(), "it is still ours after another look");
        let (api, _stop) = api_server("b", 2).await;
        assert!(!attempt(&api, "l", "a", &mut None).await.unwrap());
        let (api, _stop) = api_server("a", 9).await;
        let error = attempt(&api, "l", "a", &mut None).await.unwrap_err();
        assert!(is_conflict(&error), "then nothing is known: {error}");
    }
}
