//! The named limits: what a client may cost.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::ensure;
use freshet_e2e::process::{
    Redis, Sidecar,
    http::{Connection, Target},
};

use crate::{
    bad_input::problem,
    shop::{CACHES, SOON, Shop, executable, manifest},
};

#[test]
fn a_head_that_is_too_large_is_refused() {
    let shop = Shop::open();
    let long = "x".repeat(20_000);
    let answer = shop.sidecar.request("GET", "/v1/products/1", &[("x-long", &long)], b"").unwrap();
    problem(&answer, 431, "head-too-large", "16384 bytes and 100 header fields");
    let many: Vec<_> = (0..110).map(|_| ("x", "y")).collect();
    let answer = shop.sidecar.request("GET", "/v1/products/1", &many, b"").unwrap();
    problem(&answer, 431, "head-too-large", "100 header fields");
    let fits = "x".repeat(12_000);
    assert_eq!(shop.sidecar.request("GET", "/v1/products/1", &[("x-long", &fits)], b"").unwrap().status, 404);
}

#[test]
fn a_client_that_never_ends_its_head_is_cut() {
    let shop = Shop::open();
    let mut slow = Connection::open(&shop.sidecar.tcp()).unwrap();
    let started = Instant::now();
    slow.send(b"GET /v1/products/1 HTTP/1.1\r\nhost:").unwrap();
    freshet_e2e::process::until("the connection is cut", SOON, || {
        ensure!(slow.closed()?, "it is open");
        Ok(())
    })
    .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(4), "not before its time");
    assert!(shop.sidecar.metrics().unwrap().contains("freshet_connections_cut_total 1"));
}

