//! `keepalived.conf` of an internal proxy: the proxy VIP moves to the peer when HAProxy or the machine dies.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, dns_name, interface_name};
use profiles::node::RoleConfig;

const CONFIG: &str = "/etc/keepalived/keepalived.conf";

/// Unprivileged user of the check script; `systemctl is-active` needs no rights.
const SCRIPT_USER: &str = "nobody nogroup";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let RoleConfig::Proxy(proxy) = &input.node.role else { return Ok(()) };
    let (Some(vrrp), Some(vip)) = (&proxy.vrrp, input.node.cluster.proxy_vip) else {
        output.mask("keepalived.service");
        return Ok(());
    };
    let leg = input.cluster_interface()?;
    let interface = interface_name(&leg.name)?;
    let name = dns_name("host name", &input.node.hostname)?;
    let peers: String = vrrp.peers.iter().map(|peer| format!("        {peer}\n")).collect();
    // Without a peer there is nobody to send to; an empty block is refused.
    let unicast = if peers.is_empty() {
        String::new()
    } else {
        format!("    unicast_src_ip {}\n    unicast_peer {{\n{peers}    }}\n", leg.address.addr())
    };
    output.file(
        CONFIG,
        format!(
            "{HEADER}
global_defs {{
    router_id {name}
    script_user {SCRIPT_USER}
    enable_script_security
    vrrp_version 3
    vrrp_garp_master_delay 5
    vrrp_garp_master_refresh 60
    vrrp_check_unicast_src
}}

vrrp_script chk_haproxy {{
    script \"/usr/bin/systemctl is-active --quiet haproxy.service\"
    interval 2
    timeout 2
    fall 2
    rise 2
    weight 0
}}

vrrp_instance API {{
    state BACKUP
    nopreempt
    interface {interface}
    virtual_router_id {router_id}
    priority {priority}
    advert_int 1
{unicast}    virtual_ipaddress {{
        {vip}/32 dev {interface}
    }}
    track_script {{
        chk_haproxy
    }}
}}
",
            router_id = vrrp.router_id,
            priority = vrrp.priority,
        ),
    );
    output.enable("keepalived.service");
    Ok(())
}
