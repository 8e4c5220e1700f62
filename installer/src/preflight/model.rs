//! What a check is, what it is given and what it says. Pure.

use super::facts::Facts;
use crate::disks::{NodeDisks, TargetDisk};
use crate::inventory::Inventory;
use crate::medium::Medium;
use crate::plan::Planned;
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, Role};
use profiles::preflight::CheckId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Processors, memory, firmware.
    Hardware,
    /// The disk that is installed to, and the others.
    Disk,
    /// Ports and what they are connected to.
    Network,
    /// The clock and its sources.
    Time,
    /// The cluster that is joined.
    Cluster,
    /// Medium, image and kernel.
    Artefacts,
}

impl Class {
    /// All classes, in order.
    pub const ALL: [Self; 6] =
        [Self::Hardware, Self::Disk, Self::Network, Self::Time, Self::Cluster, Self::Artefacts];
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hardware => "hardware",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Time => "time",
            Self::Cluster => "cluster",
            Self::Artefacts => "artefacts",
        })
    }
}

/// What the worst verdict of a check means for an install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// A failure stops the install before its first write.
    Required,
    /// At worst it warns.
    Advice,
}

/// How a check ended. "Could not run" is never counted as fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The node has nothing this check could be about.
    NotApplicable,
    /// Looked, and it is fine.
    Pass,
    /// The operator left it out.
    Skipped,
    /// Nobody could look; the text says why.
    CouldNotRun,
    /// It will work, but somebody should know.
    Warn,
    /// It would not work: an install stops before its first write.
    Fail,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotApplicable => "does not apply",
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::CouldNotRun => "could not run",
            Self::Warn => "warning",
            Self::Fail => "FAIL",
        })
    }
}

/// Why a check could not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun(pub String);

impl NotRun {
    /// Could not run, and why.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Something that was measured, or why it could not be.
pub type Fact<T> = Result<T, NotRun>;

/// The fact, or the reason why the check that needs it cannot run.
///
/// # Errors
/// The reason of the collector.
pub fn known<T>(fact: &Fact<T>) -> Result<&T, NotRun> {
    fact.as_ref().map_err(NotRun::clone)
}

/// What a judge says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Pass, warn, fail, or not applicable.
    pub outcome: Outcome,
    /// The measured value, in a few words or a sentence.
    pub measured: String,
    /// How an install ends by it; only of a failure.
    pub refusal: Option<Refusal>,
}

impl Finding {
    /// Looked, and it is fine.
    pub fn pass(measured: impl Into<String>) -> Self {
        Self { outcome: Outcome::Pass, measured: measured.into(), refusal: None }
    }

    /// Will work, but somebody should know.
    pub fn warn(measured: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, measured: measured.into(), refusal: None }
    }

    /// Would not work; the install ends like this.
    pub fn fail(refusal: Refusal) -> Self {
        Self { outcome: Outcome::Fail, measured: refusal.message.clone(), refusal: Some(refusal) }
    }

    /// The node has nothing this check could be about, and why.
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::NotApplicable, measured: why.into(), refusal: None }
    }
}

/// A finding, or why there is none.
pub type Judged = Result<Finding, NotRun>;

/// What the checks are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `metalstrap plan`: nothing is installed; what an install would refuse is shown.
    Plan,
    /// `metalstrap check --live`: as a plan, on the machine itself.
    Live,
    /// An install: a failure stops it.
    Install,
}

/// What the judges are given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What the checks are made for.
    pub purpose: Purpose,
    /// What the machine is made of.
    pub inventory: &'a Inventory,
    /// What it becomes, when that is known.
    pub node: Option<&'a NodeConfig>,
    /// The disks that were chosen, or why none were; `None` without a node.
    pub disks: Option<&'a Result<NodeDisks, Refusal>>,
    /// Whether the node has its tokens; `None` without a node.
    pub tokens: Option<&'a Result<(), Refusal>>,
    /// The descriptions on the medium; `None` away from one.
    pub medium: Option<&'a Result<Medium, Refusal>>,
    /// The plan, or why none could be made; `None` without a disk or a medium that can be read.
    pub planned: Option<&'a Result<Planned, Refusal>>,
    /// Hash of the CA in the node's token; `None` when the token is not of the form that has one.
    pub token_ca_hash: Option<&'a str>,
    /// A master of this cluster holds the API VIP: the cluster runs, and the plan joins it.
    pub cluster_exists: bool,
    /// What was measured on the machine.
    pub facts: &'a Facts,
}

impl<'a> Input<'a> {
    /// The node.
    ///
    /// # Errors
    /// When nobody said what this machine is to become.
    pub fn node(&self) -> Result<&'a NodeConfig, NotRun> {
        self.node.ok_or_else(|| NotRun::new("no cluster file says what this machine is to become"))
    }

    /// Its role.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    pub fn role(&self) -> Result<Role, NotRun> {
        Ok(self.node()?.role.role())
    }

    /// The system disk.
    ///
    /// # Errors
    /// When none was chosen.
    pub fn disk(&self) -> Result<&'a TargetDisk, NotRun> {
        self.node()?;
        match self.disks {
            Some(Ok(disks)) => Ok(disks.system()),
            _ => Err(NotRun::new("no disk was chosen")),
        }
    }

    /// Paths of all chosen disks.
    pub fn chosen_paths(&self) -> Vec<&'a str> {
        let Some(Ok(disks)) = self.disks else { return Vec::new() };
        let data = disks.data().iter().map(|data| data.target().path());
        std::iter::once(disks.system().path()).chain(data).collect()
    }

    /// The descriptions on the medium.
    ///
    /// # Errors
    /// When they could not be read, or there is no medium here.
    pub fn medium(&self) -> Result<&'a Medium, NotRun> {
        match self.medium {
            Some(Ok(medium)) => Ok(medium),
            Some(Err(_)) => Err(NotRun::new("the medium cannot be read")),
            None => Err(NotRun::new("there is no live medium here")),
        }
    }

    /// The plan.
    ///
    /// # Errors
    /// When none could be made.
    pub fn planned(&self) -> Result<&'a Planned, NotRun> {
        match self.planned {
            Some(Ok(planned)) => Ok(planned),
            _ => Err(NotRun::new("no plan could be made")),
        }
    }

    /// True in a virtual machine, which has no sensors, no memory controller and no cable.
    pub fn is_virtual(&self) -> bool {
        self.inventory.virtualisation.is_some()
    }
}

/// One entry of the catalogue.
pub struct Check {
    /// Stable id.
    pub id: CheckId,
    /// What it is about.
    pub class: Class,
    /// One line: what is true when it passes.
    pub title: &'static str,
    /// Where the truth comes from.
    pub source: &'static str,
    /// When it warns and when it fails.
    pub limits: &'static str,
    /// Why anybody should care.
    pub why: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Codes an install ends with when it fails; none: it never fails.
    pub codes: &'static [&'static str],
    /// True for what only an install can measure: after the other checks, or when the disk is already ours.
    pub during_install: bool,
    /// Judges.
    pub judge: fn(&Input<'_>) -> Judged,
}

impl Check {
    /// What its worst verdict means.
    pub fn severity(&self) -> Severity {
        if self.codes.is_empty() { Severity::Advice } else { Severity::Required }
    }

    /// Page and section of the reference.
    pub fn page(&self) -> String {
        format!("docs/reference/preflight-checks.md#{}", self.id.name.replace('.', ""))
    }
}
