//! Every code that the source can give is in the catalogue, and the committed page is the catalogue's.
//!
//! `METALSTRAP_BLESS=1 cargo test -p installer --test error_codes` writes the page anew.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may, and writes only when asked to"
)]

use installer::codes::{all, find, render_codes_page};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Words in quotes that begin with `E_`; what ends in `_` is the beginning of several.
fn codes_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|word| {
        word.strip_prefix("E_").is_some_and(|rest| {
            !rest.is_empty()
                && !rest.ends_with('_')
                && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        })
    })
}

/// Each code of the product's source with the files it stands in; the catalogue itself does not count.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in ["installer/src", "installer/sysio/src", "agent/src", "agent/report/src"] {
        rust_files(&root().join(folder), &mut files);
    }
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files.iter().filter(|path| !path.starts_with(root().join("installer/src/codes"))) {
        let text = std::fs::read_to_string(path).unwrap();
        for code in codes_in(&text) {
            used.entry(code.to_owned()).or_default().insert(path.display().to_string());
        }
    }
    used
}

#[test]
fn no_code_of_the_source_is_undocumented() {
    let used = used();
    assert!(used.len() > 40, "the walk found only {} codes", used.len());
    let unknown: Vec<_> = used
        .iter()
        .filter(|(code, _)| {
            find(code).is_none() && !profiles::Code::ALL.iter().any(|known| known.as_str() == code.as_str())
        })
        .collect();
    assert!(unknown.is_empty(), "add them to installer/src/codes/: {unknown:#?}");
}

#[test]
fn no_documented_code_is_unused() {
    let used = used();
    let idle: Vec<_> = all().map(|info| info.code).filter(|code| !used.contains_key(*code)).collect();
    assert_eq!(idle, Vec::<&str>::new());
}

#[test]
fn the_page_is_current() {
    let path = root().join("docs/reference/error-codes.md");
    let page = render_codes_page();
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/error-codes.md is not what installer/src/codes says; run METALSTRAP_BLESS=1 cargo test -p installer --test error_codes"
    );
}
