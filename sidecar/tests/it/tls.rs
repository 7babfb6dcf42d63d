//! TLS towards a real Redis: what is trusted, what isn't, and what is said of it.

use freshet_e2e::process::{Authority, Redis, Sidecar, SidecarBuilder};

use crate::shop::{CACHES, SOON, Shop, executable, manifest_of};

/// Names of a server on this machine.
const HERE: &[&str] = &["127.0.0.1", "localhost"];

fn authority() -> Authority {
    Authority::new("test").unwrap()
}

fn sidecar(url: &str, more: &str) -> SidecarBuilder {
    let source = format!("url: '{url}', topicPrefix: shop{more}");
    Sidecar::builder(executable(), &manifest_of(&source, CACHES, ""))
}

const CA_IN_SECRET: &str = ", caFrom: {secretKeyRef: {name: redis, key: ca.crt}}";
const CLIENT: &str = ", clientCertificateFrom: {secretRef: {name: mine}}";

#[test]
fn changes_come_through_tls_and_a_renewed_certificate_is_no_break() {
    let authority = authority();
    let redis = Redis::builder().tls(&authority.issue(HERE).unwrap()).start().unwrap();
    let url = format!("rediss://{}", redis.tls_address());
    let ca = ", caFrom: {configMapKeyRef: {name: bundle, key: ca.crt}}";
    let builder = sidecar(&url, ca).config_map("bundle", "ca.crt", &authority.pem());
    let mut shop = Shop::with(redis, builder);
    shop.change("product", "{\"id\":7}", "c", "{\"id\":7}");
    shop.until_get("/v1/rows/7", "hit {\"id\":7}");
    shop.settle();
    let epoch = shop.epoch();
    shop.redis.command::<i64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    shop.sidecar
        .until("it is connected again", SOON, |sidecar| {
            anyhow::ensure!(sidecar.metrics()?.contains("freshet_source_connects_total{source=\"cdc\"} 2"));
            Ok(())
        })
        .unwrap();
    shop.until_fresh();
    assert_eq!((shop.get("/v1/rows/7").as_str(), shop.epoch()), ("hit {\"id\":7}", epoch));
}

#[test]
fn a_certificate_is_believed_only_if_everything_is_right_and_corrected_files_are_read_without_a_restart() {
    let (authority, other) = (authority(), Authority::new("other").unwrap());
    let redis = Redis::builder().tls(&authority.issue(HERE).unwrap()).start().unwrap();
    let url = format!("rediss://{}", redis.tls_address());
    let builder = sidecar(&url, CA_IN_SECRET).secret("redis", "ca.crt", "no PEM");
    let mut shop = Shop::of(redis, builder.start().unwrap());
    shop.until_reason("caFrom can't be used: there is no certificate (PEM) in it");
    shop.sidecar.change_secret("redis", "ca.crt", &other.pem()).unwrap();
    shop.until_reason("isn't trusted: it comes from no authority in caFrom");
    shop.sidecar.change_secret("redis", "ca.crt", &format!("{}{}", other.pem(), authority.pem())).unwrap();
    shop.until_fresh();
}

#[test]
fn what_is_wrong_with_a_server_s_certificate_is_said() {
    let authority = authority();
    let expired = authority.issue_expired(HERE).unwrap();
    let elsewhere = authority.issue(&["redis.example"]).unwrap();
    for (certificate, ca, says) in [
        (&expired, CA_IN_SECRET, "isn't trusted: it has expired"),
        (&elsewhere, CA_IN_SECRET, "is for DnsName(\"redis.example\"), not for 127.0.0.1"),
        (&authority.issue(HERE).unwrap(), "", "from one that browsers trust"),
    ] {
        let redis = Redis::builder().tls(certificate).start().unwrap();
        let url = format!("rediss://{}", redis.tls_address());
        let builder = sidecar(&url, ca).secret("redis", "ca.crt", &authority.pem());
        let mut shop = Shop::of(redis, builder.start().unwrap());
        shop.until_reason(says);
        assert_eq!(shop.get("/v1/products/7"), "stale disconnected");
    }
}

