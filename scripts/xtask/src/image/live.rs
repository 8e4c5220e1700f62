//! The folder `live/` of a medium: the five files of the contract.

use super::layer::ImageFacts;
use super::stage;
use crate::host;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// The three large files, in the order they are listed.
const LARGE: [&str; 3] = ["root.squashfs", "vmlinuz", "initrd"];

/// Fills `folder` with hard links (or copies) of the three large files, `image.json` and `SHA256SUMS`; gives the sha256 of the last.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(folder: &Path, root: &Path, boot: &Path, facts: &ImageFacts) -> Result<String> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    link(&root.join("root.squashfs"), &folder.join("root.squashfs"))?;
    link(&boot.join("vmlinuz"), &folder.join("vmlinuz"))?;
    link(&boot.join("initrd"), &folder.join("initrd"))?;
    let mut files = Vec::new();
    for name in LARGE {
        let (length, sha256) = stage::measure(&folder.join(name))?;
        files.push((name, length, sha256));
    }
    let text = image_json(facts, &files)?;
    host::write(&folder.join("image.json"), &text)?;
    let (length, sha256) = stage::measure(&folder.join("image.json"))?;
    files.push(("image.json", length, sha256));
    host::write(&folder.join("SHA256SUMS"), sums(&files))?;
    Ok(stage::measure(&folder.join("SHA256SUMS"))?.1)
}

/// Puts a file at `to` without copying where the file system allows it.
///
/// # Errors
/// Neither a link nor a copy could be made.
pub fn link(from: &Path, to: &Path) -> Result<()> {
    if to.symlink_metadata().is_ok() {
        std::fs::remove_file(to).with_context(|| format!("removing {}", to.display()))?;
    }
    if std::fs::hard_link(from, to).is_err() {
        std::fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

fn image_json(facts: &ImageFacts, files: &[(&str, u64, String)]) -> Result<String> {
    let mut value = serde_json::to_value(facts)?;
    let files: serde_json::Map<String, Value> = files
        .iter()
        .map(|(name, length, sha256)| ((*name).to_owned(), json!({ "length": length, "sha256": sha256 })))
        .collect();
    if let Some(object) = value.as_object_mut() {
        object.insert("files".to_owned(), Value::Object(files));
    }
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

fn sums(files: &[(&str, u64, String)]) -> String {
    files.iter().map(|(name, _, sha256)| format!("{sha256}  {name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::host;
    use crate::image::layer::ImageFacts;

    #[test]
    fn image_json_and_sums_describe_the_files_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let (boot, root, live) =
            (folder.path().join("b"), folder.path().join("r"), folder.path().join("live"));
        host::write(&boot.join("vmlinuz"), "kernel").unwrap();
        host::write(&boot.join("initrd"), "initrd").unwrap();
        host::write(&root.join("root.squashfs"), "root").unwrap();
        let facts = ImageFacts {
            schema: "metalstrap.image/v1",
            version: "0.1.0".to_owned(),
            build_id: "id".to_owned(),
            kernel: "6.1".to_owned(),
            k3s: None,
            double: false,
        };
        let sums_sha = write(&live, &root, &boot, &facts).unwrap();
        let image: serde_json::Value =
            serde_json::from_slice(&std::fs::read(live.join("image.json")).unwrap()).unwrap();
        assert_eq!(image["schema"], "metalstrap.image/v1");
        assert_eq!(image["files"]["vmlinuz"]["length"], 6);
        assert_eq!(image["k3s"], serde_json::Value::Null);
        let check =
            host::command("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&live).status();
        assert!(check.unwrap().success());
        let sums = std::fs::read_to_string(live.join("SHA256SUMS")).unwrap();
        let names: Vec<&str> = sums.lines().map(|line| &line[66..]).collect();
        assert_eq!(names, ["root.squashfs", "vmlinuz", "initrd", "image.json"]);
        assert_eq!(sums_sha, crate::image::stage::measure(&live.join("SHA256SUMS")).unwrap().1);
    }
}
