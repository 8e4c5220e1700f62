//! The string formats of our files: one table that serves the check, the error text and the JSON Schema.
//!
//! A pattern is for editors; the `check` function decides.

mod checks;

pub(crate) use checks::parse_taint;

use crate::node::MacAddr;
use checks::{
    is_data_mount, is_dns_label, is_dns_name, is_image_reference, is_kubelet_arg, is_label_key,
    is_label_name, is_link_word, is_native, is_sha256, is_ssh_key, is_timezone, is_word,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::{Schema, SchemaGenerator, json_schema};
use std::net::{IpAddr, Ipv4Addr};

/// One string format.
pub(crate) struct Format {
    /// Name in the JSON Schema.
    pub name: &'static str,
    /// What is expected, for the error text: "… is not {expects}".
    pub expects: &'static str,
    /// Regular expression for editors (ECMA 262).
    pattern: &'static str,
    /// Whether a text has this format.
    pub check: fn(&str) -> bool,
    /// Never repeat a refused value in a message.
    pub secret: bool,
}

/// One comparison, or one of either direction. A number too large for 64 bits is left to the check.
const SIZE_RANGE_PATTERN: &str = concat!(
    "^ *(= *[0-9]+(\\.[0-9]{1,3})? *([KkMGTP]B|[KMGTP]iB|B)",
    "|>=? *[0-9]+(\\.[0-9]{1,3})? *([KkMGTP]B|[KMGTP]iB|B)( *, *<=? *[0-9]+(\\.[0-9]{1,3})? *([KkMGTP]B|[KMGTP]iB|B))?",
    "|<=? *[0-9]+(\\.[0-9]{1,3})? *([KkMGTP]B|[KMGTP]iB|B)( *, *>=? *[0-9]+(\\.[0-9]{1,3})? *([KkMGTP]B|[KMGTP]iB|B))?) *$"
);

macro_rules! formats {
    ($($function:ident $constant:ident { $($field:ident: $value:expr,)* })*) => {
        $(
            const $constant: Format = Format { $($field: $value,)* };

            #[doc = concat!("Schema of the format `", stringify!($function), "`.")]
            pub(crate) fn $function(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "format": $constant.name, "pattern": $constant.pattern})
            }
        )*

        /// The format with this name.
        pub(crate) fn find(name: &str) -> Option<&'static Format> {
            const ALL: &[Format] = &[$($constant,)*];
            ALL.iter().find(|format| format.name == name)
        }
    };
}

