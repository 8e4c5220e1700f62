//! Whether a text has a format: one function each, where a parser of somebody else does not say it.

use crate::network::NAME_BYTES_MAX;
use std::net::{IpAddr, Ipv4Addr};

/// Longest host name, label value and label name.
const LABEL_MAX: usize = 63;

/// No IPv4 address written as an IPv6 one (RFC 4291, section 2.5.5): on the wire it is IPv4, and a rule for IPv6 never meets it.
pub(super) fn is_native(address: IpAddr) -> bool {
    !matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// A word that starts with a letter or digit and goes on with these and with what `more` allows.
pub(super) fn is_word(text: &str, more: fn(u8) -> bool) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || more(b))
}

/// The signs and the length of the name of an interface; which of these names mean something else is for a rule.
pub(super) fn is_link_word(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX && is_word(text, |b| b"._-".contains(&b))
}

pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Longest mount point; systemd's unit name for it stays below 255 bytes even if every byte has to be escaped.
const DATA_MOUNT_MAX: usize = 60;

/// Path components that need no quoting anywhere: not in a unit, not in a shell.
pub(super) fn is_data_mount(text: &str) -> bool {
    let is_name = |name: &str| {
        name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    text.len() <= DATA_MOUNT_MAX
        && text.strip_prefix("/var/lib/").is_some_and(|rest| rest.split('/').all(is_name))
}

/// RFC 1123 label, lower case.
pub(super) fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LABEL_MAX
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// RFC 1123 name of lower-case labels. Four numbers are an address, not a name.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(is_dns_label)
        && !text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

pub(super) fn is_timezone(text: &str) -> bool {
    text.len() <= LABEL_MAX
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split('/').all(|part| is_word(part, |b| b"_+-".contains(&b)))
}

pub(super) fn is_ssh_key(text: &str) -> bool {
    const TYPES: [&str; 7] = [
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    let mut parts = text.splitn(3, ' ');
    let (kind, blob) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let blob = blob.trim_end_matches('=');
    TYPES.contains(&kind)
        && blob.len() >= 16
        && begins_with_type(blob, kind)
        && blob.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
        && !text.chars().any(char::is_control)
}

/// The blob of a key begins with the name of its type, behind its length in four bytes (RFC 4253, section 6.6).
fn begins_with_type(blob: &str, kind: &str) -> bool {
    let digits = blob.bytes().map(|b| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    });
    let bits = digits.flat_map(|digit| (0..6).rev().map(move |bit| digit >> bit & 1));
    let length = u32::try_from(kind.len()).unwrap_or_default().to_be_bytes();
    let start = length.into_iter().chain(kind.bytes());
    let expected: Vec<u8> = start.flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    // A key of nothing but its type is none.
    blob.len() * 6 > expected.len() && bits.take(expected.len()).eq(expected)
}

pub(super) fn is_label_name(text: &str) -> bool {
    text.len() <= LABEL_MAX
        && is_word(text, |b| b"._-".contains(&b))
        && text.ends_with(|c: char| c.is_ascii_alphanumeric())
}

pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// The key and the effect of a taint, or `None` when the text is not a taint.
pub(crate) fn parse_taint(text: &str) -> Option<(&str, &str)> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    let known = ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect);
    let well_formed = is_label_key(key) && (value.is_empty() || is_label_name(value));
    (known && well_formed).then_some((key, effect))
}

pub(super) fn is_kubelet_arg(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, value)| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !value.is_empty()
            && value.bytes().all(|b| b.is_ascii_graphic())
    })
}

pub(super) fn is_image_reference(text: &str) -> bool {
    let Some((host, rest)) = text.split_once('/') else { return false };
    let Some((path, tag)) = rest.rsplit_once(':') else { return false };
    let (host, port) = host.split_once(':').unwrap_or((host, "0"));
    let segment = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    (is_dns_name(host) || host.parse::<Ipv4Addr>().is_ok())
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && path.split('/').all(segment)
        && !tag.is_empty()
        && tag.len() <= 128
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
