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

/// Gives a node of k3s the password by which its cluster will know it, unless it keeps the one it had. k3s would make one when it starts
/// first; made by the install it is part of a file system that was unmounted, and the next install finds it, whatever the last power cut
/// left in the journal. The form is that of k3s: 16 bytes in hex.
pub fn fill_node_password(node: &NodeConfig, secrets: &mut NodeSecrets, random: [u8; 16]) {
    if node.kubernetes.is_some() {
        secrets.node_password.get_or_insert_with(|| Secret::new(hex::encode(random)));
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

#[cfg(test)]
mod tests {
    use super::fill_node_password;
    use profiles::node::NodeSecrets;
    use profiles::secret::Secret;

    #[test]
    fn every_node_of_k3s_has_a_password_and_keeps_the_one_it_had() {
        let text = include_str!("../../../profiles/examples/ha.toml");
        let cluster = profiles::load("ha.toml", text.as_bytes(), None).cluster.unwrap();
        let filled = |hostname: &str, kept: Option<&str>| {
            let node_password = kept.map(Secret::new);
            let mut secrets = NodeSecrets { node_password, ..NodeSecrets::default() };
            fill_node_password(&cluster.resolve(hostname).unwrap(), &mut secrets, [0x0a; 16]);
            secrets.node_password.map(|password| password.expose().to_owned())
        };
        let made = Some("0a".repeat(16));
        assert_eq!((filled("master-1", None), filled("worker-1", None)), (made.clone(), made));
        assert_eq!(filled("worker-1", Some("0123abcd")).as_deref(), Some("0123abcd"));
        assert_eq!(filled("proxy-1", None), None, "no k3s, nothing to prove");
    }
}
