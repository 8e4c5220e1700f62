//! The rules of every kind of node with every container network, byte for byte, and nft takes each of them.
//! `METALSTRAP_BLESS=1 cargo test -p installer --test firewall_rules` writes them anew.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test keeps its own golden files")]

mod render_support;

use installer::firewall::{Model, counter_of, egress_counter_of};
use profiles::firewall::{
    ClusterMesh, Features, FlowFrom, FlowTo, KubeVipBgp, MetalLb, OperatorFlow, PortSpec,
};
use profiles::node::{Cni, NodeConfig, Role};
use render_support::{dual_stack, ha, render, run_in_namespace, said};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;

const CNIS: [(&str, Cni); 6] = [
    ("flannel-vxlan", Cni::FlannelVxlan),
    ("flannel-wireguard", Cni::FlannelWireguard),
    ("calico-vxlan", Cni::CalicoVxlan),
    ("calico-bgp", Cni::CalicoBgp),
    ("cilium-vxlan", Cni::CiliumVxlan),
    ("cilium-wireguard", Cni::CiliumWireguard),
];

fn with(hostname: &str, cni: Cni) -> NodeConfig {
    let mut node = ha(hostname);
    node.cluster.cni = cni;
    node
}

fn flow(from: FlowFrom, to: FlowTo, port: &str, sources: &[&str]) -> OperatorFlow {
    OperatorFlow {
        from,
        sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
        to,
        port: port.parse::<PortSpec>().unwrap(),
        why: "something the site needs".to_owned(),
        accept_risk: None,
    }
}

/// Everything an operator can switch on.
fn everything(hostname: &str, cni: Cni) -> NodeConfig {
    let mut node = with(hostname, cni);
    let cilium = cni.is_cilium();
    let firewall = &mut node.cluster.firewall;
    firewall.egress = true;
    firewall.features = Features {
        hubble: cilium,
        clustermesh: cilium.then(|| ClusterMesh {
            node_port: 32379,
            nodes: vec![Ipv4Addr::new(10, 9, 0, 11), Ipv4Addr::new(10, 9, 0, 12)],
        }),
        metallb: Some(MetalLb { pools: vec!["10.0.3.100-10.0.3.150".parse().unwrap()] }),
        bgp_routers: if cni == Cni::CalicoBgp { vec![Ipv4Addr::new(10, 0, 0, 1)] } else { vec![] },
        kube_vip_bgp: Some(KubeVipBgp {
            local_as: 64512,
            router_as: 64513,
            routers: vec![Ipv4Addr::new(10, 0, 0, 1)],
        }),
    };
    firewall.flows = vec![
        flow(FlowFrom::Dmz, FlowTo::Worker, "tcp/30081", &["192.168.1.50/32"]),
        flow(FlowFrom::Wan, FlowTo::DmzProxy, "tcp/8443", &["203.0.113.0/24"]),
        flow(FlowFrom::Wan, FlowTo::LoadBalancer, "tcp/443", &[]),
        flow(FlowFrom::Cluster, FlowTo::Worker, "udp/7000-7010", &[]),
        flow(FlowFrom::Pods, FlowTo::Worker, "tcp/9100", &[]),
        flow(FlowFrom::DmzProxy, FlowTo::Worker, "tcp/8100", &[]),
        flow(FlowFrom::Worker, FlowTo::InternalProxy, "tcp/5000", &["10.0.0.21/32"]),
    ];
    node
}

/// IPv6 beside IPv4, with flows of the operator in both.
fn six(hostname: &str, pods: bool) -> NodeConfig {
    let mut node = dual_stack(hostname, pods);
    node.cluster.firewall.egress = true;
    node.cluster.firewall.flows = vec![
        flow(FlowFrom::Dmz, FlowTo::Worker, "tcp/30081", &["192.168.1.50/32", "fd00:168::50/128"]),
        flow(FlowFrom::Wan, FlowTo::DmzProxy, "tcp/8443", &["2001:db8:7::/48"]),
        flow(FlowFrom::Wan, FlowTo::Worker, "tcp/30082", &[]),
        flow(FlowFrom::Cluster, FlowTo::Worker, "udp/7000-7010", &[]),
        flow(FlowFrom::Pods, FlowTo::Worker, "tcp/9100", &[]),
        flow(FlowFrom::Worker, FlowTo::InternalProxy, "tcp/5000", &["fd00:10::15/128"]),
    ];
    node
}

