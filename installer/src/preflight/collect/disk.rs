//! The chosen disk: is it still the one, and how old is it?

use super::chain;
use crate::disks::TargetDisk;
use crate::preflight::facts::{ChosenDisk, Facts, Wear};
use crate::preflight::model::{Fact, NotRun};
use profiles::node::DiskKind;
use serde::Deserialize;
use std::path::Path;
use sysio::block::{BlockDevice, is_claimed};
use sysio::command::Cmd;

/// ATA attributes whose raw value counts lost sectors: reallocated, pending, uncorrectable.
const LOST_SECTORS: [u8; 3] = [5, 197, 198];
/// ATA attributes that give the share of life that is left, by maker.
const LIFE_LEFT: [u8; 4] = [169, 177, 231, 233];

fn none_chosen<T>() -> Fact<T> {
    Err(NotRun::new("no disk was chosen"))
}

pub(super) fn collect(disk: Option<&TargetDisk>, facts: &mut Facts) {
    facts.chosen_disk = disk.map_or_else(none_chosen, |disk| look_at(Path::new(disk.path())));
}

fn look_at(path: &Path) -> Fact<ChosenDisk> {
    let failed = |error: sysio::files::FileError| NotRun::new(chain(&error));
    let claimed = is_claimed(path).map_err(failed)?;
    let device = BlockDevice::open_read_only(path).map_err(failed)?;
    Ok(ChosenDisk { size_bytes: device.size_bytes(), sector_bytes: device.logical_sector_bytes(), claimed })
}

/// A virtual disk is not asked.
pub(super) fn read_wear(disk: Option<&TargetDisk>) -> Fact<Wear> {
    let Some(disk) = disk else { return none_chosen() };
    if disk.disk().kind() == DiskKind::Virtual {
        return Ok(Wear::default());
    }
    let cmd = Cmd::new("smartctl").args(["--json", "--attributes", disk.path()]);
    // The exit status is a set of flags, some of them of old errors: the JSON says what can be read.
    let output =
        cmd.time_limit(super::TOOL_LIMIT).run_any_status().map_err(|error| NotRun::new(chain(&error)))?;
    parse_wear(&output.text()).ok_or_else(|| NotRun::new("smartctl gave no answer that can be read"))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Report {
    temperature: Option<Temperature>,
    nvme_smart_health_information_log: Option<Nvme>,
    ata_smart_attributes: Option<Ata>,
    endurance_used: Option<Endurance>,
    scsi_percentage_used_endurance_indicator: Option<u64>,
    scsi_grown_defect_list: Option<u64>,
}

#[derive(Deserialize)]
struct Temperature {
    current: Option<i64>,
}

#[derive(Deserialize)]
struct Endurance {
    current_percent: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Nvme {
    percentage_used: Option<u64>,
    available_spare: Option<u64>,
    available_spare_threshold: Option<u64>,
    media_errors: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Ata {
    table: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    id: u8,
    #[serde(default)]
    value: u64,
    raw: Option<Raw>,
}

#[derive(Deserialize)]
struct Raw {
    value: u64,
}

/// Reads the JSON of `smartctl --attributes`; `None` when it is none.
pub fn parse_wear(text: &str) -> Option<Wear> {
    let report: Report = serde_json::from_str(text).ok()?;
    let celsius = report.temperature.and_then(|t| t.current);
    if let Some(nvme) = report.nvme_smart_health_information_log {
        return Some(Wear {
            used_percent: nvme.percentage_used,
            spare_percent: nvme.available_spare,
            spare_threshold_percent: nvme.available_spare_threshold,
            media_errors: nvme.media_errors,
            celsius,
        });
    }
    let table = report.ata_smart_attributes.map(|ata| ata.table).unwrap_or_default();
    let left = table.iter().find(|a| LIFE_LEFT.contains(&a.id) && a.value <= 100).map(|a| a.value);
    let lost =
        table.iter().filter(|a| LOST_SECTORS.contains(&a.id)).filter_map(|a| Some(a.raw.as_ref()?.value));
    let has_lost = table.iter().any(|a| LOST_SECTORS.contains(&a.id));
    Some(Wear {
        used_percent: report
            .endurance_used
            .and_then(|e| e.current_percent)
            .or(report.scsi_percentage_used_endurance_indicator)
            .or(left.map(|left| 100 - left)),
        media_errors: if has_lost {
            Some(lost.fold(0, u64::saturating_add))
        } else {
            report.scsi_grown_defect_list
        },
        celsius,
        ..Wear::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{Wear, parse_wear};

    #[test]
    fn reads_nvme_ata_and_sas() {
        let nvme = r#"{"temperature":{"current":38},"nvme_smart_health_information_log":{"critical_warning":0,"temperature":38,
            "available_spare":100,"available_spare_threshold":10,"percentage_used":3,"media_errors":0}}"#;
        let expected = Wear {
            used_percent: Some(3),
            spare_percent: Some(100),
            spare_threshold_percent: Some(10),
            media_errors: Some(0),
            celsius: Some(38),
        };
        assert_eq!(parse_wear(nvme), Some(expected));
        let ata = r#"{"temperature":{"current":31},"ata_smart_attributes":{"table":[{"id":5,"value":100,"raw":{"value":2}},
            {"id":177,"value":88,"raw":{"value":120}},{"id":197,"value":100,"raw":{"value":1}},{"id":9,"raw":{"value":9}}]}}"#;
        let expected =
            Wear { used_percent: Some(12), media_errors: Some(3), celsius: Some(31), ..Wear::default() };
        assert_eq!(parse_wear(ata), Some(expected));
        let sas = r#"{"scsi_percentage_used_endurance_indicator":7,"scsi_grown_defect_list":4}"#;
        let expected = Wear { used_percent: Some(7), media_errors: Some(4), ..Wear::default() };
        assert_eq!(parse_wear(sas), Some(expected));
    }

    #[test]
    fn a_disk_that_says_nothing_is_not_a_disk_without_errors() {
        assert_eq!(parse_wear(r#"{"smartctl":{"exit_status":4}}"#), Some(Wear::default()));
        for text in ["", "null", "smartctl: not found", r#"{"temperature":7}"#] {
            assert_eq!(parse_wear(text), None, "{text}");
        }
    }
}
