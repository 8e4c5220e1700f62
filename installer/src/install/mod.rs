//! `metalstrap install`: from power-on to the reboot into the installed system, as a list of small steps.
//!
//! kernel arguments → inventory → config → who am I → handing over? → memory → disk → plan → apply → reboot.

mod keep;
mod kept;
mod machine;
mod outcome;
mod reporter;
mod session;
mod typed_network;

pub use outcome::{OUTCOME_PATH, OUTCOME_SCHEMA, Outcome};

use crate::apply::{ApplyFailure, apply_plan, resume_plan};
use crate::codes::{Retry, advise};
use crate::config_source::{
    FoundConfig, KernelArgs, LiveWorld, Mode, SECRETS_NAME, find_config, load_found, parse_kernel_args,
};
use crate::console::{
    ConsoleOperator, Lines, render_advice, render_halt, render_handover, render_installed, render_refused,
    render_stopped, render_warning,
};
use crate::disks::{DiskOverrides, NodeDisks, TargetDisk, choose_disks};
use crate::exit::ExitCode;
use crate::handover;
use crate::identify::identify_node;
use crate::inventory::{Inventory, collect};
use crate::medium::{Sources, read_medium};
use crate::plan::data::{DataChoice, PlannedDataDisk};
use crate::plan::ids::InstallIds;
use crate::plan::text::render_text;
use crate::plan::{Planned, PlannedDisk, secrets};
use crate::preflight::collect::{Subject, collect_facts};
use crate::preflight::{Parts, Prepared, Purpose, Skips, ensure_skippable, render_lines};
use crate::probe::runs_already;
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, NodeSecrets};
use profiles::secret::Secret;
use reporter::ConsoleReporter;
use std::path::{Path, PathBuf};
use sysio::files::read_start;
use sysio::sysfs::SysRoot;
use uuid::Uuid;

/// What the operator or the boot service asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Never ask, take the kernel's arguments, reboot at the end.
    pub unattended: bool,
    /// Cluster file instead of the search.
    pub config: Option<PathBuf>,
    /// Host name instead of finding out.
    pub node: Option<String>,
    /// As `metalstrap.disk`.
    pub disk: Option<String>,
    /// As `metalstrap.wipe`.
    pub wipe: Option<String>,
    /// Preflight checks that are left out.
    pub skip: Vec<String>,
    /// Do not reboot.
    pub no_reboot: bool,
    /// Where the medium is mounted.
    pub medium: PathBuf,
    /// Do not ask before the first write.
    pub yes: bool,
    /// Whether an unfinished install on the disk is carried on.
    pub resume: Resume,
    /// Kernel arguments that were typed at the console; stronger than those of the kernel.
    pub typed_arguments: String,
}

/// Whether an unfinished install on the disk is carried on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Begin anew, with new identities.
    #[default]
    No,
    /// Carry on if the disk has the mark, else begin anew: for a further attempt of the same program.
    IfMarked,
    /// Carry on or refuse.
    Must,
}

/// Why an install ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It will not go on; nothing was written.
    Refused(Refusal),
    /// A step failed.
    Failed(Box<ApplyFailure>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Stop {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal.clone(),
            Self::Failed(failure) => {
                Refusal::new(failure.code, failure.exit, failure.message()).with_details(failure.details())
            }
        }
    }

    /// What was being done: a step of the plan, or one of those before there is a plan.
    fn step(&self, before: &Stage) -> String {
        match self {
            Self::Refused(_) => before.doing.to_owned(),
            Self::Failed(failure) => format!("{} (phase {})", failure.step, failure.phase),
        }
    }
}

/// What an install is doing before there is a plan; a failure there names it.
#[derive(Debug)]
struct Stage {
    doing: &'static str,
    /// What it goes by, once that is found.
    config: Option<FoundConfig>,
}

impl Stage {
    /// The next thing begins: a gerund with its object.
    fn enter(&mut self, doing: &'static str) {
        tracing::debug!(doing, "install");
        self.doing = doing;
    }
}