#[test]
fn a_client_s_certificate_is_shown_where_one_is_wanted() {
    let (authority, other) = (authority(), Authority::new("other").unwrap());
    let server = authority.issue(HERE).unwrap();
    let (mine, foreign) = (authority.issue(&["app"]).unwrap(), other.issue(&["app"]).unwrap());
    let redis = Redis::builder().tls_with_clients_of(&server, &authority).start().unwrap();
    let url = format!("rediss://{}", redis.tls_address());
    let builder = sidecar(&url, CA_IN_SECRET).secret("redis", "ca.crt", &authority.pem());
    let mut shop = Shop::of(redis, builder.start().unwrap());
    shop.until_reason("refuses us: it wants a client's certificate: clientCertificateFrom names one");

    let builder = sidecar(&url, &format!("{CA_IN_SECRET}{CLIENT}"))
        .secret("redis", "ca.crt", &authority.pem())
        .secret("mine", "tls.crt", &foreign.certificate)
        .secret("mine", "tls.key", &mine.key);
    shop.sidecar = builder.start().unwrap();
    shop.until_reason("clientCertificateFrom can't be used: tls.key isn't the key of tls.crt");
    shop.sidecar.change_secret("mine", "tls.key", &foreign.key).unwrap();
    shop.until_reason("refuses us: it doesn't take our certificate (UnknownCA)");
    // A kubelet changes both at once; in between is only another error.
    shop.sidecar.change_secret("mine", "tls.crt", &mine.certificate).unwrap();
    shop.sidecar.change_secret("mine", "tls.key", &mine.key).unwrap();
    shop.until_fresh();
}

#[test]
fn a_port_that_speaks_the_other_way_is_told() {
    let authority = authority();
    let redis = Redis::builder().tls(&authority.issue(HERE).unwrap()).start().unwrap();
    let (plain, tls) = (redis.address(), redis.tls_address());
    let builder =
        sidecar(&format!("rediss://{plain}"), CA_IN_SECRET).secret("redis", "ca.crt", &authority.pem());
    let mut shop = Shop::of(redis, builder.start().unwrap());
    shop.until_reason("doesn't answer by TLS: is this the plain port?");
    shop.sidecar = sidecar(&format!("redis://{tls}"), "").start().unwrap();
    shop.until_reason("if that is its TLS port, the URL begins with rediss");
}

#[test]
fn a_url_in_a_secret_goes_with_the_rest_of_the_source() {
    let redis = Redis::start().unwrap();
    let source = "urlFrom: {secretKeyRef: {name: redis, key: url}}, topicPrefix: shop";
    let source = format!("{source}, caFrom: {{secretKeyRef: {{name: redis, key: ca.crt}}}}");
    let builder = Sidecar::builder(executable(), &manifest_of(&source, CACHES, ""))
        .secret("redis", "url", "redis://user:pa/ss@redis")
        .secret("redis", "ca.crt", &authority().pem());
    let mut shop = Shop::of(redis, builder.start().unwrap());
    shop.until_reason("in a user or password, write %2F for a slash");
    shop.sidecar.change_secret("redis", "url", &shop.redis.url()).unwrap();
    shop.until_reason("write rediss instead of redis in the URL");
    shop.sidecar.change_secret("redis", "url", "redis+cluster://redis").unwrap();
    shop.until_reason("write rediss instead of redis in the URL");
    shop.sidecar.change_secret("redis", "url", "rediss+cluster://redis").unwrap();
    shop.until_reason("a Cluster goes with stream, not with topicPrefix");
    assert!(!shop.sidecar.log().contains("pa/ss"));
}

#[test]
fn the_rights_in_the_guide_are_enough_with_credentials_over_tls() {
    let guide = include_str!("../../../docs/guides/redis.md");
    let line = guide.lines().find(|line| line.starts_with("ACL SETUSER freshet ")).unwrap();
    let words: Vec<_> = line.split(' ').collect();
    let authority = authority();
    let redis = Redis::builder().tls(&authority.issue(HERE).unwrap()).start().unwrap();
    redis.command::<String>(&words).unwrap();
    redis.command::<String>(&["ACL", "SETUSER", "default", "-@all", "+ping", "+acl"]).unwrap();
    let source = "urlFrom: {secretKeyRef: {name: redis, key: url}}, stream: shop.cdc";
    let builder =
        Sidecar::builder(executable(), &manifest_of(&format!("{source}{CA_IN_SECRET}"), CACHES, ""))
            .secret("redis", "ca.crt", &authority.pem())
            .secret("redis", "url", &format!("rediss://freshet:wrong@{}", redis.tls_address()));
    let mut shop = Shop::of(redis, builder.start().unwrap());
    shop.until_reason("Redis refuses the credentials: ");
    let url = format!("rediss://freshet:change-me@{}", shop.redis.tls_address());
    shop.sidecar.change_secret("redis", "url", &url).unwrap();
    shop.until_fresh();
    assert!(!shop.sidecar.log().contains("change-me"));
}
