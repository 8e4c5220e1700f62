//! The rendered firewall against real packets: namespaces stand for the machines around one node, with what kube-proxy
//! does to NodePorts. Each table is first run without rules, where everything must be open: else it proves nothing.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

mod render_support;

use profiles::node::NodeConfig;
use render_support::{ha, render, run_in_namespace, said, write_node};
use std::collections::{BTreeMap, BTreeSet};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/render_support/packets.sh");
/// Ports on which the node under test listens on all its addresses.
const PORTS: &str = "22,80,443,2379,2380,6443,9940,10250";

/// Probes and their verdicts; counters of dropped packets by name.
struct Outcome {
    verdicts: BTreeSet<String>,
    counters: BTreeMap<String, u64>,
}

fn send(node: &NodeConfig, rules: &str, probes: &[String]) -> Outcome {
    let address = node.cluster_interface().unwrap().address.addr().to_string();
    let output = run_in_namespace(
        &["bash", SCRIPT, &address, "192.168.1.7", rules, PORTS],
        &(probes.join("\n") + "\n"),
    );
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let (counters, verdicts): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("counter "));
    let counter = |line: &str| {
        let (name, packets) = line.trim_start_matches("counter ").split_once(' ').unwrap();
        (name.to_owned(), packets.parse().unwrap())
    };
    Outcome {
        verdicts: verdicts.into_iter().map(str::to_owned).collect(),
        counters: counters.into_iter().map(counter).collect(),
    }
}

/// Expands `zone source target port,port verdict` into one line for each port.
fn table(lines: &[&str]) -> Vec<(String, String)> {
    let expand = |line: &&str| -> Vec<(String, String)> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [zone, source, target, ports, verdict] = words[..] else { panic!("bad line: {line}") };
        ports
            .split(',')
            .map(|port| (format!("{zone} {source} {target} {port}"), verdict.to_owned()))
            .collect()
    };
    lines.iter().flat_map(expand).collect()
}

fn assert_packets(node: &NodeConfig, lines: &[&str]) -> BTreeMap<String, u64> {
    let table = table(lines);
    let probes: Vec<String> = table.iter().map(|(probe, _)| probe.clone()).collect();
    let open: BTreeSet<String> = probes.iter().map(|probe| format!("{probe} open")).collect();
    assert_eq!(send(node, "none", &probes).verdicts, open, "positive control: without rules all is open");
    let folder = tempfile::tempdir().unwrap();
    write_node(&render(node), folder.path());
    let rules = folder.path().join("etc/metalstrap/firewall.nft");
    let outcome = send(node, rules.to_str().unwrap(), &probes);
    let expected: BTreeSet<String> =
        table.iter().map(|(probe, verdict)| format!("{probe} {verdict}")).collect();
    assert_eq!(outcome.verdicts, expected);
    outcome.counters
}

#[test]
fn a_master_opens_the_api_to_nodes_and_etcd_to_masters_only() {
    assert_packets(
        &ha("master-1"),
        &[
            "lan 10.0.0.12 10.0.0.11 2379,2380,6443,9940,10250 open",
            "lan 10.0.0.12 10.0.0.11 22,30080,31999,8081 dropped",
            "lan 10.0.0.21 10.0.0.11 6443,9940,10250 open",
            "lan 10.0.0.21 10.0.0.11 2379,2380,22 dropped",
            "lan 10.0.0.5 10.0.0.11 6443,9940 open",
            "lan 10.0.0.5 10.0.0.11 2379,10250 dropped",
            "lan 10.0.2.20 10.0.0.11 22,6443,9940 open",
            "lan 10.0.2.20 10.0.0.11 2379,10250 dropped",
            "lan 10.0.0.7 10.0.0.11 22,2379,6443,9940,10250,30080 dropped",
            "lan 10.0.0.77 10.0.0.11 22,2379,6443,9940,10250,30080 dropped",
            "lan - fd00::11 22,2379,6443,9940,10250 dropped",
            "pod - 10.42.0.1 6443,10250 open",
            "pod - 10.42.0.1 22,2379,9940 dropped",
        ],
    );
}

#[test]
fn a_worker_opens_the_ingress_node_ports_to_the_dmz_proxy_only() {
    assert_packets(
        &ha("worker-1"),
        &[
            "lan 10.0.0.7 10.0.0.21 30080 open",
            "lan 10.0.0.7 10.0.0.21 22,6443,8081,9940,10250,31999 dropped",
            "lan 10.0.0.11 10.0.0.21 9940,10250 open",
            "lan 10.0.0.11 10.0.0.21 22,6443,8081,30080 dropped",
            "lan 10.0.0.77 10.0.0.21 30080,31999,8081 dropped",
            "lan 10.0.0.77 10.42.0.5 8080 dropped",
            "pod - 10.42.0.1 10250 open",
            "pod - 10.42.0.1 22,6443 dropped",
            "pod - 10.0.0.99 8443 open",
        ],
    );
}

#[test]
fn a_dmz_proxy_shows_the_outside_two_ports_and_routes_nothing() {
    let counters = assert_packets(
        &ha("edge-1"),
        &[
            "dmz - 192.168.1.7 80,443 open",
            "dmz - 192.168.1.7 22,6443,9940,10250 dropped",
            "dmz - 10.0.0.7 22,80,443,9940 dropped",
            "dmz - 10.0.0.99 8443 dropped",
            "lan 10.0.2.20 10.0.0.7 22,9940 open",
            "lan 10.0.0.11 10.0.0.7 9940 open",
            "lan 10.0.0.11 10.0.0.7 22,80,443 dropped",
        ],
    );
    assert_eq!(counters["drop_spoofed"], 0);
    assert!(counters["drop_guard"] > 0 && counters["flow_web_from_outside"] > 0, "{counters:?}");
}

#[test]
fn a_cluster_source_from_the_dmz_is_dropped_as_spoofed() {
    let node = ha("edge-1");
    let folder = tempfile::tempdir().unwrap();
    write_node(&render(&node), folder.path());
    let rules = folder.path().join("etc/metalstrap/firewall.nft");
    let outcome = send(&node, rules.to_str().unwrap(), &["dmz 10.0.2.20 192.168.1.7 80".to_owned()]);
    assert!(outcome.counters["drop_spoofed"] > 0, "{:?}", outcome.counters);
}
