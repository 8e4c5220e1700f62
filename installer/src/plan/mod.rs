//! The install plan: pure from inputs to ordered steps. No clock, no randomness, no environment, no I/O; identities come
//! in as arguments. It is the dry run, the golden file and the work list of `apply` at once.

pub mod boot;
pub mod data;
pub mod ids;
pub mod image;
pub mod layout;
mod machine;
pub mod mark;
pub mod model;
mod network;
pub(crate) mod phases;
pub mod place;
pub mod secrets;
pub mod text;

pub use machine::machine_nics;
pub use model::{InstallPlan, Phase, PlannedDisk, PlannedFile, Step};
pub use network::{Nic, choose_macs, choose_ports};

use crate::exit::ExitCode;
use crate::preflight::RecordedCheck;
use crate::refusal::Refusal;
use crate::render::{Contents, DataMount, RenderContext, RenderError, RenderedNode, render_node};
use boot::Slot;
use data::{DataChoice, DataMark, PlannedDataDisk};
use ids::InstallIds;
use image::{Artifacts, ImageInfo};
use layout::{Layout, LayoutError};
use model::{PLAN_SCHEMA, PlannedImage, PlannedNode};
use profiles::network::{LinkKind, NicMatch};
use profiles::node::{NodeConfig, NodeSecrets, Role};
use sha2::{Digest, Sha256};

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The node the machine becomes.
    pub node: &'a NodeConfig,
    /// Its secrets. Those that are missing are only warned about: see [`secrets`].
    pub secrets: &'a NodeSecrets,
    /// Physical Ethernet interfaces of the machine.
    pub nics: &'a [Nic],
    /// The disk that was chosen.
    pub disk: &'a PlannedDisk,
    /// The data disks that were chosen.
    pub data_disks: &'a [DataChoice],
    /// The image; `None` away from a medium.
    pub image: Option<&'a ImageInfo>,
    /// The artefacts in the image; `None` away from a medium.
    pub artifacts: Option<&'a Artifacts>,
    /// Identities of this install.
    pub ids: &'a InstallIds,
    /// True when a master of this cluster was seen to hold the API VIP: then nobody forms it a second time.
    pub cluster_exists: bool,
}

