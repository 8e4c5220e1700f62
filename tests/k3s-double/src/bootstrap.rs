//! What a server lays down before it serves: authorities, tokens, certificates, the admin kubeconfig.

use crate::client::{self, kubeconfig_text};
use crate::config::Settings;
use crate::files;
use crate::pki::{Ca, Leaf, Use, ca_hash};
use anyhow::{Result, bail};
use profiles::secret::Secret;

/// The certificate authorities, by their name under `server/tls/`.
pub const CA_NAMES: [&str; 5] =
    ["server-ca", "client-ca", "request-header-ca", "etcd/peer-ca", "etcd/server-ca"];

/// The authorities of the cluster.
pub struct Authorities {
    /// Signs what serves.
    pub server: Ca,
    /// Signs who calls.
    pub client: Ca,
    /// Signs the etcd peers.
    pub etcd_peer: Ca,
}

/// The two passwords of the supervisor.
pub struct Passwords {
    /// Of user `server`.
    pub server: Secret,
    /// Of user `node`.
    pub agent: Secret,
}

/// Takes the placed authorities or makes them.
///
/// # Errors
/// A half of a pair is missing or unusable.
pub fn authorities(settings: &Settings) -> Result<Authorities> {
    let tls = settings.paths.tls("");
    for name in ["request-header-ca", "etcd/server-ca"] {
        Ca::ensure(&tls, name)?;
    }
    Ok(Authorities {
        server: Ca::ensure(&tls, "server-ca")?,
        client: Ca::ensure(&tls, "client-ca")?,
        etcd_peer: Ca::ensure(&tls, "etcd/peer-ca")?,
    })
}

/// The passwords, and their files in the secure form.
///
/// # Errors
/// The configured token is not the one this cluster was made with.
pub fn passwords(settings: &Settings, authorities: &Authorities, agent: Option<Secret>) -> Result<Passwords> {
    let paths = &settings.paths;
    let hash = ca_hash(authorities.server.bundle.as_bytes());
    let token_file = paths.server("token");
    let kept = match std::fs::read_to_string(&token_file) {
        Ok(text) => Some(
            crate::token::Token::parse(text.trim())
                .map_err(|e| anyhow::anyhow!("{}: {e}", token_file.display()))?,
        ),
        Err(_) => None,
    };
    let configured = settings.token.as_ref().map(crate::token::Token::password);
    let server = match (configured, &kept) {
        (Some(new), Some(old)) if new != old.password() => {
            bail!(
                "the configured token is not the one in {}: the bootstrap data cannot be decrypted with it",
                token_file.display()
            )
        }
        (Some(password), _) => password.clone(),
        (None, Some(old)) => old.password().clone(),
        (None, None) => Secret::new(crate::token::random_hex(16)),
    };
    let agent = agent.or_else(|| settings.agent_token.clone()).unwrap_or_else(|| server.clone());
    files::write(&token_file, 0o600, format!("K10{hash}::server:{}\n", server.expose()).as_bytes())?;
    files::write(
        &paths.server("agent-token"),
        0o600,
        format!("K10{hash}::node:{}\n", agent.expose()).as_bytes(),
    )?;
    let link = paths.server("node-token");
    if std::fs::symlink_metadata(&link).is_err() {
        std::os::unix::fs::symlink("token", &link)?;
    }
    Ok(Passwords { server, agent })
}

/// The serving certificate of the API server: only names and addresses it was told (`tls-san-security`).
///
/// # Errors
/// A name that cannot stand in a certificate, or I/O.
pub fn serving(settings: &Settings, authorities: &Authorities) -> Result<Leaf> {
    let mut sans: Vec<String> =
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", "::1"]
            .into_iter()
            .map(str::to_owned)
            .collect();
    let domain = settings.critical.get("cluster-domain").map_or("cluster.local", String::as_str);
    sans.push(format!("kubernetes.default.svc.{domain}"));
    sans.push(settings.node_name.clone());
    sans.extend(settings.node_ips.iter().chain([&settings.advertise]).map(ToString::to_string));
    sans.extend(settings.service_ip().map(|ip| ip.to_string()));
    sans.extend(settings.tls_san.iter().cloned());
    sans.sort();
    sans.dedup();
    let leaf = authorities.server.issue("kube-apiserver", &[], &sans, Use::Server)?;
    files::write(&settings.paths.tls("serving-kube-apiserver.crt"), 0o644, leaf.cert.as_bytes())?;
    files::write(&settings.paths.tls("serving-kube-apiserver.key"), 0o600, leaf.key.as_bytes())?;
    Ok(leaf)
}

/// The admin kubeconfig with a fresh client certificate, embedded, for `https://127.0.0.1:6443`.
///
/// # Errors
/// I/O: among others when a folder stands where the file belongs (reference, section 3.4).
pub fn admin_kubeconfig(settings: &Settings, authorities: &Authorities) -> Result<()> {
    let admin = authorities.client.issue("system:admin", &["system:masters"], &[], Use::Client)?;
    files::write(&settings.paths.tls("client-admin.crt"), 0o644, admin.cert.as_bytes())?;
    files::write(&settings.paths.tls("client-admin.key"), 0o600, admin.key.as_bytes())?;
    let text =
        kubeconfig_text("https://127.0.0.1:6443", &authorities.server.bundle, &admin.cert, &admin.key, true);
    let (path, mode) = &settings.kubeconfig;
    files::write(&settings.paths.at(path), *mode, text.as_bytes())
}

/// A TLS context of the etcd ports: a certificate of the peer CA is required.
///
/// # Errors
/// A name that cannot stand in a certificate.
pub fn etcd_tls(settings: &Settings, authorities: &Authorities) -> Result<crate::serve::Tls> {
    let mut sans = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    sans.extend(settings.node_ips.iter().map(ToString::to_string));
    let leaf = authorities.etcd_peer.issue("etcd-peer", &[], &sans, Use::Server)?;
    crate::serve::Tls::new(&leaf, &authorities.etcd_peer.bundle, true)
}

/// Fetches the CA bundle of a server and checks it against the token.
///
/// # Errors
/// No answer, or a hash that does not match.
pub async fn trusted_bundle(endpoint: &str, token: &crate::token::Token) -> Result<String> {
    let bundle = client::fetch_cacerts(endpoint).await?;
    let found = ca_hash(bundle.as_bytes());
    match token.ca_hash() {
        Some(wanted) if wanted != found => {
            bail!("token CA hash does not match the Cluster CA certificate hash: {wanted} != {found}")
        }
        _ => Ok(bundle),
    }
}
