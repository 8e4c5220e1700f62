//! Where a key that is given twice stands first: the parser of TOML names the second place only.

use super::Document;
use crate::path::{KeyPath, Step};
use serde_spanned::Spanned;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Path of the key of which the one at this place is a second one, and where the first stands.
pub(super) fn find_first(document: &Document<'_>, second: &Range<usize>) -> Option<(KeyPath, usize)> {
    let before = document.text.get(..second.start)?;
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = document.text.get(line_start..)?.lines().next()?;
    match path_of_header(line) {
        Some(path) => Some((path.clone(), find_header(before, &path)?)),
        None => find_key(document, second),
    }
}

/// Where the table with this path begins. The parser keeps the place of the last one.
fn find_header(text: &str, path: &KeyPath) -> Option<usize> {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if path_of_header(line).as_ref() == Some(path) {
            return Some(offset);
        }
        offset += line.len();
    }
    None
}

/// A key in the body of a table is of the table of the key before it, or of one around that.
fn find_key(document: &Document<'_>, second: &Range<usize>) -> Option<(KeyPath, usize)> {
    let mut keys = Vec::new();
    collect_keys(&document.root, &KeyPath::root(), &mut keys);
    keys.retain(|(offset, _)| *offset < second.start);
    let key = document.text.get(second.clone())?.trim_matches(['"', '\'']);
    let (_, before) = keys.iter().max_by_key(|(offset, _)| *offset)?;
    (0..before.0.len()).rev().find_map(|depth| {
        let around: Vec<Step> = before.0.iter().take(depth).cloned().collect();
        let path = KeyPath(around).key(key);
        let (offset, _) = keys.iter().find(|(_, known)| *known == path)?;
        Some((path, *offset))
    })
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

/// The path in `[a.b]`; `None` for a line of another kind.
fn path_of_header(line: &str) -> Option<KeyPath> {
    let name = line.trim().strip_prefix('[')?.trim_start_matches('[').split(']').next()?;
    let line = format!("{name} = 0");
    let parsed = DeTable::parse(&line).ok()?;
    let mut keys = Vec::new();
    collect_keys(parsed.get_ref(), &KeyPath::root(), &mut keys);
    keys.into_iter().map(|(_, path)| path).max_by_key(|path| path.0.len())
}
