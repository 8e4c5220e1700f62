//! The exact text of what an operator reads about flows and features.
#![allow(clippy::unwrap_used, reason = "a test may")]

use profiles::load;

/// What is found in a file of the corpus, without file name, line and column (the corpus test has those).
fn found(text: &str) -> Vec<String> {
    let loaded = load("c", text.as_bytes(), None);
    loaded.diagnostics.iter().map(|d| format!("{} {}: {}", d.code, d.path, d.message)).collect()
}

#[test]
fn unknown_words_come_with_the_list_and_the_nearest() {
    let loaded = load("cluster.toml", include_bytes!("corpus/bad/flow_unknown_words.toml"), None);
    let lines: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "cluster.toml:43:8: error E_VALUE_UNKNOWN at firewall.flows[0].from: `dnz` is not one of `cluster`, `dmz`, `wan`, `admin`, `pods`, `master`, `worker`, `internal-proxy`, `dmz-proxy` (did you mean `dmz`?)",
            "cluster.toml:44:6: error E_VALUE_UNKNOWN at firewall.flows[0].to: `workr` is not one of `master`, `worker`, `internal-proxy`, `dmz-proxy`, `load-balancer` (did you mean `worker`?)",
        ]
    );
}

#[test]
fn ports_upside_down_or_of_no_protocol_are_refused() {
    assert_eq!(
        found(include_str!("corpus/bad/flow_ports.toml")),
        [
            "E_FLOW_PORTS firewall.flows[0].port: tcp/8080-8000 ends before it starts",
            "E_VALUE_FORMAT firewall.flows[1].port: `icmp/1` is not a port (as in tcp/30080 or udp/7000-7010)",
            "E_VALUE_FORMAT firewall.flows[2].port: `tcp/0` is not a port (as in tcp/30080 or udp/7000-7010)",
        ]
    );
}

#[test]
fn a_source_outside_its_zone_or_role_is_refused() {
    assert_eq!(
        found(include_str!("corpus/bad/flow_sources.toml")),
        [
            "E_FLOW_SOURCE firewall.flows[0].sources[0]: 10.0.0.5/32 is not a source of `dmz`: the DMZ is 192.168.1.0/24",
            "E_FLOW_SOURCE firewall.flows[1].sources[0]: 10.1.0.0/24 is not a source of `cluster`: the cluster network is 10.0.0.0/22",
            "E_FLOW_SOURCE firewall.flows[2].sources[0]: 10.0.1.0/24 is not a source of `wan`: it is inside the cluster network 10.0.0.0/22",
            "E_FLOW_SOURCE firewall.flows[3].sources[0]: 10.0.0.0/24 is not a source of `admin`: it is in none of `admin.sources`",
            "E_FLOW_SOURCE firewall.flows[4].sources[0]: 10.0.0.12/32 is not a source of `master`: no such node has this address on the cluster network",
            "E_FLOW_SOURCE firewall.flows[5].sources[0]: 10.43.0.0/24 is not a source of `pods`: the pod range is 10.42.0.0/16",
            "E_RANGE_HOST_BITS firewall.flows[6].sources[0]: 192.168.1.5/24 begins at 192.168.1.0/24",
        ]
    );
}

#[test]
fn a_source_of_ipv6_is_held_to_the_same() {
    assert_eq!(
        found(include_str!("corpus/bad/flow_sources6.toml")),
        [
            "E_FLOW_SOURCE firewall.flows[0].sources[0]: fd00:11::/64 is not a source of `cluster`: the cluster network is fd00:10::/64",
            "E_FLOW_SOURCE firewall.flows[1].sources[0]: fd00:168::50/128 is not a source of `dmz`: the DMZ is of IPv4 only",
            "E_FLOW_SOURCE firewall.flows[2].sources[0]: fd00:10::/80 is not a source of `wan`: it is inside the cluster network fd00:10::/64",
            "E_FLOW_SOURCE firewall.flows[3].sources[0]: fd00:10::12/128 is not a source of `master`: no such node has this address on the cluster network",
            "E_FLOW_SOURCE firewall.flows[4].sources[0]: fd00:42::/64 is not a source of `pods`: the pod range is of IPv4 only",
            "E_RANGE_HOST_BITS firewall.flows[5].sources[0]: fd00:10::5/64 begins at fd00:10::/64",
        ]
    );
}

#[test]
fn an_end_that_does_not_exist_is_refused_or_warned_about() {
    assert_eq!(
        found(include_str!("corpus/bad/flow_zones.toml")),
        [
            "E_FLOW_ZONE firewall.flows[0].from: the file has no `[networks.dmz]`",
            "E_FLOW_ZONE firewall.flows[1].from: a proxy sees pods under the addresses of their nodes; name `master` or `worker` instead",
            "W_FLOW_NO_NODE firewall.flows[1].to: no node has the role `internal-proxy`",
            "E_FLOW_ZONE firewall.flows[2].to: the file has no `[features.metallb]`",
        ]
    );
}

