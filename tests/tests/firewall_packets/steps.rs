//! The steps of the proof, each on one node with its world.

mod reloads;

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::time::Duration;
use tests::firewall::kube_proxy::{self, Mode};
use tests::firewall::listen::Listeners;
use tests::firewall::matrix::{self, Cell};
use tests::firewall::mutate::{Mutations, Rule, core_cells, rules};
use tests::firewall::nodes::{self, Kind};
use tests::firewall::probe::{Knock, Probe, Verdict, probe_again};
use tests::firewall::random::{self, Dice};
use tests::firewall::topology::{Host, Place, World};
use tests::firewall::{plan, sweep, tricks, variants};

/// Random cases on each kind of node: 500 in all.
const RANDOM_CASES: usize = 125;
/// Tries until the network must be up.
const PATIENCE: usize = 15;

/// One node with its world, and what was found.
pub struct Bench {
    world: World,
    _services: Vec<Listeners>,
    cells: Vec<Cell>,
    rules: String,
    seed: u64,
    /// What was wrong, by step.
    pub failures: Vec<Failure>,
    /// Cells that had to be asked again, and were as expected in the end.
    pub asked_again: usize,
}

/// What was wrong in a step, one line each.
pub struct Failure {
    /// The step, or the part of it.
    pub step: String,
    /// What was expected and what was seen.
    pub lines: Vec<String>,
}

/// What a step adds to the table: cells, packets, ports or rules judged.
pub type Step = fn(&mut Bench) -> Result<usize>;

/// All steps, in order.
pub const STEPS: &[(&str, Step)] = &[
    ("control, no rules", control),
    ("tricks", play_tricks),
    ("matrix", whole_matrix),
    ("kube-proxy, orders", orders),
    ("random cases", random_cases),
    ("mapped addresses", mapped_addresses),
    ("ports swept", sweeps),
    ("reloads in a flood", reloads::reloads),
    ("rules taken away", mutations),
    ("container networks", networks),
    ("egress restricted", restricted),
    ("no IPv6 in the file", without_ipv6),
];

impl Bench {
    /// Builds the world around a node and waits until its network is up.
    pub fn new(kind: Kind, seed: u64) -> Result<Self> {
        let world = World::build(kind)?;
        let services = matrix::open_services(&world)?;
        let cells = matrix::cells(kind, &world);
        prove_up(&world)?;
        if kind.runs_pods() {
            kube_proxy::load(world.own(), kind, Mode::Iptables)?;
        }
        let rules = nodes::rules(kind)?;
        Ok(Self { world, _services: services, cells, rules, seed, failures: Vec::new(), asked_again: 0 })
    }

    fn kind(&self) -> Kind {
        self.world.kind
    }

    fn expected(&self) -> impl Fn(&Cell) -> Verdict + Sync + use<> {
        let kind = self.kind();
        move |cell| plan::expected(kind, cell)
    }

    /// Loads the rules; no connection of before passes by being remembered.
    fn load(&self) -> Result<()> {
        self.world.own().nft(&self.rules).context("loading the rules")?;
        self.world.own().forget()
    }

    fn unload(&self) -> Result<()> {
        self.world.own().nft("delete table inet metalstrap\n").context("removing the rules")
    }

    /// Notes what was wrong, if anything was.
    pub fn fail(&mut self, step: &str, lines: Vec<String>) {
        if !lines.is_empty() {
            self.failures.push(Failure { step: step.to_owned(), lines });
        }
    }

    /// Runs cells and notes those that differ.
    fn judge(&mut self, what: &str, cells: &[Cell]) -> Result<()> {
        let expected = self.expected();
        self.world.own().forget()?;
        let judged = matrix::run(&self.world, cells, &expected)?;
        self.asked_again += judged.asked_again;
        self.fail(what, matrix::differences(&judged.verdicts, &expected));
        Ok(())
    }

    /// Without rules everything is open, else nothing that follows proves anything.
    fn ensure_open(&mut self, what: &str, cells: &[Cell]) -> Result<()> {
        let judged = matrix::run(&self.world, cells, &matrix::natural)?;
        self.asked_again += judged.asked_again;
        let differences = matrix::differences(&judged.verdicts, &matrix::natural);
        ensure!(
            differences.is_empty(),
            "void: {what}: {} cells are not open without rules:\n{}",
            differences.len(),
            differences.join("\n")
        );
        Ok(())
    }
}

