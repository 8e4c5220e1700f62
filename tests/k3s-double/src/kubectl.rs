//! `k3s kubectl`: `get --raw PATH` and `get nodes`, with the admin kubeconfig.

use crate::client::{Client, Kubeconfig};
use crate::files::Paths;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::PathBuf;

/// Runs one kubectl command.
///
/// # Errors
/// Not emulated, no kubeconfig, or an answer other than 200.
pub fn run(args: &[String]) -> Result<()> {
    let mut words = Vec::new();
    let mut kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let mut raw = None;
    let mut output = None;
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let (name, inline) =
            arg.split_once('=').map_or((arg.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        let mut value = || inline.clone().or_else(|| rest.next().cloned());
        match name {
            "--raw" => raw = value(),
            "-o" | "--output" => output = value(),
            "--kubeconfig" => kubeconfig = value().map(PathBuf::from),
            _ if name.starts_with('-') => bail!("kubectl {arg} is not emulated by the k3s double"),
            _ => words.push(arg.as_str()),
        }
    }
    let path = match (words.as_slice(), raw) {
        (["get"], Some(path)) => path,
        (["get", "nodes" | "node" | "no"], None) => "/api/v1/nodes".to_owned(),
        (["get", "nodes" | "node" | "no", name], None) => format!("/api/v1/nodes/{name}"),
        _ => bail!("kubectl {} is not emulated by the k3s double", args.join(" ")),
    };
    let config = Kubeconfig::read(&kubeconfig.unwrap_or_else(|| Paths::from_env().kubeconfig()))?;
    let client = Client::from_kubeconfig(&config)?;
    let reply = tokio::runtime::Runtime::new()?.block_on(client.get(&path))?;
    if reply.status != 200 {
        bail!("Error from server: {path}: status {}: {}", reply.status, reply.text().trim());
    }
    let is_raw = words.len() == 1;
    match output.as_deref() {
        _ if is_raw => print!("{}", reply.text()),
        Some("json") => println!("{:#}", reply.json()?),
        Some(other) => bail!("kubectl -o {other} is not emulated by the k3s double"),
        None => print_nodes(&reply.json()?),
    }
    Ok(())
}

fn print_nodes(answer: &Value) {
    println!("{:<20} {:<10} {:<28} VERSION", "NAME", "STATUS", "ROLES");
    let one = std::slice::from_ref(answer);
    for node in answer["items"].as_array().map_or(one, Vec::as_slice) {
        let ready = node["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Ready" && c["status"] == "True");
        let roles: Vec<&str> = node["metadata"]["labels"]
            .as_object()
            .into_iter()
            .flat_map(|l| l.keys().filter_map(|k| k.strip_prefix("node-role.kubernetes.io/")))
            .collect();
        println!(
            "{:<20} {:<10} {:<28} {}",
            node["metadata"]["name"].as_str().unwrap_or_default(),
            if ready { "Ready" } else { "NotReady" },
            if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") },
            node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default()
        );
    }
}
