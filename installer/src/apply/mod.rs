//! Carrying out a plan. One small function per step; all effects through `sysio`; what happens is told to a [`Reporter`].
//!
//! The unfinished mark is the first write. From then on every failure ends with exit code 7 and a disk that carries the
//! mark and no install record: it can be installed again.

mod boot;
pub mod bootcode;
mod check;
mod data;
mod disk;
pub mod error;
pub mod esp;
pub mod partitions;
mod resume;
mod state;
pub mod units;

pub(crate) use disk::slot_role;
pub use error::{ApplyFailure, StepError};

use crate::medium::Sources;
use crate::plan::boot::Slot;
use crate::plan::{InstallPlan, Planned, Step};
use crate::preflight::{Outcome, RecordedCheck};
use crate::record::{InstallRecord, RECORD_SCHEMA, RecordedDataDisk, RecordedPhase};
use data::OpenDataDisk;
use esp::Esp;
use partitions::PartitionNodes;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use sysio::block::{BlockDevice, DiskLock};
use sysio::files::Digested;
use sysio::mounts::MountGuard;

/// Where files are put for a moment; in memory.
pub(crate) const SCRATCH_FOLDER: &str = "/run/metalstrap/scratch";

/// Is told what happens. Tests also use it to stop an install after a step, as a cut of power would.
pub trait Reporter {
    /// A phase begins; both numbers count from 1.
    fn phase_begins(&mut self, number: usize, count: usize, name: &str);
    /// A phase is done.
    fn phase_done(&mut self, number: usize, count: usize, name: &str, took_ms: u64);
    /// A long step goes on.
    fn progress(&mut self, step: &Step, done_bytes: u64, total_bytes: u64);
    /// Something is not as it should be and does not stop the install.
    fn warn(&mut self, text: &str);
    /// Something worth knowing, such as what a resumed install keeps.
    fn note(&mut self, text: &str) {
        tracing::info!(text, "note");
    }
    /// A step is done.
    ///
    /// # Errors
    /// The install shall stop here.
    fn step_done(&mut self, step: &Step) -> Result<(), StepError>;
    /// Milliseconds of a clock that never goes back.
    fn now_ms(&self) -> u64;
}

/// An install that goes on.
pub(crate) struct Run<'a> {
    pub(crate) planned: &'a Planned,
    pub(crate) sources: &'a Sources,
    pub(crate) reporter: &'a mut dyn Reporter,
    pub(crate) touched: bool,
    pub(crate) nodes: PartitionNodes,
    pub(crate) lock: Option<DiskLock>,
    /// The disks of the plan, open to the end: nobody else gets their names.
    pub(crate) held: Vec<BlockDevice>,
    /// By mount point. Before the state, so that they go away first.
    pub(crate) data_disks: BTreeMap<String, OpenDataDisk>,
    pub(crate) state: Option<MountGuard>,
    /// What lies on the ESP by its final path, for the read-back.
    pub(crate) esp_files: BTreeMap<String, Digested>,
    /// What was written outside of any partition's file system: offset and bytes.
    pub(crate) raw_writes: Vec<(u64, Vec<u8>)>,
    pub(crate) slots: BTreeMap<Slot, Digested>,
    /// Set when an earlier attempt is carried on.
    pub(crate) resume: Option<resume::Kept>,
    phases: Vec<RecordedPhase>,
    warnings: Vec<String>,
    /// Preflight checks that only an install can make.
    pub(crate) checks: Vec<RecordedCheck>,
}

/// Carries out the plan on its disk. On success the disk boots whole and carries the record that is returned.
///
/// # Errors
/// The first step that failed. Up to the unfinished mark nothing is written.
pub fn apply_plan(
    planned: &Planned,
    sources: &Sources,
    reporter: &mut dyn Reporter,
) -> Result<InstallRecord, ApplyFailure> {
    carry_out(planned, sources, reporter, None)
}

