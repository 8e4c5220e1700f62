//! The matrix: who knocks where on which port, run as a whole.

use super::listen::Listeners;
use super::nodes::{INGRESS_PORTS, Kind};
use super::probe::{Knock, Probe, Verdict, probe};
use super::topology::{Host, Place, Segment, World};
use anyhow::{Context, Result, anyhow};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// TCP ports on which every address of the node answers: all that k3s, its networks, its balancers and the machine
/// itself may listen on, whether the rules open them or not.
pub const TCP_PORTS: [u16; 34] = [
    22, 53, 80, 123, 179, 443, 2112, 2379, 2380, 2381, 2382, 4240, 4244, 5001, 5473, 6443, 6444, 7472, 7946,
    8404, 9099, 9100, 9345, 9940, 10010, 10248, 10249, 10250, 10254, 10256, 10257, 10258, 10259, 32379,
];
/// UDP ports of the same kind.
pub const UDP_PORTS: [u16; 11] = [53, 67, 123, 443, 4789, 6081, 7946, 8472, 51820, 51821, 51871];
/// Nobody listens here: open rules show as refused.
pub const SILENT_PORT: u16 = 5002;
/// NodePorts besides those of the ingress.
pub const OTHER_NODE_PORTS: [u16; 3] = [30000, 31999, 32767];
/// NodePort of a UDP service.
pub const UDP_NODE_PORT: u16 = 30053;
/// hostPort of a pod.
pub const HOST_PORT: u16 = 8081;
/// Port of a pod in the network of the node, behind a service only.
pub const HOST_SERVICE_PORT: u16 = 9100;
/// Where machines other than the node answer.
pub const PEER_PORTS: [u16; 12] = [22, 53, 80, 443, 6443, 8080, 8443, 9940, 10250, 30080, 30443, 40000];
/// The operator's own flow to masters, where others than the node answer it, too.
pub const OPERATOR_PORT: u16 = OTHER_NODE_PORTS[1];
/// The same for UDP.
pub const PEER_UDP_PORTS: [u16; 3] = [53, 123, 8472];

/// How long silence must last to count as dropped. The positive control has the same patience: if it were too short
/// for this machine, the control would fail first.
pub const QUIET: Duration = Duration::from_millis(300);
/// Patience for further tries, long enough for TCP to send twice.
const LATER_QUIETS: [Duration; 3] =
    [Duration::from_millis(700), Duration::from_millis(2200), Duration::from_millis(4000)];

/// Most cells that are asked a few at a time, at last, and how many of them at once.
const MOST_LOST: usize = 64;
const FEW: usize = 8;
/// What is still on its way arrives, before cells are asked for the last time.
const SETTLE: Duration = Duration::from_millis(1500);

/// One question to the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell {
    /// Who knocks.
    pub from: Host,
    /// At which address.
    pub to: Place,
    /// IPv6?
    pub v6: bool,
    /// How.
    pub knock: Knock,
    /// Port; 0 for a ping.
    pub port: u16,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.v6 { "v6" } else { "v4" };
        write!(f, "{:?} -> {:?} {family} {:?}/{}", self.from, self.to, self.knock, self.port)
    }
}

/// Every cell for one kind of node.
pub fn cells(kind: Kind, world: &World) -> Vec<Cell> {
    let mut cells = Vec::new();
    for from in world.others().chain([Host::Own]) {
        for v6 in [false, true] {
            let mut add = |to: Place, knock: Knock, ports: &[u16]| {
                cells.extend(ports.iter().map(|port| Cell { from, to, v6, knock, port: *port }));
            };
            for to in own_places(kind) {
                add(to, Knock::Tcp, &TCP_PORTS);
                add(to, Knock::Tcp, &[SILENT_PORT]);
                add(to, Knock::Udp, &UDP_PORTS);
                add(to, Knock::Ping, &[0]);
                if kind.runs_pods() {
                    add(to, Knock::Tcp, &INGRESS_PORTS);
                    add(to, Knock::Tcp, &OTHER_NODE_PORTS);
                    add(to, Knock::Tcp, &[HOST_PORT]);
                    add(to, Knock::Udp, &[UDP_NODE_PORT]);
                }
            }
            if kind.runs_pods() {
                add(Place::Service, Knock::Tcp, &[80]);
                add(Place::HostService, Knock::Tcp, &[80]);
            }
            for to in beyond(from, kind) {
                let ports: &[u16] = if from == Host::Own { &PEER_PORTS } else { &[22, 443, 8443, 40000] };
                let udp: &[u16] = if from == Host::Own { &PEER_UDP_PORTS } else { &[53, 8472] };
                add(Place::Beyond(to), Knock::Tcp, ports);
                add(Place::Beyond(to), Knock::Udp, udp);
                add(Place::Beyond(to), Knock::Ping, &[0]);
            }
        }
    }
    cells
}

/// Addresses of the node under test.
pub fn own_places(kind: Kind) -> impl Iterator<Item = Place> {
    Place::OWN.into_iter().filter(move |p| kind.runs_pods() || *p != Place::PodGateway)
}

