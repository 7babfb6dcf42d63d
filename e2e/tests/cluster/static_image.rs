//! The checkout's own programs in otherwise empty images.

use std::time::Duration;

use freshet_e2e::cluster::{Cluster, image_of};

#[test]
fn a_static_binary_runs_in_a_pod_of_the_restricted_kind() {
    let cluster = Cluster::attach("").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("image.tar");
    let image = "freshet.dev/e2e/sidecar:version";
    image_of("freshet-sidecar", image, &archive).unwrap();
    cluster.load_image(&archive).unwrap();
    cluster.kubectl_fed(&["apply", "--filename", "-"], POD).unwrap();
    let done = "jsonpath={.status.phase}=Succeeded";
    cluster.wait_for("static-image", "pod/version", done, Duration::from_mins(1)).unwrap();
    let said = cluster.kubectl(&["--namespace", "static-image", "logs", "version"]).unwrap();
    assert!(said.starts_with("freshet-sidecar "), "{said}");
    cluster.kubectl(&["delete", "namespace", "static-image", "--wait=false"]).unwrap();
}

const POD: &str = r"
apiVersion: v1
kind: Namespace
metadata:
  name: static-image
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: v1
kind: Pod
metadata: {name: version, namespace: static-image}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: version
      image: freshet.dev/e2e/sidecar:version
      imagePullPolicy: Never
      args: [--version]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
";
