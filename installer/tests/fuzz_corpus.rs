//! Replays the corpora of the fuzz targets without a fuzzer: every input as it is, cut short, and with single bytes changed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]
#![allow(missing_docs, reason = "the functions of the fuzz crate are described there")]

#[path = "../../fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Changed places and cuts of each input.
const CHANGES: usize = 12;
/// Larger inputs are replayed as they are only: each change costs a whole parse.
const CHANGED_BYTES_MAX: usize = 16 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// The corpus of a target, and what the tests of other crates keep for the same parser.
fn inputs(target: &str) -> Vec<PathBuf> {
    let more = match target {
        "cluster_file" => {
            vec!["profiles/tests/corpus/bad", "profiles/tests/corpus/good", "profiles/examples"]
        }
        "inventory" => vec!["installer/tests/fixtures/inventory"],
        _ => vec![],
    };
    let folders = std::iter::once(format!("fuzz/corpus/{target}")).chain(more.into_iter().map(str::to_owned));
    let files = folders.flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_every_corpus_and_its_neighbours_hold_what_the_target_promises() {
    for (name, target) in targets::TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() >= 5, "{name} has {} inputs", inputs.len());
        for path in inputs {
            let bytes = std::fs::read(&path).unwrap();
            target(&bytes);
            if bytes.len() > CHANGED_BYTES_MAX {
                continue;
            }
            for n in 0..CHANGES.min(bytes.len()) {
                let at = bytes.len() * n / CHANGES;
                target(&bytes[..at]);
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (n % 8);
                target(&changed);
            }
        }
    }
}

/// A target that is forgotten in one place is run by nobody.
#[test]
fn a_target_is_in_the_list_in_a_file_in_the_manifest_and_has_a_corpus() {
    let listed: BTreeSet<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&root().join("fuzz/fuzz_targets")), listed);
    assert_eq!(names(&root().join("fuzz/corpus")), listed);
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap()).unwrap();
    let bins = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    assert_eq!(bins.collect::<BTreeSet<_>>(), listed);
}