/// Everybody and the node hear each other, in both families and directions, before anything is judged. A new cable takes
/// its time on a busy machine.
fn prove_up(world: &World) -> Result<()> {
    let ping = |from, to, v6| Cell { from, to, v6, knock: Knock::Ping, port: 0 };
    let mut silent: Vec<Cell> = world
        .others()
        .flat_map(|host| [(host, Place::Cluster), (Host::Own, Place::Beyond(host))])
        .flat_map(|(from, to)| [ping(from, to, false), ping(from, to, true)])
        .collect();
    for _ in 0..PATIENCE {
        let verdicts = matrix::ask(world, &silent, Duration::from_secs(1))?;
        silent.retain(|cell| verdicts.get(cell) != Some(&Verdict::Open));
        if silent.is_empty() {
            return Ok(());
        }
    }
    let silent: Vec<String> = silent.iter().map(Cell::to_string).collect();
    bail!("void: the network is not up:\n{}", silent.join("\n"))
}

fn control(bench: &mut Bench) -> Result<usize> {
    let cells = bench.cells.clone();
    bench.ensure_open("control", &cells)?;
    Ok(cells.len())
}

/// Every trick gets past where there are no rules, and only those that may where there are.
fn play_tricks(bench: &mut Bench) -> Result<usize> {
    let control = tricks::play_rounds(&bench.world, 0, &|_| true)?;
    ensure!(control.held.is_empty(), "void: not seen without rules:\n{}", join(&control.held));
    bench.load()?;
    let played = tricks::play_rounds(&bench.world, tricks::TRIES, &|trick| trick.passes)?;
    let wrong = tricks::tricks(bench.kind(), 0).into_iter().filter(|t| !t.passes);
    let forbidden: BTreeSet<String> = wrong.map(|t| t.id()).collect();
    let mut lines: Vec<String> =
        played.past.intersection(&forbidden).map(|t| format!("got past: {t}")).collect();
    lines.extend(played.held.iter().map(|t| format!("did not get past, and should: {t}")));
    bench.fail("tricks", lines);
    Ok(played.count)
}

