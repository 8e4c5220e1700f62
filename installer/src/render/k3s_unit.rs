//! `k3s.service` and `k3s-agent.service`: what k3s' own install script writes, with our order of things around it.

use super::Input;
use super::error::RenderError;
use super::k3s_config::CONFIG;
use super::kube_vip::LOOPBACK;
use super::output::Output;
use super::text::{IniFile, interface_name};
use profiles::node::Role;

/// Fails, and is tried again, until our firewall table is loaded: k3s never runs in the open. A `Requires=` would also
/// stop k3s whenever the firewall is restarted.
const FIREWALL_LOADED: &str = "/bin/sh -c 'exec /usr/sbin/nft list table inet metalstrap >/dev/null'";

/// With BGP a kube-vip that lives on would go on telling the routers to come here, where no API server answers any
/// more: it knows no leader and asks nobody for its health. The kubelet starts it again, with k3s.
const END_KUBE_VIP: &str = "-/usr/bin/pkill -TERM -x kube-vip";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let (unit, command) = match input.node.role.role() {
        Role::Master => ("k3s.service", "server"),
        Role::Worker => ("k3s-agent.service", "agent"),
        Role::Proxy => return Ok(()),
    };
    output.file(&format!("/etc/systemd/system/{unit}"), service(input, command)?);
    output.enable(unit);
    Ok(())
}

fn service(input: &Input<'_>, command: &str) -> Result<String, RenderError> {
    let drop_vip = stale_vip(input)?;
    let announces = drop_vip.is_some() && input.node.cluster.firewall.features.kube_vip_bgp.is_some();
    IniFile::new()
        .section("Unit")
        .entry("Description", format!("k3s {command}"))
        .entry("Documentation", "https://docs.k3s.io")
        .entry("Wants", "network-online.target metalstrap-firewall.service chrony-wait.service")
        .entry(
            "After",
            "network-online.target metalstrap-firewall.service chrony-wait.service time-sync.target",
        )
        .entry("RequiresMountsFor", requires_mounts_for(input))
        .entry("ConditionPathExists", CONFIG)
        .section("Service")
        .entry("Type", "notify")
        .entry("EnvironmentFile", "-/etc/default/%N")
        .entry("ExecStartPre", FIREWALL_LOADED)
        .entry("ExecStartPre", "-/sbin/modprobe br_netfilter")
        .entry("ExecStartPre", "-/sbin/modprobe overlay")
        .entries("ExecStartPre", &drop_vip)
        .entry("ExecStart", format!("/usr/local/bin/k3s {command}"))
        .entries("ExecStopPost", announces.then_some(END_KUBE_VIP))
        .entries("ExecStopPost", &drop_vip)
        // Pods live on while k3s restarts.
        .entry("KillMode", "process")
        .entry("Delegate", "yes")
        .entry("LimitNOFILE", "1048576")
        .entry("LimitNPROC", "infinity")
        .entry("LimitCORE", "infinity")
        .entry("TasksMax", "infinity")
        // A master waits for its peers as long as it takes; the health agent says so.
        .entry("TimeoutStartSec", "0")
        .entry("Restart", "always")
        .entry("RestartSec", "5s")
        .section("Install")
        .entry("WantedBy", "multi-user.target")
        .finish()
}

/// Pods keep things on every data disk, so k3s starts on none without the others: it never writes below a mount point whose disk is missing.
fn requires_mounts_for(input: &Input<'_>) -> String {
    let data = input.context.data_mounts.iter().map(|data| data.mount.as_str());
    let data = data.filter(|mount| *mount != "/var/lib/rancher");
    ["/etc/rancher", "/var/lib/rancher"].into_iter().chain(data).collect::<Vec<_>>().join(" ")
}

/// Takes the API VIP off the interface: a kube-vip that was killed leaves it there, and then two machines answer for
/// it, or with BGP this one asks itself. A kube-vip that still leads puts it back by itself.
fn stale_vip(input: &Input<'_>) -> Result<Option<String>, RenderError> {
    let Some(vip) = input.node.cluster.api_vip.filter(|_| input.node.role.role() == Role::Master) else {
        return Ok(None);
    };
    let bgp = input.node.cluster.firewall.features.kube_vip_bgp.is_some();
    let interface = if bgp { LOOPBACK } else { interface_name(&input.cluster_interface()?.name)? };
    Ok(Some(format!("-/bin/ip address del {vip}/32 dev {interface}")))
}
