//! The host firewall against real packets: every kind of node, every neighbour, both families. Prints one table; needs
//! root, because it makes network namespaces, and fails without.
#![allow(clippy::disallowed_methods, reason = "a test: it measures itself and writes scratch files")]

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};
use tests::firewall::kube_proxy::{self, Mode};
use tests::firewall::listen::Listeners;
use tests::firewall::matrix::{self, Cell};
use tests::firewall::mutate::{Mutations, core_cells};
use tests::firewall::nodes::{self, Kind};
use tests::firewall::probe::{Knock, Probe, Verdict, probe};
use tests::firewall::random::{self, Dice};
use tests::firewall::topology::{Host, Place, World};
use tests::firewall::{plan, reload, sweep, tricks};

const RELOADS: usize = 300;
const KILLS: u64 = 20;
/// Random cases on each kind of node: 500 in all.
const RANDOM_CASES: usize = 125;
/// Least number of cells in the matrix of all kinds.
const LEAST_CELLS: usize = 3000;
/// Tries until the network must be up.
const PATIENCE: usize = 15;
/// Failures told in full.
const SHOWN: usize = 80;
/// More than a conntrack entry of the control lives.
const FORGET: Duration = Duration::from_millis(1200);

/// One node with its world, and what was found.
struct Bench {
    world: World,
    _services: Vec<Listeners>,
    cells: Vec<Cell>,
    rules: String,
    seed: u64,
    failures: Vec<String>,
}

/// What a step adds to the table: cells, packets, ports or rules judged.
type Step = fn(&mut Bench) -> Result<usize>;

const STEPS: &[(&str, Step)] = &[
    ("control, no rules", control),
    ("tricks", play_tricks),
    ("matrix", whole_matrix),
    ("kube-proxy, orders", orders),
    ("random cases", random_cases),
    ("mapped addresses", mapped_addresses),
    ("ports swept", sweeps),
    ("reloads in a flood", reloads),
    ("rules taken away", mutations),
];

impl Bench {
    fn new(kind: Kind, seed: u64) -> Result<Self> {
        let world = World::build(kind)?;
        let services = matrix::open_services(&world)?;
        let cells = matrix::cells(kind, &world);
        prove_up(&world)?;
        if kind.runs_pods() {
            kube_proxy::load(world.own(), kind, Mode::Iptables)?;
        }
        let rules = nodes::rules(kind)?;
        Ok(Self { world, _services: services, cells, rules, seed, failures: Vec::new() })
    }

    fn kind(&self) -> Kind {
        self.world.kind
    }

    fn expected(&self) -> impl Fn(&Cell) -> Verdict + Sync + use<> {
        let kind = self.kind();
        move |cell| plan::expected(kind, cell)
    }

    fn load(&self) -> Result<()> {
        self.world.own().nft(&self.rules).context("loading the rules")
    }

    fn fail(&mut self, what: &str, lines: Vec<String>) {
        let kind = self.kind().name();
        self.failures.extend(lines.into_iter().map(|line| format!("{kind}, {what}: {line}")));
    }

