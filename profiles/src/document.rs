//! A TOML document with positions: where every key and value stands.

mod duplicate;

use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::path::{KeyPath, Step};
use crate::text::Lines;
use duplicate::Places;
use serde_spanned::Spanned;
use std::cell::LazyCell;
use toml::de::{DeTable, DeValue};

/// Number of diagnostics of one file after which the rest is left out.
pub(crate) const DIAGNOSTICS_MAX: usize = 1000;

/// A parsed TOML text with positions.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    name: String,
    text: &'t str,
    lines: Lines,
    root: DeTable<'t>,
}

/// Which part of an entry a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl<'t> Document<'t> {
    /// Parses the text. `None` when it is not TOML; a duplicate key alone still gives a document.
    pub(crate) fn parse(name: &str, text: &'t str, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { name: name.to_owned(), text, lines: Lines::of(text), root: root.into_inner() };
        let places = LazyCell::new(|| Places::of(&document));
        let mut readable = true;
        for error in errors.iter().take(DIAGNOSTICS_MAX) {
            let code = match error.message() {
                message if message.contains("duplicate") => Code::TomlDuplicate,
                message if message.contains("recurs") => Code::TomlDepth,
                _ => Code::TomlSyntax,
            };
            readable &= code == Code::TomlDuplicate;
            let offset = match (error.span(), code) {
                (Some(span), _) => span.start,
                (None, Code::TomlDepth) => deep_key_offset(text),
                (None, _) => 0,
            };
            let first = Some(error.span().unwrap_or_default()).filter(|_| code == Code::TomlDuplicate);
            let problem = match first.and_then(|span| places.find_first(&span)) {
                Some((path, first)) => {
                    let (line, _) = document.lines.position(text, first);
                    let message = format!("duplicate key, it stands in line {line} already");
                    document.at_offset(offset, code, &path, message)
                }
                None => {
                    let message = error.message().trim().replace('\n', ", ");
                    document.at_offset(offset, code, &KeyPath::root(), message)
                }
            };
            diagnostics.push(problem);
        }
        if errors.len() > DIAGNOSTICS_MAX {
            diagnostics.push(document.too_many());
            readable = false;
        }
        readable.then_some(document)
    }

    /// The root table.
    pub(crate) fn root(&self) -> &DeTable<'t> {
        &self.root
    }

    /// A problem at the key or value of a path; when that is not there, at the nearest table around it.
    pub(crate) fn problem(
        &self,
        code: Code,
        path: &KeyPath,
        at: At,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.at_offset(self.offset(path, at), code, path, message.into())
    }

    /// The schema and the types disagree.
    pub(crate) fn internal(&self, path: &KeyPath, error: &serde_json::Error) -> Diagnostic {
        self.problem(
            Code::Internal,
            path,
            At::Value,
            format!("the types refuse what the schema takes: {error}"),
        )
    }

    /// There are more problems than are listed.
    pub(crate) fn too_many(&self) -> Diagnostic {
        let message = format!("only the first {DIAGNOSTICS_MAX} problems are listed");
        self.at_offset(self.text.len(), Code::TooMany, &KeyPath::root(), message)
    }

    fn at_offset(&self, offset: usize, code: Code, path: &KeyPath, message: String) -> Diagnostic {
        let (line, column) = self.lines.position(self.text, offset);
        Diagnostic {
            file: self.name.clone(),
            line,
            column,
            severity: code.severity(),
            code,
            path: path.to_string(),
            message,
            suggestion: None,
        }
    }

    /// Byte offset of what a path names, or of the nearest thing around it.
    fn offset(&self, path: &KeyPath, at: At) -> usize {
        let mut offset = 0;
        let mut here: Option<&Spanned<DeValue<'t>>> = None;
        for (n, step) in path.0.iter().enumerate() {
            let table = match here {
                None => Some(&self.root),
                Some(value) => value.get_ref().as_table(),
            };
            let (key_offset, next) = match step {
                Step::Key(key) => match table.and_then(|table| table.get_key_value(key.as_str())) {
                    Some((key, value)) => (Some(key.span().start), value),
                    None => return offset,
                },
                Step::Index(index) => {
                    let array = here.and_then(|value| value.get_ref().as_array());
                    match array.and_then(|array| array.get(*index)) {
                        Some(value) => (None, value),
                        None => return offset,
                    }
                }
            };
            let last = n + 1 == path.0.len();
            offset = match key_offset {
                Some(key_offset) if last && at == At::Key => key_offset,
                _ => next.span().start,
            };
            here = Some(next);
        }
        offset
    }
}

/// Where the first line with a key of too many parts begins: the TOML parser does not say.
fn deep_key_offset(text: &str) -> usize {
    /// Parts of a key that the parser takes.
    const KEY_PARTS_MAX: usize = 80;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        if line.matches('.').count() >= KEY_PARTS_MAX {
            return offset;
        }
        offset += line.len();
    }
    0
}
