//! `metalstrap apply`: a changed cluster file on an installed node.

use super::cluster::read_cluster;
use super::{Global, OutputFormat, print_bytes, print_json};
use crate::config_source::{KernelArgs, LiveWorld, find_config, load_found};
use crate::exit::{ExitCode, ExitWith, Failure};
use crate::inventory::collect;
use crate::reconfigure::{self, Action, Change, Effects, Prepared, prepare};
use crate::refusal::Refusal;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write as _};
use std::path::PathBuf;
use sysio::command::Cmd;
use sysio::nft;
use sysio::sysfs::SysRoot;

/// Schema id of the JSON output.
const SCHEMA: &str = "metalstrap.apply/v1";

/// Arguments of `metalstrap apply`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The changed cluster file; without it, the one on a volume labelled METALSTRAP or CIDATA.
    #[arg(value_name = "FILE", conflicts_with_all = ["confirm", "revert", "recover"])]
    pub file: Option<PathBuf>,
    /// Go back by itself after so many seconds, also across a reboot, unless `metalstrap apply --confirm` comes first.
    #[arg(long = "try", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=3600))]
    pub trial: Option<u64>,
    /// Show what would change, and write nothing.
    #[arg(long, conflicts_with = "trial")]
    pub dry_run: bool,
    /// Keep the change that is on trial.
    #[arg(long, conflicts_with_all = ["trial", "dry_run", "revert", "recover"])]
    pub confirm: bool,
    /// Go back to what was before the trial.
    #[arg(long, conflicts_with_all = ["trial", "dry_run", "recover"])]
    pub revert: bool,
    /// Only this very trial; for its alarm.
    #[arg(long, value_name = "ID", hide = true, requires = "revert")]
    pub id: Option<String>,
    /// Finish or take back what a power cut has left; the installed system does it early in each boot.
    #[arg(long, hide = true, conflicts_with_all = ["trial", "dry_run"])]
    pub recover: bool,
}

/// Runs it.
///
/// # Errors
/// Exit code 2: the file is wrong, or changes what cannot change; 4: no installed node, or a unit could not be told; 6: a file cannot be
/// written.
pub fn run(args: &Args, global: &Global) -> Result<ExitCode, Failure> {
    let root = SysRoot::default();
    let mut effects = Systemd;
    if args.recover {
        let direction = reconfigure::recover(&root, &mut effects)?;
        let text = match direction {
            None => "nothing was pending\n",
            Some(reconfigure::journal::Direction::Forward) => "finished the change that was cut off\n",
            Some(reconfigure::journal::Direction::Back) => {
                "took the change on trial back: it was never confirmed\n"
            }
        };
        print_bytes(text.as_bytes())?;
    } else if args.confirm {
        reconfigure::confirm(&root, &mut effects)?;
        print_bytes(b"kept\n")?;
    } else if args.revert {
        if reconfigure::revert(&root, args.id.as_deref(), &mut effects)? {
            print_bytes(b"back at what was before the trial\n")?;
        }
    } else {
        apply(args, global, &root, &mut effects)?;
    }
    Ok(ExitCode::Ok)
}

fn apply(args: &Args, global: &Global, root: &SysRoot, effects: &mut dyn Effects) -> Result<(), Failure> {
    let prepared = prepare(root, &read_file(args)?)?;
    match global.output {
        OutputFormat::Json => print_json(&Shown::of(&prepared, args.dry_run))?,
        OutputFormat::Table => print_bytes(render(&prepared).as_bytes())?,
    }
    if args.dry_run || prepared.changes.is_empty() && prepared.actions.is_empty() {
        return Ok(());
    }
    if args.trial.is_none() && !global.yes && !asked() {
        let message = "the change was not confirmed; nothing was written";
        return Err(Refusal::new("E_NOT_CONFIRMED", ExitCode::InvalidInput, message).into());
    }
    let id = uuid::Uuid::new_v4().to_string();
    reconfigure::begin(root, &prepared, &id, args.trial, effects)?;
    if global.output == OutputFormat::Table {
        let text = match args.trial {
            None => "applied\n".to_owned(),
            Some(seconds) => {
                format!(
                    "applied on trial: back again in {seconds} s, unless `metalstrap apply --confirm` comes first\n"
                )
            }
        };
        print_bytes(text.as_bytes())?;
    }
    Ok(())
}

