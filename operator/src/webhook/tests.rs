//! The webhook as the API server meets it: over real TLS, on a real socket.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use freshet_crds::manifest;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::jiff::Timestamp;
use kube::{
    Client, Config,
    core::DeserializeGuard,
    runtime::{
        reflector::{self, store::Writer},
        watcher::Event,
    },
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{
    binding::Guarded,
    ca::{Authorities, Serving, Trust, bundle},
    serve::serve,
};

const HOST: &str = "freshet-webhook.freshet-system.svc";

/// A webhook that serves, and everything around it.
struct Stage {
    address: SocketAddr,
    authorities: Authorities,
    serving: watch::Sender<Serving>,
    bindings: Writer<Guarded>,
    warnings: mpsc::Receiver<Warning>,
    metrics: Arc<Metrics>,
    webhook: Arc<Webhook>,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Stage {
    async fn set() -> Self {
        let now = Timestamp::now();
        let authorities = Authorities::first(now).unwrap();
        let serving = watch::Sender::new(sign(&authorities));
        let (watched, bindings) = reflector::store();
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let (events, warnings) = Events::new(Arc::clone(&metrics));
        // Nobody listens on port 1: what isn't in the store can't be found elsewhere.
        let client = Client::try_from(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let webhook = Arc::new(Webhook {
            bindings: Bindings { watched, client },
            defaults: Defaults {
                version: "1.2.3".into(),
                image: "sidecar".into(),
                pull_policy: "IfNotPresent".into(),
                pull_secrets: vec![],
            },
            events,
            metrics: Arc::clone(&metrics),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let tls = acceptor(serving.subscribe()).unwrap();
        let shared = Arc::clone(&webhook);
        let answer = move |request| Arc::clone(&shared).answer(request);
        let server = tokio::spawn(serve(listener, Some(tls), answer, stopped));
        Self { address, authorities, serving, bindings, warnings, metrics, webhook, stop, server }
    }

    fn bind(&mut self, name: &str) {
        let mut binding = manifest::read(include_str!("../../../crds/tests/shop.yaml")).unwrap().object;
        binding.metadata.name = Some(name.into());
        binding.metadata.namespace = Some("default".into());
        self.bindings.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(binding))));
    }

    /// Waits until a request is being answered, which holds the webhook beside us, the server and its connection.
    async fn until_answering(&self) {
        let answering = async {
            while Arc::strong_count(&self.webhook) < 4 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), answering).await.unwrap();
    }

    /// Connects as an API server would that trusts `trusted`.
    fn connect(
        &self,
        trusted: &Authorities,
    ) -> impl Future<Output = Result<TlsStream<TcpStream>, String>> + use<> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bundle(trusted, b"", Timestamp::now())) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let address = self.address;
        async move {
            let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
            let host = ServerName::try_from(HOST).unwrap();
            let tls = TlsConnector::from(Arc::new(config));
            tls.connect(host, stream).await.map_err(|e| e.to_string())
        }
    }

    /// Sends a request as an API server would that trusts `trusted`.
    fn call(
        &self,
        trusted: &Authorities,
        method: Method,
        path: &str,
        body: String,
    ) -> impl Future<Output = Result<(StatusCode, String), String>> + use<> {
        let request = HttpRequest::builder().method(method).uri(path).header("host", HOST);
        let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
        let connecting = self.connect(trusted);
        async move {
            let stream = connecting.await?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let status = response.status();
            let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
            Ok((status, String::from_utf8(body.to_vec()).unwrap()))
        }
    }

    fn review(&self, review: &Value) -> impl Future<Output = Value> + use<> {
        let call = self.call(&self.authorities, Method::POST, "/inject?timeout=10s", review.to_string());
        async move {
            let (status, body) = call.await.unwrap();
            assert_eq!(status, StatusCode::OK, "{body}");
            let review: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
            assert_eq!(
                (&review["response"]["uid"], &review["response"]["allowed"]),
                (&json!("u-1"), &json!(true))
            );
            review["response"].clone()
        }
    }
}

fn sign(authorities: &Authorities) -> Serving {
    let now = Timestamp::now();
    let mut trust = Trust::default();
    trust.see(None, now);
    let leaf = trust.next_signer(authorities, None, now).unwrap().sign(&[HOST.into()], now).unwrap();
    Serving { leaf: Some(Arc::new(leaf)), trusted: true }
}

fn asking(annotation: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "default",
            "operation": "CREATE",
            "userInfo": {},
            "object": {
                "metadata": {
                    "generateName": "web-",
                    "annotations": { "freshet.dev/inject": annotation },
                    "ownerReferences": [{
                        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r-1", "controller": true,
                    }],
                },
                "spec": { "containers": [{ "name": "app" }] },
            },
            "oldObject": null,
            "dryRun": false,
        },
    })
}

#[tokio::test]
async fn a_pod_that_asks_is_patched() {
    let mut stage = Stage::set().await;
    stage.bind("shop");
    let mut review = asking("shop");
    let response = stage.review(&review).await;
    assert_eq!(response["patchType"], "JSONPatch");
    assert!(response["warnings"].is_null(), "{response}");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let pod = &mut review["request"]["object"];
    json_patch::patch(pod, &patch).unwrap();
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "freshet");
    assert!(
        stage
            .metrics
            .encode()
            .unwrap()
            .contains("freshet_injections_total{result=\"injected\",reason=\"\"} 1")
    );
}

#[tokio::test]
async fn a_binding_that_comes_a_moment_later_is_waited_for() {
    let mut stage = Stage::set().await;
    let response = tokio::spawn(stage.review(&asking("shop")));
    stage.until_answering().await;
    stage.bind("shop");
    assert!(response.await.unwrap()["patch"].is_string());
}

