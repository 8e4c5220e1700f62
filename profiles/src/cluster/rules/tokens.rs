//! Join tokens of the cluster file and of the secrets file beside it: what k3s refuses is refused here. No message holds a value.

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

/// What the secure form of a token begins with; k3s takes nothing else for one that does.
const SECURE_PREFIX: &str = "K10";

/// Hex digits of the hash of the CA in the secure form (SHA-256).
const CA_HASH_DIGITS: usize = 64;

/// Characters on either side of the dot in a bootstrap token.
const BOOTSTRAP_CHARS: (usize, usize) = (6, 16);

/// One token that is given somewhere.
struct Given<'g> {
    document: &'g Document<'g>,
    path: KeyPath,
    token: &'g Secret,
}

/// A key of the table, how to read it, and what stands before the password in the secure form of this token.
type Kind = (&'static str, fn(&SecretsTable) -> Option<&Secret>, &'static str);

const SERVER: Kind = ("server_token", |table| table.server_token.as_ref(), "server");
const AGENT: Kind = ("agent_token", |table| table.agent_token.as_ref(), "node");

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
        for one in &given {
            if let Some(message) = refused_form(one.token.expose(), kind.2) {
                diagnostics.push(one.document.problem(Code::TokenForm, &one.path, At::Value, message));
            }
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

/// Why k3s would not take the token, or would take it for another one.
fn refused_form(token: &str, user: &str) -> Option<String> {
    if is_bootstrap(token) {
        let (id, secret) = BOOTSTRAP_CHARS;
        return Some(format!(
            "{id} characters, a dot and {secret} characters are a bootstrap token, which k3s does not take here; leave the dot out"
        ));
    }
    (token.starts_with(SECURE_PREFIX) && !is_secure(token, user)).then(|| {
        format!(
            "a token that begins with `{SECURE_PREFIX}` goes on with {CA_HASH_DIGITS} digits (0-9, a-f) and `::{user}:PASSWORD`; give that or the password alone"
        )
    })
}

/// The form of kubeadm's bootstrap tokens, `[a-z0-9]{6}\.[a-z0-9]{16}`.
fn is_bootstrap(token: &str) -> bool {
    let is_part = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let (id, secret) = BOOTSTRAP_CHARS;
    token.split_once('.').is_some_and(|(left, right)| is_part(left, id) && is_part(right, secret))
}

/// `K10<hash of the CA>::<user>:<password>`. k3s compares the hash as text, so it is in lower case.
fn is_secure(token: &str, user: &str) -> bool {
    let is_hash = |hash: &str| {
        hash.len() == CA_HASH_DIGITS && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let rest = token.strip_prefix(SECURE_PREFIX).and_then(|rest| rest.split_once("::"));
    rest.is_some_and(|(hash, rest)| {
        is_hash(hash)
            && rest.split_once(':').is_some_and(|(name, password)| name == user && !password.is_empty())
    })
}

fn given<'g>(view: &'g View<'_>, beside: Option<&'g Beside<'_>>, (key, pick, _): Kind) -> Vec<Given<'g>> {
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

#[cfg(test)]
mod tests {
    use super::refused_form;

    #[test]
    fn refuses_exactly_what_k3s_takes_for_something_else() {
        let hash = "0123456789abcdef".repeat(4);
        let bootstrap = "6 characters, a dot and 16 characters are a bootstrap token, which k3s does not take here; leave the dot out";
        let secure = |user: &str| {
            format!(
                "a token that begins with `K10` goes on with 64 digits (0-9, a-f) and `::{user}:PASSWORD`; give that or the password alone"
            )
        };
        assert_eq!(refused_form("abcdef.0123456789abcdef", "server").as_deref(), Some(bootstrap));
        for user in ["server", "node"] {
            for plain in [
                "0123456789abcdef0123",
                "ABCDEF.0123456789abcdef",
                "abcdef.0123456789abcde",
                "abcdefg.0123456789abcdef",
                "k10-0123456789abcdef",
                &format!("K10{hash}::{user}:pass:word"),
            ] {
                assert_eq!(refused_form(plain, user), None, "{plain}");
            }
            let other = if user == "server" { "node" } else { "server" };
            for wrong in [
                "K10-0123456789abcdef".to_owned(),
                format!("K10{hash}"),
                format!("K10{hash}::password"),
                format!("K10{hash}::{user}:"),
                format!("K10{hash}::{other}:password"),
                format!("K10{}::{user}:password", &hash[1..]),
                format!("K10{hash}0::{user}:password"),
                format!("K10{}::{user}:password", hash.to_uppercase()),
            ] {
                assert_eq!(refused_form(&wrong, user), Some(secure(user)), "{wrong}");
            }
        }
    }
}
