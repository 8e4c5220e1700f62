//! What rendering promises beyond bytes: k3s knows every key, each role gets its own, and what cannot be written is refused
//! with its reason.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod render_support;

use installer::render::k3s_keys::{AGENT_KEYS, SERVER_ONLY_KEYS};
use installer::render::{Contents, RenderContext, render_node};
use profiles::firewall::MetalLb;
use profiles::node::{NodeConfig, NodeSecrets, Role};
use profiles::secret::Secret;
use render_support::{cases, context, ha, render, secrets, single};
use serde_yaml_ng::Value;

const CONFIG: &str = "/etc/rancher/k3s/config.yaml";

fn yaml(node: &NodeConfig, path: &str) -> Value {
    serde_yaml_ng::from_str(render(node).file(path).unwrap().contents.expose()).unwrap()
}

fn keys(config: &Value) -> Vec<&str> {
    config.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap()).collect()
}

fn refusal(node: &NodeConfig) -> String {
    render_node(node, &secrets(node.role.role()), &context()).unwrap_err().to_string()
}

#[test]
fn k3s_knows_every_key_and_an_agent_gets_no_key_of_servers() {
    let mut seen = 0;
    for (case, node) in cases() {
        let role = node.role.role();
        if role == Role::Proxy {
            assert!(render(&node).file(CONFIG).is_none(), "{case}");
            continue;
        }
        for key in keys(&yaml(&node, CONFIG)) {
            let known =
                AGENT_KEYS.contains(&key) || (role == Role::Master && SERVER_ONLY_KEYS.contains(&key));
            assert!(known, "{case}: {key}");
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn one_master_forms_the_cluster_and_all_others_join_it() {
    let of = |hostname: &str| {
        let config = yaml(&ha(hostname), CONFIG);
        let text = |key: &str| {
            config.get(key).map(|value| serde_yaml_ng::to_string(value).unwrap().trim().to_owned())
        };
        (text("cluster-init"), text("server"), text("token-file").unwrap())
    };
    let (server, agent) = ("/etc/rancher/k3s/server-token", "/etc/rancher/k3s/agent-token");
    let vip = Some("https://10.0.0.10:6443".to_owned());
    assert_eq!(of("master-1"), (Some("true".to_owned()), None, server.to_owned()));
    assert_eq!(of("master-2"), (None, vip.clone(), server.to_owned()));
    assert_eq!(of("worker-3"), (None, vip, agent.to_owned()));
}

#[test]
fn a_master_holds_the_bare_agent_password_and_a_worker_the_whole_token() {
    let token = "/etc/rancher/k3s/agent-token";
    let held = |role: Role, hostname: &str| {
        let rendered = render_node(&ha(hostname), &secrets(role), &context()).unwrap();
        rendered.file(token).unwrap().contents.expose().to_owned()
    };
    let worker = held(Role::Worker, "worker-1");
    let (_, password) = worker.split_once("::node:").unwrap();
    assert!(worker.starts_with("K10"), "{worker}");
    assert_eq!(held(Role::Master, "master-1"), password);
}

#[test]
fn the_forming_master_joins_when_its_cluster_exists_already() {
    let context = RenderContext { cluster_exists: true, ..context() };
    let mut node = ha("master-1");
    let config = |node: &NodeConfig| {
        let rendered = render_node(node, &secrets(Role::Master), &context).unwrap();
        serde_yaml_ng::from_str::<Value>(rendered.file(CONFIG).unwrap().contents.expose()).unwrap()
    };
    assert_eq!(config(&node)["server"], "https://10.0.0.10:6443");
    node.cluster.api_vip = None;
    assert_eq!(config(&node)["server"], "https://10.0.0.12:6443");
    assert!(config(&node).get("cluster-init").is_none());
    let error = render_node(&single(), &secrets(Role::Master), &context).unwrap_err();
    assert_eq!(error.to_string(), "rendering solo: there is no API address it could join");
}

#[test]
fn masters_agree_on_what_k3s_compares_between_them() {
    let keys = [
        "cluster-dns",
        "cluster-cidr",
        "service-cidr",
        "secrets-encryption",
        "flannel-backend",
        "disable",
        "tls-san",
    ];
    let (one, two) = (yaml(&ha("master-1"), CONFIG), yaml(&ha("master-2"), CONFIG));
    for key in keys {
        assert!(one.get(key).is_some(), "{key}");
        assert_eq!(one[key], two[key], "{key}");
    }
}

#[test]
fn the_certificate_has_every_address_and_name_by_which_a_master_is_known() {
    let sans: Vec<String> =
        serde_yaml_ng::from_value(yaml(&ha("master-3"), CONFIG)["tls-san"].clone()).unwrap();
    let expected = [
        "10.0.0.10",
        "10.0.0.9",
        "10.0.0.5",
        "10.0.0.6",
        "10.0.0.11",
        "10.0.0.12",
        "10.0.0.13",
        "master-1.alpha.lan",
        "master-2.alpha.lan",
        "master-3.alpha.lan",
        "api.alpha.lan",
        "203.0.113.7",
    ];
    assert_eq!(sans, expected);
}

#[test]
fn the_kubeconfig_mode_stays_a_string() {
    assert_eq!(yaml(&ha("master-1"), CONFIG)["write-kubeconfig-mode"], Value::String("0600".to_owned()));
}

#[test]
fn kube_vip_holds_the_vip_on_the_cluster_leg_of_masters_only() {
    let path = "/var/lib/rancher/k3s/agent/pod-manifests/kube-vip.yaml";
    let pod = yaml(&ha("master-3"), path);
    let environment = pod["spec"]["containers"][0]["env"].as_sequence().unwrap();
    let value =
        |name: &str| environment.iter().find(|e| e["name"] == name).map(|e| e["value"].clone()).unwrap();
    assert_eq!(value("address"), "10.0.0.10");
    assert_eq!(value("vip_interface"), "cluster0");
    assert_eq!(value("lb_enable"), "false");
    assert_eq!(pod["spec"]["volumes"][0]["hostPath"]["type"], "File");
    for node in [ha("worker-1"), ha("proxy-1"), ha("edge-1"), single()] {
        assert!(render(&node).file(path).is_none(), "{}", node.hostname);
    }
}

#[test]
fn traefik_listens_where_the_dmz_proxy_looks_for_it() {
    let path = "/var/lib/rancher/k3s/server/manifests/metalstrap-traefik.yaml";
    let values = |node: &NodeConfig| {
        let config = yaml(node, path);
        assert_eq!(config["apiVersion"], "helm.cattle.io/v1");
        assert_eq!(config["kind"], "HelmChartConfig");
        assert_eq!(
            (&config["metadata"]["name"], &config["metadata"]["namespace"]),
            (&"traefik".into(), &"kube-system".into())
        );
        config["spec"]["valuesContent"].as_str().unwrap().to_owned()
    };
    let ports = "ports:\n  web:\n    nodePort: 30080\n  websecure:\n    nodePort: 30443\n";
    let behind_proxy = format!("{ports}service:\n  type: NodePort\n");
    let haproxy =
        render(&ha("edge-1")).file("/etc/haproxy/haproxy.cfg").unwrap().contents.expose().to_owned();
    assert!(
        haproxy.contains("backend ingress_http\n") && haproxy.contains(" 10.0.0.21:30080\n"),
        "{haproxy}"
    );
    for master in ["master-1", "master-2", "master-3"] {
        assert_eq!(values(&ha(master)), behind_proxy, "{master}");
    }
    let mut swapped = ha("master-1");
    swapped.cluster.ingress_node_ports = vec![32443, 31080];
    assert!(
        values(&swapped)
            .starts_with("ports:\n  web:\n    nodePort: 32443\n  websecure:\n    nodePort: 31080\n")
    );
    let mut balanced = ha("master-1");
    balanced.kubernetes.as_mut().unwrap().disable.clear();
    assert_eq!(values(&balanced), ports, "the load balancer of k3s keeps its service");
    let mut metal = ha("master-1");
    metal.cluster.firewall.features.metallb =
        Some(MetalLb { pools: vec!["10.0.3.100-10.0.3.150".parse().unwrap()] });
    assert_eq!(values(&metal), ports, "MetalLB keeps it too");
    let mut disabled = ha("master-1");
    disabled.kubernetes.as_mut().unwrap().disable.push("traefik".to_owned());
    for node in [disabled, single(), ha("worker-1"), ha("proxy-1"), ha("edge-1")] {
        let rendered = render(&node);
        assert!(rendered.file(path).is_none(), "{}", node.hostname);
        assert!(
            rendered.directories.iter().all(|folder| !folder.path.contains("server")),
            "{}",
            node.hostname
        );
    }
}

#[test]
fn node_json_says_which_mac_was_chosen_and_renders_the_same_again() {
    let rendered = render(&single());
    let json = rendered.file("/etc/metalstrap/node.json").unwrap().contents.expose();
    let read: NodeConfig = serde_json::from_str(json).unwrap();
    assert_eq!(read.interfaces[0].mac.unwrap().to_string(), "52:54:00:00:00:99");
    assert_eq!(render_node(&read, &secrets(Role::Master), &RenderContext::default()).unwrap(), rendered);
}

#[test]
fn every_role_needs_its_tokens() {
    let without = |hostname: &str, secrets: NodeSecrets| {
        render_node(&ha(hostname), &secrets, &context()).map(|_| ()).unwrap_err().to_string()
    };
    let server_only = NodeSecrets { server_token: Some(Secret::new("s")), ..NodeSecrets::default() };
    assert_eq!(
        without("master-1", NodeSecrets::default()),
        "rendering master-1: a master of this cluster needs the server token"
    );
    assert_eq!(
        without("master-1", server_only.clone()),
        "rendering master-1: a master of this cluster needs the agent token"
    );
    assert_eq!(
        without("worker-1", NodeSecrets::default()),
        "rendering worker-1: a worker of this cluster needs the agent token"
    );
    // A machine that is the whole cluster needs one token, and then says nothing of another.
    let rendered = render_node(&single(), &server_only, &context()).unwrap();
    assert!(!rendered.file(CONFIG).unwrap().contents.expose().contains("agent-token"));
}

#[test]
fn a_token_that_k3s_would_read_differently_is_refused_without_showing_it() {
    for token in ["hunter2 x", "hunter2\n", "hunter2\0"] {
        let secrets = NodeSecrets { agent_token: Some(Secret::new(token)), ..NodeSecrets::default() };
        let error = render_node(&ha("worker-1"), &secrets, &context()).unwrap_err();
        assert!(error.to_string().starts_with("rendering agent token: it has "), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_node_that_is_installed_again_keeps_the_password_its_cluster_knows() {
    const FILE: &str = "/etc/rancher/node/password";
    for (name, role) in [("master-1", Role::Master), ("worker-1", Role::Worker)] {
        let first = render_node(&ha(name), &secrets(role), &context()).unwrap();
        assert!(first.file(FILE).is_none(), "what is there stays");
        let kept = NodeSecrets { node_password: Some(Secret::new("0123abcd")), ..secrets(role) };
        let again = render_node(&ha(name), &kept, &context()).unwrap();
        let file = again.file(FILE).unwrap();
        assert_eq!((file.contents.expose(), file.mode), ("0123abcd\n", 0o600));
        assert!(matches!(file.contents, Contents::Secret(_)));
    }
}

#[test]
fn an_interface_without_a_mac_needs_a_chosen_one() {
    let error = render_node(&single(), &secrets(Role::Master), &RenderContext::default()).unwrap_err();
    assert_eq!(error.to_string(), "rendering interface cluster0: no MAC address was chosen for it");
}

#[test]
fn a_sysctl_against_the_kubelet_is_refused() {
    let mut node = ha("worker-1");
    node.sysctls.insert("kernel.panic".to_owned(), "0".to_owned());
    assert_eq!(refusal(&node), "rendering sysctl kernel.panic: the kubelet needs 10, the node config says 0");
    let mut proxy = ha("proxy-1");
    proxy.sysctls.insert("kernel.panic".to_owned(), "0".to_owned());
    assert!(
        render(&proxy)
            .file("/etc/sysctl.d/90-metalstrap.conf")
            .unwrap()
            .contents
            .expose()
            .contains("kernel.panic = 0")
    );
}

#[test]
fn sysctls_are_one_assignment_a_line() {
    for (case, node) in cases() {
        let rendered = render(&node);
        let text = rendered.file("/etc/sysctl.d/90-metalstrap.conf").unwrap().contents.expose();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (key, value) = line.split_once(" = ").unwrap();
            assert!(key.contains('.') && !key.contains(' ') && !value.is_empty(), "{case}: {line}");
        }
    }
}

#[test]
fn what_would_change_the_meaning_of_a_file_is_refused() {
    type Edit = fn(&mut NodeConfig);
    let control = "it has a control character";
    let strange = "it has a character that does not belong there";
    let edits: [(Edit, &str, &str); 9] = [
        (|n| n.cluster.ntp_servers = vec!["a\nallow all".to_owned()], "ntp server", strange),
        (|n| n.cluster.ntp_servers = vec!["a iburst".to_owned()], "ntp server", strange),
        (|n| n.cluster.domain = "a b".to_owned(), "domain", strange),
        (|n| n.cluster.ssh_authorized_keys = vec!["k\nk2".to_owned()], "SSH public key", control),
        (|n| n.kernel_modules = vec!["a/b".to_owned()], "kernel module", strange),
        (|n| n.interfaces[0].name = "a\"b".to_owned(), "interface name", strange),
        (|n| n.network.links_mut().for_each(|link| link.name = "a\nb".to_owned()), "interface name", strange),
        (|n| n.peers[0].hostname = "a b".to_owned(), "host name", strange),
        (|n| n.kubernetes.as_mut().unwrap().taints = vec!["a\tb".to_owned()], "node taint", control),
    ];
    for (edit, field, reason) in edits {
        let mut node = ha("worker-1");
        edit(&mut node);
        assert_eq!(refusal(&node), format!("rendering {field}: {reason}"));
    }
}

#[test]
fn a_proxy_with_nothing_behind_it_is_refused() {
    let mut node = ha("edge-1");
    node.peers.retain(|peer| peer.role != Role::Worker);
    assert_eq!(refusal(&node), "rendering edge-1: the proxy has no worker to send traffic to");
    let mut node = ha("edge-1");
    node.interfaces.truncate(1);
    assert_eq!(refusal(&node), "rendering edge-1: a DMZ proxy needs an interface in the DMZ");
}
