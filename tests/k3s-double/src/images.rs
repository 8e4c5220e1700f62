//! The air-gap import: archives of `agent/images/`, as k3s reads them at each start (reference, section 1.2).

use crate::files::{self, Paths};
use crate::log;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// Largest JSON member of an archive that is read.
const JSON_LIMIT: u64 = 4 << 20;
/// Window of `zstd --long=25`, with which k3s' archives are made.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Names of the imported images.
#[derive(Debug, Default)]
pub struct Images(BTreeSet<String>);

impl Images {
    /// True when an image of this name was imported.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&normal(name))
    }
}

/// A name with its registry: `busybox:1` is `docker.io/library/busybox:1`.
fn normal(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

/// Imports every archive. A broken one is logged and passed over, as in k3s.
///
/// # Errors
/// The result cannot be written.
pub fn import_all(paths: &Paths) -> Result<Images> {
    let mut images = Images::default();
    let mut files_found: Vec<_> = match std::fs::read_dir(paths.agent("images")) {
        Ok(entries) => entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect(),
        Err(_) => Vec::new(),
    };
    files_found.sort();
    for path in files_found {
        match import(&path) {
            Ok(names) => {
                log(format!("imported {} image(s) from {}", names.len(), path.display()));
                images.0.extend(names.iter().map(|n| normal(n)));
            }
            Err(error) => log(format!("error importing images from {}: {error:#}", path.display())),
        }
    }
    let list = serde_json::to_vec(&images.0)?;
    files::write(&paths.agent("containerd/double-images.json"), 0o600, &list)?;
    Ok(images)
}

fn import(path: &Path) -> Result<Vec<String>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let file = std::fs::File::open(path).context("opening")?;
    let reader: Box<dyn Read> = if name.ends_with(".tar") {
        Box::new(file)
    } else if name.ends_with(".tar.gz") || name.ends_with(".tgz") {
        Box::new(flate2::read::MultiGzDecoder::new(file))
    } else if name.ends_with(".tar.zst") || name.ends_with(".tzst") {
        let mut decoder = zstd::Decoder::new(file).context("reading zstd")?;
        decoder.window_log_max(ZSTD_WINDOW_LOG).context("reading zstd")?;
        Box::new(decoder)
    } else {
        bail!("file name says no archive that the k3s double reads (.tar, .tar.gz, .tar.zst)");
    };
    names(reader)
}

/// The image names of a docker archive or an OCI layout whose parts are all there.
fn names(reader: impl Read) -> Result<Vec<String>> {
    let mut archive = tar::Archive::new(reader);
    let mut json: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut members: BTreeMap<String, String> = BTreeMap::new();
    for entry in archive.entries().context("reading the archive")? {
        let mut entry = entry.context("reading the archive")?;
        let name =
            entry.path().context("reading a name")?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut hasher = Sha256::new();
        let mut kept = Vec::new();
        let small = entry.size() <= JSON_LIMIT;
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let n = entry.read(&mut buffer).with_context(|| format!("reading {name}"))?;
            let Some(part) = buffer.get(..n).filter(|p| !p.is_empty()) else { break };
            hasher.update(part);
            if small {
                kept.extend_from_slice(part);
            }
        }
        let digest = hex::encode(hasher.finalize());
        if let Some(wanted) = name.strip_prefix("blobs/sha256/")
            && !wanted.is_empty()
            && wanted != digest
        {
            bail!("{name} has sha256 {digest}");
        }
        if kept.first().is_some_and(|b| *b == b'{' || *b == b'[') {
            json.insert(name.clone(), kept);
        }
        members.insert(name, digest);
    }
    if let Some(bytes) = json.get("manifest.json") {
        return docker_names(bytes, &members);
    }
    if let Some(bytes) = json.get("index.json") {
        return oci_names(bytes, &json, &members);
    }
    bail!("holds neither manifest.json nor index.json")
}

fn need(members: &BTreeMap<String, String>, name: &str) -> Result<()> {
    if members.contains_key(name) { Ok(()) } else { bail!("{name} is named in the manifest but missing") }
}

fn docker_names(bytes: &[u8], members: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let manifest: Value = serde_json::from_slice(bytes).context("parsing manifest.json")?;
    let mut names = Vec::new();
    for image in manifest.as_array().context("manifest.json is not a list")? {
        need(members, image["Config"].as_str().context("an image without Config")?)?;
        for layer in image["Layers"].as_array().context("an image without Layers")? {
            need(members, layer.as_str().unwrap_or_default())?;
        }
        names.extend(
            image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned),
        );
    }
    Ok(names)
}

