//! `cargo xtask pins update | check`: fills and checks `images/pins.toml`. Nothing in it is ever made up.

use crate::artefacts::download::{self, chain};
use crate::artefacts::{oci, read_pins};
use crate::failure::{CommandResult, DOWNLOAD, failure};
use crate::host;
use crate::image::stage;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use futures::StreamExt;
use profiles::pins::Pins;
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml_edit::{DocumentMut, Item, Value, value};

/// A list of checksums is a few lines; more is something else.
const SUMS_MAX_BYTES: usize = 1024 * 1024;

/// Arguments of `cargo xtask pins`.
#[derive(Args)]
pub struct PinsArgs {
    #[command(subcommand)]
    action: Action,
    /// The file of pins [default: images/pins.toml].
    #[arg(long, global = true)]
    pins: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Read the release's own list of checksums and the image's digest, and fill them in.
    Update,
    /// Check that no pin is empty.
    Check,
}

/// Where the pins of this checkout are.
pub fn shipped() -> PathBuf {
    host::workspace().join("images/pins.toml")
}

/// Runs the command.
///
/// # Errors
/// Exit code 2 for a malformed file, 5 when a pin is empty (`check`) or an address cannot be reached (`update`).
pub fn run(args: &PinsArgs) -> CommandResult {
    let file = args.pins.clone().unwrap_or_else(shipped);
    let pins = read_pins(&file)?;
    match args.action {
        Action::Check => {
            pins.ensure_filled()
                .map_err(|error| failure(DOWNLOAD, format!("{}: {error}", file.display())))?;
            println!("{}: every pin is filled", file.display());
            Ok(())
        }
        Action::Update => {
            let runtime = tokio::runtime::Runtime::new().context("starting the download threads")?;
            let found = runtime.block_on(look_up(&pins))?;
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            host::write(&file, fill(&text, &found)?)?;
            println!("{}: filled", file.display());
            Ok(())
        }
    }
}

/// What a pin is filled with.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Length and sha256 of each file of the k3s release, by its name.
    files: BTreeMap<String, (u64, String)>,
    /// Digest of the kube-vip image.
    digest: String,
    /// Length and sha256 of the archive made from it.
    archive: (u64, String),
}

async fn look_up(pins: &Pins) -> Result<Found> {
    let client = download::client()?;
    let sums = parse_sums(&fetch_text(&client, &pins.k3s().sums_url).await?);
    let mut files = BTreeMap::new();
    for pin in &pins.k3s().files {
        let sha256 = sums.get(&pin.name).ok_or_else(|| {
            failure(DOWNLOAD, format!("{} has no line for {}", pins.k3s().sums_url, pin.name))
        })?;
        files.insert(pin.name.clone(), (length_of(&client, &pin.url).await?, sha256.clone()));
    }
    let image = &pins.kube_vip().image;
    let digest = oci::digest_of_tag(image).await?;
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let archive = folder.path().join("archive");
    oci::write_archive(image, &digest, &archive, &|_| ()).await?;
    Ok(Found { files, digest, archive: stage::measure(&archive)? })
}

async fn fetch_text(client: &reqwest::Client, url: &str) -> Result<String> {
    let unreachable = |error: reqwest::Error| failure(DOWNLOAD, format!("fetching {url}: {}", chain(&error)));
    let response =
        client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(unreachable)?;
    let mut body = response.bytes_stream();
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        bytes.extend_from_slice(&chunk.map_err(unreachable)?);
        if bytes.len() > SUMS_MAX_BYTES {
            return Err(failure(DOWNLOAD, format!("{url} is longer than any list of checksums")));
        }
    }
    String::from_utf8(bytes).map_err(|_| failure(DOWNLOAD, format!("{url} is not a text")))
}

async fn length_of(client: &reqwest::Client, url: &str) -> Result<u64> {
    let answer = client.head(url).send().await.and_then(reqwest::Response::error_for_status);
    let answer = answer.map_err(|error| failure(DOWNLOAD, format!("asking for {url}: {}", chain(&error))))?;
    // reqwest's own content_length is that of the (empty) body of a HEAD answer.
    let length = answer
        .headers()
        .get(reqwest::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length
        .filter(|length| *length > 0)
        .ok_or_else(|| failure(DOWNLOAD, format!("{url} does not say how long it is")))
}

/// Lines of `sha256sum`: checksum, two characters, name.
fn parse_sums(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (sum, name) = line.split_once([' ', '\t'])?;
        let right = sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit());
        right.then(|| (name.trim_start_matches([' ', '*']).trim_end().to_owned(), sum.to_ascii_lowercase()))
    };
    text.lines().filter_map(line).collect()
}

/// The file with the values put in; everything else, comments too, stays as it is.
fn fill(text: &str, found: &Found) -> Result<String> {
    let mut document: DocumentMut = text.parse().context("reading the pins")?;
    let files =
        document.get_mut("k3s").and_then(|k3s| k3s.get_mut("files")).and_then(Item::as_array_of_tables_mut);
    for table in files.into_iter().flat_map(|tables| tables.iter_mut()) {
        let name = table.get("name").and_then(Item::as_str).unwrap_or_default();
        if let Some((length, sha256)) = found.files.get(name) {
            set(table.entry("length").or_insert(Item::None), i64::try_from(*length)?);
            set(table.entry("sha256").or_insert(Item::None), sha256.as_str());
        }
    }
    if let Some(table) = document.get_mut("kube_vip").and_then(Item::as_table_mut) {
        set(table.entry("digest").or_insert(Item::None), found.digest.as_str());
        set(table.entry("length").or_insert(Item::None), i64::try_from(found.archive.0)?);
        set(table.entry("sha256").or_insert(Item::None), found.archive.1.as_str());
    }
    Ok(document.to_string())
}

fn set(item: &mut Item, new: impl Into<Value>) {
    let decor = item.as_value().map(|old| old.decor().clone());
    *item = value(new);
    if let (Some(decor), Some(new)) = (decor, item.as_value_mut()) {
        *new.decor_mut() = decor;
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, fill, parse_sums, shipped};
    use crate::artefacts::read_pins;
    use crate::host;
    use std::collections::BTreeMap;

    #[test]
    fn sums_are_read_by_whole_name() {
        let (one, two) = ("a".repeat(64), "B".repeat(64));
        let sums = parse_sums(&format!("{one}  k3s\n{two} *k3s-images.txt\nshort  k3s-arm64\n"));
        let expected =
            BTreeMap::from([("k3s".to_owned(), one), ("k3s-images.txt".to_owned(), "b".repeat(64))]);
        assert_eq!(sums, expected);
    }

    #[test]
    fn filled_pins_keep_every_comment_and_are_whole() {
        let text = std::fs::read_to_string(shipped()).unwrap();
        let sum = "c".repeat(64);
        let found = Found {
            files: BTreeMap::from([
                ("k3s".to_owned(), (11, sum.clone())),
                ("k3s-airgap-images-amd64.tar.zst".to_owned(), (22, sum.clone())),
            ]),
            digest: format!("sha256:{sum}"),
            archive: (33, sum.clone()),
        };
        let filled = fill(&text, &found).unwrap();
        let comments = |text: &str| {
            text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(comments(&filled), comments(&text));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pins.toml");
        host::write(&file, &filled).unwrap();
        let pins = read_pins(&file).unwrap();
        pins.ensure_filled().unwrap();
        let lengths: Vec<u64> = pins.k3s().files.iter().map(|file| file.length).collect();
        assert_eq!((lengths, pins.kube_vip().length), (vec![11, 22], 33));
    }
}
