//! The rendered files against the programs that will read them. A missing program fails the test: it is installed by
//! `cargo xtask setup`. Each check is shown to refuse a broken copy first, so that it cannot pass by looking away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

mod render_support;

use installer::render::{DataMount, RenderContext, RenderedNode, render_node};
use profiles::firewall::KubeVipBgp;
use profiles::node::{NodeConfig, Role};
use render_support::{cases, context, ha, render, run, run_in_namespace, said, secrets, write_node};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use tempfile::TempDir;
use uuid::Uuid;

fn text(node: &NodeConfig, path: &str) -> String {
    render(node).file(path).unwrap_or_else(|| panic!("{path} is not rendered")).contents.expose().to_owned()
}

fn in_folder(name: &str, text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

const FIREWALL: &str = "/etc/metalstrap/firewall.nft";

#[test]
fn nft_loads_the_firewall_twice_and_leaves_other_tables_alone() {
    let script = r#"set -e
        nft add table ip foreign; nft add chain ip foreign KUBE-SERVICES
        nft -f "$0"; nft list table inet metalstrap >/run/one
        nft -f "$0"; nft list table inet metalstrap >/run/two
        cmp /run/one /run/two; nft list chain ip foreign KUBE-SERVICES; nft list tables"#;
    let script = format!("mount --make-rprivate /; mount -t tmpfs none /run; {script}");
    for (case, node) in cases() {
        let (_folder, path) = in_folder("firewall.nft", &text(&node, FIREWALL));
        let output = run_in_namespace(&["sh", "-c", &script, &path], "");
        assert!(output.status.success(), "{case}: {}", said(&output));
        assert!(
            said(&output).ends_with("table ip foreign\ntable inet metalstrap\n"),
            "{case}: {}",
            said(&output)
        );
    }
}

#[test]
fn nft_refuses_a_broken_firewall() {
    let broken = text(&ha("worker-1"), FIREWALL).replace("policy drop", "policy dropp");
    let (_folder, path) = in_folder("firewall.nft", &broken);
    assert!(!run_in_namespace(&["nft", "-c", "-f", &path], "").status.success());
}

#[test]
fn haproxy_takes_both_configurations_without_a_warning() {
    for hostname in ["proxy-1", "edge-1"] {
        let config = text(&ha(hostname), "/etc/haproxy/haproxy.cfg");
        let (_folder, path) = in_folder("haproxy.cfg", &config);
        let output = run(&["haproxy", "-c", "-f", &path], "");
        assert!(output.status.success(), "{hostname}: {}", said(&output));
        assert_eq!(said(&output), "Configuration file is valid\n", "{hostname}");
        let (_folder, path) =
            in_folder("haproxy.cfg", &config.replace("balance leastconn", "balance lestconn"));
        assert!(!run(&["haproxy", "-c", "-f", &path], "").status.success(), "{hostname}");
    }
}

/// Debian's keepalived 2.2.7 ends `-t` with 143 when a check script runs as another user than root, whatever the file
/// (keepalived #2587), so the copy that is checked says root.
#[test]
fn keepalived_takes_its_configuration() {
    let config = text(&ha("proxy-1"), "/etc/keepalived/keepalived.conf");
    let copy = config.replace("script_user nobody nogroup", "script_user root");
    assert_ne!(config, copy);
    let script = "ip link add cluster0 type veth peer name wire0 && ip link set cluster0 up && keepalived -t -f \"$0\"";
    let (_folder, path) = in_folder("keepalived.conf", &copy);
    let output = run_in_namespace(&["sh", "-c", script, &path], "");
    assert!(output.status.success(), "{}: {}", output.status, said(&output));
    let (_folder, path) = in_folder("keepalived.conf", &copy.replace("nopreempt", "nopreemt"));
    let output = run_in_namespace(&["sh", "-c", script, &path], "");
    assert!(said(&output).contains("Unknown keyword 'nopreemt'"), "{}", said(&output));
}

#[test]
fn chrony_takes_its_configuration() {
    for (case, node) in cases() {
        let config = text(&node, "/etc/chrony/chrony.conf");
        let (_folder, path) = in_folder("chrony.conf", &config);
        let output = run(&["chronyd", "-p", "-f", &path], "");
        assert!(output.status.success(), "{case}: {}", said(&output));
        let (_folder, path) = in_folder("chrony.conf", &config.replace("rtcsync", "rtcsyncc"));
        assert!(!run(&["chronyd", "-p", "-f", &path], "").status.success(), "{case}");
    }
}

/// A root that has what the units name, with Debian's own unit of the drop-in.
fn root_for_units(node: &NodeConfig) -> TempDir {
    root_for(&render(node))
}

fn root_for(node: &RenderedNode) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write_node(node, root.path());
    let programs = [
        "bin/sh",
        "bin/ip",
        "sbin/modprobe",
        "usr/bin/chronyc",
        "usr/bin/pkill",
        "usr/local/bin/k3s",
        "usr/sbin/nft",
    ];
    for program in programs {
        let path = root.path().join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/bin/true", path).unwrap();
    }
    let units = root.path().join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    for unit in ["chrony-wait.service", "chrony.service"] {
        fs::copy(format!("/usr/lib/systemd/system/{unit}"), units.join(unit)).unwrap();
    }
    root
}

