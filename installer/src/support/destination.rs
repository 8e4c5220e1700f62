//! Where a bundle goes: a folder, a URL, or a FAT volume labelled METALSTRAP. Never a disk of the machine: that label is the mark of
//! a config medium, which no install ever takes (0004).

use super::bundle::Bundle;
use super::host::render_chain;
use crate::apply::esp::Esp;
use crate::config_source::KernelArgs;
use crate::exit::ExitCode;
use crate::inventory::{CONFIG_LABELS, LSBLK_COLUMNS, Volume, parse_volumes, sanitise};
use crate::refusal::Refusal;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sysio::command::{Cmd, CommandError};
use sysio::files::{create_folders, create_new};
use sysio::http::{Retry, send, without_user};

/// Folders on the medium, parents first. Its presence is the operator's leave to write there unasked.
const MEDIUM_FOLDERS: [&str; 2] = ["/metalstrap", "/metalstrap/support"];
/// Name a bundle has on the medium until it is whole.
const UNFINISHED: &str = "/metalstrap/support/UNFINISH.TMP";
/// How often an upload is tried.
const UPLOAD_RETRY: Retry = Retry { attempts: 3, first_pause: Duration::from_secs(2) };

/// Where a bundle goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A folder of this machine.
    Folder(PathBuf),
    /// An HTTP or HTTPS address, by PUT or POST; one that ends in `/` gets the name of the file.
    Url(String),
    /// The volume labelled METALSTRAP.
    Medium,
}

impl Destination {
    /// `medium`, a URL, or a folder.
    pub fn parse(text: &str) -> Self {
        let is_url = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        match text {
            "medium" => Self::Medium,
            url if is_url => Self::Url(url.to_owned()),
            folder => Self::Folder(PathBuf::from(folder)),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Url(url) => f.write_str(&without_user(url)),
            Self::Medium => f.write_str("the medium"),
        }
    }
}

/// Packs the bundle and brings it there; gives the place for people.
///
/// # Errors
/// `E_SUPPORT_MEDIUM`, `E_SUPPORT_UPLOAD`, or `E_DISK_IO` for a folder. What was written in part is removed.
pub fn deliver(bundle: &Bundle, to: &Destination) -> Result<String, Refusal> {
    let bytes = bundle.pack().map_err(|error| Refusal::new("E_DISK_IO", ExitCode::Io, error.to_string()))?;
    match to {
        Destination::Folder(folder) => {
            let path = folder.join(bundle.file_name());
            let written = create_folders(folder, 0o700).and_then(|()| create_new(&path, &bytes, 0o600));
            written.map_err(|error| Refusal::new("E_DISK_IO", ExitCode::Io, render_chain(&error)))?;
            Ok(path.display().to_string())
        }
        Destination::Url(url) => {
            let url = if url.ends_with('/') { format!("{url}{}", bundle.file_name()) } else { url.clone() };
            send(&url, &bytes, "application/gzip", UPLOAD_RETRY).map_err(|error| {
                Refusal::new("E_SUPPORT_UPLOAD", ExitCode::Download, render_chain(&error))
            })?;
            Ok(without_user(&url))
        }
        Destination::Medium => FatMedium::find()?.write(&bundle.file_name(), &bytes),
    }
}

/// Where an unattended install writes a bundle by itself when it stops, if anywhere: where `metalstrap.support` says, or to the
/// medium when that has the folder `metalstrap/support`.
pub fn automatic_destination(args: &KernelArgs) -> Option<Destination> {
    if let Some(text) = &args.support {
        return Some(Destination::parse(text));
    }
    FatMedium::find().ok().filter(FatMedium::invites).map(|_| Destination::Medium)
}

/// A FAT volume that bundles may be written to, by mtools: it is never mounted.
#[derive(Clone, Debug)]
pub struct FatMedium {
    name: String,
    fat: Esp,
}

impl FatMedium {
    /// The one volume labelled METALSTRAP of this machine.
    ///
    /// # Errors
    /// `E_SUPPORT_MEDIUM` when there is none, several, or none with FAT.
    pub fn find() -> Result<Self, Refusal> {
        let listed = Cmd::new("lsblk").args(["--json", "--bytes", "--output", LSBLK_COLUMNS]).run();
        let text = listed.map_err(|error| refuse(render_chain(&error)))?.text();
        let volumes = parse_volumes(&text).map_err(|error| refuse(render_chain(&error)))?;
        let volume = pick(&volumes)?;
        Ok(Self::at(Path::new(&volume.device)))
    }

    /// The volume on this device or image.
    pub fn at(device: &Path) -> Self {
        Self { name: device.display().to_string(), fat: Esp::new(device) }
    }

    /// True when it has the folder in which bundles are welcome without being asked for.
    pub fn invites(&self) -> bool {
        MEDIUM_FOLDERS.iter().all(|folder| self.fat.has(folder).unwrap_or(false))
    }

    /// Writes a file beside, reads it back, and renames it; gives the place for people.
    ///
    /// # Errors
    /// `E_SUPPORT_MEDIUM`: it is full, write-protected, in use or damaged. Then the file is not there.
    pub fn write(&self, file_name: &str, bytes: &[u8]) -> Result<String, Refusal> {
        let failed = |error: CommandError| refuse(format!("{}: {}", self.name, render_chain(&error)));
        for folder in MEDIUM_FOLDERS {
            if !self.fat.has(folder).map_err(failed)? {
                self.fat.make_folders(&[folder.to_owned()]).map_err(failed)?;
            }
        }
        let path = format!("/metalstrap/support/{file_name}");
        if let Err(refusal) = self.write_verified(bytes, &path) {
            if let Err(error) = self.fat.remove(UNFINISHED) {
                tracing::debug!(%error, "nothing to remove from the medium");
            }
            return Err(refusal);
        }
        Ok(format!("{}, {}", self.name, path.trim_start_matches('/')))
    }

