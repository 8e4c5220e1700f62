//! How the interfaces of a node stand on each other: names, members, VLANs.

use super::findings::Findings;
use super::view::{NodeView, View};
use crate::check::nearest;
use crate::cluster::stack::{Draft, DraftKind, Part};
use crate::code::Code;
use crate::network::{NAME_BYTES_MAX, is_link_name};
use crate::node::MacAddr;
use crate::path::KeyPath;
use std::collections::{BTreeMap, BTreeSet};

/// What k3s, its kube-proxy and DNS cache and the container networks call theirs: the node leaves such interfaces alone.
const POD_INTERFACES: [&str; 10] =
    ["cali", "cilium", "cni", "flannel", "kube-", "lxc", "nodelocaldns", "tunl", "veth", "vxlan.calico"];

/// What Docker calls its bridges.
const DOCKER_INTERFACES: &str = "docker";

/// What the kernel calls cards before they get their name: another card may hold it at that moment.
const KERNEL_STEMS: [&str; 2] = ["eth", "wlan"];

/// Every link has a name that it can have, and no other link of the node has it.
pub(super) fn names(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let mut seen: BTreeMap<&str, &Draft> = BTreeMap::new();
        for draft in &node.stack.drafts {
            let path = name_place(node, draft);
            if let Some(why) = unfit(draft) {
                findings.value(Code::InterfaceName, &path, why);
            }
            match seen.get(draft.name.as_str()) {
                // Said as what it is by the rule of VLANs.
                Some(first) if is_same_vlan(first, draft) => {}
                Some(first) => {
                    let first = view.place(&node.place(first));
                    let message = format!("`{}` is already the name of {first}", draft.name);
                    findings.value(Code::InterfaceNameTwice, &path, message);
                }
                None => {
                    seen.insert(&draft.name, draft);
                }
            }
        }
    }
}

/// Where the name of a link comes from.
fn name_place(node: &NodeView, draft: &Draft) -> KeyPath {
    let own = node.interfaces().nth(draft.entry);
    match own.filter(|(entry, _, top)| entry.name.is_some() && *top == draft.name) {
        Some((_, path, _)) => path.key("name"),
        None => node.place(draft),
    }
}

fn unfit(draft: &Draft) -> Option<String> {
    let name = &draft.name;
    let length = name.len();
    if length > NAME_BYTES_MAX {
        return Some(format!(
            "`{name}` has {length} characters, the name of an interface at most {NAME_BYTES_MAX}: give it a shorter `name`"
        ));
    }
    if !is_link_name(name) {
        return Some(format!("`{name}` means something else to the kernel; take another name"));
    }
    if POD_INTERFACES.iter().any(|stem| name.starts_with(stem)) {
        return Some(format!("`{name}` is what Kubernetes calls an interface of its own"));
    }
    if name.starts_with(DOCKER_INTERFACES) {
        return Some(format!("`{name}` is what Docker calls an interface of its own"));
    }
    let numbered = |stem: &&str| {
        let rest = name.strip_prefix(*stem);
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    (matches!(draft.kind, DraftKind::Nic(_)) && KERNEL_STEMS.iter().any(numbered))
        .then(|| format!("`{name}` is what the kernel calls some card while it starts; take another name"))
}

fn is_same_vlan(a: &Draft, b: &Draft) -> bool {
    match (&a.kind, &b.kind) {
        (DraftKind::Vlan { id: a, parent: on_a }, DraftKind::Vlan { id: b, parent: on_b }) => {
            (a, on_a) == (b, on_b)
        }
        _ => false,
    }
}

/// Where the name of a lower link is written.
fn lower_place(node: &NodeView, draft: &Draft, number: usize) -> KeyPath {
    let base =
        node.interfaces().nth(draft.entry).map_or_else(|| node.path.clone(), |(_, path, _)| path.clone());
    match draft.part {
        Part::Bond => base.key("bond").index(number),
        Part::Bridge => base.key("bridge").index(number),
        _ => base.key("on"),
    }
}

/// Every name of another interface is that of one there is, and nothing stands on itself.
pub(super) fn references(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let names = || node.stack.drafts.iter().map(|draft| draft.name.as_str());
        for draft in &node.stack.drafts {
            for (n, lower) in draft.kind.lower().iter().enumerate() {
                if node.stack.find(lower).is_none() {
                    let suggestion = nearest(lower, names().filter(|name| *name != draft.name));
                    let message = format!("`{}` has no interface `{lower}`", node.entry.hostname);
                    let path = lower_place(node, draft, n);
                    findings.value_with(Code::InterfaceUnknown, &path, message, suggestion);
                }
            }
        }
        if let Some(draft) = node.stack.drafts.iter().find(|draft| is_in_ring(node, draft)) {
            let message = format!("`{}` stands, in the end, on itself", draft.name);
            findings.value(Code::InterfaceLoop, &node.place(draft), message);
        }
    }
}

