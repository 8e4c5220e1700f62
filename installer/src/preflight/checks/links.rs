//! What stands in the way of the network: hardware without driver or firmware, routes into the pods' range.

use crate::preflight::facts::Route;
use crate::preflight::model::{Check, Class, Finding, Input, Judged, known};
use ipnet::Ipv4Net;
use profiles::preflight::{NETWORK_DRIVER, NETWORK_FIRMWARE, NETWORK_RANGES};

/// `network.driver`
pub const DRIVER: Check = Check {
    id: NETWORK_DRIVER,
    class: Class::Network,
    title: "Every network controller has a driver",
    source: "`/sys/bus/pci/devices/*/{class,driver}`, classes 0200 to 0280",
    limits: "a controller without driver: warning, with its ids",
    why: "its ports do not exist for the system: the MAC in the cluster file is then not found",
    remedy: "look the ids up (`lspci -nn`); a driver from outside Debian is not in the image",
    codes: &[],
    during_install: false,
    judge: |input| {
        Ok(match known(&input.facts.driverless)?.as_slice() {
            [] => Finding::pass("all have one"),
            some => Finding::warn(some.join(", ")),
        })
    },
};

/// `network.firmware`
pub const FIRMWARE: Check = Check {
    id: NETWORK_FIRMWARE,
    class: Class::Network,
    title: "No driver misses its firmware",
    source: "kernel log: `failed to load firmware`, `Direct firmware load for … failed`",
    limits: "one file missing: warning, with its name",
    why: "the device is there and does nothing, or works without what makes it fast",
    remedy: "name the Debian package with the file in `images/packages/firmware.txt` and build the image again",
    codes: &[],
    during_install: false,
    judge: |input| {
        Ok(match known(&input.facts.messages)?.missing_firmware.as_slice() {
            [] => Finding::pass("none missed"),
            some => Finding::warn(some.join(", ")),
        })
    },
};

/// `network.ranges`
pub const RANGES: Check = Check {
    id: NETWORK_RANGES,
    class: Class::Network,
    title: "The ranges of pods and services lead nowhere else",
    source: "IPv4 routes of the live system, against `pod_cidr` and `service_cidr`",
    limits: "a route into one of them: warning",
    why: "the site uses addresses that pods will have: one of the two will not be reached from the nodes",
    remedy: "choose other ranges (`pod_cidr`, `service_cidr`) before the cluster is formed; afterwards they stay",
    codes: &[],
    during_install: false,
    judge: ranges,
};

fn ranges(input: &Input<'_>) -> Judged {
    let node = input.node()?;
    if node.kubernetes.is_none() {
        return Ok(Finding::not_applicable("no pods on this node"));
    }
    let routes = known(&input.facts.routes)?;
    let touches = |range: Ipv4Net, route: &Route| {
        route.to.prefix_len() > 0
            && (range.contains(&route.to.network()) || route.to.contains(&range.network()))
    };
    let mut found = Vec::new();
    for (name, range) in [("pods", node.cluster.pod_cidr), ("services", node.cluster.service_cidr)] {
        let into = routes.iter().filter(|route| touches(range, route));
        found.extend(into.map(|route| {
            format!("{} on {} leads into the range of the {name} ({range})", route.to, route.interface)
        }));
    }
    Ok(if found.is_empty() {
        Finding::pass(format!("{} routes, none into them", routes.len()))
    } else {
        Finding::warn(found.join("; "))
    })
}
