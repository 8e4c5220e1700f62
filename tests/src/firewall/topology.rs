//! The machines around one node, each a namespace: two bridged segments, a router to the outside, pods behind the node.
//!
//! ```text
//! outside --- router --+-- cluster (10.0.0.0/22, fd00:10::/64) --- peers, admin, strangers
//!                      +-- dmz (192.168.1.0/24, fd00:168::/64) --- dmz host, proxies
//! node: cluster0, dmz0; behind it cni0 (10.42.0.0/24) and flannel.1 (10.42.1.0/24)
//! ```

use super::nodes::Kind;
use super::space::Space;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// The node under test itself.
    Own,
    /// Another master.
    Master,
    /// Another worker.
    Worker,
    /// The other internal proxy.
    InternalProxy,
    /// The other DMZ proxy, from its leg in the cluster network.
    EdgeInside,
    /// The other DMZ proxy, from its leg in the DMZ.
    EdgeDmz,
    /// A machine on the cluster network that is no node.
    Stranger,
    /// An operator's machine.
    Admin,
    /// A machine in the DMZ.
    DmzHost,
    /// A machine behind the router.
    Outside,
    /// A pod on the node.
    Pod,
    /// A pod on another node, through the overlay.
    RemotePod,
    /// A machine on the cluster network that says it is a pod.
    FalsePod,
    /// A machine at an interface of the node that the cluster file does not know.
    Unplanned,
}

impl Host {
    /// Everybody but the node itself.
    pub const OTHERS: [Self; 13] = [
        Self::Master,
        Self::Worker,
        Self::InternalProxy,
        Self::EdgeInside,
        Self::EdgeDmz,
        Self::Stranger,
        Self::Admin,
        Self::DmzHost,
        Self::Outside,
        Self::Pod,
        Self::RemotePod,
        Self::FalsePod,
        Self::Unplanned,
    ];

    /// Whether it is part of the world of a node: a proxy has no pods, and one whose way out is the DMZ has no way back
    /// to a false pod on its other leg.
    pub fn exists_around(self, kind: Kind) -> bool {
        match self {
            Self::Pod | Self::RemotePod => kind.runs_pods(),
            Self::FalsePod => kind != Kind::DmzProxy,
            _ => true,
        }
    }

    /// The segment it is attached to.
    pub fn segment(self) -> Segment {
        match self {
            Self::Own => Segment::Node,
            Self::EdgeDmz | Self::DmzHost => Segment::Dmz,
            Self::Outside => Segment::Outside,
            Self::Pod => Segment::Pods,
            Self::RemotePod => Segment::Overlay,
            Self::Unplanned => Segment::Extra,
            _ => Segment::Cluster,
        }
    }

    /// Its addresses; the node's own depend on what it is.
    pub fn addresses(self, kind: Kind) -> (Ipv4Addr, Ipv6Addr) {
        let cluster = |a: u8, b: u8, v6: u16| {
            (Ipv4Addr::new(10, 0, a, b), Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, v6))
        };
        let dmz = |b: u8| {
            (Ipv4Addr::new(192, 168, 1, b), Ipv6Addr::new(0xfd00, 0x168, 0, 0, 0, 0, 0, u16::from(b)))
        };
        let pod =
            |a: u8| (Ipv4Addr::new(10, 42, a, 5), Ipv6Addr::new(0xfd00, 0x42, u16::from(a), 0, 0, 0, 0, 5));
        match self {
            Self::Own => cluster(0, kind.number(), u16::from(kind.number())),
            Self::Master => cluster(0, 12, 12),
            Self::Worker => cluster(0, 22, 22),
            Self::InternalProxy => cluster(0, 6, 6),
            Self::EdgeInside => cluster(0, 8, 8),
            Self::EdgeDmz => dmz(8),
            Self::Stranger => cluster(0, 77, 77),
            Self::Admin => cluster(2, 20, 0x220),
            Self::DmzHost => dmz(50),
            Self::Outside => (Ipv4Addr::new(203, 0, 113, 9), Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 9)),
            Self::Pod => pod(0),
            Self::RemotePod => pod(1),
            Self::FalsePod => pod(2),
            Self::Unplanned => (Ipv4Addr::new(10, 99, 0, 9), Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 9)),
        }
    }
}

/// Where a machine is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// It is the node.
    Node,
    /// Cluster network.
    Cluster,
    /// DMZ.
    Dmz,
    /// Behind the router.
    Outside,
    /// Bridge of the pods on the node.
    Pods,
    /// Tunnel device of the node.
    Overlay,
    /// An interface nobody configured.
    Extra,
}

/// An address of the node, or something behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Its address on the cluster network.
    Cluster,
    /// Its address in the DMZ.
    Dmz,
    /// A shared address that it holds at the moment.
    Vip,
    /// Its address towards its pods.
    PodGateway,
    /// The address of a service of pods.
    Service,
    /// The address of a service that the node itself answers, by a pod in its network.
    HostService,
    /// Another machine; packets go through the node.
    Beyond(Host),
}

