//! Where a key that is given twice stands first: the parser of TOML names the second place only.

use super::Document;
use crate::path::{KeyPath, Step};
use serde_spanned::Spanned;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// The places of all keys and headers of a document; made once, however many keys are given twice.
pub(super) struct Places<'d> {
    text: &'d str,
    /// Keys in the order of the text.
    keys: Vec<(usize, KeyPath)>,
    key_of_path: HashMap<String, usize>,
    /// Headers by the offset of their line. The parser keeps the place of the last one with a path.
    headers: BTreeMap<usize, KeyPath>,
    header_of_path: HashMap<String, usize>,
}

impl<'d> Places<'d> {
    pub(super) fn of(document: &'d Document<'_>) -> Self {
        let mut keys = Vec::new();
        collect_keys(&document.root, &KeyPath::root(), &mut keys);
        keys.sort_unstable_by_key(|(offset, _)| *offset);
        let headers = collect_headers(document.text);
        // The first one of a path stays.
        let key_of_path = keys.iter().rev().map(|(offset, path)| (path.to_string(), *offset)).collect();
        let header_of_path = headers.iter().rev().map(|(offset, path)| (path.to_string(), *offset)).collect();
        Self { text: document.text, keys, key_of_path, headers, header_of_path }
    }

    /// Path of the key of which the one at this place is a second one, and where the first stands.
    pub(super) fn find_first(&self, second: &Range<usize>) -> Option<(KeyPath, usize)> {
        let line = self.text.get(..second.start)?.rfind('\n').map_or(0, |at| at + 1);
        match self.headers.get(&line) {
            Some(path) => {
                let first = *self.header_of_path.get(&path.to_string())?;
                (first < line).then(|| (path.clone(), first))
            }
            None => self.find_key(second),
        }
    }

    /// A key in the body of a table is of the table of the key before it, or of one around that.
    fn find_key(&self, second: &Range<usize>) -> Option<(KeyPath, usize)> {
        let key = self.text.get(second.clone())?.trim_matches(['"', '\'']);
        let before = self.keys.partition_point(|(offset, _)| *offset < second.start);
        let (_, before) = self.keys.get(before.checked_sub(1)?)?;
        (0..before.0.len()).rev().find_map(|depth| {
            let around: Vec<Step> = before.0.iter().take(depth).cloned().collect();
            let path = KeyPath(around).key(key);
            let first = *self.key_of_path.get(&path.to_string())?;
            (first < second.start).then_some((path, first))
        })
    }
}

/// All keys with their offsets.
fn collect_keys(table: &DeTable<'_>, path: &KeyPath, keys: &mut Vec<(usize, KeyPath)>) {
    for (key, value) in table {
        let path = path.key(key.get_ref());
        keys.push((key.span().start, path.clone()));
        collect_below(value, &path, keys);
    }
}

fn collect_below(value: &Spanned<DeValue<'_>>, path: &KeyPath, keys: &mut Vec<(usize, KeyPath)>) {
    match value.get_ref() {
        DeValue::Table(table) => collect_keys(table, path, keys),
        DeValue::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| collect_below(item, &path.index(n), keys));
        }
        _ => {}
    }
}

/// All headers by the offset of their line, with the index of the item in a list of tables that they are below.
fn collect_headers(text: &str) -> BTreeMap<usize, KeyPath> {
    let mut headers = BTreeMap::new();
    // How many items a list of tables has so far.
    let mut items: HashMap<String, usize> = HashMap::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if let Some((words, is_item)) = words_of_header(line) {
            let mut path = KeyPath::root();
            for (n, word) in words.iter().enumerate() {
                path = path.key(word);
                let count = items.entry(path.to_string()).or_default();
                *count += usize::from(is_item && n + 1 == words.len());
                if let Some(last) = count.checked_sub(1) {
                    path = path.index(last);
                }
            }
            headers.insert(offset, path);
        }
        offset += line.len();
    }
    headers
}

/// The keys in `[a.b]`, and whether it begins an item of a list; `None` for a line of another kind.
fn words_of_header(line: &str) -> Option<(Vec<String>, bool)> {
    let inner = line.trim().strip_prefix('[')?;
    let is_item = inner.starts_with('[');
    let name = inner.trim_start_matches('[').split(']').next()?;
    let line = format!("{name} = 0");
    let parsed = DeTable::parse(&line).ok()?;
    let (mut words, mut table) = (Vec::new(), parsed.get_ref());
    while let Some((key, value)) = table.iter().next() {
        words.push(key.get_ref().to_string());
        let Some(below) = value.get_ref().as_table() else { break };
        table = below;
    }
    Some((words, is_item))
}
