//! Flows of the cluster file.

use super::groups::{exceptions, members};
use super::model::{Flow, Group, Leg, NodeKind, Origin, Service, Target};
use profiles::firewall::{FlowTo, OperatorFlow};
use profiles::node::{NodeConfig, Zone};

/// The operator's flows to nodes of this kind.
pub(super) fn flows(node: &NodeConfig, kind: NodeKind) -> Vec<Flow> {
    let flows = node.cluster.firewall.flows.iter().enumerate().filter(|(_, flow)| kind.is(flow.to));
    flows.filter_map(|(index, flow)| of(node, kind, index + 1, flow)).collect()
}

/// `None` when nobody is where it comes from.
fn of(node: &NodeConfig, kind: NodeKind, number: usize, flow: &OperatorFlow) -> Option<Flow> {
    let group = Group::from(flow.from);
    let leg = match group {
        Group::Pods if kind.runs_pods() => Leg::Pods,
        // Pods of a tunnelled network are never on a wire.
        Group::Pods => return None,
        Group::Dmz | Group::Wan if kind == NodeKind::DmzProxy => Leg::Dmz,
        _ => Leg::Cluster,
    };
    let mut sources = if flow.sources.is_empty() { members(node, group) } else { flow.sources.clone() };
    sources.sort();
    let dmz = node.interfaces.iter().find(|interface| interface.zone == Zone::Dmz);
    let target = match (flow.to, leg, dmz) {
        (FlowTo::LoadBalancer, ..) => Target::LoadBalancer,
        // From there the address in the DMZ only, never the one on the cluster network.
        (_, Leg::Dmz, Some(dmz)) => Target::Address(dmz.address.addr(), dmz.address6.map(|six| six.addr())),
        _ => Target::Local,
    };
    (!sources.is_empty()).then(|| Flow {
        id: format!("operator-{number}"),
        leg,
        group,
        sources,
        whole_group: flow.sources.is_empty(),
        except: exceptions(node, group),
        target,
        service: Service::Ports(vec![flow.port]),
        why: flow.why.clone(),
        origin: Origin::Operator(number),
        accept_risk: flow.accept_risk.clone(),
    })
}
