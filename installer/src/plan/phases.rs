//! The ordered phases of an install. The order is the contract (docs/design/0001): mark first, nothing bootable before
//! the slot is verified, the record only after everything was read back, removal of the mark last.

use super::boot::{
    BIOS_MODULES, BIOS_PREFIX, Slot, fresh_boot_state, render_cmdline, render_efi_stub, render_grub_cfg,
    render_grubenv,
};
use super::data::{ETCD_FOLDER, PlannedDataDisk, disk_below};
use super::ids::InstallIds;
use super::image::{Artifact, FileDigest, ImageInfo};
use super::layout::{ByteRange, Layout, MARK_LENGTH, MARK_OFFSET, PartitionRole};
use super::model::{EspSource, Phase, Step};
use super::{FIRST_SLOT, PlanError, sha256_hex};
use crate::render::RenderedNode;

/// Names beside each other on the medium.
pub const MEDIUM_FILES: [&str; 3] = ["root.squashfs", "vmlinuz", "initrd"];
/// Where the root image keeps the EFI programs.
const EFI_FOLDER: &str = "/usr/lib/metalstrap/efi";
/// Name the loader is written under. Both names are plain 8.3 names, so renaming changes one directory entry.
const LOADER_TEMPORARY: &str = "/EFI/BOOT/BOOTX64.NEW";
/// Name firmware looks for when it has no boot entry.
const LOADER: &str = "/EFI/BOOT/BOOTX64.EFI";

/// What the phases are made from.
pub(super) struct PhaseInput<'a> {
    pub(super) layout: &'a Layout,
    pub(super) data_disks: &'a [PlannedDataDisk],
    pub(super) ids: &'a InstallIds,
    pub(super) image: Option<&'a ImageInfo>,
    pub(super) artifacts: &'a [Artifact],
    pub(super) rendered: &'a RenderedNode,
    /// True for a master.
    pub(super) has_etcd: bool,
}

/// All phases in order.
pub(super) fn plan_phases(input: &PhaseInput<'_>) -> Result<Vec<Phase>, PlanError> {
    let root = input.digest("root.squashfs")?;
    if let (Some(root), Some(slot)) = (root, input.layout.partition(PartitionRole::RootA))
        && root.length > slot.length_bytes
    {
        return Err(PlanError::ImageTooLarge { have: root.length, room: slot.length_bytes });
    }
    let (length, sha256) = (root.map(|d| d.length), root.map(|d| d.sha256.clone()));
    let mark = ByteRange { offset_bytes: MARK_OFFSET, length_bytes: MARK_LENGTH };
    let slot = FIRST_SLOT;
    let mut marks = vec![Step::WriteMark { install: input.ids.install, at: mark }];
    marks.extend(input.new_data().map(|mount| Step::WriteDataMark { mount, at: mark }));
    let mut phases = vec![
        phase("preflight", input.preflight()),
        phase("unfinished mark", marks),
        phase(
            "partition",
            vec![
                Step::Erase { ranges: input.layout.erase_ranges() },
                Step::WriteTable {},
                Step::WaitPartitions {},
            ],
        ),
        phase("file systems", input.file_systems()),
        phase("data disks", input.data()),
        phase("root slot", vec![Step::CopyRoot { slot, length, sha256: sha256.clone() }]),
        phase("verify slot", vec![Step::VerifyRoot { slot, length, sha256 }]),
        phase("state", input.state(slot)),
        phase("boot files", input.boot_files(slot)?),
        phase("make bootable", input.make_bootable()),
        phase("verify", input.verify()),
        phase("data disk marks", input.new_data().map(|mount| Step::FinishData { mount }).collect()),
        phase("install record", vec![Step::WriteRecord {}]),
        phase("remove mark", vec![Step::RemoveMark { at: mark }]),
    ];
    // A machine without data disks has no phases for them.
    phases.retain(|phase| !phase.steps.is_empty());
    Ok(phases)
}

fn phase(name: &str, steps: Vec<Step>) -> Phase {
    Phase { name: name.to_owned(), steps }
}

