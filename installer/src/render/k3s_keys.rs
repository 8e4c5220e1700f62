//! The configuration keys k3s v1.28.9+k3s1 knows. k3s itself only warns about a key it does not know, so a typo would be
//! silent; the tests hold every rendered key against these lists.
//!
//! Source: the command-line flags in k3s' `pkg/cli/cmds/server.go` and `agent.go` of that release, and the subset that
//! Rancher's release data supports for it. Not there yet: `supervisor-metrics`, `write-kubeconfig-group` (1.28.11).

/// Keys of `k3s agent`; `k3s server` knows them too.
#[rustfmt::skip]
pub const AGENT_KEYS: &[&str] = &[
    "airgap-extra-registry", "alsologtostderr", "config", "container-runtime-endpoint", "data-dir", "debug",
    "default-runtime", "disable-apiserver-lb", "disable-default-registry-endpoint", "docker", "flannel-cni-conf",
    "flannel-conf", "flannel-iface", "image-credential-provider-bin-dir", "image-credential-provider-config",
    "image-service-endpoint", "kube-proxy-arg", "kubelet-arg", "lb-server-port", "log", "node-external-ip", "node-ip",
    "node-label", "node-name", "node-taint", "pause-image", "prefer-bundled-bin", "private-registry",
    "protect-kernel-defaults", "resolv-conf", "rootless", "selinux", "server", "snapshotter", "token", "token-file",
    "v", "vmodule", "vpn-auth", "vpn-auth-file", "with-node-id",
];

/// Keys of `k3s server` alone.
#[rustfmt::skip]
pub const SERVER_ONLY_KEYS: &[&str] = &[
    "advertise-address", "advertise-port", "agent-token", "agent-token-file", "bind-address", "cluster-cidr",
    "cluster-dns", "cluster-domain", "cluster-init", "cluster-reset", "cluster-reset-restore-path", "datastore-cafile",
    "datastore-certfile", "datastore-endpoint", "datastore-keyfile", "default-local-storage-path", "disable",
    "disable-agent", "disable-apiserver", "disable-cloud-controller", "disable-controller-manager", "disable-etcd",
    "disable-helm-controller", "disable-kube-proxy", "disable-network-policy", "disable-scheduler",
    "egress-selector-mode", "embedded-registry", "enable-pprof", "etcd-arg", "etcd-disable-snapshots",
    "etcd-expose-metrics", "etcd-s3", "etcd-s3-access-key", "etcd-s3-bucket", "etcd-s3-endpoint",
    "etcd-s3-endpoint-ca", "etcd-s3-folder", "etcd-s3-insecure", "etcd-s3-region", "etcd-s3-secret-key",
    "etcd-s3-skip-ssl-verify", "etcd-s3-timeout", "etcd-snapshot-compress", "etcd-snapshot-dir", "etcd-snapshot-name",
    "etcd-snapshot-retention", "etcd-snapshot-schedule-cron", "flannel-backend", "flannel-external-ip",
    "flannel-ipv6-masq", "helm-job-image", "https-listen-port", "kine-tls", "kube-apiserver-arg",
    "kube-cloud-controller-manager-arg", "kube-controller-manager-arg", "kube-scheduler-arg", "secrets-encryption",
    "service-cidr", "service-node-port-range", "servicelb-namespace", "system-default-registry", "tls-san",
    "tls-san-security", "write-kubeconfig", "write-kubeconfig-mode",
];

#[cfg(test)]
mod tests {
    use super::{AGENT_KEYS, SERVER_ONLY_KEYS};

    #[test]
    fn lists_are_sorted_and_share_no_key() {
        assert!(AGENT_KEYS.is_sorted() && SERVER_ONLY_KEYS.is_sorted());
        assert!(SERVER_ONLY_KEYS.iter().all(|key| !AGENT_KEYS.contains(key)));
    }
}
