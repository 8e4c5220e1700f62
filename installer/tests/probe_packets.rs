//! The probes with real packets: one network namespace is this machine, others are what it finds on its segment. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "helpers of tests")]

use installer::probe::{
    Answer, Carrier, DnsAnswer, LegFindings, LegQuestions, Machine, MtuAnswer, SocketWire, Us, Weight,
    Wire as _, ask_leg, judge, look, render_answer, runs_already,
};
use nix::sched::{CloneFlags, setns, unshare};
use profiles::node::{MacAddr, NodeConfig};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// Runs a program in the namespace of this thread.
fn run(words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A network namespace that lives as long as a process in it.
struct Host {
    process: Child,
}

impl Host {
    fn new() -> Self {
        let process =
            Command::new("unshare").args(["-n", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let host = Self { process };
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        while std::fs::read_link(host.namespace()).is_ok_and(|theirs| theirs == own) {
            thread::sleep(Duration::from_millis(5));
        }
        host.run("ip link set lo up");
        host
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    fn run(&self, words: &str) {
        run(&format!("nsenter -t {} -n {words}", self.pid()));
    }

    /// Announces an address from `port` ten times a second, as long as the cable is there, with a VLAN tag in the frame or without.
    fn announce(&self, address: &str, tag: Option<[u8; 4]>) {
        let (namespace, address) = (self.namespace(), ip(address));
        thread::spawn(move || {
            setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let mut wire = SocketWire::open("port").unwrap();
            let everybody = MacAddr([0xff; 6]);
            let mut frame = render_answer(wire.mac(), address, address, everybody).unwrap();
            if let Some(tag) = tag {
                frame.splice(12..12, tag);
            }
            loop {
                // The other end is switched off at first; without the cable this thread is forgotten.
                let _sent = wire.send(&frame);
                thread::sleep(Duration::from_millis(100));
            }
        });
    }

    /// Answers DNS questions to `address` with a code, from now on.
    fn serve_dns(&self, address: &str, rcode: u8) {
        let (namespace, address) = (self.namespace(), format!("{address}:53"));
        let (ready, wait) = std::sync::mpsc::channel();
        thread::spawn(move || {
            setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind(address).unwrap();
            ready.send(()).unwrap();
            let mut bytes = [0u8; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                bytes[2] |= 0x80;
                bytes[3] |= rcode;
                socket.send_to(&bytes[..length], from).unwrap();
            }
        });
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Runs a test in a network namespace of its own, as the machine with the card `eth0`.
fn as_machine(test: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(|| {
        assert_eq!(unshare(CloneFlags::CLONE_NEWNET), Ok(()), "needs root");
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A cable from our `eth0` to the `port` of another host. Our end stays off and without an address.
fn cable(mac: &str, other: &Host, port: &str, port_mac: &str) {
    let pid = other.pid();
    run(&format!("ip link add eth0 address {mac} type veth peer name {port} address {port_mac} netns {pid}"));
    other.run(&format!("ip link set {port} up"));
}

fn node(name: &str) -> NodeConfig {
    let text = include_str!("../../profiles/examples/ha.toml");
    profiles::load("cluster.toml", text.as_bytes(), None).cluster.unwrap().resolve(name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn look_at(node: &NodeConfig) -> (LegFindings, Vec<(Weight, &'static str)>) {
    let findings = look(node, &BTreeMap::new(), true);
    let said = judge(node, &findings).into_iter().map(|j| (j.weight, j.code)).collect();
    (findings.into_iter().next().unwrap(), said)
}

#[test]
fn a_free_address_with_gateway_and_dns_is_fine_and_leaves_no_address_behind() {
    as_machine(|| {
        let gateway = Host::new();
        cable("52:54:00:00:00:21", &gateway, "port", "02:00:00:00:00:fe");
        gateway.run("ip address add 10.0.0.1/22 dev port");
        gateway.serve_dns("10.0.0.1", 0);
        let (leg, said) = look_at(&node("worker-1"));
        assert_eq!(said, [], "{leg:?}");
        assert_eq!((leg.device.as_deref(), &leg.carrier), (Some("eth0"), &Carrier::Up));
        assert_eq!(leg.mtu[&ip("10.0.0.1")], MtuAnswer::Fits { bytes: 1500 });
        assert_eq!(leg.dns[&ip("10.0.0.1")], DnsAnswer::Answered { rcode: 0 });
        let shown = Command::new("ip").args(["-4", "-o", "address", "show", "eth0"]).output().unwrap();
        assert!(shown.stdout.is_empty(), "{}", String::from_utf8_lossy(&shown.stdout));
    });
}

#[test]
fn an_ipv4_address_in_use_names_the_mac() {
    as_machine(|| {
        let other = Host::new();
        cable("52:54:00:00:00:21", &other, "port", "02:00:00:00:00:09");
        other.run("ip address add 10.0.0.21/22 dev port");
        let (leg, said) = look_at(&node("worker-1"));
        assert!(said.contains(&(Weight::Refuse, "E_ADDRESS_IN_USE")), "{said:?}");
        let holder: MacAddr = "02:00:00:00:00:09".parse().unwrap();
        assert_eq!(leg.own[&ip("10.0.0.21")].macs().collect::<Vec<_>>(), [holder]);
        assert_eq!(leg.gateways[&ip("10.0.0.1")], Answer::Silent);
    });
}

#[test]
fn an_ipv6_address_in_use_names_the_mac_and_a_free_one_is_free() {
    as_machine(|| {
        let other = Host::new();
        cable("52:54:00:00:00:21", &other, "port", "02:00:00:00:00:09");
        other.run("ip address add fd00:10::21/64 dev port nodad");
        other.run("ip address add fd00:10::1/64 dev port nodad");
        run("ip link set eth0 up");
        let questions = |own: &str| LegQuestions {
            leg: "cluster0".to_owned(),
            is_cluster: true,
            own: vec![own.parse().unwrap()],
            gateways: vec![ip("fd00:10::1")],
            dns: vec![],
            mtu_bytes: 1500,
            watched: vec![],
        };
        let mut wire = SocketWire::open("eth0").unwrap();
        let us = Us { mac: wire.mac(), machine: Machine::read().unwrap().macs(), id: 7, fresh: false };
        let taken = ask_leg(&questions("fd00:10::21/64"), &mut wire, &us);
        let holder: MacAddr = "02:00:00:00:00:09".parse().unwrap();
        assert_eq!(taken.own[&ip("fd00:10::21")].macs().collect::<Vec<_>>(), [holder]);
        let why = "the address fd00:10::21 of this node is taken".to_owned();
        assert_eq!(taken.mtu[&ip("fd00:10::1")], MtuAnswer::NotLooked { why });
        let free = ask_leg(&questions("fd00:10::22/64"), &mut wire, &us);
        assert_eq!(free.own[&ip("fd00:10::22")], Answer::Silent);
        assert_eq!(free.mtu[&ip("fd00:10::1")], MtuAnswer::Fits { bytes: 1500 });
    });
}

#[test]
fn a_switch_that_passes_smaller_packets_only_is_found_out() {
    as_machine(|| {
        let (switch, gateway) = (Host::new(), Host::new());
        cable("52:54:00:00:00:21", &switch, "port1", "02:00:00:00:00:a1");
        let pid = gateway.pid();
        switch.run(&format!(
            "ip link add port2 mtu 1400 type veth peer name eth0 address 02:00:00:00:00:fe netns {pid}"
        ));
        switch.run("ip link add br0 type bridge");
        for port in ["port1", "port2"] {
            switch.run(&format!("ip link set {port} master br0 up"));
        }
        switch.run("ip link set br0 up");
        gateway.run("ip link set eth0 up");
        gateway.run("ip address add 10.0.0.1/22 dev eth0");
        let (leg, said) = look_at(&node("worker-1"));
        let answer = MtuAnswer::Smaller { wanted: 1500, fits: 1400 };
        assert_eq!(leg.mtu[&ip("10.0.0.1")], answer, "{said:?}");
        assert!(said.contains(&(Weight::Warn, "W_MTU_TOO_LARGE")), "{said:?}");
    });
}

#[test]
fn the_vip_of_our_own_master_is_told_from_a_strangers() {
    as_machine(|| {
        let other = Host::new();
        cable("52:54:00:00:00:12", &other, "port", "02:00:00:00:00:11");
        // Like kube-vip: the VIP on the card of master-1.
        for address in ["10.0.0.1/22", "10.0.0.11/22", "10.0.0.10/32"] {
            other.run(&format!("ip address add {address} dev port"));
        }
        let (_, said) = look_at(&node("master-2"));
        assert!(said.contains(&(Weight::Note, "N_VIP_HELD")), "{said:?}");
        assert!(said.iter().all(|(weight, _)| *weight < Weight::Refuse), "{said:?}");
        let mut first = node("master-3");
        first.interfaces[0].mac = Some("52:54:00:00:00:12".parse().unwrap());
        assert!(runs_already(&first, &look(&first, &BTreeMap::new(), true)));
        other.run("ip address delete 10.0.0.11/22 dev port");
        let (_, said) = look_at(&node("master-2"));
        assert!(said.contains(&(Weight::Refuse, "E_ADDRESS_IN_USE")), "{said:?}");
    });
}

#[test]
fn a_pulled_cable_is_seen() {
    as_machine(|| {
        let switch = Host::new();
        cable("52:54:00:00:00:21", &switch, "port", "02:00:00:00:00:a1");
        switch.run("ip link set port down");
        let (leg, said) = look_at(&node("worker-1"));
        assert_eq!((leg.carrier, said), (Carrier::Down, vec![(Weight::Refuse, "E_NO_CARRIER")]));
    });
}

/// A frame of a VLAN this machine has no interface for is not on its segment, though it comes out of the same cable.
#[test]
fn a_neighbour_in_a_foreign_vlan_is_not_heard() {
    as_machine(|| {
        for (tag, expected) in [(Some([0x81, 0, 0, 42]), 0), (None, 1)] {
            let other = Host::new();
            cable("52:54:00:00:00:21", &other, "port", "02:00:00:00:00:09");
            other.announce("10.0.0.21", tag);
            let (leg, _) = look_at(&node("worker-1"));
            assert_eq!(leg.own[&ip("10.0.0.21")].macs().count(), expected, "{tag:?}");
            run("ip link delete eth0");
        }
    });
}
