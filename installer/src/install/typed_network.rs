//! The network that was entered at the console: the model of every network here, as files of networkd in `/run`, gone with the live
//! system.

use crate::console::NetworkAnswer;
use crate::exit::ExitCode;
use crate::refusal::Refusal;
use crate::render::networkd::{LIVE, Place, files};
use profiles::network::{Link, LinkKind, Network, NicMatch};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use sysio::command::{Cmd, CommandError};
use sysio::files::{create_folders, list_folder, remove_if_there, write_atomic};

/// How the names of the files begin: before those of the kernel's arguments (20) and the live system's DHCP on every port (80), for
/// networkd takes the first file that matches.
const PREFIX: &str = "05-metalstrap-console-";
/// systemd's own program that waits until a link is configured.
const WAIT_ONLINE: &str = "/usr/lib/systemd/systemd-networkd-wait-online";
/// Spanning tree keeps a port closed for 30 seconds; DHCP comes after that.
const ONLINE_SECS: u64 = 60;

/// The port, and what stands on it.
fn network_of(answer: &NetworkAnswer) -> anyhow::Result<Network> {
    let port = Link::new(&answer.port, LinkKind::Physical { nic: NicMatch::Name(answer.port.clone()) });
    let (mut link, below) = match answer.vlan {
        None => (port, None),
        Some(id) => {
            let vlan = LinkKind::Vlan { id, parent: answer.port.clone() };
            (Link::new(answer.interface(), vlan), Some(port))
        }
    };
    link.addresses.extend(answer.address);
    (link.dhcp4, link.auto6) = (answer.address.is_none(), answer.address.is_none());
    match answer.gateway {
        Some(IpAddr::V4(gateway)) => link.gateway = Some(gateway),
        Some(IpAddr::V6(gateway)) => link.gateway6 = Some(gateway),
        None => {}
    }
    link.dns.extend(answer.dns);
    Ok(Network::new(below.into_iter().chain([link]).collect())?)
}

/// Each file with its contents.
fn render(answer: &NetworkAnswer) -> anyhow::Result<BTreeMap<String, String>> {
    let files = files(&network_of(answer)?, Place::Live)?;
    Ok(files.into_iter().map(|(name, text)| (format!("{PREFIX}{name}"), text)).collect())
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
    write(answer, Path::new(LIVE)).map_err(|error| refuse(format!("{error:#}")))?;
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
    let files = render(answer)?;
    create_folders(folder, 0o755)?;
    for (old, _) in list_folder(folder)? {
        if old.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            remove_if_there(&old)?;
        }
    }
    for (name, text) in files {
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
        let files = render(&answer()).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        let [vlan, port, link] = [
            "05-metalstrap-console-15-eth1.20.netdev",
            "05-metalstrap-console-20-eth1.network",
            "05-metalstrap-console-20-eth1.20.network",
        ];
        assert_eq!(names, [vlan, link, port]);
        let has = |file: &str, lines: &[&str]| {
            for line in lines {
                assert!(files[file].lines().any(|l| l == *line), "{line}: {}", files[file]);
            }
        };
        has(vlan, &["Name=eth1.20", "Kind=vlan", "Id=20"]);
        has(port, &["Name=eth1", "VLAN=eth1.20", "DHCP=no"]);
        has(link, &["Name=eth1.20", "Address=10.0.0.21/22", "Gateway=10.0.0.1", "DNS=10.0.0.2", "DHCP=no"]);
    }

    #[test]
    fn a_second_answer_takes_the_place_of_the_first() {
        let dhcp = NetworkAnswer { vlan: None, address: None, gateway: None, dns: None, ..answer() };
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("20-eth1.network");
        std::fs::write(&foreign, "[Match]\nName=eth1\n").unwrap();
        write(&answer(), dir.path()).unwrap();
        write(&dhcp, dir.path()).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["05-metalstrap-console-20-eth1.network", "20-eth1.network"]);
        let text = std::fs::read_to_string(dir.path().join(&names[0])).unwrap();
        for line in ["Name=eth1", "DHCP=ipv4", "IPv6AcceptRA=yes", "UseDNS=yes"] {
            assert!(text.lines().any(|l| l == line), "{line}: {text}");
        }
    }
}
