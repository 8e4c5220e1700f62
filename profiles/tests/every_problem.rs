//! One mistake hides no other one: each of the rules speaks although something near it was refused.
#![allow(clippy::unwrap_used, reason = "a test may")]

use profiles::load;

const HA: &str = include_str!("../examples/ha.toml");

/// What the example itself gives: it has no tokens and one internal proxy.
const OF_THE_EXAMPLE: [&str; 3] = ["W_SERVER_TOKEN_MISSING", "W_AGENT_TOKEN_MISSING", "W_PROXY_NO_PEER"];

/// The example with more in it, so that there is something to break everywhere.
fn base() -> String {
    let more = "[features.metallb]\npools = [\"10.0.3.100-10.0.3.150\"]\n\n[profiles.worker]\nkernel_modules = [\"nbd\"]\n\n\
                [[firewall.flows]]\nfrom = \"admin\"\nto = \"worker\"\nport = \"tcp/30080\"\nwhy = \"the shop\"\n\n[[nodes]]\n";
    let disk = "\ndata_disks = [{ mount = \"/var/lib/rancher\" }]\n";
    let routes = "address = \"192.168.1.10\", routes = [{ to = \"10.9.0.0/16\", via = \"192.168.1.2\" }] }";
    HA.replacen("[[nodes]]\n", more, 1)
        .replacen("address = \"10.0.0.21\"\n", &format!("address = \"10.0.0.21\"{disk}"), 1)
        .replacen("address = \"192.168.1.10\" }", routes, 1)
}

/// The base with pieces of text replaced.
#[track_caller]
fn changed(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(base(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    })
}

/// What is found, with where but without line and column.
fn found(text: &str) -> Vec<String> {
    let loaded = load("c", text.as_bytes(), None);
    let found = loaded.diagnostics.iter().filter(|d| !OF_THE_EXAMPLE.contains(&d.code.as_str()));
    found.map(|d| format!("{} {}", d.code, d.path)).collect()
}

/// A piece of text and what it becomes.
type Change = (&'static str, &'static str);

/// A change and what is found of it alone.
type Mistake = (Change, &'static [&'static str]);

