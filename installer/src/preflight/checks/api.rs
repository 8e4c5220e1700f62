//! The cluster that is joined: does it answer, is it ours, and is there one already that must not be formed twice?

use crate::exit::ExitCode;
use crate::preflight::facts::{Api, Route};
use crate::preflight::model::{Check, Class, Finding, Input, Judged, NotRun, known};
use crate::refusal::Refusal;
use profiles::node::{NodeConfig, RoleConfig};
use profiles::preflight::{CLUSTER_CA, CLUSTER_SECOND, VIP_REACH};

/// True for the master that forms the cluster.
fn forms_cluster(node: &NodeConfig) -> bool {
    matches!(node.role, RoleConfig::Master { forms_cluster: true })
}

fn joins(node: &NodeConfig) -> bool {
    node.kubernetes.is_some() && !forms_cluster(node)
}

/// `vip.reach`
pub const REACH: Check = Check {
    id: VIP_REACH,
    class: Class::Cluster,
    title: "The API of the cluster answers",
    source: "`GET https://ADDRESS:6443/ping`, where ADDRESS is the API VIP or, without one, the first master; nodes that join only",
    limits: "no `pong`: warning",
    why: "a node that joins waits for the API; it is fine when the first master is still being installed",
    remedy: "look at the first master; is the address right, does a firewall stand between?",
    codes: &[],
    during_install: false,
    judge: |input| {
        if !joins(input.node()?) {
            return Ok(Finding::not_applicable("this node does not join through it"));
        }
        let api = known(&input.facts.api)?;
        Ok(match ping(api)? {
            Ok(()) => Finding::pass(format!("{} answers", api.address)),
            Err(why) => {
                Finding::warn(format!("{} does not answer ({why}): this node will wait for it", api.address))
            }
        })
    },
};

fn ping(api: &Api) -> Result<&Result<(), String>, NotRun> {
    api.ping.as_ref().ok_or_else(|| NotRun::new("nobody asked"))
}

/// `cluster.second`
pub const SECOND: Check = Check {
    id: CLUSTER_SECOND,
    class: Class::Cluster,
    title: "The cluster that is formed is not there already",
    source: "`GET https://VIP:6443/ping`, on the one master that forms the cluster",
    limits: "somebody says `pong` and is not known as a master of this cluster: fails; no route there: could not run",
    why: "this machine would form a second cluster under the same name and address: the nodes would not know which is theirs",
    remedy: "to replace this master, move its entry behind another master of the cluster file: then it joins; if its old data are gone, first `kubectl delete node NAME` on another master, or etcd refuses it as a duplicate; to form the cluster anew, switch the old masters off first",
    codes: &["E_CLUSTER_EXISTS"],
    during_install: false,
    judge: second,
};

fn second(input: &Input<'_>) -> Judged {
    let node = input.node()?;
    if !forms_cluster(node) {
        return Ok(Finding::not_applicable("this node forms no cluster"));
    }
    if node.cluster.api_vip.is_none() {
        return Ok(Finding::not_applicable("without an API VIP there is no address but its own"));
    }
    if input.cluster_exists {
        return Ok(Finding::pass("it runs already: this master joins it"));
    }
    let api = known(&input.facts.api)?;
    let routes = known(&input.facts.routes)?;
    let leads_there = |route: &Route| node.cluster.api_vip.is_some_and(|vip| route.to.contains(&vip));
    if ping(api)?.is_err() && !routes.iter().any(leads_there) {
        return Err(NotRun::new(format!("the live system has no way to {}", api.address)));
    }
    if ping(api)?.is_err() {
        return Ok(Finding::pass(format!("nobody answers at {}", api.address)));
    }
    let message = format!(
        "{} is to form the cluster {}, but a k3s server answers at {} already; to replace a master list it behind another one, so that it joins",
        node.hostname, node.cluster.name, api.address
    );
    Ok(Finding::fail(Refusal::new("E_CLUSTER_EXISTS", ExitCode::Environment, message)))
}

/// `cluster.ca`
pub const CA: Check = Check {
    id: CLUSTER_CA,
    class: Class::Cluster,
    title: "Behind the address of the API stands our cluster",
    source: "`GET https://ADDRESS:6443/cacerts`, hashed as k3s does, against the hash in the K10 token; then the certificate of the server, against that CA",
    limits: "another hash, or a server certificate that this CA did not sign: fails; no answer: could not run; a token without hash: does not apply",
    why: "the token would be shown to a stranger who took the address",
    remedy: "find out who has the address (`ip neigh`); if it is your cluster with a new CA, put its new token into `secrets.toml`",
    codes: &["E_VIP_NOT_OURS"],
    during_install: false,
    judge: ca,
};

fn ca(input: &Input<'_>) -> Judged {
    if !joins(input.node()?) {
        return Ok(Finding::not_applicable("this node does not join"));
    }
    let Some(wanted) = input.token_ca_hash else {
        return Ok(Finding::not_applicable("the token names no CA (it is not of the K10 form)"));
    };
    let api = known(&input.facts.api)?;
    let refuse =
        |message: String| Ok(Finding::fail(Refusal::new("E_VIP_NOT_OURS", ExitCode::Environment, message)));
    let address = &api.address;
    let shown = match &api.ca {
        None => return Err(NotRun::new("nobody asked")),
        Some(Err(why)) => return Err(NotRun::new(format!("{address} shows no CA ({why})"))),
        Some(Ok(shown)) => shown,
    };
    if !shown.hashes.iter().any(|hash| hash == wanted) {
        let has = shown.hashes.iter().map(|hash| short(hash)).collect::<Vec<_>>().join(", ");
        let wanted = short(wanted);
        return refuse(format!(
            "{address} shows the CA {has}, the token is of the cluster with the CA {wanted}; somebody else has the address, or the token is of another cluster"
        ));
    }
    match &shown.signs_server {
        Ok(()) => Ok(Finding::pass(format!("{address} has the CA of the token"))),
        Err(why) => refuse(format!(
            "{address} shows the CA of the token, but its own certificate is not signed by it ({why}); somebody else has the address"
        )),
    }
}

/// The first digits of a hash: enough to compare by eye.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}
