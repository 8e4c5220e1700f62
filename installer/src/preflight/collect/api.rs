//! What answers where the cluster is joined. No question holds a secret: whoever has the address learns nothing.

use super::chain;
use crate::plan::sha256_hex;
use crate::preflight::facts::{Api, ShownCa};
use crate::preflight::model::{Fact, NotRun};
use profiles::node::NodeConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::time::Duration;
use sysio::http::{HttpError, look};

/// Port of the API.
const API_PORT: u16 = 6443;
/// A server on the same network answers in milliseconds.
const LIMIT: Duration = Duration::from_millis(1500);
/// `pong`.
const PING_MAX_BYTES: u64 = 64;
/// A bundle of certificates has a few KiB.
const CA_MAX_BYTES: u64 = 256 * 1024;

/// Asks at the API VIP or, without one, at the first master. A proxy, and a single master, ask nobody.
pub(super) fn ask_api(node: Option<&NodeConfig>) -> Fact<Api> {
    let node = node.ok_or_else(|| NotRun::new("no cluster file names an API"))?;
    if node.kubernetes.is_none() {
        return Err(NotRun::new("a proxy does not join"));
    }
    let first = node.initial_master().filter(|master| master.hostname != node.hostname);
    let address = node.cluster.api_vip.or(first.map(|master| master.cluster_address));
    let address = address.ok_or_else(|| NotRun::new("there is no address but its own"))?;
    let at = format!("{address}:{API_PORT}");
    let ping = ask_ping(&at, None);
    let ca = ping.is_ok().then(|| ask_ca(&at));
    Ok(Api { address: at, ping: Some(ping), ca })
}

fn ask_ping(at: &str, trusted: Option<&[u8]>) -> Result<(), String> {
    let answer = look(&format!("https://{at}/ping"), PING_MAX_BYTES, LIMIT, trusted).map_err(|e| why(&e))?;
    if answer.trim_ascii() == b"pong" { Ok(()) } else { Err("something other than k3s answers".to_owned()) }
}

fn ask_ca(at: &str) -> Result<ShownCa, String> {
    let pem = look(&format!("https://{at}/cacerts"), CA_MAX_BYTES, LIMIT, None).map_err(|e| why(&e))?;
    let hashes = hash_bundle(&pem)?;
    Ok(ShownCa { hashes, signs_server: ask_ping(at, Some(&pem)) })
}

/// k3s hashes the whole text when it holds one certificate, else the certificate of the root: any of them may be that.
fn hash_bundle(pem: &[u8]) -> Result<Vec<String>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| error.to_string())?;
    match all.as_slice() {
        [] => Err("the answer holds no certificate".to_owned()),
        [_] => Ok(vec![sha256_hex(pem)]),
        several => Ok(several.iter().map(|der| sha256_hex(der)).collect()),
    }
}

/// The cause alone: the question is named by whoever shows it.
fn why(error: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match error {
        HttpError::Status { status, .. } => format!("status {status}"),
        _ => chain(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::hash_bundle;
    use crate::plan::sha256_hex;

    fn pem() -> String {
        rcgen::generate_simple_self_signed(vec!["k3s".to_owned()]).unwrap().cert.pem()
    }

    #[test]
    fn hashes_as_k3s_does() {
        let (one, two) = (pem(), pem());
        assert_eq!(hash_bundle(one.as_bytes()).unwrap(), [sha256_hex(one.as_bytes())]);
        let both = hash_bundle(format!("{one}{two}").as_bytes()).unwrap();
        assert_eq!(both.len(), 2);
        assert!(!both.contains(&sha256_hex(one.as_bytes())));
        assert_eq!(hash_bundle(b"pong").unwrap_err(), "the answer holds no certificate");
    }
}
