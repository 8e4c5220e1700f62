//! `/etc/metalstrap/firewall.nft`: the firewall model of the node as the text that `metalstrap-firewall.service` loads.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::HEADER;
use crate::firewall::Model;

/// What `metalstrap-firewall.service` loads.
pub const RULES: &str = "/etc/metalstrap/firewall.nft";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    output.file(RULES, file(&Model::of(input.node)?)?);
    Ok(())
}

/// The whole file for a model.
///
/// # Errors
/// When an interface name could change the meaning of the rules.
pub fn file(model: &Model) -> Result<String, RenderError> {
    Ok(format!("#!/usr/sbin/nft -f\n{HEADER}\n{}", model.render()?))
}
