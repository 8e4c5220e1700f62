//! The JSON Schemas and the reference pages, generated from the types and from the table of codes.

use crate::check::words;
use crate::cluster::ClusterFileV1;
use crate::cluster::secrets::SecretsFileV1;
use crate::code::Code;
use crate::format;
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

/// TOML has no null: takes out what schemars says about it for optional values, and with it the defaults of whole tables.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(object) => {
            if object.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
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

/// The text of `docs/reference/cluster.schema.json`.
pub fn render_schema_file() -> String {
    format!("{:#}\n", cluster_schema())
}

/// The text of `docs/reference/diagnostics.md`.
pub fn render_diagnostics_page() -> String {
    let mut page = String::from(
        "# Diagnostics\n\n<!-- Generated from profiles/src/code.rs. Anew: METALSTRAP_BLESS=1 cargo test -p profiles --test reference -->\n\n\
         `metalstrap check` reports every problem of its input files at once, one line each:\n\n\
         \x20   cluster.toml:12:7: error E_KEY_UNKNOWN at nodes[0].hostnam: unknown key (did you mean `hostname`?)\n\n\
         Line and column count from 1, columns in characters. Codes are stable: `E_` is an error and the file cannot be used, `W_` a warning.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for code in Code::ALL {
        page += &format!("| `{code}` | {} |\n", cell(code.meaning()));
    }
    page
}

/// The text of `docs/reference/cluster-file.md`.
pub fn render_cluster_file_page() -> String {
    let schema = cluster_schema();
    let mut page = format!(
        "# The cluster file\n\n<!-- Generated from profiles/src/cluster/file.rs and profiles/src/profile.rs. Anew: METALSTRAP_BLESS=1 cargo test -p profiles --test reference -->\n\n\
         {}\n\nTOML, UTF-8, at most 1 MiB. Unknown keys are errors. Check a file with `metalstrap check FILE`; what it says is in \
         [diagnostics.md](diagnostics.md). For editors there is a JSON Schema, [cluster.schema.json](cluster.schema.json); the Taplo language \
         server takes it from a first line `#:schema PATH`. Examples are in `profiles/examples/`.\n\n\
         What one node gets is resolved in this order, the later over the earlier: defaults, the shipped profile of its role, `[profiles.ROLE]`, \
         the node's own entry. A value replaces, a table is merged key by key, `kernel_modules` are added, `kubelet_args` replace the argument of \
         the same name, `taints` and `disable` replace the whole list. In a cluster without workers the shipped taint of the masters is left out.\n",
        description(schema),
    );
    section(&mut page, "Top level", schema, schema);
    for (heading, definition) in SECTIONS {
        let Some(table) = schema.get("$defs").and_then(|definitions| definitions.get(definition)) else {
            continue;
        };
        page += &format!("\n## {heading}\n\n{}\n", description(table));
        keys(&mut page, table, schema);
    }
    page
}

/// The tables of the cluster file in the order of the page, each with its type.
const SECTIONS: [(&str, &str); 19] = [
    ("`[cluster]`", "ClusterTable"),
    ("`[networks]`", "NetworksTable"),
    ("`[networks.cluster]`", "ClusterNetwork"),
    ("`[networks.dmz]`", "DmzNetwork"),
    ("`[admin]`", "AdminTable"),
    ("`[features]`", "Features"),
    ("`[features.clustermesh]`", "ClusterMesh"),
    ("`[features.metallb]`", "MetalLb"),
    ("`[features.kube_vip_bgp]`", "KubeVipBgp"),
    ("`[firewall]`", "FirewallTable"),
    ("`[[firewall.flows]]`", "OperatorFlow"),
    ("`[preflight]`", "PreflightTable"),
    ("`[secrets]`", "SecretsTable"),
    ("`[profiles.master]`, `[profiles.worker]`, `[profiles.proxy]`", "ProfileV1"),
    ("`[[nodes]]`", "NodeEntry"),
    ("`interfaces` of a node", "InterfaceEntry"),
    ("`routes` of an interface", "RouteEntry"),
    ("`disk` of a node", "DiskTable"),
    ("`data_disks` of a node", "DataDiskEntry"),
];

fn section(page: &mut String, heading: &str, table: &Value, root: &Value) {
    *page += &format!("\n## {heading}\n");
    keys(page, table, root);
}

fn keys(page: &mut String, table: &Value, root: &Value) {
    *page += "\n| key | value | default | meaning |\n|---|---|---|---|\n";
    let required: Vec<&str> = table
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (key, property) in table.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let default = match property.get("default") {
            _ if required.contains(&key.as_str()) => "**needed**".to_owned(),
            None => String::new(),
            Some(default) => format!("`{default}`"),
        };
        let meaning = cell(description(property));
        *page += &format!("| `{key}` | {} | {default} | {meaning} |\n", cell(&value_of(property, root)));
    }
}

/// What a value may be, in words.
fn value_of(property: &Value, root: &Value) -> String {
    let name = property.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    if let Some(target) = name.and_then(|name| root.get("$defs")?.get(name)) {
        return value_of(target, root);
    }
    if let Some(words) = words(property) {
        return words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ");
    }
    let format = property.get("format").and_then(Value::as_str).and_then(format::find);
    match property.get("type").and_then(Value::as_str) {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => {
            let bound = |name: &str| property.get(name).map(ToString::to_string).unwrap_or_default();
            format!("integer, {} to {}", bound("minimum"), bound("maximum"))
        }
        Some("array") => match property.get("items") {
            Some(items) => format!("list: {}", value_of(items, root)),
            None => "list".to_owned(),
        },
        Some("object") => match property.get("additionalProperties").filter(|values| values.is_object()) {
            Some(values) => format!("table: each value is {}", value_of(values, root)),
            None => "table".to_owned(),
        },
        _ => format.map_or_else(|| "string".to_owned(), |format| format.expects.to_owned()),
    }
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// A text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
