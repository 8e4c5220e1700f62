//! One rule taken away at a time: if nothing anybody can see changes, the rule is dead or untested.

use super::kube_proxy::{self, Mode};
use super::matrix::{self, Cell, SILENT_PORT};
use super::nodes::INGRESS_PORTS;
use super::observe;
use super::plan;
use super::probe::{Knock, Verdict};
use super::topology::{Host, Place, World};
use super::tricks;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;
use std::time::Duration;

/// One rule of our table in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Chain it stands in.
    pub chain: String,
    /// Handle.
    pub handle: u64,
    /// As nft shows it.
    pub text: String,
}

/// The rules of our table, in the order of the kernel.
///
/// # Errors
/// The table is not there.
pub fn rules(world: &World) -> Result<Vec<Rule>> {
    let text = world.own().run(&["nft", "-a", "list", "table", "inet", "metalstrap"], "")?;
    Ok(parse_rules(&text))
}

fn parse_rules(text: &str) -> Vec<Rule> {
    let mut chain = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("chain ") {
            chain = rest.split(' ').next();
        } else if line == "}" {
            chain = None;
        } else if let (Some(chain), Some((rule, handle))) = (chain, line.rsplit_once(" # handle "))
            && let Ok(handle) = handle.parse()
        {
            found.push(Rule { chain: chain.to_owned(), handle, text: rule.to_owned() });
        }
    }
    found
}

/// The cells that mutations are judged by: all that pass, and of the dropped ones the ports that some rule opens to
/// somebody, at every address and from everybody.
pub fn core_cells(all: &[Cell], expected: &dyn Fn(&Cell) -> Verdict) -> Vec<Cell> {
    let opened: BTreeSet<(Knock, u16)> = all
        .iter()
        .filter(|c| c.from != Host::Own && expected(c) != Verdict::Dropped)
        .map(|c| (c.knock, c.port))
        .collect();
    let wanted = |c: &&Cell| match (c.from, c.to) {
        (Host::Own, Place::Beyond(_)) => true,
        (_, Place::Service | Place::HostService) | (Host::Own, _) => c.knock != Knock::Udp,
        _ if c.port == SILENT_PORT || expected(c) != Verdict::Dropped => true,
        (_, Place::Cluster | Place::Dmz) => opened.contains(&(c.knock, c.port)),
        _ => c.knock == Knock::Ping,
    };
    all.iter().filter(wanted).copied().collect()
}

/// Judges one mutation after another.
pub struct Mutations<'a> {
    /// Where.
    pub world: &'a World,
    /// The rule file.
    pub rules: String,
    /// Cells to judge by.
    pub cells: Vec<Cell>,
    /// Their verdicts with all rules.
    pub expected: &'a (dyn Fn(&Cell) -> Verdict + Sync),
    /// Rounds of tricks played so far.
    pub round: u16,
    /// Which rules are taken away.
    pub only: &'a dyn Fn(&Rule) -> bool,
}

/// What can be seen of a rule set besides the cells: tricks by their place in the list, counters of drops by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Signs {
    past: BTreeSet<usize>,
    counters: BTreeSet<String>,
}

impl Signs {
    fn add(&mut self, other: Self) {
        self.past.extend(other.past);
        self.counters.extend(other.counters);
    }
}

