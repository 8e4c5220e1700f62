//! Pure renderers: a node config becomes the files of that node. In: [`NodeConfig`], its secrets and the few facts that
//! only the machine knows. Out: files, folders, links and unit names, sorted, byte for byte the same each time. No I/O,
//! no clock, no environment; the dry run, the install and a later re-apply all call [`render_node`].

mod base;
mod chrony;
mod cilium;
mod data_disks;
mod error;
pub mod firewall;
mod haproxy;
mod hosts;
mod identity;
mod k3s_config;
pub mod k3s_keys;
mod k3s_unit;
mod keepalived;
mod kube_vip;
pub mod networkd;
mod output;
mod ssh;
mod sysctl;
mod text;
mod traefik;

pub use data_disks::DataMount;
pub use error::RenderError;
pub(crate) use k3s_config::NODE_PASSWORD;
pub use output::{Contents, RenderedDirectory, RenderedFile, RenderedLink, RenderedNode};

pub(crate) use text::interface_name;

use output::Output;
use profiles::network::{LinkKind, NicMatch};
use profiles::node::{Interface, MacAddr, NodeConfig, NodeSecrets};
use std::collections::BTreeMap;

/// Image of kube-vip as it is tagged in the archive that the root image carries.
pub const KUBE_VIP_IMAGE: &str = "ghcr.io/kube-vip/kube-vip:v0.8.7";

/// Facts that only the machine or the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderContext {
    /// MAC chosen for each card (by the name of its link) that has none in the node config.
    pub chosen_macs: BTreeMap<String, MacAddr>,
    /// The data disks of the node.
    pub data_mounts: Vec<DataMount>,
    /// Image reference of the kube-vip static pod.
    pub kube_vip_image: String,
    /// True when a master of this cluster answers already: then the forming master joins it, instead of forming a
    /// second cluster after the loss of its disk.
    pub cluster_exists: bool,
}

impl Default for RenderContext {
    fn default() -> Self {
        Self {
            chosen_macs: BTreeMap::new(),
            data_mounts: Vec::new(),
            kube_vip_image: KUBE_VIP_IMAGE.to_owned(),
            cluster_exists: false,
        }
    }
}

/// What each renderer reads.
struct Input<'a> {
    /// The node, every card with a MAC.
    node: &'a NodeConfig,
    secrets: &'a NodeSecrets,
    context: &'a RenderContext,
}

impl Input<'_> {
    /// The leg on the cluster network, which every node has.
    fn cluster_interface(&self) -> Result<&Interface, RenderError> {
        self.node
            .cluster_interface()
            .ok_or_else(|| RenderError::NoClusterInterface { hostname: self.node.hostname.clone() })
    }
}

/// One renderer: adds what its part of the node needs, or nothing when the role has no such part.
type Renderer = fn(&Input<'_>, &mut Output) -> Result<(), RenderError>;

/// All renderers. A new one is a file beside this one and a line here.
const RENDERERS: &[Renderer] = &[
    identity::render,
    hosts::render,
    base::render,
    sysctl::render,
    networkd::render,
    data_disks::render,
    chrony::render,
    ssh::render,
    firewall::render,
    k3s_config::render,
    k3s_unit::render,
    kube_vip::render,
    cilium::render,
    traefik::render,
    haproxy::render,
    keepalived::render,
];

/// Everything the node needs on its root, sorted by path.
///
/// # Errors
/// A secret the role needs is missing, an interface has no MAC, a value cannot be written into its file without
/// changing the meaning of the file, or the node config contradicts itself.
pub fn render_node(
    node: &NodeConfig,
    secrets: &NodeSecrets,
    context: &RenderContext,
) -> Result<RenderedNode, RenderError> {
    let node = with_chosen_macs(node, context)?;
    let input = Input { node: &node, secrets, context };
    let mut output = Output::default();
    for render in RENDERERS {
        render(&input, &mut output)?;
    }
    output.finish()
}

/// The node config with a MAC for each card; also what `node.json` says, so that a re-apply gives the same files.
fn with_chosen_macs(node: &NodeConfig, context: &RenderContext) -> Result<NodeConfig, RenderError> {
    let mut node = node.clone();
    for link in node.network.links_mut() {
        if let LinkKind::Physical { nic: nic @ NicMatch::Only } = &mut link.kind {
            let mac = context.chosen_macs.get(&link.name);
            let missing = || RenderError::NoMac { interface: link.name.clone() };
            *nic = NicMatch::Mac(*mac.ok_or_else(missing)?);
        }
    }
    for interface in &mut node.interfaces {
        interface.mac = interface.mac.or_else(|| node.network.mac_of(&interface.name));
    }
    Ok(node)
}
