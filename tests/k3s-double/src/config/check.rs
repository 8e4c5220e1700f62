//! Judging the values: every refusal of the README's table that can be seen before anything is written.

use super::labels::{Taint, refuse_label};
use super::load::Values;
use super::{Problem, Role, Settings};
use crate::files::{self, Paths};
use crate::netif;
use crate::token::Token;
use ipnet::IpNet;
use profiles::secret::Secret;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Keys that must be the same on all servers (reference, section 1.4).
const CRITICAL: &[(&str, &str)] = &[
    ("cluster-dns", ""),
    ("cluster-domain", "cluster.local"),
    ("cluster-cidr", "10.42.0.0/16"),
    ("service-cidr", "10.43.0.0/16"),
    ("disable-cloud-controller", "false"),
    ("disable-helm-controller", "false"),
    ("disable-network-policy", "false"),
    ("secrets-encryption", "false"),
    ("flannel-backend", "vxlan"),
    ("flannel-ipv6-masq", "false"),
    ("flannel-external-ip", "false"),
    ("egress-selector-mode", "agent"),
];

/// Kernel parameters without which a kubelet with protect-kernel-defaults exits (reference, section 1.10).
const KERNEL_DEFAULTS: &[(&str, &str)] = &[
    ("vm/panic_on_oom", "0"),
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
];

/// 1980-01-01T00:00:00Z in Unix seconds: k3s refuses an earlier clock.
const YEAR_1980: i64 = 315_532_800;

struct Check<'a> {
    values: &'a Values,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn refuse(&mut self, key: &str, message: impl AsRef<str>) {
        self.problems.push(Problem::new(key, message.as_ref()));
    }

    fn nets(&mut self, key: &str, default: &str) -> Vec<IpNet> {
        let mut items = self.values.list(key);
        if items.is_empty() {
            items.push(default.to_owned());
        }
        let mut nets = Vec::new();
        for item in items {
            match item.parse::<IpNet>() {
                Ok(net) if net.trunc() == net => nets.push(net),
                Ok(net) => self.refuse(key, format!("{item} has host bits, the range is {}", net.trunc())),
                Err(_) => self.refuse(key, format!("{item:?} is not a range like {default}")),
            }
        }
        nets
    }

    fn addresses(&mut self, key: &str) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for item in self.values.list(key) {
            match item.parse() {
                Ok(address) => found.push(address),
                Err(_) => self.refuse(key, format!("{item:?} is not an address")),
            }
        }
        found
    }

    fn file(&mut self, key: &str, paths: &Paths) {
        if let Some(path) = self.values.text(key)
            && !paths.at(path).is_file()
        {
            let message = format!("file {path} does not exist");
            self.refuse(key, message);
        }
    }
}

