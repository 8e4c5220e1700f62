use super::parse_early_network;
use profiles::network::{BondMode, LacpRate, LinkKind};

/// The network in words, one line a link.
fn words(line: &str) -> Vec<String> {
    parse_early_network(line).unwrap().unwrap().in_words()
}

/// Every error as it is shown.
fn errors(line: &str) -> Vec<String> {
    parse_early_network(line).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_command_line_without_network_arguments_says_nothing() {
    for line in [
        "",
        "quiet",
        "boot=metalstrap metalstrap.config=http://10.0.0.1/c.toml console=ttyS0,115200n8",
        "ipv6.disable=1",
    ] {
        assert_eq!(parse_early_network(line), Ok(None), "{line}");
    }
}

/// The live system does it anyway; PXE menus of ours have it on every start.
#[test]
fn dhcp_everywhere_changes_nothing() {
    for line in ["ip=dhcp", "ip=on", "ip=any", "ip=dhcp BOOTIF=01-52-54-00-00-00-01 console=ttyS0,115200"] {
        assert_eq!(parse_early_network(line), Ok(None), "{line}");
    }
}

/// What a PXE menu has, and what an operator added.
#[test]
fn an_argument_for_one_interface_outweighs_the_one_for_all() {
    let tagged = "ip=dhcp vlan=eth0.20:eth0 ip=10.0.0.5::10.0.0.1:22::eth0.20:none";
    assert_eq!(
        words(tagged),
        ["eth0: card now called eth0", "eth0.20: VLAN 20 on eth0, 10.0.0.5/22, gateway 10.0.0.1"]
    );
}

#[test]
fn every_documented_form_becomes_the_network_it_says() {
    let cases: &[(&str, &[&str])] = &[
        ("ip=auto6", &["zz-any: any card, IPv6 from the routers"]),
        ("ip=dhcp6", &["zz-any: any card, IPv6 from the routers"]),
        ("ip=eth0:dhcp", &["eth0: card now called eth0, DHCP"]),
        ("ip=eth0:dhcp:9000", &["eth0: card now called eth0, MTU 9000, DHCP"]),
        ("ip=eth0:dhcp ip=eth0:auto6", &["eth0: card now called eth0, DHCP, IPv6 from the routers"]),
        ("ip=::::node-7:eth0:dhcp", &["eth0: card now called eth0, DHCP"]),
        (
            "ip=10.0.0.5::10.0.0.1:255.255.252.0:node-7:eth0:none",
            &["eth0: card now called eth0, 10.0.0.5/22, gateway 10.0.0.1"],
        ),
        (
            "ip=10.0.0.5:10.0.0.2:10.0.0.1:22::eth0:off:1400",
            &["eth0: card now called eth0, MTU 1400, 10.0.0.5/22, gateway 10.0.0.1"],
        ),
        (
            "ip=10.0.0.5::10.0.0.1:22::eth0:none:10.0.0.53:[fd00::53]",
            &["eth0: card now called eth0, 10.0.0.5/22, gateway 10.0.0.1, DNS 10.0.0.53 fd00::53"],
        ),
        ("ip=10.0.0.5:::22::eth0", &["eth0: card now called eth0, 10.0.0.5/22"]),
        (
            "ip=[fd00:10::5]::[fe80::1]:64::eth0:none nameserver=fd00:10::53",
            &["eth0: card now called eth0, fd00:10::5/64, gateway fe80::1, DNS fd00:10::53"],
        ),
        (
            "ip=10.0.0.5::10.0.0.1:22::eth0:none ip=[fd00::5]::[fd00::1]:64::eth0:none",
            &["eth0: card now called eth0, 10.0.0.5/22, fd00::5/64, gateway 10.0.0.1, gateway fd00::1"],
        ),
        (
            "ip=10.0.0.5:10.0.0.2:10.0.0.1:255.255.252.0",
            &["only: the only card, 10.0.0.5/22, gateway 10.0.0.1"],
        ),
        ("ifname=lan0:52:54:00:12:34:56 ip=lan0:dhcp", &["lan0: card 52:54:00:12:34:56, DHCP"]),
        (
            "vlan=vlan0020:eth0 ip=vlan0020:dhcp",
            &["eth0: card now called eth0", "vlan0020: VLAN 20 on eth0, DHCP"],
        ),
        (
            "bridge=br0:eth0,eth1 ip=br0:dhcp",
            &[
                "eth0: card now called eth0",
                "eth1: card now called eth1",
                "br0: bridge of eth0 and eth1, DHCP",
            ],
        ),
        (
            "ip=10.0.0.5::10.0.0.1:22::eth0:none rd.route=10.9.0.0/16:10.0.0.254 rd.route=[fd01::/64]:[fd00::1]:eth0",
            &[
                "eth0: card now called eth0, 10.0.0.5/22, gateway 10.0.0.1, 10.9.0.0/16 via 10.0.0.254, fd01::/64 via fd00::1",
            ],
        ),
        (
            "ip=dhcp ip=10.0.0.5::10.0.0.1:22::eth0:none",
            &["eth0: card now called eth0, 10.0.0.5/22, gateway 10.0.0.1", "zz-any: any card, DHCP"],
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(words(line), *expected, "{line}");
    }
}

#[test]
fn a_tagged_lacp_port_in_any_order_of_the_arguments() {
    let expected = [
        "eth0: card now called eth0",
        "eth1: card now called eth1",
        "bond0: bond of eth0 and eth1 (802.3ad, LACP packets slow, by layer2+3), MTU 9000",
        "bond0.20: VLAN 20 on bond0, DHCP",
    ];
    let arguments = [
        "ip=bond0.20:dhcp",
        "vlan=bond0.20:bond0",
        "bond=bond0:eth0,eth1:mode=802.3ad,miimon=80,lacp_rate=slow,xmit_hash_policy=layer2+3:9000",
    ];
    assert_eq!(words(&arguments.join(" ")), expected);
    let reversed: Vec<&str> = arguments.into_iter().rev().collect();
    assert_eq!(words(&reversed.join(" ")), expected);
    let network = parse_early_network(&arguments.join(" ")).unwrap().unwrap();
    let LinkKind::Bond(bond) = &network.link("bond0").unwrap().kind else { panic!("{network:?}") };
    assert_eq!((bond.mode, bond.miimon_ms, bond.lacp_rate), (BondMode::Lacp, 80, LacpRate::Slow));
}

#[test]
fn what_has_no_address_of_its_own_is_given_one_at_the_top() {
    for line in [
        "bond=bond0:eth0,eth1:mode=1 vlan=bond0.20:bond0",
        "bond=bond0:eth0,eth1:mode=1 vlan=bond0.20:bond0 ip=any",
    ] {
        let words = words(line);
        assert_eq!(words[3], "bond0.20: VLAN 20 on bond0, DHCP, IPv6 from the routers", "{line}");
        assert_eq!(words.len(), 4);
    }
    assert_eq!(
        words("nameserver=10.0.0.53"),
        ["zz-any: any card, DHCP, IPv6 from the routers, DNS 10.0.0.53"]
    );
}

#[test]
fn every_wrong_argument_is_told_with_the_right_form() {
    let ip = "expected ip=dhcp, ip=INTERFACE:dhcp, or ip=ADDRESS::GATEWAY:NETMASK:HOST:INTERFACE:none[:DNS1[:DNS2]] with IPv6 addresses \
              in brackets";
    let cases = [
        ("ip=", format!("ip=: it has no value; {ip}")),
        ("ip=dchp", format!("ip=dchp: \"dchp\" is no way to get an address (dhcp, dhcp6, auto6, any); {ip}")),
        ("ip=none", format!("ip=none: \"none\" needs an address before it; {ip}")),
        ("ip=ibft", format!("ip=ibft: \"ibft\" is not supported; {ip}")),
        ("ip=eth0:static", format!("ip=eth0:static: \"static\" needs an address before it; {ip}")),
        ("ip=eth0:dhcp:70000", format!("ip=eth0:dhcp:70000: \"70000\" is no MTU (576 to 9216); {ip}")),
        (
            "ip=eth0:dhcp:1500:52:54:00:12:34:56",
            format!("ip=eth0:dhcp:1500:52:54:00:12:34:56: a card keeps its own MAC: nothing may follow the MTU; {ip}"),
        ),
        ("ip=10.0.0.5::10.0.0.1:::eth0:none", format!("ip=10.0.0.5::10.0.0.1:::eth0:none: the address 10.0.0.5 has no netmask; {ip}")),
        (
            "ip=10.0.0.5::10.0.0.1:255.0.255.0::eth0:none",
            format!("ip=10.0.0.5::10.0.0.1:255.0.255.0::eth0:none: \"255.0.255.0\" is no netmask of 10.0.0.5; {ip}"),
        ),
        (
            "ip=10.0.0.5::10.9.0.1:24::eth0:none",
            format!("ip=10.0.0.5::10.9.0.1:24::eth0:none: the gateway 10.9.0.1 is not in the network 10.0.0.0/24; {ip}"),
        ),
        ("ip=fd00::5::[fd00::1]:64::eth0:none", format!("ip=fd00::5::[fd00::1]:64::eth0:none: \"fd00\" is no address (one of IPv6 stands in brackets); {ip}")),
        ("ip=[fd00::5::eth0:none", format!("ip=[fd00::5::eth0:none: its brackets do not match; {ip}")),
        ("ip=a-name-longer-than-15:dhcp", format!("ip=a-name-longer-than-15:dhcp: \"a-name-longer-than-15\" is no name of an interface; {ip}")),
        (
            "ifname=lan0:01:54:00:12:34:56",
            "ifname=lan0:01:54:00:12:34:56: 01:54:00:12:34:56 is no MAC of a card; expected ifname=NAME:MAC, as in \
             ifname=lan0:52:54:00:12:34:56".to_owned(),
        ),
        (
            "vlan=storage:eth0",
            "vlan=storage:eth0: \"storage\" does not end in a VLAN tag (1 to 4094), as vlan20 and eth0.20 do; expected \
             vlan=NAME:INTERFACE with the tag at the end of the name, as in vlan=bond0.20:bond0".to_owned(),
        ),
        (
            "bond=bond0:eth0,eth1:mode=lacp",
            "bond=bond0:eth0,eth1:mode=lacp: mode has the value \"lacp\", which is not one of balance-rr, active-backup, balance-xor, \
             broadcast, 802.3ad, balance-tlb, balance-alb; expected bond=NAME:INTERFACE,INTERFACE[:OPTIONS[:MTU]], as in \
             bond=bond0:eth0,eth1:mode=802.3ad,miimon=100".to_owned(),
        ),
        (
            "bond=bond0:eth0,eth1:mode=1,fail_over_mac=1",
            "bond=bond0:eth0,eth1:mode=1,fail_over_mac=1: the option \"fail_over_mac\" is not understood (mode, miimon, lacp_rate, \
             xmit_hash_policy, min_links, primary); expected bond=NAME:INTERFACE,INTERFACE[:OPTIONS[:MTU]], as in \
             bond=bond0:eth0,eth1:mode=802.3ad,miimon=100".to_owned(),
        ),
        ("bridge=br0", "bridge=br0: it names no interfaces; expected bridge=NAME:INTERFACE,INTERFACE".to_owned()),
        ("nameserver=dns.example", "nameserver=dns.example: \"dns.example\" is no address; expected nameserver=ADDRESS".to_owned()),
        (
            "ip=eth0:dhcp ip=eth1:dhcp rd.route=10.9.0.0/16:10.0.0.254",
            "rd.route=10.9.0.0/16:10.0.0.254: no interface has the gateway 10.0.0.254 in its network: name one; expected \
             rd.route=NETWORK/BITS:GATEWAY[:INTERFACE]".to_owned(),
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(errors(line), [expected], "{line}");
    }
}

#[test]
fn all_errors_are_told_at_once_and_nothing_dangerous_is_shown() {
    let errors = errors("ip=dchp quiet vlan=eth0 bond=\u{1b}[2J:eth0");
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors.iter().all(|line| line.chars().all(|c| !c.is_control())), "{errors:?}");
}

#[test]
fn links_that_cannot_stand_are_refused() {
    for (line, part) in [
        ("vlan=a.5:b.6 vlan=b.6:a.5", "stands, in the end, on itself"),
        ("bond=bond0:eth0,eth1 bond=bond1:eth1,eth2", "is a member of `bond0` already"),
        ("ip=eth0:dhcp ip=eth0:dhcp", "eth0 has an address of this family already"),
        ("vlan=eth0.5:eth0 vlan=eth0.5:eth1", "there is another interface eth0.5"),
    ] {
        let errors = errors(line);
        assert!(errors[0].contains(part), "{line}: {errors:?}");
    }
}
