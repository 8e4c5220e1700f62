//! `haproxy.cfg`: an internal proxy balances the API to the masters, a DMZ proxy takes web traffic to the ingress.
//!
//! TLS is never ended here: clients prove themselves to the API server by certificate, and the ingress has the site's.

use super::Input;
use super::error::RenderError;
use super::k3s_config::API_PORT;
use super::output::Output;
use super::text::{HEADER, dns_name};
use profiles::node::{Interface, ProxyConfig, ProxyPlacement, Role, RoleConfig};
use std::net::SocketAddr;

const CONFIG: &str = "/etc/haproxy/haproxy.cfg";

/// Watches and `kubectl exec` idle for hours; HAProxy must not end them.
const API_TIMEOUTS: &str = "    timeout client 1h\n    timeout server 1h\n    timeout tunnel 24h\n";
const WEB_TIMEOUTS: &str = "    timeout client 60s\n    timeout server 60s\n    timeout tunnel 1h\n";

/// Two requests without credentials, both must pass: the supervisor answers, and the API server is mounted (401 says
/// so too: k3s refuses anonymous callers; it is 503 while there is none). The certificate is not verified, as nothing
/// secret is sent and a proxy holds no key of the cluster.
const API_CHECK: &str = "    option httpchk
    http-check connect ssl alpn http/1.1
    http-check send meth GET uri /ping ver HTTP/1.1 hdr Host kubernetes
    http-check expect status 200
    http-check connect ssl alpn http/1.1
    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host kubernetes
    http-check expect status 200,401
    default-server inter 3s fastinter 1s downinter 2s fall 3 rise 2 slowstart 10s check verify none on-marked-down shutdown-sessions
";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let RoleConfig::Proxy(proxy) = &input.node.role else { return Ok(()) };
    let text = match proxy.placement {
        ProxyPlacement::Internal => internal(input, proxy)?,
        ProxyPlacement::Dmz => dmz(input, proxy)?,
    };
    output.file(CONFIG, text);
    output.enable("haproxy.service");
    Ok(())
}

fn internal(input: &Input<'_>, proxy: &ProxyConfig) -> Result<String, RenderError> {
    let mut text = head(API_TIMEOUTS);
    text.push_str(&format!("\nfrontend k3s_api\n{}", binds(input.cluster_interface()?, API_PORT)));
    if let (Some(vip), Some(_)) = (input.node.cluster.proxy_vip, &proxy.vrrp) {
        // The address is there only while keepalived holds it.
        text.push_str(&format!("    bind {vip}:{API_PORT} transparent\n"));
    }
    text.push_str("    option clitcpka\n    default_backend k3s_servers\n");
    text.push_str("\nbackend k3s_servers\n    balance leastconn\n    option srvtcpka\n");
    text.push_str(API_CHECK);
    text.push_str(&servers(input, Role::Master, API_PORT)?);
    text.push_str(&local("{ nbsrv(k3s_servers) lt 1 }"));
    Ok(text)
}

/// The addresses of the leg, of each family it has.
fn binds(leg: &Interface, port: u16) -> String {
    leg.addresses().map(|own| format!("    bind {}\n", SocketAddr::new(own, port))).collect()
}

fn dmz(input: &Input<'_>, proxy: &ProxyConfig) -> Result<String, RenderError> {
    let missing = || RenderError::NoDmzInterface { hostname: input.node.hostname.clone() };
    let leg = input.node.dmz_interface().ok_or_else(missing)?;
    let mut text = head(WEB_TIMEOUTS);
    for (name, port, node_port) in
        [("http", 80, proxy.ingress_http_node_port), ("https", 443, proxy.ingress_https_node_port)]
    {
        text.push_str(&format!(
            "\nfrontend {name}_in\n{}    default_backend ingress_{name}\n",
            binds(leg, port)
        ));
        text.push_str(&format!("\nbackend ingress_{name}\n    balance leastconn\n    option tcp-check\n"));
        text.push_str("    default-server inter 5s fall 3 rise 2 check on-marked-down shutdown-sessions\n");
        text.push_str(&servers(input, Role::Worker, node_port)?);
    }
    text.push_str(&local("{ nbsrv(ingress_http) lt 1 } or { nbsrv(ingress_https) lt 1 }"));
    Ok(text)
}

fn head(timeouts: &str) -> String {
    format!(
        "{HEADER}
global
    log /dev/log local0
    maxconn 20000
    user haproxy
    group haproxy
    stats socket /run/haproxy/admin.sock mode 660 level operator expose-fd listeners

defaults
    log global
    mode tcp
    option tcplog
    option dontlog-normal
    option dontlognull
    option redispatch
    retries 3
    timeout connect 5s
    timeout queue 30s
    timeout check 3s
    timeout client-fin 30s
{timeouts}"
    )
}

/// One line for each server behind the proxy; always the servers' own addresses, never a VIP, which would hide a
/// dead one.
fn servers(input: &Input<'_>, role: Role, port: u16) -> Result<String, RenderError> {
    let mut text = String::new();
    for peer in input.node.peers_with(role) {
        let name = dns_name("host name", &peer.hostname)?;
        text.push_str(&format!("    server {name} {}:{port}\n", peer.cluster_address));
    }
    if text.is_empty() {
        return Err(RenderError::NoBackend { hostname: input.node.hostname.clone(), role });
    }
    Ok(text)
}

/// For the health agent and operators on the machine: `/health` fails while no server is up.
fn local(down: &str) -> String {
    format!(
        "
frontend local
    mode http
    option httplog
    option dontlog-normal
    bind 127.0.0.1:8404
    timeout client 10s
    monitor-uri /health
    monitor fail if {down}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    stats enable
    stats uri /stats
"
    )
}
