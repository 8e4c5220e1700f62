//! Join tokens of the cluster file and of the secrets file beside it. No message holds a value.

use super::view::View;
use crate::cluster::file::SecretsTable;
use crate::cluster::secrets::Beside;
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::document::{At, Document};
use crate::node::Role;
use crate::path::KeyPath;
use crate::secret::Secret;

/// Characters below which a token can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// One token that is given somewhere.
struct Given<'g> {
    document: &'g Document<'g>,
    path: KeyPath,
    token: &'g Secret,
}

type Pick = fn(&SecretsTable) -> Option<&Secret>;

const SERVER: (&str, Pick) = ("server_token", |table| table.server_token.as_ref());
const AGENT: (&str, Pick) = ("agent_token", |table| table.agent_token.as_ref());

/// Runs the rules about tokens over both files.
pub(super) fn validate(view: &View<'_>, beside: Option<&Beside<'_>>, diagnostics: &mut Vec<Diagnostic>) {
    for kind in [SERVER, AGENT] {
        let given = given(view, beside, kind);
        if let [_, second] = given.as_slice() {
            let message = format!("`{}` is in the cluster file already", kind.0);
            diagnostics.push(second.document.problem(Code::SecretTwice, &second.path, At::Key, message));
        }
        for one in given.iter().filter(|one| one.token.expose().chars().count() < TOKEN_CHARS_MIN) {
            let message = format!("fewer than {TOKEN_CHARS_MIN} characters can be guessed");
            diagnostics.push(one.document.problem(Code::SecretShort, &one.path, At::Value, message));
        }
    }
    for agent in given(view, beside, AGENT) {
        if given(view, beside, SERVER).iter().any(|server| server.token == agent.token) {
            let message = "the same as `server_token`";
            diagnostics.push(agent.document.problem(Code::SecretShared, &agent.path, At::Value, message));
        }
    }
    missing(view, beside, diagnostics);
}

fn given<'g>(
    view: &'g View<'_>,
    beside: Option<&'g Beside<'_>>,
    (key, pick): (&str, Pick),
) -> Vec<Given<'g>> {
    let path = KeyPath::of("secrets").key(key);
    let own = view.secrets.as_ref().map(|table| (view.document, table));
    let other = beside.map(|beside| (&beside.document, &beside.table));
    let both = own.into_iter().chain(other);
    both.filter_map(|(document, table)| Some(Given { document, path: path.clone(), token: pick(table)? }))
        .collect()
}

/// What an installation will miss.
fn missing(view: &View<'_>, beside: Option<&Beside<'_>>, diagnostics: &mut Vec<Diagnostic>) {
    if !view.complete || !view.is_sound("secrets") {
        return;
    }
    let mut warn = |code: Code, key: &str, message: String| {
        let path = KeyPath::of("secrets").key(key);
        diagnostics.push(view.document.problem(code, &path, At::Key, message));
    };
    let (masters, workers) = (view.count(Role::Master), view.count(Role::Worker));
    if masters > 1 && given(view, beside, SERVER).is_empty() {
        warn(
            Code::ServerTokenMissing,
            SERVER.0,
            format!("{masters} masters need a `server_token` to be installed"),
        );
    }
    if workers > 0 && given(view, beside, AGENT).is_empty() {
        warn(
            Code::AgentTokenMissing,
            AGENT.0,
            format!("{workers} workers need an `agent_token` to be installed"),
        );
    }
}