    /// Runs cells and notes those that differ.
    fn judge(&mut self, what: &str, cells: &[Cell]) -> Result<()> {
        let expected = self.expected();
        let verdicts = matrix::run(&self.world, cells, &expected)?;
        self.fail(what, matrix::differences(&verdicts, &expected));
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

/// Without rules everything is open, else nothing after this proves anything.
fn control(bench: &mut Bench) -> Result<usize> {
    let verdicts = matrix::run(&bench.world, &bench.cells, &matrix::natural)?;
    let differences = matrix::differences(&verdicts, &matrix::natural);
    ensure!(
        differences.is_empty(),
        "void: not everything is open without rules:\n{}",
        differences.join("\n")
    );
    Ok(verdicts.len())
}

/// Every trick gets past where there are no rules, and only those that may where there are.
fn play_tricks(bench: &mut Bench) -> Result<usize> {
    let list = tricks::tricks(bench.kind(), 0);
    let seen = tricks::play(&bench.world, &list)?;
    let unseen: Vec<&str> =
        list.iter().filter(|t| !seen.contains(&t.sighting)).map(|t| t.name.as_str()).collect();
    ensure!(unseen.is_empty(), "void: not seen without rules:\n{}", unseen.join("\n"));
    std::thread::sleep(FORGET);
    bench.load()?;
    let list = tricks::tricks(bench.kind(), 1);
    let seen = tricks::play(&bench.world, &list)?;
    let wrong = list.iter().filter(|t| seen.contains(&t.sighting) != t.passes);
    let wrong = wrong.map(|t| format!("{}: passed {}, expected {}", t.name, !t.passes, t.passes)).collect();
    bench.fail("tricks", wrong);
    Ok(list.len())
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
        bench.world.own().nft("delete table inet metalstrap\n")?;
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
    bench.world.own().nft("delete table inet metalstrap\n")?;
    std::thread::sleep(FORGET);
    let verdicts = matrix::run(&bench.world, &cells, &matrix::natural)?;
    let differences = matrix::differences(&verdicts, &matrix::natural);
    ensure!(differences.is_empty(), "void: nftables mode, no rules:\n{}", differences.join("\n"));
    std::thread::sleep(FORGET);
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
        let verdicts = probe(&bench.world.spaces[&from], &probes, Duration::from_millis(1300))?;
        let wrong = cells.iter().zip(&verdicts).filter(|(cell, verdict)| expected(cell) != **verdict);
        let wrong = wrong.map(|(cell, verdict)| format!("{cell}: {verdict:?}")).collect();
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
    let mut one = |bench: &Bench, to, v6| {
        source_port += 10;
        sweep::sweep(&bench.world, Host::DmzHost, to, v6, source_port)
    };
    bench.world.own().nft("delete table inet metalstrap\n")?;
    for v6 in [false, true] {
        let open = one(bench, Place::Dmz, v6)?;
        let silent: Vec<&u16> = all.difference(&open).take(20).collect();
        ensure!(silent.is_empty(), "void: without rules these ports are silent (IPv6 {v6}): {silent:?}");
    }
    std::thread::sleep(FORGET);
    bench.load()?;
    let mut swept = 0;
    for to in [Place::Dmz, Place::Cluster] {
        for v6 in [false, true] {
            let open = one(bench, to, v6)?;
            let may = |port: &u16| {
                let cell = Cell { from: Host::DmzHost, to, v6, knock: Knock::Tcp, port: *port };
                plan::expected(kind, &cell) != Verdict::Dropped
            };
            let planned: BTreeSet<u16> = all.iter().copied().filter(may).collect();
            if open != planned {
                bench.fail("sweep", vec![format!("{to:?}, IPv6 {v6}: open {open:?}, planned {planned:?}")]);
            }
            swept += all.len();
        }
    }
    Ok(swept)
}

/// Replaced under fire: nothing leaks, and the tables of others stay as they are.
fn reloads(bench: &mut Bench) -> Result<usize> {
    let kind = bench.kind();
    // What others have beside our table; a proxy has nothing.
    let foreign = |bench: &Bench| match kind.runs_pods() {
        true => kube_proxy::listing(bench.world.own(), Mode::Iptables),
        false => Ok(String::new()),
    };
    bench.world.own().nft("delete table inet metalstrap\n")?;
    let open = reload::flood(&bench.world, || {
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    })?;
    ensure!(open.answers > 0, "void: without rules the flood hears no answer ({} sent)", open.sent);
    std::thread::sleep(FORGET);
    bench.load()?;
    let before = foreign(bench)?;
    let file = tempfile::NamedTempFile::new().context("making a scratch file")?;
    std::fs::write(file.path(), &bench.rules).context("writing the rules")?;
    let flooded = reload::flood(&bench.world, || {
        for _ in 0..RELOADS {
            bench.load()?;
        }
        for number in 0..KILLS {
            reload::kill_midway(&bench.world, file.path(), Duration::from_micros(number * 500))?;
        }
        Ok(())
    })?;
    if flooded.answers > 0 {
        bench
            .fail("reloads", vec![format!("{} answers to {} forbidden SYNs", flooded.answers, flooded.sent)]);
    }
    if foreign(bench)? != before {
        bench.fail("reloads", vec!["a table of others has changed".to_owned()]);
    }
    bench
        .world
        .own()
        .run(&["nft", "list", "table", "inet", "metalstrap"], "")
        .context("after killing nft")?;
    Ok(RELOADS)
}

/// Each rule has its effect.
fn mutations(bench: &mut Bench) -> Result<usize> {
    let expected = bench.expected();
    let cells = core_cells(&bench.cells, &expected);
    let rules = bench.rules.clone();
    let mut mutations = Mutations { world: &bench.world, rules, cells, expected: &expected, round: 2 };
    let (count, dead) = mutations.dead()?;
    bench.fail("removing it changes nothing", dead);
    Ok(count)
}

/// What one kind of node gave: count and seconds of each step, failures.
struct Row {
    kind: Kind,
    steps: Vec<(usize, f64)>,
    failures: Vec<String>,
}

fn prove(kind: Kind, seed: u64) -> Result<Row> {
    let mut bench = Bench::new(kind, seed).context("building the world")?;
    let mut steps = Vec::new();
    for (name, step) in STEPS {
        let start = Instant::now();
        let count = step(&mut bench).with_context(|| format!("step `{name}`"))?;
        steps.push((count, start.elapsed().as_secs_f64()));
    }
    Ok(Row { kind, steps, failures: bench.failures })
}

fn print_table(rows: &[Row], seconds: f64) {
    print!("{:<22}", "");
    rows.iter().for_each(|row| print!("{:>20}", row.kind.name()));
    println!();
    for (index, (name, _)) in STEPS.iter().enumerate() {
        print!("{name:<22}");
        for (count, seconds) in rows.iter().filter_map(|row| row.steps.get(index)) {
            print!("{:>20}", format!("{count} {seconds:>6.1} s"));
        }
        println!();
    }
    println!("all in {seconds:.1} s");
}

fn main() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the packet proof makes network namespaces and loads rules into them: run it as root");
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("reading the limit of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("reading the clock")?;
    let seed = match std::env::var("FIREWALL_SEED") {
        Ok(text) => text.parse().context("FIREWALL_SEED is a number")?,
        Err(_) => now.as_secs(),
    };
    let start = Instant::now();
    let only = std::env::var("FIREWALL_KIND").ok();
    let wanted = |kind: &Kind| only.as_ref().is_none_or(|name| name == kind.name());
    let queue: Mutex<Vec<Kind>> = Mutex::new(Kind::ALL.into_iter().rev().filter(wanted).collect());
    let rows = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let Some(kind) = queue.lock().map_err(|_| anyhow!("a prover ended"))?.pop() else {
                return Ok(());
            };
            let row = prove(kind, seed).with_context(|| kind.name())?;
            rows.lock().map_err(|_| anyhow!("a prover ended"))?.push(row);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow!("a prover ended by a panic"))?)
    })?;
    let mut rows = rows.into_inner().context("collecting the results")?;
    rows.sort_by_key(|row| row.kind);
    print_table(&rows, start.elapsed().as_secs_f64());
    let cells: usize = rows.iter().filter_map(|row| row.steps.get(2)).map(|(cells, _)| cells).sum();
    ensure!(only.is_some() || cells >= LEAST_CELLS, "only {cells} cells in the matrix");
    let failures: Vec<String> = rows.into_iter().flat_map(|row| row.failures).collect();
    let first: Vec<&str> = failures.iter().take(SHOWN).map(String::as_str).collect();
    ensure!(
        failures.is_empty(),
        "{} failures, the first {}:\n{}",
        failures.len(),
        first.len(),
        first.join("\n")
    );
    Ok(())
}