fn cases() -> Vec<(String, NodeConfig)> {
    let mut cases = vec![];
    for host in ["master-1", "worker-1", "proxy-1", "edge-1"] {
        cases.push((format!("{host}-ipv6"), six(host, false)));
        if host == "worker-1" {
            cases.push((format!("{host}-ipv6-pods"), six(host, true)));
        }
    }
    for (name, cni) in CNIS {
        for host in ["master-1", "worker-1"] {
            cases.push((format!("{host}-{name}"), with(host, cni)));
        }
    }
    for host in ["proxy-1", "edge-1"] {
        cases.push((host.to_owned(), ha(host)));
    }
    for (name, cni) in [("calico-bgp", Cni::CalicoBgp), ("cilium-wireguard", Cni::CiliumWireguard)] {
        for host in ["master-1", "worker-1", "proxy-1", "edge-1"] {
            cases.push((format!("{host}-{name}-everything"), everything(host, cni)));
        }
    }
    cases
}

fn rules(node: &NodeConfig) -> String {
    render(node).file("/etc/metalstrap/firewall.nft").unwrap().contents.expose().to_owned()
}

#[test]
fn every_table_equals_its_golden() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/firewall");
    for (name, node) in cases() {
        let path = folder.join(format!("{name}.nft"));
        let text = rules(&node);
        if std::env::var_os("METALSTRAP_BLESS").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
    }
    let kept = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(kept, cases().len(), "a golden without a case");
}

#[test]
fn nft_loads_every_table_twice_and_has_every_counter() {
    for (name, node) in cases() {
        let model = Model::of(&node).unwrap();
        let text = rules(&node);
        let output = run_in_namespace(
            &["nft", "-f", "-"],
            &format!("{text}{text}list counters table inet metalstrap\n"),
        );
        assert!(output.status.success(), "{name}: {}", said(&output));
        let listed: BTreeSet<String> = said(&output)
            .lines()
            .filter_map(|line| {
                line.trim().strip_prefix("counter ")?.split_whitespace().next().map(str::to_owned)
            })
            .collect();
        let flows = model.flows.iter().map(counter_of);
        for counter in flows.chain(model.egress.iter().flatten().map(egress_counter_of)) {
            assert!(listed.contains(&counter), "{name}: {counter}");
        }
    }
}

#[test]
fn nft_refuses_a_table_with_one_wrong_word() {
    let broken = rules(&ha("worker-1")).replacen("policy drop", "policy drob", 1);
    let output = run_in_namespace(&["nft", "-c", "-f", "-"], &broken);
    assert!(!output.status.success(), "the control of the control");
}

#[test]
fn ids_are_unique_and_every_flow_has_a_reason() {
    for (name, node) in cases() {
        let model = Model::of(&node).unwrap();
        let ids: BTreeSet<&str> = model.flows.iter().map(|flow| flow.id.as_str()).collect();
        assert_eq!(ids.len(), model.flows.len(), "{name}");
        assert!(model.flows.iter().all(|flow| flow.why.len() > 8 && !flow.sources.is_empty()), "{name}");
        let outgoing: BTreeSet<&str> = model.egress.iter().flatten().map(|flow| flow.id.as_str()).collect();
        assert_eq!(outgoing.len(), model.egress.iter().flatten().count(), "{name}");
    }
}

#[test]
fn a_source_that_is_a_node_is_a_list_and_never_a_network() {
    use installer::firewall::Group;
    for (name, node) in cases() {
        for flow in Model::of(&node).unwrap().flows {
            let nodes =
                !matches!(flow.group, Group::Admin | Group::Cluster | Group::Dmz | Group::Wan | Group::Pods);
            assert!(
                !nodes || flow.sources.iter().all(|net| net.prefix_len() == net.max_prefix_len()),
                "{name}: {}",
                flow.id
            );
        }
    }
}

