//! Which names a pod of another namespace would look up for a host, by the rules of Kubernetes' DNS policy
//! `ClusterFirst`, which is what pods have unless they say otherwise.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use freshet_connect::Resolve;

/// Where the operator's own search path is, of which only the cluster's part is the same for other pods.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The cluster's domain where our own search path doesn't tell it: the operator runs outside of a cluster, or on the
/// node's network.
const DEFAULT_DOMAIN: &str = "cluster.local";
/// A name with at least so many dots is tried as it is first: `ndots`, as kubelets write it.
const DOTS: usize = 5;

/// Resolves names as in a pod of this namespace.
#[derive(Clone)]
pub(super) struct InNamespace(pub(super) String);

impl Resolve for InNamespace {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        // Each time anew, since it may change; it is a few lines on a local disk.
        let ours = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        for name in names(host, &self.0, &ours) {
            match tokio::net::lookup_host((name.as_str(), port)).await.map(Vec::from_iter) {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                // What can't be asked now may exist, and then the next name would be another server's.
                Err(error) if is_temporary(&error) => break,
                Ok(_) | Err(_) => {}
            }
        }
        Ok(Vec::new())
    }
}

/// The names to look up in order for `host`, as a pod of `namespace` would, given our own `resolv.conf`. All of them
/// end in a dot, so that nothing of our own search path is appended.
fn names(host: &str, namespace: &str, resolv_conf: &str) -> Vec<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with('.') {
        return vec![host.to_owned()];
    }
    let (domain, of_node) = cluster_and_node(resolv_conf);
    let of_cluster = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    let of_node = of_node.into_iter().map(str::to_owned);
    let mut names: Vec<_> =
        of_cluster.into_iter().chain(of_node).map(|suffix| format!("{host}.{suffix}.")).collect();
    let place = if host.bytes().filter(|byte| *byte == b'.').count() < DOTS { names.len() } else { 0 };
    names.insert(place, format!("{host}."));
    names
}

/// The cluster's domain and the node's search path, which kubelets put behind `<namespace>.svc.<domain>`,
/// `svc.<domain>` and `<domain>`.
fn cluster_and_node(resolv_conf: &str) -> (&str, Vec<&str>) {
    let mut lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("search"));
    // The last one counts.
    let search = lines.rfind(|rest| rest.starts_with(char::is_whitespace)).unwrap_or_default();
    let suffixes: Vec<_> = search.split_whitespace().map(|suffix| suffix.trim_end_matches('.')).collect();
    let domain = suffixes.iter().find_map(|suffix| suffix.strip_prefix("svc."));
    let place = domain.and_then(|domain| suffixes.iter().position(|suffix| *suffix == domain));
    match (domain, place) {
        (Some(domain), Some(place)) => (domain, suffixes[place + 1..].to_vec()),
        (Some(domain), None) => (domain, Vec::new()),
        (None, _) => (DEFAULT_DOMAIN, Vec::new()),
    }
}

/// Whether a look-up has failed without an answer, in the words of glibc and musl, which are all that is left of the
/// error's number.
fn is_temporary(error: &io::Error) -> bool {
    let says = error.to_string();
    says.contains("Temporary failure") || says.contains("Try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "nameserver 10.96.0.10\n\
                        search freshet-system.svc.k8s.example svc.k8s.example k8s.example corp.example\n\
                        options ndots:5\n";

    #[test]
    fn a_relative_name_is_looked_up_beside_the_pod_and_never_beside_us() {
        assert_eq!(
            names("redis-0.redis", "shop", OURS),
            [
                "redis-0.redis.shop.svc.k8s.example.",
                "redis-0.redis.svc.k8s.example.",
                "redis-0.redis.k8s.example.",
                "redis-0.redis.corp.example.",
                "redis-0.redis.",
            ]
        );
        let all = names("redis", "shop", OURS);
        assert_eq!(
            (all[0].as_str(), all.last().unwrap().as_str()),
            ("redis.shop.svc.k8s.example.", "redis.")
        );
        assert!(!all.iter().any(|name| name.contains("freshet-system") || !name.ends_with('.')), "{all:?}");
    }

    #[test]
    fn what_is_absolute_stays_as_it_is() {
        for host in ["127.0.0.1", "::1", "[::1]", "localhost", "redis.example."] {
            assert_eq!(names(host, "shop", OURS), [host]);
        }
        assert_eq!(names("a.b.c.d.e.f", "shop", OURS)[0], "a.b.c.d.e.f.");
    }

    #[test]
    fn outside_of_a_cluster_its_domain_is_the_usual_one() {
        let wanted =
            ["redis.shop.svc.cluster.local.", "redis.svc.cluster.local.", "redis.cluster.local.", "redis."];
        for ours in ["", "search home.example\n", "searching svc.x\n", "nameserver 127.0.0.53\n"] {
            assert_eq!(names("redis", "shop", ours), wanted, "{ours:?}");
        }
    }
}
