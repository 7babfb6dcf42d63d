use std::collections::BTreeMap;

use k8s_openapi::jiff::{SignedDuration, Timestamp, ToSpan as _};

use super::{pem::certificates, *};

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

#[test]
fn a_new_authority_signs_only_after_it_was_published() {
    let first = Authorities::first(now()).unwrap();
    assert_eq!(first.signer(now()).not_after(), first.not_after(), "without a previous one it signs at once");
    let renewal = now() + days(250);
    let both = stored(&first.renewed(renewal).unwrap().unwrap());
    assert_eq!(both.signer(renewal).not_after(), first.not_after());
    assert_eq!(both.signer(renewal + 9.minutes()).not_after(), first.not_after());
    assert_eq!(both.signer(renewal + 11.minutes()).not_after(), both.not_after());
    let late = now() + days(400);
    let both = first.renewed(late).unwrap().unwrap();
    assert_eq!(both.signer(late).not_after(), both.not_after(), "an ended one never signs");
}

#[test]
fn a_leaf_is_replaced_half_way_and_with_its_signer() {
    let authorities = Authorities::first(now()).unwrap();
    let leaf = authorities.signer(now()).sign(&hosts(), now()).unwrap();
    assert!(!leaf.is_due(&authorities, now() + days(3)));
    assert!(leaf.is_due(&authorities, now() + days(4)));
    let other = Authorities::first(now()).unwrap();
    assert!(!leaf.is_due(&other, now() + 9.minutes()), "another authority is being published");
    assert!(leaf.is_due(&other, now() + 11.minutes()), "another authority took over");
    let near_the_end = authorities.signer(now()).sign(&hosts(), now() + days(364)).unwrap();
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
    assert!(certificates(&bundle_2)[0] == *other.certificates().next().unwrap(), "the newest comes first");
    // What has ended goes; what isn't a certificate, too.
    let later = Authorities::first(now() + days(300)).unwrap();
    assert_eq!(count(&bundle(&later, &bundle_2, now() + days(366))), 1);
    assert_eq!(count(&bundle(&first, b"not a certificate", now())), 1);
    let crowded = (0..9).fold(bundle_2, |b, _| bundle(&Authorities::first(now()).unwrap(), &b, now()));
    assert_eq!(count(&crowded), 4);
}
