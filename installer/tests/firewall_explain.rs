//! What an operator is told: exact text, from cluster files as an operator writes them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may")]

use assert_cmd::Command;
use std::path::Path;

const HA: &str = include_str!("../../profiles/examples/ha.toml");

fn metalstrap(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("metalstrap")
        .unwrap()
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The example with more at its end and another container network.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn with(cni: &str, more: &str) -> Self {
        Self::of(HA.replacen("name = \"ha\"", &format!("name = \"ha\"\ncni = \"{cni}\""), 1) + more)
    }

    /// The example with some parts replaced, each of which stands there once.
    fn but(replaced: &[(&str, &str)]) -> Self {
        let replace = |text: String, (old, new): &(&str, &str)| {
            assert_eq!(text.matches(old).count(), 1, "{old}");
            text.replace(old, new)
        };
        Self::of(replaced.iter().fold(HA.to_owned(), replace))
    }

    fn of(text: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cluster.toml"), text).unwrap();
        Self { folder }
    }

    fn ask(&self, question: &str) -> (i32, String, String) {
        let file = self.folder.path().join("cluster.toml");
        let mut arguments = vec!["firewall", "explain"];
        arguments.extend(question.split(' '));
        arguments.extend(["--cluster", file.to_str().unwrap()]);
        metalstrap(&arguments)
    }

    #[track_caller]
    fn answers(&self, table: &[(&str, &str)]) {
        for (question, expected) in table {
            let (code, out, err) = self.ask(question);
            assert_eq!((code, out.trim_end()), (0, *expected), "{question}: {err}");
        }
    }
}

#[test]
fn says_who_may_and_who_may_not_by_which_flow_and_why() {
    Site::with("flannel-vxlan", "").answers(&[
        (
            "tcp/30080 from dmz to worker-1",
            "tcp/30080 from dmz (as 192.168.1.1) to worker-1 (10.0.0.21): denied in chain guard: no flow lets it in",
        ),
        (
            "tcp/30080 from proxy-dmz-1 to worker-1",
            "tcp/30080 from proxy-dmz-1 (as 10.0.0.7) to worker-1 (10.0.0.21): allowed in chain input by flow ingress-from-dmz-proxies (builtin): the DMZ proxies pass web traffic to the ingress",
        ),
        (
            "tcp/30080 from worker-2 to worker-1",
            "tcp/30080 from worker-2 (as 10.0.0.22) to worker-1 (10.0.0.21): denied in chain guard: no flow lets it in",
        ),
        (
            "tcp/22 from proxy-dmz-1 to master-1",
            "tcp/22 from proxy-dmz-1 (as 10.0.0.7) to master-1 (10.0.0.11): denied in chain guard: no flow lets it in",
        ),
        (
            "tcp/22 from admin to proxy-dmz-1",
            "tcp/22 from admin (as 10.0.0.1) to proxy-dmz-1 (10.0.0.7): allowed in chain input by flow ssh-from-admin (builtin): operators log in",
        ),
        (
            "tcp/443 from wan to dmz-proxy",
            "tcp/443 from wan (as 198.51.100.1) to proxy-dmz-1 (192.168.1.10): allowed in chain input by flow web-from-outside (builtin): everybody may reach the web through the DMZ proxy",
        ),
        (
            "tcp/2380 from master to master-1",
            "tcp/2380 from master (as 10.0.0.12) to master-1 (10.0.0.11): allowed in chain input by flow etcd-from-masters (builtin): etcd between the masters",
        ),
        (
            "tcp/10250 from pods to worker-3",
            "tcp/10250 from pods (as 10.42.0.1) to worker-3 (10.0.0.23): allowed in chain input by flow kubelet-from-pods (builtin): the kubelet, for the API server and for metrics",
        ),
        (
            "udp/8472 from 10.0.0.99 to worker-3",
            "udp/8472 from 10.0.0.99 to worker-3 (10.0.0.23): denied in chain guard: no flow lets it in",
        ),
        (
            "tcp/6443 from 10.0.0.11 to master-1",
            "tcp/6443 from 10.0.0.11 to master-1 (10.0.0.11): denied in chain spoofing: 10.0.0.11 is an address of this node itself",
        ),
        (
            "ping from cluster to worker-1",
            "ping from cluster (as 10.0.0.1) to worker-1 (10.0.0.21): allowed in chain input: hosts of the cluster network may ping",
        ),
    ]);
}

