use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::MutatingWebhookConfiguration,
    jiff::{SignedDuration, Timestamp, ToSpan as _},
};
use kube::Client;
use serde_json::json;

use super::{pem::certificates, *};
use crate::metrics::Metrics;

fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

fn stored(authorities: &Authorities) -> Authorities {
    let data: BTreeMap<_, _> = authorities.write().into_iter().map(|(k, v)| (k, v.into_bytes())).collect();
    Authorities::read(&data).unwrap()
}

/// How many certificates are in a bundle.
fn count(bundle: &[u8]) -> usize {
    certificates(bundle).len()
}

fn hosts() -> Vec<String> {
    vec!["freshet-webhook.freshet-system.svc".into()]
}

#[test]
fn what_was_stored_is_read_back() {
    let first = Authorities::first(now()).unwrap();
    let renewed = first.renewed(now() + days(300)).unwrap().unwrap();
    assert_eq!(bundle(&renewed, b"", now()), bundle(&stored(&renewed), b"", now()));
    assert_eq!(count(&bundle(&renewed, b"", now())), 2);
}

#[test]
fn what_is_not_an_authority_is_refused() {
    let good = Authorities::first(now()).unwrap().write();
    for (key, value) in [("ca.crt", "x"), ("ca.key", "x"), ("ca.crt", "")] {
        let mut data: BTreeMap<_, _> =
            good.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())).collect();
        data.insert(key.into(), value.into());
        let error = Authorities::read(&data).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
    }
    assert!(Authorities::read(&BTreeMap::new()).is_err());
}

#[test]
fn an_authority_is_renewed_in_time_and_only_then() {
    let first = Authorities::first(now()).unwrap();
    assert!(first.renewed(now()).unwrap().is_none());
    assert!(first.renewed(now() + days(244)).unwrap().is_none());
    let renewed = first.renewed(now() + days(246)).unwrap().unwrap();
    assert!(renewed.not_after() > first.not_after());
    assert!(renewed.renewed(now() + days(247)).unwrap().is_none());
    // Late, after a long sleep: it has ended, and is renewed all the same.
    assert!(first.renewed(now() + days(400)).unwrap().is_some());
}

/// The webhook configuration with this caBundle in each of its entries.
fn configuration(bundles: &[&[u8]]) -> MutatingWebhookConfiguration {
    let entries = bundles.iter().map(|bundle| {
        json!({
            "name": "inject.freshet.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "caBundle": ByteString(bundle.to_vec()) },
        })
    });
    serde_json::from_value(json!({ "metadata": {}, "webhooks": entries.collect::<Vec<_>>() })).unwrap()
}

/// Looks at a caBundle of these authorities.
fn see(trust: &mut Trust, authorities: &Authorities, now: Timestamp) {
    trust.see(Some(&configuration(&[&bundle(authorities, b"", now)])), now);
}

fn end(signer: Option<&Authority>) -> Option<Timestamp> {
    signer.map(Authority::not_after)
}

#[test]
fn nobody_signs_with_an_authority_that_is_not_published() {
    let (ours, foreign) = (Authorities::first(now()).unwrap(), Authorities::first(now()).unwrap());
    let mut trust = Trust::default();
    assert!(trust.next_signer(&ours, None, now()).is_none(), "nothing has been seen yet");
    trust.see(Some(&configuration(&[b""])), now());
    assert!(trust.next_signer(&ours, None, now()).is_none(), "the caBundle is empty");
    see(&mut trust, &foreign, now());
    assert!(trust.next_signer(&ours, None, now()).is_none(), "it has another one");
    let (good, bad) = (bundle(&ours, b"", now()), bundle(&foreign, b"", now()));
    trust.see(Some(&configuration(&[&good, &bad])), now());
    assert!(trust.next_signer(&ours, None, now()).is_none(), "one of the entries would refuse us");
    trust.see(Some(&configuration(&[&good, &good])), now());
    assert!(trust.next_signer(&ours, None, now()).is_some(), "without a leaf there is nothing to wait for");
    let mut off = Trust::default();
    off.see(None, now());
    assert!(off.next_signer(&ours, None, now()).is_some(), "nobody asks us");
}

