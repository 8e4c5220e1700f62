//! What the double refuses, with its exact text.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code)]
mod support;

use support::{Machine, PROGRAM};

const GOOD: &str = "cluster-init: true\nnode-name: m1\nnode-ip: 10.0.0.11\nflannel-iface: cluster0\n";

/// What is said about a configuration that stands in a 0600 file.
fn refused(machine: &Machine, role: &str, text: &str) -> Vec<String> {
    machine.write("/etc/rancher/k3s/config.yaml", 0o600, text);
    let output = machine.output(PROGRAM, &[role]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("K3S DOUBLE: not Kubernetes, for tests only\n"), "{said}");
    said.lines().filter_map(|l| l.strip_prefix("k3s-double: refused: ")).map(str::to_owned).collect()
}

#[test]
fn refuses_what_k3s_rejects_and_what_it_would_ignore() {
    let machine = Machine::alone("10.0.0.11/22");
    let hash = "a".repeat(64);
    let long = format!("token: K10{hash}::server:x\n");
    let node = format!("server: https://10.0.0.10:6443\ntoken: K10{hash}::node:x\n");
    machine.write("/etc/open", 0o644, "secret");
    for (more, wanted) in [
        ("tls-sans: [a]\n", "tls-sans: unknown key; k3s would skip it with a warning"),
        ("tls-san: {a: b}\n", "tls-san: wants a list of texts"),
        ("secrets-encryption: \"yes\"\n", "secrets-encryption: wants true or false"),
        ("etcd-snapshot-retention: many\n", "etcd-snapshot-retention: wants a whole number"),
        (
            "cluster-cidr: 10.0.0.0/8\nservice-cidr: 172.16.0.0/16\n",
            "cluster-cidr: 10.0.0.0/8 contains node-ip 10.0.0.11",
        ),
        ("service-cidr: 10.42.8.0/24\n", "service-cidr: 10.42.8.0/24 overlaps cluster-cidr 10.42.0.0/16"),
        (
            "service-cidr: 10.43.0.1/16\n",
            "service-cidr: 10.43.0.1/16 has host bits, the range is 10.43.0.0/16",
        ),
        ("cluster-dns: 10.53.0.10\n", "cluster-dns: 10.53.0.10 is not inside service-cidr 10.43.0.0/16"),
        ("node-ip+: 10.0.0.99\n", "node-ip: 10.0.0.99 is on no interface of this machine"),
        (
            "node-label: [node-role.kubernetes.io/worker=true]\n",
            "node-label: \"node-role.kubernetes.io/worker\" is in a kubernetes.io or k8s.io name space that a kubelet may not set on itself",
        ),
        ("node-label: [lonely]\n", "node-label: \"lonely\" is not key=value"),
        ("node-taint: [\"a=b\"]\n", "node-taint: \"a=b\" has no :Effect"),
        ("token: K10abc::server:x\n", "token: invalid token CA hash length"),
        (
            long.as_str(),
            "token: is of the K10 form, but no server-ca.crt is placed in server/tls: its hash cannot be known yet",
        ),
        (
            "agent-token: K10abc::node:x\n",
            "agent-token: is of the K10 form; a server takes it as the bare password, and no agent could join with it",
        ),
        ("token-file: /etc/none\n", "token-file: file /etc/none cannot be read"),
        ("token-file: /etc/open\n", "token-file: /etc/open has mode 0644, must be 0600"),
        (
            "token: a\nserver: https://10.0.0.10:6443\n",
            "cluster-init: stands together with server; a node forms a cluster or joins one",
        ),
        (
            "kubelet-arg: [--max-pods=1]\n",
            "kubelet-arg: \"--max-pods=1\" must be name=value without leading dashes",
        ),
        (
            "kube-apiserver-arg: [audit-policy-file=/etc/none]\n",
            "kube-apiserver-arg: file /etc/none does not exist",
        ),
        ("resolv-conf: /etc/none\n", "resolv-conf: file /etc/none does not exist"),
        (
            "flannel-backend: wireguard\n",
            "flannel-backend: \"wireguard\" is not vxlan, host-gw, wireguard-native or none",
        ),
        (
            "disable: [treafik]\n",
            "disable: \"treafik\" is not one of coredns, servicelb, traefik, local-storage, metrics-server, runtimes and no file in manifests/",
        ),
        ("docker: true\n", "docker: is known to k3s but not emulated by the double"),
    ] {
        assert_eq!(refused(&machine, "server", &format!("{GOOD}{more}")), [wanted], "{more}");
    }
    assert_eq!(
        refused(&machine, "server", &format!("node-name: m1\nnode-ip: 10.0.0.11\n{node}")),
        ["token: is an agent token (node:), a server needs the server token"]
    );
    assert_eq!(
        refused(&machine, "server", &GOOD.replace("cluster0", "eth7")),
        ["flannel-iface: interface eth7 does not exist"]
    );
}

