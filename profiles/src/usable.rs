//! What the rules may look at of a document that was partly refused: lists without their bad items, tables with a
//! neutral value where a needed one is missing. So one bad value does not hide what else is wrong.
//!
//! Positions stay true: [`Usable::place`] gives back where an item of a shortened list is written.

use crate::check::resolved;
use crate::path::{KeyPath, Step};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A document without what is bad in it.
#[derive(Debug)]
pub(crate) struct Usable {
    /// What is left.
    pub value: Value,
    /// For each list that lost items, by its path in the document: the places of those that stayed.
    kept: BTreeMap<String, Vec<usize>>,
}

impl Usable {
    /// Takes out of a checked value what is bad.
    pub(crate) fn of(schema: &Value, value: &Value) -> Self {
        let mut mending = Mending { schema, kept: BTreeMap::new() };
        let value = mending.value(schema, value, &KeyPath::root()).unwrap_or_default();
        Self { value, kept: mending.kept }
    }

    /// Where in the document something of this value is written.
    pub(crate) fn place(&self, path: &KeyPath) -> KeyPath {
        if self.kept.is_empty() {
            return path.clone();
        }
        path.0.iter().fold(KeyPath::root(), |place, step| match step {
            Step::Key(key) => place.key(key),
            Step::Index(index) => {
                let kept = self.kept.get(&place.to_string()).and_then(|kept| kept.get(*index));
                place.index(kept.copied().unwrap_or(*index))
            }
        })
    }

    /// Whether items of this list were taken out.
    pub(crate) fn is_shortened(&self, list: &str) -> bool {
        self.kept.contains_key(list)
    }
}

struct Mending<'m> {
    schema: &'m Value,
    kept: BTreeMap<String, Vec<usize>>,
}

impl<'m> Mending<'m> {
    fn value(&mut self, schema: &'m Value, value: &Value, path: &KeyPath) -> Option<Value> {
        match value {
            Value::Null => None,
            Value::Array(items) => Some(self.list(resolved(self.schema, schema), items, path)),
            Value::Object(table) => self.table(resolved(self.schema, schema), table, path),
            _ => Some(value.clone()),
        }
    }

    fn list(&mut self, schema: &'m Value, items: &[Value], path: &KeyPath) -> Value {
        let item_schema = schema.get("items").unwrap_or(&Value::Null);
        let mut kept = Vec::new();
        let mut result = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(item) = self.value(item_schema, item, &path.index(index)) {
                kept.push(index);
                result.push(item);
            }
        }
        if kept.len() < items.len() {
            self.kept.insert(path.to_string(), kept);
        }
        Value::Array(result)
    }

    /// `None` when something is missing that nothing neutral can stand for.
    fn table(&mut self, schema: &'m Value, table: &Map<String, Value>, path: &KeyPath) -> Option<Value> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
        let mut result = Map::new();
        for (key, value) in table {
            let schema = properties.and_then(|properties| properties.get(key)).unwrap_or(others);
            if let Some(value) = self.value(schema, value, &path.key(key)) {
                result.insert(key.clone(), value);
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str).filter(|_| !path.0.is_empty()) {
            if !result.contains_key(key) {
                result.insert(key.to_owned(), neutral(key, path)?);
            }
        }
        Some(Value::Object(result))
    }
}

/// What can stand for a missing value so that no rule says anything about it, or about two of them being the same.
/// A flow without its ends and a route without its destination say nothing at all.
fn neutral(key: &str, path: &KeyPath) -> Option<Value> {
    match key {
        "hostname" | "mount" | "name" | "why" => Some(Value::from(path.to_string())),
        // The view knows that it is none.
        "role" => Some(Value::from("worker")),
        "local_as" | "router_as" | "node_port" => Some(Value::from(1)),
        "pools" | "routers" | "nodes" => Some(Value::Array(vec![])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Usable;
    use crate::path::KeyPath;
    use crate::reference::cluster_schema;
    use serde_json::json;

    #[test]
    fn bad_items_go_and_the_others_keep_their_places() {
        let node =
            json!({ "role": "master", "interfaces": [null, { "routes": [{}, { "to": "10.0.0.0/8" }] }] });
        let usable = Usable::of(cluster_schema(), &json!({ "nodes": [null, node] }));
        let left = json!({ "nodes": [
            { "hostname": "nodes[1]", "role": "master", "interfaces": [{ "routes": [{ "to": "10.0.0.0/8" }] }] }
        ] });
        assert_eq!(usable.value, left);
        let path = KeyPath::of("nodes").index(0).key("interfaces").index(0).key("routes").index(0).key("to");
        assert_eq!(usable.place(&path).to_string(), "nodes[1].interfaces[1].routes[1].to");
        assert!(usable.is_shortened("nodes") && !usable.is_shortened("firewall.flows"));
    }

    #[test]
    fn what_is_whole_stays_as_it_is() {
        let whole = json!({ "cluster": { "name": "a", "api_names": ["b"] }, "nodes": [{ "hostname": "m", "role": "worker" }] });
        let usable = Usable::of(cluster_schema(), &whole);
        assert_eq!(usable.value, whole);
        let path = KeyPath::of("nodes").index(7);
        assert_eq!(usable.place(&path), path);
    }
}
