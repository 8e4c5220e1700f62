//! What every node has, whatever its role: time zone, kernel modules, the units that always run and those that never do.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, word};
use profiles::node::Role;

/// Units of every node.
const ALWAYS: [&str; 7] = [
    "chrony-wait.service",
    "chrony.service",
    "metalstrap-agent.service",
    "metalstrap-firewall.service",
    "metalstrap-settle.service",
    "ssh.service",
    "systemd-networkd.service",
];

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    for unit in ALWAYS {
        output.enable(unit);
    }
    // Debian's nftables.service flushes all tables when it starts and when it stops, those of kube-proxy too.
    output.mask("nftables.service");
    // The image carries the packages of all roles.
    if input.node.role.role() != Role::Proxy {
        output.mask("haproxy.service");
        output.mask("keepalived.service");
    }
    output.file("/etc/modules-load.d/metalstrap.conf", modules(input)?);
    let zone = time_zone(&input.node.cluster.timezone)?;
    output.file("/etc/timezone", format!("{zone}\n"));
    output.link("/etc/localtime", format!("/usr/share/zoneinfo/{zone}"));
    Ok(())
}

fn modules(input: &Input<'_>) -> Result<String, RenderError> {
    let mut text = HEADER.to_owned();
    for module in &input.node.kernel_modules {
        text.push_str(word("kernel module", module, "-_")?);
        text.push('\n');
    }
    Ok(text)
}

/// A name of the tz database: words separated by slashes, so that the link stays inside its folder.
fn time_zone(zone: &str) -> Result<&str, RenderError> {
    for part in zone.split('/') {
        word("time zone", part, "_+-")?;
    }
    Ok(zone)
}

#[cfg(test)]
mod tests {
    use super::time_zone;

    #[test]
    fn keeps_the_time_zone_inside_its_folder() {
        assert_eq!(time_zone("America/Argentina/Buenos_Aires").unwrap(), "America/Argentina/Buenos_Aires");
        assert_eq!(time_zone("Etc/GMT+1").unwrap(), "Etc/GMT+1");
        let strange = "rendering time zone: it has a character that does not belong there";
        assert_eq!(time_zone("../shadow").unwrap_err().to_string(), strange);
        assert_eq!(time_zone("/etc/shadow").unwrap_err().to_string(), "rendering time zone: it is empty");
    }
}
