//! Optional parts of the cluster: whether the container network has them, and whose addresses they name.

use super::findings::Findings;
use super::ranges::{is_host_of, taken};
use super::view::View;
use crate::code::Code;
use crate::node::{Cni, Role};
use crate::path::KeyPath;
use std::net::Ipv4Addr;

/// Hubble and ClusterMesh are Cilium's; only one container network speaks BGP with routers.
pub(super) fn container_network(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let (Some(features), Some(cluster)) = (&view.features, &view.cluster) else { return };
    if !view.is_sound("cluster.cni") {
        return;
    }
    let needs = [
        ("hubble", features.hubble, cluster.cni.is_cilium(), "Cilium"),
        ("clustermesh", features.clustermesh.is_some(), cluster.cni.is_cilium(), "Cilium"),
        ("bgp_routers", !features.bgp_routers.is_empty(), cluster.cni == Cni::CalicoBgp, "`calico-bgp`"),
    ];
    for (key, wanted, has, needed) in needs {
        if wanted && !has {
            let message = format!("`{key}` needs {needed} as container network (`cluster.cni`)");
            findings.key(Code::FeatureCni, &KeyPath::of("features").key(key), message);
        }
    }
}

/// Other machines are not nodes of this cluster, and there is at least one.
pub(super) fn addresses(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(features) = &view.features else { return };
    let mesh = features.clustermesh.iter().map(|mesh| ("features.clustermesh.nodes", &mesh.nodes));
    let vip = features.kube_vip_bgp.iter().map(|bgp| ("features.kube_vip_bgp.routers", &bgp.routers));
    let routers = Some(("features.bgp_routers", &features.bgp_routers)).filter(|(_, list)| !list.is_empty());
    for (path, list) in mesh.chain(vip).chain(routers) {
        let path = KeyPath::of(path);
        if list.is_empty() && view.is_sound_at(&path) {
            findings.value(Code::FeatureAddress, &path, "at least one address is needed");
        }
        let own = list.iter().enumerate().map(|(n, address)| (*address, path.index(n)));
        findings.unique(Code::FeatureAddress, own);
        for (n, address) in list.iter().enumerate() {
            if let Some(why) = not_of_another(view, *address) {
                findings.value(Code::FeatureAddress, &path.index(n), format!("{address} {why}"));
            }
            if let Some(name) = node_with(view, *address) {
                let message = format!("{address} is the node `{name}` of this cluster");
                findings.value(Code::FeatureAddress, &path.index(n), message);
            }
        }
    }
    if features.kube_vip_bgp.is_some()
        && view.cluster.as_ref().is_some_and(|cluster| cluster.api_vip.is_none())
        && view.is_said("cluster.api_vip")
    {
        let path = KeyPath::of("features.kube_vip_bgp");
        findings.key(Code::FeatureAddress, &path, "without an `api_vip` there is nothing to announce");
    }
}

/// Why an address cannot be that of a machine outside of this cluster, its nodes apart.
fn not_of_another(view: &View<'_>, address: Ipv4Addr) -> Option<String> {
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        return Some("cannot be the address of another machine".to_owned());
    }
    if let Some((key, _)) = view.vips().into_iter().find(|(_, vip)| *vip == address) {
        return Some(format!("is the `{key}` of this cluster"));
    }
    let ranges = view.ranges();
    let (_, name, range) = ranges.iter().find(|(_, _, range)| range.contains(&address))?;
    let range = range.trunc();
    if ["pod range", "service range"].contains(name) {
        return Some(format!("is inside the {name} {range}"));
    }
    (!is_host_of(range, address)).then(|| format!("is the network's own or broadcast address of {range}"))
}

fn node_with<'v>(view: &'v View<'_>, address: Ipv4Addr) -> Option<&'v str> {
    let node = view.nodes.iter().find(|node| node.has_address(address))?;
    Some(&node.entry.hostname)
}

/// What MetalLB hands out is kept free by a pool of the network, is nobody's, and is handed out once.
pub(super) fn pools(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let (Some(features), Some(network)) = (&view.features, &view.network) else { return };
    let Some(metallb) = &features.metallb else { return };
    let path = KeyPath::of("features.metallb.pools");
    if metallb.pools.is_empty() && view.is_sound_at(&path) {
        findings.value(Code::FeaturePool, &path, "at least one pool is needed");
    }
    let known = view.is_said("networks.cluster.pools");
    for (n, pool) in metallb.pools.iter().enumerate() {
        if pool.first > pool.last {
            findings.value(Code::FeaturePool, &path.index(n), format!("{pool} ends before it starts"));
        } else if known
            && !network.pools.iter().any(|other| other.contains(pool.first) && other.contains(pool.last))
        {
            let message = format!("{pool} is not inside one of `networks.cluster.pools`");
            findings.value(Code::FeaturePool, &path.index(n), message);
        } else {
            for why in taken(network, pool) {
                findings.value(Code::FeaturePool, &path.index(n), why);
            }
        }
        let mut earlier = metallb.pools.iter().take(n).filter(|other| other.first <= other.last);
        if pool.first <= pool.last
            && let Some(other) = earlier.find(|other| other.first <= pool.last && pool.first <= other.last)
        {
            findings.value(Code::FeaturePool, &path.index(n), format!("{pool} overlaps the pool {other}"));
        }
    }
    if view.complete && view.count(Role::Master) + view.count(Role::Worker) == 0 {
        findings.value(Code::FeaturePool, &path, "no node could hold an address of it");
    }
}