/// Judges the values; `None` when something needed for [`Settings`] is missing.
pub fn check(role: Role, values: &Values, paths: &Paths, problems: &mut Vec<Problem>) -> Option<Settings> {
    let mut check = Check { values, problems };
    let paths = paths.clone().with_data_dir(values.text("data-dir").unwrap_or("/var/lib/rancher/k3s"));
    let initialised = paths.server("db/etcd/member/wal").exists();
    clock(&mut check);
    required_files(&mut check, &paths);
    let node_name = node_name(&mut check);
    let node_ips = node_addresses(&mut check);
    let (cluster_cidr, service_cidr) = ranges(&mut check, &node_ips);
    let tls_san = tls_sans(&mut check);
    let (labels, taints) = labels_and_taints(&mut check);
    arguments(&mut check, &paths);
    components(&mut check, &paths);
    kernel(&mut check);
    let token = token(&mut check, role, &paths);
    let agent_token = secret(&mut check, "agent-token", &paths);
    if agent_token.as_ref().is_some_and(|t| t.expose().starts_with("K10")) {
        check.refuse(
            "agent-token",
            "is of the K10 form; a server takes it as the bare password, and no agent could join with it",
        );
    }
    let server = server(&mut check, role, token.is_some());
    let backend = values.text("flannel-backend").unwrap_or("vxlan");
    if !["none", "vxlan", "host-gw", "wireguard-native"].contains(&backend) {
        check.refuse(
            "flannel-backend",
            format!("{backend:?} is not vxlan, host-gw, wireguard-native or none"),
        );
    }
    let mode = values.text("write-kubeconfig-mode").unwrap_or("0600");
    let mode = u32::from_str_radix(mode, 8)
        .map_err(|_| check.refuse("write-kubeconfig-mode", format!("{mode:?} is not an octal mode")));
    let external = check.addresses("node-external-ip");
    let advertise =
        check.addresses("advertise-address").first().or(external.first()).or(node_ips.first()).copied()?;
    if server.is_none() && role == Role::Server && !initialised && !values.flag("cluster-init", false) {
        check.refuse("cluster-init", "without it and without server k3s takes SQLite in place of etcd, which is not emulated by the double");
    }
    Some(Settings {
        node_name: node_name?,
        node_ips,
        advertise,
        cluster_cidr,
        service_cidr,
        tls_san,
        token,
        agent_token,
        server,
        initialised,
        flannel: backend != "none",
        kube_proxy: !values.flag("disable-kube-proxy", false),
        etcd_expose_metrics: values.flag("etcd-expose-metrics", false),
        apiserver_lb: !values.flag("disable-apiserver-lb", false),
        kubeconfig: (
            values.text("write-kubeconfig").unwrap_or("/etc/rancher/k3s/k3s.yaml").to_owned(),
            mode.ok()?,
        ),
        labels,
        taints,
        critical: critical(values),
        paths,
    })
}

fn critical(values: &Values) -> BTreeMap<String, String> {
    let mut map: BTreeMap<String, String> = CRITICAL
        .iter()
        .map(|(key, default)| {
            let items = values.list(key);
            ((*key).to_owned(), if items.is_empty() { (*default).to_owned() } else { items.join(",") })
        })
        .collect();
    map.insert(
        "disable servicelb".into(),
        values.list("disable").iter().any(|d| d == "servicelb").to_string(),
    );
    map
}

fn clock(check: &mut Check<'_>) {
    let now = jiff::Timestamp::now();
    if now.as_second() < YEAR_1980 {
        check.refuse("clock", format!("the host says {now}, which is before 1980"));
    }
}

fn required_files(check: &mut Check<'_>, paths: &Paths) {
    for key in ["resolv-conf", "private-registry"] {
        check.file(key, paths);
    }
}

fn node_name(check: &mut Check<'_>) -> Option<String> {
    let name = match check.values.text("node-name") {
        Some(name) => name.to_owned(),
        None => nix::unistd::gethostname().ok()?.to_string_lossy().to_lowercase(),
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label) {
        check.refuse("node-name", format!("{name:?} is not a lower-case DNS name"));
        return None;
    }
    if name.starts_with("localhost") {
        check.refuse("node-name", format!("{name:?} is refused, every node needs a name of its own"));
        return None;
    }
    Some(name)
}

fn node_addresses(check: &mut Check<'_>) -> Vec<IpAddr> {
    let present = match netif::addresses() {
        Ok(present) => present,
        Err(error) => {
            check.refuse("node-ip", format!("{error:#}"));
            return Vec::new();
        }
    };
    let mut node_ips = check.addresses("node-ip");
    if let Some(name) = check.values.text("flannel-iface") {
        if netif::index(name).is_none() {
            check.refuse("flannel-iface", format!("interface {name} does not exist"));
        } else if node_ips.is_empty() {
            node_ips.extend(present.iter().find(|(i, a)| i == name && a.is_ipv4()).map(|(_, a)| *a));
        }
    }
    if node_ips.is_empty() {
        check.refuse(
            "node-ip",
            "is not set; k3s would detect an address, which is not emulated by the double",
        );
    }
    for address in &node_ips {
        if !present.iter().any(|(_, a)| a == address) {
            check.refuse("node-ip", format!("{address} is on no interface of this machine"));
        }
    }
    node_ips
}

