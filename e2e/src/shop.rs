//! The example app of `examples/shop` in a cluster, as the demo and the tests use it: behind the pipeline of
//! `examples/pipeline`, in the pipeline's namespace or in one of its own.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, OwnImages, checkout};
use crate::process::until;

/// Where the pipeline is.
pub const PIPELINE: &str = "shop";

/// How long anything may take that needs new pods.
pub const ROLLOUT: Duration = Duration::from_mins(4);

/// How long a changed ConfigMap takes to reach a pod's file at most: the kubelet looks once a minute or so.
pub const DELIVERY: Duration = Duration::from_mins(4);

/// How long what needs no new pods may take.
pub const SOON: Duration = Duration::from_secs(30);

/// Applies the pipeline; it comes up on its own.
pub fn apply_pipeline(cluster: &Cluster) -> Result<()> {
    cluster.apply(checkout().join("examples/pipeline"))
}

/// Waits until the pipeline is up.
pub fn await_pipeline(cluster: &Cluster) -> Result<()> {
    ["statefulset/redis", "statefulset/postgres", "deployment/debezium"]
        .into_iter()
        .try_for_each(|workload| cluster.wait_for(PIPELINE, workload, "rollout", ROLLOUT))
}

/// Runs a statement in the pipeline's database; what it answers, columns separated by `|`.
pub fn sql(cluster: &Cluster, statement: &str) -> Result<String> {
    let psql = ["psql", "--username=shop", "--dbname=shop", "-v", "ON_ERROR_STOP=1", "-AtXqc", statement];
    let said = cluster.exec(PIPELINE, "statefulset/postgres", &psql)?;
    Ok(said.trim().to_owned())
}

/// A read through the app.
#[derive(Clone, Debug, Deserialize)]
pub struct Read {
    /// `cache` or `database`.
    pub source: String,
    /// How long the app took for it, in microseconds.
    pub micros: u64,
    /// What was read.
    pub product: Value,
}

/// What the app measured of one replica, in milliseconds from a commit to the first answer with what it changed.
#[derive(Clone, Debug, Deserialize)]
pub struct Freshness {
    /// The median.
    pub p50_ms: f64,
    /// The worst.
    pub max_ms: f64,
}

/// A pod of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The pod's name.
    pub pod: String,
    /// The pod's address.
    pub address: String,
}

/// The app in one namespace.
#[derive(Clone, Debug)]
pub struct Shop {
    cluster: Cluster,
    namespace: String,
}

impl Shop {
    /// The app in `namespace`, whether it is there yet or not.
    #[must_use]
    pub fn of(cluster: &Cluster, namespace: &str) -> Self {
        Self { cluster: cluster.clone(), namespace: namespace.to_owned() }
    }

    /// A manifest of `examples/shop`, made fit for this namespace.
    pub fn manifest(&self, file: &str) -> Result<String> {
        let path = checkout().join("examples/shop").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        if self.namespace == PIPELINE {
            return Ok(text);
        }
        // Its own namespace, and the pipeline's Services by their longer names.
        Ok(text
            .replace("namespace: shop", &format!("namespace: {}", self.namespace))
            .replace("redis://redis:6379", &format!("redis://redis.{PIPELINE}:6379"))
            .replace("value: postgres}", &format!("value: postgres.{PIPELINE}}}")))
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.cluster.kubectl_fed(&["--namespace", &self.namespace, "apply", "--filename", "-"], manifests)
    }

    /// Applies the whole app, binding first, and waits until it runs and its sidecars vouch for their values.
    pub fn up(&self) -> Result<()> {
        self.up_as(&self.manifest("10-shop.yaml")?)
    }

    /// The same with pods of these images: ones that run earlier builds under the same names are replaced.
    pub fn up_from(&self, images: &OwnImages) -> Result<()> {
        let asks = "        freshet.dev/inject: shop\n";
        let deployment = self.manifest("10-shop.yaml")?;
        ensure!(deployment.matches(asks).count() == 1, "10-shop.yaml asks for no sidecar");
        let marked = format!("{asks}        demo.freshet.dev/images: \"{}\"\n", images.key());
        self.up_as(&deployment.replace(asks, &marked))
    }

