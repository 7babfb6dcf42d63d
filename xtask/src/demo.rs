//! `cargo xtask demo`: the whole thing for real, shown in the terminal and left running.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::cluster::{self, Cluster, OwnImages, Owner, step};
use freshet_e2e::process::until;
use freshet_e2e::shop::{self, Read, SOON, Shop};

use crate::setup;

/// The demo's cluster beside that of the tests.
const PURPOSE: &str = "demo";

/// Makes what isn't there yet, tells the story, leaves everything running.
pub(crate) fn run() -> Result<()> {
    cluster::stop_on_signals()?;
    let start = Instant::now();
    step("what the machine needs", setup::run)?;
    let images = OwnImages::build()?;
    let cluster = Cluster::up(PURPOSE, Owner::Nobody)?;
    let shop = Shop::of(&cluster, shop::PIPELINE);
    // Applied first: it comes up while the rest is put in place.
    step("pipeline applied: Postgres, Debezium, Redis", || shop::apply_pipeline(&cluster))?;
    step("own images in the nodes", || images.load(&cluster))?;
    step("helm install", || cluster.install_freshet(&images))?;
    step("pipeline runs", || shop::await_pipeline(&cluster))?;
    step("shop runs, and its sidecars are fresh", || shop.up())?;
    tell(&cluster, &shop)?;
    println!("\nAll of it took {:.0} s. It stays.", start.elapsed().as_secs_f64());
    next(&cluster);
    Ok(())
}

/// Removes what the demo left.
pub(crate) fn clean() -> Result<()> {
    cluster::stop_on_signals()?;
    let Some(cluster) = Cluster::find(PURPOSE)? else {
        println!("The demo isn't running.");
        return cluster::sweep(false);
    };
    cluster.down()
}

fn tell(cluster: &Cluster, shop: &Shop) -> Result<()> {
    let replicas = shop.replicas()?;
    // Each run has a row of its own.
    let id = shop::sql(cluster, "SELECT coalesce(max(id), 0) + 1 FROM inventory.product")?;
    let id: u64 = id.parse().context("an id")?;

    chapter("A row is inserted. The hydrated cache has it in each replica before anyone asks");
    let insert = format!(
        "INSERT INTO inventory.product (id, name, price, category_id) VALUES ({id}, 'plum', 9.50, 1)"
    );
    statement(cluster, &insert)?;
    for replica in &replicas {
        let read = until("the row is in the hydrated cache", SOON, || {
            let read = shop.row(&replica.pod, id)?;
            ensure!(read.source == "cache", "it came from the {}", read.source);
            Ok(read)
        })?;
        show(&replica.pod, &format!("/row/{id}"), &read);
    }

    chapter("The other cache is filled by the app: a miss in each replica, then hits");
    for expected in ["database", "cache", "cache"] {
        for replica in &replicas {
            let read = until(expected, SOON, || {
                let read = shop.product(&replica.pod, id)?;
                ensure!(read.source == expected, "it came from the {}", read.source);
                Ok(read)
            })?;
            show(&replica.pod, &format!("/product/{id}"), &read);
        }
    }

    chapter("The row is updated. Both replicas give up what they had");
    statement(cluster, &format!("UPDATE inventory.product SET price = 12.25 WHERE id = {id}"))?;
    for replica in &replicas {
        let read = until("the new price", SOON, || {
            let read = shop.product(&replica.pod, id)?;
            ensure!(read.product["price"] == "12.25", "{read:?}");
            Ok(read)
        })?;
        show(&replica.pod, &format!("/product/{id}"), &read);
    }

    chapter(
        "From COMMIT, as its client sees it, to the first fresh answer: 20 updates, asked every millisecond",
    );
    for (replica, freshness) in replicas.iter().zip(shop.freshness(20, id)?) {
        println!("  {:<24} p50 {:.1} ms, worst {:.1} ms", replica.pod, freshness.p50_ms, freshness.max_ms);
    }

    chapter("A pod without the annotation is left as it is");
    let plain = shop.get(&["pod", "plain"])?;
    ensure!(plain["spec"]["initContainers"].is_null(), "the pod `plain` has a sidecar");
    println!("  plain: its one container, no sidecar, no volume of ours");
    show("plain", &format!("/product/{id}"), &shop.product("plain", id)?);
    Ok(())
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn statement(cluster: &Cluster, statement: &str) -> Result<()> {
    println!("  {statement};");
    shop::sql(cluster, statement).map(drop)
}

fn show(pod: &str, path: &str, read: &Read) {
    let (name, price) = (read.product["name"].as_str(), read.product["price"].as_str());
    let (name, price) = (name.unwrap_or("nothing"), price.unwrap_or("no price"));
    println!("  {pod:<24} {path:<12} {:<9} {:>6} µs  {name}, {price}", read.source, read.micros);
}

fn next(cluster: &Cluster) {
    println!(
        "\nTo try next:\n  \
         export KUBECONFIG={config}\n  \
         kubectl get cachebinding,pods -n shop\n  \
         kubectl describe cachebinding shop -n shop\n  \
         kubectl port-forward -n shop deployment/shop 8080 &  curl localhost:8080/product/1\n  \
         kubectl exec -n shop statefulset/postgres -- psql -U shop shop -c \\\n    \
         \"UPDATE inventory.product SET price = 0.99 WHERE id = 1\"\n  \
         kubectl logs -n shop deployment/shop -c freshet\n\n\
         To remove it: make clean-demo",
        config = cluster.kubeconfig().display()
    );
}