fn ranges(check: &mut Check<'_>, node_ips: &[IpAddr]) -> (Vec<IpNet>, Vec<IpNet>) {
    let cluster = check.nets("cluster-cidr", "10.42.0.0/16");
    let service = check.nets("service-cidr", "10.43.0.0/16");
    for (a, b) in cluster.iter().flat_map(|a| service.iter().map(move |b| (a, b))) {
        if a.contains(b) || b.contains(a) {
            check.refuse("service-cidr", format!("{b} overlaps cluster-cidr {a}"));
        }
    }
    for (key, net) in
        cluster.iter().map(|n| ("cluster-cidr", n)).chain(service.iter().map(|n| ("service-cidr", n)))
    {
        for address in node_ips.iter().filter(|a| net.contains(*a)) {
            check.refuse(key, format!("{net} contains node-ip {address}"));
        }
    }
    for net in &service {
        let (widest, shown) = if net.addr().is_ipv4() { (12, "/12") } else { (112, "/112") };
        if net.prefix_len() < widest {
            check.refuse("service-cidr", format!("{net} is larger than {shown}"));
        }
    }
    for address in check.addresses("cluster-dns") {
        if !service.iter().any(|net| net.contains(&address)) {
            let ranges: Vec<String> = service.iter().map(ToString::to_string).collect();
            check.refuse("cluster-dns", format!("{address} is not inside service-cidr {}", ranges.join(",")));
        }
    }
    let families = |v4: bool, v6: bool| (v4, v6);
    let of_ips = families(node_ips.iter().any(IpAddr::is_ipv4), node_ips.iter().any(IpAddr::is_ipv6));
    for (key, nets) in [("cluster-cidr", &cluster), ("service-cidr", &service)] {
        let of_nets =
            families(nets.iter().any(|n| n.addr().is_ipv4()), nets.iter().any(|n| n.addr().is_ipv6()));
        if !node_ips.is_empty() && !nets.is_empty() && of_nets != of_ips {
            check.refuse(key, "has other address families than node-ip");
        }
    }
    (cluster, service)
}

fn tls_sans(check: &mut Check<'_>) -> Vec<String> {
    let sans = check.values.list("tls-san");
    for san in &sans {
        let dns =
            |s: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || "-.*".contains(c));
        if san.parse::<IpAddr>().is_err() && !dns(san) {
            check.refuse("tls-san", format!("{san:?} is neither an address nor a DNS name"));
        }
    }
    if !check.values.flag("tls-san-security", true) {
        check.refuse("tls-san-security", "false is not emulated by the double");
    }
    sans
}

fn labels_and_taints(check: &mut Check<'_>) -> (BTreeMap<String, String>, Vec<Taint>) {
    let mut labels = BTreeMap::new();
    for item in check.values.list("node-label") {
        match item.split_once('=') {
            None => check.refuse("node-label", format!("{item:?} is not key=value")),
            Some((key, value)) => match refuse_label(key, value) {
                Some(message) => check.refuse("node-label", message),
                None => drop(labels.insert(key.to_owned(), value.to_owned())),
            },
        }
    }
    let mut taints = Vec::new();
    for item in check.values.list("node-taint") {
        match Taint::parse(&item) {
            Ok(taint) => taints.push(taint),
            Err(message) => check.refuse("node-taint", message),
        }
    }
    (labels, taints)
}

/// `…-arg` keys: the shape, and the files that must be there before the first start (reference, section 1.10).
fn arguments(check: &mut Check<'_>, paths: &Paths) {
    let keys =
        ["kubelet-arg", "kube-proxy-arg", "kube-apiserver-arg", "etcd-arg", "kube-controller-manager-arg"];
    for key in keys.into_iter().chain(["kube-scheduler-arg", "kube-cloud-controller-manager-arg"]) {
        for item in check.values.list(key) {
            match item.split_once('=') {
                Some((name, _)) if name.is_empty() || name.starts_with('-') => {
                    check.refuse(key, format!("{item:?} must be name=value without leading dashes"));
                }
                None => check.refuse(key, format!("{item:?} must be name=value without leading dashes")),
                Some(("admission-control-config-file" | "audit-policy-file", path))
                    if !paths.at(path).is_file() =>
                {
                    check.refuse(key, format!("file {path} does not exist"));
                }
                Some(_) => {}
            }
        }
    }
}