/// A plan and the files it speaks of.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan.
    pub plan: InstallPlan,
    /// The rendered files with their contents.
    pub rendered: RenderedNode,
    /// The artefacts it copies.
    pub artifacts: Vec<image::Artifact>,
    /// What the preflight checks said, for the install record; empty until they were made.
    pub checks: Vec<RecordedCheck>,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The disk cannot hold the layout.
    #[error("{path}: {source}")]
    Layout {
        /// The disk.
        path: String,
        /// Why.
        source: LayoutError,
    },
    /// The root image does not fit a slot.
    #[error("the root image has {have} bytes, a slot has room for {room}")]
    ImageTooLarge {
        /// Its length.
        have: u64,
        /// Length of a slot.
        room: u64,
    },
    /// `image.json` does not name a file that an install needs.
    #[error("image.json says nothing about {0}; build the medium again")]
    ImageFile(&'static str),
    /// An interface of the node cannot be matched to one of the machine.
    #[error("interface {interface}: {reason}")]
    Nic {
        /// Interface of the node.
        interface: String,
        /// What is wrong.
        reason: String,
        /// The machine's interfaces, one line each.
        candidates: Vec<String>,
    },
    /// A file or artefact for a place that is not part of the state.
    #[error("{0} does not lie on the state partition of a node (/etc, /var, /root, /home)")]
    Place(String),
    /// The renderers refuse.
    #[error(transparent)]
    Render(#[from] RenderError),
}

impl PlanError {
    /// The refusal shown for it.
    pub fn refusal(&self) -> Refusal {
        let (code, exit) = match self {
            Self::Layout { source: LayoutError::SectorSize(_), .. } => {
                ("E_SECTOR_SIZE", ExitCode::UnsupportedHardware)
            }
            Self::Layout { source: LayoutError::TooSmall { .. }, .. } => {
                ("E_DISK_TOO_SMALL", ExitCode::UnsupportedHardware)
            }
            Self::ImageTooLarge { .. } => ("E_IMAGE_TOO_LARGE", ExitCode::Environment),
            Self::ImageFile(_) => ("E_ARTEFACT_MISSING", ExitCode::Download),
            Self::Nic { .. } => ("E_NIC_NOMATCH", ExitCode::UnsupportedHardware),
            Self::Place(_) | Self::Render(_) => ("E_RENDER", ExitCode::InvalidInput),
        };
        let details = match self {
            Self::Nic { candidates, .. } => candidates.clone(),
            _ => Vec::new(),
        };
        Refusal::new(code, exit, self.to_string()).with_details(details)
    }
}

/// Makes the plan of an install.
///
/// # Errors
/// The disk cannot hold it, an interface has no match, or the node cannot be rendered.
pub fn plan_install(input: &PlanInput<'_>) -> Result<Planned, PlanError> {
    let layout = Layout::compute(input.disk.size_bytes, input.disk.sector_bytes, input.ids)
        .map_err(|source| PlanError::Layout { path: input.disk.path.clone(), source })?;
    let data_disks = plan_data_disks(input)?;
    let mut warnings = Vec::new();
    let (secrets, missing) = secrets::with_placeholders(input.node, input.secrets);
    warnings.extend(missing);
    let context = RenderContext {
        chosen_macs: network::choose_macs(input.node, input.nics)?,
        cluster_exists: input.cluster_exists,
        data_mounts: data_disks.iter().map(DataMount::from).collect(),
        ..RenderContext::default()
    };
    let rendered = render_node(input.node, &secrets, &context)?;
    ensure_places(&rendered)?;
    let artifacts = artifacts_to_copy(input)?;
    warnings.extend(image_warnings(input));
    let phases = phases::plan_phases(&phases::PhaseInput {
        layout: &layout,
        data_disks: &data_disks,
        ids: input.ids,
        image: input.image,
        artifacts: &artifacts,
        rendered: &rendered,
        has_etcd: input.node.role.role() == Role::Master,
    })?;
    let plan = InstallPlan {
        schema: PLAN_SCHEMA.to_owned(),
        node: planned_node(input.node, &context),
        image: input.image.map(planned_image),
        disk: input.disk.clone(),
        data_disks,
        ids: input.ids.clone(),
        layout,
        phases,
        files: rendered.files.iter().map(planned_file).collect(),
        units_enabled: rendered.enable.clone(),
        units_masked: rendered.mask.clone(),
        warnings,
    };
    Ok(Planned { plan, rendered, artifacts, checks: Vec::new() })
}

/// The data disks, a folder before what is mounted below it.
fn plan_data_disks(input: &PlanInput<'_>) -> Result<Vec<PlannedDataDisk>, PlanError> {
    let node = input.node;
    let plan = |choice: &DataChoice| {
        let mark = DataMark {
            install: input.ids.install,
            cluster: node.cluster.name.clone(),
            hostname: node.hostname.clone(),
            role: node.role.role().to_string(),
            mount: choice.mount.clone(),
        };
        PlannedDataDisk::new(choice, mark)
            .map_err(|source| PlanError::Layout { path: choice.disk.path.clone(), source })
    };
    let mut planned = input.data_disks.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    planned.sort_by(|a, b| a.mount.cmp(&b.mount));
    Ok(planned)
}

/// The artefacts that go to the node. A proxy runs no Kubernetes and gets none.
fn artifacts_to_copy(input: &PlanInput<'_>) -> Result<Vec<image::Artifact>, PlanError> {
    if input.node.kubernetes.is_none() {
        return Ok(Vec::new());
    }
    let listed = input.artifacts.map(|a| a.artifacts.as_slice()).unwrap_or_default();
    let copied: Vec<_> = listed.iter().filter(|a| a.install_to.is_some()).cloned().collect();
    for target in copied.iter().filter_map(|a| a.install_to.as_deref()) {
        place::on_state(target).ok_or_else(|| PlanError::Place(target.to_owned()))?;
    }
    Ok(copied)
}

fn ensure_places(rendered: &RenderedNode) -> Result<(), PlanError> {
    let paths = rendered.files.iter().map(|f| &f.path).chain(rendered.links.iter().map(|l| &l.path));
    for path in paths.chain(rendered.directories.iter().map(|d| &d.path)) {
        place::on_state(path).ok_or_else(|| PlanError::Place(path.clone()))?;
    }
    Ok(())
}

fn image_warnings(input: &PlanInput<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    match input.image {
        None => {
            warnings.push("no medium: lengths and hashes of the image are not known to this plan".to_owned())
        }
        Some(image) if image.double => {
            warnings.push(
                "the k3s of this image is the test double: this will not be a Kubernetes node".to_owned(),
            );
        }
        Some(_) => {}
    }
    if input.disk.sector_bytes != 512 {
        warnings.push(
            "the disk has 4096-byte sectors: it starts under UEFI only, BIOS boot code is left out"
                .to_owned(),
        );
    }
    if input.disk.serial.is_empty() {
        warnings.push("the disk has no serial number: it is known by its path only".to_owned());
    }
    warnings
}

/// The node with its network in words, the cards that the cluster file does not name by the MACs chosen for them.
fn planned_node(node: &NodeConfig, context: &RenderContext) -> PlannedNode {
    let mut network = node.network.clone();
    for link in network.links_mut() {
        let chosen = context.chosen_macs.get(&link.name).copied();
        if let (LinkKind::Physical { nic: nic @ NicMatch::Only }, Some(mac)) = (&mut link.kind, chosen) {
            *nic = NicMatch::Mac(mac);
        }
    }
    PlannedNode {
        cluster: node.cluster.name.clone(),
        hostname: node.hostname.clone(),
        role: node.role.role().to_string(),
        address: node.cluster_interface().map(|i| i.address.to_string()),
        interfaces: network.in_words(),
    }
}

fn planned_image(image: &ImageInfo) -> PlannedImage {
    PlannedImage {
        version: image.version.clone(),
        build_id: image.build_id.clone(),
        kernel: image.kernel.clone(),
        k3s: image.k3s.clone(),
        double: image.double,
    }
}

fn planned_file(file: &crate::render::RenderedFile) -> PlannedFile {
    let shown = match &file.contents {
        Contents::Plain(text) => Some(text),
        Contents::Secret(_) => None,
    };
    PlannedFile {
        path: file.path.clone(),
        mode: format!("{:04o}", file.mode),
        secret: file.secret,
        length: shown.map(|text| text.len() as u64),
        sha256: shown.map(|text| sha256_hex(text.as_bytes())),
    }
}

/// sha256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The slot a fresh install fills.
pub const FIRST_SLOT: Slot = Slot::A;