    /// mcopy takes a full volume for the end of its input and says nothing: what counts is what can be read back.
    fn write_verified(&self, bytes: &[u8], path: &str) -> Result<(), Refusal> {
        let failed = |why: String| refuse(format!("{}: {why}", self.name));
        self.fat.put_bytes(bytes, UNFINISHED).map_err(|error| failed(render_chain(&error)))?;
        self.fat.flush().map_err(|error| failed(format!("{:#}", error.error)))?;
        let read = self.fat.read(UNFINISHED).map_err(|error| failed(render_chain(&error)))?;
        if read != bytes {
            return Err(failed(format!(
                "it kept {} of {} bytes: it is full, or failing",
                read.len(),
                bytes.len()
            )));
        }
        self.fat.rename(UNFINISHED, path).map_err(|error| failed(format!("{:#}", error.error)))
    }
}

fn pick(volumes: &[Volume]) -> Result<&Volume, Refusal> {
    let labelled: Vec<&Volume> =
        volumes.iter().filter(|volume| volume.label.eq_ignore_ascii_case(CONFIG_LABELS[0])).collect();
    let describe = |volume: &&Volume| format!("{} ({})", sanitise(&volume.device), sanitise(&volume.fs_type));
    match labelled.as_slice() {
        [only] if only.fs_type == "vfat" => Ok(*only),
        [only] => {
            Err(refuse(format!("{} has not FAT but {}", sanitise(&only.device), sanitise(&only.fs_type))))
        }
        [] => Err(refuse(format!("no volume labelled {} is there", CONFIG_LABELS[0]))),
        several => Err(refuse(format!(
            "{} volumes are labelled {}; remove all but one",
            several.len(),
            CONFIG_LABELS[0]
        ))
        .with_details(several.iter().map(describe))),
    }
}

fn refuse(message: String) -> Refusal {
    Refusal::new("E_SUPPORT_MEDIUM", ExitCode::Environment, message)
}

#[cfg(test)]
mod tests {
    use super::{Destination, FatMedium, pick};
    use crate::inventory::Volume;
    use std::path::PathBuf;
    use sysio::command::Cmd;

    fn volume(device: &str, label: &str, fs_type: &str) -> Volume {
        Volume { device: device.to_owned(), label: label.to_owned(), fs_type: fs_type.to_owned() }
    }

    #[test]
    fn one_word_an_address_or_a_folder() {
        assert_eq!(Destination::parse("medium"), Destination::Medium);
        assert_eq!(Destination::parse("./medium"), Destination::Folder(PathBuf::from("./medium")));
        let url = Destination::parse("http://u:p@h/in/");
        assert_eq!(
            (url.clone(), url.to_string()),
            (Destination::Url("http://u:p@h/in/".to_owned()), "http://h/in/".to_owned())
        );
    }

    #[test]
    fn only_one_fat_volume_labelled_metalstrap_is_taken() {
        let data = volume("/dev/sda1", "DATA", "vfat");
        let stick = volume("/dev/sdb3", "metalstrap", "vfat");
        assert_eq!(pick(&[data.clone(), stick.clone()]).unwrap().device, "/dev/sdb3");
        let message = |volumes: &[Volume]| pick(volumes).unwrap_err().to_string();
        assert_eq!(message(&[data]), "E_SUPPORT_MEDIUM: no volume labelled METALSTRAP is there");
        assert_eq!(
            message(&[volume("/dev/sdb3", "METALSTRAP", "ext4")]),
            "E_SUPPORT_MEDIUM: /dev/sdb3 has not FAT but ext4"
        );
        assert_eq!(
            message(&[stick.clone(), volume("/dev/sdc1", "METALSTRAP", "ext4")]),
            "E_SUPPORT_MEDIUM: 2 volumes are labelled METALSTRAP; remove all but one\n  /dev/sdb3 (vfat)\n  /dev/sdc1 (ext4)"
        );
        assert!(pick(&[stick.clone(), stick]).is_err());
    }

    #[test]
    fn a_bundle_is_on_the_medium_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("fat.img");
        std::fs::File::create(&image).unwrap().set_len(2 << 20).unwrap();
        Cmd::new("mkfs.vfat").arg(&image).run().unwrap();
        let medium = FatMedium::at(&image);
        assert!(!medium.invites());
        let place = medium.write("metalstrap-support-a-1.tar.gz", &[7; 100_000]).unwrap();
        assert_eq!(place, format!("{}, metalstrap/support/metalstrap-support-a-1.tar.gz", image.display()));
        assert!(medium.invites());
        let refusal = medium.write("b.tar.gz", &vec![7; 4 << 20]).unwrap_err();
        assert_eq!(refusal.code, "E_SUPPORT_MEDIUM");
        assert!(refusal.message.ends_with(" of 4194304 bytes: it is full, or failing"), "{refusal}");
        let listing = Cmd::new("mdir")
            .args(["-b", "-i"])
            .arg(&image)
            .arg("::/metalstrap/support")
            .run()
            .unwrap()
            .text();
        assert_eq!(listing.trim(), "::/metalstrap/support/metalstrap-support-a-1.tar.gz");
    }
}
