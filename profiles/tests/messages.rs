//! The exact text of what an operator reads, for each kind of problem, and of what must never be read.
#![allow(clippy::unwrap_used, reason = "a test may")]

use profiles::load;

const HA: &str = include_str!("../examples/ha.toml");

/// Errors of the example with one piece of text replaced.
#[track_caller]
fn errors_with(from: &str, to: &str) -> Vec<String> {
    assert!(HA.contains(from), "{from}");
    errors(&HA.replacen(from, to, 1), None)
}

fn errors(text: &str, secrets: Option<&str>) -> Vec<String> {
    let loaded = load("cluster.toml", text.as_bytes(), secrets.map(|text| ("secrets.toml", text.as_bytes())));
    loaded.diagnostics.iter().filter(|found| found.is_error()).map(ToString::to_string).collect()
}

#[test]
fn misspelt_key_comes_with_the_right_one() {
    assert_eq!(
        errors_with("api_vip =", "api_vpi ="),
        ["cluster.toml:12:1: error E_KEY_UNKNOWN at cluster.api_vpi: unknown key (did you mean `api_vip`?)",]
    );
    assert_eq!(
        errors_with("hostname =", "hostnam ="),
        [
            "cluster.toml:37:1: error E_KEY_MISSING at nodes[0].hostname: `hostname` is missing",
            "cluster.toml:38:1: error E_KEY_UNKNOWN at nodes[0].hostnam: unknown key (did you mean `hostname`?)",
        ]
    );
}

#[test]
fn key_in_the_wrong_table_is_sent_home() {
    assert_eq!(
        errors_with("gateway = \"10", "pod_cidr = \"10"),
        [
            "cluster.toml:20:1: error E_KEY_UNKNOWN at networks.cluster.pod_cidr: unknown key here, it belongs to `[cluster]`"
        ]
    );
}

#[test]
fn wrong_values_say_what_is_expected() {
    assert_eq!(
        errors_with("mac = \"52:54:00:00:00:11\"", "mac = \"52:54:00:00:00\""),
        [
            "cluster.toml:40:7: error E_VALUE_FORMAT at nodes[0].mac: `52:54:00:00:00` is not a MAC address (six bytes in hex, as in 52:54:00:12:34:56)"
        ]
    );
    assert_eq!(
        errors_with("role = \"worker\"", "role = \"Wroker\""),
        [
            "cluster.toml:57:8: error E_VALUE_UNKNOWN at nodes[3].role: `Wroker` is not one of `master`, `worker`, `proxy`, `server`, `controlplane`, `agent` (did you mean `worker`?)"
        ]
    );
    assert_eq!(
        errors_with("ntp = [\"10.0.0.1\"]", "ntp = \"10.0.0.1\""),
        ["cluster.toml:22:7: error E_TYPE_WRONG at networks.cluster.ntp: expected a list, found a string"]
    );
    assert_eq!(
        errors_with("ntp =", "mtu = 10\nntp ="),
        ["cluster.toml:22:7: error E_VALUE_RANGE at networks.cluster.mtu: `10` is not between 1280 and 9216"]
    );
}

#[test]
fn rules_between_nodes_name_both_sides() {
    assert_eq!(
        errors_with("address = \"10.0.0.12\"", "address = \"10.0.0.11\""),
        [
            "cluster.toml:47:11: error E_ADDRESS_DUPLICATE at nodes[1].address: `10.0.0.11` is already given at nodes[0].address"
        ]
    );
    assert_eq!(
        errors_with("\"10.0.0.7\"", "\"10.0.0.10\""),
        [
            "cluster.toml:12:11: error E_VIP_IS_NODE at cluster.api_vip: 10.0.0.10 is the address of the node `proxy-dmz-1`"
        ]
    );
    assert_eq!(
        errors_with("\"10.43.0.0/16\"", "\"10.0.0.0/16\""),
        [
            "cluster.toml:16:16: error E_RANGE_OVERLAP at cluster.service_cidr: the service range 10.0.0.0/16 overlaps the cluster network 10.0.0.0/22"
        ]
    );
}

#[test]
fn names_of_the_api_are_nobody_elses() {
    let text = include_str!("corpus/bad/api_name_is_a_node.toml");
    assert_eq!(
        errors(text, None),
        [
            "cluster.toml:6:14: error E_API_NAME_TAKEN at cluster.api_names[0]: `api.lab.internal` is the node `api`",
            "cluster.toml:6:34: error E_API_NAME_TAKEN at cluster.api_names[1]: `api` is the node `api`",
            "cluster.toml:6:41: error E_API_NAME_TAKEN at cluster.api_names[2]: `localhost` cannot be a name of the API",
        ]
    );
}