#[test]
fn a_renewed_authority_signs_once_it_has_settled() {
    let first = Authorities::first(now()).unwrap();
    let renewal = now() + days(250);
    let mut trust = Trust::default();
    see(&mut trust, &first, renewal - 1.hours());
    let leaf = trust.next_signer(&first, None, renewal).unwrap().sign(&hosts(), renewal).unwrap();
    let both = stored(&first.renewed(renewal).unwrap().unwrap());
    assert!(trust.next_signer(&both, Some(&leaf), renewal).is_none(), "the new one isn't published");
    assert_eq!(end(trust.next_signer(&both, None, renewal)), Some(first.not_after()));
    see(&mut trust, &both, renewal);
    let (soon, later) = (renewal + SETTLING / 2, renewal + SETTLING);
    assert!(trust.next_signer(&both, Some(&leaf), soon).is_none(), "API servers may not know it yet");
    assert_eq!(end(trust.next_signer(&both, Some(&leaf), later)), Some(both.not_after()));
    see(&mut trust, &both, later);
    assert!(trust.next_signer(&both, Some(&leaf), later).is_some(), "a second look begins no new time");
    let late = now() + days(400);
    assert_eq!(end(trust.next_signer(&both, None, late)), Some(both.not_after()), "an ended one never signs");
}

/// The Secret was removed, or replaced by what a backup had.
#[test]
fn a_leaf_is_kept_until_what_replaces_it_is_trusted() {
    let (ours, other) = (Authorities::first(now()).unwrap(), Authorities::first(now() - days(9)).unwrap());
    let mut trust = Trust::default();
    see(&mut trust, &ours, now());
    let leaf = trust.next_signer(&ours, None, now()).unwrap().sign(&hosts(), now()).unwrap();
    assert!(trust.trusts(&leaf, now()));
    assert!(trust.next_signer(&other, Some(&leaf), now() + days(1)).is_none(), "it isn't published");
    let both = bundle(&other, &bundle(&ours, b"", now()), now());
    trust.see(Some(&configuration(&[&both])), now() + days(1));
    assert!(trust.trusts(&leaf, now()) && trust.next_signer(&other, Some(&leaf), now() + days(1)).is_none());
    let settled = now() + days(1) + SignedDuration::try_from(SETTLING).unwrap();
    assert_eq!(end(trust.next_signer(&other, Some(&leaf), settled)), Some(other.not_after()));
    // Someone wrote a caBundle without ours: whoever is trusted signs at once.
    see(&mut trust, &other, settled);
    assert!(!trust.trusts(&leaf, settled));
    assert_eq!(end(trust.next_signer(&other, Some(&leaf), settled)), Some(other.not_after()));
}

#[test]
fn a_leaf_is_replaced_half_way() {
    let authorities = Authorities::first(now()).unwrap();
    let mut trust = Trust::default();
    see(&mut trust, &authorities, now());
    let leaf = trust.next_signer(&authorities, None, now()).unwrap().sign(&hosts(), now()).unwrap();
    assert!(trust.next_signer(&authorities, Some(&leaf), now() + days(3)).is_none());
    assert!(trust.next_signer(&authorities, Some(&leaf), now() + days(4)).is_some());
    assert!(!trust.trusts(&leaf, now() + days(8)), "it has ended");
    let near_the_end = authorities.all().next().unwrap().sign(&hosts(), now() + days(364)).unwrap();
    assert_eq!(near_the_end.not_after, authorities.not_after(), "no leaf outlives its authority");
}

#[test]
fn the_bundle_keeps_what_still_holds() {
    let first = Authorities::first(now()).unwrap();
    let bundle_1 = bundle(&first, b"", now());
    assert_eq!(count(&bundle_1), 1);
    assert_eq!(bundle(&first, &bundle_1, now()), bundle_1, "nothing to do twice");
    // The Secret was removed: another first one, while a replica may still serve with a leaf of the lost one.
    let other = Authorities::first(now()).unwrap();
    let bundle_2 = bundle(&other, &bundle_1, now());
    assert_eq!(count(&bundle_2), 2);
    assert!(
        certificates(&bundle_2)[0] == *other.all().next().unwrap().certificate(),
        "the newest comes first"
    );
    // What has ended goes; what isn't a certificate, too.
    let later = Authorities::first(now() + days(300)).unwrap();
    assert_eq!(count(&bundle(&later, &bundle_2, now() + days(366))), 1);
    assert_eq!(count(&bundle(&first, b"not a certificate", now())), 1);
    let crowded = (0..9).fold(bundle_2, |b, _| bundle(&Authorities::first(now()).unwrap(), &b, now()));
    assert_eq!(count(&crowded), 4);
}

/// An API server that takes what is asked and never answers is asked again.
#[tokio::test(start_paused = true)]
async fn a_ca_bundle_that_cannot_be_written_in_time_is_tried_again() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let client = Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap();
    let store = SecretStore::new(client.clone(), "freshet-system", "freshet-ca");
    let keeping = keep_bundle(client, store, "freshet".into(), Arc::new(Metrics::new("1")));
    assert!(tokio::time::timeout(Duration::from_mins(1), keeping).await.is_err());
    silent.set_nonblocking(true).unwrap();
    let asked = silent.incoming().take_while(Result::is_ok).count();
    assert!(asked >= 4, "the watch and {} looks at the Secret", asked - 1);
}
