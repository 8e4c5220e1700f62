//! Random cases: any source address of a zone, any place, any port; the table made by hand, the installer's own model and
//! the packets must agree.

use super::matrix::{Cell, TCP_PORTS, UDP_PORTS, own_places};
use super::nodes::{self, Kind};
use super::plan;
use super::probe::{Knock, Probe, Verdict, probe_again};
use super::topology::{Host, Place, Segment, World};
use anyhow::{Context, Result, anyhow};
use installer::firewall::{Leg, Model, Packet, PacketKind};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Silence that counts as dropped; TCP sends twice within it.
const QUIET: Duration = Duration::from_millis(1300);
/// Additional source addresses of a machine on the cluster network, and of one in the DMZ.
const SOURCES: usize = 24;

/// A small generator (splitmix64): the same seed gives the same cases.
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A cell from a certain address.
struct Case {
    cell: Cell,
    sender: Host,
    source: IpAddr,
}

/// Sends `count` random cases and gives a line for each disagreement.
///
/// # Errors
/// The world cannot be probed.
pub fn run(world: &World, count: usize, dice: &mut Dice) -> Result<Vec<String>> {
    let sources = more_sources(world, dice)?;
    let cases: Vec<Case> = (0..count).map(|_| case(world, &sources, dice)).collect();
    let model = Model::of(&nodes::node(world.kind)?).context("making the model of the node")?;
    let verdicts = ask(world, &cases)?;
    let mut lines = Vec::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        let passed = !verdict.is_silence();
        let by_hand = passes_by_hand(world.kind, &case.cell);
        let by_model = by_model(world.kind, &model, case).unwrap_or(by_hand);
        if by_hand != passed || by_model != passed {
            lines.push(format!(
                "{} from {}: packet {passed}, table {by_hand}, model {by_model}",
                case.cell, case.source
            ));
        }
    }
    Ok(lines)
}

fn passes_by_hand(kind: Kind, cell: &Cell) -> bool {
    plan::expected(kind, cell) != Verdict::Dropped
}

/// Gives machines more addresses, none of them anybody else's.
fn more_sources(world: &World, dice: &mut Dice) -> Result<BTreeMap<Host, Vec<IpAddr>>> {
    let taken: Vec<IpAddr> = world
        .others()
        .flat_map(|host| [false, true].map(|v6| Place::Beyond(host).address(world.kind, v6)))
        .collect();
    let mut found: BTreeMap<Host, Vec<IpAddr>> = BTreeMap::new();
    for host in [Host::Stranger, Host::DmzHost] {
        let mut batch = String::new();
        for _ in 0..SOURCES {
            let last = 60 + dice.below(180) as u8;
            // 2xx is the operators', in both families. Nobody may take one of these by himself (`preferred_lft`).
            let block = dice.below(4) as u8;
            let group = u16::from(block) << 8 | u16::from(last);
            let (four, six) = match host {
                Host::Stranger => {
                    (Ipv4Addr::new(10, 0, block, last), Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, group))
                }
                _ => (Ipv4Addr::new(192, 168, 1, last), Ipv6Addr::new(0xfd00, 0x168, 0, 0, 0, 0, 0, group)),
            };
            let list = found.entry(host).or_default();
            for (address, bits) in [(IpAddr::from(four), "32"), (six.into(), "128 nodad preferred_lft 0")] {
                if !taken.contains(&address) && !list.contains(&address) {
                    let (bits, rest) = bits.split_once(' ').unwrap_or((bits, ""));
                    batch += &format!("addr add {address}/{bits} dev up0 {rest}\n");
                    list.push(address);
                }
            }
        }
        world.spaces[&host].ip(&batch)?;
    }
    Ok(found)
}

