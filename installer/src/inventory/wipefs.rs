//! `wipefs --no-act --json`: every signature on a device, for those that `blkid` will not decide between. Reading only.

use super::model::Signature;
use super::show::sanitise;
use serde::Deserialize;

/// Signatures of one device that are listed.
const SIGNATURES_MAX: usize = 32;

#[derive(Deserialize)]
struct Report {
    signatures: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    label: Option<String>,
}

/// Reads the list; `None` when it is none.
pub fn parse_wipefs(text: &str, device: &str) -> Option<Vec<Signature>> {
    let report: Report = serde_json::from_str(text).ok()?;
    let signature = |entry: Entry| Signature {
        kind: sanitise(&entry.kind),
        label: entry.label.map(|label| sanitise(&label)).filter(|label| !label.is_empty()),
        place: device.to_owned(),
    };
    let mut found: Vec<Signature> = Vec::new();
    for entry in report.signatures.into_iter().map(signature) {
        if found.len() < SIGNATURES_MAX && !found.contains(&entry) {
            found.push(entry);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::parse_wipefs;

    #[test]
    fn lists_each_signature_once() {
        let text = r#"{"signatures": [
            {"device":"sda", "offset":"0x438", "type":"ext4", "uuid":"u", "label":"a\u001b"},
            {"device":"sda", "offset":"0x3f7000", "type":"linux_raid_member", "uuid":"v", "label":null},
            {"device":"sda", "offset":"0x1fe", "type":"linux_raid_member", "uuid":"v", "label":null}]}"#;
        let found = parse_wipefs(text, "/dev/sda").unwrap();
        let lines: Vec<_> = found.iter().map(|s| (s.kind.as_str(), s.label.as_deref())).collect();
        assert_eq!(lines, [("ext4", Some("a\\u{1b}")), ("linux_raid_member", None)]);
        assert_eq!(parse_wipefs("wipefs: error", "/dev/sda"), None);
    }
}