/// Every rule of IPv4 has the same one for IPv6, but for what is named by IPv4 addresses only.
#[test]
fn both_families_have_the_same_rules() {
    for host in ["master-1", "worker-1", "proxy-1", "edge-1"] {
        let text = rules(&dual_stack(host, true));
        let lines = |is_six: bool| -> BTreeSet<String> {
            let of_family = |line: &&str| line.contains(if is_six { "ip6 " } else { "ip " });
            let neutral = |line: &str| {
                let words = line.split_whitespace().filter(|word| !word.contains(['.', ':', '{', '}', ',']));
                words
                    .map(|word| word.trim_end_matches("_v6").replace("ip6", "ip"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            let rules = text.lines().filter(|line| line.contains("accept") || line.contains("goto"));
            rules.filter(of_family).filter(|line| !line.contains("icmpv6")).map(neutral).collect()
        };
        let (four, six) = (lines(false), lines(true));
        assert!(four.len() > 4, "{host}: {text}");
        let only_four: Vec<&String> = four.difference(&six).collect();
        assert!(only_four.iter().all(|line| line.contains("112")), "{host}: {only_four:?}");
        assert_eq!(six.difference(&four).count(), 0, "{host}: {six:?}");
    }
}

#[test]
fn a_link_that_learns_may_ask_for_ipv6_where_outgoing_flows_are_restricted() {
    let mut node = six("worker-1", false);
    let asks = |node: &NodeConfig| {
        rules(node)
            .contains("oifname { \"cluster0\" } ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept")
    };
    assert!(!asks(&node));
    for link in node.network.links_mut() {
        link.auto6 = true;
    }
    assert!(asks(&node));
}

#[test]
fn rules_for_300_nodes_are_made_in_no_time_and_load() {
    let mut node = ha("worker-1");
    for n in 0..290_u16 {
        let mut peer = node.peers[3].clone();
        peer.hostname = format!("worker-x{n}");
        peer.cluster_address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 1, 0)) + u32::from(n));
        node.peers.push(peer);
    }
    let text = rules(&node);
    assert_eq!(text.matches("10.0.1.200").count(), 1, "a list of nodes is written once");
    let output = run_in_namespace(&["nft", "-f", "-"], &text);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn k3s_leaves_out_what_the_container_network_and_metallb_replace() {
    let config = |node: &NodeConfig| {
        let text = render(node).file("/etc/rancher/k3s/config.yaml").unwrap().contents.expose().to_owned();
        serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&text).unwrap()
    };
    for (name, cni) in CNIS {
        let master = config(&with("master-1", cni));
        let set = |key: &str| master.get(key).and_then(serde_yaml_ng::Value::as_bool).unwrap_or(false);
        let flannel = cni.is_flannel();
        assert_eq!(master["flannel-backend"].as_str() == Some("none"), !flannel, "{name}");
        assert_eq!(set("disable-network-policy"), !flannel, "{name}");
        assert_eq!(set("disable-kube-proxy"), cni.is_cilium(), "{name}");
        let worker = config(&with("worker-1", cni));
        assert_eq!(worker.get("flannel-iface").is_some(), flannel, "{name}");
        for key in ["disable-network-policy", "disable-kube-proxy", "flannel-backend"] {
            assert!(worker.get(key).is_none(), "{name}: {key} is a key of servers");
        }
    }
    let mut node = everything("master-1", Cni::CalicoBgp);
    node.kubernetes.as_mut().unwrap().disable.clear();
    assert_eq!(config(&node)["disable"][0], "servicelb");
}

#[test]
fn cilium_is_told_to_answer_on_the_cluster_interface_only() {
    let path = "/etc/metalstrap/cilium-values.yaml";
    let rendered = render(&everything("master-1", Cni::CiliumWireguard));
    let values: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(rendered.file(path).unwrap().contents.expose()).unwrap();
    assert_eq!(values["devices"], "cluster0");
    assert_eq!(values["encryption"]["type"], "wireguard");
    assert_eq!(values["clustermesh"]["apiserver"]["service"]["nodePort"], 32379);
    assert_eq!(values["ipam"]["mode"], "kubernetes");
    for node in [ha("master-1"), with("worker-1", Cni::CiliumVxlan)] {
        assert!(render(&node).file(path).is_none(), "{}", node.hostname);
    }
}

