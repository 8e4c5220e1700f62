//! The install record: what was installed, when and how. On the ESP it is the commit of an install; a copy lies in the
//! state. Parser and renderer only; who reads and writes it is `apply` and `handover`.

use crate::plan::data::PlannedDataDisk;
use crate::preflight::RecordedCheck;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Schema id of a serialised [`InstallRecord`].
pub const RECORD_SCHEMA: &str = "metalstrap.install/v1";
/// Path of the record on the ESP.
pub const RECORD_ESP_PATH: &str = "/metalstrap/install.json";
/// Path of the copy on the node.
pub const RECORD_NODE_PATH: &str = "/var/lib/metalstrap/install.json";
/// A record is about 3 KiB; more than this is none.
pub const RECORD_MAX_BYTES: u64 = 256 * 1024;

/// What was installed, when and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallRecord {
    /// Always [`RECORD_SCHEMA`].
    pub schema: String,
    /// Identity of this install.
    pub install_id: Uuid,
    /// Version of the installer.
    pub installer: String,
    /// Cluster name.
    pub cluster: String,
    /// Host name.
    pub hostname: String,
    /// Role.
    pub role: String,
    /// Version of the image.
    pub image_version: String,
    /// Build id of the image.
    pub image_build_id: String,
    /// True when the k3s of the image is the project's test double.
    pub double: bool,
    /// Serial number of the disk.
    pub disk_serial: String,
    /// Stable name of the disk.
    pub disk_by_id: Option<String>,
    /// PARTUUIDs by label.
    pub partitions: BTreeMap<String, Uuid>,
    /// The data disks of the node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_disks: Vec<RecordedDataDisk>,
    /// sha256 of what each slot holds.
    pub slots: BTreeMap<String, String>,
    /// Phases that were done before the record was written, with their durations.
    pub phases: Vec<RecordedPhase>,
    /// Checks that were left out, each with who said so.
    pub skipped_checks: Vec<String>,
    /// Preflight checks that apply to this node: how each ended, with the measured value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<RecordedCheck>,
    /// Warnings of the plan and of the install.
    pub warnings: Vec<String>,
    /// When the install was resumed after a failure: what it kept of the earlier attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Vec<String>>,
}

/// A data disk of the node, as the install left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedDataDisk {
    /// Where it is mounted.
    pub mount: String,
    /// PARTUUID of its file system.
    pub partition: Uuid,
    /// UUID of its file system.
    pub fs: Uuid,
    /// Serial number of the disk.
    pub serial: String,
    /// True when the install found it and kept what was on it.
    pub kept: bool,
}

impl From<&PlannedDataDisk> for RecordedDataDisk {
    fn from(data: &PlannedDataDisk) -> Self {
        Self {
            mount: data.mount.clone(),
            partition: data.ids.data,
            fs: data.ids.fs,
            serial: data.disk.serial.clone(),
            kept: data.keep,
        }
    }
}

/// A phase that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPhase {
    /// Name.
    pub name: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// Why a text is no install record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not JSON of this form.
    #[error("the install record is not readable")]
    Form(#[source] serde_json::Error),
    /// Another schema.
    #[error("the install record has the schema {0:?}, expected \"metalstrap.install/v1\"")]
    Schema(String),
}

impl InstallRecord {
    /// The record as it is written: JSON with a newline at its end.
    ///
    /// # Errors
    /// None in practice; JSON of plain data.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// True when it speaks of this node.
    pub fn is_of(&self, cluster: &str, hostname: &str) -> bool {
        self.cluster == cluster && self.hostname == hostname
    }
}

/// Reads a record; unknown fields of later versions are ignored.
///
/// # Errors
/// Wrong form or wrong schema.
pub fn parse_record(text: &str) -> Result<InstallRecord, RecordError> {
    #[derive(Deserialize)]
    struct Head {
        schema: String,
    }
    let head: Head = serde_json::from_str(text).map_err(RecordError::Form)?;
    if head.schema != RECORD_SCHEMA {
        return Err(RecordError::Schema(head.schema));
    }
    serde_json::from_str(text).map_err(RecordError::Form)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{InstallRecord, RECORD_SCHEMA, RecordedPhase, parse_record};
    use std::collections::BTreeMap;
    use uuid::Uuid;

    pub(crate) fn record() -> InstallRecord {
        InstallRecord {
            schema: RECORD_SCHEMA.to_owned(),
            install_id: Uuid::from_u128(1),
            installer: "0.1.0".to_owned(),
            cluster: "lab".to_owned(),
            hostname: "master-1".to_owned(),
            role: "master".to_owned(),
            image_version: "0.1.0".to_owned(),
            image_build_id: "b1".to_owned(),
            double: true,
            disk_serial: "S1".to_owned(),
            disk_by_id: None,
            partitions: BTreeMap::from([("metalstrap-esp".to_owned(), Uuid::from_u128(2))]),
            data_disks: Vec::new(),
            slots: BTreeMap::from([("a".to_owned(), "ab".repeat(32))]),
            phases: vec![RecordedPhase { name: "partition".to_owned(), took_ms: 12 }],
            skipped_checks: Vec::new(),
            checks: Vec::new(),
            warnings: Vec::new(),
            resumed: None,
        }
    }

    #[test]
    fn reads_back_what_was_written_and_fields_of_later_versions() {
        let text = record().render().unwrap();
        assert_eq!(parse_record(&text).unwrap(), record());
        let later = text.replacen('{', "{\"new_field\": 1,", 1);
        assert_eq!(parse_record(&later).unwrap(), record());
    }

    #[test]
    fn refuses_other_schemas_and_torn_texts() {
        let text = record().render().unwrap();
        let other = text.replace("metalstrap.install/v1", "metalstrap.install/v2");
        assert_eq!(
            parse_record(&other).unwrap_err().to_string(),
            "the install record has the schema \"metalstrap.install/v2\", expected \"metalstrap.install/v1\""
        );
        for cut in [0, 1, text.len() / 2] {
            assert_eq!(
                parse_record(&text[..cut]).unwrap_err().to_string(),
                "the install record is not readable"
            );
        }
    }

    #[test]
    fn belongs_to_one_node_of_one_cluster() {
        assert!(record().is_of("lab", "master-1"));
        assert!(!record().is_of("lab2", "master-1") && !record().is_of("lab", "master-2"));
    }
}