fn components(check: &mut Check<'_>, paths: &Paths) {
    let known = ["coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"];
    let manifests: Vec<String> = std::fs::read_dir(paths.server("manifests"))
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|e| e.path().file_stem().map(|s| s.to_string_lossy().into_owned()))
                .collect()
        })
        .unwrap_or_default();
    for item in check.values.list("disable") {
        if !known.contains(&item.as_str()) && !manifests.contains(&item) {
            check.refuse(
                "disable",
                format!("{item:?} is not one of {} and no file in manifests/", known.join(", ")),
            );
        }
    }
}

fn kernel(check: &mut Check<'_>) {
    if !check.values.flag("protect-kernel-defaults", false) {
        return;
    }
    for (name, wanted) in KERNEL_DEFAULTS {
        let found = std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
        if found.trim() != *wanted {
            let shown = name.replace('/', ".");
            check.refuse(
                "protect-kernel-defaults",
                format!("{shown} is {}, the kubelet wants {wanted}", found.trim()),
            );
        }
    }
}

/// The secret of `KEY` or `KEY-file`.
fn secret(check: &mut Check<'_>, key: &str, paths: &Paths) -> Option<Secret> {
    let file_key = format!("{key}-file");
    match (check.values.text(key), check.values.text(&file_key)) {
        (Some(_), Some(_)) => {
            check.refuse(key, format!("is set, and {file_key} too"));
            None
        }
        (Some(text), None) => Some(Secret::new(text)),
        (None, None) => None,
        (None, Some(file)) => {
            let path = paths.at(file);
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text.trim().to_owned(),
                Err(_) => {
                    check.refuse(&file_key, format!("file {file} cannot be read"));
                    return None;
                }
            };
            match files::mode(&path) {
                Ok(mode) if mode & 0o077 != 0 => {
                    check.refuse(&file_key, format!("{file} has mode {mode:04o}, must be 0600"))
                }
                Ok(_) if text.is_empty() => check.refuse(&file_key, format!("{file} is empty")),
                Ok(_) => return Some(Secret::new(text)),
                Err(error) => check.refuse(&file_key, format!("{error:#}")),
            }
            None
        }
    }
}

fn token(check: &mut Check<'_>, role: Role, paths: &Paths) -> Option<Token> {
    let token = match Token::parse(secret(check, "token", paths)?.expose()) {
        Ok(token) => token,
        Err(message) => {
            check.refuse("token", message);
            return None;
        }
    };
    if role == Role::Server {
        if let Some(message) = token.refuse_for_server() {
            check.refuse("token", message);
        }
        let forms = check.values.text("server").is_none();
        if let (true, Some(wanted)) = (forms, token.ca_hash()) {
            match std::fs::read(paths.tls("server-ca.crt")) {
                Err(_) => check.refuse("token", "is of the K10 form, but no server-ca.crt is placed in server/tls: its hash cannot be known yet"),
                Ok(bundle) => {
                    let found = crate::pki::ca_hash(&bundle);
                    if found != wanted {
                        check.refuse("token", format!("CA hash {wanted} does not match server-ca.crt, which has {found}"));
                    }
                }
            }
        }
    }
    Some(token)
}

fn server(check: &mut Check<'_>, role: Role, has_token: bool) -> Option<String> {
    let Some(url) = check.values.text("server") else {
        if role == Role::Agent {
            check.refuse("server", "is required by k3s agent");
            if !has_token {
                check.refuse("token", "is required by k3s agent (or token-file)");
            }
        }
        return None;
    };
    if check.values.flag("cluster-init", false) {
        check.refuse("cluster-init", "stands together with server; a node forms a cluster or joins one");
    }
    if !has_token {
        check.refuse("token", "is required to join a server (or token-file)");
    }
    let Some(host) = url.strip_prefix("https://") else {
        check.refuse("server", format!("{url:?} must begin with https://"));
        return None;
    };
    let host = host.trim_end_matches('/');
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
    if name.is_empty() || name.contains('/') || port.parse::<u16>().is_err() {
        check.refuse("server", format!("{url:?} is not https://HOST:PORT"));
        return None;
    }
    Some(format!("{name}:{port}"))
}
