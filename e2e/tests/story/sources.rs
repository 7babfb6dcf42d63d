//! Two sources of different transports in one binding: what becomes of one is no matter of the other's caches, and
//! status says which is which.

use anyhow::{Result, ensure};
use freshet_crds::manifest;
use freshet_e2e::process::until;
use freshet_e2e::shop::{ROLLOUT, SOON};
use serde_json::Value;

use crate::stage::{Place, Stage, replaced};

/// The shop's binding with its pages from the database's own notifications.
fn binding(place: &Place) -> String {
    let text = place.manifest("00-binding.yaml").unwrap();
    [
        (
            "        retention: 24h\n",
            "        retention: 24h\n    - name: db\n      postgresNotify:\n        \
             urlFrom: {secretKeyRef: {name: notified, key: url}}\n        channel: shop-pages\n",
        ),
        ("    - name: products\n", "    - name: products\n      source: cdc\n"),
        ("    - name: product-rows\n", "    - name: product-rows\n      source: cdc\n"),
        ("    - name: pages\n", "    - name: pages\n      source: db\n"),
    ]
    .into_iter()
    .fold(text, |text, (from, to)| replaced(&text, from, to))
}

/// A page read once.
fn page(place: &Place, pod: &str) -> Result<(String, Value)> {
    let read = place.page(pod, 2)?;
    Ok((read.source, read.product["category"].clone()))
}

#[test]
fn a_source_that_is_down_leaves_the_others_caches_alone_and_status_says_which() {
    let (stage, _guard) = Stage::shared();
    let place = stage.place("sources");
    let manifest = binding(&place);
    let read = manifest::read(&manifest).unwrap().binding().unwrap();
    // What these sidecars alone log in as.
    let role = &place.namespace;
    stage.sql(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'change-me'")).unwrap();
    stage.sql(&freshet_debezium::triggers(&read, Some("db")).unwrap()).unwrap();
    let url = format!("--from-literal=url=postgres://{role}:change-me@postgres.shop/shop");
    place.kubectl(&["create", "secret", "generic", "notified", &url]).unwrap();
    place.apply(&manifest).unwrap();
    place.apply(&place.manifest("10-shop.yaml").unwrap()).unwrap();
    place.await_fresh().unwrap();
    place.until_fresh();
    let replicas = place.replicas().unwrap();
    let id = stage.insert("9.50");
    let rename = |name: &str| {
        stage.sql(&format!("UPDATE inventory.category SET name = '{name}' WHERE id = 2")).unwrap();
    };
    let until_page = |pod: &str, source: &str, name: &str| {
        until("the page", SOON, || {
            let found = page(&place, pod)?;
            ensure!(found == (source.into(), name.into()), "{pod}: {found:?}");
            Ok(())
        })
        .unwrap();
    };
    rename("spades");
    for replica in &replicas {
        place.await_product(&replica.pod, id, "cache", "9.50");
        until_page(&replica.pod, "cache", "spades");
    }
    let epochs = |pod: &str| {
        let status = place.status(pod).unwrap();
        ["cdc", "db"].map(|source| status["sources"][source]["epoch"].as_u64().unwrap())
    };
    let before: Vec<_> = replicas.iter().map(|replica| epochs(&replica.pod)).collect();

    stage.sql(&format!("ALTER ROLE \"{role}\" NOLOGIN")).unwrap();
    let end =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{role}'");
    stage.sql(&end).unwrap();
    until("Fresh=False for all", SOON, || {
        let told = place.fresh()?;
        let is_it = told.starts_with("False Disconnected: source db is Disconnected in 2 of 2 sidecars ");
        ensure!(is_it && !told.contains("cdc"), "{told}");
        Ok(())
    })
    .unwrap();
    rename("shovels");
    stage.set_price(id, "12.25");
    for replica in &replicas {
        let pod = &replica.pod;
        place.await_product(pod, id, "cache", "12.25");
        assert_eq!(page(&place, pod).unwrap(), ("database".into(), "shovels".into()), "{pod}");
        until("the pod says which is which", SOON, || {
            let sources = &place.status(pod)?["sources"];
            let [cdc, db] = ["cdc", "db"].map(|name| &sources[name]);
            ensure!(cdc["state"] == "Fresh" && cdc["transport"] == "redisStream", "{cdc}");
            ensure!(db["state"] == "Disconnected" && db["transport"] == "postgresNotify", "{db}");
            let reason = db["reason"].as_str().unwrap_or_default();
            ensure!(reason.contains("not permitted to log in"), "{db}");
            Ok(())
        })
        .unwrap();
    }
    until("the operator can't reach it either", ROLLOUT, || {
        let path = "{range .status.conditions[?(@.type==\"SourcesReachable\")]}{.status}: {.message}{end}";
        let told =
            place.kubectl(&["get", "cachebinding", "shop", "--output", &format!("jsonpath={path}")])?;
        ensure!(told.starts_with("False: db: ") && !told.contains("cdc"), "{told}");
        Ok(())
    })
    .unwrap();

    stage.sql(&format!("ALTER ROLE \"{role}\" LOGIN")).unwrap();
    place.until_fresh();
    for (replica, [cdc, db]) in replicas.iter().zip(before) {
        let pod = &replica.pod;
        let now = epochs(pod);
        // What was said meanwhile nobody knows, of this source alone.
        assert!(now[0] == cdc && now[1] > db, "{pod}: {now:?} after {cdc} and {db}");
        // Asked once: the page of before would be wrong.
        assert_eq!(page(&place, pod).unwrap().1, "shovels", "{pod}");
        place.await_product(pod, id, "cache", "12.25");
        until_page(pod, "cache", "shovels");
    }
    rename("rakes");
    for replica in &replicas {
        until_page(&replica.pod, "cache", "rakes");
    }
    // Whoever writes a product looks at its category then: in this order nobody waits for each other.
    let tables = "LOCK TABLE inventory.product, inventory.category IN ACCESS EXCLUSIVE MODE";
    stage.sql(&format!("{tables}; DROP SCHEMA freshet CASCADE; DROP ROLE \"{role}\"")).unwrap();
}