/// Carries on an install of the same id that failed behind its first write. What an earlier attempt did is done again, except
/// the partition table and the root slot, each when reading it back shows that it is whole. Ends as [`apply_plan`] does.
///
/// # Errors
/// As [`apply_plan`]; `E_RESUME` before any write when the disk does not carry the unfinished mark of this install.
pub fn resume_plan(
    planned: &Planned,
    sources: &Sources,
    reporter: &mut dyn Reporter,
) -> Result<InstallRecord, ApplyFailure> {
    carry_out(planned, sources, reporter, Some(resume::Kept::default()))
}

fn carry_out(
    planned: &Planned,
    sources: &Sources,
    reporter: &mut dyn Reporter,
    resume: Option<resume::Kept>,
) -> Result<InstallRecord, ApplyFailure> {
    let mut run = Run {
        planned,
        sources,
        reporter,
        // An earlier attempt wrote to it.
        touched: resume.is_some(),
        resume,
        nodes: BTreeMap::new(),
        lock: None,
        held: Vec::new(),
        data_disks: BTreeMap::new(),
        state: None,
        esp_files: BTreeMap::new(),
        raw_writes: Vec::new(),
        slots: BTreeMap::new(),
        phases: Vec::new(),
        warnings: Vec::new(),
        checks: Vec::new(),
    };
    let count = planned.plan.phases.len();
    for (number, phase) in (1..).zip(&planned.plan.phases) {
        let began = run.reporter.now_ms();
        run.reporter.phase_begins(number, count, &phase.name);
        for step in &phase.steps {
            let done = run.step(step).and_then(|()| run.reporter.step_done(step));
            done.map_err(|error| run.failure(&phase.name, step, error))?;
        }
        let took_ms = run.reporter.now_ms().saturating_sub(began);
        run.reporter.phase_done(number, count, &phase.name, took_ms);
        run.phases.push(RecordedPhase { name: phase.name.clone(), took_ms });
    }
    Ok(run.record())
}

