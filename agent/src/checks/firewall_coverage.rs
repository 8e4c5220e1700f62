//! `firewall.coverage`: what the host firewall cannot protect, and which risks the operator accepted, in words.

use crate::catalogue::{ALL_ROLES, AT_ONCE, Check, Looking, Moment, always, secs};
use crate::context::Context;
use crate::verdict::Verdict;
use profiles::node::{NodeConfig, Role};
use std::sync::Arc;

/// Interface that Cilium makes on every node it runs on.
const CILIUM_DEVICE: &str = "/sys/class/net/cilium_host";

/// Catalogue entry.
pub const CHECK: Check = Check {
    id: "firewall.coverage",
    title: "It is known what the firewall does not protect",
    source: "The node config; and whether Cilium's interface is there",
    limits: "Cilium, which answers NodePorts before nftables, on a node that should have another container network: critical",
    roles: ALL_ROLES,
    applies: always,
    interval: secs(60),
    timeout: secs(2),
    patience: AT_ONCE,
    depends_on: &[],
    action: "find out who installed Cilium, or say so in the cluster file (cluster.cni) and apply it",
    subject: "",
    look,
};

fn look(_: &'static str, context: Arc<Context>, _: Moment) -> Looking {
    Box::pin(async move { judge(&context.node, context.path(CILIUM_DEVICE).exists()) })
}

fn judge(node: &NodeConfig, has_cilium: bool) -> Verdict {
    let facts = &node.cluster;
    let runs_pods = node.role.role() != Role::Proxy;
    let expected = runs_pods && facts.cni.is_cilium();
    if has_cilium && !expected {
        return Verdict::critical(
            "UnexpectedCilium",
            "Cilium is here although the node config says otherwise: it may answer NodePorts before this firewall sees them",
        );
    }
    let risks: Vec<String> = facts
        .firewall
        .flows
        .iter()
        .filter_map(|flow| Some((flow, flow.accept_risk.as_ref()?)))
        .map(|(flow, reason)| format!("{} from {} to {} ({reason})", flow.port, flow.from, flow.to))
        .collect();
    let accepted =
        if risks.is_empty() { String::new() } else { format!("; accepted risks: {}", risks.join(", ")) };
    if expected {
        let message = format!(
            "host firewall does not cover NodePorts: Cilium answers them in eBPF; limit them by its value `devices` and by \
             network policies{accepted}"
        );
        return Verdict::ok("NodePortsNotCovered", message);
    }
    let reason = if risks.is_empty() { "Covered" } else { "RisksAccepted" };
    Verdict::ok(reason, format!("everything that reaches this node passes its firewall{accepted}"))
}

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::verdict::Verdict;
    use profiles::firewall::{FlowFrom, FlowTo, OperatorFlow, PortSpec};
    use profiles::node::{Cni, NodeConfig};

    fn node() -> NodeConfig {
        serde_json::from_str(include_str!("../../tests/fixtures/node.json")).unwrap()
    }

    #[test]
    fn says_what_is_not_covered_and_which_risks_were_accepted() {
        let covered = "everything that reaches this node passes its firewall";
        assert_eq!(judge(&node(), false), Verdict::ok("Covered", covered));
        let mut risky = node();
        risky.cluster.firewall.flows = vec![OperatorFlow {
            from: FlowFrom::Dmz,
            sources: vec![],
            to: FlowTo::Master,
            port: PortSpec::tcp(6443),
            why: "the build server deploys".to_owned(),
            accept_risk: Some("it has its own certificate".to_owned()),
        }];
        let risks = "; accepted risks: tcp/6443 from dmz to master (it has its own certificate)";
        assert_eq!(judge(&risky, false), Verdict::ok("RisksAccepted", format!("{covered}{risks}")));
        risky.cluster.cni = Cni::CiliumVxlan;
        let text = "host firewall does not cover NodePorts: Cilium answers them in eBPF; limit them by its value `devices` \
                    and by network policies";
        assert_eq!(judge(&risky, true), Verdict::ok("NodePortsNotCovered", format!("{text}{risks}")));
    }

    #[test]
    fn cilium_where_nobody_expects_it_is_critical() {
        let text = "Cilium is here although the node config says otherwise: it may answer NodePorts before this firewall sees them";
        assert_eq!(judge(&node(), true), Verdict::critical("UnexpectedCilium", text));
    }
}