/// What could hide others, with what it could hide.
const HIDING: &[(Change, &[&str], &[Mistake])] = &[
    (
        ("dns = [\"10.0.0.1\"]", "dns = [\"10.0.0.1\", \"typo\"]"),
        &["E_VALUE_FORMAT networks.cluster.dns[1]"],
        &[
            (("\"10.0.0.21\"", "\"10.7.0.21\""), &["E_ADDRESS_OUTSIDE nodes[3].address"]),
            (
                ("gateway = \"10.0.0.1\"", "gateway = \"10.9.9.9\""),
                &["E_GATEWAY_INVALID networks.cluster.gateway"],
            ),
            (("gateway = \"10.0.0.1\"\n", ""), &["W_NO_GATEWAY networks.cluster.gateway"]),
        ],
    ),
    (
        ("10.0.3.200\"] #", "10.0.3.200\", \"typo\"] #"),
        &["E_VALUE_FORMAT networks.cluster.pools[1]"],
        &[
            (("\"10.0.0.10\"", "\"10.0.3.110\""), &["E_VIP_IN_POOL cluster.api_vip"]),
            (
                ("\"10.0.3.100-10.0.3.200", "\"10.0.3.100-10.0.7.200"),
                &["E_POOL_INVALID networks.cluster.pools[0]"],
            ),
            (("\"10.0.0.21\"", "\"10.0.3.120\""), &["E_ADDRESS_IN_POOL nodes[3].address"]),
        ],
    ),
    (
        ("role = \"worker\"\nmac = \"52:54:00:00:00:22\"", "role = \"workr\"\nmac = \"52:54:00:00:00:22\""),
        &["E_VALUE_UNKNOWN nodes[4].role"],
        &[
            (("00:22\"", "00:21\""), &["E_MAC_DUPLICATE nodes[4].mac"]),
            (("\"worker-2\"", "\"worker-1\""), &["E_HOSTNAME_DUPLICATE nodes[4].hostname"]),
            (("\"10.0.0.22\"", "\"10.0.0.21\""), &["E_ADDRESS_DUPLICATE nodes[4].address"]),
            (("\"10.0.0.22\"", "\"10.7.0.22\""), &["E_ADDRESS_OUTSIDE nodes[4].address"]),
            (
                ("\"10.0.0.22\"", "\"10.0.0.22\"\nserial = \"None\""),
                &["E_SERIAL_PLACEHOLDER nodes[4].serial"],
            ),
        ],
    ),
    (
        ("hostname = \"worker-2\"\n", ""),
        &["E_KEY_MISSING nodes[4].hostname"],
        &[
            (("00:22\"", "00:21\""), &["E_MAC_DUPLICATE nodes[4].mac"]),
            (("\"10.0.0.22\"", "\"10.0.0.21\""), &["E_ADDRESS_DUPLICATE nodes[4].address"]),
            (("role = \"proxy\"", "role = \"worker\""), &["E_PLACEMENT_FORBIDDEN nodes[6].placement"]),
        ],
    ),
    (
        ("name = \"ha\"", "name = \"HA\""),
        &["E_VALUE_FORMAT cluster.name"],
        &[
            (("\"10.0.0.10\"", "\"10.0.0.21\""), &["E_VIP_IS_NODE cluster.api_vip"]),
            (("\"10.0.0.10\"", "\"10.0.3.110\""), &["E_VIP_IN_POOL cluster.api_vip"]),
            (("\"10.42.0.0/16\"", "\"10.0.0.0/16\""), &["E_RANGE_OVERLAP cluster.pod_cidr"]),
            (("api_vip = \"10.0.0.10\"\n", ""), &["E_VIP_MISSING cluster.api_vip"]),
        ],
    ),
    (
        ("mount = \"/var/lib/rancher\"", "disk = {}"),
        &["E_KEY_MISSING nodes[3].data_disks[0].mount"],
        &[
            (("\"10.0.0.21\"", "\"10.0.0.13\""), &["E_ADDRESS_DUPLICATE nodes[3].address"]),
            (("00:21\"", "00:13\""), &["E_MAC_DUPLICATE nodes[3].mac"]),
        ],
    ),
    (
        ("{ to = \"10.9.0.0/16\", via", "{ via"),
        &["E_KEY_MISSING nodes[7].interfaces[1].routes[0].to"],
        &[
            (("\"192.168.1.10\"", "\"192.168.2.10\""), &["E_ADDRESS_OUTSIDE nodes[7].interfaces[1].address"]),
            (("01:10\"", "00:13\""), &["E_MAC_DUPLICATE nodes[7].interfaces[1].mac"]),
            (
                ("via = \"192.168.1.2\" }", "via = \"192.168.1.2\" }, { to = \"10.8.0.1/16\" }"),
                &["E_RANGE_HOST_BITS nodes[7].interfaces[1].routes[1].to"],
            ),
        ],
    ),
    (
        ("why = \"the shop\"\n", ""),
        &["E_KEY_MISSING firewall.flows[0].why"],
        &[(
            (
                "from = \"admin\"\nto = \"worker\"\nport = \"tcp/30080\"",
                "from = \"wan\"\nto = \"worker\"\nport = \"tcp/22\"",
            ),
            &["E_FLOW_RISK firewall.flows[0].port"],
        )],
    ),
    (
        ("10.0.3.150\"]", "10.0.3.150\", \"typo\"]"),
        &["E_VALUE_FORMAT features.metallb.pools[1]"],
        &[(("10.0.3.150\"", "10.0.3.250\""), &["E_FEATURE_POOL features.metallb.pools[0]"])],
    ),
    (
        ("\"]\nssh", "\", \"typo\"]\nssh"),
        &["E_VALUE_FORMAT admin.sources[1]"],
        &[
            (("10.0.0.0/28\"", "0.0.0.0/0\""), &["W_ADMIN_EVERYWHERE admin.sources[0]"]),
            (("\"10.0.0.0/28\"", "\"10.0.0.1/28\""), &["E_RANGE_HOST_BITS admin.sources[0]"]),
        ],
    ),
    (
        ("kernel_modules = [\"nbd\"]", "kernel_modules = [\"n b d\"]"),
        &["E_VALUE_FORMAT profiles.worker.kernel_modules[0]"],
        &[
            (
                ("[profiles.worker]\n", "[profiles.worker]\nsysctls = { \"vm.panic_on_oom\" = \"1\" }\n"),
                &["E_SYSCTL_PROTECTED profiles.worker.sysctls.\"vm.panic_on_oom\""],
            ),
            (
                ("[profiles.worker]\n", "[profiles.worker]\nlabels = { \"k8s.io/a\" = \"b\" }\n"),
                &["E_LABEL_FORBIDDEN profiles.worker.labels.\"k8s.io/a\""],
            ),
        ],
    ),
];

