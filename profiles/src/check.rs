//! The structural check: a JSON Schema made from the types, walked over a TOML document with positions.
//!
//! Finds unknown and missing keys, wrong types, values outside a list, format or limit, all of them at once, and
//! gives back what is left as a value: in lists a bad item becomes null (so that indices stay), in tables it is left out.
//! `usable` makes of it what the rules look at.

use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::document::{At, DIAGNOSTICS_MAX, Document};
use crate::format;
use crate::path::KeyPath;
use crate::text::excerpt;
use serde_json::{Map, Value};
use serde_spanned::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// Least similarity of a key that is offered as the right spelling.
const SIMILAR_ENOUGH: f64 = 0.6;

/// Longest key for which a right spelling is looked for.
const SPELLING_BYTES_MAX: usize = 64;

/// What the structural check leaves.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The document without what was refused.
    pub value: Value,
    /// Where something was refused, and why.
    refused: Vec<(KeyPath, Code)>,
    /// The list of problems was cut: nothing more can be said.
    pub too_many: bool,
}

impl Checked {
    /// True when nothing was refused.
    pub(crate) fn is_clean(&self) -> bool {
        self.refused.is_empty()
    }

    /// True when nothing was refused at this path or below it.
    pub(crate) fn is_sound(&self, path: &KeyPath) -> bool {
        !self.refused.iter().any(|(refused, _)| refused.0.starts_with(&path.0))
    }

    /// True when the value of this path is what the operator wrote, or was left out on purpose: nothing was refused
    /// there, and no key beside it or above it is unknown, which could be a misspelt one.
    pub(crate) fn is_said(&self, path: &KeyPath) -> bool {
        let hides = |(refused, code): &(KeyPath, Code)| {
            let beside = refused.0.split_last().is_some_and(|(_, table)| path.0.starts_with(table));
            path.0.starts_with(&refused.0) || (*code == Code::KeyUnknown && beside)
        };
        self.is_sound(path) && !self.refused.iter().any(hides)
    }
}

/// Reads the `version` key first: only version 1 has the structure we know. A missing or odd one is left to [`structure`].
pub(crate) fn version_is_1(document: &Document<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Some(DeValue::Integer(integer)) = document.root().get("version").map(Spanned::get_ref) else {
        return true;
    };
    if integer_value(integer) == Some(1) {
        return true;
    }
    let message = format!("version {} is not known, this program knows version 1", excerpt(integer.as_str()));
    diagnostics.push(document.problem(Code::VersionUnsupported, &KeyPath::of("version"), At::Value, message));
    false
}

/// Walks the schema over the document.
pub(crate) fn structure(
    document: &Document<'_>,
    schema: &Value,
    diagnostics: &mut Vec<Diagnostic>,
) -> Checked {
    let mut walk = Walk { document, schema, diagnostics, refused: Vec::new(), too_many: false };
    let value = walk.table(schema, document.root(), &KeyPath::root());
    Checked { value, refused: walk.refused, too_many: walk.too_many }
}

/// Follows `$ref` into the definitions of the root schema.
pub(crate) fn resolved<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/$defs/"));
    let target = name.and_then(|name| root.get("$defs")?.get(name));
    target.unwrap_or(schema)
}