    fn up_as(&self, deployment: &str) -> Result<()> {
        self.apply(&self.manifest("00-binding.yaml")?)?;
        self.apply(deployment)?;
        self.apply(&self.manifest("20-plain.yaml")?)?;
        self.await_fresh()
    }

    /// Waits until the app runs and every sidecar vouches for its values.
    pub fn await_fresh(&self) -> Result<()> {
        self.cluster.wait_for(&self.namespace, "deployment/shop", "rollout", ROLLOUT)?;
        until("every replica is fresh", ROLLOUT, || {
            for replica in self.replicas()? {
                let status = self.status(&replica.pod)?;
                ensure!(status["sources"]["cdc"]["state"] == "Fresh", "{}: {status}", replica.pod);
            }
            Ok(())
        })
    }

    /// The running pods of the Deployment, by name.
    pub fn replicas(&self) -> Result<Vec<Replica>> {
        let list = self.get(&["pods", "--selector", "app=shop"])?;
        let pods = list["items"].as_array().context("a list of pods")?.iter();
        let pods = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let replica = |pod: &Value| {
            let pod_name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
            let address = pod["status"]["podIP"].as_str().context("a running pod has an address")?;
            Ok(Replica { pod: pod_name.to_owned(), address: address.to_owned() })
        };
        let mut replicas = pods.map(replica).collect::<Result<Vec<_>>>()?;
        ensure!(!replicas.is_empty(), "{} has no replica of the shop", self.namespace);
        replicas.sort_by(|a, b| a.pod.cmp(&b.pod));
        Ok(replicas)
    }

    /// An object, or several, as JSON.
    pub fn get(&self, what: &[&str]) -> Result<Value> {
        let args = [&["--namespace", &self.namespace, "get", "--output", "json"], what].concat();
        serde_json::from_str(&self.cluster.kubectl(&args)?).context("kubectl prints JSON")
    }

    /// Reads a product through one replica.
    pub fn product(&self, pod: &str, id: u64) -> Result<Read> {
        self.read(pod, &format!("product/{id}"))
    }

    /// Reads a row through one replica's hydrated cache.
    pub fn row(&self, pod: &str, id: u64) -> Result<Read> {
        self.read(pod, &format!("row/{id}"))
    }

    /// Reads a category's page through one replica.
    pub fn page(&self, pod: &str, category: u64) -> Result<Read> {
        self.read(pod, &format!("page/{category}"))
    }

    /// What one pod's sidecar says of itself.
    pub fn status(&self, pod: &str) -> Result<Value> {
        serde_json::from_str(&self.raw(pod, 3738, "status")?).context("the status is JSON")
    }

    /// The median and worst time from a commit to the first new answer, of each replica, over `runs` commits.
    pub fn freshness(&self, runs: u32, id: u64) -> Result<Vec<Freshness>> {
        let (runs, id) = (runs.to_string(), id.to_string());
        let urls: Vec<String> =
            self.replicas()?.iter().map(|replica| format!("http://{}:8080", replica.address)).collect();
        let mut command = vec!["/freshet-example-shop", "measure", "-runs", &runs, "-id", &id];
        command.extend(urls.iter().map(String::as_str));
        let said = self.cluster.exec(&self.namespace, "deployment/shop", &command)?;
        serde_json::from_str(&said).with_context(|| format!("the app measured {said}"))
    }

    fn read(&self, pod: &str, path: &str) -> Result<Read> {
        serde_json::from_str(&self.raw(pod, 8080, path)?).context("the app answers JSON")
    }

    /// Through the API server, which reaches every pod.
    fn raw(&self, pod: &str, port: u16, path: &str) -> Result<String> {
        let url = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/{path}", self.namespace);
        self.cluster.kubectl(&["get", "--raw", &url])
    }
}