fn join(lines: &BTreeSet<String>) -> String {
    lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn whole_matrix(bench: &mut Bench) -> Result<usize> {
    let cells = bench.cells.clone();
    bench.judge("matrix", &cells)?;
    Ok(cells.len())
}

/// Whatever stands beside our table, and in whatever order it came.
fn orders(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    let cells = core_cells(&bench.cells, &bench.expected());
    let mut judged = 0;
    let mut judge = |bench: &mut Bench, what: &str| {
        judged += cells.len();
        bench.judge(what, &cells)
    };
    if !kind.runs_pods() {
        bench.unload()?;
        bench.load()?;
        judge(bench, "rules created again")?;
        return Ok(judged);
    }
    let own = |bench: &Bench, mode| kube_proxy::load(bench.world.own(), kind, mode);
    own(bench, Mode::Iptables)?;
    judge(bench, "iptables mode, after our rules")?;
    kube_proxy::unload(bench.world.own(), Mode::Iptables)?;
    own(bench, Mode::Nftables)?;
    judge(bench, "nftables mode, after our rules")?;
    bench.unload()?;
    bench.ensure_open("nftables mode", &cells)?;
    bench.load()?;
    judge(bench, "nftables mode, before our rules")?;
    own(bench, Mode::Iptables)?;
    judge(bench, "both modes at once")?;
    kube_proxy::unload(bench.world.own(), Mode::Nftables)?;
    bench.load()?;
    judge(bench, "iptables mode created again")?;
    Ok(judged)
}

fn random_cases(bench: &mut Bench) -> Result<usize> {
    let mut dice = Dice::new(bench.seed ^ u64::from(bench.kind().number()));
    let lines = random::run(&bench.world, RANDOM_CASES, &mut dice)?;
    let seed = bench.seed;
    bench.fail(&format!("random cases of seed {seed}"), lines);
    Ok(RANDOM_CASES)
}

/// `::ffff:a.b.c.d` is that IPv4 address and gets its verdict.
fn mapped_addresses(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    let expected = bench.expected();
    let mapped = |cell: &Cell| match cell.to.address(kind, false) {
        std::net::IpAddr::V4(a) => (a.to_ipv6_mapped(), cell.port).into(),
        std::net::IpAddr::V6(a) => (a, cell.port).into(),
    };
    let mut count = 0;
    for (from, to) in
        [(Host::DmzHost, Place::Dmz), (Host::DmzHost, Place::Cluster), (Host::Admin, Place::Cluster)]
    {
        let is_wanted = |c: &&Cell| c.from == from && c.to == to && !c.v6 && c.knock == Knock::Tcp;
        let cells: Vec<Cell> = bench.cells.iter().filter(is_wanted).copied().collect();
        let probes: Vec<Probe> =
            cells.iter().map(|cell| Probe { knock: Knock::Tcp, to: mapped(cell), from: None }).collect();
        let should: Vec<bool> = cells.iter().map(|cell| expected(cell) != Verdict::Dropped).collect();
        let quiet = Duration::from_millis(300);
        let verdicts = probe_again(&bench.world.spaces[&from], &probes, &should, quiet)?;
        let wrong = cells.iter().zip(&verdicts).filter(|(cell, verdict)| expected(cell) != **verdict);
        let wrong =
            wrong.map(|(cell, verdict)| format!("{cell}: {verdict:?}, expected {:?}", expected(cell)));
        let wrong = wrong.collect();
        bench.fail("mapped addresses", wrong);
        count += cells.len();
    }
    Ok(count)
}

/// What answers in all 65,535 ports is the plan, from the DMZ, at both addresses.
fn sweeps(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    let all: BTreeSet<u16> = (1..=u16::MAX).collect();
    let mut source_port = 3000;
    let mut one = |bench: &Bench, to, v6, should: &BTreeSet<u16>| {
        source_port += sweep::TRIES;
        sweep::sweep(&bench.world, to, v6, source_port, should)
    };
    bench.unload()?;
    for v6 in [false, true] {
        let open = one(bench, Place::Dmz, v6, &all)?;
        let silent: Vec<&u16> = all.difference(&open).take(20).collect();
        ensure!(silent.is_empty(), "void: without rules these ports are silent (IPv6 {v6}): {silent:?}");
    }
    bench.load()?;
    let mut swept = 0;
    for to in [Place::Dmz, Place::Cluster] {
        for v6 in [false, true] {
            let may = |port: &u16| {
                let cell = Cell { from: Host::DmzHost, to, v6, knock: Knock::Tcp, port: *port };
                plan::expected(kind, &cell) != Verdict::Dropped
            };
            let planned: BTreeSet<u16> = all.iter().copied().filter(may).collect();
            let open = one(bench, to, v6, &planned)?;
            let some = |ports: Vec<&u16>| format!("{} {:?}", ports.len(), &ports[..ports.len().min(20)]);
            if open != planned {
                let more = some(open.difference(&planned).collect());
                let less = some(planned.difference(&open).collect());
                let line = format!(
                    "{to:?}, IPv6 {v6}: open and should not be: {more}; closed and should not be: {less}"
                );
                bench.fail("sweep", vec![line]);
            }
            swept += all.len();
        }
    }
    Ok(swept)
}

/// Each rule has its effect.
fn mutations(bench: &mut Bench) -> Result<usize> {
    let expected = bench.expected();
    let cells = core_cells(&bench.cells, &expected);
    let rules = bench.rules.clone();
    let mut mutations = Mutations {
        world: &bench.world,
        rules,
        cells,
        expected: &expected,
        round: 2 * tricks::TRIES,
        only: &|_| true,
    };
    let (count, dead) = mutations.dead()?;
    bench.fail("removing it changes nothing", dead);
    Ok(count)
}

/// Other container networks and features: what they open on the wires, and nothing else; each rule they add has its
/// effect. Every network is judged on both kinds of node and its rules are taken away on one of them.
fn networks(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    if !kind.runs_pods() {
        return Ok(0);
    }
    bench.load()?;
    let usual: BTreeSet<String> = rules(&bench.world)?.into_iter().map(|rule| rule.text).collect();
    let cells = variants::network_cells(&bench.world);
    let mut judged = 0;
    for (number, network) in variants::NETWORKS.iter().enumerate() {
        bench.world.own().nft(&nodes::rules_of(&network.node(kind)?, kind)?).context(network.name)?;
        bench.world.own().forget()?;
        let expected = |cell: &Cell| network.expected(kind, cell);
        let run = matrix::run(&bench.world, &cells, &expected)?;
        bench.asked_again += run.asked_again;
        bench.fail(network.name, matrix::differences(&run.verdicts, &expected));
        judged += cells.len();
        if (number % 2 == 0) == (kind == Kind::Master) {
            let open: Vec<Cell> =
                cells.iter().copied().filter(|cell| expected(cell) != Verdict::Dropped).collect();
            let dead = dead_openings(bench, network, &usual, &open)?;
            bench.fail(&format!("{}: removing it changes nothing", network.name), dead);
        }
    }
    bench.load()?;
    Ok(judged)
}

/// Rules for the wires that a network adds and whose removal closes no cell.
fn dead_openings(
    bench: &Bench,
    network: &variants::Network,
    usual: &BTreeSet<String>,
    open: &[Cell],
) -> Result<Vec<String>> {
    let node = bench.world.own();
    let text = nodes::rules_of(&network.node(bench.kind())?, bench.kind())?;
    let is_added =
        |rule: &Rule| ["services", "admitted"].contains(&rule.chain.as_str()) && !usual.contains(&rule.text);
    let mut dead = Vec::new();
    let all = rules(&bench.world)?;
    for (index, rule) in all.iter().enumerate().filter(|(_, rule)| is_added(rule)) {
        node.nft(&text)?;
        let fresh = rules(&bench.world)?;
        let same =
            fresh.get(index).filter(|f| f.text == rule.text).context("the same rules after a reload")?;
        node.nft(&format!("delete rule inet metalstrap {} handle {}\n", same.chain, same.handle))?;
        node.forget()?;
        let mut closed = open.to_vec();
        for quiet in [matrix::QUIET, 2 * matrix::QUIET] {
            let verdicts = matrix::ask(&bench.world, &closed, quiet)?;
            closed.retain(|cell| verdicts.get(cell).is_some_and(|verdict| verdict.is_silence()));
        }
        if closed.is_empty() {
            dead.push(format!("{}: {}", rule.chain, rule.text));
        }
    }
    ensure!(all.iter().any(is_added), "void: {} adds no rule", network.name);
    Ok(dead)
}

/// A node that may open only what it needs: every knock of its own, and each rule for them has its effect.
fn restricted(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    if kind == Kind::DmzProxy {
        // It always is.
        return Ok(0);
    }
    let expected = move |cell: &Cell| variants::expected_restricted(kind, cell);
    let text = nodes::rules_of(&variants::restricted(kind)?, kind)?;
    let own = bench.cells.iter().copied().filter(|cell| cell.from == Host::Own);
    // And a few that come in, whose answers have to go out.
    let inward = bench.cells.iter().copied().filter(|cell| {
        cell.from != Host::Own && cell.to == Place::Cluster && expected(cell) != Verdict::Dropped
    });
    // The operator's own flow, of which the other side is opened too.
    let operators = [Host::Master, Host::Worker, Host::Stranger].into_iter().flat_map(|there| {
        [false, true].map(|v6| Cell {
            from: Host::Own,
            to: Place::Beyond(there),
            v6,
            knock: Knock::Tcp,
            port: matrix::OPERATOR_PORT,
        })
    });
    let cells: Vec<Cell> = own.chain(inward).chain(operators).collect();
    bench.world.own().nft(&text).context("loading the rules with restricted egress")?;
    bench.world.own().forget()?;
    let run = matrix::run(&bench.world, &cells, &expected)?;
    bench.asked_again += run.asked_again;
    bench.fail("egress restricted", matrix::differences(&run.verdicts, &expected));
    let mut count = cells.len();
    // A master has the same rules as a worker, for other addresses.
    if kind != Kind::Master && bench.failures.is_empty() {
        let (world, rules) = (&bench.world, text);
        let only = |rule: &Rule| rule.chain == "output" && !is_vrrp(rule);
        let mut mutations =
            Mutations { world, rules, cells, expected: &expected, round: 2 * tricks::TRIES, only: &only };
        let (taken, dead) = mutations.dead()?;
        bench.fail("egress restricted: removing it changes nothing", dead);
        count += taken;
    }
    if kind == Kind::InternalProxy {
        vrrp_goes_out(bench)?;
    }
    bench.load()?;
    Ok(count)
}

/// A cluster file without IPv6, on wires that have it: over IPv6 nobody gets anywhere.
fn without_ipv6(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    let text = nodes::rules_of(&nodes::node_without_ipv6(kind)?, kind)?;
    bench.world.own().nft(&text).context("loading the rules of a file without IPv6")?;
    bench.world.own().forget()?;
    let expected = move |cell: &Cell| variants::expected_without_ipv6(kind, cell);
    let usual = core_cells(&bench.cells, &bench.expected());
    let cells: Vec<Cell> = usual.into_iter().filter(|cell| cell.v6).collect();
    let run = matrix::run(&bench.world, &cells, &expected)?;
    bench.asked_again += run.asked_again;
    bench.fail("no IPv6 in the file", matrix::differences(&run.verdicts, &expected));
    bench.load()?;
    Ok(cells.len())
}

fn is_vrrp(rule: &Rule) -> bool {
    rule.chain == "output" && ["l4proto vrrp", "l4proto 112"].iter().any(|text| rule.text.contains(text))
}

/// keepalived reaches its peer by one rule; no socket that connects can tell.
fn vrrp_goes_out(bench: &mut Bench) -> Result<()> {
    let text = nodes::rules_of(&variants::restricted(bench.kind())?, bench.kind())?;
    bench.world.own().nft(&text)?;
    if !variants::vrrp_leaves(&bench.world)? {
        bench.fail("egress restricted", vec!["VRRP does not reach the peer".to_owned()]);
    }
    let all = rules(&bench.world)?;
    let rule = all.iter().find(|rule| is_vrrp(rule)).context("the rule for VRRP")?;
    bench.world.own().nft(&format!("delete rule inet metalstrap output handle {}\n", rule.handle))?;
    if variants::vrrp_leaves(&bench.world)? {
        bench.fail("egress restricted", vec![format!("removing it changes nothing: {}", rule.text)]);
    }
    Ok(())
}
