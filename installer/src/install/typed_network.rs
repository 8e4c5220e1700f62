//! The network that was entered at the console, as files of networkd in `/run`: gone with the live system.

use crate::console::NetworkAnswer;
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use std::path::Path;
use std::time::Duration;
use sysio::command::{Cmd, CommandError};
use sysio::files::{create_folders, remove_if_there, write_atomic};

/// Where networkd looks for files of this boot.
const FOLDER: &str = "/run/systemd/network";
/// Their names, before the live system's DHCP on every port (80): networkd takes the first file that matches.
const LINK: &str = "05-metalstrap-console.network";
const PORT: &str = "05-metalstrap-console-port.network";
const VLAN: &str = "05-metalstrap-console.netdev";
/// systemd's own program that waits until a link is configured.
const WAIT_ONLINE: &str = "/usr/lib/systemd/systemd-networkd-wait-online";
/// Spanning tree keeps a port closed for 30 seconds; DHCP comes after that.
const ONLINE_SECS: u64 = 60;

/// Each file with its contents.
fn render(answer: &NetworkAnswer) -> Vec<(&'static str, String)> {
    let interface = answer.interface();
    let mut link = format!("[Match]\nName={interface}\n\n[Network]\n");
    match answer.address {
        None => link += "DHCP=yes\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=yes\n",
        Some(address) => {
            link += &format!("Address={address}\nDHCP=no\nLinkLocalAddressing=ipv6\n");
            link += &answer.gateway.map(|gateway| format!("Gateway={gateway}\n")).unwrap_or_default();
            link += &answer.dns.map(|dns| format!("DNS={dns}\n")).unwrap_or_default();
        }
    }
    let mut files = vec![(LINK, link)];
    if let Some(tag) = answer.vlan {
        let port = &answer.port;
        files.push((VLAN, format!("[NetDev]\nName={interface}\nKind=vlan\n\n[VLAN]\nId={tag}\n")));
        files.push((
            PORT,
            format!("[Match]\nName={port}\n\n[Network]\nVLAN={interface}\nDHCP=no\nLinkLocalAddressing=no\n"),
        ));
    }
    files
}

/// Sets the network up in place of what was entered `before`, and waits until it is.
///
/// # Errors
/// `E_NETWORK_SETUP` when networkd does not take it, or the link does not come up.
pub(super) fn set_up(answer: &NetworkAnswer, before: Option<&NetworkAnswer>) -> Result<(), Refusal> {
    let refuse = |why: String| {
        let message = format!("{} cannot be set up: {why}", answer.interface());
        Refusal::new("E_NETWORK_SETUP", ExitCode::Environment, message)
    };
    let folder = Path::new(FOLDER);
    write(answer, folder).map_err(|error| refuse(format!("{error:#}")))?;
    if let Some(old) = before.filter(|old| old.vlan.is_some() && old.interface() != answer.interface())
        && let Err(error) = Cmd::new("networkctl").args(["delete", &old.interface()]).run()
    {
        tracing::debug!(%error, "the link entered before stays");
    }
    let online = format!("--interface={}", answer.interface());
    let limit = format!("--timeout={ONLINE_SECS}");
    let commands = [
        Cmd::new("networkctl").arg("reload"),
        Cmd::new("networkctl").args(["reconfigure", &answer.port]),
        Cmd::new(WAIT_ONLINE).args([&online, &limit]).time_limit(Duration::from_secs(ONLINE_SECS + 10)),
    ];
    let ran: Result<(), CommandError> = commands.iter().try_for_each(|command| command.run().map(drop));
    ran.map_err(|error| refuse(format!("{:#}", anyhow::Error::new(error))))
}

fn write(answer: &NetworkAnswer, folder: &Path) -> anyhow::Result<()> {
    create_folders(folder, 0o755)?;
    for name in [LINK, PORT, VLAN] {
        remove_if_there(&folder.join(name))?;
    }
    for (name, text) in render(answer) {
        write_atomic(&folder.join(name), text.as_bytes(), 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{NetworkAnswer, render, write};

    fn answer() -> NetworkAnswer {
        NetworkAnswer {
            port: "eth1".to_owned(),
            vlan: Some(20),
            address: Some("10.0.0.21/22".parse().unwrap()),
            gateway: Some("10.0.0.1".parse().unwrap()),
            dns: Some("10.0.0.2".parse().unwrap()),
        }
    }

    #[test]
    fn a_tagged_static_address_becomes_three_files_and_dhcp_one() {
        let files: Vec<String> =
            render(&answer()).into_iter().map(|(name, text)| format!("{name}:\n{text}")).collect();
        assert_eq!(
            files.join("\n"),
            "05-metalstrap-console.network:\n[Match]\nName=eth1.20\n\n[Network]\nAddress=10.0.0.21/22\nDHCP=no\n\
             LinkLocalAddressing=ipv6\nGateway=10.0.0.1\nDNS=10.0.0.2\n\n\
             05-metalstrap-console.netdev:\n[NetDev]\nName=eth1.20\nKind=vlan\n\n[VLAN]\nId=20\n\n\
             05-metalstrap-console-port.network:\n[Match]\nName=eth1\n\n[Network]\nVLAN=eth1.20\nDHCP=no\nLinkLocalAddressing=no\n"
        );
        let dhcp = NetworkAnswer { vlan: None, address: None, gateway: None, dns: None, ..answer() };
        let dir = tempfile::tempdir().unwrap();
        write(&answer(), dir.path()).unwrap();
        write(&dhcp, dir.path()).unwrap();
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["05-metalstrap-console.network"]);
        assert!(render(&dhcp)[0].1.starts_with("[Match]\nName=eth1\n\n[Network]\nDHCP=yes\n"));
    }
}
