//! Every file of every kind of node, byte for byte. `METALSTRAP_BLESS=1 cargo test -p installer --test
//! render_goldens` writes them anew; the diff is then part of the review.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test keeps its own golden files")]

mod render_support;

use installer::render::RenderedNode;
use render_support::{CANARY, cases, render};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Golden text by path relative to the folder of the case. A secret has no golden, only its line in `INDEX`.
fn golden_files(node: &RenderedNode) -> BTreeMap<String, String> {
    let plain = node.files.iter().filter(|f| !f.secret);
    let mut files: BTreeMap<String, String> =
        plain.map(|f| (f.path.trim_start_matches('/').to_owned(), f.contents.expose().to_owned())).collect();
    files.insert("INDEX".to_owned(), index(node));
    files
}

fn index(node: &RenderedNode) -> String {
    let mut lines: Vec<String> =
        node.directories.iter().map(|d| format!("dir  {:04o} {}", d.mode, d.path)).collect();
    lines.extend(node.files.iter().map(|f| {
        let secret = if f.secret { " secret" } else { "" };
        format!("file {:04o} {}{secret}", f.mode, f.path)
    }));
    lines.extend(node.links.iter().map(|l| format!("link {} -> {}", l.path, l.target)));
    lines.extend(node.enable.iter().map(|unit| format!("enable {unit}")));
    lines.extend(node.mask.iter().map(|unit| format!("mask {unit}")));
    lines.join("\n") + "\n"
}

fn read_tree(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_tree(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn write_tree(root: &Path, files: &BTreeMap<String, String>) {
    let _ = fs::remove_dir_all(root);
    for (name, text) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn every_file_of_every_role_equals_its_golden() {
    let goldens = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/render");
    for (case, node) in cases() {
        let rendered = golden_files(&render(&node));
        let root = goldens.join(case);
        if std::env::var_os("METALSTRAP_BLESS").is_some() {
            write_tree(&root, &rendered);
        }
        let mut expected = BTreeMap::new();
        read_tree(&root, &root, &mut expected);
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&rendered), names(&expected), "files of {case}");
        for (name, text) in &rendered {
            assert_eq!(text, &expected[name], "{case}/{name}");
        }
    }
}

#[test]
fn the_same_node_gives_the_same_bytes() {
    for (_, node) in cases() {
        assert_eq!(render(&node), render(&node));
    }
}

#[test]
fn tokens_are_only_in_secret_files_of_the_roles_that_hold_them() {
    let agent = ["/etc/rancher/k3s/agent-token"].as_slice();
    let both = ["/etc/rancher/k3s/agent-token", "/etc/rancher/k3s/server-token"].as_slice();
    let expected = BTreeMap::from([
        ("master-forming", both),
        ("master-joining", both),
        ("worker", agent),
        ("proxy-internal", [].as_slice()),
        ("proxy-dmz", [].as_slice()),
        ("single", both),
    ]);
    for (case, node) in cases() {
        let rendered = render(&node);
        let with_canary: Vec<&str> = rendered
            .files
            .iter()
            .filter(|f| f.contents.expose().contains(CANARY))
            .map(|f| f.path.as_str())
            .collect();
        assert_eq!(with_canary, expected[case], "{case}");
        for file in rendered.files.iter().filter(|f| f.contents.expose().contains(CANARY)) {
            assert!(file.secret && file.mode == 0o600, "{case}: {}", file.path);
        }
        assert!(!serde_json::to_string(&rendered).unwrap().contains(CANARY), "{case}");
        assert!(!format!("{rendered:?}").contains(CANARY), "{case}");
    }
}

#[test]
fn files_that_only_root_may_read_are_0600() {
    let private = |path: &str| {
        path.starts_with("/etc/rancher/")
            || path.starts_with("/root/")
            || path.starts_with("/var/lib/rancher/")
    };
    for (case, node) in cases() {
        for file in render(&node).files {
            let expected = if private(&file.path) { 0o600 } else { 0o644 };
            assert_eq!(file.mode, expected, "{case}: {}", file.path);
        }
    }
}