#[test]
fn a_flow_of_the_operator_is_named_with_its_reason_and_risk() {
    let more = "
[[firewall.flows]]
from = \"dmz\"
sources = [\"192.168.1.50/32\"]
to = \"worker\"
port = \"tcp/30080\"
why = \"the shop's monitor\"

[[firewall.flows]]
from = \"dmz\"
sources = [\"192.168.1.51/32\"]
to = \"master\"
port = \"tcp/6443\"
why = \"the build server deploys\"
accept_risk = \"it has a certificate of its own\"
";
    Site::with("flannel-vxlan", more).answers(&[
        (
            "tcp/30080 from dmz to worker-1",
            "tcp/30080 from dmz (as 192.168.1.1) to worker-1 (10.0.0.21): denied in chain guard: no flow lets it in\n  but 192.168.1.50/32 may, by flow operator-1",
        ),
        (
            "tcp/30080 from 192.168.1.50 to worker-1",
            "tcp/30080 from 192.168.1.50 to worker-1 (10.0.0.21): allowed in chain input by flow operator-1 (number 1 of the cluster file): the shop's monitor",
        ),
        (
            "tcp/6443 from 192.168.1.51 to master-2",
            "tcp/6443 from 192.168.1.51 to master-2 (10.0.0.12): allowed in chain input by flow operator-2 (number 2 of the cluster file): the build server deploys\n  risk accepted: it has a certificate of its own",
        ),
    ]);
}

#[test]
fn ipv6_is_asked_for_by_an_address_or_by_a_word() {
    let file = "profiles/tests/corpus/good/firewall_dual_stack.toml";
    let ask = |question: &str| {
        let words: Vec<&str> =
            ["firewall", "explain", "--cluster", file].into_iter().chain(question.split(' ')).collect();
        let (code, out, err) = metalstrap(&words);
        format!("{code} {out}{err}")
    };
    let denied = "denied in chain guard: no flow lets it in";
    for (question, expected) in [
        ("tcp/22 from fd00:10::205 to w", "0 tcp/22 from fd00:10::205 to w (fd00:10::12): allowed in chain input by flow ssh-from-admin (builtin): operators log in\n".to_owned()),
        ("--ipv6 tcp/22 from admin to w", "0 tcp/22 from admin (as fd00:10::200) to w (fd00:10::12): allowed in chain input by flow ssh-from-admin (builtin): operators log in\n".to_owned()),
        ("--ipv6 tcp/443 from wan to edge", "0 tcp/443 from wan (as 2001:db8::1) to edge (fd00:168::7): allowed in chain input by flow web-from-outside (builtin): everybody may reach the web through the DMZ proxy\n".to_owned()),
        ("--ipv6 tcp/30080 from edge to w", "0 tcp/30080 from edge (as fd00:10::7) to w (fd00:10::12): allowed in chain input by flow ingress-from-dmz-proxies (builtin): the DMZ proxies pass web traffic to the ingress\n".to_owned()),
        ("--ipv6 tcp/30080 from cluster to w", format!("0 tcp/30080 from cluster (as fd00:10::) to w (fd00:10::12): {denied}\n")),
        ("tcp/6443 from fd00:168::50 to m", "0 tcp/6443 from fd00:168::50 to m (fd00:10::11): denied in chain guard: no flow lets it in\n".to_owned()),
        ("--ipv6 tcp/22 from w4 to w", "2 metalstrap: this cluster has nobody in `w4` with an IPv6 address\n".to_owned()),
        ("--ipv6 tcp/22 from admin to w4", "2 metalstrap: w4 has no IPv6 address there, so nothing can reach it over IPv6\n".to_owned()),
        ("--ipv6 tcp/22 from pods to w", "2 metalstrap: this cluster has nobody in `pods` with an IPv6 address\n".to_owned()),
    ] {
        assert_eq!(ask(question), expected, "{question}");
    }
}

#[test]
fn a_node_port_under_cilium_comes_with_what_is_not_enforced() {
    let (code, out, _) = Site::with("cilium-vxlan", "").ask("tcp/30080 from dmz to worker-1");
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "tcp/30080 from dmz (as 192.168.1.1) to worker-1 (10.0.0.21): denied in chain guard: no flow lets it in\n  not enforced here: Cilium answers NodePorts, hostPorts and load balancer addresses in eBPF before nftables sees a packet: this firewall does not cover them. Cilium's value `devices` keeps them to the cluster interface; there, /etc/metalstrap/cilium-policies.yaml of the masters, once applied, keeps out the DMZ and the outside as far as their addresses are seen, and the rest is for loadBalancerSourceRanges to say\n"
    );
    let (_, out, _) = Site::with("cilium-vxlan", "").ask("tcp/10250 from dmz to worker-1");
    assert_eq!(out.lines().count(), 1, "the kubelet is covered: {out}");
}

#[test]
fn a_question_without_sense_is_refused_with_what_would_have_one() {
    let site = Site::with("flannel-vxlan", "");
    for (question, expected) in [
        ("tcp/99999 from dmz", "metalstrap: `tcp/99999` is not a port (as in tcp/30080), `ping` or `vrrp`\n"),
        ("tcp/80-90 from dmz", "metalstrap: `tcp/80-90` is not a port (as in tcp/30080), `ping` or `vrrp`\n"),
        (
            "tcp/80 from dnz",
            "metalstrap: `dnz` is not a zone (cluster, dmz, wan, admin, pods), a role (master, worker, internal-proxy, dmz-proxy), an address or a node of this cluster\n",
        ),
        (
            "tcp/80 to dmz",
            "metalstrap: ask as in: metalstrap firewall explain tcp/30080 from dmz to worker\n",
        ),
        (
            "tcp/80 from dmz to load-balancer",
            "metalstrap: no load balancer address is answered by master-1\n",
        ),
    ] {
        assert_eq!(site.ask(question), (2, String::new(), expected.to_owned()), "{question}");
    }
    let (code, _, err) = site.ask("tcp/80 from dmz to wroker");
    assert_eq!(code, 2);
    assert!(
        err.starts_with("metalstrap: `wroker` is no node and no role of what is asked about (master-1, "),
        "{err}"
    );
}

#[test]
fn json_holds_the_verdict_for_programs() {
    let file = "profiles/examples/ha.toml";
    let arguments =
        ["firewall", "explain", "tcp/6443", "from", "worker", "to", "master-1", "--cluster", file];
    let (code, out, _) = metalstrap(&[arguments.as_slice(), &["--output", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, json["schema"].as_str()), (0, Some("metalstrap.firewall-explain/v1")));
    assert_eq!(json["answers"][0]["verdict"]["verdict"], "allowed");
    assert_eq!(json["answers"][0]["verdict"]["flow"], "api-from-nodes");
    assert_eq!(json["answers"][0]["origin"], "builtin");
}

#[test]
fn show_prints_every_flow_or_the_very_rules() {
    let node = ["firewall", "show", "--cluster", "profiles/examples/ha.toml", "--node", "proxy-dmz-1"];
    let (code, out, _) = metalstrap(&node);
    assert_eq!(code, 0);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "proxy-dmz-1 (dmz-proxy)");
    assert!(lines.contains(&"  out  worker-ingress-from-dmz-proxies: tcp/30080, tcp/30443 to 10.0.0.21/32, 10.0.0.22/32, 10.0.0.23/32: the DMZ proxies pass web traffic to the ingress"), "{out}");
    let (code, rules, _) = metalstrap(&[node.as_slice(), &["--rules"]].concat());
    assert_eq!(code, 0);
    assert!(
        rules.starts_with("#!/usr/sbin/nft -f\n") && rules.contains("\ndelete table inet metalstrap\n"),
        "{rules}"
    );
    assert!(!rules.contains("flush"), "{rules}");
    let (code, both, _) = metalstrap(&[node.as_slice(), &["--rules", "--output", "json"]].concat());
    let both: serde_json::Value = serde_json::from_str(&both).unwrap();
    assert_eq!((code, both["rules"]["proxy-dmz-1"].as_str()), (0, Some(rules.as_str())));
    assert_eq!(both["nodes"][0]["hostname"], "proxy-dmz-1");
}

/// What is asked comes the way that answers to it take: by routes and further interfaces, as the kernel's reverse-path check has it.
#[test]
fn routes_and_further_interfaces_decide_where_somebody_arrives() {
    let worker = "mac = \"52:54:00:00:00:21\"\naddress = \"10.0.0.21\"";
    let with_other = "interfaces = [{ network = \"cluster\", mac = \"52:54:00:00:00:21\", address = \"10.0.0.21\" }, \
                      { network = \"other\", mac = \"52:54:00:00:09:21\", addresses = [\"10.9.0.21/24\"] }]";
    let admin = "sources = [\"10.0.0.0/28\"]";
    Site::but(&[(admin, "sources = [\"10.9.0.0/24\"]"), (worker, with_other)]).answers(&[(
        "tcp/22 from 10.9.0.5 to worker-1",
        "tcp/22 from 10.9.0.5 to worker-1 (10.0.0.21): denied in chain input: it arrives in a network of its own, where no flow lets anything in",
    )]);
    let leg = "address = \"10.0.0.7\" }";
    let with_route = "address = \"10.0.0.7\", routes = [{ to = \"172.16.0.0/24\", via = \"10.0.0.1\" }] }";
    Site::but(&[(admin, "sources = [\"172.16.0.0/24\"]"), (leg, with_route)]).answers(&[(
        "tcp/22 from admin to proxy-dmz-1",
        "tcp/22 from admin (as 172.16.0.1) to proxy-dmz-1 (10.0.0.7): allowed in chain input by flow ssh-from-admin (builtin): operators log in",
    )]);
    let dmz = "address = \"192.168.1.10\" }";
    let with_route =
        "address = \"192.168.1.10\", routes = [{ to = \"203.0.113.0/24\", via = \"192.168.1.1\" }] }";
    Site::but(&[("gateway = \"192.168.1.1\"\n", ""), (dmz, with_route)]).answers(&[(
        "tcp/443 from 203.0.113.9 to proxy-dmz-1",
        "tcp/443 from 203.0.113.9 to proxy-dmz-1 (192.168.1.10): allowed in chain input by flow web-from-outside (builtin): everybody may reach the web through the DMZ proxy",
    )]);
}

#[test]
fn a_node_reaches_itself_and_its_address_on_a_wire_is_forged() {
    Site::with("flannel-vxlan", "").answers(&[
        (
            "tcp/6443 from master-1 to master-1",
            "tcp/6443 from master-1 (as 10.0.0.11) to master-1 (10.0.0.11): allowed in chain input: the node reaches itself over loopback",
        ),
        (
            "tcp/6443 from 10.0.0.11 to master-1",
            "tcp/6443 from 10.0.0.11 to master-1 (10.0.0.11): denied in chain spoofing: 10.0.0.11 is an address of this node itself",
        ),
    ]);
    // The only administrator is a node.
    Site::but(&[("sources = [\"10.0.0.0/28\"]", "sources = [\"10.0.0.5/32\"]")]).answers(&[(
        "tcp/22 from admin to master-1",
        "tcp/22 from admin (as 10.0.0.5) to master-1 (10.0.0.11): allowed in chain input by flow ssh-from-admin (builtin): operators log in",
    )]);
}