#[tokio::test]
async fn a_binding_that_never_comes_leaves_the_pod_admitted_and_reported() {
    let mut stage = Stage::set().await;
    let start = Instant::now();
    let response = stage.review(&asking("shop")).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(10), "{took:?}");
    assert!(response["patch"].is_null());
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("BindingNotFound") && warning.contains("CacheBinding shop"), "{warning}");
    let event = stage.warnings.recv().await.unwrap();
    assert_eq!((event.about.kind.as_deref(), event.about.uid.as_deref()), (Some("ReplicaSet"), Some("r-1")));
    assert_eq!(event.reason, "BindingNotFound");
    let counted = "freshet_injections_total{result=\"skipped\",reason=\"BindingNotFound\"} 1";
    assert!(stage.metrics.encode().unwrap().contains(counted));
}

#[tokio::test]
async fn what_can_not_be_injected_is_told_at_once() {
    let mut stage = Stage::set().await;
    stage.bind("shop");
    stage.bind("blog");
    let ambiguous = stage.review(&asking("true")).await;
    assert!(ambiguous["warnings"][0].as_str().unwrap().contains("Ambiguous"), "{ambiguous}");
    assert_eq!(stage.warnings.recv().await.unwrap().reason, "Ambiguous");
    let mut host = asking("no-such-binding");
    host["request"]["object"]["spec"]["hostNetwork"] = json!(true);
    host["request"]["dryRun"] = json!(true);
    let start = Instant::now();
    let refused = stage.review(&host).await;
    assert!(refused["warnings"][0].as_str().unwrap().contains("HostNetwork"), "{refused}");
    assert!(start.elapsed() < Duration::from_secs(3), "no binding is waited for in vain");
    assert!(stage.warnings.try_recv().is_err(), "a dry run leaves no Event");
    assert!(!stage.metrics.encode().unwrap().contains("HostNetwork"), "a dry run counts for nothing");
    let quiet = stage.review(&asking("false")).await;
    assert!(quiet["warnings"].is_null() && quiet["patch"].is_null(), "{quiet}");
}

#[tokio::test]
async fn an_unknown_annotation_is_told_and_the_pod_injected() {
    let mut stage = Stage::set().await;
    stage.bind("shop");
    let mut review = asking("shop");
    review["request"]["object"]["metadata"]["annotations"]["freshet.dev/colour"] = json!("blue");
    let response = stage.review(&review).await;
    assert!(response["patch"].is_string());
    assert!(response["warnings"][0].as_str().unwrap().contains("freshet.dev/colour"), "{response}");
    assert_eq!(stage.warnings.recv().await.unwrap().reason, "UnknownName");
}

#[tokio::test]
async fn what_is_no_review_is_refused() {
    let stage = Stage::set().await;
    let call = |method, path, body: String| stage.call(&stage.authorities, method, path, body);
    let status = |answer: Result<(StatusCode, String), String>| answer.unwrap().0;
    assert_eq!(status(call(Method::POST, "/inject", "{".into()).await), StatusCode::BAD_REQUEST);
    let mut other = asking("shop");
    other["request"]["kind"]["kind"] = json!("Service");
    let answer = call(Method::POST, "/inject", other.to_string()).await.unwrap();
    assert_eq!(answer, (StatusCode::BAD_REQUEST, "the request is about a Service, not about a pod\n".into()));
    let mut old = asking("shop");
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    assert_eq!(status(call(Method::POST, "/inject", old.to_string()).await), StatusCode::BAD_REQUEST);
    assert_eq!(status(call(Method::POST, "/", String::new()).await), StatusCode::NOT_FOUND);
    assert_eq!(status(call(Method::GET, "/inject", String::new()).await), StatusCode::METHOD_NOT_ALLOWED);
    let large = " ".repeat(BODY + 1);
    assert_eq!(status(call(Method::POST, "/inject", large).await), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_new_leaf_is_served_at_once() {
    let mut stage = Stage::set().await;
    stage.bind("shop");
    let other = Authorities::first(Timestamp::now()).unwrap();
    let body = asking("shop").to_string();
    let refused = stage.call(&other, Method::POST, "/inject", body.clone()).await;
    assert!(refused.is_err(), "another authority's certificate is not trusted");
    stage.serving.send_replace(sign(&other));
    assert!(stage.call(&other, Method::POST, "/inject", body.clone()).await.is_ok());
    stage.serving.send_replace(Serving::default());
    assert!(
        stage.call(&other, Method::POST, "/inject", body).await.is_err(),
        "without a leaf there is no TLS"
    );
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let mut stage = Stage::set().await;
    let response = tokio::spawn(stage.review(&asking("shop")));
    stage.until_answering().await;
    stage.stop.send_replace(true);
    stage.bind("shop");
    assert!(response.await.unwrap()["patch"].is_string());
    tokio::time::timeout(Duration::from_secs(10), stage.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(stage.address).await.is_err(), "nobody listens anymore");
}

/// One that sends nothing after its head holds its connection only so long.
#[tokio::test]
async fn a_review_that_does_not_arrive_is_not_waited_for() {
    let stage = Stage::set().await;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stage.connect(&stage.authorities).await.unwrap())).await.unwrap();
    tokio::spawn(connection);
    let body = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<bytes::Bytes>, std::convert::Infallible>,
    >());
    let request = HttpRequest::builder().method(Method::POST).uri("/inject").header("host", HOST);
    let start = Instant::now();
    let answer = sender.send_request(request.body(body).unwrap());
    let answer = tokio::time::timeout(ARRIVAL * 2, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(start.elapsed() >= ARRIVAL, "{:?}", start.elapsed());
}
