//! Ports, routes, and controllers without driver.

use super::{Subject, run};
use crate::inventory::sanitise;
use crate::plan::{choose_macs, machine_nics};
use crate::preflight::facts::{Facts, PortFacts, Route};
use crate::preflight::model::{Fact, NotRun};
use crate::probe::{LegFindings, look};
use ipnet::Ipv4Net;
use serde::Deserialize;
use std::collections::BTreeMap;
use sysio::command::Cmd;
use sysio::sysfs::SysRoot;

/// Class of Ethernet and other network controllers on PCI, as the kernel writes it.
const PCI_NETWORK: &str = "0x02";
/// Subclass of everything that is none of the usual: management interfaces, not ports.
const PCI_NETWORK_OTHER: &str = "0x0280";
/// Folder of the devices on PCI.
const PCI_FOLDER: &str = "/sys/bus/pci/devices";

pub(super) fn collect(sys: &SysRoot, facts: &mut Facts) {
    facts.ports = read_ports(sys);
    facts.driverless = Ok(read_driverless(sys));
    facts.routes =
        run(&Cmd::new("ip").args(["-json", "-4", "route", "show", "table", "all"])).and_then(|output| {
            parse_routes(&output.text())
                .ok_or_else(|| NotRun::new("`ip route` gave no answer that can be read"))
        });
}

/// Asks the segment of each leg of the node.
pub(super) fn ask_segments(subject: &Subject<'_>) -> Fact<Vec<LegFindings>> {
    let node =
        subject.node.ok_or_else(|| NotRun::new("no cluster file says what this machine is to become"))?;
    let chosen = choose_macs(node, &machine_nics(subject.inventory))
        .map_err(|_| NotRun::new("a port the node needs is not there"))?;
    Ok(look(node, &chosen, subject.may_change))
}

fn read_ports(sys: &SysRoot) -> Fact<BTreeMap<String, PortFacts>> {
    let output = run(&Cmd::new("ip").args(["-json", "-details", "link", "show"]))?;
    let largest = parse_links(&output.text());
    let largest = largest.ok_or_else(|| NotRun::new("`ip link` gave no answer that can be read"))?;
    let port = |name: String| {
        // The kernel refuses to tell while the interface is down, and says `unknown` without a link.
        let duplex = sys.read(format!("/sys/class/net/{name}/duplex")).filter(|text| text != "unknown");
        let mtu_max = largest.get(&name).copied();
        (sanitise(&name), PortFacts { duplex: duplex.map(|text| sanitise(&text)), mtu_max })
    };
    Ok(sys.list("/sys/class/net").into_iter().map(port).collect())
}

fn read_driverless(sys: &SysRoot) -> Vec<String> {
    let is_network = |place: &String| {
        let class = sys.read(format!("{PCI_FOLDER}/{place}/class")).unwrap_or_default();
        class.starts_with(PCI_NETWORK) && !class.starts_with(PCI_NETWORK_OTHER)
    };
    let id = |place: &str, file: &str| {
        let text = sys.read(format!("{PCI_FOLDER}/{place}/{file}")).unwrap_or_default();
        text.trim_start_matches("0x").to_owned()
    };
    sys.list(PCI_FOLDER)
        .into_iter()
        .filter(is_network)
        .filter(|place| !sys.exists(format!("{PCI_FOLDER}/{place}/driver")))
        .map(|place| sanitise(&format!("{place} [{}:{}]", id(&place, "vendor"), id(&place, "device"))))
        .collect()
}

/// Reads `ip -json -details link`: the largest MTU of each interface that tells; `None` when it is no such JSON.
pub fn parse_links(text: &str) -> Option<BTreeMap<String, u32>> {
    #[derive(Deserialize)]
    struct Link {
        ifname: String,
        #[serde(default)]
        max_mtu: Option<u64>,
    }
    let links: Vec<Link> = serde_json::from_str(text).ok()?;
    // Zero and 2^32-1 mean: no limit is known.
    let limit = |max: u64| u32::try_from(max).ok().filter(|max| *max > 0);
    Some(links.into_iter().filter_map(|link| Some((link.ifname, limit(link.max_mtu?)?))).collect())
}

