//! What the node is, read once at the start.

use crate::context::read_bounded;
use anyhow::Context as _;
use profiles::node::{NODE_CONFIG_SCHEMA, NodeConfig};
use report::ReportedNode;
use serde::Deserialize;
use std::path::Path;

/// The node config, as the installer wrote it.
pub const NODE_CONFIG_PATH: &str = "etc/metalstrap/node.json";

/// What the image is, as its build wrote it.
pub const IMAGE_PATH: &str = "usr/share/metalstrap/image.json";

/// The part of `image.json` a report shows. Fields of others are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Image {
    /// Version of the image.
    pub version: String,
    /// Version of k3s in it.
    pub k3s: Option<String>,
    /// True when that k3s is the project's test double.
    pub double: bool,
}

/// Reads the node config below `root`.
///
/// # Errors
/// When it is missing, not of the known schema, or malformed.
pub fn read_node(root: &Path) -> anyhow::Result<NodeConfig> {
    let path = root.join(NODE_CONFIG_PATH);
    let text = read_bounded(&path).with_context(|| format!("reading {}", path.display()))?;
    let node: NodeConfig =
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
    anyhow::ensure!(
        node.schema == NODE_CONFIG_SCHEMA,
        "{}: schema {:?} is not {NODE_CONFIG_SCHEMA:?}",
        path.display(),
        node.schema
    );
    Ok(node)
}

/// Reads what the image is below `root`.
///
/// # Errors
/// When the file is missing or malformed.
pub fn read_image(root: &Path) -> anyhow::Result<Image> {
    let path = root.join(IMAGE_PATH);
    let text = read_bounded(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))
}

/// Value of a kernel argument; the last one wins, as in the kernel.
pub fn kernel_argument(cmdline: &str, name: &str) -> Option<String> {
    let value = |word: &String| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
    sysio::kernel_line::split_words(cmdline).iter().rev().find_map(value)
}

/// What a report says about the node. Facts that cannot be read are empty, not invented.
pub fn collect_node(root: &Path, node: &NodeConfig) -> ReportedNode {
    let image = read_image(root);
    if let Err(error) = &image {
        tracing::warn!(error = format!("{error:#}"), "the image does not say what it is");
    }
    let image = image.ok();
    let line =
        |path: &str| read_bounded(&root.join(path)).map_or_else(|_| String::new(), |t| t.trim().to_owned());
    ReportedNode {
        hostname: node.hostname.clone(),
        role: node.role.role().to_string(),
        cluster: node.cluster.name.clone(),
        addresses: node
            .interfaces
            .iter()
            .flat_map(|i| i.addresses())
            .map(|address| address.to_string())
            .collect(),
        kernel: line("proc/sys/kernel/osrelease"),
        k3s: node.kubernetes.as_ref().and_then(|_| image.as_ref()?.k3s.clone()),
        k3s_double: image.as_ref().is_some_and(|image| image.double),
        image: image.map_or_else(String::new, |image| image.version),
        slot: kernel_argument(&line("proc/cmdline"), "metalstrap.slotname"),
        agent: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: line("proc/sys/kernel/random/boot_id"),
        uptime_secs: 0,
    }
}

/// What `k3s --version` says, in one line; `None` where there is no k3s or it does not answer.
pub async fn ask_k3s_version(root: &Path) -> Option<String> {
    let output = sysio::probe::run_probe(&root.join("usr/local/bin/k3s"), &["--version"]).await.ok()?;
    if output.code != Some(0) {
        return None;
    }
    let line = output.stdout.lines().find(|line| line.starts_with("k3s version "))?;
    line.split_whitespace().nth(2).map(crate::verdict::clean)
}

#[cfg(test)]
mod tests {
    use super::kernel_argument;

    #[test]
    fn the_last_kernel_argument_of_a_name_wins() {
        let cmdline = "quiet metalstrap.slotname=a metalstrap.slotnamex=c metalstrap.slotname=b ro\n";
        assert_eq!(kernel_argument(cmdline, "metalstrap.slotname"), Some("b".to_owned()));
        assert_eq!(kernel_argument(cmdline, "quiet"), None);
        assert_eq!(kernel_argument(cmdline, "root"), None);
    }
}
