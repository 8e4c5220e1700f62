//! The same nodes with other container networks, features and with outgoing flows restricted: what must change by it,
//! written by hand like [`super::plan`].

use super::craft::{Flow, RawSender, packet_with};
use super::matrix::{Cell, OPERATOR_PORT, natural};
use super::nodes::{self, Kind};
use super::plan;
use super::probe::{Knock, Verdict};
use super::topology::{Host, Place, Segment, World};
use anyhow::Result;
use profiles::firewall::{ClusterMesh, Features, KubeVipBgp, MetalLb};
use profiles::node::{Cni, NodeConfig};
use std::net::Ipv4Addr;

use Host::{Admin, EdgeInside, InternalProxy, Master, Stranger, Worker};
use Knock::{Ping, Tcp, Udp};

/// Who may knock at which port.
type Row = (&'static [Host], Knock, u16);

/// A container network with what an operator may add to it.
pub struct Network {
    /// In tables.
    pub name: &'static str,
    cni: Cni,
    features: fn() -> Result<Features>,
    /// On masters and workers.
    opens: &'static [Row],
    /// On masters, besides.
    opens_on_masters: &'static [Row],
}

const NODES: &[Host] = &[Master, Worker];
/// The nodes of this cluster and of the other one of a ClusterMesh, for which the operator's machine stands.
const MESH: &[Host] = &[Master, Worker, Admin];
/// For the routers stand a machine that is no node and, for those of kube-vip, the internal proxy.
const ROUTED: &[Host] = &[Master, Worker, Stranger];

/// Every network, with features so that each builtin flow is there at least once.
pub const NETWORKS: [Network; 6] = [
    Network {
        name: "flannel-vxlan, MetalLB",
        cni: Cni::FlannelVxlan,
        features: metallb,
        opens: &[(NODES, Udp, 8472), (NODES, Tcp, 7946), (NODES, Udp, 7946)],
        opens_on_masters: &[],
    },
    Network {
        name: "flannel-wireguard",
        cni: Cni::FlannelWireguard,
        features: none,
        opens: &[(NODES, Udp, 51820), (NODES, Udp, 51821)],
        opens_on_masters: &[],
    },
    Network {
        name: "calico-bgp, kube-vip BGP",
        cni: Cni::CalicoBgp,
        features: bgp,
        opens: &[(ROUTED, Tcp, 179), (NODES, Tcp, 5473)],
        opens_on_masters: &[(&[InternalProxy], Tcp, 179)],
    },
    Network {
        name: "calico-vxlan",
        cni: Cni::CalicoVxlan,
        features: none,
        opens: &[(NODES, Udp, 4789), (NODES, Tcp, 5473)],
        opens_on_masters: &[],
    },
    Network {
        name: "cilium-wireguard, Hubble, ClusterMesh",
        cni: Cni::CiliumWireguard,
        features: mesh,
        opens: &[
            (MESH, Udp, 8472),
            (MESH, Udp, 51871),
            (MESH, Tcp, 4240),
            (NODES, Tcp, 4244),
            (&[Admin], Tcp, 32379),
        ],
        opens_on_masters: &[],
    },
    Network {
        name: "cilium-vxlan, Hubble",
        cni: Cni::CiliumVxlan,
        features: hubble,
        opens: &[(NODES, Udp, 8472), (NODES, Tcp, 4240), (NODES, Tcp, 4244)],
        opens_on_masters: &[],
    },
];

/// Ports that depend on the network: closed unless [`NETWORKS`] says otherwise.
const NETWORK_PORTS: [(Knock, u16); 12] = [
    (Udp, 8472),
    (Udp, 51820),
    (Udp, 51821),
    (Udp, 4789),
    (Udp, 51871),
    (Udp, 7946),
    (Tcp, 179),
    (Tcp, 4240),
    (Tcp, 4244),
    (Tcp, 5473),
    (Tcp, 7946),
    (Tcp, 32379),
];
/// Ports that do not, and must stay as they are.
const OTHER_PORTS: [(Knock, u16); 5] = [(Tcp, 22), (Tcp, 2379), (Tcp, 6443), (Tcp, 9940), (Tcp, 10250)];

fn none() -> Result<Features> {
    Ok(Features::default())
}

fn metallb() -> Result<Features> {
    Ok(Features { metallb: Some(MetalLb { pools: vec!["10.0.3.100-10.0.3.150".parse()?] }), ..none()? })
}

fn bgp() -> Result<Features> {
    let kube_vip =
        KubeVipBgp { local_as: 64512, router_as: 64513, routers: vec![Ipv4Addr::new(10, 0, 0, 6)] };
    Ok(Features { bgp_routers: vec![Ipv4Addr::new(10, 0, 0, 77)], kube_vip_bgp: Some(kube_vip), ..none()? })
}

fn hubble() -> Result<Features> {
    Ok(Features { hubble: true, ..none()? })
}

fn mesh() -> Result<Features> {
    let mesh = ClusterMesh { node_port: 32379, nodes: vec![Ipv4Addr::new(10, 0, 2, 20)] };
    Ok(Features { clustermesh: Some(mesh), ..hubble()? })
}

impl Network {
    /// The config of a node with this network.
    ///
    /// # Errors
    /// Only if a literal above is wrong.
    pub fn node(&self, kind: Kind) -> Result<NodeConfig> {
        let mut node = nodes::node(kind)?;
        node.cluster.cni = self.cni;
        node.cluster.firewall.features = (self.features)()?;
        Ok(node)
    }

    /// The exact verdict of a cell of [`network_cells`].
    pub fn expected(&self, kind: Kind, cell: &Cell) -> Verdict {
        if !NETWORK_PORTS.contains(&(cell.knock, cell.port)) {
            return plan::expected(kind, cell);
        }
        let more = if kind == Kind::Master { self.opens_on_masters } else { &[] };
        let opens = self.opens.iter().chain(more).any(|(from, knock, port)| {
            from.contains(&cell.from) && *knock == cell.knock && *port == cell.port
        });
        // Routers and the nodes of another cluster are named by IPv4 addresses.
        let is_named = !cell.v6 || NODES.contains(&cell.from);
        if opens && is_named { natural(cell) } else { Verdict::Dropped }
    }
}

/// Knocks from the wires at the addresses of the node: what a container network changes there. Pods are behind interfaces
/// of other names in each network, and stay out.
pub fn network_cells(world: &World) -> Vec<Cell> {
    let wires = [Segment::Cluster, Segment::Dmz, Segment::Outside, Segment::Extra];
    let ports: Vec<(Knock, u16)> = NETWORK_PORTS.into_iter().chain(OTHER_PORTS).collect();
    let mut cells = Vec::new();
    for from in world.others().filter(|host| wires.contains(&host.segment())) {
        for to in [Place::Cluster, Place::Dmz, Place::Vip] {
            for v6 in [false, true] {
                cells.extend(ports.iter().map(|(knock, port)| Cell {
                    from,
                    to,
                    v6,
                    knock: *knock,
                    port: *port,
                }));
            }
        }
    }
    cells
}

/// The config of a node that may open only what it needs.
///
/// # Errors
/// As [`nodes::node`].
pub fn restricted(kind: Kind) -> Result<NodeConfig> {
    let mut node = nodes::node(kind)?;
    node.cluster.firewall.egress = true;
    Ok(node)
}

/// Whether the node can send VRRP to the other internal proxy: the kernel tells the sender when its own rules drop it.
///
/// # Errors
/// A raw socket cannot be opened.
pub fn vrrp_leaves(world: &World) -> Result<bool> {
    let address = |host| Place::Beyond(host).address(world.kind, false);
    let flow = Flow { from: address(Host::Own), to: address(InternalProxy), source_port: 0, port: 0 };
    let packet = packet_with(&flow, 112, &[0x21, 61, 100, 1, 0, 100, 0, 0, 10, 0, 0, 9], 255);
    world.own().forget()?;
    world.own().enter(|| Ok(RawSender::new()?.send(flow.to, &packet).is_ok()))
}

/// The exact verdict of any cell where every node may open only what it needs.
pub fn expected_restricted(kind: Kind, cell: &Cell) -> Verdict {
    match cell.to {
        Place::Beyond(there) if cell.from == Host::Own => {
            let may = cell.knock == Ping || may_open(kind, there, cell);
            if may { natural(cell) } else { Verdict::Dropped }
        }
        _ => plan::expected(kind, cell),
    }
}

/// The exact verdict of an IPv6 cell where the cluster file has no IPv6 and the wires have it all the same: nothing but
/// pings from the inside, and what pods do among themselves.
pub fn expected_without_ipv6(kind: Kind, cell: &Cell) -> Verdict {
    let is_wire = |segment| matches!(segment, Segment::Cluster | Segment::Outside);
    let passes = match cell.to {
        Place::Beyond(_) if cell.from == Host::Own => kind != Kind::DmzProxy || cell.knock == Ping,
        _ if cell.from == Host::Own => true,
        _ if cell.from == Host::Unplanned => false,
        Place::Beyond(_) | Place::Service | Place::HostService => plan::from_pods(cell),
        _ if plan::from_pods(cell) => cell.knock == Ping || plan::is_service_port(cell),
        // What the router sends by the leg that its answer would not leave by.
        _ if cell.from == Host::Outside && kind == Kind::DmzProxy => false,
        _ => cell.knock == Ping && is_wire(cell.from.segment()) && !plan::by_dmz_leg(cell),
    };
    if passes { natural(cell) } else { Verdict::Dropped }
}

/// What the node may open at others: what those let in from it, names and time, and its pods.
fn may_open(kind: Kind, there: Host, cell: &Cell) -> bool {
    let tcp = |ports: &[u16]| cell.knock == Tcp && ports.contains(&cell.port);
    let tunnel = cell.knock == Udp && cell.port == 8472;
    match (kind, there) {
        (_, Stranger) => cell.port == 53 || (cell.knock == Udp && cell.port == 123),
        (_, EdgeInside) => tcp(&[9940]),
        (Kind::InternalProxy, Master) => tcp(&[6443, 9940, OPERATOR_PORT]),
        (Kind::InternalProxy, InternalProxy) => tcp(&[6443, 9940]),
        (Kind::InternalProxy, Worker) => tcp(&[9940]),
        (Kind::Master | Kind::Worker, Master) => tcp(&[6443, 9940, 10250, OPERATOR_PORT]) || tunnel,
        (Kind::Master | Kind::Worker, Worker) => tcp(&[9940, 10250]) || tunnel,
        (Kind::Master | Kind::Worker, InternalProxy) => tcp(&[6443, 9940]),
        (Kind::Master | Kind::Worker, Host::Pod | Host::RemotePod) => true,
        _ => false,
    }
}
