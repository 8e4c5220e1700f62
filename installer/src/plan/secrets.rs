//! Which tokens a role needs, and what stands in for them in a dry run.

use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, NodeSecrets, Role, RoleConfig};
use profiles::secret::Secret;

/// Stands for a missing token while a plan is rendered; never written, because an install refuses without the token.
const PLACEHOLDER: &str = "token-missing";

/// Names of the tokens that this node needs and was not given.
pub fn missing_tokens(node: &NodeConfig, secrets: &NodeSecrets) -> Vec<&'static str> {
    match node.role.role() {
        Role::Master if secrets.server_token.is_none() => vec!["server_token"],
        Role::Worker if secrets.agent_token.is_none() => vec!["agent_token"],
        Role::Master | Role::Worker | Role::Proxy => Vec::new(),
    }
}

/// True for the one master that forms the cluster: it may make a token of its own.
pub fn may_generate(node: &NodeConfig) -> bool {
    matches!(node.role, RoleConfig::Master { forms_cluster: true })
}

/// The secrets with a stand-in for each missing token, and one warning for each.
pub(super) fn with_placeholders(node: &NodeConfig, secrets: &NodeSecrets) -> (NodeSecrets, Vec<String>) {
    let mut filled = secrets.clone();
    let mut warnings = Vec::new();
    for name in missing_tokens(node, secrets) {
        let slot = if name == "server_token" { &mut filled.server_token } else { &mut filled.agent_token };
        *slot = Some(Secret::new(PLACEHOLDER));
        let outcome = if may_generate(node) {
            "an install generates one, because this master forms the cluster"
        } else {
            "an install refuses with E_TOKEN_MISSING"
        };
        warnings.push(format!("{name} is missing in secrets.toml: {outcome}"));
    }
    (filled, warnings)
}

/// Checks that the node has its tokens.
///
/// # Errors
/// `E_TOKEN_MISSING` with the names.
pub fn ensure_tokens(node: &NodeConfig, secrets: &NodeSecrets) -> Result<(), Refusal> {
    let missing = missing_tokens(node, secrets);
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} is a {} and needs {}; put it into secrets.toml beside the cluster file",
        node.hostname,
        node.role.role(),
        missing.join(", ")
    );
    Err(Refusal::new("E_TOKEN_MISSING", ExitCode::InvalidInput, message))
}
