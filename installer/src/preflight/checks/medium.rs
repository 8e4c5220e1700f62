//! The medium: is it whole, does it fit, is it the one that is running?

use crate::exit::ExitCode;
use crate::medium::FileLook;
use crate::plan::layout::{MIB, ROOT_MIB};
use crate::preflight::model::{Check, Class, Finding, NotRun, known};
use crate::refusal::Refusal;
use profiles::preflight::{MEDIUM_FILES, MEDIUM_HASHES, MEDIUM_READABLE, MEDIUM_SAME_IMAGE, MEDIUM_SLOT};

/// `medium.readable`
pub const READABLE: Check = Check {
    id: MEDIUM_READABLE,
    class: Class::Artefacts,
    title: "The medium and the image describe themselves",
    source: "`live/image.json` and the artefact manifest",
    limits: "one cannot be read or is of another form: fails",
    why: "without lengths and hashes nothing can be verified",
    remedy: "write the medium again; if that does not help, build it again",
    codes: &["E_MEDIUM"],
    during_install: false,
    judge: |input| match input.medium {
        None => Err(NotRun::new("there is no live medium here")),
        Some(Err(refusal)) => Ok(Finding::fail(refusal.clone())),
        Some(Ok(medium)) => {
            Ok(Finding::pass(format!("image {} build {}", medium.image.version, medium.image.build_id)))
        }
    },
};

/// `medium.files`
pub const FILES: Check = Check {
    id: MEDIUM_FILES,
    class: Class::Artefacts,
    title: "Every file of the install is there with the right length",
    source: "root image, kernel, initrd and the artefacts, against `image.json` and the manifest",
    limits: "missing, or of another length: fails",
    why: "a truncated download or a full stick is found here, not after the disk was erased",
    remedy: "write or fetch the medium again",
    codes: &["E_ARTEFACT_MISSING", "E_ARTEFACT_LENGTH"],
    during_install: false,
    judge: |input| {
        let files = known(&input.facts.files)?;
        let mut wrong = files.iter().filter_map(|file| ensure_length(file).err());
        Ok(match wrong.next() {
            Some(first) => Finding::fail(first.with_details(wrong.map(|other| other.message))),
            None => {
                let mib = files.iter().map(|file| file.wanted).sum::<u64>() / MIB;
                Finding::pass(format!("{} files, {mib} MiB", files.len()))
            }
        })
    },
};

/// A file that an install reads is there and has its length.
///
/// # Errors
/// `E_ARTEFACT_MISSING`, `E_ARTEFACT_LENGTH`.
pub fn ensure_length(file: &FileLook) -> Result<(), Refusal> {
    match &file.found {
        Err(why) => {
            Err(Refusal::new("E_ARTEFACT_MISSING", ExitCode::Download, format!("{}: {why}", file.path)))
        }
        Ok(have) if *have != file.wanted => {
            let message = format!("{} has {have} bytes instead of {}", file.path, file.wanted);
            Err(Refusal::new("E_ARTEFACT_LENGTH", ExitCode::Download, message))
        }
        Ok(_) => Ok(()),
    }
}

/// `medium.hashes`
pub const HASHES: Check = Check {
    id: MEDIUM_HASHES,
    class: Class::Artefacts,
    title: "Every file of the install has the right contents",
    source: "sha256 of root image, kernel, initrd and the artefacts, in the first phase of the install",
    limits: "another hash, or the file cannot be read to its end: fails",
    why: "one wrong bit in the root image is a node that fails in a way nobody can explain",
    remedy: "write or fetch the medium again; a stick that gives other bytes each time is broken",
    codes: &["E_ARTEFACT_HASH", "E_MEDIUM_IO"],
    during_install: true,
    judge: |_| Err(NotRun::new("it takes long: an install does it right before its first write")),
};

/// `medium.slot`
pub const SLOT: Check = Check {
    id: MEDIUM_SLOT,
    class: Class::Artefacts,
    title: "The root image fits into a slot",
    source: "length of `root.squashfs` in `image.json`",
    limits: "more than 1536 MiB: fails; more than nine tenths of it: warning",
    why: "slots keep their size for the life of the node: the next image has to fit, too",
    remedy: "take packages or artefacts out of the image",
    codes: &["E_IMAGE_TOO_LARGE"],
    during_install: false,
    judge: |input| {
        let files = &input.medium()?.image.files;
        let root = files
            .get("root.squashfs")
            .ok_or_else(|| NotRun::new("image.json does not name the root image"))?;
        let (have, room) = (root.length, ROOT_MIB * MIB);
        let text = format!("{} of {ROOT_MIB} MiB", have.div_ceil(MIB));
        if have > room {
            let message = format!("the root image has {have} bytes, a slot has room for {room}");
            return Ok(Finding::fail(Refusal::new("E_IMAGE_TOO_LARGE", ExitCode::Environment, message)));
        }
        Ok(if have > room / 10 * 9 { Finding::warn(text) } else { Finding::pass(text) })
    },
};

/// `medium.same-image`
pub const SAME_IMAGE: Check = Check {
    id: MEDIUM_SAME_IMAGE,
    class: Class::Artefacts,
    title: "The image that is running is the one that is installed",
    source: "`build_id` and kernel in `/usr/share/metalstrap/image.json` and `uname`, against `live/image.json`",
    limits: "another build or kernel: warning",
    why: "what was checked on this machine, drivers before all, is then not what the node will run",
    remedy: "boot from the medium you install from; on PXE let `metalstrap.url` and the kernel come from the same folder",
    codes: &[],
    during_install: false,
    judge: |input| {
        let image = &input.medium()?.image;
        let (build, kernel) = (known(&input.facts.running_build)?, known(&input.facts.kernel)?);
        if *build != image.build_id {
            return Ok(Finding::warn(format!("running build {build}, the medium has {}", image.build_id)));
        }
        if *kernel != image.kernel {
            return Ok(Finding::warn(format!("running kernel {kernel}, the medium has {}", image.kernel)));
        }
        Ok(Finding::pass(format!("build {build}, kernel {kernel}")))
    },
};