formats! {
    mac MAC {
        name: "mac",
        expects: "a MAC address (six bytes in hex, as in 52:54:00:12:34:56)",
        pattern: "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
        check: |text| text.parse::<MacAddr>().is_ok(),
        secret: false,
    }
    ipv4 IPV4 {
        name: "ipv4",
        expects: "an IPv4 address (as in 10.0.0.11)",
        pattern: "^(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}$",
        check: |text| text.parse::<Ipv4Addr>().is_ok(),
        secret: false,
    }
    ipv4_cidr IPV4_CIDR {
        name: "ipv4-cidr",
        expects: "an IPv4 range with prefix length (as in 10.0.0.0/22)",
        pattern: "^(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}/(3[0-2]|[12]?[0-9])$",
        check: |text| text.parse::<Ipv4Net>().is_ok(),
        secret: false,
    }
    ipv6 IPV6 {
        name: "ipv6",
        expects: "a native IPv6 address (as in fd00::11)",
        pattern: "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$",
        check: |text| text.parse().is_ok_and(|address| is_native(IpAddr::V6(address))),
        secret: false,
    }
    ipv6_cidr IPV6_CIDR {
        name: "ipv6-cidr",
        expects: "a native IPv6 range with prefix length (as in fd00:10::/64)",
        pattern: "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$",
        check: |text| text.parse::<Ipv6Net>().is_ok_and(|net| is_native(IpAddr::V6(net.addr()))),
        secret: false,
    }
    ip IP {
        name: "ip",
        expects: "an IPv4 or native IPv6 address (as in 10.0.0.11 or fd00::11)",
        pattern: "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
        check: |text| text.parse().is_ok_and(is_native),
        secret: false,
    }
    cidr CIDR {
        name: "cidr",
        expects: "a range or an address with prefix length (as in 10.0.0.0/22 or fd00:10::/64, native IPv6)",
        pattern: "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}/(3[0-2]|[12]?[0-9])|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$",
        check: |text| text.parse::<IpNet>().is_ok_and(|net| is_native(net.addr())),
        secret: false,
    }
    interface_name INTERFACE_NAME {
        name: "interface-name",
        expects: "the name of a network interface (1 to 15 of letters, digits, ., - and _, a letter or digit first)",
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$",
        check: is_link_word,
        secret: false,
    }
    member MEMBER {
        name: "member",
        expects: "a MAC address (as in 52:54:00:12:34:56) or the name of another interface of this node",
        pattern: "^([0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}|[A-Za-z0-9][A-Za-z0-9._-]{0,14})$",
        check: |text| text.parse::<MacAddr>().is_ok() || is_link_word(text),
        secret: false,
    }
    ipv4_range IPV4_RANGE {
        name: "ipv4-range",
        expects: "a range of IPv4 addresses (as in 10.0.3.100-10.0.3.200)",
        pattern: "^[0-9]{1,3}(\\.[0-9]{1,3}){3} *- *[0-9]{1,3}(\\.[0-9]{1,3}){3}$",
        check: |text| text.parse::<crate::cluster::file::AddressPool>().is_ok(),
        secret: false,
    }
    uuid UUID {
        name: "uuid",
        expects: "a UUID (as in 4c4c4544-0042-3510-8052-b4c04f4d3132)",
        pattern: "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        check: |text| text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        secret: false,
    }
    dns_label DNS_LABEL {
        name: "dns-label",
        expects: "a DNS label (1 to 63 of a-z, 0-9 and -, not at either end)",
        pattern: "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        check: is_dns_label,
        secret: false,
    }
    dns_name DNS_NAME {
        name: "dns-name",
        expects: "a DNS name (lower-case labels joined by dots, no dot at either end)",
        pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
        check: is_dns_name,
        secret: false,
    }
    host HOST {
        name: "host",
        expects: "a DNS name or an IPv4 or native IPv6 address",
        pattern: "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
        check: |text| text.parse().is_ok_and(is_native) || is_dns_name(text),
        secret: false,
    }
    timezone TIMEZONE {
        name: "timezone",
        expects: "a time zone name (as in UTC or Europe/Vienna)",
        pattern: "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*)*$",
        check: is_timezone,
        secret: false,
    }
    ssh_key SSH_KEY {
        name: "ssh-public-key",
        expects: "an SSH public key on one line (type, base64, comment)",
        pattern: "^(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5|ssh-rsa AAAAB3NzaC1yc2[EFGH]|ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNT[YZab]|ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzOD[QRST]|ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1Mj[EFGH]|sk-ssh-ed25519@openssh\\.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t|sk-ecdsa-sha2-nistp256@openssh\\.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb2[0123])[A-Za-z0-9+/]{1,}={0,3}( [^\\x00-\\x1f\\x7f]*)?$",
        check: is_ssh_key,
        secret: true,
    }
    token TOKEN {
        name: "token",
        expects: "a token (printable ASCII without white space)",
        pattern: "^[!-~]+$",
        check: |text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()),
        secret: true,
    }
    hardware_id HARDWARE_ID {
        name: "hardware-id",
        expects: "an identifier as the hardware gives it (no control characters, no white space at either end)",
        pattern: "^[^\\s\\x00-\\x1f\\x7f]([^\\x00-\\x1f\\x7f]*[^\\s\\x00-\\x1f\\x7f])?$",
        check: |text| !text.is_empty() && text.trim() == text && !text.chars().any(char::is_control),
        secret: false,
    }
    device_link DEVICE_LINK {
        name: "device-link",
        expects: "a link in /dev/disk/by-path (with or without the folder; * and ? stand for other characters)",
        pattern: "^(/dev/disk/by-path/)?[A-Za-z0-9*?][A-Za-z0-9:.,@_*?-]*$",
        check: |text| {
            let name = text.strip_prefix("/dev/disk/by-path/").unwrap_or(text);
            let is_sign = |b: u8| b.is_ascii_alphanumeric() || b"*?".contains(&b);
            name.bytes().next().is_some_and(is_sign) && name.bytes().all(|b| is_sign(b) || b":.,@_-".contains(&b))
        },
        secret: false,
    }
    data_mount DATA_MOUNT {
        name: "data-mount",
        expects: "a folder below /var/lib (as in /var/lib/rancher; letters, digits, -, _ and ., no name begins with - or .)",
        pattern: "^/var/lib(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$",
        check: is_data_mount,
        secret: false,
    }
    size_range SIZE_RANGE {
        name: "size-range",
        expects: "a range of sizes (a lower bound, an upper bound or both, each >=, >, <=, < or = with a number and \
                  B, KB, MB, GB, TB, PB, KiB, MiB, GiB, TiB or PiB, as in `>= 100GB, < 2TB`)",
        pattern: SIZE_RANGE_PATTERN,
        check: |text| text.parse::<crate::disk::SizeRange>().is_ok(),
        secret: false,
    }
    label_key LABEL_KEY {
        name: "label-key",
        expects: "a label key (an optional DNS name and a slash, then 1 to 63 of letters, digits, -, _ and .)",
        pattern: "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        check: is_label_key,
        secret: false,
    }
    label_value LABEL_VALUE {
        name: "label-value",
        expects: "a label value (at most 63 of letters, digits, -, _ and ., a letter or digit at either end)",
        pattern: "^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$",
        check: |text| text.is_empty() || is_label_name(text),
        secret: false,
    }
    taint TAINT {
        name: "taint",
        expects: "a taint (key=value:Effect or key:Effect; the effect is NoSchedule, PreferNoSchedule or NoExecute)",
        pattern: "^[A-Za-z0-9][A-Za-z0-9./_-]*(=[A-Za-z0-9._-]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$",
        check: |text| parse_taint(text).is_some(),
        secret: false,
    }
    kernel_module KERNEL_MODULE {
        name: "kernel-module",
        expects: "the name of a kernel module",
        pattern: "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        check: |text| text.len() <= 64 && is_word(text, |b| b == b'_' || b == b'-'),
        secret: false,
    }
    sysctl_key SYSCTL_KEY {
        name: "sysctl-key",
        expects: "a kernel parameter in dotted form (as in net.ipv4.ip_forward)",
        pattern: "^[a-z0-9][A-Za-z0-9_-]*(\\.[A-Za-z0-9][A-Za-z0-9_-]*)+$",
        check: |text| text.contains('.') && text.split('.').all(|part| is_word(part, |b| b == b'_' || b == b'-')),
        secret: false,
    }
    sysctl_value SYSCTL_VALUE {
        name: "sysctl-value",
        expects: "the value of a kernel parameter (printable ASCII on one line)",
        pattern: "^[!-~]([ -~]*[!-~])?$",
        check: |text| !text.is_empty() && text.trim() == text && text.bytes().all(|b| (b' '..=b'~').contains(&b)),
        secret: false,
    }
    kubelet_arg KUBELET_ARG {
        name: "kubelet-arg",
        expects: "a kubelet argument (name=value without leading dashes)",
        pattern: "^[a-z][a-z0-9-]*=[!-~]+$",
        check: is_kubelet_arg,
        secret: false,
    }
    url URL {
        name: "url",
        expects: "an HTTPS or HTTP URL",
        pattern: "^https?://[!-~]+$",
        check: |text| {
            ["https://", "http://"].iter().any(|scheme| {
                text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
            })
        },
        secret: false,
    }
    sha256 SHA256 {
        name: "sha256",
        expects: "a SHA-256 in 64 lower-case hex digits, or empty while nobody has filled it",
        pattern: "^([0-9a-f]{64})?$",
        check: |text| text.is_empty() || is_sha256(text),
        secret: false,
    }
    digest DIGEST {
        name: "oci-digest",
        expects: "an image digest (sha256: and 64 lower-case hex digits), or empty while nobody has filled it",
        pattern: "^(sha256:[0-9a-f]{64})?$",
        check: |text| text.is_empty() || text.strip_prefix("sha256:").is_some_and(is_sha256),
        secret: false,
    }
    file_name FILE_NAME {
        name: "file-name",
        expects: "a file name without folder (letters, digits, ., _, + and -)",
        pattern: "^[A-Za-z0-9][A-Za-z0-9._+-]*$",
        check: |text| is_word(text, |b| b"._+-".contains(&b)),
        secret: false,
    }
    flow_port FLOW_PORT {
        name: "port",
        expects: "a port (as in tcp/30080 or udp/7000-7010)",
        pattern: "^(tcp|udp)/[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?$",
        check: |text| text.parse::<crate::firewall::PortSpec>().is_ok(),
        secret: false,
    }
    sentence SENTENCE {
        name: "sentence",
        expects: "a sentence (one line of 8 to 200 characters)",
        pattern: "^[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]{6,198}[^\\s\\x00-\\x1f\\x7f]$",
        check: |text| {
            (8..=200).contains(&text.chars().count()) && text.trim() == text && !text.chars().any(char::is_control)
        },
        secret: false,
    }
    artefact_version ARTEFACT_VERSION {
        name: "version",
        expects: "a version (as in v1.28.9+k3s1)",
        pattern: "^v[0-9][A-Za-z0-9.+-]*$",
        check: |text| {
            text.strip_prefix('v').is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && is_word(rest, |b| b".+-".contains(&b))
            })
        },
        secret: false,
    }
    image_reference IMAGE_REFERENCE {
        name: "image-reference",
        expects: "an image reference with host and tag (as in ghcr.io/kube-vip/kube-vip:v0.8.7)",
        pattern: "^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+:[A-Za-z0-9_][A-Za-z0-9._-]*$",
        check: is_image_reference,
        secret: false,
    }
}

