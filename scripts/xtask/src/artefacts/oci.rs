//! A container image by digest, as an archive that k3s imports: an OCI layout with Docker's `manifest.json` beside it.
//!
//! The archive is the same bytes for the same digest, so its own length and sha256 can be pinned.

use super::download::chain;
use crate::failure::{DOWNLOAD, failure};
use crate::host;
use anyhow::{Context, Result};
use oci_client::client::{ClientConfig, ClientProtocol, linux_amd64_resolver};
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// More than any image we pin has; a blob that says it is larger is not fetched.
const BLOB_MAX_BYTES: u64 = 512 * 1024 * 1024;
/// How long a registry may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Forms of a manifest that we take: one image, or an index of images for several machines.
const ACCEPTED: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// The digest a tag stands for now.
///
/// # Errors
/// Exit code 5 when the registry cannot be reached.
pub async fn digest_of_tag(image: &str) -> Result<String> {
    let reference = parse(image)?;
    let digest = client(&reference).fetch_manifest_digest(&reference, &RegistryAuth::Anonymous).await;
    digest.map_err(|error| unreachable(image, &error))
}

/// Writes the archive of the linux/amd64 image behind `digest`; `image` is the name it keeps.
///
/// # Errors
/// Exit code 5 when the registry cannot be reached or what it gives is not what the digest names.
pub async fn write_archive(
    image: &str,
    digest: &str,
    to: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let tagged = parse(image)?;
    let client = client(&tagged);
    let mut reference = tagged.clone_with_digest(digest.to_owned());
    let (mut bytes, mut manifest) = pull_manifest(&client, &reference).await?;
    if let OciManifest::ImageIndex(index) = &manifest {
        let amd64 = linux_amd64_resolver(&index.manifests)
            .ok_or_else(|| failure(DOWNLOAD, format!("{image}@{digest} has no image for linux/amd64")))?;
        reference = tagged.clone_with_digest(amd64);
        (bytes, manifest) = pull_manifest(&client, &reference).await?;
    }
    let OciManifest::Image(manifest) = manifest else {
        return Err(failure(DOWNLOAD, format!("{reference} is an index within an index")));
    };
    let folder =
        tempfile::tempdir_in(to.parent().unwrap_or(Path::new("."))).context("making a temporary folder")?;
    let blobs = folder.path().join("blobs/sha256");
    let mut there = 0;
    for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
        let path = blobs.join(hex_of(&descriptor.digest)?);
        there += pull_blob(&client, &reference, descriptor, &path).await?;
        progress(there);
    }
    let own = reference.digest().unwrap_or_default();
    host::write(&blobs.join(hex_of(own)?), &bytes)?;
    write_index(folder.path(), image, own, bytes.len(), &manifest)?;
    pack(folder.path(), to)
}

fn client(reference: &Reference) -> Client {
    let mut config = ClientConfig {
        read_timeout: Some(SILENCE),
        connect_timeout: Some(SILENCE),
        ..ClientConfig::default()
    };
    // Only a registry on this very machine speaks plain HTTP.
    let host = reference.resolve_registry();
    if host.starts_with("127.0.0.1:") {
        config.protocol = ClientProtocol::HttpsExcept(vec![host.to_owned()]);
    }
    Client::new(config)
}

fn parse(image: &str) -> Result<Reference> {
    image.parse().with_context(|| format!("reading the image name {image}"))
}

fn unreachable(image: &(impl std::fmt::Display + ?Sized), error: &dyn std::error::Error) -> anyhow::Error {
    failure(DOWNLOAD, format!("fetching {image}: {}", chain(error)))
}

async fn pull_manifest(client: &Client, reference: &Reference) -> Result<(Vec<u8>, OciManifest)> {
    // With a digest in the reference the client compares it with what arrived.
    let pulled = client.pull_manifest_raw(reference, &RegistryAuth::Anonymous, &ACCEPTED).await;
    let (bytes, _) = pulled.map_err(|error| unreachable(reference, &error))?;
    let manifest =
        serde_json::from_slice(&bytes).with_context(|| format!("reading the manifest of {reference}"))?;
    Ok((bytes.to_vec(), manifest))
}

async fn pull_blob(client: &Client, image: &Reference, blob: &OciDescriptor, to: &Path) -> Result<u64> {
    let size = u64::try_from(blob.size).unwrap_or(u64::MAX);
    if size > BLOB_MAX_BYTES {
        let message =
            format!("{image}: blob {} says it has {size} bytes, more than {BLOB_MAX_BYTES}", blob.digest);
        return Err(failure(DOWNLOAD, message));
    }
    host::write(to, "")?;
    let file = tokio::fs::OpenOptions::new().write(true).open(to).await;
    let file = file.with_context(|| format!("writing {}", to.display()))?;
    let bounded = Bounded { file, left: size };
    client.pull_blob(image, blob, bounded).await.map_err(|error| unreachable(image, &error))?;
    Ok(size)
}

fn hex_of(digest: &str) -> Result<&str> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.ok_or_else(|| failure(DOWNLOAD, format!("{digest} is not a sha256 digest")))
}

fn write_index(
    folder: &Path,
    image: &str,
    digest: &str,
    size: usize,
    manifest: &OciImageManifest,
) -> Result<()> {
    let media_type = manifest.media_type.as_deref().unwrap_or(OCI_IMAGE_MEDIA_TYPE);
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE,
        "manifests": [{
            "mediaType": media_type, "digest": digest, "size": size,
            "annotations": { "io.containerd.image.name": image, "org.opencontainers.image.ref.name": image },
            "platform": { "architecture": "amd64", "os": "linux" },
        }],
    });
    let path = |digest: &str| Ok::<_, anyhow::Error>(format!("blobs/sha256/{}", hex_of(digest)?));
    let layers = manifest.layers.iter().map(|layer| path(&layer.digest)).collect::<Result<Vec<_>>>()?;
    let docker = json!([{ "Config": path(&manifest.config.digest)?, "RepoTags": [image], "Layers": layers }]);
    host::write(&folder.join("index.json"), serde_json::to_string(&index)?)?;
    host::write(&folder.join("manifest.json"), serde_json::to_string(&docker)?)?;
    host::write(&folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// The folder as a tar without anything of this machine in it: sorted, no times, no owners.
fn pack(folder: &Path, to: &Path) -> Result<()> {
    host::write(to, "")?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(to)
        .with_context(|| format!("writing {}", to.display()))?;
    let mut archive = tar::Builder::new(file);
    for path in crate::image::stage::walk(folder)? {
        let content = crate::image::stage::read(&path)?;
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        let name = path.strip_prefix(folder).unwrap_or(&path);
        archive
            .append_data(&mut header, name, content.as_slice())
            .with_context(|| format!("writing {}", to.display()))?;
    }
    archive.finish().with_context(|| format!("writing {}", to.display()))
}

/// A file that takes no more bytes than its descriptor says.
struct Bounded {
    file: tokio::fs::File,
    left: u64,
}

impl tokio::io::AsyncWrite for Bounded {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        if bytes.len() as u64 > self.left {
            return std::task::Poll::Ready(Err(std::io::Error::other(
                "the blob is longer than its descriptor says",
            )));
        }
        let written = std::pin::Pin::new(&mut self.file).poll_write(context, bytes);
        if let std::task::Poll::Ready(Ok(count)) = &written {
            self.left -= *count as u64;
        }
        written
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.file).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.file).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
