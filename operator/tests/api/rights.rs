//! What the operator may do and what it did, by the API server's own audit log.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::control_plane::{ControlPlane, OPERATOR};

/// The requests of the operator alone, and of those nothing but who did what.
pub(crate) const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
     rules: [{level: Metadata, users: [\"system:serviceaccount:freshet-system:freshet\"]}, {level: None}]\n";

/// A verb on a resource.
type Right = (String, String, String);

/// Every right that the chart grants was used in this story, so that none is granted that nothing needs.
pub(crate) fn all_were_used(plane: &ControlPlane) -> Result<()> {
    let used = used(&plane.audit_log()?)?;
    let unused: Vec<_> = granted(plane)?.into_iter().filter(|right| !used.contains(right)).collect();
    ensure!(unused.is_empty(), "granted, but never used: {unused:?}");
    Ok(())
}

fn granted(plane: &ControlPlane) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for (namespace, object) in
        [("default", "clusterrole/freshet-freshet-system"), ("freshet-system", "role/freshet")]
    {
        let role = plane.get(namespace, object)?;
        for rule in role["rules"].as_array().context("rules")? {
            let texts = |key: &str| {
                let list = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
                list.map(str::to_owned).collect::<Vec<_>>()
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    for verb in texts("verbs") {
                        rights.insert((group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    ensure!(rights.len() > 15, "only {rights:?}");
    Ok(rights)
}

fn used(log: &str) -> Result<BTreeSet<Right>> {
    let mut used = BTreeSet::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line)?;
        ensure!(event["user"]["username"] == OPERATOR, "{event}");
        let object = &event["objectRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut resource = text(&object["resource"]);
        if let Some(below) = object["subresource"].as_str() {
            resource = format!("{resource}/{below}");
        }
        used.insert((text(&object["apiGroup"]), resource, text(&event["verb"])));
    }
    Ok(used)
}
