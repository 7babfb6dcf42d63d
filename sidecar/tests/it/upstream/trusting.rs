//! Whom a sidecar trusts, and what it shows to be let in.

use freshet_e2e::process::{Authority, Reply, RestServer};

use super::{Front, builder, how, problem};

const HERE: &[&str] = &["127.0.0.1"];
const CA: &str = ", caFrom: {secretKeyRef: {name: rest, key: ca.crt}}";

fn detail(front: &Front, path: &str) -> String {
    let answer = front.get(path);
    assert_eq!((answer.status, problem(&answer).as_str()), (502, "upstream-failed"), "{answer:?}");
    answer.json().unwrap()["detail"].as_str().unwrap().to_owned()
}

#[test]
fn an_upstream_is_read_over_tls_from_an_authority_that_is_trusted() {
    let (authority, other) = (Authority::new("rest").unwrap(), Authority::new("other").unwrap());
    let rest = RestServer::start_tls(&authority.issue(HERE).unwrap(), |_| Reply::json("1")).unwrap();
    let sidecar = builder(&rest, CA, "").secret("rest", "ca.crt", "no PEM").start().unwrap();
    let front = Front { rest, sidecar };
    assert_eq!(detail(&front, "a"), "caFrom can't be used: there is no certificate (PEM) in it");
    front.sidecar.change_secret("rest", "ca.crt", &other.pem()).unwrap();
    assert!(detail(&front, "a").contains("isn't trusted: it comes from no authority in caFrom"));
    front.sidecar.change_secret("rest", "ca.crt", &authority.pem()).unwrap();
    assert_eq!(front.get("a").text(), "1", "what is mounted is read anew");
    assert_eq!(how(&front.get("a")), "hit");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let authority = Authority::new("rest").unwrap();
    for (certificate, ca, says) in [
        (authority.issue_expired(HERE).unwrap(), CA, "isn't trusted: it has expired"),
        (authority.issue(&["rest.example"]).unwrap(), CA, "not for 127.0.0.1"),
        (authority.issue(HERE).unwrap(), "", "from one that browsers trust"),
    ] {
        let rest = RestServer::start_tls(&certificate, |_| Reply::json("hush")).unwrap();
        let sidecar = builder(&rest, ca, "").secret("rest", "ca.crt", &authority.pem()).start().unwrap();
        let front = Front { rest, sidecar };
        let detail = detail(&front, "a");
        assert!(detail.contains(says), "{detail}");
        assert_eq!(front.rest.count(), 0);
    }
    let plain = RestServer::start(|_| Reply::json("1")).unwrap();
    let url = plain.url().replace("http:", "https:");
    let sidecar =
        freshet_e2e::process::Sidecar::builder(crate::shop::executable(), &super::manifest(&url, "", ""));
    let front = Front { sidecar: sidecar.start().unwrap(), rest: plain };
    let detail = detail(&front, "a");
    assert!(detail.contains("tls handshake"), "{detail}");
}

#[test]
fn credentials_are_sent_as_they_are_mounted_and_shown_to_nobody() {
    let auth = ", authFrom: {secretKeyRef: {name: rest, key: token}}";
    let rest = RestServer::start(|request| {
        let good = request.header("authorization") == Some("Bearer second-hush");
        if good { Reply::json("1") } else { Reply::new(401, "who are you?") }
    })
    .unwrap();
    let sidecar = builder(&rest, auth, "").start().unwrap();
    let front = Front { rest, sidecar };
    assert!(detail(&front, "a").contains("authFrom in Secret `rest`, key `token`, can't be read"));
    for (text, says) in [("\n", "it is empty"), ("Bearer hush\nHost: hush", "it isn't one line")] {
        front.sidecar.change_secret("rest", "token", text).unwrap();
        assert!(detail(&front, "a").contains(says));
    }
    assert_eq!(front.rest.count(), 0);
    front.sidecar.change_secret("rest", "token", "Bearer first-hush\n").unwrap();
    let refused = front.get_with("a", &[("Authorization", "Bearer second-hush")]);
    assert_eq!((refused.status, how(&refused).as_str()), (401, "fwd=uri-miss; fwd-status=401"));
    assert_eq!(front.rest.last().header("authorization"), Some("Bearer first-hush"));
    front.sidecar.change_secret("rest", "token", "Bearer second-hush").unwrap();
    assert_eq!(front.get("a").text(), "1", "it is read anew for each request");
    let status = front.sidecar.status().unwrap().to_string();
    for text in [front.sidecar.log(), status, front.sidecar.metrics().unwrap(), refused.text()] {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn credentials_go_into_the_header_that_is_named() {
    let auth = ", authFrom: {secretKeyRef: {name: rest, key: token}, header: X-Api-Key}";
    let rest = RestServer::start(|_| Reply::json("1")).unwrap();
    let sidecar = builder(&rest, auth, "").secret("rest", "token", "s3cret").start().unwrap();
    let front = Front { rest, sidecar };
    front.get("a");
    let asked = front.rest.last();
    assert_eq!((asked.header("x-api-key"), asked.header("authorization")), (Some("s3cret"), None));
}
