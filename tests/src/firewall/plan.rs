//! What the firewall must do, written by hand from the port tables of Kubernetes, k3s and our own services: an
//! evaluator of its own that knows nothing of rules, and of no difference between the two address families. Where it and the packets differ, one of the two is wrong.

use super::matrix::{Cell, HOST_PORT, OTHER_NODE_PORTS, UDP_NODE_PORT, natural};
use super::nodes::{INGRESS_PORTS, Kind};
use super::probe::{Knock, Verdict};
use super::topology::{Host, Place, Segment};

use Host::{Admin, EdgeInside, FalsePod, InternalProxy, Master, Pod, RemotePod, Stranger, Worker};
use Knock::{Ping, Tcp, Udp};

/// One line of the table: these may knock at these ports of the node.
struct Row(&'static [Host], Knock, &'static [u16]);

/// API, etcd, kubelet, VXLAN, SSH, health report; 31999 is the operator's own flow from the cluster network, in which
/// the DMZ proxies are not meant.
const MASTER: &[Row] = &[
    Row(&[Master, Worker, InternalProxy, Admin], Tcp, &[6443]),
    Row(&[Master], Tcp, &[2379, 2380]),
    Row(&[Master, Worker], Tcp, &[10250]),
    Row(&[Master, Worker], Udp, &[8472]),
    Row(&[Pod, RemotePod], Tcp, &[6443, 10250]),
    Row(&[Admin], Tcp, &[22, 9940]),
    Row(&[Master, Worker, InternalProxy], Tcp, &[9940]),
    Row(&[Master, Worker, InternalProxy, Stranger, Admin], Tcp, &[31999]),
];

/// 32767 is the operator's own flow.
const WORKER: &[Row] = &[
    Row(&[EdgeInside], Tcp, &INGRESS_PORTS),
    Row(&[Master, Worker], Tcp, &[10250]),
    Row(&[Master, Worker], Udp, &[8472]),
    Row(&[Pod, RemotePod], Tcp, &[10250]),
    Row(&[Admin], Tcp, &[22, 9940, 32767]),
    Row(&[Master, Worker, InternalProxy], Tcp, &[9940]),
];

const INTERNAL_PROXY: &[Row] = &[
    Row(&[Master, Worker, InternalProxy, Admin], Tcp, &[6443]),
    Row(&[Admin], Tcp, &[22, 9940]),
    Row(&[Master, Worker, InternalProxy], Tcp, &[9940]),
];

/// From the cluster network. What comes from the DMZ and from outside is in [`from_outside`].
const DMZ_PROXY: &[Row] =
    &[Row(&[Admin], Tcp, &[22, 9940]), Row(&[Master, Worker, InternalProxy], Tcp, &[9940])];

/// The exact verdict a cell must have under the rules.
pub fn expected(kind: Kind, cell: &Cell) -> Verdict {
    if passes(kind, cell) { natural(cell) } else { Verdict::Dropped }
}

fn passes(kind: Kind, cell: &Cell) -> bool {
    match cell.to {
        Place::Beyond(there) if cell.from == Host::Own => leaves(kind, there, cell),
        _ if cell.from == Host::Own => true,
        _ if cell.from == Host::Unplanned => false,
        // Through the node and to services: pods, and nobody else.
        Place::Beyond(_) | Place::Service | Place::HostService => from_pods(cell),
        Place::Cluster | Place::Dmz | Place::Vip | Place::PodGateway => enters(kind, cell),
    }
}

/// Sent by a pod.
pub fn from_pods(cell: &Cell) -> bool {
    matches!(cell.from.segment(), Segment::Pods | Segment::Overlay)
}

/// Whether the packet comes in by the leg in the DMZ. The router sends to the node by the network of the address.
pub fn by_dmz_leg(cell: &Cell) -> bool {
    match cell.from.segment() {
        Segment::Dmz => true,
        Segment::Outside => cell.to == Place::Dmz,
        _ => false,
    }
}

/// A source from which nothing may come on that leg: an answer would leave by another one, or to a pod.
fn spoofed(kind: Kind, cell: &Cell) -> bool {
    match cell.from {
        FalsePod => kind.runs_pods(),
        Host::Outside => by_dmz_leg(cell) != (kind == Kind::DmzProxy),
        _ => false,
    }
}

/// For the node itself, or a pod behind one of its ports.
fn enters(kind: Kind, cell: &Cell) -> bool {
    if from_pods(cell) {
        return cell.knock == Ping || is_service_port(cell) || listed(kind, cell);
    }
    // What pods use, only pods may address.
    if spoofed(kind, cell) || cell.to == Place::PodGateway {
        return false;
    }
    if by_dmz_leg(cell) {
        return kind == Kind::DmzProxy && from_outside(cell);
    }
    cell.knock == Ping || listed(kind, cell)
}

fn listed(kind: Kind, cell: &Cell) -> bool {
    let rows = match kind {
        Kind::Master => MASTER,
        Kind::Worker => WORKER,
        Kind::InternalProxy => INTERNAL_PROXY,
        Kind::DmzProxy => DMZ_PROXY,
    };
    rows.iter().any(|Row(from, knock, ports)| {
        *knock == cell.knock && from.contains(&cell.from) && ports.contains(&cell.port)
    })
}

/// The web at the address in the DMZ, for everybody; 8404 is the operator's own flow for hosts of the DMZ.
fn from_outside(cell: &Cell) -> bool {
    let ports: &[u16] = if cell.from == Host::Outside { &[80, 443] } else { &[80, 443, 8404] };
    cell.to == Place::Dmz && cell.knock == Tcp && ports.contains(&cell.port)
}

/// Ports that kube-proxy and the CNI rewrite to a pod.
pub fn is_service_port(cell: &Cell) -> bool {
    let tcp = [&INGRESS_PORTS[..], &OTHER_NODE_PORTS, &[HOST_PORT, 80, 443]];
    match cell.knock {
        Tcp => tcp.iter().any(|ports| ports.contains(&cell.port)),
        Udp => cell.port == UDP_NODE_PORT,
        Ping => false,
    }
}

/// From the node to others: a DMZ proxy reaches the ingress of the workers, names and time; it may ping.
fn leaves(kind: Kind, there: Host, cell: &Cell) -> bool {
    if kind != Kind::DmzProxy || cell.knock == Ping {
        return true;
    }
    match there {
        Worker => cell.knock == Tcp && INGRESS_PORTS.contains(&cell.port),
        // It is the server for names and time.
        Stranger => cell.port == 53 || (cell.knock == Udp && cell.port == 123),
        _ => false,
    }
}