#[test]
fn a_head_behind_a_whole_request_has_no_more_time_than_another() {
    let shop = Shop::open();
    let mut slow = Connection::open(&shop.sidecar.tcp()).unwrap();
    slow.send(b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/products/1 HTTP/1.1\r\nhost:").unwrap();
    assert_eq!(slow.response("GET").unwrap().status, 404);
    let started = Instant::now();
    assert!(slow.closed().unwrap());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(shop.sidecar.metrics().unwrap().contains("freshet_connections_cut_total 1"));
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let shop = Shop::open();
    let large = "x".repeat(1 << 20);
    shop.fill("/v1/products/1", &large);
    let mut deaf = Connection::open(&shop.sidecar.tcp()).unwrap();
    // More answers than all buffers on the way hold, and none of them is read.
    for _ in 0..24 {
        deaf.send(b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    freshet_e2e::process::until("the client is cut", Duration::from_secs(30), || {
        let metrics = shop.sidecar.metrics()?;
        ensure!(metrics.contains("freshet_connections_cut_total 1"), "{metrics}");
        Ok(())
    })
    .unwrap();
    assert!(shop.get("/v1/products/1").starts_with("hit"), "others are served");
}

#[test]
fn an_admin_client_that_does_not_read_is_cut() {
    let shop = Shop::open();
    let size = shop.sidecar.metrics().unwrap().len();
    let mut deaf = Connection::open(&shop.sidecar.admin()).unwrap();
    // More answers than all buffers on the way hold, and none of them is read.
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    let started = Instant::now();
    deaf.send(&request.repeat((24 << 20) / size)).unwrap();
    freshet_e2e::process::until("the client is cut", Duration::from_secs(30), || {
        // What is sent on a connection that the other side has closed fails.
        ensure!(deaf.send(b"\r\n").is_err(), "it is open");
        Ok(())
    })
    .unwrap();
    assert!(started.elapsed() >= Duration::from_secs(9), "not before its time: {:?}", started.elapsed());
}

#[test]
fn one_connection_too_many_is_told_so_and_room_comes_back() {
    let shop = Shop::open();
    let target = shop.sidecar.socket();
    let mut held: Vec<_> = (0..1024).map(|_| Connection::open(&target).unwrap()).collect();
    // A connection counts once it is accepted: an answer on the last one says that all are.
    let last = held.last_mut().unwrap();
    assert_eq!(last.request("GET", "/v1/status", &[], b"").unwrap().status, 200);
    let mut refused = Connection::open(&target).unwrap();
    let answer = refused.response("GET").unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json().unwrap()["type"], "https://freshet.dev/problems/too-many-connections");
    held.truncate(1000);
    freshet_e2e::process::until("there is room again", SOON, || {
        let status = Connection::open(&target)?.request("GET", "/v1/status", &[], b"")?.status;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn requests_on_one_connection_follow_each_other() {
    let shop = Shop::open();
    shop.fill("/v1/products/1", "one");
    let mut connection = Connection::open(&shop.sidecar.tcp()).unwrap();
    let request = b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\n\r\n";
    connection.send(&request.repeat(50)).unwrap();
    for _ in 0..50 {
        assert_eq!(connection.response("GET").unwrap().text(), "one");
    }
    // One and a half: the first is answered although the second isn't whole.
    connection.send(&[&request[..], b"GET /v1/pro"].concat()).unwrap();
    assert_eq!(connection.response("GET").unwrap().text(), "one");
}

#[test]
fn sigterm_lets_what_is_under_way_end() {
    let mut shop = Shop::open();
    let lease = shop.lease("/v1/products/1");
    let mut upload = Connection::open(&shop.sidecar.tcp()).unwrap();
    let head = format!(
        "PUT /v1/products/1 HTTP/1.1\r\nhost: x\r\nfreshet-lease: {lease}\r\ncontent-length: 4\r\n\r\nab"
    );
    upload.send(head.as_bytes()).unwrap();
    let mut idle = Connection::open(&shop.sidecar.socket()).unwrap();
    assert_eq!(idle.request("GET", "/v1/status", &[], b"").unwrap().status, 200);
    let pid = shop.sidecar.process().pid().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    freshet_e2e::process::until("new connections are refused", SOON, || {
        ensure!(Connection::open(&shop.sidecar.tcp()).is_err(), "one was accepted");
        Ok(())
    })
    .unwrap();
    upload.send(b"cd").unwrap();
    assert_eq!(upload.response("PUT").unwrap().status, 204, "the fill under way was ended");
    assert_eq!(shop.sidecar.process().wait(SOON).unwrap().code(), Some(0));
    assert!(!shop.sidecar.folder().join("freshet.sock").exists(), "the socket's file is removed");
}

#[test]
fn a_killed_sidecars_socket_is_replaced_and_a_living_ones_is_not() {
    let mut shop = Shop::open();
    shop.sidecar.kill().unwrap();
    let socket = shop.sidecar.folder().join("freshet.sock");
    assert!(socket.exists(), "a killed process can't remove it");
    shop.sidecar.start_again().unwrap();
    assert_eq!(
        Connection::open(&shop.sidecar.socket())
            .unwrap()
            .request("GET", "/v1/status", &[], b"")
            .unwrap()
            .status,
        200
    );
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&socket).unwrap());
    assert_eq!(mode & 0o777, 0o666, "any user may connect");
    let second = std::process::Command::new(crate::shop::executable())
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--binding"])
        .arg(shop.sidecar.binding_path())
        .arg("--socket")
        .arg(&socket)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(1) && said.contains("another process listens"), "{said}");
}

#[test]
fn the_probes_answer_as_the_kubelet_asks() {
    let shop = Shop::open();
    let probe = |which: &str, admin: &str| {
        std::process::Command::new(crate::shop::executable())
            .args(["probe", which, "--admin", admin])
            .output()
            .unwrap()
            .status
            .code()
    };
    let admin = match shop.sidecar.admin() {
        freshet_e2e::process::http::Target::Tcp(address) => address.to_string(),
        freshet_e2e::process::http::Target::Unix(_) => unreachable!("the admin listener is TCP"),
    };
    assert_eq!(probe("startup", &admin), Some(0));
    assert_eq!(probe("live", &admin), Some(0));
    assert_eq!(probe("live", "127.0.0.1:1"), Some(1));
    // As many idle connections as strangers may have keep nobody's probe from being answered.
    let idle: Vec<_> = (0..64).map(|_| Connection::open(&shop.sidecar.admin()).unwrap()).collect();
    assert_eq!(probe("live", &admin), Some(0));
    drop(idle);
}

/// The request of an upload without the last byte of its body.
pub(crate) fn begin_upload(target: &Target, path: &str, lease: &str, size: usize) -> Connection {
    let mut connection = Connection::open(target).unwrap();
    let head =
        format!("PUT {path} HTTP/1.1\r\nhost: x\r\nfreshet-lease: {lease}\r\ncontent-length: {size}\r\n\r\n");
    connection.send(head.as_bytes()).unwrap();
    connection.send(&vec![b'x'; size - 1]).unwrap();
    connection
}

#[test]
fn a_body_that_never_ends_is_cut() {
    let shop = Shop::open();
    let lease = shop.lease("/v1/products/1");
    let started = Instant::now();
    let mut slow = begin_upload(&shop.sidecar.tcp(), "/v1/products/1", &lease, 4);
    assert!(slow.closed().unwrap(), "nothing is answered");
    let spent = started.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(25)).contains(&spent), "{spent:?}");
    assert!(shop.sidecar.metrics().unwrap().contains("freshet_connections_cut_total 1"));
}

