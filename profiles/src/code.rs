//! The stable codes of all diagnostics, each with its meaning. One line per code; the reference page is made from it.

use crate::diagnostic::Severity;
use serde::{Serialize, Serializer};
use std::fmt;

macro_rules! codes {
    ($($name:ident $text:literal $meaning:literal;)*) => {
        /// Stable code of a diagnostic. `E_…` is an error, `W_…` a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
        }

        impl Code {
            /// Every code, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it is printed.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// What the code means and what to do about it.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

codes! {
    FileTooLarge "E_FILE_TOO_LARGE" "The file is larger than 1 MiB; it cannot be what was meant.";
    FileNotUtf8 "E_FILE_NOT_UTF8" "The file is not UTF-8 text. Save it as UTF-8.";
    FileBom "E_FILE_BOM" "The file starts with a byte order mark. Save it as UTF-8 without one.";
    FileNul "E_FILE_NUL" "The file holds a NUL byte; it is damaged or not a text file.";
    TomlSyntax "E_TOML_SYNTAX" "The text is not TOML.";
    TomlDepth "E_TOML_DEPTH" "Tables or arrays are nested deeper than any file of ours needs.";
    TomlDuplicate "E_TOML_DUPLICATE" "A key or table is given twice.";
    TooMany "E_TOO_MANY" "More problems than are worth listing; the rest was left out.";
    VersionUnsupported "E_VERSION_UNSUPPORTED" "The file has a `version` this program does not know. It knows 1.";
    KeyUnknown "E_KEY_UNKNOWN" "A key that does not exist at this place. Unknown keys are never ignored.";
    KeyMissing "E_KEY_MISSING" "A key that is always needed is not there.";
    TypeWrong "E_TYPE_WRONG" "A value of the wrong TOML type, such as a number where a string is needed.";
    ValueUnknown "E_VALUE_UNKNOWN" "A value outside the fixed list of values of this key.";
    ValueFormat "E_VALUE_FORMAT" "A string that does not have the form its key needs (address, MAC, label, …).";
    ValueRange "E_VALUE_RANGE" "A number, a text length or a list length outside its limits.";
    HostnameDuplicate "E_HOSTNAME_DUPLICATE" "Two nodes have the same host name.";
    HostnameReserved "E_HOSTNAME_RESERVED" "A host name that cannot be a node, such as `localhost`.";
    ApiNameTaken "E_API_NAME_TAKEN" "A name of the API that is a node's, with or without the domain, or that means something else, such as `localhost`.";
    MacDuplicate "E_MAC_DUPLICATE" "The same MAC is given twice.";
    MacNotUnicast "E_MAC_NOT_UNICAST" "A MAC that no interface can have (group address or all zero).";
    MacMissing "E_MAC_MISSING" "A node with several interfaces needs the MAC of each.";
    SerialDuplicate "E_SERIAL_DUPLICATE" "Two nodes have the same serial number.";
    SerialPlaceholder "E_SERIAL_PLACEHOLDER" "A serial number that many machines share because nobody ever set it.";
    UuidDuplicate "E_UUID_DUPLICATE" "Two nodes have the same system UUID.";
    UuidPlaceholder "E_UUID_PLACEHOLDER" "A system UUID that many machines share because nobody ever set it.";
    NodeUnrecognisable "E_NODE_UNRECOGNISABLE" "A node without MAC, serial number and UUID: no machine can be recognised as it.";
    DiskDuplicate "E_DISK_DUPLICATE" "Two nodes select the same disk by serial number or WWN.";
    DiskSelector "E_DISK_SELECTOR" "A disk selector that no disk can fit: an empty or too small range of sizes, or a `type` and a `transport` that exclude each other.";
    DataMount "E_DATA_MOUNT" "A data disk mounted where another one is, over a folder that the system itself needs, or for a role that has no use for it.";
    AddressMissing "E_ADDRESS_MISSING" "A node without an address on the cluster network.";
    AddressDuplicate "E_ADDRESS_DUPLICATE" "The same address is given twice.";
    AddressOutside "E_ADDRESS_OUTSIDE" "An address that is not inside its network.";
    AddressReserved "E_ADDRESS_RESERVED" "An address that is its network's own, broadcast or gateway address.";
    AddressInPool "E_ADDRESS_IN_POOL" "An address inside a pool that somebody else hands out.";
    InterfaceTwice "E_INTERFACE_TWICE" "A node with two legs in one network, or with both `interfaces` and the short form.";
    InterfaceBase "E_INTERFACE_BASE" "An interface that is two things at once (`mac`, `bond`, `bridge`, `on`), or `on` without a `vlan`.";
    InterfaceKey "E_INTERFACE_KEY" "A key that does not go with what the interface is or with the network it stands in.";
    InterfaceIncomplete "E_INTERFACE_INCOMPLETE" "An interface with addresses but no `network`, in a network but without an address, or without any key.";
    InterfaceName "E_INTERFACE_NAME" "A name that the interface cannot have: longer than 15 characters, or one that Kubernetes or the kernel gives. Give it a `name`.";
    InterfaceNameTwice "E_INTERFACE_NAME_TWICE" "Two interfaces of a node with the same name.";
    InterfaceUnknown "E_INTERFACE_UNKNOWN" "`on`, `bond` or `bridge` names an interface that the node does not have.";
    InterfaceLoop "E_INTERFACE_LOOP" "Interfaces that stand on each other in a ring.";
    MembersNone "E_MEMBERS_NONE" "A bond or bridge without members.";
    MemberKind "E_MEMBER_KIND" "A member of the wrong kind: a bond is made of cards, a bridge of anything but bridges.";
    MemberTwice "E_MEMBER_TWICE" "An interface that is a member twice, or of two bonds or bridges.";
    MemberInUse "E_MEMBER_IN_USE" "A member with addresses of its own, or a card of a bond that carries a VLAN. Both belong on the bond or bridge.";
    BondOption "E_BOND_OPTION" "A key of bonds on something else, or one that does nothing in the mode of this bond.";
    VlanTwice "E_VLAN_TWICE" "The same VLAN twice on one interface.";
    MtuAboveParent "E_MTU_ABOVE_PARENT" "An MTU above that of the interface that carries it.";
    MtuIpv6 "E_MTU_IPV6" "An MTU below 1280 where IPv6 is spoken.";
    FamilyMismatch "E_FAMILY_MISMATCH" "An IPv6 address where the network has no IPv6 range, or a route whose ends are of two families.";
    Ipv6Only "E_IPV6_ONLY" "A node with an IPv6 address only. The API address, the joining and the balancers of metalstrap are IPv4; IPv6 comes beside it.";
    DualStack "E_DUAL_STACK" "Pods and services with both families. They are refused for now, as they have not been run with k3s yet. Leave `pod_cidr6` and `service_cidr6` out; the nodes themselves may have IPv6 addresses.";
    DhcpLeg "E_DHCP_LEG" "DHCP in the cluster network or the DMZ. etcd, the certificates and every firewall name these addresses, so they are constant; ask for addresses only in a network of its own (`other`).";
    RouteUnreachable "E_ROUTE_UNREACHABLE" "A route whose next hop is no host in the network of its interface.";
    RouteTwice "E_ROUTE_TWICE" "Two routes of a node to the same place with the same preference.";
    RouteDefault "E_ROUTE_DEFAULT" "A default route beside a default gateway. One of the two, or a `metric` for the second choice.";
    DmzUndefined "E_DMZ_UNDEFINED" "A leg in the DMZ, but the file has no `[networks.dmz]`.";
    DmzLegMissing "E_DMZ_LEG_MISSING" "A proxy with `placement = \"dmz\"` needs a leg in the DMZ and one in the cluster network.";
    DmzLegForbidden "E_DMZ_LEG_FORBIDDEN" "Only a proxy with `placement = \"dmz\"` may have a leg in the DMZ.";
    PlacementMissing "E_PLACEMENT_MISSING" "A proxy has to say where it stands (`placement`).";
    PlacementForbidden "E_PLACEMENT_FORBIDDEN" "`placement` is for proxies only.";
    VipMissing "E_VIP_MISSING" "Two or more masters need an `api_vip`: it is the address everybody joins through.";
    VipOutside "E_VIP_OUTSIDE" "A virtual address that is not inside the cluster network.";
    VipReserved "E_VIP_RESERVED" "A virtual address that is the network's own, broadcast or gateway address.";
    VipIsNode "E_VIP_IS_NODE" "A virtual address that is also the address of a node.";
    VipInPool "E_VIP_IN_POOL" "A virtual address inside a pool that somebody else hands out.";
    VipDuplicate "E_VIP_DUPLICATE" "`api_vip` and `proxy_vip` are the same address.";
    VipNoProxy "E_VIP_NO_PROXY" "A `proxy_vip`, but no internal proxy that could hold it.";
    MastersNone "E_MASTERS_NONE" "A cluster without a master.";
    MastersEven "E_MASTERS_EVEN" "An even number of masters stands no more failures than one master less. Set `allow_even_masters = true` if it is on purpose.";
    RangeOverlap "E_RANGE_OVERLAP" "Two of the cluster, DMZ, pod and service ranges overlap, or another network or a route of a node overlaps one of them.";
    RangeHostBits "E_RANGE_HOST_BITS" "A range whose address has bits set behind the prefix, such as 10.0.0.5/22.";
    RangeUnusable "E_RANGE_UNUSABLE" "A range that cannot be used for this: loopback, link-local, multicast, or too small or large.";
    PoolInvalid "E_POOL_INVALID" "A pool that is outside its network, ends before it starts, overlaps another pool, or holds the gateway, a DNS server or an end of the network.";
    GatewayInvalid "E_GATEWAY_INVALID" "A gateway that is not a host address of its network.";
    ServerAddress "E_SERVER_ADDRESS" "A DNS or time server whose address no node can ask.";
    TimezoneUnknown "E_TIMEZONE_UNKNOWN" "A time zone that does not exist.";
    LabelForbidden "E_LABEL_FORBIDDEN" "A label that a kubelet may not give itself; it would refuse to start.";
    TaintDuplicate "E_TAINT_DUPLICATE" "The same taint key and effect twice on one node.";
    KubernetesOnProxy "E_KUBERNETES_ON_PROXY" "A Kubernetes setting on a proxy; a proxy is not a Kubernetes node.";
    ProfileKeyRole "E_PROFILE_KEY_ROLE" "A profile key that does not exist for this role.";
    SysctlProtected "E_SYSCTL_PROTECTED" "A kernel parameter whose value the kubelet insists on; it would refuse to start.";
    NodePortSame "E_NODE_PORT_SAME" "Two of the NodePorts for HTTP, for HTTPS and of ClusterMesh are the same.";
    FlowPorts "E_FLOW_PORTS" "A flow whose range of ports ends before it starts.";
    FlowSource "E_FLOW_SOURCE" "A source of a flow that is outside its zone, or not a node of its role.";
    FlowZone "E_FLOW_ZONE" "A flow from or to something that this cluster does not have.";
    FlowRisk "E_FLOW_RISK" "A flow that opens etcd, the API, the kubelet, SSH or the pod network to where it should not be. If it has to be, say why in `accept_risk`; the health report repeats it.";
    FeatureCni "E_FEATURE_CNI" "A feature that the container network of this cluster does not have.";
    FeaturePool "E_FEATURE_POOL" "A pool of MetalLB that is not inside one of `networks.cluster.pools`, ends before it starts, overlaps another one, or holds the gateway, a DNS server or an end of the network.";
    FeatureAddress "E_FEATURE_ADDRESS" "A feature that needs addresses of others and has none, has one twice, or has one that is of this cluster or of no machine.";
    CheckUnknown "E_CHECK_UNKNOWN" "A preflight check to be left out that does not exist.";
    CheckNeeded "E_CHECK_NEEDED" "A preflight check that cannot be left out: it protects data, or the install could not end without it.";
    SecretTwice "E_SECRET_TWICE" "A secret that is both in the cluster file and in the secrets file.";
    SecretShared "E_SECRET_SHARED" "`agent_token` equals `server_token`: every worker would hold the key to the control plane.";
    TokenForm "E_TOKEN_FORM" "A join token of a form that k3s refuses or takes for another token.";
    PinEmpty "E_PIN_EMPTY" "A pin that nobody has filled yet: `cargo xtask pins update` does.";
    PinIncomplete "E_PIN_INCOMPLETE" "An artefact that has to be in the pins is not, is there twice, or its URL is not HTTPS.";
    Internal "E_INTERNAL" "The schema and the types of this program disagree. A bug: please report it with the file.";
    NoSshKeys "W_NO_SSH_KEYS" "No SSH key: nobody can log in over the network.";
    NoAdminSources "W_NO_ADMIN_SOURCES" "No admin source: nobody can reach SSH and the health report from outside.";
    AdminEverywhere "W_ADMIN_EVERYWHERE" "An admin source of 0.0.0.0/0: the whole internet may reach SSH and the health report.";
    NoGateway "W_NO_GATEWAY" "The cluster network has no gateway: the nodes reach nothing outside of it.";
    ProxyNoPeer "W_PROXY_NO_PEER" "One internal proxy alone holds `proxy_vip`: when it stops, the address is gone.";
    BondSingle "W_BOND_SINGLE" "A bond of one card: it stands no failure.";
    InterfaceUnused "W_INTERFACE_UNUSED" "An interface without addresses that carries no other one.";
    DmzNoWorker "W_DMZ_NO_WORKER" "A DMZ proxy, but no worker to pass the traffic to.";
    FlowNoNode "W_FLOW_NO_NODE" "A flow from or to a role that no node has: it opens nothing.";
    FlowRiskNeedless "W_FLOW_RISK_NEEDLESS" "An `accept_risk` on a flow that opens nothing dangerous.";
    ServerTokenMissing "W_SERVER_TOKEN_MISSING" "Several masters need a `server_token` to join one another; installing one will stop without it.";
    AgentTokenMissing "W_AGENT_TOKEN_MISSING" "Workers need an `agent_token` to join; installing one will stop without it.";
    SecretShort "W_SECRET_SHORT" "A token of fewer than 16 characters can be guessed.";
}

impl Code {
    /// Error or warning, by the first letter of the code.
    pub fn severity(self) -> Severity {
        if self.as_str().starts_with('W') { Severity::Warning } else { Severity::Error }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let mut seen = BTreeSet::new();
        for code in Code::ALL {
            let text = code.as_str();
            assert!(text.starts_with("E_") || text.starts_with("W_"), "{text}");
            assert!(
                text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{text}"
            );
            assert!(seen.insert(text), "{text} twice");
            assert!(code.meaning().ends_with('.'), "{text}");
        }
    }
}
