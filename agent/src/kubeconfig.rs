//! Reads a kubeconfig, as far as the health agent needs it. Pure; files it points to are read by the caller.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Where the API is and with what one shows oneself there.
#[derive(Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Server URL without a trailing slash.
    pub server: String,
    /// CA certificates.
    pub ca: Material,
    /// Client certificate.
    pub certificate: Material,
    /// Client key. Has no `Debug` on purpose.
    pub key: Material,
}

/// PEM text, or the file that holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Material {
    /// The bytes themselves.
    Inline(Vec<u8>),
    /// Absolute path of a file.
    File(String),
}

/// Why a text is no kubeconfig the agent can use. Never shows a value of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KubeconfigError {
    /// No YAML, or not of that form.
    #[error("not a kubeconfig{0}")]
    Form(String),
    /// Something is missing.
    #[error("the kubeconfig has no {0}")]
    Missing(&'static str),
    /// Not base64.
    #[error("{0} is not base64")]
    Base64(&'static str),
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    client_certificate: Option<String>,
    client_certificate_data: Option<String>,
    client_key: Option<String>,
    client_key_data: Option<String>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Deserialize)]
struct ContextEntry {
    cluster: String,
    user: String,
}

/// Reads the current context of a kubeconfig; without one, the only context there is.
///
/// # Errors
/// When it is no kubeconfig or lacks the server, the CA or the client certificate.
pub fn parse_kubeconfig(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    let file: File = serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        KubeconfigError::Form(place.unwrap_or_default())
    })?;
    let context = match &file.current_context {
        Some(name) if !name.is_empty() => file.contexts.iter().find(|c| &c.name == name),
        _ => file.contexts.first().filter(|_| file.contexts.len() == 1),
    };
    let context = &context.ok_or(KubeconfigError::Missing("current context"))?.context;
    let cluster = file.clusters.into_iter().find(|c| c.name == context.cluster);
    let cluster = cluster.ok_or(KubeconfigError::Missing("cluster of the current context"))?.cluster;
    let user = file.users.into_iter().find(|u| u.name == context.user);
    let user = user.ok_or(KubeconfigError::Missing("user of the current context"))?.user;
    let server = cluster.server.ok_or(KubeconfigError::Missing("server"))?;
    Ok(Kubeconfig {
        server: server.trim_end_matches('/').to_owned(),
        ca: material(
            "certificate-authority",
            cluster.certificate_authority_data,
            cluster.certificate_authority,
        )?,
        certificate: material("client-certificate", user.client_certificate_data, user.client_certificate)?,
        key: material("client-key", user.client_key_data, user.client_key)?,
    })
}

/// Embedded data win over a file, as in kubectl.
fn material(
    name: &'static str,
    data: Option<String>,
    file: Option<String>,
) -> Result<Material, KubeconfigError> {
    match (data, file) {
        (Some(data), _) => {
            STANDARD.decode(data.trim()).map(Material::Inline).map_err(|_| KubeconfigError::Base64(name))
        }
        (None, Some(path)) => Ok(Material::File(path)),
        (None, None) => Err(KubeconfigError::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::{KubeconfigError, Material, parse_kubeconfig};

    const EMBEDDED: &str = "
apiVersion: v1
kind: Config
clusters: [{name: default, cluster: {server: 'https://127.0.0.1:6443/', certificate-authority-data: Q0E=}}]
contexts: [{name: default, context: {cluster: default, user: admin}}]
current-context: default
users: [{name: admin, user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}}]
";

    #[test]
    fn reads_embedded_data() {
        let config = parse_kubeconfig(EMBEDDED).unwrap();
        assert_eq!(config.server, "https://127.0.0.1:6443");
        assert!(config.ca == Material::Inline(b"CA".to_vec()));
        assert!(config.certificate == Material::Inline(b"CERT".to_vec()));
        assert!(config.key == Material::Inline(b"KEY".to_vec()));
    }

    #[test]
    fn reads_file_paths_without_a_current_context() {
        let text = EMBEDDED
            .replace("certificate-authority-data: Q0E=", "certificate-authority: /k/ca.crt")
            .replace("client-certificate-data: Q0VSVA==", "client-certificate: /k/c.crt")
            .replace("client-key-data: S0VZ", "client-key: /k/c.key")
            .replace("current-context: default\n", "");
        let config = parse_kubeconfig(&text).unwrap();
        assert!(config.ca == Material::File("/k/ca.crt".to_owned()));
        assert!(config.key == Material::File("/k/c.key".to_owned()));
    }

    #[test]
    fn says_what_is_missing_and_shows_no_value() {
        let table = [
            (
                EMBEDDED.replace("current-context: default", "current-context: x"),
                "the kubeconfig has no current context",
            ),
            (
                EMBEDDED.replace("user: admin}", "user: y}"),
                "the kubeconfig has no user of the current context",
            ),
            (EMBEDDED.replace(", client-key-data: S0VZ", ""), "the kubeconfig has no client-key"),
            (EMBEDDED.replace("S0VZ", "S0V-"), "client-key is not base64"),
            (String::new(), "the kubeconfig has no current context"),
            ("clusters: [hunter2".to_owned(), "not a kubeconfig (line 1, column 12)"),
        ];
        for (text, expected) in table {
            let error = parse_kubeconfig(&text).err().unwrap();
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(KubeconfigError::Missing("server").to_string(), "the kubeconfig has no server");
    }
}
