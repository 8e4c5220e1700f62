//! Join tokens: their forms and what each may do (reference, section 1.6).

use crate::client::{Client, Kubeconfig};
use crate::files::Paths;
use anyhow::{Context, Result, bail};
use profiles::secret::Secret;
use serde_json::json;

/// A parsed token.
#[derive(Clone, Debug)]
pub struct Token {
    ca_hash: Option<String>,
    user: Option<String>,
    password: Secret,
    bootstrap: bool,
}

impl Token {
    /// Parses the short and the secure forms.
    ///
    /// # Errors
    /// Says what is wrong, without the secret part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("K10") else {
            if text.is_empty() || text.contains("::") || text.contains(char::is_whitespace) {
                return Err("is neither a password nor of the K10 form".into());
            }
            return Ok(Self {
                ca_hash: None,
                user: None,
                password: Secret::new(text),
                bootstrap: is_bootstrap(text),
            });
        };
        let (hash, credential) = rest.split_once("::").ok_or("is of the K10 form but has no ::")?;
        if hash.len() != 64 {
            return Err("invalid token CA hash length".into());
        }
        if !hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err("CA hash is not lower-case hex".into());
        }
        let ca_hash = Some(hash.to_owned());
        if is_bootstrap(credential) {
            return Ok(Self { ca_hash, user: None, password: Secret::new(credential), bootstrap: true });
        }
        match credential.split_once(':') {
            Some((user @ ("server" | "node"), password)) if !password.is_empty() => Ok(Self {
                ca_hash,
                user: Some(user.into()),
                password: Secret::new(password),
                bootstrap: false,
            }),
            _ => Err("after :: must stand server:PASSWORD, node:PASSWORD or a bootstrap token".into()),
        }
    }

    /// The CA hash of the secure form.
    pub fn ca_hash(&self) -> Option<&str> {
        self.ca_hash.as_deref()
    }

    /// The password, or the whole bootstrap token.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// True for a bootstrap token, which is presented as a bearer.
    pub fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    /// Why a server cannot take this token.
    pub fn refuse_for_server(&self) -> Option<&'static str> {
        if self.bootstrap {
            Some("is a bootstrap token, which only agents may use")
        } else if self.user.as_deref() == Some("node") {
            Some("is an agent token (node:), a server needs the server token")
        } else {
            None
        }
    }
}

fn is_bootstrap(text: &str) -> bool {
    let part =
        |p: &str, n: usize| p.len() == n && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.split_once('.').is_some_and(|(id, secret)| part(id, 6) && part(secret, 16))
}

/// Random lower-case hex.
pub fn random_hex(bytes: usize) -> String {
    let raw: Vec<u8> = (0..bytes).map(|_| rand::random::<u8>()).collect();
    hex::encode(raw)
}

/// `k3s token create [--ttl DURATION] [--description TEXT]`: prints a full bootstrap token.
///
/// # Errors
/// No running API server, or a flag that is not emulated.
pub fn command(args: &[String]) -> Result<()> {
    let [sub, flags @ ..] = args else {
        bail!("usage: k3s token create [--ttl DURATION] [--description TEXT]")
    };
    if sub != "create" {
        bail!("k3s token {sub} is not emulated by the k3s double");
    }
    let (mut ttl_secs, mut description) = (24 * 3600, String::new());
    for pair in flags.chunks(2) {
        match pair {
            [flag, value] if flag == "--ttl" => ttl_secs = parse_duration_secs(value)?,
            [flag, value] if flag == "--description" => description.clone_from(value),
            [flag, ..] => bail!("flag {flag} of k3s token create is not emulated by the k3s double"),
            [] => {}
        }
    }
    let paths = Paths::from_env();
    let (id, secret) = (random_hex(3), random_hex(8));
    let kubeconfig = Kubeconfig::read(&paths.kubeconfig())?;
    let client = Client::from_kubeconfig(&kubeconfig)?;
    let expires = jiff::Timestamp::now().as_second() + ttl_secs;
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
        "stringData": {
            "token-id": id, "token-secret": secret, "description": description,
            "usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:k3s:default-node-token",
            "expiration": if ttl_secs == 0 { String::new() } else { jiff::Timestamp::from_second(expires)?.to_string() },
        },
    });
    let runtime = tokio::runtime::Runtime::new()?;
    let reply = runtime.block_on(client.json("POST", "/api/v1/namespaces/kube-system/secrets", &object))?;
    if reply.status != 201 {
        bail!("creating the bootstrap token: the API server answered {}: {}", reply.status, reply.text());
    }
    println!("K10{}::{id}.{secret}", crate::pki::ca_hash(kubeconfig.ca.as_bytes()));
    Ok(())
}

fn parse_duration_secs(text: &str) -> Result<i64> {
    let unit = text.chars().last().context("empty duration")?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        '0' if text == "0" => return Ok(0),
        _ => bail!("duration {text:?} must be a number with s, m or h"),
    };
    Ok(text.trim_end_matches(unit).parse::<i64>().with_context(|| format!("duration {text:?}"))? * factor)
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn parses_every_form() {
        let hash = "a".repeat(64);
        assert!(Token::parse("s3cret").unwrap().ca_hash().is_none());
        assert!(Token::parse("abcdef.0123456789abcdef").unwrap().is_bootstrap());
        let secure = Token::parse(&format!("K10{hash}::server:pw:with:colons")).unwrap();
        assert_eq!(secure.ca_hash(), Some(hash.as_str()));
        assert_eq!(secure.password().expose(), "pw:with:colons");
        assert!(Token::parse(&format!("K10{hash}::abcdef.0123456789abcdef")).unwrap().is_bootstrap());
        assert_eq!(
            Token::parse(&format!("K10{hash}::node:x")).unwrap().refuse_for_server(),
            Some("is an agent token (node:), a server needs the server token")
        );
    }

    #[test]
    fn refuses_malformed_tokens() {
        let refused = |text: &str| Token::parse(text).unwrap_err();
        assert_eq!(refused(""), "is neither a password nor of the K10 form");
        assert_eq!(refused("K10abc"), "is of the K10 form but has no ::");
        assert_eq!(refused("K10abc::server:x"), "invalid token CA hash length");
        assert_eq!(refused(&format!("K10{}::server:x", "A".repeat(64))), "CA hash is not lower-case hex");
        assert_eq!(
            refused(&format!("K10{}::admin:x", "a".repeat(64))),
            "after :: must stand server:PASSWORD, node:PASSWORD or a bootstrap token"
        );
    }
}