fn oci_names(
    bytes: &[u8],
    json: &BTreeMap<String, Vec<u8>>,
    members: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let index: Value = serde_json::from_slice(bytes).context("parsing index.json")?;
    let mut names = Vec::new();
    let blob = |descriptor: &Value| {
        descriptor["digest"].as_str().unwrap_or_default().replacen("sha256:", "blobs/sha256/", 1)
    };
    for entry in index["manifests"].as_array().context("index.json has no manifests")? {
        let path = blob(entry);
        need(members, &path)?;
        let manifest: Value = serde_json::from_slice(json.get(&path).context("a manifest that is not JSON")?)
            .context("parsing a manifest")?;
        for part in manifest["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&manifest["config"]])
            .filter(|p| p.is_object())
        {
            need(members, &blob(part))?;
        }
        let notes = &entry["annotations"];
        let name = notes["io.containerd.image.name"]
            .as_str()
            .or(notes["org.opencontainers.image.ref.name"].as_str());
        names.extend(name.map(str::to_owned));
    }
    Ok(names)
}

fn list() -> Result<Vec<String>> {
    let path = Paths::from_env().agent("containerd/double-images.json");
    serde_json::from_str(&files::read(&path)?).with_context(|| format!("parsing {}", path.display()))
}

/// `k3s crictl info|images`: JSON of the double's own.
///
/// # Errors
/// Another command, or no k3s has run.
pub fn crictl(args: &[String]) -> Result<()> {
    match args.first().map(String::as_str) {
        Some("info") => println!(
            "{{\"double\": true, \"status\": {{\"conditions\": [{{\"type\": \"RuntimeReady\", \"status\": true}}]}}}}"
        ),
        Some("images") => list()?.iter().for_each(|name| println!("{name}")),
        _ => bail!("crictl {} is not emulated by the k3s double", args.join(" ")),
    }
    Ok(())
}

/// `k3s ctr images ls -q`.
///
/// # Errors
/// Another command, or no k3s has run.
pub fn ctr(args: &[String]) -> Result<()> {
    let words: Vec<&str> =
        args.iter().map(String::as_str).filter(|a| !matches!(*a, "-n" | "k8s.io")).collect();
    match words.as_slice() {
        ["images" | "image" | "i", "ls" | "list", "-q"] => list()?.iter().for_each(|name| println!("{name}")),
        _ => bail!("ctr {} is not emulated by the k3s double", args.join(" ")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Images, names};

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn reads_a_docker_archive_and_finds_missing_parts() {
        let manifest = "[{\"Config\":\"c.json\",\"RepoTags\":[\"ghcr.io/kube-vip/kube-vip:v0.8.7\"],\"Layers\":[\"l.tar\"]}]";
        let whole = archive(&[("c.json", "{}"), ("l.tar", "x"), ("manifest.json", manifest)]);
        assert_eq!(names(whole.as_slice()).unwrap(), ["ghcr.io/kube-vip/kube-vip:v0.8.7"]);
        let broken = archive(&[("c.json", "{}"), ("manifest.json", manifest)]);
        assert_eq!(
            names(broken.as_slice()).unwrap_err().to_string(),
            "l.tar is named in the manifest but missing"
        );
        assert_eq!(
            names(archive(&[("x", "y")]).as_slice()).unwrap_err().to_string(),
            "holds neither manifest.json nor index.json"
        );
        assert!(names(&whole[..700]).is_err(), "truncated");
    }

    #[test]
    fn finds_an_altered_blob() {
        let zero = "0".repeat(64);
        let text = archive(&[(&format!("blobs/sha256/{zero}"), "x")]);
        assert!(
            names(text.as_slice())
                .unwrap_err()
                .to_string()
                .starts_with(&format!("blobs/sha256/{zero} has sha256 2d711642"))
        );
    }

    #[test]
    fn knows_short_names() {
        let images = Images([super::normal("rancher/mirrored-pause:3.6")].into());
        assert!(images.has("docker.io/rancher/mirrored-pause:3.6"));
        assert!(!images.has("ghcr.io/rancher/mirrored-pause:3.6"));
    }
}
