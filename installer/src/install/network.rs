//! The network is asked before the first write: nobody may have the addresses of this node or its VIPs.

use crate::console::{Lines, render_warning};
use crate::inventory::Inventory;
use crate::plan::{choose_macs, machine_nics};
use crate::probe::{Judgement, Weight, judge, look, runs_already};
use crate::refusal::Refusal;
use profiles::node::NodeConfig;

/// Asks at every leg of the node, shows what is worth showing, and gives true when the cluster runs already.
///
/// # Errors
/// The first refusal, with all others as its details: `E_ADDRESS_IN_USE`, `E_NO_CARRIER`; `E_NIC_NOMATCH` when a leg is no card of
/// this machine.
pub(super) fn ask_network(
    node: &NodeConfig,
    inventory: &Inventory,
    screen: &mut dyn Lines,
) -> Result<bool, Refusal> {
    let chosen = choose_macs(node, &machine_nics(inventory)).map_err(|error| error.refusal())?;
    screen.line("metalstrap: asking the network whether the addresses of this node are free");
    let findings = look(node, &chosen, true);
    let judged = judge(node, &findings);
    for judgement in &judged {
        tracing::info!(code = judgement.code, leg = judgement.leg, message = judgement.message, "network");
        match judgement.weight {
            Weight::Refuse => {}
            Weight::Warn => screen.line(&render_warning(&judgement.message)),
            Weight::Note => screen.line(&format!("metalstrap: {}", judgement.message)),
        }
    }
    refuse(&judged)?;
    Ok(runs_already(node, &findings))
}

fn refuse(judged: &[Judgement]) -> Result<(), Refusal> {
    let mut refusals = judged.iter().filter_map(Judgement::refusal);
    match refusals.next() {
        Some(first) => {
            Err(first.with_details(refusals.map(|also| format!("{}: {}", also.code, also.message))))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::refuse;
    use crate::probe::{Judgement, Weight};

    #[test]
    fn the_first_refusal_carries_the_others_and_a_warning_stops_nothing() {
        let say = |weight, code, message: &str| Judgement {
            code,
            weight,
            leg: "cluster0".to_owned(),
            message: message.to_owned(),
        };
        let warning = say(Weight::Warn, "W_GATEWAY_SILENT", "silent");
        assert_eq!(refuse(std::slice::from_ref(&warning)), Ok(()));
        let judged = [
            warning,
            say(Weight::Refuse, "E_ADDRESS_IN_USE", "one"),
            say(Weight::Refuse, "E_NO_CARRIER", "two"),
        ];
        let refusal = refuse(&judged).unwrap_err();
        assert_eq!(refusal.to_string(), "E_ADDRESS_IN_USE: one\n  E_NO_CARRIER: two");
        assert_eq!(refusal.exit, crate::exit::ExitCode::Environment);
    }
}
