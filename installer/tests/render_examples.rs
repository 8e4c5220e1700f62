//! Every node of the shipped example clusters can be rendered, from the file an operator copies.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

mod render_support;

use installer::render::k3s_keys::{AGENT_KEYS, SERVER_ONLY_KEYS};
use installer::render::{RenderContext, RenderedNode, render_node};
use profiles::node::{NodeConfig, Role};
use render_support::{run, run_in_namespace, said, secrets, write_node};
use std::collections::BTreeMap;

/// Every node of an example, rendered with tokens as a running cluster has them.
fn nodes_of(example: &str) -> Vec<(NodeConfig, RenderedNode)> {
    let path = format!("{}/../profiles/examples/{example}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap();
    let loaded = profiles::load(example, &bytes, None);
    let cluster = loaded.cluster.unwrap_or_else(|| panic!("{example}: {:?}", loaded.diagnostics));
    let names: Vec<String> = cluster.node_names().map(str::to_owned).collect();
    let render = |name: &String| {
        let node = cluster.resolve(name).unwrap();
        let mac = "52:54:00:00:00:99".parse().unwrap();
        let chosen_macs = BTreeMap::from([("cluster0".to_owned(), mac)]);
        let context = RenderContext { chosen_macs, ..RenderContext::default() };
        let rendered = render_node(&node, &secrets(node.role.role()), &context).unwrap();
        (node, rendered)
    };
    names.iter().map(render).collect()
}

#[test]
fn every_node_of_the_examples_is_rendered_and_its_real_tools_agree() {
    let mut roles = BTreeMap::new();
    for (node, rendered) in ["ha.toml", "single.toml"].into_iter().flat_map(nodes_of) {
        let folder = tempfile::tempdir().unwrap();
        write_node(&rendered, folder.path());
        let at = |path: &str| folder.path().join(path).to_str().unwrap().to_owned();
        let nft = run_in_namespace(&["nft", "-f", &at("etc/metalstrap/firewall.nft")], "");
        assert!(nft.status.success(), "{}: {}", node.hostname, said(&nft));
        let chrony = run(&["chronyd", "-p", "-f", &at("etc/chrony/chrony.conf")], "");
        assert!(chrony.status.success(), "{}: {}", node.hostname, said(&chrony));
        let role = node.role.role();
        if role == Role::Proxy {
            let haproxy = run(&["haproxy", "-c", "-f", &at("etc/haproxy/haproxy.cfg")], "");
            assert!(haproxy.status.success(), "{}: {}", node.hostname, said(&haproxy));
        } else {
            let text = rendered.file("/etc/rancher/k3s/config.yaml").unwrap().contents.expose();
            let config: BTreeMap<String, serde_yaml_ng::Value> = serde_yaml_ng::from_str(text).unwrap();
            for key in config.keys().map(String::as_str) {
                let server = role == Role::Master && SERVER_ONLY_KEYS.contains(&key);
                assert!(AGENT_KEYS.contains(&key) || server, "{}: {key}", node.hostname);
            }
        }
        *roles.entry(role.to_string()).or_insert(0) += 1;
    }
    let expected = [("master", 4), ("proxy", 2), ("worker", 3)];
    assert_eq!(roles, expected.map(|(role, count)| (role.to_owned(), count)).into());
}
