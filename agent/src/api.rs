//! The Kubernetes API, asked with the node's own credentials. GET only.

use crate::context::Context;
use crate::http::{self, Answer, root_cause};
use crate::kubeconfig::{Kubeconfig, Material, parse_kubeconfig};
use reqwest::{Client, Identity};
use std::sync::{Mutex, PoisonError};

/// Why no request could be sent. That the API did not answer is an [`Answer`], not this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCredentials(pub String);

/// Everything that makes a connection what it is.
#[derive(Clone, PartialEq, Eq)]
struct Credentials {
    server: String,
    ca: Vec<u8>,
    /// Certificate and key, PEM.
    identity: Vec<u8>,
}

/// A client that is made again whenever the files it was made from change: k3s renews its certificates.
#[derive(Default)]
pub struct ApiClient {
    current: Mutex<Option<(Credentials, Client)>>,
}

impl ApiClient {
    /// GET of a path of the API, such as `/readyz`.
    ///
    /// # Errors
    /// When the kubeconfig or what it points to cannot be used.
    pub async fn get(&self, context: &Context, path: &str) -> Result<Answer, NoCredentials> {
        let credentials = read_credentials(context).await.map_err(NoCredentials)?;
        let url = format!("{}{path}", credentials.server);
        let client = self.client(credentials).map_err(NoCredentials)?;
        Ok(http::get(&client, &url).await)
    }

    fn client(&self, credentials: Credentials) -> Result<Client, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = &*current
            && *known == credentials
        {
            return Ok(client.clone());
        }
        let identity = Identity::from_pem(&credentials.identity)
            .map_err(|_| "the client certificate or its key is not usable".to_owned())?;
        let client = http::trusting(&credentials.ca)?
            .identity(identity)
            .build()
            .map_err(|error| root_cause(&error))?;
        *current = Some((credentials, client.clone()));
        Ok(client)
    }
}

async fn read_credentials(context: &Context) -> Result<Credentials, String> {
    let path = context.kubeconfig();
    let text = context.read(path).await?;
    let config: Kubeconfig = parse_kubeconfig(&text).map_err(|error| format!("{path}: {error}"))?;
    let mut identity = read_material(context, config.certificate).await?;
    identity.push(b'\n');
    identity.extend(read_material(context, config.key).await?);
    Ok(Credentials { server: config.server, ca: read_material(context, config.ca).await?, identity })
}

async fn read_material(context: &Context, material: Material) -> Result<Vec<u8>, String> {
    match material {
        Material::Inline(bytes) => Ok(bytes),
        Material::File(path) => context.read(&path).await.map(String::into_bytes),
    }
}
