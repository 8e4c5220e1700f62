//! What lies over the Debian packages in the root image: our files, programs and the Kubernetes artefacts.

use super::Kind;
use super::base::Base;
use super::stage::{self, Key};
use crate::artefacts::{Artefacts, INSTALLED_IN};
use crate::host;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Boot loaders signed by Debian: name in the image, and where Debian's packages put it.
const LOADERS: [(&str, &str); 3] = [
    ("BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
    ("grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
    ("mmx64.efi", "usr/lib/shim/mmx64.efi.signed"),
];
/// systemd compares these with the time of `/usr` and would otherwise rebuild its databases at every start.
const UP_TO_DATE: [&str; 2] = ["etc/.updated", "var/.updated"];
/// systemd never lets the clock start before the time of this file.
const CLOCK_EPOCH: &str = "usr/lib/clock-epoch";

/// Where the content of an entry comes from.
enum Content {
    Text(String),
    Copy(PathBuf),
    Link(PathBuf),
}

struct Entry {
    content: Content,
    mode: u32,
}

/// The layer as a list of entries, by path in the image.
#[derive(Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
}

/// `image.json` as it stands in the root image, and the head of the one on the medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageFacts {
    /// Always `metalstrap.image/v1`.
    pub schema: &'static str,
    /// Version of metalstrap.
    pub version: String,
    /// Names these very contents.
    pub build_id: String,
    /// Kernel release.
    pub kernel: String,
    /// k3s release, or none.
    pub k3s: Option<String>,
    /// True when the test double is in the place of k3s.
    pub double: bool,
}

impl Layer {
    /// Collects the layer. `programs` is the folder with our built programs.
    ///
    /// # Errors
    /// A file of the overlay cannot be read.
    pub fn collect(base: &Base, programs: &Path, artefacts: &Artefacts, kind: Kind) -> Result<Self> {
        let mut layer = Self::default();
        layer.add_overlay(&host::workspace().join("images/overlay"))?;
        if kind == Kind::Double {
            layer.add_overlay(&host::workspace().join("tests/testkit/overlay"))?; // never in a release image
        }
        for program in ["metalstrap", "metalstrap-agent"] {
            layer.add(&format!("usr/bin/{program}"), Content::Copy(programs.join(program)), 0o755);
        }
        for (name, packaged) in LOADERS {
            layer.add(
                &format!("usr/lib/metalstrap/efi/{name}"),
                Content::Copy(base.tree.join(packaged)),
                0o644,
            );
        }
        for path in UP_TO_DATE {
            let text = format!("# made with the image\nTIMESTAMP_NSEC={}000000000\n", base.seconds);
            layer.add(path, Content::Text(text), 0o644);
        }
        layer.add(CLOCK_EPOCH, Content::Text(String::new()), 0o644);
        layer.add("etc/issue", Content::Text(issue(kind)), 0o644);
        layer.add_artefacts(artefacts)?;
        Ok(layer)
    }

