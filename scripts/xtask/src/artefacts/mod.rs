//! Foreign artefacts of an image: what the pins name, from the cache, an operator's folder or the network, always verified.

pub mod download;
pub mod oci;
mod pull;

use crate::failure::{DOWNLOAD, INVALID_INPUT, failure};
use crate::image::stage;
use anyhow::{Context, Result};
use profiles::pins::{FileKind, Pins};
use std::path::{Path, PathBuf};

/// Folder of the artefacts in the root image.
pub const INSTALLED_IN: &str = "/usr/share/metalstrap/artifacts";
/// Where k3s looks for image archives that it imports at its start.
const K3S_IMAGES: &str = "/var/lib/rancher/k3s/agent/images";

/// One artefact, on the build host and in the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artefact {
    /// Name in the manifest.
    pub name: String,
    /// Release.
    pub version: String,
    /// Verified file on the build host.
    pub file: PathBuf,
    /// Absolute path in the image.
    pub path: String,
    /// Where the installer copies it on the node.
    pub install_to: Option<String>,
    /// A program.
    pub executable: bool,
    /// Bytes.
    pub length: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// All artefacts of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artefacts {
    /// True when they are the test double's.
    pub double: bool,
    /// k3s release; none in an image without Kubernetes.
    pub k3s_version: Option<String>,
    /// The files.
    pub files: Vec<Artefact>,
}

/// One pinned file, whatever pin it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// File name, in an operator's folder and in the image.
    pub name: String,
    /// Where it is fetched from.
    pub from: From,
    /// Bytes.
    pub length: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// How a pinned file is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// By HTTP from this address.
    Url(String),
    /// An archive made from the image with this reference and digest.
    Image { reference: String, digest: String },
}

/// Reads a file of pins.
///
/// # Errors
/// Exit code 2 with every problem of the file.
pub fn read_pins(path: &Path) -> Result<Pins> {
    let bytes = stage::read(path)?;
    Pins::parse(&path.display().to_string(), &bytes).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        failure(INVALID_INPUT, lines.join("\n"))
    })
}

/// Brings all pinned files into `cache` and lists them for the image.
///
/// # Errors
/// Exit code 2 when pins of the test double are used for a release image or the reverse; 5 when a pin is empty or wrong, or a
/// file cannot be had.
pub fn collect(pins_file: &Path, folder: Option<&Path>, cache: &Path, double: bool) -> Result<Artefacts> {
    let pins = read_pins(pins_file)?;
    ensure_kind(&pins, pins_file, double)?;
    pins.ensure_filled().map_err(|error| failure(DOWNLOAD, format!("{}: {error}", pins_file.display())))?;
    let listed = list(&pins);
    let pinned: Vec<Pinned> = listed.iter().map(|(_, pinned)| pinned.clone()).collect();
    let files = pull::ensure_all(&pinned, folder, &cache.join("artefacts"))?;
    let files =
        listed.into_iter().zip(files).map(|((artefact, _), file)| Artefact { file, ..artefact }).collect();
    Ok(Artefacts { double, k3s_version: Some(pins.k3s().version.clone()), files })
}

fn ensure_kind(pins: &Pins, file: &Path, double: bool) -> Result<()> {
    match (pins.is_double(), double) {
        (true, false) => Err(failure(
            INVALID_INPUT,
            format!(
                "{}: these pins are the test double's; only `--double` makes an image of them",
                file.display()
            ),
        )),
        (false, true) => Err(failure(
            INVALID_INPUT,
            format!("{}: `--double` wants the test double's pins (double = true)", file.display()),
        )),
        _ => Ok(()),
    }
}

/// Every pinned file with its place in the image; the file on the build host is filled in when it is there.
fn list(pins: &Pins) -> Vec<(Artefact, Pinned)> {
    let mut listed = Vec::new();
    for pin in &pins.k3s().files {
        let program = pin.kind == FileKind::Binary;
        let in_image =
            if program { "/usr/local/bin/k3s".to_owned() } else { format!("{INSTALLED_IN}/{}", pin.name) };
        let pinned = Pinned {
            name: pin.name.clone(),
            from: From::Url(pin.url.clone()),
            length: pin.length,
            sha256: pin.sha256.clone(),
        };
        let name = if program { "k3s" } else { "k3s-airgap-images" };
        listed.push((artefact(name, &pins.k3s().version, in_image, program, &pinned), pinned));
    }
    let pin = pins.kube_vip();
    let pinned = Pinned {
        name: pin.archive.clone(),
        from: From::Image { reference: pin.image.clone(), digest: pin.digest.clone() },
        length: pin.length,
        sha256: pin.sha256.clone(),
    };
    let in_image = format!("{INSTALLED_IN}/{}", pin.archive);
    listed.push((artefact("kube-vip", &pin.version, in_image, false, &pinned), pinned));
    listed
}

fn artefact(name: &str, version: &str, path: String, program: bool, pinned: &Pinned) -> Artefact {
    Artefact {
        name: name.to_owned(),
        version: version.to_owned(),
        file: PathBuf::new(),
        path,
        install_to: (!program).then(|| format!("{K3S_IMAGES}/{}", pinned.name)),
        executable: program,
        length: pinned.length,
        sha256: pinned.sha256.clone(),
    }
}

/// Checks a file against its pin.
///
/// # Errors
/// Exit code 5 with what differs and the command that fills the pins.
pub fn verify(file: &Path, pinned: &Pinned) -> Result<()> {
    let (length, sha256) = stage::measure(file).with_context(|| format!("verifying {}", pinned.name))?;
    ensure_matches(&pinned.name, (pinned.length, &pinned.sha256), (length, &sha256))
}

