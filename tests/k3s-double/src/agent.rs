//! `k3s agent`: joins a server, keeps the local balancer on 6444, runs the node's side.

use crate::bootstrap;
use crate::client::{Auth, Client};
use crate::config::Settings;
use crate::node::{self, Supervisor};
use crate::server::{loopback, stopped};
use crate::{files, log, serve};
use anyhow::{Context, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Time between two tries to reach the server.
const RETRY: Duration = Duration::from_secs(2);

/// Runs until SIGTERM.
///
/// # Errors
/// The token does not belong to this cluster's CA, or a port is in use.
pub async fn run(settings: Settings) -> Result<()> {
    tokio::select! {
        // The handler must be there before READY=1 can be seen.
        biased;
        () = stopped() => { log("stopping"); Ok(()) }
        result = join(settings) => result,
    }
}

async fn join(settings: Settings) -> Result<()> {
    let endpoint = settings.server.clone().context("an agent needs a server")?;
    let token = settings.token.clone().context("an agent needs a token")?;
    let auth = if token.is_bootstrap() {
        Auth::Bearer(token.password().clone())
    } else {
        Auth::Basic("node".into(), token.password().clone())
    };
    let ca = loop {
        match validate(&endpoint, &token, &auth).await {
            Ok(ca) => break ca,
            Err(error) => log(format!("validating the token: {error:#}")),
        }
        tokio::time::sleep(RETRY).await;
    };
    let servers = Arc::new(Mutex::new(vec![endpoint.clone()]));
    let (reached, kubeconfig_server) = if settings.apiserver_lb {
        let listener = serve::bind(loopback(6444)).await?;
        tokio::spawn(balance(listener, servers.clone()));
        ("127.0.0.1:6444".to_owned(), "https://127.0.0.1:6444".to_owned())
    } else {
        (endpoint.clone(), format!("https://{endpoint}"))
    };
    let client = Client::new(&reached, &ca, auth.clone(), None)?;
    if settings.apiserver_lb {
        learn_servers(&settings, &client, &servers).await?;
    }
    node::run(settings, Supervisor { endpoint: reached, kubeconfig_server, ca, auth }).await
}

/// The CA bundle, when its hash fits the token and the server takes the token.
async fn validate(endpoint: &str, token: &crate::token::Token, auth: &Auth) -> Result<String> {
    let ca = bootstrap::trusted_bundle(endpoint, token).await?;
    let reply = Client::new(endpoint, &ca, auth.clone(), None)?.get("/v1-k3s/config").await?;
    anyhow::ensure!(
        reply.status == 200,
        "https://{endpoint}/v1-k3s/config: status {}: not authorized",
        reply.status
    );
    Ok(ca)
}

/// Replaces the seed of the balancer by the servers' own addresses and keeps them in a file.
async fn learn_servers(settings: &Settings, client: &Client, servers: &Mutex<Vec<String>>) -> Result<()> {
    let reply = client.get("/v1-k3s/apiservers").await?;
    let list: Vec<String> = serde_json::from_slice(&reply.body).context("reading the list of API servers")?;
    files::write(
        &settings.paths.agent("etc/k3s-agent-load-balancer.json"),
        0o600,
        &serde_json::to_vec(&list)?,
    )?;
    if !list.is_empty() {
        *servers.lock().unwrap_or_else(PoisonError::into_inner) = list;
    }
    Ok(())
}

/// Sticks to the first server that can be dialled; a dial error moves it to the end.
async fn balance(listener: TcpListener, servers: Arc<Mutex<Vec<String>>>) {
    loop {
        let Ok((mut inbound, _)) = listener.accept().await else { continue };
        let servers = servers.clone();
        tokio::spawn(async move {
            let list = servers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for server in list {
                if let Ok(mut outbound) = TcpStream::connect(&server).await {
                    // Either end may close as it likes.
                    drop(tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await);
                    return;
                }
                let mut list = servers.lock().unwrap_or_else(PoisonError::into_inner);
                if list.first() == Some(&server) {
                    list.rotate_left(1);
                }
            }
        });
    }
}
