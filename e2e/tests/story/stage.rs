//! The cluster that all tests share, and a namespace for each.

use std::ops::Deref;
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use freshet_e2e::cluster::{Cluster, NAMESPACE, OwnImages, VERSION};
use freshet_e2e::command::step;
use freshet_e2e::process::until;
use freshet_e2e::shop::{self, ROLLOUT, SOON, Shop};
use serde_json::{Value, json};

/// Tests that disturb what the others share wait until those are done, and the other way round.
static SHARED: RwLock<()> = RwLock::new(());

/// The cluster with the pipeline and Freshet in it, and the pod that was there before Freshet.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) before: Value,
}

impl Stage {
    /// Sets everything up, once for all tests.
    fn get() -> &'static Self {
        static STAGE: OnceLock<Result<Stage, String>> = OnceLock::new();
        let stage = STAGE.get_or_init(|| Self::set().map_err(|error| format!("{error:#}")));
        stage.as_ref().unwrap_or_else(|error| panic!("{error}"))
    }

    fn set() -> Result<Self> {
        let purpose = std::env::var("FRESHET_CLUSTER_FOR").unwrap_or_default();
        let cluster = Cluster::attach(&purpose)?;
        step("pipeline applied", || shop::apply_pipeline(&cluster))?;
        let images = OwnImages::build()?;
        step("own images in the nodes", || images.load(&cluster))?;
        let before = before(&cluster)?;
        step("helm install", || cluster.install_freshet(&images))?;
        step("pipeline runs", || shop::await_pipeline(&cluster))?;
        Ok(Self { cluster, before })
    }

    /// For a test that leaves the pipeline and the operator alone.
    pub(crate) fn shared() -> (&'static Self, RwLockReadGuard<'static, ()>) {
        // A failed test disturbs the others no more than it did by running.
        let guard = SHARED.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        (Self::get(), guard)
    }

    /// For a test that doesn't.
    pub(crate) fn alone() -> (&'static Self, RwLockWriteGuard<'static, ()>) {
        let guard = SHARED.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        (Self::get(), guard)
    }

    /// A namespace of the test's own, with what the app needs to reach the database.
    pub(crate) fn place(&self, name: &str) -> Place {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let namespace = format!("{name}-{}", now % 1_000_000);
        make_namespace(&self.cluster, &namespace).unwrap();
        Place { shop: Shop::of(&self.cluster, &namespace), cluster: self.cluster.clone(), namespace }
    }

    /// Inserts a product that no other test knows; its id.
    pub(crate) fn insert(&self, price: &str) -> u64 {
        let insert = format!(
            "INSERT INTO inventory.product (id, name, price, category_id) \
             SELECT coalesce(max(id), 0) + 1, 'plum', {price}, 1 FROM inventory.product RETURNING id"
        );
        // Two tests may choose the same id; the later one is refused and chooses again.
        until("a new row", SOON, || self.sql(&insert)?.parse().context("an id")).unwrap()
    }

    pub(crate) fn sql(&self, statement: &str) -> Result<String> {
        shop::sql(&self.cluster, statement)
    }

    /// Sets a product's price.
    pub(crate) fn set_price(&self, id: u64, price: &str) {
        self.sql(&format!("UPDATE inventory.product SET price = {price} WHERE id = {id}")).unwrap();
    }
}

/// A namespace; it goes with the test, unless that fails.
pub(crate) struct Place {
    pub(crate) namespace: String,
    pub(crate) cluster: Cluster,
    shop: Shop,
}

impl Deref for Place {
    type Target = Shop;

    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl Place {
    /// Runs `kubectl` in the namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.namespace], args].concat())
    }

    /// Waits until a read of the product through this pod is as `wanted` says.
    pub(crate) fn await_product(&self, pod: &str, id: u64, source: &str, price: &str) {
        until("the product", SOON, || {
            let read = self.product(pod, id)?;
            ensure!(read.source == source && read.product["price"] == price, "{pod}: {read:?}");
            Ok(())
        })
        .unwrap();
    }

    /// What the binding's condition `Fresh` says, as in "True AllFresh: 2 of 2 sidecars vouch for their values".
    pub(crate) fn fresh(&self) -> Result<String> {
        let path = "{range .status.conditions[?(@.type==\"Fresh\")]}{.status} {.reason}: {.message}{end}";
        self.kubectl(&["get", "cachebinding", "shop", "--output", &format!("jsonpath={path}")])
    }

    /// Waits until the binding's status says that all its sidecars are fresh.
    pub(crate) fn until_fresh(&self) {
        until("Fresh=True", ROLLOUT, || {
            let told = self.fresh()?;
            ensure!(told.starts_with("True AllFresh: "), "{told}");
            Ok(())
        })
        .unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let delete = ["delete", "namespace", &self.namespace, "--wait=false"];
            if let Err(error) = self.cluster.kubectl(&delete) {
                eprintln!("{error:#}");
            }
        }
    }
}

/// A pod like any other, without our annotation.
pub(crate) fn plain_pod(name: &str) -> Value {
    pod(name, &json!({}))
}

/// A pod with these annotations.
pub(crate) fn pod(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations, "labels": {"app": "plain"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "shop",
                "image": format!("ghcr.io/freshet-dev/freshet-example-shop:{VERSION}"),
                "resources": {"requests": {"cpu": "5m", "memory": "8Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// Creates an object and gives it as the API server has it.
pub(crate) fn create(cluster: &Cluster, namespace: &str, object: &Value) -> Result<Value> {
    let create = ["--namespace", namespace, "create", "--output", "json", "--filename", "-"];
    serde_json::from_str(&cluster.kubectl_fed(&create, &object.to_string())?).context("kubectl prints JSON")
}

fn make_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "postgres", "namespace": name},
        "stringData": {"POSTGRES_DB": "shop", "POSTGRES_USER": "shop", "POSTGRES_PASSWORD": "shop-password"},
    });
    cluster.kubectl_fed(&["apply", "--filename", "-"], &format!("{namespace}\n---\n{secret}"))?;
    // Pods can't be made before it is there.
    until("the default ServiceAccount", SOON, || {
        cluster.kubectl(&["--namespace", name, "get", "serviceaccount", "default"]).map(drop)
    })
}

/// The pod that was made before Freshet came, kept for later runs on the same cluster.
fn before(cluster: &Cluster) -> Result<Value> {
    let get = ["--namespace", "before", "get", "--ignore-not-found", "--output", "json", "pod", "plain"];
    let found = cluster.kubectl(&get)?;
    if !found.trim().is_empty() {
        return serde_json::from_str(&found).context("kubectl prints JSON");
    }
    let installed = cluster.kubectl(&["get", "namespace", NAMESPACE, "--ignore-not-found"])?;
    ensure!(installed.trim().is_empty(), "Freshet is in {} already: make a new cluster", cluster.name());
    make_namespace(cluster, "before")?;
    create(cluster, "before", &plain_pod("plain"))
}

/// The text with `to` in the place of each `from`; there has to be one.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    text.replace(from, to)
}
