//! Placeholders in the URL of the cluster file.

use crate::exit::ExitCode;
use crate::inventory::{Inventory, sanitise};
use crate::refusal::Refusal;
use std::fmt::Write as _;

/// Fills `${mac}`, `${serial}`, `${uuid}` and `${hostname}` (the value of `metalstrap.node=`) from the machine.
///
/// The MAC is that of the first port with a cable, else of the first port; colons become dashes, as in PXE file names.
/// Values are percent-encoded, so that firmware cannot change the path they stand in.
///
/// # Errors
/// `E_CONFIG_PLACEHOLDER` for a placeholder that is unknown or that this machine has no value for.
pub fn fill_placeholders(
    url: &str,
    inventory: &Inventory,
    hostname: Option<&str>,
) -> Result<String, Refusal> {
    let mut filled = String::new();
    let mut rest = url;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let (name, tail) = after
            .split_once('}')
            .ok_or_else(|| refuse(format!("the placeholder in \"{}\" is not closed", sanitise(url))))?;
        filled.push_str(&percent_encode(&lookup(name, inventory, hostname)?));
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn lookup(name: &str, inventory: &Inventory, hostname: Option<&str>) -> Result<String, Refusal> {
    let value = match name {
        "mac" => {
            let with_cable = inventory.ports().find(|nic| nic.carrier == Some(true) && nic.mac.is_some());
            let port = with_cable.or_else(|| inventory.ports().find(|nic| nic.mac.is_some()));
            port.and_then(|nic| nic.mac).map(|mac| mac.to_string().replace(':', "-"))
        }
        "serial" => inventory.dmi.serial.clone(),
        "uuid" => inventory.dmi.uuid.map(|uuid| uuid.to_string()),
        "hostname" => hostname.map(str::to_owned),
        other => {
            let known = "${mac}, ${serial}, ${uuid} and ${hostname} are known";
            return Err(refuse(format!("unknown placeholder ${{{}}}; {known}", sanitise(other))));
        }
    };
    value.ok_or_else(|| refuse(format!("this machine has no value for the placeholder ${{{name}}}")))
}

fn refuse(message: String) -> Refusal {
    Refusal::new("E_CONFIG_PLACEHOLDER", ExitCode::InvalidInput, message)
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-_~".contains(&byte)
            || (byte == b'.' && !text.trim_matches('.').is_empty())
        {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
