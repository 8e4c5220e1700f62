//! Health of a disk: `smartctl --json --health`, and what the kernel tells of eMMC. "Could not look" is never "good".

use super::model::{Health, HealthStatus};
use super::show::sanitise;
use serde::Deserialize;

/// Bit of `smartctl`'s exit status: the disk says that it fails.
const EXIT_FAILING: u32 = 1 << 3;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    smartctl: Run,
    smart_status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Run {
    exit_status: u32,
    messages: Vec<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    string: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    passed: Option<bool>,
}

/// Reads the JSON of `smartctl --health`.
pub fn parse_smart(text: &str) -> Health {
    let Ok(report) = serde_json::from_str::<Report>(text) else {
        return unknown("smartctl gave no answer that can be read");
    };
    let passed = report.smart_status.and_then(|status| status.passed);
    if passed == Some(false) || report.smartctl.exit_status & EXIT_FAILING != 0 {
        let detail = "its own self-assessment (SMART) says that it fails".to_owned();
        return Health { status: HealthStatus::Failing, detail: Some(detail) };
    }
    if passed == Some(true) {
        return Health { status: HealthStatus::Passed, detail: None };
    }
    match report.smartctl.messages.first() {
        Some(message) => unknown(&message.string),
        None => unknown("it tells nothing of its health"),
    }
}

/// Reads `pre_eol_info` of an eMMC: 1 is good, 2 a warning, 3 says that the spare blocks are used up.
pub(super) fn parse_emmc(text: Option<&str>) -> Health {
    match text.map(str::trim) {
        Some("0x01" | "0x02") => Health { status: HealthStatus::Passed, detail: None },
        Some("0x03") => {
            let detail = "its spare blocks are used up (eMMC end of life)".to_owned();
            Health { status: HealthStatus::Failing, detail: Some(detail) }
        }
        _ => unknown("it tells nothing of its health"),
    }
}

/// Nobody could look, and why.
pub(super) fn unknown(why: &str) -> Health {
    Health { status: HealthStatus::Unknown, detail: Some(sanitise(why)) }
}

#[cfg(test)]
mod tests {
    use super::{HealthStatus, parse_emmc, parse_smart};

    #[track_caller]
    fn expect(text: &str, status: HealthStatus, detail: Option<&str>) {
        let health = parse_smart(text);
        assert_eq!((health.status, health.detail.as_deref()), (status, detail), "{text}");
    }

    #[test]
    fn believes_a_disk_only_when_it_has_spoken() {
        let failing = Some("its own self-assessment (SMART) says that it fails");
        expect(
            r#"{"smartctl":{"exit_status":0},"smart_status":{"passed":true}}"#,
            HealthStatus::Passed,
            None,
        );
        expect(
            r#"{"smartctl":{"exit_status":8},"smart_status":{"passed":false,"nvme":{"value":4}}}"#,
            HealthStatus::Failing,
            failing,
        );
        expect(r#"{"smartctl":{"exit_status":12}}"#, HealthStatus::Failing, failing);
        expect(
            r#"{"smartctl":{"exit_status":2,"messages":[{"string":"Smartctl open device: /dev/sda failed\u001b[2J","severity":"error"}]}}"#,
            HealthStatus::Unknown,
            Some("Smartctl open device: /dev/sda failed\\u{1b}[2J"),
        );
        expect("{}", HealthStatus::Unknown, Some("it tells nothing of its health"));
        for text in ["", "null", "{\"smartctl\":7}", "smartctl: not found"] {
            expect(text, HealthStatus::Unknown, Some("smartctl gave no answer that can be read"));
        }
    }

    #[test]
    fn an_emmc_at_its_end_fails() {
        assert_eq!(parse_emmc(Some("0x01\n")).status, HealthStatus::Passed);
        assert_eq!(parse_emmc(Some("0x03\n")).status, HealthStatus::Failing);
        assert_eq!(parse_emmc(Some("0x00")).status, HealthStatus::Unknown);
        assert_eq!(parse_emmc(None).status, HealthStatus::Unknown);
    }
}