#[test]
fn even_masters_are_refused_unless_on_purpose() {
    let start = HA.find("[[nodes]]\nhostname = \"master-3\"").unwrap();
    let end = HA.find("[[nodes]]\nhostname = \"worker-1\"").unwrap();
    let even = format!("{}{}", &HA[..start], &HA[end..]);
    let text =
        "cluster.toml:45:8: error E_MASTERS_EVEN at nodes[1].role: 2 masters stand no more failures than 1";
    assert_eq!(errors(&even, None), [text]);
    let on_purpose = even.replace("[cluster]\n", "[cluster]\nallow_even_masters = true\n");
    assert_eq!(errors(&on_purpose, None), Vec::<String>::new());
}

#[test]
fn secrets_file_has_its_own_positions() {
    let own = format!("{HA}\n[secrets]\nserver_token = \"server-0123456789abcdef\"\n");
    let both = "version = 1\n\n[secrets]\nserver_token = \"server-fedcba9876543210\"\n";
    let twice = "secrets.toml:4:1: error E_SECRET_TWICE at secrets.server_token: `server_token` is in the cluster file already";
    assert_eq!(errors(&own, Some(both)), [twice]);
    let shared = "version = 1\n[secrets]\nagent_token = \"server-0123456789abcdef\"\n";
    let same = "secrets.toml:3:15: error E_SECRET_SHARED at secrets.agent_token: the same as `server_token`";
    assert_eq!(errors(&own, Some(shared)), [same]);
    let unknown = "version = 1\n[secrets]\nserver_tokne = \"x\"\n";
    let misspelt = "secrets.toml:3:1: error E_KEY_UNKNOWN at secrets.server_tokne: unknown key (did you mean `server_token`?)";
    assert_eq!(errors(HA, Some(unknown)), [misspelt]);
    assert_eq!(errors(HA, Some("version = 2\n")).len(), 1);
}

#[test]
fn no_secret_is_ever_repeated() {
    let canary = "CANARY canary";
    let texts = [
        format!("version = 1\n[secrets]\nserver_token = \"{canary}\"\n"),
        format!("version = 1\n[secrets]\nserver_token = \"{canary}\nagent_token = 1"),
        format!("version = 1\n[secrets]\nserver_token = [\"{canary}\"]\n"),
        format!("version = 1\nsecrets = \"{canary}\"\n"),
        format!("version = 1\n[admin]\nssh_authorized_keys = [\"{canary}\"]\n"),
    ];
    for text in texts {
        for (cluster, secrets) in [(text.as_str(), None), (HA, Some(text.as_str()))] {
            let found = errors(cluster, secrets);
            assert!(!found.is_empty(), "{text}");
            assert!(!found.concat().contains("CANARY"), "{found:?}");
        }
    }
}

#[test]
fn json_has_stable_fields() {
    let loaded = load("c.toml", b"version = 2", None);
    let json = serde_json::to_string(&loaded.diagnostics).unwrap();
    let expected = "[{\"file\":\"c.toml\",\"line\":1,\"column\":11,\"severity\":\"error\",\"code\":\"E_VERSION_UNSUPPORTED\",\"path\":\"version\",\
                    \"message\":\"version `2` is not known, this program knows version 1\",\"suggestion\":null}]";
    assert_eq!(json, expected);
}

#[test]
fn addresses_that_nobody_has_are_refused_where_they_stand() {
    let only = |text: &str| -> Vec<String> {
        errors(text, None).iter().map(|line| line.split(" at ").skip(1).collect()).collect()
    };
    let servers = only(include_str!("corpus/bad/servers_that_cannot_be_asked.toml"));
    let nodes = "cannot be a server of nodes: it is";
    let of = |path: &str, server: &str, why: &str| format!("{path}: {server} {nodes} {why}");
    let no_host = "the address of no host";
    let own = "this host itself, where nothing answers";
    assert_eq!(
        servers,
        [
            of("networks.cluster.dns[0]", "0.0.0.0", no_host),
            of("networks.cluster.dns[1]", "224.0.0.251", no_host),
            of("networks.cluster.dns[2]", "255.255.255.255", no_host),
            of("networks.cluster.dns[3]", "127.0.0.53", own),
            of(
                "networks.cluster.dns[4]",
                "10.42.0.10",
                "inside the pod range 10.42.0.0/16, which is not there before the cluster is"
            ),
            of(
                "networks.cluster.dns[5]",
                "10.43.0.10",
                "inside the service range 10.43.0.0/16, which is not there before the cluster is"
            ),
            of(
                "networks.cluster.dns[6]",
                "10.0.0.0",
                "the network's own or broadcast address of 10.0.0.0/22"
            ),
            of(
                "networks.cluster.dns[7]",
                "10.0.3.255",
                "the network's own or broadcast address of 10.0.0.0/22"
            ),
            of(
                "networks.cluster.dns[8]",
                "fe80::1",
                "known on one wire only, and the file does not say on which"
            ),
            of("networks.cluster.dns[9]", "::1", own),
            of("networks.cluster.dns[10]", "ff02::fb", no_host),
            of(
                "networks.cluster.ntp[1]",
                "10.43.0.123",
                "inside the service range 10.43.0.0/16, which is not there before the cluster is"
            ),
            of(
                "networks.dmz.dns[0]",
                "192.168.1.255",
                "the network's own or broadcast address of 192.168.1.0/24"
            ),
        ]
    );
    assert_eq!(
        only(include_str!("corpus/bad/if_route_nowhere.toml")),
        [
            "nodes[1].interfaces[0].routes[0].to: nothing is routed to 224.0.0.0/4",
            "nodes[1].interfaces[0].routes[1].to: nothing is routed to 127.0.0.0/8",
            "nodes[1].interfaces[0].routes[2].via: 10.0.0.0 is the network's own or broadcast address of 10.0.0.0/22",
            "nodes[1].interfaces[0].routes[3].via: 10.0.3.255 is the network's own or broadcast address of 10.0.0.0/22",
        ]
    );
    assert_eq!(
        only(include_str!("corpus/bad/address_ipv4_as_ipv6.toml")),
        [
            "networks.cluster.dns[0]: `::ffff:10.0.0.1` is not an IPv4 or native IPv6 address (as in 10.0.0.11 or fd00::11)",
            "networks.cluster.ntp[0]: `::ffff:10.0.0.1` is not a DNS name or an IPv4 or native IPv6 address",
            "admin.sources[0]: `::ffff:10.0.0.0/124` is not a range or an address with prefix length (as in 10.0.0.0/22 or fd00:10::/64, native IPv6)",
        ]
    );
    assert_eq!(
        only(include_str!("corpus/bad/clustermesh_node_port_of_ingress.toml")),
        ["features.clustermesh.node_port: NodePort 30443 is that of the ingress for HTTPS"]
    );
}

