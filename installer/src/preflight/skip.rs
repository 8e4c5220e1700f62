//! Checks that the operator leaves out: in the cluster file, by kernel argument, on the command line.

use crate::exit::ExitCode;
use crate::inventory::sanitise;
use crate::refusal::Refusal;
use profiles::preflight::why_not_skippable;
use std::collections::BTreeMap;

/// Ids that are left out, each with who says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skips {
    by_id: BTreeMap<String, String>,
}

impl Skips {
    /// Adds ids; `origin` is shown beside them. The first origin of an id stays.
    pub fn add(&mut self, ids: &[String], origin: &str) {
        for id in ids {
            self.by_id.entry(id.clone()).or_insert_with(|| origin.to_owned());
        }
    }

    /// Who leaves out the check of this id.
    pub fn origin(&self, id: &str) -> Option<&str> {
        self.by_id.get(id).map(String::as_str)
    }
}

/// `ID,ID` as a list, blanks and empty parts left out.
pub fn split_ids(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// Checks that every id is one of a check that may be left out. `what` is what the operator wrote them in.
///
/// # Errors
/// `E_ARGUMENT` with every id that may not, and why.
pub fn ensure_skippable(ids: &[String], what: &str) -> Result<(), Refusal> {
    let wrong: Vec<String> =
        ids.iter().filter_map(|id| Some(format!("{}: {}", sanitise(id), why_not_skippable(id)?))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!("{what} names checks that cannot be left out: {}", wrong.join("; "));
    Err(Refusal::new("E_ARGUMENT", ExitCode::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::{Skips, ensure_skippable, split_ids};

    #[test]
    fn only_what_may_be_left_out_is() {
        assert_eq!(split_ids(" cpu.cores,,disk.fsync ,"), ["cpu.cores", "disk.fsync"]);
        assert!(ensure_skippable(&split_ids("cpu.cores,disk.fsync"), "--skip").is_ok());
        let refusal =
            ensure_skippable(&split_ids("disk.choice,cpu.core\x1b"), "metalstrap.skip").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "E_ARGUMENT: metalstrap.skip names checks that cannot be left out: disk.choice: it cannot be left out: without it \
             data would be at risk or the install could not end; cpu.core\\u{1b}: there is no such check (did you mean `cpu.cores`?)"
        );
    }

    #[test]
    fn the_first_who_says_so_is_named() {
        let mut skips = Skips::default();
        skips.add(&split_ids("cpu.cores"), "the cluster file");
        skips.add(&split_ids("cpu.cores,cpu.level"), "--skip");
        assert_eq!(skips.origin("cpu.cores"), Some("the cluster file"));
        assert_eq!((skips.origin("cpu.level"), skips.origin("cpu.steal")), (Some("--skip"), None));
    }
}
