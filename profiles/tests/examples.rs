//! The shipped examples and profiles are what they should be, and resolve to what the design says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

use profiles::node::{NodeConfig, ProxyPlacement, Role, RoleConfig};
use profiles::{Cluster, load};

const SINGLE: &str = include_str!("../examples/single.toml");
const HA: &str = include_str!("../examples/ha.toml");
const SECRETS: &str = "version = 1\n[secrets]\nserver_token = \"server-0123456789abcdef\"\nagent_token = \"agent-0123456789abcdef\"\n";

fn loaded(name: &str, text: &str, secrets: Option<&str>) -> (Cluster, Vec<String>) {
    let loaded = load(name, text.as_bytes(), secrets.map(|text| ("secrets.toml", text.as_bytes())));
    let lines = loaded.diagnostics.iter().map(ToString::to_string).collect();
    (loaded.cluster.expect("no errors"), lines)
}

fn node(cluster: &Cluster, name: &str) -> NodeConfig {
    cluster.resolve(name).unwrap()
}

#[test]
fn single_checks_clean() {
    let (cluster, lines) = loaded("single.toml", SINGLE, None);
    assert_eq!(lines, Vec::<String>::new());
    let master = node(&cluster, "master-1");
    assert_eq!(master.role, RoleConfig::Master { forms_cluster: true });
    assert_eq!(master.cluster.domain, "single.internal");
    assert_eq!(master.cluster.api_vip, None);
    let kubernetes = master.kubernetes.unwrap();
    assert_eq!(kubernetes.taints, Vec::<String>::new(), "nobody else could run a workload");
    assert!(kubernetes.secrets_encryption);
}

#[test]
fn ha_warns_of_what_is_left_to_the_operator() {
    let (_, lines) = loaded("ha.toml", HA, None);
    let expected = [
        "ha.toml:1:1: warning W_SERVER_TOKEN_MISSING at secrets.server_token: 3 masters need a `server_token` to be installed",
        "ha.toml:1:1: warning W_AGENT_TOKEN_MISSING at secrets.agent_token: 3 workers need an `agent_token` to be installed",
        "ha.toml:14:13: warning W_PROXY_NO_PEER at cluster.proxy_vip: one internal proxy alone holds it",
    ];
    assert_eq!(lines, expected);
    let (_, lines) = loaded("ha.toml", HA, Some(SECRETS));
    assert_eq!(lines, expected[2..]);
}

#[test]
fn ha_is_the_architecture_of_the_design() {
    let (cluster, _) = loaded("ha.toml", HA, Some(SECRETS));
    let of = |role| cluster.identities().iter().filter(|node| node.role == role).count();
    assert_eq!((of(Role::Master), of(Role::Worker), of(Role::Proxy)), (3, 3, 2));
    let facts = cluster.facts().unwrap();
    assert_eq!(facts.cluster_network.to_string(), "10.0.0.0/22");
    assert_eq!(facts.dmz_network.unwrap().to_string(), "192.168.1.0/24");
    assert_eq!(facts.api_vip.unwrap().to_string(), "10.0.0.10");
    assert_eq!(facts.proxy_vip.unwrap().to_string(), "10.0.0.9");
    assert_eq!(facts.cluster_dns.to_string(), "10.43.0.10");
    assert_eq!(facts.ingress_node_ports, [30080, 30443]);
    let text = format!("{HA}\n[profiles.proxy]\ningress_http_node_port = 32000\n");
    let (cluster, _) = loaded("ha.toml", &text, Some(SECRETS));
    assert_eq!(cluster.facts().unwrap().ingress_node_ports, [32000, 30443], "HTTP, then HTTPS");
    let forming: Vec<_> = cluster
        .node_names()
        .filter(|name| node(&cluster, name).role == RoleConfig::Master { forms_cluster: true })
        .collect();
    assert_eq!(forming, ["master-1"]);
    assert_eq!(
        node(&cluster, "master-2").kubernetes.unwrap().taints,
        ["node-role.kubernetes.io/control-plane=true:NoSchedule"]
    );
}

#[test]
fn proxies_get_their_legs_and_routes() {
    let (cluster, _) = loaded("ha.toml", HA, None);
    let dmz = node(&cluster, "proxy-dmz-1");
    let legs: Vec<_> = dmz
        .interfaces
        .iter()
        .map(|leg| {
            (leg.name.as_str(), leg.address.to_string(), leg.gateway.map(|gateway| gateway.to_string()))
        })
        .collect();
    let expected = [
        ("cluster0", "10.0.0.7/22".to_owned(), None),
        ("dmz0", "192.168.1.10/24".to_owned(), Some("192.168.1.1".to_owned())),
    ];
    assert_eq!(legs, expected, "the default route is where the outside is");
    assert_eq!(dmz.kubernetes, None);
    let RoleConfig::Proxy(config) = dmz.role else { panic!("a proxy") };
    assert_eq!((config.placement, config.vrrp), (ProxyPlacement::Dmz, None));
    let internal = node(&cluster, "proxy-1");
    assert_eq!(internal.interfaces[0].gateway.unwrap().to_string(), "10.0.0.1");
    let RoleConfig::Proxy(config) = internal.role else { panic!("a proxy") };
    let vrrp = config.vrrp.unwrap();
    assert_eq!((vrrp.priority, vrrp.peers), (200, vec![]));
    assert!(vrrp.router_id > 0);
}