/// How one attempt ended.
struct Ended {
    outcome: Outcome,
    /// Why it stopped; `None` when it came to its end.
    refusal: Option<Refusal>,
    /// What it went by, if that was found.
    config: Option<FoundConfig>,
}

impl Ended {
    /// Keeps the outcome in [`OUTCOME_PATH`].
    fn keep<L: Lines + ?Sized>(&self, screen: &mut L) {
        if let Err(error) = self.outcome.write() {
            screen.line(&render_warning(&format!("the outcome could not be kept: {error:#}")));
        }
    }

    /// Reboots or whatever else follows an attempt that came to its end.
    fn end<L: Lines + ?Sized>(&self, no_reboot: bool, screen: &mut L) -> ExitCode {
        match self.outcome.end(no_reboot) {
            Ok(()) => self.outcome.exit(),
            Err(error) => {
                screen.line(&render_warning(&format!("{error:#}; start the machine again by hand")));
                ExitCode::Environment
            }
        }
    }
}

/// Runs the install once and says on the screen how it ended; the same stands in [`OUTCOME_PATH`].
pub fn run_install(options: &Options, screen: &mut dyn Lines, ask: &mut dyn FnMut(&str) -> bool) -> ExitCode {
    let ended = attempt(options, screen, ask, false);
    ended.keep(screen);
    match &ended.refusal {
        Some(refusal) => {
            screen.line(&render_stopped(refusal.exit));
            refusal.exit
        }
        None => ended.end(options.no_reboot, screen),
    }
}

/// Runs the install at the consoles of the machine: tries again what may pass, and after a stop takes orders (0008).
pub fn run_attended(options: &Options) -> ExitCode {
    let mut work = machine::Installer::new(options.clone());
    session::run(&mut work, &mut ConsoleOperator::open(), Retry::default())
}

/// One attempt. Says why it stopped, with everything but the last line; `touched` when an earlier one wrote to the disk.
fn attempt<L: Lines + ?Sized>(
    options: &Options,
    mut screen: &mut L,
    ask: &mut dyn FnMut(&str) -> bool,
    touched: bool,
) -> Ended {
    let mut stage = Stage { doing: "reading the kernel arguments", config: None };
    let stop = match install(options, &mut screen, ask, &mut stage) {
        Ok(outcome) => return Ended { outcome, refusal: None, config: stage.config },
        Err(stop) => stop,
    };
    let (mut refusal, step) = (stop.refusal(), stop.step(&stage));
    if touched {
        refusal.exit = ExitCode::DiskTouched;
    }
    let advice = advise(refusal.code, &refusal.message);
    render_refused(&refusal).iter().for_each(|line| screen.line(line));
    render_advice(&step, &advice).iter().for_each(|line| screen.line(line));
    let outcome = Outcome::refused(&refusal, step, advice);
    Ended { outcome, refusal: Some(refusal), config: stage.config }
}