impl Place {
    /// Addresses of the node itself.
    pub const OWN: [Self; 4] = [Self::Cluster, Self::Dmz, Self::Vip, Self::PodGateway];

    /// The address in one family.
    pub fn address(self, kind: Kind, v6: bool) -> IpAddr {
        let number = kind.number();
        let pair = match self {
            Self::Cluster => Host::Own.addresses(kind),
            Self::Dmz => (
                Ipv4Addr::new(192, 168, 1, number),
                Ipv6Addr::new(0xfd00, 0x168, 0, 0, 0, 0, 0, u16::from(number)),
            ),
            Self::Vip => {
                let last = if kind == Kind::InternalProxy { 9 } else { 10 };
                (Ipv4Addr::new(10, 0, 0, last), Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 1, u16::from(last)))
            }
            Self::PodGateway => (Ipv4Addr::new(10, 42, 0, 1), Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 1)),
            Self::Service => (Ipv4Addr::new(10, 43, 0, 50), Ipv6Addr::new(0xfd00, 0x43, 0, 0, 0, 0, 0, 0x50)),
            Self::HostService => {
                (Ipv4Addr::new(10, 43, 0, 60), Ipv6Addr::new(0xfd00, 0x43, 0, 0, 0, 0, 0, 0x60))
            }
            Self::Beyond(host) => host.addresses(kind),
        };
        if v6 { pair.1.into() } else { pair.0.into() }
    }
}

/// The network around one node.
pub struct World {
    /// What the node is.
    pub kind: Kind,
    /// Everybody, the node included.
    pub spaces: BTreeMap<Host, Space>,
    _switch: Space,
    _router: Space,
}

impl World {
    /// Builds it; nothing listens yet, and no rules are loaded.
    ///
    /// # Errors
    /// Not root, or `ip` is missing or refuses a line.
    pub fn build(kind: Kind) -> Result<Self> {
        let switch = Space::new("switch")?;
        switch.set_where_present("bridge/bridge-nf-call-iptables", "0")?;
        switch.set_where_present("bridge/bridge-nf-call-ip6tables", "0")?;
        switch
            .ip("link add cluster type bridge forward_delay 0\nlink add dmz type bridge forward_delay 0\n\
                   link set cluster up\nlink set dmz up\n")?;
        let router = Space::new("router")?;
        let mut spaces = BTreeMap::from([(Host::Own, Space::new("node")?)]);
        for host in Host::OTHERS {
            if host.exists_around(kind) {
                spaces.insert(host, Space::new(&format!("{host:?}"))?);
            }
        }
        let world = Self { kind, spaces, _switch: switch, _router: router };
        world.wire_node().context("wiring the node")?;
        world.wire_router().context("wiring the router")?;
        for host in world.spaces.keys().filter(|h| **h != Host::Own) {
            world.wire_host(*host).with_context(|| format!("wiring {host:?}"))?;
        }
        if kind.runs_pods() {
            // As flannel's configuration has it: a pod reaches itself through a service.
            world
                .own()
                .ip("link set cni-pod master cni0\nlink set cni-pod type bridge_slave hairpin on\n")?;
        }
        Ok(world)
    }

    /// The node under test.
    pub fn own(&self) -> &Space {
        &self.spaces[&Host::Own]
    }