#[test]
fn pods_under_cilium_take_nothing_from_where_no_flow_leads_in() {
    let path = "/etc/metalstrap/cilium-policies.yaml";
    let denied = |flows: &[(FlowFrom, FlowTo, &[&str])]| {
        let mut node = everything("master-1", Cni::CiliumVxlan);
        let flows = flows.iter().map(|(from, to, sources)| flow(*from, *to, "tcp/30100", sources));
        node.cluster.firewall.flows = flows.collect();
        let file = render(&node).file(path)?.contents.expose().to_owned();
        let policy: serde_json::Value = serde_yaml_ng::from_str(&file).unwrap();
        let default_deny = &policy["spec"]["enableDefaultDeny"];
        assert_eq!(*default_deny, serde_json::json!({"ingress": false, "egress": false}));
        let set = policy["spec"]["ingressDeny"][0]["fromCIDRSet"].clone();
        let line = |entry: &serde_json::Value| {
            let except = entry["except"].as_array().into_iter().flatten();
            let except: Vec<&str> = except.map(|net| net.as_str().unwrap()).collect();
            format!("{} but {}", entry["cidr"].as_str().unwrap(), except.join(" "))
        };
        Some(set.as_array().unwrap().iter().map(line).collect::<Vec<_>>())
    };
    let dmz = "192.168.1.0/24 but ".to_owned();
    let known = "10.0.0.0/22 10.9.0.11/32 10.9.0.12/32 10.42.0.0/16 10.43.0.0/16 192.168.1.0/24";
    let wan = format!("0.0.0.0/0 but {known}");
    let both = Some(vec![dmz.clone(), wan.clone()]);
    assert_eq!(denied(&[]), both);
    assert_eq!(denied(&[(FlowFrom::Admin, FlowTo::Worker, &[])]), both);
    assert_eq!(denied(&[(FlowFrom::Wan, FlowTo::DmzProxy, &[])]), both, "no pods there");
    assert_eq!(denied(&[(FlowFrom::Dmz, FlowTo::Worker, &[])]), Some(vec![wan]));
    assert_eq!(denied(&[(FlowFrom::Wan, FlowTo::LoadBalancer, &[])]), Some(vec![dmz]));
    let some: &[(FlowFrom, FlowTo, &[&str])] = &[
        (FlowFrom::Dmz, FlowTo::Worker, &["192.168.1.50/32", "192.168.1.48/29"]),
        (FlowFrom::Wan, FlowTo::Master, &["203.0.113.0/24"]),
    ];
    assert_eq!(
        denied(some),
        Some(vec![
            "192.168.1.0/24 but 192.168.1.48/29".to_owned(),
            format!("0.0.0.0/0 but {known} 203.0.113.0/24")
        ])
    );
    assert_eq!(
        denied(&[(FlowFrom::Wan, FlowTo::Master, &[]), (FlowFrom::Dmz, FlowTo::LoadBalancer, &[])]),
        None
    );
    assert!(render(&ha("master-1")).file(path).is_none());
}

#[test]
fn a_master_that_stops_no_longer_draws_the_api_to_itself() {
    let service = |node: &NodeConfig| {
        render(node).file("/etc/systemd/system/k3s.service").unwrap().contents.expose().to_owned()
    };
    let stops = |node: &NodeConfig| -> Vec<String> {
        service(node)
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStopPost="))
            .map(str::to_owned)
            .collect()
    };
    let (end, drop) = ("-/usr/bin/pkill -TERM -x kube-vip", "-/bin/ip address del 10.0.0.10/32 dev");
    assert_eq!(stops(&everything("master-2", Cni::CalicoBgp)), [end.to_owned(), format!("{drop} lo")]);
    let by_arp = ha("master-2");
    assert_eq!(
        stops(&by_arp),
        [format!("{drop} cluster0")],
        "a leader by ARP is not ended: the pod lives on"
    );
    let mut alone = everything("master-2", Cni::CalicoBgp);
    alone.cluster.api_vip = None;
    assert_eq!(stops(&alone), Vec::<String>::new());
}

#[test]
fn kube_vip_announces_by_bgp_when_asked_to() {
    let path = "/var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml";
    let rendered = render(&everything("master-2", Cni::CalicoBgp));
    let pod: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(rendered.file(path).unwrap().contents.expose()).unwrap();
    let environment = pod["spec"]["containers"][0]["env"].as_sequence().unwrap();
    let value =
        |name: &str| environment.iter().find(|e| e["name"] == name).unwrap()["value"].as_str().unwrap();
    let names = [
        "vip_arp",
        "vip_leaderelection",
        "vip_interface",
        "bgp_enable",
        "bgp_routerid",
        "bgp_as",
        "bgp_peers",
    ];
    let values: Vec<&str> = names.map(value).to_vec();
    assert_eq!(values, ["false", "false", "lo", "true", "10.0.0.12", "64512", "10.0.0.1:64513::false"]);
    assert_eq!(Role::Master, everything("master-2", Cni::CalicoBgp).role.role());
}