/// Compares a file's length and sha256 with those of its pin.
///
/// # Errors
/// As [`verify`].
pub fn ensure_matches(name: &str, wanted: (u64, &str), found: (u64, &str)) -> Result<()> {
    let hint = "if the pin is wrong, `cargo xtask pins update` reads it again";
    if found.0 != wanted.0 {
        return Err(failure(
            DOWNLOAD,
            format!("{name} has {} bytes, its pin says {}; {hint}", found.0, wanted.0),
        ));
    }
    if found.1 != wanted.1 {
        return Err(failure(
            DOWNLOAD,
            format!("{name} has sha256 {}, its pin says {}; {hint}", found.1, wanted.1),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{collect, list, read_pins};
    use crate::failure::{DOWNLOAD, INVALID_INPUT, code_of};
    use crate::host;
    use crate::image::stage;
    use std::path::PathBuf;

    /// A folder with the three artefacts, and pins that fit them.
    fn double(folder: &std::path::Path) -> PathBuf {
        for (name, text) in [("k3s", "program"), ("airgap.tar.zst", "images"), ("kube-vip.tar", "vip")] {
            host::write(&folder.join(name), text).unwrap();
        }
        let pin = |name: &str| {
            let (length, sha256) = stage::measure(&folder.join(name)).unwrap();
            format!("length = {length}\nsha256 = \"{sha256}\"\n")
        };
        let text = format!(
            "version = 1\ndouble = true\n[k3s]\nversion = \"v1.28.9+k3s1\"\nsums_url = \"http://127.0.0.1:1/sums\"\n\
             [[k3s.files]]\nkind = \"binary\"\nname = \"k3s\"\nurl = \"http://127.0.0.1:1/k3s\"\n{}\
             [[k3s.files]]\nkind = \"airgap-images\"\nname = \"airgap.tar.zst\"\nurl = \"http://127.0.0.1:1/a\"\n{}\
             [kube_vip]\nversion = \"v0.8.7\"\nimage = \"ghcr.io/kube-vip/kube-vip:v0.8.7\"\narchive = \"kube-vip.tar\"\n\
             digest = \"sha256:{}\"\n{}",
            pin("k3s"),
            pin("airgap.tar.zst"),
            "ab".repeat(32),
            pin("kube-vip.tar")
        );
        let pins = folder.join("pins.toml");
        host::write(&pins, text).unwrap();
        pins
    }

    #[test]
    fn folder_of_an_operator_gives_verified_artefacts_with_their_places() {
        let folder = tempfile::tempdir().unwrap();
        let pins = double(folder.path());
        let found = collect(&pins, Some(folder.path()), &folder.path().join("cache"), true).unwrap();
        let places: Vec<_> = found.files.iter().map(|a| (a.path.as_str(), a.install_to.as_deref())).collect();
        let expected = [
            ("/usr/local/bin/k3s", None),
            (
                "/usr/share/metalstrap/artifacts/airgap.tar.zst",
                Some("/var/lib/rancher/k3s/agent/images/airgap.tar.zst"),
            ),
            (
                "/usr/share/metalstrap/artifacts/kube-vip.tar",
                Some("/var/lib/rancher/k3s/agent/images/kube-vip.tar"),
            ),
        ];
        assert_eq!(places, expected);
        assert_eq!(std::fs::read(&found.files[0].file).unwrap(), b"program");
    }

    #[test]
    fn altered_and_missing_files_of_a_folder_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let pins = double(folder.path());
        let cache = folder.path().join("cache");
        host::write(&folder.path().join("k3s"), "Program").unwrap();
        let error = collect(&pins, Some(folder.path()), &cache, true).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.starts_with("k3s has sha256 ") && text.ends_with("`cargo xtask pins update` reads it again"),
            "{text}"
        );
        assert_eq!(code_of(&error), DOWNLOAD);
        std::fs::remove_file(folder.path().join("k3s")).unwrap();
        let error = collect(&pins, Some(folder.path()), &cache, true).unwrap_err();
        assert_eq!(format!("{error:#}"), format!("{} is not there", folder.path().join("k3s").display()));
        assert_eq!(code_of(&error), DOWNLOAD);
    }

    #[test]
    fn double_and_real_pins_are_not_taken_for_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let pins = double(folder.path());
        let error = collect(&pins, None, folder.path(), false).unwrap_err();
        let text = "these pins are the test double's; only `--double` makes an image of them";
        assert_eq!(error.to_string(), format!("{}: {text}", pins.display()));
        assert_eq!(code_of(&error), INVALID_INPUT);
        let shipped = host::workspace().join("images/pins.toml");
        let error = collect(&shipped, None, folder.path(), true).unwrap_err();
        assert!(error.to_string().ends_with("`--double` wants the test double's pins (double = true)"));
    }

    #[test]
    fn empty_pins_stop_with_5_and_the_command_that_fills_them() {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(double(folder.path())).unwrap().replace("double = true\n", "");
        let text =
            text.replace("http://", "https://").replace(&"ab".repeat(32), "").replace("\"sha256:\"", "\"\"");
        let pins = folder.path().join("real.toml");
        host::write(&pins, text).unwrap();
        let error = collect(&pins, None, folder.path(), false).unwrap_err();
        assert_eq!(code_of(&error), DOWNLOAD);
        let text = "1 pins are not filled: kube_vip.digest; `cargo xtask pins update` fills them";
        assert_eq!(error.to_string(), format!("{}: {text}", pins.display()));
    }

    #[test]
    fn shipped_pins_name_three_artefacts() {
        let pins = read_pins(&host::workspace().join("images/pins.toml")).unwrap();
        let names: Vec<String> = list(&pins).into_iter().map(|(artefact, _)| artefact.name).collect();
        assert_eq!(names, ["k3s", "k3s-airgap-images", "kube-vip"]);
    }
}