/// The cluster file that is named, or the one on a volume.
fn read_file(args: &Args) -> Result<profiles::Cluster, Failure> {
    let (cluster, warnings) = match &args.file {
        Some(file) => read_cluster(file, None)?,
        None => {
            let inventory = collect(&SysRoot::default()).exit_with(ExitCode::Environment)?;
            load_found(&find_config(&KernelArgs::default(), &inventory, &mut LiveWorld::default())?)?
        }
    };
    for warning in warnings {
        tracing::warn!(%warning, "cluster file");
    }
    Ok(cluster)
}

fn asked() -> bool {
    if !std::io::stdin().is_terminal() {
        return false;
    }
    let mut answer = String::new();
    let shown = std::io::stderr().write_all(b"Apply? [y/N] ");
    shown.is_ok()
        && std::io::stdin().lock().read_line(&mut answer).is_ok()
        && matches!(answer.trim(), "y" | "Y" | "yes")
}

fn render(prepared: &Prepared) -> String {
    let mut text = String::new();
    for change in &prepared.changes {
        let kind = match change.kind() {
            reconfigure::Kind::Add => "new",
            reconfigure::Kind::Change => "changed",
            reconfigure::Kind::Remove => "removed",
        };
        let by_hand = if change.edited_by_hand { ", changed by hand since it was written" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({kind}{by_hand})", change.path);
        for line in change.lines() {
            let _ = writeln!(text, "{line}");
        }
    }
    for action in prepared.told() {
        let _ = writeln!(text, "then: {action}");
    }
    if prepared.changes.is_empty() && prepared.actions.is_empty() {
        let _ = writeln!(text, "{} is as the cluster file says, nothing to do", prepared.hostname);
    }
    text
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    hostname: &'a str,
    dry_run: bool,
    changes: Vec<ShownChange<'a>>,
    actions: Vec<String>,
}

#[derive(Serialize)]
struct ShownChange<'a> {
    path: &'a str,
    kind: reconfigure::Kind,
    secret: bool,
    edited_by_hand: bool,
    diff: Vec<String>,
}

impl<'a> Shown<'a> {
    fn of(prepared: &'a Prepared, dry_run: bool) -> Self {
        let change = |change: &'a Change| ShownChange {
            path: &change.path,
            kind: change.kind(),
            secret: change.secret,
            edited_by_hand: change.edited_by_hand,
            diff: change.lines(),
        };
        Self {
            schema: SCHEMA,
            hostname: &prepared.hostname,
            dry_run,
            changes: prepared.changes.iter().map(change).collect(),
            actions: prepared.told().iter().map(ToString::to_string).collect(),
        }
    }
}

/// The running system.
struct Systemd;

impl Systemd {
    /// The timer of a trial. systemd keeps it: neither the end of this program nor that of the connection stops it.
    fn timer(id: &str) -> String {
        format!("metalstrap-apply-revert-{id}")
    }
}

fn run_all(commands: Vec<Vec<String>>) -> Result<(), String> {
    for words in commands {
        let Some((program, arguments)) = words.split_first() else { continue };
        let done = Cmd::new(program).args(arguments).run();
        done.map_err(|error| format!("{:#}", anyhow::Error::new(error)))?;
    }
    Ok(())
}

impl Effects for Systemd {
    fn check_rules(&mut self, rules: &str) -> Result<(), String> {
        nft::check(rules).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    fn act(&mut self, action: &Action) -> Result<(), String> {
        run_all(action.commands())
    }

    fn act_at_boot(&mut self, action: &Action) -> Result<(), String> {
        run_all(action.boot_commands())
    }

    fn arm(&mut self, id: &str, seconds: u64) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        let armed = Cmd::new("systemd-run")
            .args(["--quiet", "--collect", "--timer-property=AccuracySec=1s"])
            .arg(format!("--unit={}", Self::timer(id)))
            .arg(format!("--on-active={seconds}s"))
            .arg(program)
            .args(["apply", "--revert", "--id", id])
            .run();
        armed.map(drop).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    fn disarm(&mut self, id: &str) {
        // Without its journal the alarm does nothing; that it still rings is no harm.
        let timer = format!("{}.timer", Self::timer(id));
        if let Err(error) = Cmd::new("systemctl").args(["stop", &timer]).run() {
            tracing::debug!(%error, timer, "stopping the timer of the trial failed");
        }
    }
}