impl Run<'_> {
    fn failure(&self, phase: &str, step: &Step, error: StepError) -> ApplyFailure {
        let exit = if self.touched { crate::exit::ExitCode::DiskTouched } else { error.exit };
        let (code, error) = (error.code, error.error);
        ApplyFailure { code, exit, touched: self.touched, phase: phase.to_owned(), step: step.name(), error }
    }

    fn step(&mut self, step: &Step) -> Result<(), StepError> {
        if self.resume.is_some() && self.resume_step(step)? {
            return Ok(());
        }
        match step {
            Step::CheckDisk {} => self.check_disk(),
            Step::CheckDataDisk { mount } => self.check_data_disk(mount),
            Step::CheckUnits {} => self.check_units(),
            Step::CheckMedium { names } => self.check_medium(step, names),
            Step::CheckArtifacts { .. } => self.check_artifacts(step),
            Step::WriteMark { install, at } => self.write_mark(*install, *at),
            Step::WriteDataMark { mount, at } => self.write_data_mark(mount, *at),
            Step::EraseData { mount, ranges } => self.erase_data(mount, ranges),
            Step::WriteDataTable { mount } => self.write_data_table(mount),
            Step::WaitDataPartitions { mount } => self.wait_data_partitions(mount),
            Step::MakeDataFs { mount, uuid } => self.make_data_fs(mount, *uuid),
            Step::RepairData { mount } => self.repair_data(mount),
            Step::OpenData { mount } => self.open_data(mount),
            Step::VerifyData { mount } => self.verify_data(mount),
            Step::FinishData { mount } => self.finish_data(mount),
            Step::Erase { ranges } => self.erase(ranges),
            Step::WriteTable {} => self.write_table(),
            Step::WaitPartitions {} => self.wait_partitions(),
            Step::MakeEsp { volume } => self.make_esp(volume),
            Step::MakeState { uuid } => self.make_state(*uuid),
            Step::MeasureSync {} => self.measure_sync(),
            Step::CopyRoot { slot, length, sha256 } => {
                self.copy_root(step, *slot, *length, sha256.as_deref())
            }
            Step::VerifyRoot { slot, .. } => self.verify_root(step, *slot),
            Step::SeedState { slot } => self.seed_state(*slot),
            Step::WriteFiles { .. } => self.write_files(),
            Step::LinkUnits {} => self.link_units(),
            Step::CopyArtifact { path, install_to, length, sha256, .. } => {
                self.copy_artifact(step, path, install_to, *length, sha256)
            }
            Step::CloseState {} => self.close_state(),
            Step::EspFolders { folders } => Ok(self.esp()?.make_folders(folders)?),
            Step::EspFile { path, source, length, sha256 } => {
                self.esp_file(path, source, *length, sha256.as_deref())
            }
            Step::RenameLoader { from, to } => self.rename_loader(from, to),
            Step::WriteCoreImage { modules, prefix } => self.write_core_image(modules, prefix),
            Step::WriteBootCode {} => self.write_boot_code(),
            Step::VerifyTable {} => self.verify_table(),
            Step::VerifyState {} => self.verify_state(),
            Step::VerifyBoot {} => self.verify_boot(),
            Step::WriteRecord {} => self.write_record(),
            Step::RemoveMark { at } => self.remove_mark(*at),
        }
    }

    pub(crate) fn plan(&self) -> &InstallPlan {
        &self.planned.plan
    }

    pub(crate) fn disk_path(&self) -> &Path {
        Path::new(&self.planned.plan.disk.path)
    }

    pub(crate) fn node(&self, role: crate::plan::layout::PartitionRole) -> Result<&Path, StepError> {
        let missing = || {
            StepError::text(
                "E_DISK_IO",
                crate::exit::ExitCode::Io,
                format!("the partition {role:?} is not there yet"),
            )
        };
        self.nodes.get(&role).map(PathBuf::as_path).ok_or_else(missing)
    }

    pub(crate) fn esp(&self) -> Result<Esp, StepError> {
        Ok(Esp::new(self.node(crate::plan::layout::PartitionRole::Esp)?))
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.reporter.warn(&text);
        self.warnings.push(text);
    }

    /// What is known about the install so far.
    pub(crate) fn record(&self) -> InstallRecord {
        let plan = self.plan();
        let image = plan.image.as_ref();
        InstallRecord {
            schema: RECORD_SCHEMA.to_owned(),
            install_id: plan.ids.install,
            installer: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: plan.node.cluster.clone(),
            hostname: plan.node.hostname.clone(),
            role: plan.node.role.clone(),
            image_version: image.map(|i| i.version.clone()).unwrap_or_default(),
            image_build_id: image.map(|i| i.build_id.clone()).unwrap_or_default(),
            double: image.is_some_and(|i| i.double),
            disk_serial: plan.disk.serial.clone(),
            disk_by_id: plan.disk.by_id.clone(),
            partitions: plan.layout.partitions.iter().map(|p| (p.label.clone(), p.guid)).collect(),
            data_disks: plan.data_disks.iter().map(RecordedDataDisk::from).collect(),
            slots: self.slots.iter().map(|(slot, d)| (slot.name().to_owned(), d.sha256.clone())).collect(),
            phases: self.phases.clone(),
            skipped_checks: self.skipped_checks(),
            checks: self.planned.checks.iter().chain(&self.checks).cloned().collect(),
            warnings: plan.warnings.iter().chain(&self.warnings).cloned().collect(),
            resumed: self.resume.as_ref().map(resume::Kept::names),
        }
    }

    /// Checks that were left out, each with who said so.
    fn skipped_checks(&self) -> Vec<String> {
        let skipped = self.planned.checks.iter().filter(|check| check.outcome == Outcome::Skipped);
        skipped.map(|check| format!("{}: {}", check.id, check.measured)).collect()
    }
}
