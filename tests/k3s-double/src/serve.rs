//! Listeners: TLS with an optional client certificate, and plain HTTP on loopback.

use crate::pki::Leaf;
use anyhow::{Context, Result, anyhow};
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Largest request body taken.
const BODY_LIMIT: usize = 4 << 20;

/// A request whose body is read.
pub type Call = Request<Bytes>;
/// An answer.
pub type Answer = Response<Full<Bytes>>;
/// What answers.
pub type Handler = Arc<dyn Fn(Call, Caller) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The other end.
    pub addr: SocketAddr,
    /// Common name and groups of a client certificate that the client CA signed.
    pub identity: Option<Identity>,
}

/// A proven identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// A TLS listener's settings: a client certificate is requested, not required, and judged after the handshake.
pub struct Tls {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Tls {
    /// Serves `leaf` and knows clients by `client_ca`.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub fn new(leaf: &Leaf, client_ca: &str, required: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for der in crate::pki::ders(client_ca.as_bytes()) {
            roots.add(der.into()).context("reading the client CA")?;
        }
        let provider = crate::client::provider();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
        let chain: Vec<CertificateDer<'static>> =
            crate::pki::ders(leaf.cert.as_bytes()).into_iter().map(Into::into).collect();
        let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes())
            .map_err(|e| anyhow!("reading the serving key: {e}"))?;
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = if required {
            builder.with_client_cert_verifier(verifier.clone())
        } else {
            builder.with_client_cert_verifier(Arc::new(JudgeLater(verifier.clone())))
        };
        let mut config = builder.with_single_cert(chain, key).context("using the serving certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), verifier })
    }

    fn identity(&self, chain: Option<&[CertificateDer<'_>]>) -> Option<Identity> {
        let (first, rest) = chain?.split_first()?;
        self.verifier.verify_client_cert(first, rest, UnixTime::now()).ok()?;
        let (user, groups) = crate::pki::subject(first)?;
        Some(Identity { user, groups })
    }
}

/// Takes every client certificate in the handshake, as k3s does, so that a wrong one is answered with 401.
#[derive(Debug)]
struct JudgeLater(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for JudgeLater {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Opens a TCP listener.
///
/// # Errors
/// The address is in use or not ours.
pub async fn bind(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.with_context(|| format!("listening on {addr}"))
}

/// Serves TLS until the process ends.
pub fn spawn_tls(listener: TcpListener, tls: Tls, handler: Handler) {
    let tls = Arc::new(tls);
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(tls.config.clone());
        loop {
            let Ok((stream, addr)) = listener.accept().await else { continue };
            let (acceptor, tls, handler) = (acceptor.clone(), tls.clone(), handler.clone());
            tokio::spawn(async move {
                // A broken handshake is the caller's matter.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let identity = tls.identity(stream.get_ref().1.peer_certificates());
                connection(TokioIo::new(stream), Caller { addr, identity }, handler).await;
            });
        }
    });
}

/// Serves plain HTTP until the process ends.
pub fn spawn_plain(listener: TcpListener, handler: Handler) {
    tokio::spawn(async move {
        loop {
            let Ok((stream, addr)) = listener.accept().await else { continue };
            tokio::spawn(connection(TokioIo::new(stream), Caller { addr, identity: None }, handler.clone()));
        }
    });
}

async fn connection<S>(stream: TokioIo<S>, caller: Caller, handler: Handler)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (caller, handler) = (caller.clone(), handler.clone());
        async move {
            let (parts, body) = request.into_parts();
            let answer = match Limited::new(body, BODY_LIMIT).collect().await {
                Ok(body) => handler(Request::from_parts(parts, body.to_bytes()), caller).await,
                Err(_) => text(413, "request body too large\n"),
            };
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    // A broken connection is the caller's matter.
    drop(
        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await,
    );
}

/// An answer of any kind.
pub fn answer(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}

/// A text answer.
pub fn text(status: u16, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body)
}

/// A JSON answer.
pub fn json(status: u16, body: &serde_json::Value) -> Answer {
    answer(status, "application/json", body.to_string())
}
