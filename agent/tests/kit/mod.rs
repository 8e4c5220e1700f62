//! A fake node: a folder that stands for `/`, and services on loopback that answer like k3s.
#![allow(dead_code)]

#[path = "../../../installer/sysio/tests/fakes/systemd.rs"]
pub mod systemd;

use agent::context::Endpoints;
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A CA with a server and a client certificate.
pub struct Pki {
    pub ca_pem: String,
    pub client_pem: String,
    pub client_key_pem: String,
    server: (CertificateDer<'static>, Vec<u8>),
    ca: CertificateDer<'static>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Two CAs of one name would make a stranger's certificate look forged, not foreign.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ca-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let sign = |names: Vec<String>| {
            let key = KeyPair::generate().unwrap();
            (CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap(), key)
        };
        let (server, server_key) = sign(vec!["127.0.0.1".to_owned()]);
        let (client, client_key) = sign(vec!["client".to_owned()]);
        Self {
            ca_pem: ca.pem(),
            client_pem: client.pem(),
            client_key_pem: client_key.serialize_pem(),
            server: (server.der().clone(), server_key.serialize_der()),
            ca: ca.der().clone(),
        }
    }

    /// A kubeconfig with embedded data, as k3s writes it.
    pub fn kubeconfig(&self, port: u16) -> String {
        let data = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let user = format!(
            "client-certificate-data: {}, client-key-data: {}",
            data(&self.client_pem),
            data(&self.client_key_pem)
        );
        kubeconfig(port, &format!("certificate-authority-data: {}", data(&self.ca_pem)), &user)
    }
}

/// A kubeconfig with that CA and that user.
pub fn kubeconfig(port: u16, ca: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\n\
         clusters: [{{name: default, cluster: {{server: 'https://127.0.0.1:{port}', {ca}}}}}]\n\
         contexts: [{{name: default, context: {{cluster: default, user: default}}}}]\n\
         current-context: default\n\
         users: [{{name: default, user: {{{user}}}}}]\n"
    )
}

/// What the fake API answers; changed by tests while it runs.
pub type ApiState = Arc<Mutex<(u16, String)>>;