macro_rules! lists {
    ($($list:ident $item:ident;)*) => {
        $(
            #[doc = concat!("Schema of a list of `", stringify!($item), "`.")]
            pub(crate) fn $list(generator: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "array", "items": $item(generator)})
            }
        )*
    };
}

lists! {
    cidr_list cidr;
    host_list host;
    ip_list ip;
    ipv4_list ipv4;
    ipv4_range_list ipv4_range;
    kernel_module_list kernel_module;
    kubelet_arg_list kubelet_arg;
    member_list member;
    ssh_key_list ssh_key;
    taint_list taint;
}

#[cfg(test)]
mod tests {
    use super::{find, parse_taint};

    #[track_caller]
    fn expect(name: &str, good: &[&str], bad: &[&str]) {
        let format = find(name).unwrap();
        for text in good {
            assert!((format.check)(text), "{name} should take {text:?}");
        }
        for text in bad {
            assert!(!(format.check)(text), "{name} should refuse {text:?}");
        }
    }

    #[test]
    fn names_and_labels_follow_their_rules() {
        let long = "a".repeat(64);
        expect("dns-label", &["a", "master-1", "0"], &["", "-a", "a-", "A", "a.b", "a_b", &long, "ä"]);
        expect("dns-name", &["a.b", "lab.internal"], &["", ".a", "a.", "a..b", "10.0.0.1"]);
        expect("host", &["10.0.0.1", "api.lan"], &["10.0.0.256", "", "a b"]);
        expect(
            "label-key",
            &["rack", "example.org/rack"],
            &["", "/rack", "example.org/", "a/b/c", "-a", "Ex/ample"],
        );
        expect("label-value", &["", "r1", "A_b.c"], &["-", "a b", &long]);
        expect(
            "timezone",
            &["UTC", "Europe/Vienna", "Etc/GMT+1"],
            &["", "../etc", "Europe/", "/UTC", "Europe/..", "1"],
        );
    }

