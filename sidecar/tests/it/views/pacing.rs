//! When the keys of views are fetched, and what waits for what.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use freshet_e2e::process::{Gate, Reply, http::Connection, until};

use super::{Done, Gallery, lasting, missing};
use crate::{
    shop::SOON,
    upstream::{how, retry_after},
};

#[test]
fn what_ends_as_soon_as_it_comes_is_not_fetched_all_the_time() {
    let gallery = Gallery::open(", refresh: 1h", &[("top", "a", ", orderBy: /n")], |_| {
        Reply::json("{\"n\":1}").header("Cache-Control", "max-age=0").header("ETag", "\"x\"")
    });
    let answer = until("it isn't fetched for some seconds", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(answer.status == 503 && retry_after(&answer) >= 4, "{answer:?}");
        Ok(answer)
    })
    .unwrap();
    let [(key, why)] = &*missing(&answer) else { panic!("{answer:?}") };
    assert!(key == "a" && why.contains("ends as soon as it comes"), "{answer:?}");
    // Once more where the first of these pauses was slept through.
    assert!((3..=4).contains(&gallery.asked("/a")), "{}", gallery.asked("/a"));
    // As soon as the upstream says something else, whoever has it fetched, the view is whole.
    gallery.rest.answer(|_| lasting("{\"n\":2}"));
    assert_eq!(gallery.get("a", &[]).status, 200);
    assert_eq!(gallery.until_whole("top").text(), "[{\"n\":2}]");
}

#[test]
fn what_ends_as_soon_as_it_comes_is_shown_where_it_may_be_stale() {
    let upstream = ", staleWhileRevalidate: 1h";
    let gallery = Gallery::open(upstream, &[("top", "a", ", orderBy: /n")], |_| {
        Reply::json("{\"n\":1}").header("Cache-Control", "max-age=0")
    });
    gallery.until_whole("top");
    until("it is fetched twice more", SOON, || {
        let answer = gallery.view("top");
        assert_eq!((answer.status, how(&answer).as_str()), (200, "hit; detail=stale-while-revalidate"));
        let asked = gallery.asked("/a");
        anyhow::ensure!(asked >= 3, "{asked}");
        Ok(())
    })
    .unwrap();
}

/// Four keys hang, and there are four places for fetches for which nobody waits.
#[test]
fn keys_that_hang_leave_places_to_the_others() {
    let gate = Gate::default();
    let behind = gate.clone();
    let views = [("good", "a", ", orderBy: /n"), ("bad", "h1, h2, h3, h4", ", orderBy: /n")];
    let gallery = Gallery::open(", timeout: 8s", &views, move |request| match request.target.as_str() {
        "/a" => lasting("{\"n\":1}"),
        _ => lasting("{\"n\":2}").behind(&behind),
    });
    let hanging = || gallery.rest.requests().iter().filter(|request| request.target != "/a").count();
    gallery.until_whole("good");
    until("those that hang are tried once more", SOON * 2, || {
        let asked = hanging();
        anyhow::ensure!(asked >= 6, "{asked}");
        Ok(())
    })
    .unwrap();
    gallery.delete("a");
    gallery.until_whole("good");
    assert_eq!(hanging(), 6, "it has waited for those that hang");
    gate.open();
    gallery.until_whole("bad");
}

/// While a large list is ranked, which takes a while, other keys are read.
#[test]
fn fetches_do_not_wait_for_what_is_ranked() {
    let items: Vec<_> = (0..60_000)
        .map(|n| format!("{{\"n\":{},\"at\":\"2026-11-22T12:00:00.{n:06}+01:00\"}}", n % 1000))
        .collect();
    let list = format!("[{}]", items.join(","));
    let view = [("top", "list", ", orderBy: /at, orderAs: Time, limit: 3")];
    let spec = "  memory: 1Gi\n  sidecar: {maxValue: 16Mi}";
    let mut gallery = Gallery::with(", maxBytes: 16Mi", &view, spec, move |request| {
        lasting(if request.target == "/list" { list.clone() } else { "1".into() })
    });
    assert_eq!(gallery.until_whole("top").json().unwrap().as_array().unwrap().len(), 3);
    let (read, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            let mut connection = Connection::open(&gallery.sidecar.tcp()).unwrap();
            while !done.load(Ordering::SeqCst) {
                let n = read.fetch_add(1, Ordering::SeqCst);
                let answer = connection.request("GET", &format!("/v1/api/{n}"), &[], b"").unwrap();
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        });
        // However fast the machine is: of several times that it is ranked, other keys are read during one at least.
        let mut most = 0;
        for n in 1..=5 {
            gallery.rest.answer({
                let list = format!("[{},{{\"n\":{n}}}]", items.join(","));
                move |request| lasting(if request.target == "/list" { list.clone() } else { "1".into() })
            });
            begin_to_rank(&gallery);
            let before = read.load(Ordering::SeqCst);
            assert_eq!(gallery.view("top").status, 200);
            most = most.max(read.load(Ordering::SeqCst) - before);
        }
        assert!(most >= 10, "{most} keys were read at most while it was ranked");
    });
    // It stops while it ranks.
    begin_to_rank(&gallery);
    gallery.sidecar.stop().unwrap();
}

/// Has a list fetched anew, and waits until that is stored: the view over it is ranked from then on.
fn begin_to_rank(gallery: &Gallery) {
    gallery.delete("list");
    until("it is stored", SOON, || {
        let answer = gallery.get("list", &[("cache-control", "only-if-cached")]);
        anyhow::ensure!(answer.status == 200, "{}", answer.status);
        Ok(())
    })
    .unwrap();
}
