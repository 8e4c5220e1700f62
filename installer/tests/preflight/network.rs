use crate::world::{Case, World, case, unknown};
use installer::inventory::Nic;
use installer::preflight::Outcome::{CouldNotRun, Fail, NotApplicable, Pass, Warn};
use installer::preflight::{KernelMessages, Route};
use installer::probe::{Answer, Carrier, DnsAnswer, LegFindings, MtuAnswer};
use std::collections::BTreeMap;
use std::net::IpAddr;

const NO_PORT: &str = "a port the node needs is not there";

fn nic(w: &mut World) -> &mut Nic {
    &mut w.inventory.nics[0]
}

fn other_mac(w: &mut World) {
    nic(w).mac = Some("52:54:00:00:00:99".parse().unwrap());
}

fn second_port(w: &mut World, mac: &str) {
    let mut other = w.inventory.nics[0].clone();
    other.name = "eno2".to_owned();
    other.mac = Some(mac.parse().unwrap());
    w.inventory.nics.push(other);
}

fn leg(w: &mut World) -> &mut LegFindings {
    &mut w.facts.legs.as_mut().unwrap()[0]
}

fn answer(answers: &mut BTreeMap<IpAddr, Answer>, address: &str, answer: Answer) {
    answers.insert(address.parse().unwrap(), answer);
}

fn by(mac: &str) -> Answer {
    Answer::By { macs: [mac.parse().unwrap()].into() }
}

fn not_looked() -> Answer {
    Answer::NotLooked { why: "no socket".to_owned() }
}

fn wants_mtu(w: &mut World, mtu: u16) {
    w.node.as_mut().unwrap().network.links_mut().for_each(|link| link.mtu_bytes = Some(mtu));
}

