//! The objects of the cluster, kept in one JSON file where etcd would keep its log.

use crate::files;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An error in the shape of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub code: u16,
    /// Reason word.
    pub reason: &'static str,
    /// Text.
    pub message: String,
}

impl ApiError {
    /// Any error.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into() }
    }

    /// 404.
    pub fn not_found(plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{plural} {name:?} not found"))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// The Status object.
    pub fn to_json(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
               "message": self.message, "reason": self.reason, "code": self.code})
    }
}

/// Objects by their API path, e.g. `/api/v1/nodes/m1`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Store {
    #[serde(skip)]
    file: PathBuf,
    revision: u64,
    objects: BTreeMap<String, Value>,
    /// etcd members; see [`crate::members`].
    pub members: Vec<crate::members::Member>,
}

impl Store {
    /// Opens the file, or begins empty.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(file: PathBuf) -> Result<Self> {
        let mut store = match std::fs::read(&file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("parsing {}", file.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        store.file = file;
        Ok(store)
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// One object.
    pub fn get(&self, path: &str) -> Option<&Value> {
        self.objects.get(path)
    }

    /// The objects directly in a collection; for a collection of all namespaces give group prefix and plural.
    pub fn list(&self, matches: impl Fn(&str) -> bool) -> Vec<Value> {
        self.objects.iter().filter(|(path, _)| matches(path)).map(|(_, object)| object.clone()).collect()
    }

    /// Puts an object, stamps its revision and saves.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn put(&mut self, path: &str, mut object: Value) -> Result<Value, ApiError> {
        self.revision += 1;
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.insert("resourceVersion".into(), self.revision.to_string().into());
            meta.entry("creationTimestamp").or_insert_with(|| now().into());
            meta.entry("uid").or_insert_with(|| uid().into());
        }
        self.objects.insert(path.to_owned(), object.clone());
        self.save()?;
        Ok(object)
    }

    /// Takes an object out.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remove(&mut self, path: &str) -> Result<Option<Value>, ApiError> {
        let old = self.objects.remove(path);
        if old.is_some() {
            self.revision += 1;
            self.save()?;
        }
        Ok(old)
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The file cannot be written: an internal error of the API.
    pub fn save(&self) -> Result<(), ApiError> {
        let bytes =
            serde_json::to_vec(self).map_err(|e| ApiError::new(500, "InternalError", e.to_string()))?;
        files::write(&self.file, 0o600, &bytes)
            .map_err(|e| ApiError::new(500, "InternalError", format!("{e:#}")))
    }
}

/// Now, as in metadata.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now with microseconds, as in leases.
pub fn now_micro() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn uid() -> String {
    let hex = crate::token::random_hex(16);
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}

/// JSON merge patch (RFC 7386).
pub fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge_patch(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The merge key of a list in a Node, Pod or metadata; other lists are replaced whole.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "conditions" | "addresses" => Some("type"),
        "ownerReferences" => Some("uid"),
        "containers" | "volumes" | "env" => Some("name"),
        _ => None,
    }
}

/// Strategic merge patch, as far as Node and Pod objects need it.
///
/// # Errors
/// A list entry without its merge key, or a `$patch` that is not `delete`.
pub fn strategic_patch(target: &mut Value, patch: &Value) -> Result<(), ApiError> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return Ok(()) };
    for (field, value) in patch {
        if field.starts_with('$') {
            continue;
        }
        match (value, merge_key(field)) {
            (Value::Null, _) => drop(target.remove(field)),
            (Value::Array(items), Some(key)) => {
                let slot = target.entry(field.clone()).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(slot, items, key)?;
            }
            _ => strategic_patch(target.entry(field.clone()).or_insert(Value::Null), value)?,
        }
    }
    Ok(())
}

fn merge_list(slot: &mut Value, items: &[Value], key: &str) -> Result<(), ApiError> {
    if !slot.is_array() {
        *slot = Value::Array(Vec::new());
    }
    let Value::Array(list) = slot else { return Ok(()) };
    for item in items {
        let id = item.get(key).ok_or_else(|| {
            ApiError::bad_request(format!("map: {item} does not contain declared merge key: {key}"))
        })?;
        let place = list.iter().position(|old| old.get(key) == Some(id));
        match (item.get("$patch").and_then(Value::as_str), place) {
            (Some("delete"), Some(at)) => drop(list.remove(at)),
            (Some("delete"), None) => {}
            (Some(other), _) => {
                return Err(ApiError::bad_request(format!(
                    "$patch {other:?} is not emulated by the k3s double"
                )));
            }
            (None, Some(at)) => {
                if let Some(old) = list.get_mut(at) {
                    strategic_patch(old, item)?;
                }
            }
            (None, None) => list.push(item.clone()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Store, merge_patch, strategic_patch};
    use serde_json::json;

    #[test]
    fn strategic_patch_merges_conditions_by_type_and_merge_patch_replaces_them() {
        let node = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        let patch = json!({"status": {"conditions": [{"type": "Mine", "status": "True"}]}});
        let mut strategic = node.clone();
        strategic_patch(&mut strategic, &patch).unwrap();
        assert_eq!(strategic["status"]["conditions"].as_array().unwrap().len(), 2);
        let mut merged = node;
        merge_patch(&mut merged, &patch);
        assert_eq!(merged["status"]["conditions"], patch["status"]["conditions"]);
        strategic_patch(
            &mut strategic,
            &json!({"status": {"conditions": [{"type": "Mine", "$patch": "delete"}]}}),
        )
        .unwrap();
        assert_eq!(
            strategic["status"]["conditions"],
            json!([{"type": "Ready", "status": "True", "reason": "KubeletReady"}])
        );
        let error = strategic_patch(&mut strategic, &json!({"status": {"conditions": [{"status": "x"}]}}))
            .unwrap_err();
        assert_eq!(error.message, "map: {\"status\":\"x\"} does not contain declared merge key: type");
    }

    #[test]
    fn objects_survive_a_restart_and_a_broken_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("wal/double.json");
        let mut store = Store::open(file.clone()).unwrap();
        store.put("/api/v1/nodes/m1", json!({"metadata": {"name": "m1"}})).unwrap();
        let again = Store::open(file.clone()).unwrap();
        assert_eq!(again.get("/api/v1/nodes/m1"), store.get("/api/v1/nodes/m1"));
        assert_eq!(again.revision(), 1);
        std::fs::write(&file, "{").unwrap();
        assert!(Store::open(file).is_err());
    }
}