impl Mutations<'_> {
    /// The rules that nothing can tell, as `chain: rule`.
    ///
    /// # Errors
    /// The world cannot be probed.
    pub fn dead(&mut self) -> Result<(usize, Vec<String>)> {
        let base = self.base()?;
        self.ensure_logged()?;
        self.load()?;
        let all = rules(self.world)?;
        let chosen: Vec<(usize, &Rule)> =
            all.iter().enumerate().filter(|(_, rule)| (self.only)(rule)).collect();
        let mut dead = Vec::new();
        for (index, rule) in chosen.iter().copied() {
            self.load()?;
            // Handles of a fresh table differ, its order does not.
            let fresh = rules(self.world)?;
            let same =
                fresh.get(index).filter(|f| f.text == rule.text).context("the same rules after a reload")?;
            let delete = format!("delete rule inet metalstrap {} handle {}\n", same.chain, same.handle);
            self.world.own().nft(&delete)?;
            if !self.shows(&base, rule)? && !self.shows_without_pods()? {
                dead.push(format!("{}: {}", rule.chain, rule.text));
            }
        }
        self.load()?;
        Ok((chosen.len(), dead))
    }

    fn load(&self) -> Result<()> {
        self.world.own().nft(&self.rules)?;
        // Nothing passes because it did before, and IPv6 has to find its neighbours under these rules.
        self.world.own().forget()?;
        self.world.own().forget_neighbours()
    }

    /// What is seen with all rules. Played more than once, as a lost packet must not become the measure.
    fn base(&mut self) -> Result<Signs> {
        self.load()?;
        let expected = self.expected;
        let judged = matrix::run(self.world, &self.cells, expected)?;
        let wrong = matrix::differences(&judged.verdicts, expected);
        ensure!(wrong.is_empty(), "void: wrong with all rules already:\n{}", wrong.join("\n"));
        let mut base = self.signs()?;
        base.add(self.signs()?);
        let list = tricks::tricks(self.world.kind, 0);
        let should: BTreeSet<usize> = list.iter().filter(|t| t.passes).map(|t| t.number).collect();
        for _ in 0..tricks::TRIES {
            if should.is_subset(&base.past) {
                break;
            }
            base.add(self.signs()?);
        }
        ensure!(base.past == should, "void: {:?} got past all rules, expected {should:?}", base.past);
        ensure!(!self.shows_without_pods()?, "void: NodePorts differ with all rules already");
        Ok(base)
    }

    /// A refused packet is in the kernel's log; more than one try, as others read and write that log too.
    fn ensure_logged(&mut self) -> Result<()> {
        for _ in 0..tricks::TRIES {
            self.load()?;
            if logs(self.world, &mut self.round)? {
                return Ok(());
            }
        }
        bail!("void: no refused packet is in the kernel's log")
    }

    fn shows(&mut self, base: &Signs, rule: &Rule) -> Result<bool> {
        if rule.text.contains("log prefix") {
            return Ok(!logs(self.world, &mut self.round)?);
        }
        Ok(self.changed(&self.cells, self.expected)? || self.changed_signs(base)?)
    }

    /// Something more is evidence at once; something less when it stays so.
    fn changed_signs(&mut self, base: &Signs) -> Result<bool> {
        let mut seen = self.signs()?;
        for _ in 0..2 {
            if seen == *base {
                return Ok(false);
            }
            let more = !seen.past.is_subset(&base.past) || !seen.counters.is_subset(&base.counters);
            if more {
                return Ok(true);
            }
            seen.add(self.signs()?);
        }
        Ok(seen != *base)
    }

    /// An opened cell is evidence at once; a closed one when it stays closed.
    fn changed(&self, cells: &[Cell], expected: &dyn Fn(&Cell) -> Verdict) -> Result<bool> {
        let verdicts = matrix::ask(self.world, cells, matrix::QUIET)?;
        let changed = verdicts.iter().filter(|(cell, verdict)| expected(cell) != **verdict);
        let (closed, opened): (Vec<_>, Vec<_>) = changed.partition(|(_, verdict)| verdict.is_silence());
        if !opened.is_empty() {
            return Ok(true);
        }
        let mut closed: Vec<Cell> = closed.into_iter().map(|(cell, _)| *cell).collect();
        let still = matrix::ask(self.world, &closed, matrix::QUIET * 2)?;
        closed.retain(|cell| {
            still.get(cell).is_some_and(|verdict| verdict.is_silence() && *verdict != expected(cell))
        });
        Ok(!closed.is_empty())
    }

    /// The same for the NodePorts while nothing rewrites them: then the node itself is to answer.
    fn shows_without_pods(&self) -> Result<bool> {
        let kind = self.world.kind;
        if !kind.runs_pods() {
            return Ok(false);
        }
        // No NodePort is open to pods by itself: they go where kube-proxy sends them.
        let expected = |cell: &Cell| match (self.expected)(cell) {
            Verdict::Dropped => Verdict::Dropped,
            _ if plan::from_pods(cell) => Verdict::Dropped,
            _ => Verdict::Refused,
        };
        let ports = [&INGRESS_PORTS[..], &matrix::OTHER_NODE_PORTS].concat();
        let askers = self.world.others().flat_map(|from| [(from, false), (from, true)]);
        let cells = askers.flat_map(|(from, v6)| {
            let cell =
                move |port: &u16| Cell { from, to: Place::Cluster, v6, knock: Knock::Tcp, port: *port };
            ports.iter().map(cell)
        });
        kube_proxy::unload(self.world.own(), Mode::Iptables)?;
        let shows = self.changed(&cells.collect::<Vec<_>>(), &expected);
        kube_proxy::load(self.world.own(), kind, Mode::Iptables)?;
        shows
    }

    /// Plays the tricks. Which of them got past is told by their place in the list, as their ports change.
    fn signs(&mut self) -> Result<Signs> {
        self.round += 1;
        let list = tricks::tricks(self.world.kind, self.round);
        let seen = tricks::play(self.world, &list)?;
        let past = list.iter().filter(|trick| seen.contains(&trick.sighting)).map(|t| t.number).collect();
        let mut counters = observe::counters(self.world.own())?;
        counters.retain(|name| name.starts_with("drop_"));
        Ok(Signs { past, counters })
    }
}

