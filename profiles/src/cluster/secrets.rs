//! The secrets file beside the cluster file, and the merge of both.

use super::file::SecretsTable;
use crate::check;
use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::path::KeyPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The secrets file: the `[secrets]` table of a cluster file in a file of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretsFileV1 {
    /// Version of this format, always 1.
    #[schemars(range(min = 1, max = 1))]
    version: u32,
    /// The tokens.
    #[serde(default)]
    secrets: SecretsTable,
}

/// A secrets file that was read.
pub(super) struct Beside<'b> {
    /// For positions.
    pub document: Document<'b>,
    /// What is in it.
    pub table: SecretsTable,
}

/// Parses a secrets file; `None` with the reasons among the diagnostics when it cannot be used.
pub(super) fn parse<'b>(
    name: &str,
    bytes: &'b [u8],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Beside<'b>> {
    let text = crate::text::parse_text(name, bytes, diagnostics)?;
    let document = Document::parse(name, text, diagnostics)?;
    if !check::version_is_1(&document, diagnostics) {
        return None;
    }
    let checked = check::structure(&document, crate::reference::secrets_schema(), diagnostics);
    if !checked.is_clean() {
        return None;
    }
    match serde_json::from_value::<SecretsFileV1>(checked.value) {
        Ok(file) => Some(Beside { document, table: file.secrets }),
        Err(error) => {
            diagnostics.push(document.internal(&KeyPath::root(), &error));
            None
        }
    }
}

/// Both tables as one. The rules have made sure that nothing is given twice.
pub(super) fn merged(one: SecretsTable, other: SecretsTable) -> SecretsTable {
    SecretsTable {
        server_token: one.server_token.or(other.server_token),
        agent_token: one.agent_token.or(other.agent_token),
    }
}
