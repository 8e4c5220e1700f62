//! Preflight checks that are left out: they exist, and may be left out.

use super::findings::Findings;
use super::view::View;
use crate::code::Code;
use crate::path::KeyPath;
use crate::preflight::{find, why_not_skippable};

/// Every id is one of a check, and of one that may be left out.
pub(super) fn skips(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(table) = &view.preflight else { return };
    let path = KeyPath::of("preflight.skip");
    for (n, name) in table.skip.iter().enumerate() {
        let Some(why) = why_not_skippable(name) else { continue };
        let code = if find(name).is_some() { Code::CheckNeeded } else { Code::CheckUnknown };
        findings.value(code, &path.index(n), why);
    }
}