#[test]
fn bonded_masters_stand_in_their_vlan() {
    let text = include_str!("../examples/bonded.toml");
    let (cluster, lines) = loaded("bonded.toml", text, Some(SECRETS));
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!(
        node(&cluster, "master-1").network.in_words(),
        [
            "nic0: card 52:54:00:00:00:11",
            "nic1: card 52:54:00:00:01:11",
            "bond0: bond of nic0 and nic1 (802.3ad, LACP packets fast, by layer3+4)",
            "bond0.20: VLAN 20 on bond0, 10.0.0.11/22, gateway 10.0.0.1, DNS 10.0.0.1",
        ]
    );
    assert_eq!(
        node(&cluster, "master-2").network.in_words(),
        [
            "nic0: card 52:54:00:00:00:12, MTU 9000",
            "nic1: card 52:54:00:00:01:12, MTU 9000",
            "bond0: bond of nic0 and nic1 (802.3ad, LACP packets fast, by layer3+4), MTU 9000",
            "bond0.20: VLAN 20 on bond0, MTU 1500, 10.0.0.12/22, gateway 10.0.0.1, DNS 10.0.0.1",
            "bond0.30: VLAN 30 on bond0, MTU 9000, 10.9.0.12/24",
        ]
    );
    let third = node(&cluster, "master-3");
    assert_eq!(third.cluster_interface().unwrap().name, "bond0.20");
    assert_eq!(third.identity.macs.len(), 2);
}

#[test]
fn secrets_are_cut_down_by_role() {
    let (cluster, _) = loaded("ha.toml", HA, Some(SECRETS));
    let has = |name: &str| {
        let secrets = cluster.secrets_for(name).unwrap();
        (secrets.server_token.is_some(), secrets.agent_token.is_some())
    };
    assert_eq!(has("master-1"), (true, true));
    assert_eq!(has("worker-1"), (false, true));
    assert_eq!(has("proxy-1"), (false, false));
    assert_eq!(has("proxy-dmz-1"), (false, false));
    let shown = format!("{cluster:?}{}", serde_json::to_string(&node(&cluster, "master-1")).unwrap());
    assert!(shown.contains("master-1") && !shown.contains("0123456789abcdef"), "a token shows");
}

#[test]
fn unknown_node_is_refused_with_the_known_ones() {
    let (cluster, _) = loaded("single.toml", SINGLE, None);
    let text = "the cluster has no node `m` (it has master-1)";
    assert_eq!(cluster.resolve("m").unwrap_err().to_string(), text);
    assert_eq!(cluster.secrets_for("m").unwrap_err().to_string(), text);
}

#[test]
fn node_config_survives_its_json() {
    let (cluster, _) = loaded("ha.toml", HA, None);
    for name in cluster.node_names() {
        let config = node(&cluster, name);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<NodeConfig>(&json).unwrap(), config);
    }
}

#[test]
fn profile_changes_follow_their_rules() {
    let text = SINGLE.to_owned()
        + "labels = { rack = \"r1\" }\nmemory_min_mib = 4096\n\n[profiles.master]\nmemory_min_mib = 3000\ndisk_min_mib = 9000\n\
           kernel_modules = [\"dummy\"]\nkubelet_args = [\"max-pods=50\", \"streaming-connection-idle-timeout=1m\"]\n\
           disable = [\"traefik\"]\ntaints = [\"a=b:NoExecute\"]\nlabels = { rack = \"r0\", row = \"7\" }\n\
           sysctls = { \"vm.swappiness\" = \"1\" }\netcd_snapshot_retention = 3\nsecrets_encryption = false\n";
    let (cluster, _) = loaded("c.toml", &text, None);
    let master = node(&cluster, "master-1");
    assert_eq!((master.requirements.memory_min_mib, master.requirements.disk_min_mib), (4096, 9000));
    assert!(["dummy", "overlay"].iter().all(|module| master.kernel_modules.contains(&(*module).to_owned())));
    assert!(master.kernel_modules.is_sorted());
    assert_eq!(
        (master.sysctls["vm.swappiness"].as_str(), master.sysctls["kernel.panic"].as_str()),
        ("1", "10")
    );
    let kubernetes = master.kubernetes.unwrap();
    assert_eq!(kubernetes.kubelet_args, ["max-pods=50", "streaming-connection-idle-timeout=1m"]);
    assert_eq!(kubernetes.disable, ["traefik"]);
    assert_eq!(kubernetes.taints, ["a=b:NoExecute"]);
    let labels: Vec<_> = kubernetes.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["rack=r1", "row=7"]);
    assert_eq!((kubernetes.etcd_snapshot_retention, kubernetes.secrets_encryption), (3, false));
}
