//! The firewall of the node, tried where nobody else is.

use crate::exit::ExitCode;
use crate::preflight::model::{Check, Class, Finding, known};
use crate::refusal::Refusal;
use profiles::preflight::FIREWALL_RULES;

/// `firewall.rules`
pub const RULES: Check = Check {
    id: FIREWALL_RULES,
    class: Class::Artefacts,
    title: "The kernel takes the firewall of the node",
    source: "the rendered rules, loaded by `nft` into a network namespace of their own",
    limits: "refused: fails, with what `nft` says",
    why: "a rule set that does not load leaves the minimal one in force, which lets nobody in",
    remedy: "boot a live medium of metalstrap; if it is one, please report the message",
    codes: &["E_FIREWALL_RULES"],
    during_install: false,
    judge: |input| {
        input.planned()?;
        Ok(match known(&input.facts.firewall)? {
            Ok(()) => Finding::pass("loaded in a namespace of its own"),
            Err(why) => {
                let message = format!("the kernel does not take the firewall of this node: {why}");
                Finding::fail(Refusal::new("E_FIREWALL_RULES", ExitCode::Environment, message))
            }
        })
    },
};