/// Nobody takes the body of a read: a reader who waits isn't cut for it.
#[test]
fn a_body_that_nobody_takes_costs_no_reader_its_time() {
    let shop = Shop::open();
    shop.lease("/v1/products/1");
    // Both wait for the loader, who never comes: one is told to load when it is given up, the other waits on.
    let readers = [(); 2].map(|()| {
        let mut reader = Connection::open(&shop.sidecar.tcp()).unwrap();
        let head = b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\nprefer: wait=12\r\ncontent-length: 2\r\n\r\nx";
        reader.send(head).unwrap();
        reader
    });
    for mut reader in readers {
        assert_eq!(reader.response("GET").unwrap().status, 404);
    }
}

/// What is refused for its head is told, although its body is still coming.
#[test]
fn a_refused_fill_is_told_why_however_large_its_body() {
    let shop = Shop::open();
    let lease = shop.lease("/v1/products/2");
    let body = vec![b'x'; 1 << 20];
    for (path, headers, status, slug) in [
        ("/v1/products/1", vec![], 428, "lease-required"),
        ("/v1/products/1", vec![("freshet-lease", "of another process")], 400, "lease"),
        ("/v1/products/1", vec![("freshet-lease", lease.as_str())], 400, "lease"),
        (
            "/v1/products/2",
            vec![("freshet-lease", lease.as_str()), ("content-encoding", "deflate")],
            415,
            "media-type",
        ),
        ("/v1/nothing/1", vec![], 404, "unknown-cache"),
        ("/v1/products/1%20", vec![], 400, "key-form"),
    ] {
        let answer = shop.sidecar.request("PUT", path, &headers, &body).unwrap();
        problem(&answer, status, slug, "");
    }
}

/// What bodies under way occupy doesn't grow with the number of connections.
#[test]
fn bodies_under_way_are_bounded_in_memory() {
    const SIZE: usize = 1 << 20;
    const CLIENTS: usize = 64;
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "  memory: 1Mi");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    let (target, lease) = (shop.sidecar.tcp(), shop.lease("/v1/products/1"));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (target, lease) = (target.clone(), lease.clone());
            std::thread::spawn(move || {
                let mut upload = begin_upload(&target, "/v1/products/1", &lease, SIZE);
                // The first to come are cut for their last byte in the end; those who wait are told.
                upload.response("PUT").ok()
            })
        })
        .collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let told: Vec<_> = answers.iter().flatten().collect();
    assert!(told.len() >= CLIENTS - 32, "{} of {CLIENTS} were told", told.len());
    for answer in told {
        problem(answer, 503, "too-many-bodies", "16777216 bytes");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", shop.sidecar.process().pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 56 * 1024, "{peak} KiB were resident with 16 MiB of room");
    shop.fill("/v1/products/1", "there is room again");
}

