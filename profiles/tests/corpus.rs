//! Replays `corpus/`: every file says in its first line which codes it must give, and where.
//!
//! `METALSTRAP_BLESS=1 cargo test -p profiles --test corpus` writes the first lines anew; look at the difference.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may, and writes only when asked to"
)]

use profiles::{Code, load};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MARK: &str = "# expect: ";

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What the file gives, as its first line should say it.
fn outcome(bytes: &[u8]) -> (String, Vec<Code>, bool) {
    let loaded = load("cluster.toml", bytes, None);
    let found: Vec<_> =
        loaded.diagnostics.iter().map(|d| format!("{} {}:{}", d.code, d.line, d.column)).collect();
    let codes = loaded.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let text = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    (text, codes, loaded.cluster.is_some())
}

/// Splits off the first line, behind a byte order mark if there is one.
fn expectation(bytes: &[u8]) -> (String, usize) {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().next().unwrap_or_default();
    let expected = line.trim_start_matches('\u{feff}').strip_prefix(MARK).unwrap_or_default().to_owned();
    (expected, line.len())
}

fn replay(folder: &str, usable: bool) -> BTreeSet<Code> {
    let mut seen = BTreeSet::new();
    let mut wrong = vec![];
    for path in files(folder) {
        let bytes = std::fs::read(&path).unwrap();
        let (found, codes, cluster) = outcome(&bytes);
        let (expected, line_length) = expectation(&bytes);
        if found != expected && std::env::var_os("METALSTRAP_BLESS").is_some() {
            let bom = if bytes.starts_with(b"\xef\xbb\xbf") { "\u{feff}" } else { "" };
            let mut anew = format!("{bom}{MARK}{found}").into_bytes();
            anew.extend(&bytes[line_length..]);
            std::fs::write(&path, anew).unwrap();
        } else if found != expected {
            wrong.push(format!("{}\n  expected {expected}\n  found    {found}", path.display()));
        }
        if cluster != usable {
            wrong.push(format!("{} gives a cluster: {cluster}", path.display()));
        }
        seen.extend(codes);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    seen
}

#[test]
fn good_files_give_a_cluster() {
    replay("good", true);
    assert!(files("good").len() >= 40);
}

#[test]
fn bad_files_give_exactly_their_codes_and_positions() {
    replay("bad", false);
    assert!(files("bad").len() >= 150);
}

#[test]
fn every_code_of_a_cluster_file_is_in_the_corpus() {
    let mut seen = replay("bad", false);
    seen.extend(replay("good", true));
    // Not of a cluster file, of the second file, of a size no corpus should have, or of a bug.
    let elsewhere = [
        Code::FileTooLarge,
        Code::TooMany,
        Code::SecretTwice,
        Code::PinEmpty,
        Code::PinIncomplete,
        Code::Internal,
    ];
    let missing: Vec<_> =
        Code::ALL.iter().filter(|code| !seen.contains(code) && !elsewhere.contains(code)).collect();
    assert_eq!(missing, Vec::<&Code>::new());
}
