//! `make-artifacts DIR`: stand-ins for what an image build takes, with pins that fit. The same bytes every time.

use crate::files;
use anyhow::{Context, Result};
use profiles::pins::{FileKind, FilePin, K3sPins, KubeVipPin, PinsFileV1};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Images of the air-gap archive (reference, section 1.2).
const AIRGAP_IMAGES: [&str; 8] = [
    "docker.io/rancher/klipper-helm:v0.8.3-build20240228",
    "docker.io/rancher/klipper-lb:v0.4.7",
    "docker.io/rancher/local-path-provisioner:v0.0.26",
    "docker.io/rancher/mirrored-coredns-coredns:1.10.1",
    "docker.io/rancher/mirrored-library-busybox:1.36.1",
    "docker.io/rancher/mirrored-library-traefik:2.10.7",
    "docker.io/rancher/mirrored-metrics-server:v0.7.0",
    "docker.io/rancher/mirrored-pause:3.6",
];
const KUBE_VIP_IMAGE: &str = "ghcr.io/kube-vip/kube-vip:v0.8.7";

/// Writes `k3s`, the two archives and `pins.toml` into a folder.
///
/// # Errors
/// I/O.
pub fn make(folder: &Path) -> Result<()> {
    let program = std::env::current_exe().context("finding the own program")?;
    let binary = std::fs::read(&program).with_context(|| format!("reading {}", program.display()))?;
    let airgap = zstd::encode_all(docker_archive(&AIRGAP_IMAGES)?.0.as_slice(), 3).context("compressing")?;
    let (kube_vip, manifest) = docker_archive(&[KUBE_VIP_IMAGE])?;
    let pin = |kind, name: &str, bytes: &[u8]| FilePin {
        kind,
        name: name.to_owned(),
        url: format!("https://k3s-double.invalid/{name}"),
        length: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    };
    let pins = PinsFileV1 {
        version: 1,
        double: true,
        k3s: K3sPins {
            version: "v1.28.9+k3s1".into(),
            sums_url: "https://k3s-double.invalid/sha256sum-amd64.txt".into(),
            files: vec![
                pin(FileKind::Binary, "k3s", &binary),
                pin(FileKind::AirgapImages, "k3s-airgap-images-amd64.tar.zst", &airgap),
            ],
        },
        kube_vip: KubeVipPin {
            version: "v0.8.7".into(),
            image: KUBE_VIP_IMAGE.into(),
            // A docker archive has no registry digest: that of its own manifest.json stands here.
            digest: format!("sha256:{}", hex::encode(Sha256::digest(&manifest))),
            archive: "kube-vip-v0.8.7.tar".into(),
            length: kube_vip.len() as u64,
            sha256: hex::encode(Sha256::digest(&kube_vip)),
        },
    };
    files::write(&folder.join("k3s"), 0o755, &binary)?;
    files::write(&folder.join("k3s-airgap-images-amd64.tar.zst"), 0o644, &airgap)?;
    files::write(&folder.join("kube-vip-v0.8.7.tar"), 0o644, &kube_vip)?;
    let text = format!(
        "# Stand-ins of the k3s double: not Kubernetes, for tests only.\n{}",
        toml::to_string(&pins)?
    );
    files::write(&folder.join("pins.toml"), 0o644, text.as_bytes())
}

/// A docker archive with one empty layer per image; gives its manifest.json too.
fn docker_archive(images: &[&str]) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut manifest = Vec::new();
    for image in images {
        let layer = tar::Builder::new(Vec::new()).into_inner()?;
        let diff = hex::encode(Sha256::digest(&layer));
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
            "config": {"Labels": {"k3s-double": image}}})
        .to_string();
        let config_name = format!("{}.json", hex::encode(Sha256::digest(&config)));
        let layer_name = format!("{}/layer.tar", hex::encode(Sha256::digest(image)));
        append(&mut builder, &config_name, config.as_bytes())?;
        append(&mut builder, &layer_name, &layer)?;
        manifest.push(json!({"Config": config_name, "RepoTags": [image], "Layers": [layer_name]}));
    }
    let manifest = serde_json::to_vec(&manifest)?;
    append(&mut builder, "manifest.json", &manifest)?;
    Ok((builder.into_inner()?, manifest))
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    builder.append_data(&mut header, name, bytes).with_context(|| format!("adding {name}"))
}
