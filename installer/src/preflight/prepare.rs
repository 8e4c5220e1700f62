//! Everything the checks of one node are made from, gathered without stopping at the first thing that is wrong.

use super::collect::collect_planned;
use super::facts::Facts;
use super::model::{Input, Purpose};
use super::report::{PreflightReport, judge_all};
use super::skip::Skips;
use crate::disks::NodeDisks;
use crate::exit::ExitCode;
use crate::inventory::Inventory;
use crate::medium::{Medium, Sources};
use crate::plan::data::DataChoice;
use crate::plan::ids::InstallIds;
use crate::plan::{PlanInput, Planned, PlannedDisk, machine_nics, plan_install};
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, NodeSecrets};

/// A node, the disk it would get and the plan for it; each of them or why there is none.
#[derive(Debug)]
pub struct Prepared {
    /// The node.
    pub node: NodeConfig,
    /// The disks.
    pub disks: Result<NodeDisks, Refusal>,
    /// Whether it has its tokens.
    pub tokens: Result<(), Refusal>,
    /// The descriptions on the medium; `None` away from one.
    pub medium: Option<Result<Medium, Refusal>>,
    /// The plan; `None` without a disk, or with a medium that cannot be read.
    pub planned: Option<Result<Planned, Refusal>>,
    cluster_exists: bool,
    token_ca_hash: Option<String>,
}

/// What a node is prepared from.
#[derive(Debug)]
pub struct Parts {
    /// The node.
    pub node: NodeConfig,
    /// The disks.
    pub disks: Result<NodeDisks, Refusal>,
    /// Whether it has its tokens.
    pub tokens: Result<(), Refusal>,
    /// The descriptions on the medium; `None` away from one.
    pub medium: Option<Result<Medium, Refusal>>,
    /// The cluster runs already: whoever was to form it joins it.
    pub cluster_exists: bool,
}

impl Prepared {
    /// Makes the plan, as far as one can be made.
    pub fn new(parts: Parts, secrets: &NodeSecrets, inventory: &Inventory, ids: &InstallIds) -> Self {
        let Parts { node, disks, tokens, medium, cluster_exists } = parts;
        let readable = medium.as_ref().is_none_or(Result::is_ok);
        let of_medium = medium.as_ref().and_then(|medium| medium.as_ref().ok());
        let planned = disks.as_ref().ok().filter(|_| readable).map(|disks| {
            let planned = plan_install(&PlanInput {
                node: &node,
                secrets,
                nics: &machine_nics(inventory),
                disk: &PlannedDisk::from(disks.system()),
                data_disks: &disks.data().iter().map(DataChoice::from).collect::<Vec<_>>(),
                image: of_medium.map(|medium| &medium.image),
                artifacts: of_medium.map(|medium| &medium.artifacts),
                ids,
                cluster_exists,
            })
            .map_err(|error| error.refusal());
            // What is to be said of the system disk a check says.
            planned.map(|mut planned| {
                let warnings = disks.data().iter().flat_map(|data| data.warnings());
                planned.plan.warnings.extend(warnings.cloned());
                planned
            })
        });
        let token_ca_hash = ca_hash_of(secrets);
        Self { node, disks, tokens, medium, planned, cluster_exists, token_ca_hash }
    }

    /// Adds to what was measured what depends on the plan.
    pub fn complete(&self, facts: &mut Facts, sources: Option<&Sources>) {
        if let Some(Ok(planned)) = &self.planned {
            collect_planned(planned, sources, facts);
        }
    }

    /// What the checks are given.
    pub fn input<'a>(&'a self, purpose: Purpose, inventory: &'a Inventory, facts: &'a Facts) -> Input<'a> {
        Input {
            purpose,
            inventory,
            node: Some(&self.node),
            disks: Some(&self.disks),
            tokens: Some(&self.tokens),
            medium: self.medium.as_ref(),
            planned: self.planned.as_ref(),
            token_ca_hash: self.token_ca_hash.as_deref(),
            cluster_exists: self.cluster_exists,
            facts,
        }
    }

    /// Makes all checks.
    pub fn judge(
        &self,
        purpose: Purpose,
        inventory: &Inventory,
        facts: &Facts,
        skips: &Skips,
    ) -> PreflightReport {
        judge_all(&self.input(purpose, inventory, facts), skips)
    }

    /// The disks and the plan, for an install: only of a node that lacks nothing. What is wrong here was said by a check that
    /// cannot be left out; this is so that nothing depends on that.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn into_plan(self) -> Result<(NodeDisks, Planned), Refusal> {
        self.tokens?;
        let disks = self.disks?;
        if let Some(Err(refusal)) = self.medium {
            return Err(refusal);
        }
        match self.planned {
            Some(planned) => Ok((disks, planned?)),
            None => Err(Refusal::new("E_MEDIUM", ExitCode::Download, "there is no live medium here")),
        }
    }
}

impl Prepared {
    /// The plan, for showing it: tokens may be missing, and there may be no medium.
    ///
    /// # Errors
    /// Why no plan can be made.
    pub fn into_plan_to_show(self) -> Result<Planned, Refusal> {
        Self { tokens: Ok(()), ..self }.into_plan().map(|(_, planned)| planned)
    }
}

/// Hash of the CA in a token of the form `K10<hash>::…`.
fn ca_hash_of(secrets: &NodeSecrets) -> Option<String> {
    let tokens = [&secrets.server_token, &secrets.agent_token];
    let token = tokens.into_iter().flatten().find_map(|token| token.expose().strip_prefix("K10"))?;
    let (hash, _) = token.split_once("::")?;
    let is_hash = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash.then(|| hash.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::ca_hash_of;
    use profiles::node::NodeSecrets;
    use profiles::secret::Secret;

    #[test]
    fn only_a_token_of_the_secure_form_names_a_ca() {
        let of = |token: &str| {
            ca_hash_of(&NodeSecrets { agent_token: Some(Secret::new(token)), ..NodeSecrets::default() })
        };
        let hash = "ab".repeat(32);
        assert_eq!(of(&format!("K10{hash}::node:secret")), Some(hash.clone()));
        assert_eq!(of(&format!("K10{}::node:secret", hash.to_uppercase())), Some(hash));
        for token in ["plain", "K10abc::node:x", "K10", "abcdef.0123456789abcdef"] {
            assert_eq!(of(token), None, "{token}");
        }
    }
}