fn verify(root: &Path, unit: &str) -> (bool, String) {
    let root = format!("--root={}", root.display());
    let output = run(&["systemd-analyze", &root, "verify", "--man=no", "--recursive-errors=no", unit], "");
    (output.status.success(), said(&output))
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    for (hostname, unit) in [
        ("master-1", "k3s.service"),
        ("master-2", "k3s.service"),
        ("worker-1", "k3s-agent.service"),
        ("edge-1", "chrony-wait.service"),
    ] {
        let root = root_for_units(&ha(hostname));
        assert_eq!(verify(root.path(), unit), (true, String::new()), "{hostname}");
    }
    let mut announces = ha("master-1");
    announces.cluster.firewall.features.kube_vip_bgp =
        Some(KubeVipBgp { local_as: 64512, router_as: 64513, routers: vec![Ipv4Addr::new(10, 0, 0, 1)] });
    let root = root_for_units(&announces);
    let path = root.path().join("etc/systemd/system/k3s.service");
    assert!(fs::read_to_string(&path).unwrap().contains("/usr/bin/pkill"));
    assert_eq!(verify(root.path(), "k3s.service"), (true, String::new()), "with BGP");
    fs::write(&path, fs::read_to_string(&path).unwrap().replace("Delegate", "Delegat")).unwrap();
    let (_, said) = verify(root.path(), "k3s.service");
    assert!(said.contains("Unknown key 'Delegat' in section [Service], ignoring."), "{said}");
}

/// A worker with two data disks, one below the other.
fn with_data_disks() -> RenderedNode {
    let mount = |mount: &str, id| DataMount { mount: mount.to_owned(), partition: Uuid::from_u128(id) };
    let data_mounts = vec![mount("/var/lib/rancher", 7), mount("/var/lib/rancher/k3s/my-storage", 8)];
    let context = RenderContext { data_mounts, ..context() };
    render_node(&ha("worker-1"), &secrets(Role::Worker), &context).unwrap()
}