fn install(
    options: &Options,
    screen: &mut dyn Lines,
    ask: &mut dyn FnMut(&str) -> bool,
    stage: &mut Stage,
) -> Result<Outcome, Stop> {
    let args = merged_args(options)?;
    args.warnings.iter().for_each(|warning| screen.line(&render_warning(warning)));
    if matches!(args.mode, Mode::Wait | Mode::Rescue) {
        screen.line("metalstrap: waiting, nothing is installed in this mode");
        return Ok(Outcome::waiting());
    }
    stage.enter("looking at the machine");
    let inventory = collect_inventory()?;
    stage.enter("finding the cluster file and this node in it");
    let (node, mut secrets, skips) = find_node(options, &args, &inventory, stage, screen)?;
    stage.enter("handing over to an installed system");
    let reinstall = args.reinstall.filter(|id| inventory.has_install(*id));
    if reinstall.is_none()
        && let Some(outcome) = hand_over(&args, &inventory, &node, screen)?
    {
        return Ok(outcome);
    }
    stage.enter("choosing the disk");
    let overrides = DiskOverrides { serial: args.disk.clone(), wipe: args.wipe.clone(), reinstall };
    let disks = choose_disks(&inventory, &node, &overrides).map_err(Refusal::from);
    let resumed = disks.as_ref().map_or(Ok(None), |disks| resumed_install(options.resume, disks.system()))?;
    stage.enter("gathering the tokens");
    let purpose = if args.mode == Mode::Plan { Purpose::Plan } else { Purpose::Install };
    let tokens = match purpose {
        Purpose::Install => fill_tokens(&node, &mut secrets, disks.as_ref().ok(), screen),
        Purpose::Plan | Purpose::Live => secrets::foresee_tokens(&node, &secrets),
    };
    if let (Some(_), Ok(disks)) = (reinstall, &disks) {
        keep_node_password(disks, &mut secrets, screen);
    }
    if purpose == Purpose::Install {
        secrets::fill_node_password(&node, &mut secrets, rand::random());
    }
    stage.enter("looking at the machine and asking the network");
    screen.line("metalstrap: asking the network whether the addresses of this node are free");
    let subject =
        Subject { node: Some(&node), inventory: &inventory, disks: disks.as_ref().ok(), may_change: true };
    let mut facts = collect_facts(&subject);
    let cluster_exists = facts.legs.as_ref().is_ok_and(|legs| runs_already(&node, legs));
    stage.enter("reading the medium and making the plan");
    let medium = Some(read_medium(&options.medium, Path::new("/")));
    let ids = resumed.map_or_else(InstallIds::random, InstallIds::from_install);
    let prepared =
        Prepared::new(Parts { node, disks, tokens, medium, cluster_exists }, &secrets, &inventory, &ids);
    stage.enter("making the preflight checks");
    prepared.complete(&mut facts, Some(&Sources::of_medium(&options.medium)));
    let report = prepared.judge(purpose, &inventory, &facts, &skips);
    render_lines(&report).iter().for_each(|line| screen.line(&format!("metalstrap: {line}")));
    report.refusal().map_or(Ok(()), Err)?;
    let (disks, mut planned) = prepared.into_plan()?;
    if purpose == Purpose::Plan {
        render_text(&planned.plan).lines().for_each(|line| screen.line(line));
        return Ok(Outcome::planned(disks.system().path()));
    }
    planned.checks = report.recorded();
    planned.plan.warnings.iter().for_each(|warning| screen.line(&render_warning(warning)));
    note_unkept(
        keep::keep_tokens(&secrets).map_err(Into::into).and_then(|()| keep::keep_plan(&planned)),
        screen,
    );
    stage.enter("asking for confirmation");
    confirm(options, &planned, ask)?;
    stage.enter("carrying out the plan");
    carry_out(&planned, &disks, resumed.is_some(), options, screen)
}

/// Id of the install that is carried on.
fn resumed_install(resume: Resume, disk: &TargetDisk) -> Result<Option<Uuid>, Refusal> {
    match (resume, disk.disk().unfinished_install) {
        (Resume::No, _) | (Resume::IfMarked, None) => Ok(None),
        (_, Some(install)) => Ok(Some(install)),
        (Resume::Must, None) => {
            let message = format!("{} carries no unfinished install", disk.path());
            Err(Refusal::new("E_RESUME", ExitCode::InvalidInput, message))
        }
    }
}

/// The kernel's arguments, with the command line's on top. Without `--unattended` the mode is always to install.
fn merged_args(options: &Options) -> Result<KernelArgs, Refusal> {
    let line = SysRoot::new("/").read_raw("/proc/cmdline").unwrap_or_default();
    let mut args = parse_kernel_args(&format!("{line} {}", options.typed_arguments))?;
    if args.installed && options.unattended {
        let message = "this is an installed system; start the machine from a medium to install it";
        return Err(Refusal::new("E_INSTALLED_SYSTEM", ExitCode::Environment, message));
    }
    if !options.unattended {
        args.mode = Mode::Install;
    }
    ensure_skippable(&options.skip, "--skip")?;
    args.node = options.node.clone().or(args.node);
    args.disk = options.disk.clone().or(args.disk);
    args.wipe = options.wipe.clone().or(args.wipe);
    Ok(args)
}

