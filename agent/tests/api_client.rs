//! The API client against a TLS server with client certificates.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod kit;

use agent::catalogue::Moment;
use agent::checks::etcd_quorum;
use agent::checks::k3s_supervisor::ping;
use agent::context::Context;
use agent::http::Answer;
use agent::verdict::Verdict;
use kit::Pki;
use profiles::node::{NodeConfig, RoleConfig};
use report::State;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use sysio::units::Bus;

fn context(root: &Path, worker: bool) -> Context {
    let mut node: NodeConfig = serde_json::from_str(include_str!("fixtures/node.json")).unwrap();
    if worker {
        node.role = RoleConfig::Worker {};
    }
    Context::new(root.to_owned(), node, agent::context::Endpoints::default(), Bus::System)
}

fn ready() -> kit::ApiState {
    Arc::new(Mutex::new((200, "ok".to_owned())))
}

fn http(status: u16, body: &str) -> Answer {
    Answer::Http { status, body: body.to_owned() }
}

#[tokio::test]
async fn shows_the_certificate_embedded_in_the_kubeconfig() {
    let (root, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let port = kit::serve_api(&pki, ready()).await;
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", &pki.kubeconfig(port));
    let context = context(root.path(), false);
    assert_eq!(context.api.get(&context, "/readyz?verbose").await, Ok(http(200, "ok")));
    assert_eq!(context.api.get(&context, "/nothing").await, Ok(http(404, "")));
}

#[tokio::test]
async fn shows_the_certificate_the_kubelets_kubeconfig_points_to_and_takes_a_renewed_one() {
    let (root, old, new) = (tempfile::tempdir().unwrap(), Pki::new(), Pki::new());
    let port = kit::serve_api(&new, ready()).await;
    let folder = "/var/lib/rancher/k3s/agent";
    let put = |pki: &Pki| {
        kit::put(root.path(), &format!("{}/ca.crt", &folder[1..]), &pki.ca_pem);
        kit::put(root.path(), &format!("{}/c.crt", &folder[1..]), &pki.client_pem);
        kit::put(root.path(), &format!("{}/c.key", &folder[1..]), &pki.client_key_pem);
    };
    put(&old);
    let text = kit::kubeconfig(
        port,
        &format!("certificate-authority: {folder}/ca.crt"),
        &format!("client-certificate: {folder}/c.crt, client-key: {folder}/c.key"),
    );
    kit::put(root.path(), "var/lib/rancher/k3s/agent/kubelet.kubeconfig", &text);
    let context = context(root.path(), true);
    let Ok(Answer::Nobody(why)) = context.api.get(&context, "/readyz").await else { panic!("old CA") };
    assert_eq!(why, "invalid peer certificate: UnknownIssuer");
    put(&new);
    assert_eq!(context.api.get(&context, "/readyz").await, Ok(http(200, "ok")));
}

#[tokio::test]
async fn says_which_file_is_missing_or_wrong() {
    let (root, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let context = context(root.path(), false);
    let missing = context.api.get(&context, "/readyz").await.unwrap_err();
    let expected = "reading /etc/rancher/k3s/k3s.yaml: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), expected);
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", "clusters: [");
    let broken = context.api.get(&context, "/readyz").await.unwrap_err();
    assert!(broken.to_string().starts_with("/etc/rancher/k3s/k3s.yaml: not a kubeconfig"), "{broken}");
    let mixed = pki.kubeconfig(1).replace("client-key-data: ", "client-key-data: AAAA");
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", &mixed);
    let key = context.api.get(&context, "/readyz").await.unwrap_err();
    assert_eq!(key.to_string(), "the client certificate or its key is not usable");
}

#[tokio::test]
async fn the_supervisor_must_have_a_certificate_of_the_cluster() {
    let (root, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let port = kit::serve_api(&pki, ready()).await;
    let context = context(root.path(), false);
    let url = format!("https://127.0.0.1:{port}/ping");
    let ca = "var/lib/rancher/k3s/server/tls/server-ca.crt";
    kit::put(root.path(), ca, &pki.ca_pem);
    assert_eq!(ping(&context, &url).await, Ok(http(200, "pong")));
    kit::put(root.path(), ca, &Pki::new().ca_pem);
    let stranger = Answer::Nobody("invalid peer certificate: UnknownIssuer".to_owned());
    assert_eq!(ping(&context, &url).await, Ok(stranger));
    kit::put(root.path(), ca, "");
    assert_eq!(ping(&context, &url).await, Err("no certificate in the CA file".to_owned()));
}

#[tokio::test]
async fn asks_for_every_master_of_the_node_config() {
    let (root, pki) = (tempfile::tempdir().unwrap(), Pki::new());
    let port = kit::serve_api(&pki, ready()).await;
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", &pki.kubeconfig(port));
    let mut context = context(root.path(), false);
    let mut late = context.node.peers[0].clone();
    late.hostname = "master-2".to_owned();
    context.node.peers.push(late);
    let moment = |realtime: &str| Moment {
        boottime: Duration::ZERO,
        monotonic: Duration::ZERO,
        realtime: realtime.parse().unwrap(),
        was: State::Unknown,
    };
    let context = Arc::new(context);
    let look = async |time| (etcd_quorum::CHECK.look)("", context.clone(), moment(time)).await;
    let text = "1 of 1 voters are Ready, 1 are needed; master-2 has not joined";
    assert_eq!(look("2026-01-01T01:00:00Z").await, Verdict::ok("Forming", text));
    assert_eq!(look("2026-01-03T00:00:00Z").await, Verdict::warning("NoSpare", text));
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", &pki.kubeconfig(1));
    let silent = look("2026-01-03T00:00:00Z").await;
    assert_eq!((silent.state, silent.reason), (State::Unknown, "ApiSilent"));
    kit::put(root.path(), "etc/rancher/k3s/k3s.yaml", "");
    let none = look("2026-01-03T00:00:00Z").await;
    let text = "/etc/rancher/k3s/k3s.yaml: the kubeconfig has no current context";
    assert_eq!(none, Verdict::unknown("NoCredentials", text));
}