#[test]
fn systemd_takes_the_units_of_data_disks_under_their_names() {
    let rendered = with_data_disks();
    let root = root_for(&rendered);
    for path in ["usr/sbin/e2fsck", "bin/mount"] {
        fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
        fs::copy("/bin/true", root.path().join(path)).unwrap();
    }
    for (mount, partition) in
        [("/var/lib/rancher", Uuid::from_u128(7)), ("/var/lib/rancher/k3s/my-storage", Uuid::from_u128(8))]
    {
        let escaped = |path: &str, suffix: &str| {
            let output = run(&["systemd-escape", "--path", "--suffix", suffix, path], "");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        let unit = escaped(mount, "mount");
        assert!(rendered.enable.contains(&unit), "{unit} in {:?}", rendered.enable);
        assert_eq!(verify(root.path(), &unit), (true, String::new()), "{unit}");
        let check = format!("metalstrap-fsck-{}.service", unit.trim_end_matches(".mount"));
        assert_eq!(verify(root.path(), &check), (true, String::new()), "{check}");
        let device = escaped(&format!("/dev/disk/by-partuuid/{partition}"), "device");
        let text = rendered.file(&format!("/etc/systemd/system/{check}")).unwrap().contents.expose();
        assert!(text.contains(&format!("\nRequires={device}\n")), "{text}");
    }
    let k3s = rendered.file("/etc/systemd/system/k3s-agent.service").unwrap().contents.expose();
    assert!(
        k3s.contains("\nRequiresMountsFor=/etc/rancher /var/lib/rancher /var/lib/rancher/k3s/my-storage\n"),
        "{k3s}"
    );
    assert_eq!(verify(root.path(), "k3s-agent.service"), (true, String::new()));
    // A unit under another name than that of its mount point is refused: the check above can fail.
    let folder = root.path().join("etc/systemd/system");
    fs::rename(folder.join("var-lib-rancher.mount"), folder.join("var-lib-ranch.mount")).unwrap();
    let (_, said) = verify(root.path(), "var-lib-ranch.mount");
    assert!(said.contains("Where= setting doesn't match unit name"), "{said}");
}

/// networkd itself, in a namespace with two wires that bear the pinned names (there is no udev to rename them). Read-only `/sys` tells it so. It runs until both addresses are there, or for ten seconds.
const NETWORKD: &str = r#"set -e
    mount --make-rprivate /; mount -t sysfs -o ro none /sys
    mount -t tmpfs none /run; mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
    chown -R systemd-network: /run/systemd/netif
    mount -t tmpfs none /etc/systemd/network; cp "$0"/etc/systemd/network/* /etc/systemd/network/
    mkdir -p /run/systemd/network /run/systemd/networkd.conf.d
    cp "$0"/etc/systemd/networkd.conf.d/* /run/systemd/networkd.conf.d/
    printf '[Match]\nName=*\n[Network]\nDHCP=yes\n' >/run/systemd/network/80-metalstrap-dhcp.network
    for leg in cluster0 dmz0; do
        ip link add $leg type veth peer name wire-$leg; ip link set wire-$leg up
    done
    ip link add cni0 type veth peer name veth0
    SYSTEMD_LOG_LEVEL=info SYSTEMD_LOG_TARGET=console /lib/systemd/systemd-networkd 2>/run/log & daemon=$!
    n=0; until ip -4 addr show dev cluster0 | grep -q inet && ip route | grep -q '^default' || [ $n -ge 100 ]; do sleep 0.1; n=$((n+1)); done
    kill $daemon; wait $daemon || :
    ip -4 -br addr show up scope global; ip route; ip -br link show cni0 up; cat /run/log"#;

#[test]
fn networkd_sets_addresses_and_routes_and_leaves_pods_and_dhcp_alone() {
    let folder = tempfile::tempdir().unwrap();
    write_node(&render(&ha("edge-1")), folder.path());
    let output = run_in_namespace(&["sh", "-c", NETWORKD, folder.path().to_str().unwrap()], "");
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let words: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    let has = |wanted: &[&str]| words.iter().any(|line| line.starts_with(wanted));
    assert!(has(&["cluster0@wire-cluster0", "UP", "10.0.0.7/22"]), "{said}");
    assert!(has(&["dmz0@wire-dmz0", "UP", "192.168.1.7/24"]), "{said}");
    assert!(has(&["default", "via", "192.168.1.1", "dev", "dmz0"]), "{said}");
    assert!(!said.contains("80-metalstrap-dhcp.network"), "{said}");
    for complaint in ["Unknown key", "Unknown section", "Failed to parse", "ignoring", "cni0: Configuring"] {
        assert!(!said.contains(complaint), "{complaint}: {said}");
    }
}
