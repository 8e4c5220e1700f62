//! What rendering gives: files, folders, links and unit names, without a trace of a secret in any printed form.

use super::error::RenderError;
use profiles::secret::Secret;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything one node needs on its root. All lists are sorted. Owner and group are always root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedNode {
    /// Folders whose mode matters; made before the files. Other parents are 0755.
    pub directories: Vec<RenderedDirectory>,
    /// Files.
    pub files: Vec<RenderedFile>,
    /// Symbolic links; they replace what is there.
    pub links: Vec<RenderedLink>,
    /// Units to enable.
    pub enable: Vec<String>,
    /// Units to mask.
    pub mask: Vec<String>,
}

impl RenderedNode {
    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&RenderedFile> {
        self.files.iter().find(|f| f.path == path)
    }
}

/// A folder with a mode that matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedDirectory {
    /// Absolute path on the node.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedFile {
    /// Absolute path on the node.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// True when the contents are a secret.
    pub secret: bool,
    /// The text; redacted when printed or serialised if it is a secret.
    pub contents: Contents,
}

/// The text of a file. `Debug` and `Serialize` show a secret as `<redacted>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Contents {
    /// May be shown.
    Plain(String),
    /// Must not be shown.
    Secret(Secret),
}

impl Contents {
    /// The text itself, secret or not. Call it only where the file is written or compared.
    pub fn expose(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.expose(),
        }
    }
}

/// One symbolic link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RenderedLink {
    /// Absolute path of the link.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// Collects what the renderers add.
#[derive(Default)]
pub(super) struct Output {
    directories: BTreeMap<String, u32>,
    files: Vec<RenderedFile>,
    links: Vec<RenderedLink>,
    enable: BTreeSet<String>,
    mask: BTreeSet<String>,
}

impl Output {
    /// Adds a file anybody on the node may read.
    pub(super) fn file(&mut self, path: &str, text: String) {
        self.add(path, 0o644, Contents::Plain(text));
    }

    /// Adds a file only root may read, that holds no secret.
    pub(super) fn private_file(&mut self, path: &str, text: String) {
        self.add(path, 0o600, Contents::Plain(text));
    }

    /// Adds a secret, as one line.
    pub(super) fn secret_file(&mut self, path: &str, secret: &Secret) {
        self.add(path, 0o600, Contents::Secret(Secret::new(format!("{}\n", secret.expose()))));
    }

    /// Adds a folder only root may enter.
    pub(super) fn private_directory(&mut self, path: &str) {
        self.directories.insert(path.to_owned(), 0o700);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: String) {
        self.links.push(RenderedLink { path: path.to_owned(), target });
    }

    /// Enables a unit.
    pub(super) fn enable(&mut self, unit: &str) {
        self.enable.insert(unit.to_owned());
    }

    /// Masks a unit.
    pub(super) fn mask(&mut self, unit: &str) {
        self.mask.insert(unit.to_owned());
    }

    fn add(&mut self, path: &str, mode: u32, contents: Contents) {
        let secret = matches!(contents, Contents::Secret(_));
        self.files.push(RenderedFile { path: path.to_owned(), mode, secret, contents });
    }

    /// Sorts everything and refuses a path that was written twice.
    pub(super) fn finish(mut self) -> Result<RenderedNode, RenderError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.links.sort_by(|a, b| a.path.cmp(&b.path));
        let mut seen = BTreeSet::new();
        for path in self.files.iter().map(|f| &f.path).chain(self.links.iter().map(|l| &l.path)) {
            if !seen.insert(path) {
                return Err(RenderError::DuplicatePath { path: path.clone() });
            }
        }
        Ok(RenderedNode {
            directories: self
                .directories
                .into_iter()
                .map(|(path, mode)| RenderedDirectory { path, mode })
                .collect(),
            files: self.files,
            links: self.links,
            enable: self.enable.into_iter().collect(),
            mask: self.mask.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Output;
    use profiles::secret::Secret;

    #[test]
    fn never_shows_the_contents_of_a_secret_file() {
        let mut output = Output::default();
        output.secret_file("/a", &Secret::new("hunter2"));
        output.file("/b", "shown\n".to_owned());
        let node = output.finish().unwrap();
        let json = serde_json::to_string(&node).unwrap();
        let debug = format!("{node:?}");
        for text in [&json, &debug] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains("<redacted>") && text.contains("shown"), "{text}");
        }
        assert_eq!(node.file("/a").unwrap().contents.expose(), "hunter2\n");
    }

    #[test]
    fn refuses_a_path_written_twice() {
        let mut output = Output::default();
        output.file("/etc/hosts", String::new());
        output.link("/etc/hosts", "x".to_owned());
        assert_eq!(output.finish().unwrap_err().to_string(), "rendering /etc/hosts: two renderers write it");
    }
}