#[test]
fn a_time_zone_has_the_name_that_the_database_gives_it() {
    let line = |zone: &str| errors_with("name = \"ha\"", &format!("name = \"ha\"\ntimezone = \"{zone}\""));
    for zone in ["UTC", "Europe/Vienna", "Etc/GMT+1", "America/Argentina/Buenos_Aires", "US/Pacific"] {
        assert_eq!(line(zone), Vec::<String>::new(), "{zone}");
    }
    assert_eq!(
        line("Europe/Wien"),
        [
            "cluster.toml:11:12: error E_TIMEZONE_UNKNOWN at cluster.timezone: there is no time zone `Europe/Wien` (did you mean `Europe/Kiev`?)"
        ]
    );
    assert_eq!(
        line("europe/vienna"),
        [
            "cluster.toml:11:12: error E_TIMEZONE_UNKNOWN at cluster.timezone: there is no time zone `europe/vienna` (did you mean `Europe/Vienna`?)"
        ]
    );
    assert_eq!(line("CEST").len(), 1);
}

#[test]
fn a_key_given_twice_is_named_with_the_line_of_the_first() {
    let tail = "[networks.cluster]\ngateway = \"10.0.0.1\"\nmtu = 1500\n";
    let line = |text: &str| errors(&format!("version = 1\n[cluster]\nname = \"lab\"\n{text}"), None);
    for (text, expected) in [
        (
            "name = \"b\"\n",
            "4:1: error E_TOML_DUPLICATE at cluster.name: duplicate key, it stands in line 3 already",
        ),
        (
            "\"name\" = \"b\"\n",
            "4:1: error E_TOML_DUPLICATE at cluster.name: duplicate key, it stands in line 3 already",
        ),
        (
            &format!("{tail}[cluster]\n"),
            "7:2: error E_TOML_DUPLICATE at cluster: duplicate key, it stands in line 2 already",
        ),
        (
            "[[nodes]]\nhostname = \"a\"\n[[nodes]]\nhostname = \"b\"\nlabels = { x = \"1\" }\nhostname = \"c\"\n",
            "9:1: error E_TOML_DUPLICATE at nodes[1].hostname: duplicate key, it stands in line 7 already",
        ),
        (
            "[[nodes]]\n[nodes.labels]\n[[nodes]]\n[nodes.labels]\n[nodes.labels]\n",
            "8:8: error E_TOML_DUPLICATE at nodes[1].labels: duplicate key, it stands in line 7 already",
        ),
        (
            "[[nodes]]\nlabels = { x = \"1\", x = \"2\" }\n",
            "5:21: error E_TOML_DUPLICATE at nodes[0].labels.x: duplicate key, it stands in line 5 already",
        ),
        (
            "domain.a = 1\ndomain.a = 2\n",
            "5:8: error E_TOML_DUPLICATE at cluster.domain.a: duplicate key, it stands in line 4 already",
        ),
    ] {
        let duplicate = line(text).into_iter().find(|line| line.contains("E_TOML_DUPLICATE"));
        assert_eq!(duplicate, Some(format!("cluster.toml:{expected}")), "{text}");
    }
}
