//! Which tokens a role needs, and what stands in for them in a dry run.

use crate::exit::ExitCode;
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, NodeSecrets, Role, RoleConfig};
use profiles::secret::Secret;

/// Stands for a missing token while a plan is rendered; never written, because an install refuses without the token.
const PLACEHOLDER: &str = "token-missing";

/// Names of the tokens that this node needs and was not given. A master of a cluster with workers holds the agent token
/// too: without it k3s would hand the server token to every worker.
pub fn missing_tokens(node: &NodeConfig, secrets: &NodeSecrets) -> Vec<&'static str> {
    let role = node.role.role();
    let has_workers = node.peers_with(Role::Worker).next().is_some();
    let needs_agent = role == Role::Worker || (role == Role::Master && has_workers);
    let mut missing = Vec::new();
    if role == Role::Master && secrets.server_token.is_none() {
        missing.push("server_token");
    }
    if needs_agent && secrets.agent_token.is_none() {
        missing.push("agent_token");
    }
    missing
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
        set_token(&mut filled, name, Secret::new(PLACEHOLDER));
        let outcome = if may_generate(node) {
            "an install generates one, because this master forms the cluster"
        } else {
            "an install refuses with E_TOKEN_MISSING"
        };
        warnings.push(format!("{name} is missing in secrets.toml: {outcome}"));
    }
    (filled, warnings)
}

/// Gives the node a token by the name it has in [`missing_tokens`].
pub fn set_token(secrets: &mut NodeSecrets, name: &str, token: Secret) {
    match name {
        "server_token" => secrets.server_token = Some(token),
        _ => secrets.agent_token = Some(token),
    }
}

/// Whether an install of this node would have its tokens: those it was given, or may make.
///
/// # Errors
/// As [`ensure_tokens`].
pub fn foresee_tokens(node: &NodeConfig, secrets: &NodeSecrets) -> Result<(), Refusal> {
    if may_generate(node) { Ok(()) } else { ensure_tokens(node, secrets) }
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
        missing.join(" and ")
    );
    Err(Refusal::new("E_TOKEN_MISSING", ExitCode::InvalidInput, message))
}