impl PhaseInput<'_> {
    /// What `image.json` says of a file; an error when there is one that does not name it.
    fn digest(&self, name: &'static str) -> Result<Option<&FileDigest>, PlanError> {
        self.image.map(|image| image.files.get(name).ok_or(PlanError::ImageFile(name))).transpose()
    }

    /// Mount points of all data disks, a folder before what is mounted below it.
    fn data_mounts(&self) -> impl Iterator<Item = String> {
        self.data_disks.iter().map(|data| data.mount.clone())
    }

    /// Mount points of those that are made.
    fn new_data(&self) -> impl Iterator<Item = String> {
        self.data_disks.iter().filter(|data| !data.keep).map(|data| data.mount.clone())
    }

    /// Makes the new ones ready and repairs those that are kept.
    fn data(&self) -> Vec<Step> {
        let steps = |data: &PlannedDataDisk| {
            let mount = || data.mount.clone();
            let wait = Step::WaitDataPartitions { mount: mount() };
            if data.keep {
                return vec![wait, Step::RepairData { mount: mount() }];
            }
            vec![
                Step::EraseData { mount: mount(), ranges: data.layout.erase_ranges() },
                Step::WriteDataTable { mount: mount() },
                wait,
                Step::MakeDataFs { mount: mount(), uuid: data.ids.fs },
            ]
        };
        let mut steps: Vec<Step> = self.data_disks.iter().flat_map(steps).collect();
        steps.extend((self.has_etcd && self.is_etcd_on_data()).then_some(Step::MeasureSync {}));
        steps
    }

    fn verify(&self) -> Vec<Step> {
        let mut steps = vec![Step::VerifyTable {}];
        steps.extend(self.data_mounts().map(|mount| Step::VerifyData { mount }));
        steps.extend([Step::VerifyState {}, Step::VerifyBoot {}]);
        steps
    }

    fn preflight(&self) -> Vec<Step> {
        let mut steps = vec![Step::CheckDisk {}];
        steps.extend(self.data_mounts().map(|mount| Step::CheckDataDisk { mount }));
        steps.extend([
            Step::CheckUnits {},
            Step::CheckMedium { names: MEDIUM_FILES.iter().map(ToString::to_string).collect() },
            Step::CheckArtifacts { names: self.artifacts.iter().map(|a| a.name.clone()).collect() },
        ]);
        steps
    }

    /// Where etcd will write, it is measured how fast that is.
    fn file_systems(&self) -> Vec<Step> {
        let mut steps = vec![
            Step::MakeEsp { volume: self.ids.esp_volume.clone() },
            Step::MakeState { uuid: self.ids.state_fs },
        ];
        steps.extend((self.has_etcd && !self.is_etcd_on_data()).then_some(Step::MeasureSync {}));
        steps
    }

    fn is_etcd_on_data(&self) -> bool {
        disk_below(self.data_disks, ETCD_FOLDER).is_some()
    }

    fn state(&self, slot: Slot) -> Vec<Step> {
        let mut steps = vec![Step::SeedState { slot }];
        steps.extend(self.data_mounts().map(|mount| Step::OpenData { mount }));
        steps.extend([Step::WriteFiles { count: self.rendered.files.len() as u64 }, Step::LinkUnits {}]);
        steps.extend(self.artifacts.iter().filter_map(|a| {
            Some(Step::CopyArtifact {
                name: a.name.clone(),
                path: a.path.clone(),
                install_to: a.install_to.clone()?,
                length: a.length,
                sha256: a.sha256.clone(),
            })
        }));
        steps.push(Step::CloseState {});
        steps
    }

    fn boot_files(&self, slot: Slot) -> Result<Vec<Step>, PlanError> {
        let folder = format!("/slots/{}", slot.name());
        let folders =
            ["/EFI", "/EFI/BOOT", "/EFI/debian", "/grub", "/metalstrap", "/slots", "/slots/a", "/slots/b"];
        let mut steps = vec![Step::EspFolders { folders: folders.iter().map(ToString::to_string).collect() }];
        for name in ["vmlinuz", "initrd"] {
            let digest = self.digest(name)?;
            steps.push(Step::EspFile {
                path: format!("{folder}/{name}"),
                source: EspSource::Medium { name: name.to_owned() },
                length: digest.map(|d| d.length),
                sha256: digest.map(|d| d.sha256.clone()),
            });
        }
        steps.push(text_file(&format!("{folder}/cmdline"), render_cmdline(slot, self.ids) + "\n"));
        let state = render_grubenv(&fresh_boot_state());
        steps.push(Step::EspFile {
            path: "/grub/grubenv".to_owned(),
            source: EspSource::BootState {},
            length: Some(state.len() as u64),
            sha256: Some(sha256_hex(&state)),
        });
        steps.push(text_file("/grub/grub.cfg", render_grub_cfg(self.ids)));
        steps.push(text_file("/EFI/debian/grub.cfg", render_efi_stub(self.ids)));
        for (name, path) in [
            ("mmx64.efi", "/EFI/BOOT/mmx64.efi"),
            ("grubx64.efi", "/EFI/BOOT/grubx64.efi"),
            ("BOOTX64.EFI", LOADER_TEMPORARY),
        ] {
            steps.push(Step::EspFile {
                path: path.to_owned(),
                source: EspSource::Image { path: format!("{EFI_FOLDER}/{name}") },
                length: None,
                sha256: None,
            });
        }
        Ok(steps)
    }

    /// A BIOS reads 512-byte sectors only; on other disks its boot code is left out.
    fn make_bootable(&self) -> Vec<Step> {
        let mut steps = vec![Step::RenameLoader { from: LOADER_TEMPORARY.to_owned(), to: LOADER.to_owned() }];
        if self.layout.sector_bytes == 512 {
            steps.push(Step::WriteCoreImage {
                modules: BIOS_MODULES.iter().map(ToString::to_string).collect(),
                prefix: BIOS_PREFIX.to_owned(),
            });
            steps.push(Step::WriteBootCode {});
        }
        steps
    }
}

fn text_file(path: &str, text: String) -> Step {
    Step::EspFile {
        path: path.to_owned(),
        length: Some(text.len() as u64),
        sha256: Some(sha256_hex(text.as_bytes())),
        source: EspSource::Text { text },
    }
}
