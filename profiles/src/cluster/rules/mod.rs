//! The rules that a schema cannot say: between keys, between nodes, between networks.
//!
//! They run on whatever the structural check has left, so that one misspelt key does not hide an address given twice.

mod addresses;
mod clock;
mod disks;
mod features;
mod findings;
mod flows;
mod identity;
mod interfaces;
mod ipv6;
mod kubernetes;
mod links;
mod preflight;
mod ranges;
mod roles;
mod routes;
mod servers;
mod tokens;
mod view;

pub(super) use view::View;

use super::secrets::Beside;
use crate::diagnostic::Diagnostic;
use findings::Findings;

/// A group of rules. A new one is a new file and a line here.
const GROUPS: &[fn(&View<'_>, &mut Findings<'_, '_>)] = &[
    clock::timezone,
    identity::hostnames,
    identity::api_names,
    identity::macs,
    identity::serials_and_uuids,
    identity::disks,
    disks::selectors,
    disks::data_mounts,
    ranges::host_bits,
    ranges::usable,
    ranges::disjoint,
    ranges::gateways,
    ranges::pools,
    servers::reachable,
    ipv6::ranges,
    ipv6::gateways,
    ipv6::dual_stack,
    interfaces::bases,
    interfaces::networks,
    links::names,
    links::references,
    links::members,
    links::vlans,
    links::unused,
    routes::others,
    routes::routes,
    routes::mtus,
    addresses::legs,
    addresses::virtual_ones,
    roles::masters,
    roles::placement,
    roles::dmz_legs,
    roles::proxies,
    roles::admins,
    kubernetes::labels_and_taints,
    kubernetes::profiles,
    kubernetes::mesh_node_port,
    features::container_network,
    features::addresses,
    features::pools,
    flows::ends,
    flows::sources,
    flows::risks,
    preflight::skips,
];

/// Runs every rule.
pub(super) fn validate(view: &View<'_>, beside: Option<&Beside<'_>>, diagnostics: &mut Vec<Diagnostic>) {
    let mut findings = Findings { view, diagnostics };
    for group in GROUPS {
        group(view, &mut findings);
    }
    tokens::validate(view, beside, diagnostics);
}
