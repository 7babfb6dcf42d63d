//! `cargo xtask demo`: the whole thing for real, shown in the terminal and left running.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::cluster::{self, Cluster, OwnImages, Owner};
use freshet_e2e::command::{output, program, step};
use freshet_e2e::process::until;
use freshet_e2e::shop::{self, Read, SOON, Shop};

use crate::setup::{self, Purpose};

/// The demo's cluster beside that of the tests.
const PURPOSE: &str = "demo";

/// Makes what isn't there yet, tells the story, leaves everything running.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    step("what the machine needs", || setup::run(Purpose::Demo))?;
    let images = OwnImages::build()?;
    let cluster = Cluster::up(PURPOSE, Owner::Nobody)?;
    play(&cluster, &images)?;
    println!("\nAll of it took {:.0} s. It stays.", start.elapsed().as_secs_f64());
    next(&cluster)
}

/// Puts everything into the cluster, and tells the story.
pub(crate) fn play(cluster: &Cluster, images: &OwnImages) -> Result<()> {
    let shop = Shop::of(cluster, shop::PIPELINE);
    // Applied first: it comes up while the rest is put in place.
    step("pipeline applied: Postgres, Debezium, Redis", || shop::apply_pipeline(cluster))?;
    step("own images in the nodes", || images.load(cluster))?;
    step("helm install", || cluster.install_freshet(images))?;
    step("pipeline runs", || shop::await_pipeline(cluster))?;
    step("shop runs, and its sidecars are fresh", || shop.up_from(images))?;
    tell(cluster, &shop)
}

/// Removes what the demo left.
pub(crate) fn clean() -> Result<()> {
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
    heading();
    for replica in &replicas {
        let read = until("the row is in the hydrated cache", SOON, || {
            let read = shop.row(&replica.pod, id)?;
            ensure!(read.source == "cache", "it came from the {}", read.source);
            Ok(read)
        })?;
        show(&replica.pod, &format!("/row/{id}"), &read);
    }

    chapter("The other cache is filled by the app: a miss in each replica, then hits");
    heading();
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
    heading();
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
    let spec = &plain["spec"];
    let containers = spec["containers"].as_array().context("containers")?.len();
    ensure!(spec["initContainers"].is_null() && containers == 1, "the pod `plain` has a sidecar: {spec}");
    // The manifest has none, and it asks for no token.
    ensure!(spec["volumes"].as_array().is_none_or(Vec::is_empty), "the pod `plain` has volumes: {spec}");
    println!("  plain: its one container, no sidecar, no volume");
    heading();
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

/// Above the lines of [`show`].
fn heading() {
    println!("  {:<24} {:<12} {:<9} {:>9}  answer", "pod", "read", "from", "took");
}

fn next(cluster: &Cluster) -> Result<()> {
    println!("\nTo try next:");
    for line in commands(cluster)? {
        println!("  {line}");
    }
    println!("\nTo remove it: make clean-demo");
    Ok(())
}

/// What works in a shell as it is printed.
fn commands(cluster: &Cluster) -> Result<Vec<String>> {
    let pod = Shop::of(cluster, shop::PIPELINE).replicas()?.swap_remove(0).pod;
    let read = format!("/api/v1/namespaces/shop/pods/{pod}:8080/proxy/product/1");
    let status = format!("/api/v1/namespaces/shop/pods/{pod}:3738/proxy/status");
    let update = "UPDATE inventory.product SET price = 0.99 WHERE id = 1";
    Ok(vec![
        format!("export PATH={}:\"$PATH\"", quoted(&cluster.tools().to_string_lossy())),
        format!("export KUBECONFIG={}", quoted(&cluster.kubeconfig().to_string_lossy())),
        "kubectl get cachebinding,pods -n shop".to_owned(),
        "kubectl describe cachebinding shop -n shop".to_owned(),
        format!("kubectl get --raw {}", quoted(&read)),
        format!("kubectl exec -n shop statefulset/postgres -- psql -U shop shop -c {}", quoted(update)),
        format!("kubectl get --raw {}", quoted(&status)),
        "kubectl logs -n shop deployment/shop -c freshet".to_owned(),
    ])
}

/// Runs them all, in one shell.
pub(crate) fn try_next(cluster: &Cluster) -> Result<()> {
    let script = commands(cluster)?.join("\n");
    output(program("sh").args(["-ec", &script])).map(drop)
}

/// One word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._:-".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word_for_the_shell() {
        for word in ["/home/me/it", "/home/it's mine/$x", "SELECT 1; --", "a\"b`c`"] {
            let script = format!("printf %s {}", quoted(word));
            assert_eq!(output(program("sh").args(["-c", &script])).unwrap(), word);
        }
    }
}