/// An API server with k3s' answers: `/ping` for everybody, all else with a client certificate only. Gives its port.
pub async fn serve_api(pki: &Pki, readyz: ApiState) -> u16 {
    agent::http::install_tls_provider();
    let mut roots = RootCertStore::empty();
    roots.add(pki.ca.clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build().unwrap();
    let key = PrivateKeyDer::try_from(pki.server.1.clone()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![pki.server.0.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, readyz) = (acceptor.clone(), readyz.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let known = stream.get_ref().1.peer_certificates().is_some();
                let router = Router::new().fallback(any(move |request: Request| {
                    let readyz = readyz.lock().unwrap().clone();
                    async move { answer(request.uri().path(), known, readyz) }
                }));
                let service = TowerToHyperService::new(router);
                let _closed = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

fn answer(path: &str, known: bool, readyz: (u16, String)) -> Response {
    if path == "/ping" {
        return "pong".into_response();
    }
    if !known {
        return (StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
    }
    match path {
        "/readyz" => (StatusCode::from_u16(readyz.0).unwrap(), readyz.1).into_response(),
        "/api/v1/nodes/master-1" => {
            r#"{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"conditions":[
               {"type":"EtcdIsVoter","status":"True","reason":"MemberNotLearner"},
               {"type":"Ready","status":"True"}]}}"#
                .into_response()
        }
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/plndr-cp-lock" => {
            let now = sysio::clock::realtime().unwrap();
            format!(
                r#"{{"spec":{{"holderIdentity":"master-1","leaseDurationSeconds":15,"renewTime":"{now}"}}}}"#
            )
            .into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Plain HTTP that answers `/healthz` like a kubelet and `/health` like etcd. Gives its URL.
pub async fn serve_plain() -> String {
    let router = Router::new()
        .route("/healthz", any(|| async { "ok" }))
        .route("/health", any(|| async { r#"{"health":"true","reason":""}"# }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(router.clone());
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

/// Endpoints of the fakes.
pub fn endpoints(api_port: u16, plain: &str) -> Endpoints {
    Endpoints {
        supervisor: format!("https://127.0.0.1:{api_port}"),
        kubelet: plain.to_owned(),
        etcd: plain.to_owned(),
        vip_port: api_port,
        clock_error: || Ok(Duration::from_millis(12)),
    }
}

/// Units of a healthy master.
pub fn healthy_units() -> systemd::Units {
    let unit = |name| systemd::unit(name, "loaded", "active", "running", 1_000_000);
    Arc::new(Mutex::new(vec![
        unit("k3s.service"),
        unit("chrony.service"),
        unit("systemd-networkd.service"),
        unit("metalstrap-firewall.service"),
        unit("ssh.service"),
    ]))
}

/// Writes a file below the root, with its folders.
pub fn put(root: &Path, path: &str, text: &str) -> PathBuf {
    let full = root.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(&full, text).unwrap();
    full
}

/// A folder that stands for `/` of a healthy master, without kubeconfig and CA.
pub fn fake_root(root: &Path) {
    put(root, "etc/metalstrap/node.json", include_str!("../fixtures/node.json"));
    let image = r#"{"version":"0.1.0","build_id":"b1","kernel":"6.1","k3s":"v1.28.9+k3s1","double":true}"#;
    put(root, "usr/share/metalstrap/image.json", image);
    let cmdline = "ro metalstrap.slotname=a metalstrap.state=PARTUUID=ABCD-5\n";
    put(root, "proc/cmdline", cmdline);
    put(root, "proc/meminfo", "MemTotal: 2048000 kB\nMemAvailable: 1024000 kB\n");
    put(root, "proc/self/mountinfo", "30 22 8:5 /var /var rw,noatime shared:9 - ext4 /dev/vda5 rw\n");
    put(root, "proc/sys/kernel/osrelease", "6.1.0-40-amd64\n");
    put(root, "proc/sys/kernel/random/boot_id", "11111111-2222-3333-4444-555555555555\n");
    put(root, "sys/fs/ext4/vda5/errors_count", "0\n");
    put(root, "sys/class/net/cluster0/carrier", "1\n");
    put(root, "sys/class/tty/console/active", "ttyS0\n");
    put(root, "dev/ttyS0", "");
    put(root, "dev/vda5", "");
    fs::write(root.join("dev/vda"), vec![0; 2 * 1024 * 1024]).unwrap();
    for folder in ["dev/disk/by-partuuid", "sys/class/block", "sys/devices/vda/vda5"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    symlink("../../vda5", root.join("dev/disk/by-partuuid/abcd-5")).unwrap();
    symlink("../../devices/vda/vda5", root.join("sys/class/block/vda5")).unwrap();
    let record =
        r#"{"schema":"metalstrap.install/v1","cluster":"lab","hostname":"master-1","image_version":"0.1.0"}"#;
    put(root, "var/lib/metalstrap/install.json", record);
    program(root, "usr/local/bin/k3s", "echo 'k3s version v1.28.9+k3s1 (289b8ed3)'");
    let listing = r#"{"nftables":[{"chain":{"hook":"input","policy":"drop"}}]}"#;
    program(root, "usr/sbin/nft", &format!("echo '{listing}'"));
    put(root, "etc/metalstrap/firewall.nft", "rules\n");
    let table = sysio::nft::fingerprint(&sysio::nft::canonical(listing).unwrap());
    let rules = sysio::nft::sha256(b"rules\n");
    let seal = format!(r#"{{"rules_sha256":"{rules}","table_sha256":"{table}"}}"#);
    put(root, "run/metalstrap/firewall.json", &seal);
}

/// An executable shell script.
pub fn program(root: &Path, path: &str, body: &str) {
    let full = put(root, path, &format!("#!/bin/sh\n{body}\n"));
    fs::set_permissions(full, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Tries again until it is so, for at most three minutes; then says what was in the way at last.
pub async fn eventually<T, F: AsyncFnMut() -> Result<T, String>>(what: &str, mut look: F) -> T {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(obstacle) if started.elapsed() > Duration::from_secs(180) => {
                panic!("never came: {what}: {obstacle}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
