//! The JSON Schemas and the reference pages, generated from the types and from the table of codes.

use crate::cluster::ClusterFileV1;
use crate::cluster::secrets::SecretsFileV1;
use crate::pins::PinsFileV1;
use crate::profile::ProfileV1;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// JSON Schema of the cluster file.
pub fn cluster_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<ClusterFileV1>);
    &SCHEMA
}

/// JSON Schema of the secrets file beside the cluster file.
pub fn secrets_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<SecretsFileV1>);
    &SCHEMA
}

/// JSON Schema of a shipped profile.
pub fn profile_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<ProfileV1>);
    &SCHEMA
}

/// JSON Schema of the pins.
pub fn pins_schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<PinsFileV1>);
    &SCHEMA
}

fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    without_null(&mut schema);
    schema
}

/// TOML has no null: takes out what schemars says about it for optional values.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(kinds)) = object.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(only) = only_variant(object) {
                object.remove("anyOf");
                object.extend(only);
            }
            object.values_mut().for_each(without_null);
        }
        _ => {}
    }
}

/// What is left of `anyOf` when null is taken out, if that is one variant.
fn only_variant(object: &Map<String, Value>) -> Option<Map<String, Value>> {
    let variants = object.get("anyOf")?.as_array()?;
    let mut real = variants.iter().filter(|variant| variant.get("type").is_none_or(|kind| kind != "null"));
    let only = real.next()?.as_object()?.clone();
    real.next().is_none().then_some(only)
}