/// Whether refused packets are logged: the kernel logs for namespaces only when told to, for a moment here.
fn logs(world: &World, round: &mut u16) -> Result<bool> {
    const SWITCH: &str = "/proc/sys/net/netfilter/nf_log_all_netns";
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().map_err(|_| anyhow!("another reader of the log ended by a panic"))?;
    let before = std::fs::read_to_string(SWITCH).context("reading whether namespaces may log")?;
    let mut log = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open("/dev/kmsg")
        .context("opening the kernel's log")?;
    drain(&mut log);
    std::fs::write(SWITCH, "1").context("letting namespaces log")?;
    *round += 1;
    let played = tricks::play(world, &tricks::tricks(world.kind, *round));
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(SWITCH, before).context("forbidding namespaces to log again")?;
    played?;
    // Another world's packets are not ours.
    let marks =
        [Place::Cluster, Place::Dmz].map(|place| format!("DST={} ", place.address(world.kind, false)));
    let is_ours =
        |line: &str| line.contains("metalstrap drop") && marks.iter().any(|mark| line.contains(mark));
    Ok(drain(&mut log).lines().any(is_ours))
}

fn drain(log: &mut std::fs::File) -> String {
    let mut text = String::new();
    let mut record = [0u8; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return text,
            Ok(length) => text += &format!("{}\n", String::from_utf8_lossy(&record[..length])),
            // Records overwritten before they were read.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            Err(_) => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rule, parse_rules};

    #[test]
    fn finds_rules_with_chain_and_handle_and_nothing_else() {
        let text = "table inet metalstrap { # handle 4\n\tset nodes { # handle 9\n\t\telements = { 10.0.0.1 }\n\t}\n\
                    \tchain guard { # handle 1\n\t\ttype filter hook prerouting priority -110; policy accept;\n\
                    \t\tiifname \"lo\" accept # handle 12\n\t}\n}\n";
        let rule = Rule { chain: "guard".to_owned(), handle: 12, text: "iifname \"lo\" accept".to_owned() };
        assert_eq!(parse_rules(text), [rule]);
    }
}