    /// Who is there, the node excepted.
    pub fn others(&self) -> impl Iterator<Item = Host> + '_ {
        self.spaces.keys().copied().filter(|h| *h != Host::Own)
    }

    fn wire_node(&self) -> Result<()> {
        let node = self.own();
        let address = |place: Place| (place.address(self.kind, false), place.address(self.kind, true));
        let mut batch = plug("cluster0", &self._switch, "node-c") + &plug("dmz0", &self._switch, "node-d");
        for (place, device, bits) in [(Place::Cluster, "cluster0", 22), (Place::Dmz, "dmz0", 24)] {
            let (v4, v6) = address(place);
            batch += &format!("addr add {v4}/{bits} dev {device}\naddr add {v6}/64 dev {device} nodad\n");
        }
        let (v4, v6) = address(Place::Vip);
        batch += &format!("addr add {v4}/32 dev cluster0\naddr add {v6}/128 dev cluster0 nodad\n");
        let gate = match self.kind {
            Kind::DmzProxy => ("192.168.1.1", "fd00:168::1"),
            _ => ("10.0.0.1", "fd00:10::1"),
        };
        batch += &format!("route add default via {}\nroute add default via {}\n", gate.0, gate.1);
        if Host::FalsePod.exists_around(self.kind) {
            batch += "route add 10.42.2.5/32 dev cluster0\nroute add fd00:42:2::5/128 dev cluster0\n";
        }
        if self.kind.runs_pods() {
            let (v4, v6) = address(Place::PodGateway);
            batch += &format!(
                "link add cni0 type bridge forward_delay 0\nlink set cni0 up\n\
                               addr add {v4}/24 dev cni0\naddr add {v6}/64 dev cni0 nodad\n"
            );
        }
        node.ip(&batch)?;
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            node.set(key, "1")?;
        }
        self._switch.ip("link set node-c master cluster\nlink set node-d master dmz\n\
                         link set node-c up\nlink set node-d up\n")
    }

    fn wire_router(&self) -> Result<()> {
        let (own4, own6) = Host::Own.addresses(self.kind);
        let (dmz4, dmz6) = (Place::Dmz.address(self.kind, false), Place::Dmz.address(self.kind, true));
        let (far4, far6) = Host::Stranger.addresses(self.kind);
        let outside = &self.spaces[&Host::Outside];
        let batch = plug("c0", &self._switch, "router-c")
            + &plug("d0", &self._switch, "router-d")
            + &plug("o0", outside, "up0")
            + "addr add 10.0.0.1/22 dev c0\naddr add fd00:10::1/64 dev c0 nodad\n\
               addr add 192.168.1.1/24 dev d0\naddr add fd00:168::1/64 dev d0 nodad\n\
               addr add 203.0.113.1/24 dev o0\naddr add 2001:db8:9::1/64 dev o0 nodad\n"
            + &format!(
                "route add 10.40.0.0/13 via {own4}\nroute add fd00:42::/32 via {own6}\n\
                 route add fd00:43::/32 via {own6}\n\
                 route add 10.99.0.0/24 via {own4}\nroute add fd00:99::/64 via {own6}\n\
                 route add {far4}/32 via {dmz4}\nroute add {far6}/128 via {dmz6}\n"
            );
        self._router.ip(&batch)?;
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            self._router.set(key, "1")?;
        }
        self._switch.ip("link set router-c master cluster\nlink set router-d master dmz\n\
                         link set router-c up\nlink set router-d up\n")
    }

    fn wire_host(&self, host: Host) -> Result<()> {
        let space = &self.spaces[&host];
        let (v4, v6) = host.addresses(self.kind);
        let (own4, own6) = Host::Own.addresses(self.kind);
        let (dmz4, dmz6) = (Place::Dmz.address(self.kind, false), Place::Dmz.address(self.kind, true));
        let name = format!("p-{host:?}").to_lowercase();
        let addresses = |bits: u8, bits6: u8| {
            format!("link set up0 up\naddr add {v4}/{bits} dev up0\naddr add {v6}/{bits6} dev up0 nodad\n")
        };
        let gate = |a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
            format!("route add default via {a} dev up0 onlink\nroute add default via {b} dev up0 onlink\n")
        };
        let on_switch = |segment: &str| {
            self._switch.ip(&format!("link set {name} master {segment}\nlink set {name} up\n"))
        };
        match host.segment() {
            Segment::Node => Ok(()),
            Segment::Cluster => {
                let bits = if host == Host::FalsePod { (32, 128) } else { (22, 64) };
                let batch =
                    plug("up0", &self._switch, &name) + &addresses(bits.0, bits.1) + &gate(&own4, &own6);
                space.ip(&batch)?;
                on_switch("cluster")
            }
            Segment::Dmz => {
                let batch = plug("up0", &self._switch, &name) + &addresses(24, 64) + &gate(&dmz4, &dmz6);
                space.ip(&batch)?;
                on_switch("dmz")
            }
            Segment::Outside => space.ip(&(addresses(24, 64) + &gate(&"203.0.113.1", &"2001:db8:9::1"))),
            Segment::Pods => {
                space.ip(&(plug("up0", self.own(), "cni-pod")
                    + &addresses(24, 64)
                    + &gate(&"10.42.0.1", &"fd00:42::1")))?;
                self.own().ip("link set cni-pod up\n")
            }
            Segment::Extra => {
                space.ip(&(plug("up0", self.own(), "extra0")
                    + &addresses(24, 64)
                    + &gate(&"10.99.0.1", &"fd00:99::1")))?;
                self.own().ip("link set extra0 up\naddr add 10.99.0.1/24 dev extra0\naddr add fd00:99::1/64 dev extra0 nodad\n")
            }
            Segment::Overlay => {
                space.ip(&(plug("up0", self.own(), "flannel.1")
                    + &addresses(24, 64)
                    + &gate(&"10.42.1.1", &"fd00:42:1::1")))?;
                self.own().ip("link set flannel.1 up\naddr add 10.42.1.1/24 dev flannel.1\n\
                               addr add fd00:42:1::1/64 dev flannel.1 nodad\n")
            }
        }
    }
}

/// A cable from the namespace the batch runs in to another one.
fn plug(name: &str, other: &Space, other_name: &str) -> String {
    format!("link add {name} type veth peer name {other_name} netns {}\nlink set {name} up\n", other.path())
}