fn collect_inventory() -> Result<Inventory, Refusal> {
    collect(&SysRoot::new("/")).map_err(|error| {
        Refusal::new("E_INVENTORY", ExitCode::Environment, format!("{:#}", anyhow::Error::new(error)))
    })
}

/// A support bundle will lack something; the install goes on.
fn note_unkept(kept: anyhow::Result<()>, screen: &mut dyn Lines) {
    if let Err(error) = kept {
        screen.line(&render_warning(&format!("not kept for a support bundle: {error:#}")));
    }
}

/// Config, cluster, and which of its nodes this machine is.
fn find_node(
    options: &Options,
    args: &KernelArgs,
    inventory: &Inventory,
    stage: &mut Stage,
    screen: &mut dyn Lines,
) -> Result<(NodeConfig, NodeSecrets, Skips), Refusal> {
    let found = match &options.config {
        Some(path) => read_config(path)?,
        None => find_config(args, inventory, &mut LiveWorld::default())?,
    };
    let found = &*stage.config.insert(found);
    let files: Vec<&[u8]> =
        std::iter::once(&found.cluster).chain(&found.secrets).map(Vec::as_slice).collect();
    note_unkept(keep::keep_secrets_of_files(&files).map_err(Into::into), screen);
    let (cluster, diagnostics) = load_found(found)?;
    diagnostics.iter().for_each(|d| screen.line(&render_warning(&d.to_string())));
    let identified = identify_node(&cluster.identities(), inventory, args.node.as_deref())?;
    let name = &identified.hostname;
    screen.line(&format!(
        "metalstrap: this is {name} of cluster {} ({}), configured by {}",
        cluster.name(),
        identified.because,
        found.origin
    ));
    let resolve = |error: profiles::ResolveError| {
        Refusal::new("E_NODE_RESOLVE", ExitCode::InvalidInput, error.to_string())
    };
    let mut skips = Skips::default();
    skips.add(&options.skip, "--skip");
    skips.add(&args.skip, "metalstrap.skip");
    skips.add(cluster.skipped_checks(), "the cluster file");
    let secrets = cluster.secrets_for(name).map_err(resolve)?;
    found.warn_of_way(&secrets).into_iter().for_each(|warning| screen.line(&render_warning(warning)));
    Ok((cluster.resolve(name).map_err(resolve)?, secrets, skips))
}

fn read_config(path: &Path) -> Result<FoundConfig, Refusal> {
    let unreadable = |error: sysio::files::FileError| {
        Refusal::new(
            "E_CONFIG_UNREADABLE",
            ExitCode::InvalidInput,
            format!("{:#}", anyhow::Error::new(error)),
        )
    };
    let read = |path: &Path| read_start(path, crate::config_source::CONFIG_READ_BYTES).map_err(unreadable);
    let beside = path.with_file_name(SECRETS_NAME);
    let secrets = if beside.exists() { Some(read(&beside)?) } else { None };
    Ok(FoundConfig { origin: path.display().to_string(), cluster: read(path)?, secrets })
}

/// The way out for a machine that is this node already. A dry run only says so.
fn hand_over(
    args: &KernelArgs,
    inventory: &Inventory,
    node: &NodeConfig,
    screen: &mut dyn Lines,
) -> Result<Option<Outcome>, Refusal> {
    let Some(disk) = handover::find_installed(inventory, &node.cluster.name, &node.hostname)? else {
        return Ok(None);
    };
    let for_real = args.mode == Mode::Install;
    if args.halt_if_installed {
        screen.line(&render_halt(&node.hostname, &disk.path));
        return Ok(Some(Outcome::halting(&disk.path, for_real)));
    }
    if for_real {
        let kernel = handover::fetch_kernel(disk)?;
        handover::load_kernel(&kernel)?;
    }
    screen.line(&render_handover(&disk.path));
    if let Some(record) = &disk.install_record {
        screen.line(&format!(
            "metalstrap: to install it again instead: metalstrap.reinstall={}",
            record.install_id
        ));
    }
    Ok(Some(Outcome::handing_over(&disk.path, for_real)))
}

