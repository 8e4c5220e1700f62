//! The archive of an image, from a registry on the loopback address.

use super::{digest_of_tag, write_archive};
use crate::failure::{DOWNLOAD, code_of};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A registry with one image behind an index; gives its address and the digest of the index.
fn registry(alter: impl Fn(&mut BTreeMap<String, Vec<u8>>, &str)) -> (String, String) {
    let _provider = rustls::crypto::ring::default_provider().install_default();
    let (config, layer) = (b"{}".to_vec(), b"layer".to_vec());
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": 5}],
    });
    let manifest = manifest.to_string().into_bytes();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&manifest),
            "size": manifest.len(), "platform": {"architecture": "amd64", "os": "linux"},
        }],
    });
    let index = index.to_string().into_bytes();
    let of_index = digest(&index);
    let layer_path = format!("/v2/vip/blobs/{}", digest(&layer));
    let mut files = BTreeMap::from([
        ("/v2/vip/manifests/v1".to_owned(), index.clone()),
        (format!("/v2/vip/manifests/{of_index}"), index),
        (format!("/v2/vip/manifests/{}", digest(&manifest)), manifest),
        (format!("/v2/vip/blobs/{}", digest(&config)), config),
        (layer_path.clone(), layer),
        ("/v2/".to_owned(), Vec::new()),
    ]);
    alter(&mut files, &layer_path);
    (serve(files), of_index)
}

fn serve(files: BTreeMap<String, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let Some((method, rest)) = head.first().and_then(|line| line.split_once(' ')) else { continue };
            let path = rest.split(' ').next().unwrap();
            let (status, body) =
                files.get(path).map_or(("404 Not Found", &[] as &[u8]), |body| ("200 OK", body));
            let kind = if path.contains("manifests") { digest(body) } else { String::new() };
            let header = if kind.is_empty() { kind } else { format!("Docker-Content-Digest: {kind}\r\n") };
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            if method == "GET" {
                stream.write_all(body).unwrap();
            }
        }
    });
    address
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn archive_keeps_the_name_and_is_the_same_bytes_every_time() {
    let (address, of_index) = registry(|_, _| ());
    let image = format!("{address}/vip:v1");
    assert_eq!(block_on(digest_of_tag(&image)).unwrap(), of_index);
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.tar"), folder.path().join("two.tar"));
    for to in [&one, &two] {
        block_on(write_archive(&image, &of_index, to, &|_| ())).unwrap();
    }
    assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());
    let mut archive = tar::Archive::new(std::fs::File::open(&one).unwrap());
    let mut texts = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        texts.insert(name, text);
    }
    let docker: serde_json::Value = serde_json::from_str(&texts["manifest.json"]).unwrap();
    assert_eq!(docker[0]["RepoTags"][0], image);
    assert_eq!(texts[docker[0]["Layers"][0].as_str().unwrap()], "layer");
    let index: serde_json::Value = serde_json::from_str(&texts["index.json"]).unwrap();
    assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], image);
}

#[test]
fn altered_layer_is_refused() {
    let (address, of_index) = registry(|files, layer| {
        files.insert(layer.to_owned(), b"LAYER".to_vec());
    });
    let folder = tempfile::tempdir().unwrap();
    let (image, to) = (format!("{address}/vip:v1"), folder.path().join("a"));
    let pulled = write_archive(&image, &of_index, &to, &|_| ());
    let error = block_on(pulled).unwrap_err();
    assert_eq!(code_of(&error), DOWNLOAD);
    assert!(!folder.path().join("a").exists());
}

#[test]
fn layer_longer_than_its_descriptor_is_refused() {
    let (address, of_index) = registry(|files, layer| {
        files.insert(layer.to_owned(), b"layer and more".to_vec());
    });
    let folder = tempfile::tempdir().unwrap();
    let (image, to) = (format!("{address}/vip:v1"), folder.path().join("a"));
    let pulled = write_archive(&image, &of_index, &to, &|_| ());
    let text = block_on(pulled).unwrap_err().to_string();
    assert!(text.contains("the blob is longer than its descriptor says"), "{text}");
}

#[test]
fn index_of_another_content_than_the_digest_is_refused() {
    let (address, _) = registry(|_, _| ());
    let folder = tempfile::tempdir().unwrap();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let (image, to) = (format!("{address}/vip:v1"), folder.path().join("a"));
    let pulled = write_archive(&image, &wrong, &to, &|_| ());
    assert_eq!(code_of(&block_on(pulled).unwrap_err()), DOWNLOAD);
}