#[test]
fn what_is_dangerous_needs_a_reason() {
    let all = found(include_str!("corpus/bad/flow_risks.toml"));
    let tail = "; if that has to be, say why in `accept_risk`";
    let opens = |n: usize, what: &str, to: &str, from: &str| {
        format!("E_FLOW_RISK firewall.flows[{n}].port: it opens {what} of every {to} to `{from}`{tail}")
    };
    let everything =
        "etcd and the Kubernetes API and the kubelet and routes to pods (BGP) and SSH and the health report";
    assert_eq!(
        all,
        [
            opens(0, "etcd", "master", "dmz"),
            opens(1, "the Kubernetes API", "master", "wan"),
            opens(2, "the kubelet", "worker", "dmz-proxy"),
            opens(3, "SSH", "dmz-proxy", "dmz"),
            opens(4, "the pod network (VXLAN)", "worker", "cluster"),
            opens(5, everything, "master", "dmz"),
            opens(6, "etcd", "master", "cluster"),
        ]
    );
    let accepted = include_str!("corpus/bad/flow_risks.toml")
        .replace("\nwhy =", "\naccept_risk = \"agreed with the owner of the site\"\nwhy =");
    assert_eq!(found(&accepted), Vec::<String>::new());
}

#[test]
fn features_need_their_network_and_their_addresses() {
    assert_eq!(
        found(include_str!("corpus/bad/features_of_other_networks.toml")),
        [
            "E_FEATURE_CNI features.hubble: `hubble` needs Cilium as container network (`cluster.cni`)",
            "E_FEATURE_CNI features.bgp_routers: `bgp_routers` needs `calico-bgp` as container network (`cluster.cni`)",
            "E_FEATURE_CNI features.clustermesh: `clustermesh` needs Cilium as container network (`cluster.cni`)",
            "E_FEATURE_ADDRESS features.clustermesh.nodes: at least one address is needed",
        ]
    );
    assert_eq!(
        found(include_str!("corpus/bad/features_addresses.toml")),
        [
            "E_FEATURE_ADDRESS features.clustermesh.nodes[0]: 10.0.0.21 is the node `worker-1` of this cluster",
            "E_FEATURE_ADDRESS features.kube_vip_bgp: without an `api_vip` there is nothing to announce",
            "E_FEATURE_ADDRESS features.kube_vip_bgp.routers[0]: 10.0.0.11 is the node `master-1` of this cluster",
        ]
    );
    assert_eq!(
        found(include_str!("corpus/bad/features_pools.toml")),
        [
            "E_FEATURE_POOL features.metallb.pools[0]: 10.0.3.50-10.0.3.150 is not inside one of `networks.cluster.pools`",
            "E_FEATURE_POOL features.metallb.pools[1]: 10.0.3.150-10.0.3.120 ends before it starts",
        ]
    );
    assert_eq!(
        found(include_str!("corpus/bad/features_pools_overlap.toml")),
        [
            "E_FEATURE_POOL features.metallb.pools[1]: 10.0.3.150-10.0.3.160 overlaps the pool 10.0.3.100-10.0.3.150"
        ]
    );
}

#[test]
fn addresses_of_others_are_not_of_this_cluster() {
    let of = |n: usize, why: &str| format!("E_FEATURE_ADDRESS features.clustermesh.nodes[{n}]: {why}");
    assert_eq!(
        found(include_str!("corpus/bad/features_addresses_of_nobody_else.toml")),
        [
            of(0, "10.0.0.10 is the `api_vip` of this cluster"),
            of(1, "0.0.0.0 cannot be the address of another machine"),
            of(2, "224.0.0.5 cannot be the address of another machine"),
            of(3, "10.42.1.1 is inside the pod range 10.42.0.0/16"),
            of(4, "10.43.0.1 is inside the service range 10.43.0.0/16"),
            of(5, "10.0.3.255 is the network's own or broadcast address of 10.0.0.0/22"),
            of(6, "192.168.1.0 is the network's own or broadcast address of 192.168.1.0/24"),
            of(8, "`10.9.0.1` is already given at features.clustermesh.nodes[7]"),
        ]
    );
}

#[test]
fn a_pool_holds_nobodys_address() {
    assert_eq!(
        found(include_str!("corpus/bad/pool_of_others.toml")),
        [
            "E_POOL_INVALID networks.cluster.pools[0]: 10.0.0.0-10.0.0.0 holds 10.0.0.0, the network's own address of 10.0.0.0/22",
            "E_POOL_INVALID networks.cluster.pools[1]: 10.0.0.1-10.0.0.1 holds 10.0.0.1, the gateway",
            "E_POOL_INVALID networks.cluster.pools[2]: 10.0.0.2-10.0.0.2 holds 10.0.0.2, the DNS server",
            "E_POOL_INVALID networks.cluster.pools[3]: 10.0.3.100-10.0.3.255 holds 10.0.3.255, the broadcast address of 10.0.0.0/22",
        ]
    );
    let metallb = found(include_str!("corpus/bad/features_pool_of_others.toml"));
    assert_eq!(
        metallb.into_iter().filter(|line| line.starts_with("E_FEATURE_POOL")).collect::<Vec<_>>(),
        [
            "E_FEATURE_POOL features.metallb.pools[0]: 10.0.0.1-10.0.0.1 holds 10.0.0.1, the gateway",
            "E_FEATURE_POOL features.metallb.pools[1]: 10.0.0.2-10.0.0.3 holds 10.0.0.2, the DNS server",
            "E_FEATURE_POOL features.metallb.pools[2]: 10.0.3.255-10.0.3.255 holds 10.0.3.255, the broadcast address of 10.0.0.0/22",
        ]
    );
}