    #[test]
    fn an_ipv4_address_is_not_written_as_ipv6() {
        let mapped = "::ffff:10.0.0.1";
        expect("ip", &["10.0.0.1", "fd00::1", "::1"], &[mapped, "::ffff:a00:1"]);
        expect("ipv6", &["fd00::1"], &[mapped, "10.0.0.1"]);
        expect("host", &["fd00::1"], &[mapped]);
        expect("cidr", &["fd00::/64", "10.0.0.0/8", "::/0"], &["::ffff:10.0.0.0/104", "::ffff:10.0.0.1/128"]);
        expect("ipv6-cidr", &["fd00::/64"], &["::ffff:10.0.0.0/104"]);
    }

    #[test]
    fn keys_tokens_and_identifiers_follow_their_rules() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA ops@desk";
        expect(
            "ssh-public-key",
            &[key],
            &["", "ssh-ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-rsa AAAA\nx"],
        );
        expect("token", &["abc"], &["", "a b", "a\n", "ä"]);
        expect("hardware-id", &["S4 1x"], &["", " a", "a\tb"]);
        expect("uuid", &["4c4c4544-0042-3510-8052-b4c04f4d3132"], &["4c4c45440042351080 52b4c04f4d3132", ""]);
        let link = "pci-0000:00:17.0-ata-1";
        expect(
            "device-link",
            &[link, &format!("/dev/disk/by-path/{link}")],
            &["", "/dev/sda", "../sda", "a/b"],
        );
        expect("kubelet-arg", &["max-pods=110"], &["--max-pods=110", "max-pods", "max-pods=", "a=b c"]);
        expect("sysctl-key", &["net.ipv4.ip_forward"], &["a", ".a", "a..b", "net/ipv4", "-p.a"]);
        expect("sysctl-value", &["1", "1 2"], &["", " 1", "1\n2"]);
    }

    #[test]
    fn pins_follow_their_rules() {
        let hex = "0".repeat(64);
        expect("sha256", &["", &hex], &["0", &hex.replace('0', "A")]);
        expect("oci-digest", &["", &format!("sha256:{hex}")], &[&hex, "sha256:"]);
        expect(
            "url",
            &["https://example.org/a", "http://10.0.0.1/x"],
            &["https://", "ftp://a", "https://a b"],
        );
        expect("file-name", &["k3s", "a-b.tar.zst"], &["", "../k3s", "a/b", ".hidden"]);
        expect("version", &["v1.28.9+k3s1"], &["1.28", "v", "vx", "v1/2"]);
        let good = "ghcr.io/kube-vip/kube-vip:v0.8.7";
        expect(
            "image-reference",
            &[good, "10.0.0.1:5000/a:b"],
            &["kube-vip:v1", "ghcr.io/a", "ghcr.io/:v1", "ghcr.io/A:1"],
        );
    }

    #[test]
    fn taints_are_taken_apart() {
        assert_eq!(parse_taint("a/b=c:NoSchedule"), Some(("a/b", "NoSchedule")));
        assert_eq!(parse_taint("a:NoExecute"), Some(("a", "NoExecute")));
        for text in ["a", "a:Nope", ":NoSchedule", "a=b c:NoSchedule", "a=b=c:NoSchedule"] {
            assert_eq!(parse_taint(text), None, "{text}");
        }
    }

    #[test]
    fn the_blob_of_a_key_is_of_its_type() {
        let check = |text: &str| (find("ssh-public-key").unwrap().check)(text);
        for text in [
            "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ== a@b",
            "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY",
            "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIA",
        ] {
            assert!(check(text), "{text}");
        }
        for text in [
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAA",
            "ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAABgQ==",
            "ssh-ed25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
        ] {
            assert!(!check(text), "{text}");
        }
    }
}
