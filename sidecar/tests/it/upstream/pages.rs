//! Answers in pages.

use freshet_e2e::process::{Reply, RestServer};

use super::{Front, how, problem, ttl};

fn page(request: &str) -> u64 {
    request.rsplit_once("page=").map_or(1, |(_, page)| page.parse().unwrap())
}

/// A page of a list, and a link to the next one, if there is one.
fn of(target: &str, pages: u64) -> Reply {
    let n = page(target);
    let reply = Reply::json(format!("[{n}, \"{n}\"]")).header("ETag", "\"a\"");
    let path = target.split('?').next().unwrap();
    if n < pages { reply.header("Link", &format!("<{path}?page={}>; rel=\"next\"", n + 1)) } else { reply }
}

#[test]
fn all_pages_become_one_value() {
    let front = Front::open(", paginate: {maxPages: 3}", |request| {
        of(&request.target, 3)
            .header("Cache-Control", &format!("max-age={}", 100 - page(&request.target) * 10))
    });
    let answer = front.get("list");
    assert_eq!(answer.text(), r#"[1,"1",2,"2",3,"3"]"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!((60..=70).contains(&ttl(&answer)), "the shortest life counts: {answer:?}");
    assert_eq!((how(&front.get("list")).as_str(), front.rest.count()), ("hit", 3));
    // That the first page is the same says nothing of the others.
    front.get_with("list", &[("Cache-Control", "no-cache")]);
    assert!(front.rest.requests().iter().all(|request| request.header("if-none-match").is_none()));
}

#[test]
fn a_list_without_all_its_pages_is_none() {
    let other = RestServer::start(|_| Reply::json("[\"hush\"]")).unwrap();
    let elsewhere = format!("<{}/x>; rel=next", other.url());
    let front = Front::open(", paginate: {maxPages: 3}, maxBytes: 10k", move |request| {
        let n = page(&request.target);
        match request.target.split('?').next().unwrap() {
            "/many" => of(&request.target, 4),
            "/missing" if n == 2 => Reply::new(404, "[]"),
            "/failing" if n == 3 => Reply::new(500, "[]"),
            "/object" if n == 2 => Reply::json("{\"next\": 3}"),
            "/text" if n == 3 => Reply::json("[1, 2"),
            "/closed" if n == 2 => Reply::raw(""),
            "/elsewhere" => Reply::json("[1]").header("Link", &elsewhere),
            "/loop" => Reply::json("[1]").header("Link", "</loop>; rel=next"),
            "/large" => Reply::json(format!("[\"{}\"]", "x".repeat(4000)))
                .header("Link", &format!("</large?page={}>; rel=next", n + 1)),
            "/private" if n == 2 => of(&request.target, 3).header("Cache-Control", "private"),
            "/gone" => Reply::new(410, "none"),
            _ => of(&request.target, 3),
        }
    });
    for (path, kind, says) in [
        ("many", "upstream-too-large", "more than 3 pages"),
        ("loop", "upstream-too-large", "more than 3 pages"),
        ("large", "upstream-too-large", "bytes"),
        ("missing", "upstream-failed", "404 Not Found for page 2"),
        ("failing", "upstream-failed", "500 Internal Server Error for page 3"),
        ("object", "upstream-failed", "it isn't a JSON array"),
        ("text", "upstream-failed", "it isn't a JSON array"),
        ("closed", "upstream-failed", ""),
        ("elsewhere", "upstream-redirect", "its Link names the next page, and it leads elsewhere"),
    ] {
        let answer = front.get(path);
        assert_eq!((answer.status, problem(&answer).as_str()), (502, kind), "{path}: {answer:?}");
        assert!(answer.text().contains(says), "{path}: {answer:?}");
    }
    assert_eq!(front.sidecar.status().unwrap()["caches"]["api"]["entries"], 0);
    let private = front.get("private");
    assert_eq!(
        (private.text().as_str(), how(&private).as_str()),
        (r#"[1,"1",2,"2",3,"3"]"#, "fwd=uri-miss; fwd-status=200")
    );
    assert_eq!((front.get("gone").status, how(&front.get("gone")).as_str()), (410, "hit"));
    assert_eq!(other.count(), 0);
}

#[test]
fn what_is_stored_stays_when_a_page_fails() {
    let front = Front::open(", paginate: {}, staleIfError: 1h", |request| {
        of(&request.target, 2).header("Cache-Control", "max-age=0")
    });
    let whole = front.get("list").text();
    front.rest.answer(|request| match page(&request.target) {
        1 => Reply::json("[\"new\"]").header("Link", "</list?page=2>; rel=next"),
        _ => Reply::new(500, ""),
    });
    let answer = front.get("list");
    assert_eq!((answer.text(), how(&answer)), (whole, "hit; detail=upstream-failed".to_owned()));
}
