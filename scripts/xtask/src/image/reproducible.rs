//! `cargo xtask image --check-reproducible`: the same inputs, built again from nothing, are the same bytes.

use super::{BuiltImage, ImageArgs, base, build_on, build_programs, stage};
use crate::failure::{CommandResult, UNKNOWN, failure};
use crate::host;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// Builds again in a cache of its own and compares every file with those of `built`.
///
/// # Errors
/// Exit code 1 naming the files that differ.
pub fn check(args: &ImageArgs, built: &BuiltImage) -> CommandResult {
    let cache = host::cache();
    let work = tempfile::tempdir_in(&cache).context("making a temporary folder")?;
    let (second_cache, out) = (work.path().join("cache"), work.path().join("out"));
    std::fs::create_dir_all(&second_cache).context("making a temporary folder")?;
    let result = base::ensure(if args.with_base { &second_cache } else { &cache }, args.mirror.as_deref())
        .and_then(|base| build_on(&base, args, &second_cache, &out, &build_programs(args.kind())?))
        .and_then(|second| compare(built, &second));
    stage::remove(&second_cache)?; // root owns parts of it
    result
}

fn compare(first: &BuiltImage, second: &BuiltImage) -> Result<()> {
    let mut differing = Vec::new();
    let (one, two) = (sums(&first.pxe)?, sums(&second.pxe)?);
    for name in one.keys().chain(two.keys().filter(|name| !one.contains_key(*name))) {
        if one.get(name) != two.get(name) {
            differing.push(name.clone());
        }
    }
    let iso = stage::measure(&first.iso)?;
    if iso != stage::measure(&second.iso)? {
        differing.push(first.iso.display().to_string());
    }
    if differing.is_empty() {
        println!("built twice, bit-identical: ISO sha256 {}", iso.1);
        return Ok(());
    }
    Err(failure(UNKNOWN, format!("built twice, not the same: {}", differing.join(", "))))
}

fn sums(folder: &Path) -> Result<BTreeMap<String, (u64, String)>> {
    let mut sums = BTreeMap::new();
    for file in stage::walk(folder)? {
        let name = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
        sums.insert(name, stage::measure(&file)?);
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::compare;
    use crate::host;
    use crate::image::BuiltImage;

    #[test]
    fn names_every_file_that_differs_and_accepts_equal_ones() {
        let folder = tempfile::tempdir().unwrap();
        let image = |name: &str, initrd: &str| {
            let out = folder.path().join(name);
            host::write(&out.join("iso"), "same").unwrap();
            host::write(&out.join("pxe/live/initrd"), initrd).unwrap();
            BuiltImage { iso: out.join("iso"), pxe: out.join("pxe"), rebuilt: true }
        };
        let (one, two, other) = (image("1", "a"), image("2", "a"), image("3", "b"));
        compare(&one, &two).unwrap();
        let error = compare(&one, &other).unwrap_err();
        assert_eq!(error.to_string(), "built twice, not the same: live/initrd");
    }
}