#[test]
fn refuses_an_agent_without_server_or_token_and_with_keys_of_servers() {
    let machine = Machine::alone("10.0.0.21/22");
    let base = "node-name: w1\nnode-ip: 10.0.0.21\n";
    assert_eq!(
        refused(&machine, "agent", base),
        ["server: is required by k3s agent", "token: is required by k3s agent (or token-file)"]
    );
    assert_eq!(
        refused(
            &machine,
            "agent",
            &format!("{base}server: https://10.0.0.10:6443\ntoken: a\ntls-san: [b]\n")
        ),
        ["tls-san: is a key of k3s server, not of k3s agent; k3s would skip it with a warning"]
    );
    assert_eq!(
        refused(&machine, "agent", &format!("{base}server: http://10.0.0.10:6443\ntoken: a\n")),
        ["server: \"http://10.0.0.10:6443\" must begin with https://"]
    );
}

#[test]
fn refuses_an_inline_token_in_a_file_that_others_can_read() {
    let machine = Machine::alone("10.0.0.11/22");
    machine.write("/etc/rancher/k3s/config.yaml", 0o640, &format!("{GOOD}token: secret\n"));
    let output = machine.output(PROGRAM, &["server"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("config.yaml: holds a token and has mode 0640, must be 0600\n"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn make_artifacts_gives_the_same_bytes_and_pins_that_fit() {
    let machine = Machine::new();
    let folders = ["/a", "/b"].map(|f| machine.path(f));
    for folder in &folders {
        machine.run(PROGRAM, &["make-artifacts", folder.to_str().unwrap()]);
    }
    let names = ["k3s", "k3s-airgap-images-amd64.tar.zst", "kube-vip-v0.8.7.tar", "pins.toml"];
    for name in names {
        assert!(
            std::fs::read(folders[0].join(name)).unwrap() == std::fs::read(folders[1].join(name)).unwrap(),
            "{name}"
        );
    }
    let pins = std::fs::read_to_string(folders[0].join("pins.toml")).unwrap();
    let parsed = profiles::pins::Pins::parse("pins.toml", pins.as_bytes()).unwrap();
    assert!(parsed.is_double());
    parsed.ensure_filled().unwrap();
    for name in names.iter().filter(|n| **n != "pins.toml") {
        let path = folders[0].join(name);
        let sum = machine.run("sha256sum", &[path.to_str().unwrap()]);
        assert!(pins.contains(&format!("sha256 = \"{}\"", &sum[..64])), "{name}");
        assert!(pins.contains(&format!("length = {}\n", std::fs::metadata(path).unwrap().len())), "{name}");
    }
}

#[test]
fn takes_the_files_that_our_own_renderer_writes() {
    let goldens = concat!(env!("CARGO_MANIFEST_DIR"), "/../../installer/tests/goldens/render");
    for (name, role, address) in
        [("master-joining", "server", "10.0.0.12/22"), ("worker", "agent", "10.0.0.21/22")]
    {
        let machine = Machine::alone(address);
        let text = std::fs::read_to_string(format!("{goldens}/{name}/etc/rancher/k3s/config.yaml")).unwrap();
        // The kernel parameters are those of the machine the test runs on.
        let text = text.replace("protect-kernel-defaults: true", "protect-kernel-defaults: false");
        machine.write("/etc/resolv.conf", 0o644, "");
        for file in ["server-token", "agent-token"] {
            machine.write(&format!("/etc/rancher/k3s/{file}"), 0o600, "secret");
        }
        // The unknown key shows that the file was read to its end: it is the only thing refused.
        let said = refused(&machine, role, &format!("{text}canary: true\n"));
        assert_eq!(said, ["canary: unknown key; k3s would skip it with a warning"], "{name}");
    }
}
