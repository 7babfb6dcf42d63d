//! Answers that are fetched anew before anybody has to wait for them.

use std::{collections::HashSet, sync::Mutex};

use freshet_e2e::process::{Gate, Reply, until};

use super::{Front, how};
use crate::shop::SOON;

#[test]
fn what_is_in_use_is_fetched_anew_in_the_background_and_what_is_not_is_not() {
    let front = Front::open(", refresh: 1s", |request| {
        let reply = Reply::json(request.target.clone())
            .header("Cache-Control", "max-age=3600")
            .header("ETag", "\"a\"");
        if request.header("if-none-match").is_some() {
            Reply::new(304, "").header("ETag", "\"a\"")
        } else {
            reply
        }
    });
    front.get("unused");
    let json = [("Accept", "application/json")];
    front.get_with("used", &json);
    let of = |front: &Front, path: &str| {
        front.rest.requests().into_iter().filter(|request| request.target == path).collect::<Vec<_>>()
    };
    until("it is fetched three times more", SOON, || {
        assert_eq!(how(&front.get("used")), "hit", "nobody waits");
        let asked = of(&front, "/used");
        anyhow::ensure!(asked.len() >= 4, "{}", asked.len());
        assert!(
            asked[1..].iter().all(|request| request.header("if-none-match") == Some("\"a\"")),
            "{asked:?}"
        );
        Ok(())
    })
    .unwrap();
    assert_eq!(of(&front, "/unused").len(), 1);
    until("what the third has brought is counted", SOON, || {
        let upstream = &front.sidecar.status()?["caches"]["api"]["upstream"];
        anyhow::ensure!(upstream["inBackground"].as_u64() >= Some(3), "{upstream}");
        anyhow::ensure!(upstream["fetches"]["revalidated"].as_u64() >= Some(3), "{upstream}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn an_answer_that_lives_shorter_than_the_interval_is_fetched_anew_before_it_ends() {
    let front = Front::open(", refresh: 1h", |_| Reply::json("1").header("Cache-Control", "max-age=2"));
    front.get("a");
    // Whoever reads doesn't wait, unless the machine is so busy that the time to fetch it in was over.
    until("it is fetched twice more", SOON, || {
        front.get("a");
        let upstream = &front.sidecar.status()?["caches"]["api"]["upstream"];
        anyhow::ensure!(upstream["inBackground"].as_u64() >= Some(2), "{upstream}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_refresh_that_fails_is_tried_again_and_leaves_what_is_stored() {
    let front = Front::open(", refresh: 1s", |_| Reply::json("1").header("Cache-Control", "max-age=3600"));
    front.get("a");
    front.rest.answer(|_| Reply::new(500, ""));
    until("it is tried twice", SOON, || {
        assert_eq!((front.get("a").text().as_str(), how(&front.get("a")).as_str()), ("1", "hit"));
        anyhow::ensure!(front.rest.count() >= 3, "{}", front.rest.count());
        Ok(())
    })
    .unwrap();
    front.rest.answer(|_| Reply::json("2").header("Cache-Control", "max-age=3600"));
    until("it is fetched", SOON, || {
        let answer = front.get("a");
        anyhow::ensure!(answer.text() == "2" && how(&answer) == "hit", "{answer:?}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_refresh_leaves_the_last_token_to_those_who_wait() {
    let front = Front::open(", refresh: 1s, rate: {requests: 2, per: 1h}", |_| Reply::json("1"));
    front.get("a");
    until("several refreshes are due", SOON, || {
        let answer = front.get("a");
        assert_eq!(how(&answer), "hit");
        let age = answer.header("age").unwrap().parse::<u64>()?;
        anyhow::ensure!(age >= 3, "{age} s");
        Ok(())
    })
    .unwrap();
    assert_eq!((front.rest.count(), front.get("b").status), (1, 200));
}

/// Four keys hang, and there are four places for fetches for which nobody waits.
#[test]
fn what_hangs_leaves_places_to_what_does_not() {
    let gate = Gate::default();
    let (behind, met) = (gate.clone(), Mutex::new(HashSet::new()));
    let front = Front::open(", refresh: 1s, timeout: 8s", move |request| {
        let reply = Reply::json("1").header("Cache-Control", "max-age=3600");
        let first = met.lock().unwrap().insert(request.target.clone());
        if first || request.target == "/good" { reply } else { reply.behind(&behind) }
    });
    for key in ["h1", "h2", "h3", "h4", "good"] {
        front.get(key);
        assert_eq!(how(&front.get(key)), "hit", "it is in use");
    }
    let asked = |key: &str| {
        front.get("good");
        front.rest.requests().iter().filter(|request| request.target.starts_with(key)).count()
    };
    until("those that hang are tried for the second time", SOON * 2, || {
        // They were fetched once, and each is tried once.
        anyhow::ensure!(asked("/h") >= 4 + 4 + 2, "{}", asked("/h"));
        Ok(())
    })
    .unwrap();
    let before = asked("/good");
    until("another one is fetched anew", SOON, || {
        anyhow::ensure!(asked("/good") > before, "{}", asked("/good"));
        Ok(())
    })
    .unwrap();
    assert_eq!(asked("/h"), 4 + 4 + 2, "it has waited for those that hang");
    gate.open();
}
