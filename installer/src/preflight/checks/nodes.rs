//! What the node has to have from its cluster file: tokens, and a plan that can be made.

use crate::preflight::model::{Check, Class, Finding, NotRun, Purpose};
use profiles::preflight::{CLUSTER_PLAN, CLUSTER_TOKENS};

/// `cluster.tokens`
pub const TOKENS: Check = Check {
    id: CLUSTER_TOKENS,
    class: Class::Cluster,
    title: "The node has the tokens of its role",
    source: "`secrets.toml` beside the cluster file",
    limits: "a token missing: fails; in a plan: warning. The master that forms the cluster makes its own",
    why: "without its token a node never joins",
    remedy: "put the token into `secrets.toml` beside the cluster file",
    codes: &["E_TOKEN_MISSING"],
    during_install: false,
    judge: |input| {
        if input.node()?.kubernetes.is_none() {
            return Ok(Finding::not_applicable("a proxy is given no token"));
        }
        match input.tokens {
            None => Err(NotRun::new("nobody looked for tokens")),
            Some(Ok(())) => Ok(Finding::pass("all there")),
            Some(Err(refusal)) if input.purpose == Purpose::Install => Ok(Finding::fail(refusal.clone())),
            Some(Err(refusal)) => Ok(Finding::warn(refusal.message.clone())),
        }
    },
};

/// `cluster.plan`
pub const PLAN: Check = Check {
    id: CLUSTER_PLAN,
    class: Class::Cluster,
    title: "A plan can be made and every file of the node rendered",
    source: "the plan itself (`metalstrap plan`)",
    limits: "no plan: fails",
    why: "what cannot be planned is not begun",
    remedy: "the message names the file or the key; a complete plan is shown by `metalstrap plan`",
    codes: &["E_RENDER", "E_IMAGE_TOO_LARGE", "E_SECTOR_SIZE", "E_ARTEFACT_MISSING"],
    during_install: false,
    judge: |input| {
        input.disk()?;
        match input.planned {
            None => Err(NotRun::new("the medium cannot be read")),
            Some(Ok(_)) => Ok(Finding::pass("made")),
            Some(Err(refusal)) if super::ports::PORTS.codes.contains(&refusal.code) => {
                Err(NotRun::new("a port the node needs is not there"))
            }
            Some(Err(refusal)) => Ok(Finding::fail(refusal.clone())),
        }
    },
};
