//! An HTTPS client: one connection per request, trusting one CA bundle.

use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use profiles::secret::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Limit of one request (reference, section 1.8: client HTTP 10 s).
const TIMEOUT: Duration = Duration::from_secs(10);

/// The cryptography used everywhere.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// How a client says who it is, besides a client certificate.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Not at all.
    None,
    /// HTTP basic.
    Basic(String, Secret),
    /// A bootstrap token.
    Bearer(Secret),
}

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    endpoint: String,
    auth: Auth,
}

/// An answer.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("reading the answer as JSON")
    }
}

impl Client {
    /// A client that trusts one CA bundle.
    ///
    /// # Errors
    /// The bundle or the certificate cannot be used.
    pub fn new(endpoint: &str, ca: &str, auth: Auth, identity: Option<(&str, &str)>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for der in crate::pki::ders(ca.as_bytes()) {
            roots.add(der.into()).context("reading the CA bundle")?;
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain: Vec<CertificateDer<'static>> =
                    crate::pki::ders(cert.as_bytes()).into_iter().map(Into::into).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|e| anyhow!("reading the client key: {e}"))?;
                builder.with_client_auth_cert(chain, key).context("using the client certificate")?
            }
        };
        Ok(Self { tls: Arc::new(tls), endpoint: endpoint.to_owned(), auth })
    }

    /// A client for one kubeconfig.
    ///
    /// # Errors
    /// See [`Client::new`].
    pub fn from_kubeconfig(config: &Kubeconfig) -> Result<Self> {
        Self::new(&config.endpoint, &config.ca, Auth::None, Some((&config.cert, &config.key)))
    }

    /// The same with another endpoint.
    pub fn at(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..self.clone() }
    }

    /// The same server, asked with the agent password.
    pub fn with_agent_password(&self, password: &Secret) -> Self {
        Self { auth: Auth::Basic("node".into(), password.clone()), ..self.clone() }
    }

    /// GET.
    ///
    /// # Errors
    /// No connection, no valid certificate, or no answer in time.
    pub async fn get(&self, path: &str) -> Result<Reply> {
        self.send("GET", path, &[], Vec::new()).await
    }

    /// A request with a JSON body.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn json(&self, method: &str, path: &str, body: &serde_json::Value) -> Result<Reply> {
        let kind =
            if method == "PATCH" { "application/strategic-merge-patch+json" } else { "application/json" };
        self.send(method, path, &[("content-type", kind)], serde_json::to_vec(body)?).await
    }

    /// Any request.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, path, headers, body))
            .await
            .map_err(|_| anyhow!("no answer within {} s", TIMEOUT.as_secs()))
            .and_then(|result| result)
            .with_context(|| format!("{method} https://{}{path}", self.endpoint))
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply> {
        let host = self
            .endpoint
            .rsplit_once(':')
            .map_or(self.endpoint.as_str(), |(h, _)| h)
            .trim_matches(['[', ']']);
        let stream = TcpStream::connect(&self.endpoint).await?;
        let name = ServerName::try_from(host.to_owned()).context("server name")?;
        let stream = tokio_rustls::TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let task = tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", &self.endpoint);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request = match &self.auth {
            Auth::None => request,
            Auth::Basic(user, password) => request.header(
                "authorization",
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose()))),
            ),
            Auth::Bearer(token) => request.header("authorization", format!("Bearer {}", token.expose())),
        };
        let response = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        task.abort();
        Ok(Reply { status, body })
    }
}

/// Reads `/cacerts` without trusting anything: the caller compares the hash.
///
/// # Errors
/// No answer, or not 200.
pub async fn fetch_cacerts(endpoint: &str) -> Result<String> {
    let tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnything))
        .with_no_client_auth();
    let client = Client { tls: Arc::new(tls), endpoint: endpoint.to_owned(), auth: Auth::None };
    let reply = client.get("/cacerts").await?;
    if reply.status != 200 {
        bail!("GET https://{endpoint}/cacerts: status {}", reply.status);
    }
    Ok(reply.text())
}

/// Takes any certificate: only for `/cacerts`, whose answer is then checked.
#[derive(Debug)]
struct TrustAnything;

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What a kubeconfig says, contents read.
pub struct Kubeconfig {
    /// `host:port`.
    pub endpoint: String,
    /// CA bundle, PEM.
    pub ca: String,
    cert: String,
    key: String,
}

impl Kubeconfig {
    /// Reads a kubeconfig with embedded data or with paths.
    ///
    /// # Errors
    /// A file is missing or has another shape.
    pub fn read(path: &Path) -> Result<Self> {
        let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(&files::read(path)?)
            .with_context(|| format!("parsing {}", path.display()))?;
        let cluster = &value["clusters"][0]["cluster"];
        let user = &value["users"][0]["user"];
        let part = |map: &serde_yaml_ng::Value, name: &str| -> Result<String> {
            if let Some(data) = map[format!("{name}-data").as_str()].as_str() {
                return Ok(String::from_utf8(STANDARD.decode(data)?)?);
            }
            let file = map[name].as_str().with_context(|| format!("{}: no {name}", path.display()))?;
            files::read(Path::new(file))
        };
        let server = cluster["server"].as_str().with_context(|| format!("{}: no server", path.display()))?;
        Ok(Self {
            endpoint: server.strip_prefix("https://").context("server is not https")?.to_owned(),
            ca: part(cluster, "certificate-authority")?,
            cert: part(user, "client-certificate")?,
            key: part(user, "client-key")?,
        })
    }
}

/// The text of a kubeconfig; `data` says whether the three values are embedded or paths.
pub fn kubeconfig_text(server: &str, ca: &str, cert: &str, key: &str, data: bool) -> String {
    let suffix = if data { "-data" } else { "" };
    let value = |v: &str| if data { STANDARD.encode(v) } else { v.to_owned() };
    format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority{suffix}: {}\n    server: {server}\n  name: default\n\
         contexts:\n- context:\n    cluster: default\n    user: default\n  name: default\ncurrent-context: default\nkind: Config\n\
         preferences: {{}}\nusers:\n- name: default\n  user:\n    client-certificate{suffix}: {}\n    client-key{suffix}: {}\n",
        value(ca),
        value(cert),
        value(key)
    )
}