    /// The key of the layer's content.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn key(&self) -> Result<Key> {
        let mut key = Key::new("layer", 1);
        for (path, entry) in &self.entries {
            key = key.with(path, entry.mode.to_be_bytes());
            key = match &entry.content {
                Content::Text(text) => key.with("text", text),
                Content::Copy(file) => key.with("sha256", stage::measure(file)?.1),
                Content::Link(to) => key.with("link", to.to_string_lossy().as_bytes()),
            };
        }
        Ok(key)
    }

    /// Adds `image.json`, the one file that depends on the others.
    pub fn add_facts(&mut self, facts: &ImageFacts) -> Result<()> {
        let text = serde_json::to_string_pretty(facts)? + "\n";
        self.add("usr/share/metalstrap/image.json", Content::Text(text), 0o644);
        Ok(())
    }

    /// Writes the layer into an empty folder, owned by root.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (path, entry) in &self.entries {
            let target = folder.join(path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
            }
            let writing = || format!("writing {}", target.display());
            match &entry.content {
                Content::Text(text) => host::write(&target, text)?,
                Content::Copy(file) => {
                    std::fs::copy(file, &target).with_context(|| format!("copying {}", file.display()))?;
                }
                Content::Link(to) => {
                    std::os::unix::fs::symlink(to, &target).with_context(writing)?;
                    continue;
                }
            }
            std::fs::set_permissions(&target, PermissionsExt::from_mode(entry.mode)).with_context(writing)?;
        }
        // The umask of whoever builds is no part of an image.
        host::output(
            host::command("find").arg(folder).args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]),
        )?;
        host::output(host::privileged("chown").args(["-hR", "0:0"]).arg(folder)).map(|_| ())
    }

    fn add(&mut self, path: &str, content: Content, mode: u32) {
        self.entries.insert(path.to_owned(), Entry { content, mode });
    }

    fn add_overlay(&mut self, overlay: &Path) -> Result<()> {
        for file in stage::walk(overlay)? {
            let path = file.strip_prefix(overlay).unwrap_or(&file).to_string_lossy().into_owned();
            match std::fs::read_link(&file) {
                Ok(to) => self.add(&path, Content::Link(to), 0o777),
                Err(_) => {
                    let mode = if stage::is_executable(&file)? { 0o755 } else { 0o644 };
                    self.add(&path, Content::Copy(file), mode);
                }
            }
        }
        Ok(())
    }

    fn add_artefacts(&mut self, artefacts: &Artefacts) -> Result<()> {
        let mut listed = Vec::new();
        for artefact in &artefacts.files {
            let mode = if artefact.executable { 0o755 } else { 0o644 };
            self.add(artefact.path.trim_start_matches('/'), Content::Copy(artefact.file.clone()), mode);
            listed.push(json!({
                "name": artefact.name,
                "version": artefact.version,
                "path": artefact.path,
                "length": artefact.length,
                "sha256": artefact.sha256,
                "install_to": artefact.install_to,
            }));
        }
        if artefacts.k3s_version.is_some() {
            for name in ["kubectl", "crictl", "ctr"] {
                self.add(&format!("usr/local/bin/{name}"), Content::Link("k3s".into()), 0o777);
            }
        }
        let manifest =
            json!({ "schema": "metalstrap.artifacts/v1", "double": artefacts.double, "artifacts": listed });
        let text = serde_json::to_string_pretty(&manifest)? + "\n";
        self.add(
            &format!("{}/manifest.json", INSTALLED_IN.trim_start_matches('/')),
            Content::Text(text),
            0o644,
        );
        Ok(())
    }
}

fn issue(kind: Kind) -> String {
    let warning = if kind == Kind::Double { "K3S DOUBLE: not Kubernetes, for tests only\n" } else { "" };
    format!("metalstrap {} \\n \\l\n{warning}\n", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::{Content, Layer, issue};
    use crate::artefacts::{Artefact, Artefacts};
    use crate::image::Kind;

    fn artefacts(file: &std::path::Path) -> Artefacts {
        Artefacts {
            double: true,
            k3s_version: Some("v1.28.9+k3s1".to_owned()),
            files: vec![Artefact {
                name: "k3s".to_owned(),
                version: "v1.28.9+k3s1".to_owned(),
                file: file.to_path_buf(),
                path: "/usr/local/bin/k3s".to_owned(),
                install_to: None,
                executable: true,
                length: 3,
                sha256: "ab".to_owned(),
            }],
        }
    }

    #[test]
    fn manifest_lists_the_artefacts_in_the_form_of_the_contract() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut layer = Layer::default();
        layer.add_artefacts(&artefacts(file.path())).unwrap();
        let Content::Text(text) = &layer.entries["usr/share/metalstrap/artifacts/manifest.json"].content
        else {
            panic!("the manifest is not a text")
        };
        let manifest: serde_json::Value = serde_json::from_str(text).unwrap();
        let expected = serde_json::json!({
            "schema": "metalstrap.artifacts/v1",
            "double": true,
            "artifacts": [{
                "name": "k3s", "version": "v1.28.9+k3s1", "path": "/usr/local/bin/k3s",
                "length": 3, "sha256": "ab", "install_to": null,
            }],
        });
        assert_eq!(manifest, expected);
        assert!(
            matches!(&layer.entries["usr/local/bin/kubectl"].content, Content::Link(to) if to.ends_with("k3s"))
        );
    }

    #[test]
    fn key_of_the_layer_changes_with_the_content_of_a_copied_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut layer = Layer::default();
        layer.add_artefacts(&artefacts(file.path())).unwrap();
        let before = layer.key().unwrap().text();
        assert_eq!(before, layer.key().unwrap().text());
        crate::host::write(file.path(), "changed").unwrap();
        assert_ne!(before, layer.key().unwrap().text());
    }

    #[test]
    fn login_prompt_of_a_double_says_so_and_of_a_real_image_does_not() {
        assert!(issue(Kind::Double).contains("K3S DOUBLE: not Kubernetes, for tests only"));
        assert!(!issue(Kind::Kubernetes).contains("DOUBLE"));
        assert!(!issue(Kind::Plain).contains("DOUBLE"));
    }
}