/// Reads `ip -json -4 route show table all`: unicast routes but those of the loopback; `None` when it is no such JSON.
pub fn parse_routes(text: &str) -> Option<Vec<Route>> {
    #[derive(Deserialize)]
    struct Line {
        dst: String,
        #[serde(default)]
        dev: Option<String>,
        #[serde(default, rename = "type")]
        kind: Option<String>,
    }
    let text = if text.trim().is_empty() { "[]" } else { text };
    let lines: Vec<Line> = serde_json::from_str(text).ok()?;
    let route = |line: Line| {
        if line.kind.as_deref().is_some_and(|kind| kind != "unicast") {
            return None;
        }
        let to = match line.dst.as_str() {
            "default" => Ipv4Net::default(),
            net if net.contains('/') => net.parse().ok()?,
            host => Ipv4Net::from(host.parse::<std::net::Ipv4Addr>().ok()?),
        };
        let interface = line.dev.filter(|dev| dev != "lo")?;
        Some(Route { to, interface: sanitise(&interface) })
    };
    Some(lines.into_iter().filter_map(route).collect())
}

#[cfg(test)]
mod tests {
    use super::{parse_links, parse_routes, read_driverless};
    use std::collections::BTreeMap;
    use std::fs;
    use sysio::sysfs::SysRoot;

    #[test]
    fn reads_routes_and_leaves_out_what_leads_nowhere() {
        let text = r#"[{"dst":"default","gateway":"10.0.2.2","dev":"ens3","protocol":"dhcp"},{"dst":"10.0.2.0/24","dev":"ens3","scope":"link"},
            {"dst":"10.0.2.2","dev":"ens3"},{"type":"local","dst":"10.0.2.15","dev":"ens3","table":"local"},
            {"type":"broadcast","dst":"10.0.2.255","dev":"ens3","table":"local"},{"dst":"127.0.0.0/8","dev":"lo"},
            {"type":"blackhole","dst":"10.9.0.0/16"},{"dst":"x","dev":"y"}]"#;
        let routes: Vec<String> =
            parse_routes(text).unwrap().iter().map(|r| format!("{} {}", r.to, r.interface)).collect();
        assert_eq!(routes, ["0.0.0.0/0 ens3", "10.0.2.0/24 ens3", "10.0.2.2/32 ens3"]);
        assert_eq!(parse_routes(" \n"), Some(vec![]));
        assert_eq!(parse_routes("{}"), None);
    }

    #[test]
    fn reads_the_largest_mtu() {
        let text = r#"[{"ifname":"lo","max_mtu":0},{"ifname":"ens3","mtu":1500,"max_mtu":9000},{"ifname":"wg0","max_mtu":4294967295},{"ifname":"x"}]"#;
        let expected = BTreeMap::from([("ens3".to_owned(), 9000), ("wg0".to_owned(), u32::MAX)]);
        assert_eq!(parse_links(text), Some(expected));
        assert_eq!(parse_links("null"), None);
    }

    #[test]
    fn finds_the_controller_without_driver() {
        let dir = tempfile::tempdir().unwrap();
        for (place, class, driver) in [
            ("0000:00:03.0", "0x020000", true),
            ("0000:00:04.0", "0x020000", false),
            ("0000:00:05.0", "0x028000", false),
            ("0000:00:06.0", "0x010802", false),
        ] {
            let folder = dir.path().join("sys/bus/pci/devices").join(place);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in [("class", class), ("vendor", "0x14e4"), ("device", "0x1750")] {
                fs::write(folder.join(name), text).unwrap();
            }
            if driver {
                fs::create_dir(folder.join("driver")).unwrap();
            }
        }
        assert_eq!(read_driverless(&SysRoot::new(dir.path())), ["0000:00:04.0 [14e4:1750]"]);
    }
}
