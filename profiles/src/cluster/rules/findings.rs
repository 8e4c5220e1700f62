//! Where the rules put what they find.

use super::view::View;
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::document::{At, DIAGNOSTICS_MAX};
use crate::path::KeyPath;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Diagnostics of one document; paths are those of the view.
pub(super) struct Findings<'f, 'd> {
    pub(super) view: &'f View<'d>,
    pub(super) diagnostics: &'f mut Vec<Diagnostic>,
}

impl Findings<'_, '_> {
    /// A problem with a value.
    pub(super) fn value(&mut self, code: Code, path: &KeyPath, message: impl Into<String>) {
        self.push(code, path, At::Value, message.into());
    }

    /// A problem with a value, and what was probably meant.
    pub(super) fn value_with(
        &mut self,
        code: Code,
        path: &KeyPath,
        message: impl Into<String>,
        suggestion: Option<String>,
    ) {
        self.push(code, path, At::Value, message.into());
        if let Some(last) = self.diagnostics.last_mut() {
            last.suggestion = suggestion;
        }
    }

    /// A problem with a key, or with its being missing.
    pub(super) fn key(&mut self, code: Code, path: &KeyPath, message: impl Into<String>) {
        self.push(code, path, At::Key, message.into());
    }

    /// One more than the limit is kept: it is how the caller sees that the list was cut.
    fn push(&mut self, code: Code, path: &KeyPath, at: At, message: String) {
        if self.diagnostics.len() <= DIAGNOSTICS_MAX {
            let path = self.view.place(path);
            self.diagnostics.push(self.view.document.problem(code, &path, at, message));
        }
    }

    /// Reports every value that was there before, and where.
    pub(super) fn unique<T: Ord + Display>(
        &mut self,
        code: Code,
        values: impl Iterator<Item = (T, KeyPath)>,
    ) {
        let mut seen: BTreeMap<T, KeyPath> = BTreeMap::new();
        for (value, path) in values {
            if let Some(first) = seen.get(&value) {
                self.value(code, &path, format!("`{value}` is already given at {}", self.view.place(first)));
            } else {
                seen.insert(value, path);
            }
        }
    }
}