/// The value of an integer of any base, if it fits.
fn integer_value(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

struct Walk<'w, 't> {
    document: &'w Document<'t>,
    schema: &'w Value,
    diagnostics: &'w mut Vec<Diagnostic>,
    refused: Vec<(KeyPath, Code)>,
    too_many: bool,
}

impl<'w> Walk<'w, '_> {
    fn refuse(&mut self, code: Code, path: &KeyPath, at: At, message: String) {
        self.refuse_with(code, path, at, message, None);
    }

    /// Refuses, with the nearest right spelling.
    fn refuse_with(
        &mut self,
        code: Code,
        path: &KeyPath,
        at: At,
        message: String,
        suggestion: Option<String>,
    ) {
        if self.refused.len() < DIAGNOSTICS_MAX {
            self.refused.push((path.clone(), code));
            let problem = self.document.problem(code, path, at, message);
            self.diagnostics.push(Diagnostic { suggestion, ..problem });
        } else if !self.too_many {
            self.too_many = true;
            self.diagnostics.push(self.document.too_many());
        }
    }

    fn value(&mut self, schema: &'w Value, value: &Spanned<DeValue<'_>>, path: &KeyPath) -> Value {
        let schema = resolved(self.schema, schema);
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("string");
        match (kind, value.get_ref()) {
            ("string", DeValue::String(text)) => self.string(schema, text, path),
            ("boolean", DeValue::Boolean(value)) => Value::Bool(*value),
            ("integer", DeValue::Integer(integer)) => self.integer(schema, integer, path),
            ("array", DeValue::Array(_)) => self.array(schema, value, path),
            ("object", DeValue::Table(table)) => self.table(schema, table, path),
            (_, found) => {
                let message = format!("expected {}, found {}", kind_name(kind), found_name(found));
                self.refuse(Code::TypeWrong, path, At::Value, message);
                Value::Null
            }
        }
    }

    fn table(&mut self, schema: &'w Value, table: &DeTable<'_>, path: &KeyPath) -> Value {
        let mut result = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        for (key, value) in table {
            let key: &str = key.get_ref();
            let path = path.key(key);
            let checked = match (properties.and_then(|properties| properties.get(key)), others) {
                (Some(schema), _) => self.value(schema, value, &path),
                (None, Some(others)) if self.key_name(schema, key, &path) => self.value(others, value, &path),
                (None, Some(_)) => Value::Null,
                (None, None) => {
                    self.unknown_key(properties, table, key, &path);
                    Value::Null
                }
            };
            if !checked.is_null() {
                result.insert(key.to_owned(), checked);
            }
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(required) = required.as_str().filter(|key| !table.contains_key(*key)) else { continue };
            let path = path.key(required);
            self.refuse(Code::KeyMissing, &path, At::Key, format!("`{required}` is missing"));
        }
        Value::Object(result)
    }

    /// Checks the name of a free key, such as that of a label.
    fn key_name(&mut self, schema: &Value, key: &str, path: &KeyPath) -> bool {
        let name = schema.pointer("/propertyNames/format").and_then(Value::as_str);
        let Some(format) = name.and_then(format::find).filter(|format| !(format.check)(key)) else {
            return true;
        };
        self.refuse(Code::ValueFormat, path, At::Key, format!("{} is not {}", excerpt(key), format.expects));
        false
    }

    fn unknown_key(
        &mut self,
        properties: Option<&Map<String, Value>>,
        table: &DeTable<'_>,
        key: &str,
        path: &KeyPath,
    ) {
        let absent =
            properties.into_iter().flat_map(Map::keys).filter(|known| !table.contains_key(known.as_str()));
        let suggestion = nearest(key, absent.map(String::as_str));
        let home = self.home_of(key).filter(|_| suggestion.is_none());
        let message =
            home.map_or("unknown key".to_owned(), |home| format!("unknown key here, it belongs to {home}"));
        self.refuse_with(Code::KeyUnknown, path, At::Key, message, suggestion);
    }

    /// The table of the cluster file in which a key of this name exists, for a key that stands in the wrong one.
    fn home_of(&self, key: &str) -> Option<String> {
        let tables = self.schema.get("properties")?.as_object()?;
        tables.iter().find_map(|(name, schema)| {
            let is_list = schema.get("items").is_some();
            let schema = resolved(self.schema, schema.get("items").unwrap_or(schema));
            schema.get("properties")?.get(key)?;
            Some(if is_list { format!("`[[{name}]]`") } else { format!("`[{name}]`") })
        })
    }

    fn array(&mut self, schema: &'w Value, value: &Spanned<DeValue<'_>>, path: &KeyPath) -> Value {
        let items = value.get_ref().as_array().into_iter().flatten();
        let item_schema = schema.get("items").unwrap_or(&Value::Null);
        let mut result = Vec::new();
        for (index, item) in items.enumerate() {
            result.push(self.value(item_schema, item, &path.index(index)));
        }
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or_default();
        if (result.len() as u64) < least {
            self.refuse(
                Code::ValueRange,
                path,
                At::Value,
                format!("at least {least} needed, found {}", result.len()),
            );
        }
        Value::Array(result)
    }

    fn integer(&mut self, schema: &Value, integer: &DeInteger<'_>, path: &KeyPath) -> Value {
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
        let (least, most) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
        match integer_value(integer) {
            Some(value) if (least..=most).contains(&value) => Value::from(value),
            _ => {
                let found = excerpt(integer.as_str());
                self.refuse(
                    Code::ValueRange,
                    path,
                    At::Value,
                    format!("{found} is not between {least} and {most}"),
                );
                Value::Null
            }
        }
    }

    fn string(&mut self, schema: &Value, text: &str, path: &KeyPath) -> Value {
        if let Some(words) = words(schema) {
            if words.contains(&text) {
                return Value::from(text);
            }
            let list: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            let message = format!("{} is not one of {}", excerpt(text), list.join(", "));
            let suggestion = nearest(text, words.into_iter());
            self.refuse_with(Code::ValueUnknown, path, At::Value, message, suggestion);
            return Value::Null;
        }
        let format = schema.get("format").and_then(Value::as_str).and_then(format::find);
        match format {
            Some(format) if !(format.check)(text) => {
                let found = if format.secret { "the value (not shown)".to_owned() } else { excerpt(text) };
                self.refuse(Code::ValueFormat, path, At::Value, format!("{found} is not {}", format.expects));
                Value::Null
            }
            _ => Value::from(text),
        }
    }
}

/// The fixed list of a string schema: `enum`, or `oneOf` with a `const` each (what schemars makes of documented variants).
pub(crate) fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return Some(list.iter().filter_map(Value::as_str).collect());
    }
    let variants = schema.get("oneOf").and_then(Value::as_array)?;
    Some(variants.iter().filter_map(|variant| variant.get("const")?.as_str()).collect())
}

/// The nearest known word, if any is near enough.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    if word.len() > SPELLING_BYTES_MAX {
        return None;
    }
    let word = word.to_lowercase();
    let rated = known.map(|known| (strsim::normalized_damerau_levenshtein(&word, known), known));
    let best = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= SIMILAR_ENOUGH).then(|| best.1.to_owned())
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "string" => "a string",
        "boolean" => "true or false",
        "integer" => "an integer",
        "array" => "a list",
        _ => "a table",
    }
}

fn found_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
