//! `/etc/metalstrap/node.json`: the node config the machine was made from, for the health agent and a later re-apply.

use super::Input;
use super::error::RenderError;
use super::output::Output;

/// Where the node config lies on an installed node.
const NODE_CONFIG_PATH: &str = "/etc/metalstrap/node.json";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let json = serde_json::to_string_pretty(input.node)
        .map_err(|source| RenderError::Encode { path: NODE_CONFIG_PATH, source: source.into() })?;
    output.file(NODE_CONFIG_PATH, json + "\n");
    Ok(())
}