pub const CASES: &[Case] = &[
    case("network.ports", |_| {}, Pass, "eno1 52:54:00:00:00:12"),
    case(
        "network.ports",
        other_mac,
        Fail,
        "interface cluster0: this machine has no interface with the MAC 52:54:00:00:00:12",
    ),
    case(
        "network.ports",
        |w| w.forget_node(),
        CouldNotRun,
        "no cluster file says what this machine is to become",
    ),
    case("network.same-mac", |w| second_port(w, "52:54:00:00:00:77"), Pass, "each has its own"),
    case(
        "network.same-mac",
        |w| second_port(w, "52:54:00:00:00:12"),
        Fail,
        "eno1 and eno2 have the MAC 52:54:00:00:00:12, and the node needs one of them; give one another MAC or take it out",
    ),
    case(
        "network.same-mac",
        |w| {
            second_port(w, "52:54:00:00:00:77");
            let mut third = w.inventory.nics[1].clone();
            third.name = "eno3".to_owned();
            w.inventory.nics.push(third);
        },
        Warn,
        "eno2 and eno3 have the MAC 52:54:00:00:00:77",
    ),
    case("network.same-mac", other_mac, CouldNotRun, NO_PORT),
    case("network.carrier", |_| {}, Pass, "every leg has a signal"),
    case(
        "network.carrier",
        |w| {
            second_port(w, "52:54:00:00:00:77");
            nic(w).carrier = Some(false);
            leg(w).carrier = Carrier::Down;
        },
        Fail,
        "cluster0 (eno1) has no signal, and this node joins the cluster through it; plug the cable in, or switch the port of the switch on; a link is on eno2",
    ),
    case(
        "network.carrier",
        |w| {
            w.become_node("proxy-1");
            nic(w).carrier = Some(false);
            leg(w).carrier = Carrier::Down;
        },
        Warn,
        "cluster0 (eno1) has no signal: nothing was asked there; plug the cable in before the node is needed; no port has a link",
    ),
    case(
        "network.carrier",
        |w| leg(w).carrier = Carrier::NotLooked { why: "eno1 is switched off".to_owned() },
        CouldNotRun,
        "cluster0 could not be looked at: eno1 is switched off",
    ),
    case("network.carrier", |w| w.facts.legs = unknown(), CouldNotRun, "nobody could look"),
    case("network.address", |_| {}, Pass, "nobody answers for them"),
    case(
        "network.address",
        |w| answer(&mut leg(w).own, "10.0.0.12", by("02:00:00:00:00:77")),
        Fail,
        "10.0.0.12, which this node shall have at cluster0, is in use by 02:00:00:00:00:77; give this node another address in the cluster file, or take it from that machine",
    ),
    case(
        "network.address",
        |w| answer(&mut leg(w).own, "10.0.0.12", not_looked()),
        CouldNotRun,
        "whether somebody else has 10.0.0.12 could not be found out at cluster0: no socket",
    ),
    case("network.address", |w| leg(w).carrier = Carrier::Down, CouldNotRun, "cluster0 has no signal"),
    case("network.vip", |_| {}, Pass, "nobody, or a node of the cluster, has them"),
    case(
        "network.vip",
        |w| {
            answer(&mut leg(w).watched, "10.0.0.10", by("02:00:00:00:00:0b"));
            answer(&mut leg(w).watched, "10.0.0.11", by("02:00:00:00:00:0b"));
        },
        Pass,
        "10.0.0.10, the API VIP, is held by master-1",
    ),
    case(
        "network.vip",
        |w| answer(&mut leg(w).watched, "10.0.0.10", by("02:00:00:00:00:77")),
        Fail,
        "10.0.0.10, the API VIP, is in use by 02:00:00:00:00:77, which is no master of this cluster; choose another VIP in the cluster file, or take it from that machine",
    ),
    case(
        "network.vip",
        |w| answer(&mut leg(w).watched, "10.0.0.9", by("02:00:00:00:00:77")),
        Warn,
        "10.0.0.9, the VIP of the proxies, is in use by 02:00:00:00:00:77, which is no internal proxy of this cluster; choose another VIP in the cluster file, or take it from that machine",
    ),
    case(
        "network.vip",
        |w| answer(&mut leg(w).watched, "10.0.0.10", not_looked()),
        CouldNotRun,
        "cluster0: no socket",
    ),
    case("network.gateway", |_| {}, Pass, "every gateway answers"),
    case(
        "network.gateway",
        |w| answer(&mut leg(w).gateways, "10.0.0.1", Answer::Silent),
        Warn,
        "the gateway 10.0.0.1 of cluster0 does not answer: nothing outside of that network will be reached; check gateway, VLAN and cable",
    ),
    case(
        "network.gateway",
        |w| answer(&mut leg(w).gateways, "10.0.0.1", not_looked()),
        CouldNotRun,
        "the gateway 10.0.0.1 could not be asked: no socket",
    ),
    case("network.dns", |_| {}, Pass, "every DNS server answers"),
    case(
        "network.dns",
        |w| *leg(w).dns.values_mut().next().unwrap() = DnsAnswer::Silent,
        Warn,
        "the DNS server 10.0.0.1 of cluster0 does not answer: names will not be resolved; check its address",
    ),
    case(
        "network.dns",
        |w| *leg(w).dns.values_mut().next().unwrap() = DnsAnswer::NotLooked { why: "no socket".to_owned() },
        CouldNotRun,
        "the DNS server 10.0.0.1 could not be asked: no socket",
    ),
    case("network.path-mtu", |_| {}, Pass, "packets of the wanted size pass"),
    case(
        "network.path-mtu",
        |w| *leg(w).mtu.values_mut().next().unwrap() = MtuAnswer::Smaller { wanted: 9000, fits: 1500 },
        Warn,
        "packets of 9000 bytes do not reach the gateway 10.0.0.1 of cluster0, those of 1500 do; set mtu_bytes = 1500 for the leg, or let the switch pass larger ones",
    ),
    case(
        "network.path-mtu",
        |w| *leg(w).mtu.values_mut().next().unwrap() = MtuAnswer::NoEcho,
        CouldNotRun,
        "the gateway 10.0.0.1 of cluster0 answers no ping: which packets pass is not known",
    ),
    case("network.speed", |_| {}, Pass, "eno1 10000 Mbit/s"),
    case("network.speed", |w| nic(w).speed_mbit = Some(100), Warn, "eno1 100 Mbit/s"),
    case(
        "network.speed",
        |w| nic(w).speed_mbit = None,
        CouldNotRun,
        "no port the node needs tells its speed: it is down or has no link",
    ),
    case(
        "network.speed",
        |w| {
            nic(w).speed_mbit = None;
            w.inventory.virtualisation = Some("kvm".to_owned());
        },
        NotApplicable,
        "virtual ports tell no speed",
    ),
    case("network.duplex", |_| {}, Pass, "eno1 full"),
    case(
        "network.duplex",
        |w| {
            let ports = w.facts.ports.as_mut().unwrap();
            ports.get_mut("eno1").unwrap().duplex = Some("half".to_owned());
        },
        Warn,
        "eno1 half",
    ),
    case("network.duplex", |w| w.facts.ports = unknown(), CouldNotRun, "nobody could look"),
    case("network.mtu", |w| wants_mtu(w, 9000), Pass, "eno1 9000 of 9000"),
    case(
        "network.mtu",
        |w| wants_mtu(w, 9001),
        Fail,
        "eno1 takes an MTU of 9000 at most, the cluster file asks for 9001; lower it",
    ),
    case("network.mtu", |_| {}, NotApplicable, "the cluster file asks for no MTU"),
    case(
        "network.mtu",
        |w| {
            wants_mtu(w, 9000);
            w.facts.ports.as_mut().unwrap().clear();
        },
        CouldNotRun,
        "a port does not tell the largest MTU it takes",
    ),
    case("network.driver", |_| {}, Pass, "all have one"),
    case(
        "network.driver",
        |w| w.facts.driverless = Ok(vec!["0000:00:04.0 [14e4:1750]".to_owned()]),
        Warn,
        "0000:00:04.0 [14e4:1750]",
    ),
    case("network.driver", |w| w.facts.driverless = unknown(), CouldNotRun, "nobody could look"),
    case("network.firmware", |_| {}, Pass, "none missed"),
    case(
        "network.firmware",
        |w| {
            let missing_firmware = vec!["bnx2/x.fw".to_owned()];
            w.facts.messages = Ok(KernelMessages { missing_firmware, ..KernelMessages::default() });
        },
        Warn,
        "bnx2/x.fw",
    ),
    case("network.firmware", |w| w.facts.messages = unknown(), CouldNotRun, "nobody could look"),
    case("network.ranges", |_| {}, Pass, "1 routes, none into them"),
    case(
        "network.ranges",
        |w| {
            let route = |to: &str| Route { to: to.parse().unwrap(), interface: "eno1".to_owned() };
            w.facts.routes = Ok(vec![route("0.0.0.0/0"), route("10.42.7.0/24"), route("10.40.0.0/13")]);
        },
        Warn,
        "10.42.7.0/24 on eno1 leads into the range of the pods (10.42.0.0/16); 10.40.0.0/13 on eno1 leads into the range of the pods (10.42.0.0/16); 10.40.0.0/13 on eno1 leads into the range of the services (10.43.0.0/16)",
    ),
    case("network.ranges", |w| w.become_node("proxy-1"), NotApplicable, "no pods on this node"),
    case("network.ranges", |w| w.facts.routes = unknown(), CouldNotRun, "nobody could look"),
];