/// The client's own patience never runs out: it takes a little of its answer all the time.
#[test]
fn requests_under_way_are_cut_when_the_drain_has_taken_too_long() {
    const SIZE: usize = 8 << 20;
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "  sidecar: {maxValue: 8Mi}");
    let mut shop = Shop::with(redis, Sidecar::builder(executable(), &text));
    shop.fill("/v1/products/1", &"x".repeat(SIZE));
    // A Unix socket holds little of an answer, whose end then depends on who reads it.
    let Target::Unix(socket) = shop.sidecar.socket() else { unreachable!("the socket is a Unix socket") };
    let mut slow = UnixStream::connect(socket).unwrap();
    slow.write_all(&b"GET /v1/products/1 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2)).unwrap();
    let mut head = [0; 15];
    slow.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK", "the answer is under way");
    let reader = thread::spawn(move || {
        // Half a minute's work.
        let (mut part, mut taken) = (vec![0; 64 * 1024], 0);
        while let Ok(size @ 1..) = slow.read(&mut part) {
            taken += size;
            thread::sleep(Duration::from_millis(250));
        }
        taken
    });
    let pid = shop.sidecar.process().pid().to_string();
    let started = Instant::now();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(shop.sidecar.process().wait(Duration::from_secs(25)).unwrap().code(), Some(0));
    let spent = started.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_secs(16)).contains(&spent), "{spent:?}");
    let taken = reader.join().unwrap();
    assert!(taken < SIZE, "the answer wasn't cut: {taken} bytes came");
}

#[test]
fn ipv6_loopback_is_served_too() {
    let shop = Shop::open();
    let Target::Tcp(mut address) = shop.sidecar.tcp() else { unreachable!("the API is on TCP") };
    address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
    shop.fill("/v1/products/1", "x");
    let answer = crate::shop::ask(&Target::Tcp(address), "GET", "/v1/products/1", &[]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "x"));
}

/// A sidecar that a shell has given `limit` as its ulimit.
pub(crate) fn limited(limit: &str) -> (tempfile::TempDir, Shop) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("limited");
    fs::write(&script, format!("#!/bin/sh\nulimit {limit} || exit 9\nexec {} \"$@\"\n", executable()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let redis = Redis::start().unwrap();
    let text = manifest(&redis, CACHES, "");
    (folder, Shop::with(redis, Sidecar::builder(script, &text)))
}

/// As many connections as can be opened until one is refused in words, at most `most`.
fn connections_until_refused(shop: &Shop, most: usize) -> usize {
    let mut held = Vec::new();
    while held.len() < most {
        let mut connection = Connection::open(&shop.sidecar.socket()).unwrap();
        // One that is refused may be closed already.
        drop(connection.send(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n"));
        let answer = connection.response("GET").unwrap();
        if answer.status == 503 {
            problem(&answer, 503, "too-many-connections", &format!("at most {} are", held.len()));
            break;
        }
        held.push(connection);
    }
    held.len()
}

#[test]
fn a_small_soft_limit_of_open_files_is_raised() {
    let (_folder, shop) = limited("-Sn 200");
    assert_eq!(connections_until_refused(&shop, 400), 400);
}

#[test]
fn a_small_hard_limit_of_open_files_lowers_the_number_of_connections() {
    let (_folder, shop) = limited("-n 400");
    let found = connections_until_refused(&shop, 400);
    assert!((100..400).contains(&found), "{found}");
    assert!(shop.sidecar.log().contains("few files may be open"), "{}", shop.sidecar.log());
}
