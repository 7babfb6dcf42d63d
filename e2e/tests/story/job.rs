//! A Job reads through the cache, and the sidecar doesn't keep it from ending.

use freshet_e2e::cluster::VERSION;
use freshet_e2e::shop::ROLLOUT;
use serde_json::Value;

use crate::stage::Stage;

const JOB: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  backoffLimit: 0
  template:
    metadata:
      annotations: {freshet.dev/inject: shop}
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: shop
          image: ghcr.io/freshet-dev/freshet-example-shop:VERSION
          args: [once, "1"]
          env:
            - {name: PGHOST, value: postgres.shop}
            - {name: PGDATABASE, value: shop}
            - {name: PGUSER, value: shop}
            - name: PGPASSWORD
              valueFrom: {secretKeyRef: {name: postgres, key: POSTGRES_PASSWORD}}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"#;

#[test]
fn a_job_reads_through_the_cache_and_ends() {
    // Its end has a limit in seconds, which other tests' load must not use up.
    let (stage, _guard) = Stage::alone();
    let place = stage.place("job");
    let binding = place.manifest("00-binding.yaml").unwrap();
    assert!(binding.contains("readLag: 100ms"));
    // Else what is filled right after the start is kept for a moment only, and the next read may have to fill again.
    place.apply(&binding.replace("readLag: 100ms", "readLag: 0s")).unwrap();
    place.apply(&JOB.replace(":VERSION", &format!(":{VERSION}"))).unwrap();
    place.cluster.wait_for(&place.namespace, "job/once", "condition=complete", ROLLOUT).unwrap();

    let log = place.kubectl(&["logs", "job/once", "--container", "shop"]).unwrap();
    assert_eq!(log.matches(", stored").count(), 1, "filled once: {log}");
    assert!(log.lines().last().unwrap().contains("product 1: cache"), "then read from the cache: {log}");

    let pods = place.get(&["pods", "--selector", "job-name=once"]).unwrap();
    let status = &pods["items"][0]["status"];
    assert_eq!(status["phase"], "Succeeded");
    assert_eq!(status["initContainerStatuses"][0]["name"], "freshet", "it was injected");
    let finished = |list: &str| seconds(stage, &status[list][0]["state"]["terminated"]["finishedAt"]);
    let (container, sidecar) = (finished("containerStatuses"), finished("initContainerStatuses"));
    assert!(sidecar >= container, "the sidecar ended {} s before", container - sidecar);
    let job = seconds(stage, &place.get(&["job", "once"]).unwrap()["status"]["completionTime"]);
    // Most of this is the kubelet's and the Job controller's: both look about once a second, several times.
    eprintln!(
        "after its container the sidecar ended by {} s, the Job by {} s",
        sidecar - container,
        job - container
    );
    assert!((0..=5).contains(&(job - container)), "{} s", job - container);
}

/// A time of Kubernetes in seconds, by the database, which knows how to read it.
fn seconds(stage: &Stage, time: &Value) -> i64 {
    let time = time.as_str().unwrap();
    stage.sql(&format!("SELECT extract(epoch FROM '{time}'::timestamptz)::bigint")).unwrap().parse().unwrap()
}
