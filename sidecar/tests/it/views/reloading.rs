//! The binding changes while views are read.

use freshet_e2e::process::{Sidecar, until};

use super::{Gallery, lasting};
use crate::shop::{SOON, executable};

const UP: &str = ", orderBy: /n, order: Ascending";
const DOWN: &str = ", orderBy: /n";

fn gallery() -> Gallery {
    Gallery::open("", &[("top", "a, b", DOWN)], |request| match request.target.as_str() {
        "/a" => lasting("{\"n\":1}"),
        "/b" => lasting("{\"n\":2}"),
        _ => lasting("{\"n\":3}"),
    })
}

#[test]
fn a_view_that_is_defined_anew_is_ranked_anew_from_what_is_held() {
    let gallery = gallery();
    assert_eq!(gallery.until_whole("top").text(), "[{\"n\":2},{\"n\":1}]");
    gallery.rebind("", &[("top", "a, b", UP), ("more", "b, c", DOWN)], "");
    gallery.until_view("top", "[{\"n\":1},{\"n\":2}]");
    gallery.until_view("more", "[{\"n\":3},{\"n\":2}]");
    assert_eq!((gallery.asked("/a"), gallery.asked("/b"), gallery.asked("/c")), (1, 1, 1));
    let status = gallery.sidecar.status().unwrap();
    assert_eq!(status["views"].as_object().unwrap().len(), 2, "{status}");
    gallery.rebind("", &[("more", "b, c", DOWN)], "");
    until("the view is gone", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(answer.status == 404, "{answer:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(gallery.view("more").status, 200, "the other goes on");
}

#[test]
fn a_cache_that_is_defined_anew_and_another_epoch_begin_empty() {
    let gallery = gallery();
    gallery.until_whole("top");
    for (more, spec, asked) in [(", timeout: 11s", "", 2), (", timeout: 11s", "  epoch: now", 3)] {
        gallery.rest.answer(move |_| lasting(format!("{{\"n\":{asked}0}}")));
        gallery.rebind(more, &[("top", "a, b", DOWN)], spec);
        gallery.until_view("top", &format!("[{{\"n\":{asked}0}},{{\"n\":{asked}0}}]"));
        assert_eq!((gallery.asked("/a"), gallery.asked("/b")), (asked, asked));
    }
}

#[test]
fn without_a_binding_and_where_only_a_newer_version_knows_it_a_view_is_not_whole() {
    let gallery = gallery();
    gallery.until_whole("top");
    let text =
        super::manifest(&gallery.rest.url(), "", &[("top", "a, b", ", orderBy: /n, distinct: /n")], "");
    let rendered =
        text.replace("{name: shop}", "{name: shop, annotations: {freshet.dev/rendered-by: 9.9.9}}");
    gallery.sidecar.rebind(&rendered).unwrap();
    until("it is off", SOON, || {
        let answer = gallery.view("top");
        anyhow::ensure!(answer.status == 503, "{answer:?}");
        assert!(answer.text().contains("only a newer version of the sidecar"), "{answer:?}");
        Ok(())
    })
    .unwrap();
    let status = gallery.sidecar.status().unwrap();
    assert_eq!(status["views"]["top"]["off"], "BindingTooNew", "{status}");
    let folder = tempfile::tempdir().unwrap();
    let none =
        Sidecar::builder(executable(), "").binding_file(folder.path().join("none.yaml")).start().unwrap();
    let answer = none.get("/v1/views/top").unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.text().contains("there is no binding yet"), "{answer:?}");
}
