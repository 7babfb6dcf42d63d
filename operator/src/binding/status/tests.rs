//! The conditions that follow from what sidecars say, as tables.

use std::collections::BTreeMap;

use freshet_crds::{CacheBindingStatus, PodCounts, WorstLag};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};

use super::{Outcome, Write, lag, status, write};
use crate::{
    fleet::Tally,
    survey::{Findings, NoAnswer, Report, SourceReport, Standing, Tables, Unseen},
};

/// A sidecar with one source in this state.
fn says(state: &str) -> Report {
    of(&[("cdc", state, 0)])
}

fn of(sources: &[(&str, &str, u64)]) -> Report {
    let sources = sources.iter().map(|(name, state, lag_ms)| {
        ((*name).to_owned(), SourceReport { state: (*state).to_owned().into(), lag_ms: *lag_ms })
    });
    Report { sources: sources.collect(), ..Report::default() }
}

fn findings(pods: &[Standing<'_>]) -> Findings {
    found(pods, &Tables::new())
}

fn found(pods: &[Standing<'_>], tables: &Tables) -> Findings {
    let names: Vec<_> = (1..=pods.len()).map(|n| format!("web-{n}")).collect();
    Findings::of(names.iter().map(String::as_str).zip(pods.iter().copied()), tables, lag)
}

fn status_of(injected: u32, findings: &Findings, before: Option<&CacheBindingStatus>) -> CacheBindingStatus {
    let counts = PodCounts { matched: injected, injected, ..PodCounts::default() };
    let tally = Tally { counts, ..Tally::default() };
    let outcome =
        Outcome { generation: Some(3), accepted: Ok(()), sources: &[], kept: &[], tally: &tally, findings };
    status(&outcome, before, Timestamp::UNIX_EPOCH)
}

fn condition<'s>(status: &'s CacheBindingStatus, kind: &str) -> &'s Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).unwrap()
}

fn short(status: &CacheBindingStatus, kind: &str) -> String {
    let condition = condition(status, kind);
    format!("{} {}", condition.status, condition.reason)
}