/// The cluster knows a node by the password that k3s made on it. Without it the install goes on: the cluster can be made to forget the node.
fn keep_node_password(disks: &NodeDisks, secrets: &mut NodeSecrets, screen: &mut dyn Lines) {
    match kept::read_node_password(disks.system().path()) {
        Ok(password) => secrets.node_password = password,
        Err(refusal) => {
            let text = format!(
                "the password of this node cannot be kept, so the cluster will refuse it until it forgets the node: {}",
                refusal.message
            );
            screen.line(&render_warning(&text));
        }
    }
}

/// The master that forms the cluster makes a token of its own when it was given none, unless it keeps a datastore that has one; everybody
/// else must have theirs.
fn fill_tokens(
    node: &NodeConfig,
    secrets: &mut NodeSecrets,
    disks: Option<&NodeDisks>,
    screen: &mut dyn Lines,
) -> Result<(), Refusal> {
    if secrets::may_generate(node) {
        for name in secrets::missing_tokens(node, secrets) {
            let kept = disks.filter(|_| name == "server_token").map(kept::read_kept_token);
            let kept = kept.transpose()?.flatten();
            let (token, text) = match kept {
                Some(token) => (token, "that of the data that is kept is used"),
                None => (
                    Secret::new(hex::encode(rand::random::<[u8; 32]>())),
                    "a new one was made and is kept only on this node, in /etc/rancher/k3s",
                ),
            };
            secrets::set_token(secrets, name, token);
            screen.line(&render_warning(&format!("no {name} was given: {text}")));
        }
    }
    secrets::ensure_tokens(node, secrets)
}

fn confirm(options: &Options, planned: &Planned, ask: &mut dyn FnMut(&str) -> bool) -> Result<(), Refusal> {
    if options.unattended || options.yes {
        return Ok(());
    }
    let made = planned.plan.data_disks.iter().filter(|data| !data.keep).map(|data| &data.disk);
    let lost = std::iter::once(&planned.plan.disk)
        .chain(made)
        .map(|disk| format!("{} ({} serial {})", disk.path, disk.model, disk.serial));
    let question = format!(
        "{}Everything on {} will be lost. Install? [y/N] ",
        render_text(&planned.plan),
        lost.collect::<Vec<_>>().join(" and ")
    );
    if ask(&question) {
        return Ok(());
    }
    Err(Refusal::new("E_NOT_CONFIRMED", ExitCode::InvalidInput, "the install was not confirmed"))
}

fn carry_out(
    planned: &Planned,
    disks: &NodeDisks,
    resume: bool,
    options: &Options,
    screen: &mut dyn Lines,
) -> Result<Outcome, Stop> {
    // The plan was made for this checked disk; a plan for another one is never carried out.
    let same_data = |planned: &PlannedDataDisk| {
        let chosen = disks.data().iter().map(DataChoice::from);
        chosen.filter(|data| data.mount == planned.mount && data.disk == planned.disk).count() == 1
    };
    let is_same = planned.plan.disk == PlannedDisk::from(disks.system())
        && planned.plan.data_disks.len() == disks.data().len()
        && planned.plan.data_disks.iter().all(same_data);
    if !is_same {
        let message = "the plan is for another disk than the one that was checked";
        return Err(Refusal::new("E_DISK_CHANGED", ExitCode::Environment, message).into());
    }
    let sources = Sources::of_medium(&options.medium);
    let mut reporter = ConsoleReporter::new(screen);
    let apply = if resume { resume_plan } else { apply_plan };
    let record = apply(planned, &sources, &mut reporter).map_err(|f| Stop::Failed(Box::new(f)))?;
    let path = disks.system().path();
    screen.line(&render_installed(path, !options.no_reboot));
    Ok(Outcome::installed(path, record, !options.no_reboot))
}