fn is_in_ring(node: &NodeView, draft: &Draft) -> bool {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&str> = draft.kind.lower().iter().map(String::as_str).collect();
    while let Some(name) = waiting.pop() {
        if name == draft.name {
            return true;
        }
        if let Some(below) = node.stack.find(name).filter(|_| seen.insert(name)) {
            waiting.extend(below.kind.lower().iter().map(String::as_str));
        }
    }
    false
}

/// Bonds are made of cards, bridges of anything but bridges; a member belongs to one of them and is used by nobody else.
pub(super) fn members(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let mut masters: BTreeMap<&str, &Draft> = BTreeMap::new();
        for draft in &node.stack.drafts {
            let (members, is_bond) = match &draft.kind {
                DraftKind::Bond(members) => (members, true),
                DraftKind::Bridge(members) => (members, false),
                DraftKind::Nic(_) | DraftKind::Vlan { .. } => continue,
            };
            if view.is_sound_at(&node.place(draft)) {
                count(members, is_bond, &node.place(draft), findings);
            }
            for (n, name) in members.iter().enumerate() {
                let path = lower_place(node, draft, n);
                if let Some(first) = masters.insert(name, draft) {
                    let message = format!("`{name}` is a member of `{}` already", first.name);
                    findings.value(Code::MemberTwice, &path, message);
                } else if let Some(member) = node.stack.find(name) {
                    member_fits(node, member, is_bond, &path, findings);
                }
            }
        }
    }
}

fn count(members: &[String], is_bond: bool, path: &KeyPath, findings: &mut Findings<'_, '_>) {
    let what = if is_bond { "bond" } else { "bridge" };
    if members.is_empty() {
        findings.value(Code::MembersNone, path, format!("a {what} needs members"));
    } else if is_bond && members.len() == 1 {
        findings.value(Code::BondSingle, path, "a bond of one card stands no failure of it");
    }
}

fn member_fits(
    node: &NodeView,
    member: &Draft,
    of_bond: bool,
    path: &KeyPath,
    findings: &mut Findings<'_, '_>,
) {
    let name = &member.name;
    let kind = match &member.kind {
        DraftKind::Bond(_) => "bond",
        DraftKind::Bridge(_) => "bridge",
        DraftKind::Vlan { .. } => "VLAN",
        DraftKind::Nic(_) => "card",
    };
    if of_bond && kind != "card" {
        let message = format!("`{name}` is a {kind}; a bond is made of cards");
        findings.value(Code::MemberKind, path, message);
    } else if kind == "bridge" {
        findings.value(
            Code::MemberKind,
            path,
            format!("`{name}` is a bridge itself; the kernel refuses that"),
        );
    }
    if node.interfaces().any(|(entry, _, top)| top == name && entry.network.is_some()) {
        let message = format!("`{name}` has addresses of its own; they belong on the bond or bridge");
        findings.value(Code::MemberInUse, path, message);
    }
    let vlan = |draft: &&Draft| matches!(&draft.kind, DraftKind::Vlan { parent, .. } if parent == name);
    if let Some(vlan) = node.stack.drafts.iter().find(vlan).filter(|_| of_bond) {
        let message = format!("`{name}` carries the VLAN `{}`; that belongs on the bond", vlan.name);
        findings.value(Code::MemberInUse, path, message);
    }
}

/// One VLAN of one number on one link.
pub(super) fn vlans(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in &view.nodes {
        let mut seen: BTreeSet<(u16, &str)> = BTreeSet::new();
        for draft in &node.stack.drafts {
            if let DraftKind::Vlan { id, parent } = &draft.kind
                && !seen.insert((*id, parent))
            {
                let message = format!("`{parent}` has the VLAN {id} already");
                findings.value(Code::VlanTwice, &node.place(draft), message);
            }
        }
    }
}

/// An interface that has no addresses and carries nobody is a mistake, or a card left over.
pub(super) fn unused(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    for node in view.nodes.iter().filter(|node| !node.partial) {
        for (entry, path, top) in node.interfaces() {
            let carries = |draft: &Draft| draft.kind.lower().iter().any(|lower| lower == top);
            if entry.network.is_none() && !entry.carries() && !node.stack.drafts.iter().any(carries) {
                let message =
                    format!("nothing uses `{top}`: it has no `network` and carries no other interface");
                findings.value(Code::InterfaceUnused, path, message);
            }
        }
    }
}

/// The first card of `primary` is one of the bond.
pub(super) fn is_member(members: &[String], wanted: &str) -> bool {
    members.iter().any(|member| crate::cluster::stack::same_member(member, wanted))
        && (wanted.parse::<MacAddr>().is_ok() || is_link_name(wanted))
}
