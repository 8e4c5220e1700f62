//! Why a node cannot be rendered.

use profiles::node::Role;

/// Why a node cannot be rendered. Never shows the value of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// The role needs a secret that the caller did not give.
    #[error("rendering {hostname}: a {role} of this cluster needs the {secret}")]
    MissingSecret {
        /// The node.
        hostname: String,
        /// Its role.
        role: Role,
        /// Which secret: `server token` or `agent token`.
        secret: &'static str,
    },
    /// The node config names no MAC and the context chose none.
    #[error("rendering interface {interface}: no MAC address was chosen for it")]
    NoMac {
        /// Name of the interface.
        interface: String,
    },
    /// No interface on the cluster network.
    #[error("rendering {hostname}: it has no interface on the cluster network")]
    NoClusterInterface {
        /// The node.
        hostname: String,
    },
    /// A DMZ proxy without a leg in the DMZ.
    #[error("rendering {hostname}: a DMZ proxy needs an interface in the DMZ")]
    NoDmzInterface {
        /// The node.
        hostname: String,
    },
    /// A master or worker without Kubernetes settings.
    #[error("rendering {hostname}: a {role} needs Kubernetes settings")]
    NoKubernetes {
        /// The node.
        hostname: String,
        /// Its role.
        role: Role,
    },
    /// Nothing to join: no VIP and no other master.
    #[error("rendering {hostname}: there is no API address it could join")]
    NothingToJoin {
        /// The node.
        hostname: String,
    },
    /// A proxy with nothing behind it.
    #[error("rendering {hostname}: the proxy has no {role} to send traffic to")]
    NoBackend {
        /// The node.
        hostname: String,
        /// Role of the missing servers.
        role: Role,
    },
    /// A kernel parameter that the kubelet insists on is set to another value.
    #[error("rendering sysctl {key}: the kubelet needs {needed}, the node config says {found}")]
    SysctlConflict {
        /// Kernel parameter.
        key: &'static str,
        /// Value the kubelet insists on.
        needed: &'static str,
        /// Value of the node config.
        found: String,
    },
    /// A value that would change the meaning of its file.
    #[error("rendering {field}: {reason}")]
    Value {
        /// What the value is, such as `ntp server`.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value could not be serialised.
    #[error("encoding {path}")]
    Encode {
        /// The file it was for.
        path: &'static str,
        /// What the serialiser says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Two renderers wrote the same path.
    #[error("rendering {path}: two renderers write it")]
    DuplicatePath {
        /// The path.
        path: String,
    },
}