fn sorted(parts: &[&[&str]]) -> Vec<String> {
    let mut all: Vec<String> = parts.concat().into_iter().map(str::to_owned).collect();
    all.sort();
    all
}

fn found_sorted(changes: &[Change]) -> Vec<String> {
    let mut found = found(&changed(changes));
    found.sort();
    found
}

#[test]
fn a_refused_value_hides_nothing_and_adds_nothing() {
    assert_eq!(found(&base()), Vec::<String>::new());
    for (hiding, own, hidden) in HIDING {
        assert_eq!(found_sorted(&[*hiding]), sorted(&[own]), "{hiding:?}");
        for (change, of_it) in *hidden {
            assert_eq!(found_sorted(&[*change]), sorted(&[of_it]), "{change:?}");
            assert_eq!(found_sorted(&[*hiding, *change]), sorted(&[own, of_it]), "{hiding:?} {change:?}");
        }
    }
}

#[test]
fn two_mistakes_in_different_places_are_both_reported() {
    let all: Vec<_> = HIDING.iter().map(|(change, own, _)| (*change, *own)).collect();
    let mut pairs = 0;
    for (n, (first, of_first)) in all.iter().enumerate() {
        for (second, of_second) in all.iter().skip(n + 1) {
            if first.0 == second.0 || first.1.contains(second.0) || first.0.contains(second.0) {
                continue;
            }
            pairs += 1;
            assert_eq!(
                found_sorted(&[*first, *second]),
                sorted(&[of_first, of_second]),
                "{first:?} {second:?}"
            );
        }
    }
    assert!(pairs > 50, "{pairs}");
}

#[test]
fn places_behind_a_bad_item_are_those_of_the_file() {
    let twice = [(
        "pools = [\"10.0.3.100-10.0.3.200\"",
        "pools = [\"typo\", \"10.0.3.1-10.0.3.200\", \"10.0.3.250-10.0.3.240\"",
    )];
    let pools = ["E_VALUE_FORMAT networks.cluster.pools[0]", "E_POOL_INVALID networks.cluster.pools[2]"];
    assert_eq!(found(&changed(&twice)), pools);
    let disks =
        [("{ mount = \"/var/lib/rancher\" }", "1, { mount = \"/var/lib/a\" }, { mount = \"/var/lib/a\" }")];
    let loaded = load("c", changed(&disks).as_bytes(), None);
    let errors: Vec<_> =
        loaded.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "c:72:15: error E_TYPE_WRONG at nodes[3].data_disks[0]: expected a table, found an integer",
            "c:72:54: error E_DATA_MOUNT at nodes[3].data_disks[2].mount: `/var/lib/a` is already given at nodes[3].data_disks[1].mount",
        ]
    );
}

#[test]
fn everything_at_once_in_a_small_file() {
    let text = "version = 1\ncluster = { name = \"a\", api_vip = \"10.0.0.11\" }\n\
        networks.cluster = { gateway = \"10.9.9.9\", dns = [\"10.0.0.1\", \"typo\"] }\n\
        [[nodes]]\nhostname = \"m\"\nrole = \"master\"\nmac = \"52:54:00:00:00:11\"\naddress = \"10.7.0.11\"\n\
        [[nodes]]\nhostname = \"m\"\nrole = \"workr\"\nmac = \"52:54:00:00:00:11\"\naddress = \"10.7.0.11\"\n";
    let loaded = load("c", text.as_bytes(), None);
    let errors = loaded.diagnostics.iter().filter(|found| found.is_error());
    let errors: Vec<String> = errors.map(|d| format!("{} {}:{}", d.code, d.line, d.column)).collect();
    assert_eq!(
        errors,
        [
            "E_GATEWAY_INVALID 3:32",
            "E_VALUE_FORMAT 3:63",
            "E_ADDRESS_OUTSIDE 8:11",
            "E_HOSTNAME_DUPLICATE 10:12",
            "E_VALUE_UNKNOWN 11:8",
            "E_MAC_DUPLICATE 12:7",
            "E_ADDRESS_DUPLICATE 13:11",
            "E_ADDRESS_OUTSIDE 13:11",
        ]
    );
}