fn case(world: &World, sources: &BTreeMap<Host, Vec<IpAddr>>, dice: &mut Dice) -> Case {
    let kind = world.kind;
    let senders: Vec<Host> = world.others().collect();
    let sender = dice.pick(&senders);
    let v6 = dice.below(3) == 0;
    let places: Vec<Place> = own_places(kind).collect();
    let knock = dice.pick(&[Knock::Tcp, Knock::Tcp, Knock::Udp]);
    let port = match (knock, dice.below(4)) {
        (_, 0) => 1 + dice.below(65_535) as u16,
        (_, 1) => 30_000 + dice.below(2768) as u16,
        (Knock::Udp, _) => dice.pick(&UDP_PORTS),
        _ => dice.pick(&TCP_PORTS),
    };
    let own = Place::Beyond(sender).address(kind, v6);
    let of_family = |list: &Vec<IpAddr>| list.iter().copied().filter(|a| a.is_ipv6() == v6).collect();
    let more: Vec<IpAddr> = sources.get(&sender).map(of_family).unwrap_or_default();
    let source = if more.is_empty() { own } else { dice.pick(&more) };
    // An address in the operators' range is an operator's, whoever sends.
    let from = match source {
        IpAddr::V4(a) if a.octets()[..3] == [10, 0, 2] => Host::Admin,
        IpAddr::V6(a) if a.segments()[1] == 0x10 && a.segments()[7] >> 8 == 2 => Host::Admin,
        _ => sender,
    };
    Case { cell: Cell { from, to: dice.pick(&places), v6, knock, port }, sender, source }
}

fn ask(world: &World, cases: &[Case]) -> Result<Vec<Verdict>> {
    let one = &|host: Host| -> Result<Vec<(usize, Verdict)>> {
        let of_host: Vec<usize> = (0..cases.len()).filter(|i| cases[*i].sender == host).collect();
        let probe_of = |case: &Case| Probe {
            knock: case.cell.knock,
            to: SocketAddr::new(case.cell.to.address(world.kind, case.cell.v6), case.cell.port),
            from: Some(SocketAddr::new(case.source, 0)),
        };
        let probes: Vec<Probe> = of_host.iter().map(|i| probe_of(&cases[*i])).collect();
        let should: Vec<bool> = of_host.iter().map(|i| passes_by_hand(world.kind, &cases[*i].cell)).collect();
        Ok(of_host.into_iter().zip(probe_again(&world.spaces[&host], &probes, &should, QUIET)?).collect())
    };
    let mut verdicts = vec![Verdict::Dropped; cases.len()];
    std::thread::scope(|scope| {
        let jobs: Vec<_> = world.others().map(|host| scope.spawn(move || one(host))).collect();
        for job in jobs {
            for (index, verdict) in job.join().map_err(|_| anyhow!("a prober ended by a panic"))?? {
                verdicts[index] = verdict;
            }
        }
        Ok(verdicts)
    })
}

/// What the installer's model says; nothing where it has no say: it does not know what kube-proxy rewrites, which
/// addresses a test gives to a node, or the test's own way back to a false pod.
fn by_model(kind: Kind, model: &Model, case: &Case) -> Option<bool> {
    let cell = &case.cell;
    let segment = case.sender.segment();
    let leg = match segment {
        Segment::Pods | Segment::Overlay => Leg::Pods,
        _ if plan::by_dmz_leg(cell) => Leg::Dmz,
        _ => Leg::Cluster,
    };
    let unknown_place = match cell.to {
        Place::Vip => cell.v6 || !matches!(kind, Kind::Master | Kind::InternalProxy),
        Place::PodGateway => leg == Leg::Pods,
        _ => false,
    };
    let rewritten = leg == Leg::Pods && plan::is_service_port(cell);
    if segment == Segment::Extra
        || unknown_place
        || rewritten
        || (cell.from == Host::FalsePod && !kind.runs_pods())
    {
        return None;
    }
    let packet = Packet {
        leg,
        source: case.source,
        destination: cell.to.address(kind, cell.v6),
        kind: match cell.knock {
            Knock::Tcp => PacketKind::Tcp(cell.port),
            Knock::Udp => PacketKind::Udp(cell.port),
            Knock::Ping => PacketKind::Echo,
        },
    };
    Some(model.evaluate(&packet).is_allowed())
}
