//! The keys that k3s of this generation knows (reference, section 1.4), and what the double does with each.

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// A whole number.
    Int,
    /// A text.
    Text,
    /// Texts; one text is taken as a list of one.
    List,
}

/// Who knows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Servers only.
    Server,
    /// Servers and agents.
    Both,
}

/// What the double does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Does what k3s does, as far as the README says.
    Used,
    /// Takes it and does nothing: it has no effect that the double could show.
    Taken,
    /// Refuses it: k3s would do something that is not emulated.
    Refused,
}

/// One key.
pub struct Key {
    /// Name, as in config.yaml and as `--name`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Who knows it.
    pub scope: Scope,
    /// What the double does with it.
    pub support: Support,
}

const fn keys<const N: usize>(
    scope: Scope,
    kind: Kind,
    support: Support,
    names: [&'static str; N],
) -> [Key; N] {
    let mut out =
        [const { Key { name: "", kind: Kind::Bool, scope: Scope::Both, support: Support::Taken } }; N];
    let mut i = 0;
    while i < N {
        out[i] = Key { name: names[i], kind, scope, support };
        i += 1;
    }
    out
}

use Kind::{Bool, Int, List, Text};
use Scope::{Both, Server};
use Support::{Refused, Taken, Used};

static TABLES: &[&[Key]] = &[
    &keys(
        Server,
        Bool,
        Used,
        ["cluster-init", "tls-san-security", "disable-kube-proxy", "etcd-expose-metrics"],
    ),
    &keys(
        Server,
        Bool,
        Taken,
        [
            "disable-network-policy",
            "disable-helm-controller",
            "disable-cloud-controller",
            "secrets-encryption",
            "flannel-ipv6-masq",
            "flannel-external-ip",
            "etcd-disable-snapshots",
            "etcd-snapshot-compress",
            "enable-pprof",
        ],
    ),
    &keys(
        Server,
        Bool,
        Refused,
        [
            "cluster-reset",
            "disable-scheduler",
            "disable-apiserver",
            "disable-controller-manager",
            "disable-etcd",
            "disable-agent",
            "embedded-registry",
            "kine-tls",
            "etcd-s3",
        ],
    ),
    &keys(Server, Int, Taken, ["etcd-snapshot-retention"]),
    &keys(Server, Int, Refused, ["https-listen-port", "advertise-port"]),
    &keys(
        Server,
        Text,
        Used,
        [
            "flannel-backend",
            "cluster-domain",
            "advertise-address",
            "write-kubeconfig",
            "write-kubeconfig-mode",
            "agent-token",
            "agent-token-file",
        ],
    ),
    &keys(
        Server,
        Text,
        Taken,
        [
            "service-node-port-range",
            "egress-selector-mode",
            "servicelb-namespace",
            "helm-job-image",
            "etcd-snapshot-name",
            "etcd-snapshot-schedule-cron",
            "etcd-snapshot-dir",
            "default-local-storage-path",
            "system-default-registry",
        ],
    ),
    &keys(
        Server,
        Text,
        Refused,
        [
            "bind-address",
            "cluster-reset-restore-path",
            "datastore-endpoint",
            "datastore-cafile",
            "datastore-certfile",
            "datastore-keyfile",
        ],
    ),
    &keys(Server, List, Used, ["tls-san", "cluster-cidr", "service-cidr", "cluster-dns", "disable"]),
    &keys(
        Server,
        List,
        Used,
        [
            "kube-apiserver-arg",
            "etcd-arg",
            "kube-controller-manager-arg",
            "kube-scheduler-arg",
            "kube-cloud-controller-manager-arg",
        ],
    ),
    &keys(Both, Bool, Used, ["protect-kernel-defaults", "disable-apiserver-lb"]),
    &keys(
        Both,
        Bool,
        Taken,
        ["selinux", "prefer-bundled-bin", "debug", "alsologtostderr", "disable-default-registry-endpoint"],
    ),
    &keys(Both, Bool, Refused, ["with-node-id", "rootless", "docker"]),
    &keys(Both, Int, Taken, ["v"]),
    &keys(Both, Int, Refused, ["lb-server-port"]),
    &keys(
        Both,
        Text,
        Used,
        [
            "server",
            "token",
            "token-file",
            "data-dir",
            "node-name",
            "flannel-iface",
            "resolv-conf",
            "private-registry",
        ],
    ),
    &keys(Both, Text, Taken, ["pause-image", "snapshotter", "vmodule", "log", "default-runtime"]),
    &keys(
        Both,
        Text,
        Refused,
        [
            "flannel-conf",
            "flannel-cni-conf",
            "container-runtime-endpoint",
            "image-service-endpoint",
            "image-credential-provider-bin-dir",
            "image-credential-provider-config",
            "vpn-auth",
            "vpn-auth-file",
        ],
    ),
    &keys(
        Both,
        List,
        Used,
        ["node-label", "node-taint", "node-ip", "node-external-ip", "kubelet-arg", "kube-proxy-arg"],
    ),
    &keys(Both, List, Refused, ["airgap-extra-registry"]),
];

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    TABLES.iter().flat_map(|table| table.iter()).find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::{Scope, TABLES, find};
    use std::collections::BTreeSet;

    #[test]
    fn no_key_stands_twice() {
        let mut seen = BTreeSet::new();
        for key in TABLES.iter().flat_map(|table| table.iter()) {
            assert!(seen.insert(key.name), "{}", key.name);
        }
    }

    #[test]
    fn knows_who_may_use_a_key() {
        assert_eq!(find("tls-san").unwrap().scope, Scope::Server);
        assert_eq!(find("node-ip").unwrap().scope, Scope::Both);
        assert!(find("supervisor-metrics").is_none(), "came with 1.28.11");
    }
}