fn fresh(pods: &[Standing<'_>]) -> (String, String) {
    let status = status_of(u32::try_from(pods.len()).unwrap(), &findings(pods), None);
    (short(&status, "Fresh"), condition(&status, "Fresh").message.clone())
}

#[test]
fn fresh_follows_from_what_the_sidecars_say() {
    let [good, starting, lagging, gapped, cut, odd] =
        ["Fresh", "Starting", "Lagging", "Gapped", "Disconnected", "Dreaming"].map(says);
    let unbound = Report::default();
    let (says, new) = (Standing::Says, Standing::New);
    let (waiting, silent) = (Standing::Waiting, Standing::Silent(NoAnswer::Timeout));
    let good = says(&good);
    for (pods, wanted) in [
        (vec![good], "True AllFresh"),
        (vec![good, good, new(&starting)], "True AllFresh"),
        (vec![good, waiting], "True AllFresh"),
        (vec![good, silent], "True SomeUnanswered"),
        (vec![silent, silent, good, new(&starting)], "True SomeUnanswered"),
        (vec![good, says(&starting)], "False Starting"),
        (vec![good, says(&odd)], "False NotFresh"),
        (vec![good, says(&lagging), says(&starting)], "False Lagging"),
        (vec![says(&gapped), says(&lagging)], "False Gapped"),
        (vec![says(&gapped), says(&cut), good, silent], "False Disconnected"),
        (vec![says(&cut), says(&unbound)], "False NoBinding"),
        // What is known to be wrong isn't waited with.
        (vec![says(&cut), waiting, waiting, waiting], "False Disconnected"),
        (vec![silent], "Unknown NoneAnswered"),
        (vec![new(&starting)], "Unknown Starting"),
        (vec![new(&cut), silent], "Unknown Starting"),
        (vec![waiting], "Unknown Asking"),
        (vec![good, waiting, waiting], "Unknown Asking"),
    ] {
        assert_eq!(fresh(&pods).0, wanted, "{pods:?}");
    }
    let before_the_first = |injected| short(&status_of(injected, &Findings::default(), None), "Fresh");
    assert_eq!(before_the_first(0), "Unknown NoPods");
    assert_eq!(before_the_first(2), "Unknown Starting");
}

#[test]
fn its_sentence_names_pods_and_sources_and_says_what_to_look_at() {
    let (good, starting) = (says("Fresh"), says("Starting"));
    let cut = of(&[("cdc", "Fresh", 0), ("stock", "Disconnected", 0)]);
    let lagging = of(&[("cdc", "Lagging", 0), ("stock", "Starting", 0)]);
    let (good, cut) = (Standing::Says(&good), Standing::Says(&cut));
    let (silent, gone) = (Standing::Silent(NoAnswer::Timeout), Standing::Silent(NoAnswer::NoConnection));
    let pods = [good, cut, Standing::Says(&lagging), cut, cut, cut, cut, silent, gone];
    assert_eq!(
        fresh(&pods).1,
        "source stock is Disconnected in 5 of 9 sidecars (web-2, web-4, web-5 and 2 more): no connection to its \
         server; check that, and network policies from the pods' namespace; /status of a pod says why; source cdc is \
         Lagging in 1 of 9 sidecars (web-3): changes or heartbeats come too late; look at Debezium, and at the load \
         of the source's server and of the pods; 2 of 9 sidecars don't answer the operator (no connection from web-9, no answer within 2 s from web-8): does a \
         NetworkPolicy keep its namespace from their port freshet-admin?"
    );
    assert_eq!(fresh(&[good, good]).1, "2 of 2 sidecars vouch for their values");
    let (_, message) = fresh(&[good, Standing::New(&starting), gone]);
    assert!(
        message.starts_with(
            "1 of 3 sidecars vouch for their values; 1 can't yet, having only just started; 1 of 3"
        ),
        "{message}"
    );
    assert!(fresh(&[gone]).1.contains("1 of 1 sidecars don't answer the operator"));
}

/// A new holder of the Lease knows nothing, and that is no news.
#[test]
fn what_was_said_stays_until_most_sidecars_have_been_asked() {
    let (good, cut) = (says("Fresh"), says("Disconnected"));
    let busy = Report { hits: 1, reads: 2, entries: 3, bytes: 4, ..good.clone() };
    let first = status_of(3, &findings(&[Standing::Says(&busy), Standing::Says(&cut)]), None);
    assert_eq!(short(&first, "Fresh"), "False Disconnected");
    let all = [Standing::Says(&good), Standing::Waiting, Standing::Waiting];
    for early in [&all[2..], &all[..]] {
        let next = status_of(3, &findings(early), Some(&first));
        assert_eq!(next, first);
    }
    let most = status_of(3, &findings(&all[..2]), Some(&first));
    assert_eq!(short(&most, "Fresh"), "True AllFresh");
    assert_eq!((most.entries, most.hit_ratio.clone()), (Some(0), None));
    let none = status_of(0, &Findings::default(), Some(&first));
    assert_eq!((short(&none, "Fresh").as_str(), none.entries), ("Unknown NoPods", None));
}

#[test]
fn that_it_is_not_fresh_and_that_it_is_again_is_told_at_once_and_numbers_wait() {
    let (good, cut) = (says("Fresh"), says("Disconnected"));
    let of = |pods: &[Standing<'_>]| status_of(1, &findings(pods), None);
    let (fine, broken) = (of(&[Standing::Says(&good)]), of(&[Standing::Says(&cut)]));
    let silent = of(&[Standing::Silent(NoAnswer::Timeout)]);
    let second = Some(std::time::Duration::from_secs(1));
    assert_eq!(write(Some(&fine), &broken, second), Write::Now);
    assert_eq!(write(Some(&broken), &fine, second), Write::Now);
    assert_eq!(write(Some(&broken), &silent, second), Write::Now);
    for (before, after) in [(&fine, &silent), (&silent, &fine)] {
        assert!(matches!(write(Some(before), after, second), Write::Later(_)));
    }
    let more = Report { entries: 7, ..good.clone() };
    assert!(matches!(write(Some(&fine), &of(&[Standing::Says(&more)]), second), Write::Later(_)));
    // Noise.
    let hundreds = |entries, lag_ms| {
        let mut report =
            Report { entries, bytes: 10 * entries, hits: 870 + lag_ms, reads: 1000, ..good.clone() };
        report.sources.get_mut("cdc").unwrap().lag_ms = lag_ms;
        of(&[Standing::Says(&report)])
    };
    assert_eq!(write(Some(&hundreds(1200, 0)), &hundreds(1234, 9), second), Write::Never);
}

#[test]
fn ready_does_not_depend_on_it() {
    let cut = says("Disconnected");
    let status = status_of(1, &findings(&[Standing::Says(&cut)]), None);
    assert_eq!(
        (short(&status, "Fresh").as_str(), short(&status, "Ready").as_str()),
        ("False Disconnected", "True Serving")
    );
}

#[test]
fn the_numbers_are_the_fleet_s() {
    let busy = Report { hits: 90, reads: 100, entries: 1234, bytes: 56_789, ..of(&[("cdc", "Fresh", 130)]) };
    let idle = Report {
        hits: 0,
        reads: 20,
        entries: 1,
        bytes: 10,
        ..of(&[("cdc", "Fresh", 180), ("a", "Fresh", 3)])
    };
    let new = of(&[("cdc", "Starting", 0)]);
    let pods = [
        Standing::Silent(NoAnswer::Unreadable),
        Standing::Says(&idle),
        Standing::Says(&busy),
        Standing::New(&new),
    ];
    let status = status_of(4, &findings(&pods), None);
    // Of two that are about the same the first is named, whichever is a little longer.
    let worst = WorstLag { milliseconds: 200, source: "cdc".into(), pod: "web-2".into() };
    assert_eq!(status.worst_lag, Some(worst));
    assert_eq!(status.hit_ratio.as_deref(), Some("75%"), "by reads, not by pods");
    assert_eq!((status.entries, status.bytes), (Some(1200), Some(56_000)));
    let none = status_of(4, &findings(&pods[..1]), None);
    assert_eq!((none.worst_lag, none.hit_ratio, none.entries, none.bytes), (None, None, None, None));
}

#[test]
fn tables_are_captured_once_some_sidecar_has_seen_each() {
    let tables = |tables: &[&str]| tables.iter().map(ToString::to_string).collect();
    let wanted: Tables =
        [("products".to_owned(), tables(&["s.a"])), ("pages".to_owned(), tables(&["s.a", "s.b"]))].into();
    let sidecar = |caches: &[(&str, Unseen)]| {
        let caches: BTreeMap<_, _> =
            caches.iter().map(|(name, unseen)| ((*name).to_owned(), unseen.clone())).collect();
        Report { caches, ..says("Fresh") }
    };
    let unseen = |names: &[&str]| Unseen::These(tables(names));
    let none = sidecar(&[("products", unseen(&["s.a"])), ("pages", unseen(&["s.a", "s.b"]))]);
    let only_a = sidecar(&[("products", unseen(&[])), ("pages", unseen(&["s.b"]))]);
    let only_b = sidecar(&[("products", unseen(&["s.a"])), ("pages", unseen(&["s.a"]))]);
    let older = sidecar(&[("products", Unseen::Some), ("pages", unseen(&[]))]);
    let earlier_binding = sidecar(&[("shelves", unseen(&[]))]);
    let captured = |reports: &[&Report]| {
        let pods: Vec<_> = reports.iter().map(|report| Standing::Says(report)).collect();
        let status = status_of(3, &found(&pods, &wanted), None);
        (short(&status, "TablesCaptured"), condition(&status, "TablesCaptured").message.clone())
    };
    for (reports, state, names) in [
        (vec![&only_a, &only_b], "True AllSeen", ""),
        (vec![&none, &older], "True AllSeen", ""),
        (vec![&none, &only_a], "Unknown NeverSeen", "no sidecar has seen an event of s.b since its start"),
        (vec![&none], "Unknown NeverSeen", "an event of s.a, s.b since"),
        (vec![&earlier_binding], "Unknown NeverSeen", "an event of s.a, s.b since"),
    ] {
        let (is, message) = captured(&reports);
        assert_eq!(is, state);
        assert!(message.contains(names), "{message}");
        assert!(state.starts_with("True") || message.contains("`freshet-operator check`"), "{message}");
    }
    let of = |pods: &[Standing<'_>], injected| {
        let before = status_of(2, &found(&[Standing::Says(&only_a), Standing::Says(&only_b)], &wanted), None);
        short(&status_of(injected, &found(pods, &wanted), Some(&before)), "TablesCaptured")
    };
    assert_eq!(of(&[], 0), "Unknown NoPods");
    assert_eq!(of(&[], 1), "Unknown Starting");
    assert_eq!(of(&[Standing::Waiting], 1), "True AllSeen", "as before");
    assert_eq!(of(&[Standing::Silent(NoAnswer::Timeout)], 1), "Unknown NoneAnswered");
    let many: Tables = [("all".to_owned(), (0..30).map(|n| format!("s.t{n:02}")).collect())].into();
    let status = status_of(1, &found(&[Standing::Says(&says("Fresh"))], &many), None);
    let message = &condition(&status, "TablesCaptured").message;
    assert!(message.contains("s.t00") && message.contains("s.t09, 20 more since"), "{message}");
}