/// Machines that `from` reaches only through the node.
fn beyond(from: Host, kind: Kind) -> Vec<Host> {
    let there: &[Host] = match from.segment() {
        Segment::Node => &[
            Host::Master,
            Host::Worker,
            Host::InternalProxy,
            Host::EdgeInside,
            Host::Stranger,
            Host::Admin,
            Host::DmzHost,
            Host::EdgeDmz,
            Host::Outside,
            Host::Pod,
            Host::RemotePod,
        ],
        Segment::Cluster if from == Host::FalsePod => {
            &[Host::Stranger, Host::Master, Host::DmzHost, Host::Outside, Host::Pod, Host::RemotePod]
        }
        Segment::Cluster => &[Host::DmzHost, Host::Pod, Host::RemotePod],
        Segment::Dmz => {
            &[Host::Master, Host::Worker, Host::Stranger, Host::Outside, Host::Pod, Host::RemotePod]
        }
        Segment::Outside => &[Host::Stranger, Host::Pod, Host::RemotePod],
        Segment::Pods => &[Host::Master, Host::Stranger, Host::DmzHost, Host::Outside, Host::RemotePod],
        Segment::Overlay => &[Host::Stranger, Host::Pod],
        Segment::Extra => {
            &[Host::Master, Host::Stranger, Host::DmzHost, Host::Outside, Host::Pod, Host::RemotePod]
        }
    };
    there.iter().copied().filter(|host| host.exists_around(kind)).collect()
}

/// What happens when no rule interferes.
pub fn natural(cell: &Cell) -> Verdict {
    if cell.port == SILENT_PORT { Verdict::Refused } else { Verdict::Open }
}

/// The services of one world; they end with this value.
pub fn open_services(world: &World) -> Result<Vec<Listeners>> {
    let kind = world.kind;
    let both = |place: Place| [place.address(kind, false), place.address(kind, true)];
    let own: Vec<_> = own_places(kind).flat_map(both).collect();
    let mut all = vec![Listeners::start(world.own(), &TCP_PORTS, &own, &UDP_PORTS).context("on the node")?];
    for host in world.others() {
        let (v4, v6) = host.addresses(kind);
        let tcp = [&PEER_PORTS[..], &[OPERATOR_PORT]].concat();
        let peer = Listeners::start(&world.spaces[&host], &tcp, &[v4.into(), v6.into()], &PEER_UDP_PORTS);
        all.push(peer.with_context(|| format!("on {host:?}"))?);
    }
    Ok(all)
}

/// What a run of cells gave.
#[derive(Debug, Default)]
pub struct Judged {
    /// The last verdict of each cell.
    pub verdicts: BTreeMap<Cell, Verdict>,
    /// Cells that had to be asked more than once: packets lost on a busy machine.
    pub asked_again: usize,
}

/// Verdicts of all cells, from all sources at once. A cell that gave silence and should not by `expected` is asked again
/// with more patience (a busy machine loses packets), at last a few at a time when all else is quiet. One that answered
/// where it must be silent is never asked again: what was open once is open.
///
/// # Errors
/// The prober cannot work; a verdict is no error.
pub fn run(world: &World, cells: &[Cell], expected: &(dyn Fn(&Cell) -> Verdict + Sync)) -> Result<Judged> {
    let mut judged = Judged { verdicts: ask(world, cells, QUIET)?, asked_again: 0 };
    for quiet in LATER_QUIETS {
        let late = judged.late(expected);
        if late.is_empty() {
            return Ok(judged);
        }
        judged.asked_again = judged.asked_again.max(late.len());
        judged.verdicts.extend(ask(world, &late, quiet)?);
    }
    let late = judged.late(expected);
    // So many were not lost: there is no need to ask one by one.
    if late.len() <= MOST_LOST {
        std::thread::sleep(SETTLE);
        for some in late.chunks(FEW) {
            judged.verdicts.extend(ask(world, some, LATER_QUIETS[1])?);
        }
    }
    Ok(judged)
}

impl Judged {
    /// Silent cells that should not be.
    fn late(&self, expected: &dyn Fn(&Cell) -> Verdict) -> Vec<Cell> {
        let is_late =
            |(cell, verdict): &(&Cell, &Verdict)| verdict.is_silence() && expected(cell) != **verdict;
        self.verdicts.iter().filter(is_late).map(|(cell, _)| *cell).collect()
    }
}

/// Verdicts of all cells with one patience.
///
/// # Errors
/// As [`run`].
pub fn ask(world: &World, cells: &[Cell], quiet: Duration) -> Result<BTreeMap<Cell, Verdict>> {
    let mut by_host: BTreeMap<Host, Vec<Cell>> = BTreeMap::new();
    for cell in cells {
        by_host.entry(cell.from).or_default().push(*cell);
    }
    let one = |host: Host, cells: &[Cell]| -> Result<Vec<(Cell, Verdict)>> {
        let probes: Vec<Probe> = cells.iter().map(|cell| to_probe(world.kind, cell)).collect();
        let verdicts =
            probe(&world.spaces[&host], &probes, quiet).with_context(|| format!("probing from {host:?}"))?;
        Ok(cells.iter().copied().zip(verdicts).collect())
    };
    std::thread::scope(|scope| {
        let jobs: Vec<_> = by_host.iter().map(|(host, cells)| scope.spawn(|| one(*host, cells))).collect();
        let mut all = BTreeMap::new();
        for job in jobs {
            all.extend(job.join().map_err(|_| anyhow!("a prober ended by a panic"))??);
        }
        Ok(all)
    })
}

fn to_probe(kind: Kind, cell: &Cell) -> Probe {
    let to = SocketAddr::new(cell.to.address(kind, cell.v6), cell.port);
    Probe { knock: cell.knock, to, from: None }
}

/// The cells whose verdict is not the expected one, one line each.
pub fn differences(verdicts: &BTreeMap<Cell, Verdict>, expected: &dyn Fn(&Cell) -> Verdict) -> Vec<String> {
    verdicts
        .iter()
        .filter(|(cell, verdict)| expected(cell) != **verdict)
        .map(|(cell, verdict)| format!("{cell}: {verdict:?}, expected {:?}", expected(cell)))
        .collect()
}
