//! The committed reference pages are the generated ones, and the JSON Schema judges as the program does.
//!
//! `METALSTRAP_BLESS=1 cargo test -p profiles --test reference` writes the pages anew.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may, and writes only when asked to"
)]

use profiles::reference::{
    cluster_schema, render_cluster_file_page, render_diagnostics_page, render_schema_file,
};
use profiles::{Code, load};
use std::path::{Path, PathBuf};

#[track_caller]
fn expect_committed(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("METALSTRAP_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "docs/reference/{name} is not what the types say; run METALSTRAP_BLESS=1 cargo test -p profiles --test reference"
    );
}

#[test]
fn schema_file_is_current() {
    expect_committed("cluster.schema.json", &render_schema_file());
}

#[test]
fn cluster_file_page_is_current() {
    expect_committed("cluster-file.md", &render_cluster_file_page());
}

#[test]
fn diagnostics_page_is_current() {
    expect_committed("diagnostics.md", &render_diagnostics_page());
}

#[test]
fn every_key_is_described() {
    let mut bare = vec![];
    let definitions = cluster_schema()["$defs"].as_object().unwrap();
    for (name, definition) in
        definitions.iter().map(|(name, value)| (name.as_str(), value)).chain([("", cluster_schema())])
    {
        for (key, property) in definition["properties"].as_object().into_iter().flatten() {
            if property["description"].as_str().is_none_or(|text| text.len() < 8) {
                bare.push(format!("{name}.{key}"));
            }
        }
    }
    assert_eq!(bare, Vec::<String>::new());
    let page = render_cluster_file_page();
    // Its keys are the three headings of one section.
    for (name, definition) in definitions.iter().filter(|(name, _)| *name != "ProfilesTable") {
        for key in definition["properties"].as_object().into_iter().flatten().map(|(key, _)| key) {
            assert!(page.contains(&format!("| `{key}` |")), "{name}.{key} is not on the page");
        }
    }
}

fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// An independent validator, given the same schema, agrees with our walk on every file that is TOML.
#[test]
fn an_independent_validator_agrees_about_the_structure() {
    let structural = [
        Code::VersionUnsupported,
        Code::KeyUnknown,
        Code::KeyMissing,
        Code::TypeWrong,
        Code::ValueUnknown,
        Code::ValueFormat,
        Code::ValueRange,
    ];
    let validator = jsonschema::validator_for(cluster_schema()).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    let mut disagree = vec![];
    for path in ["tests/corpus/good", "tests/corpus/bad", "examples"].into_iter().flat_map(corpus) {
        let bytes = std::fs::read(&path).unwrap();
        let Some(value) =
            std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str::<serde_json::Value>(text).ok())
        else {
            continue;
        };
        let refused =
            load("f", &bytes, None).diagnostics.iter().any(|found| structural.contains(&found.code));
        let theirs = !validator.is_valid(&value);
        if refused != theirs {
            disagree.push(path.file_stem().unwrap().to_string_lossy().into_owned());
        }
        if refused { invalid += 1 } else { valid += 1 }
    }
    // JSON has one kind of number; a regular expression cannot say "fits in 64 bits", nor "not IPv4 in any spelling".
    let beyond =
        ["address_ipv4_as_ipv6", "disk_size_overflow", "disk_size_too_long", "mtu_float", "version_float"];
    assert_eq!(disagree, beyond);
    assert!(valid > 40 && invalid > 15, "{valid} {invalid}");
}
