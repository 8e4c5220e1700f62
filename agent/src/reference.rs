//! The reference page of all checks, made from the catalogue; a test keeps the page in `docs/` current.

use crate::catalogue::{ALL_ROLES, Check};
use profiles::node::Role;
use std::fmt::Write;
use std::time::Duration;

/// Renders `docs/reference/health-checks.md`.
pub fn render(catalogue: &[&Check]) -> String {
    let mut out = String::from(
        "# Health checks\n\n\
         <!-- Made from the catalogue in agent/src/catalogue.rs; `METALSTRAP_BLESS=1 cargo test -p agent --test reference` writes it. -->\n\n\
         A check is `ok`, `warning`, `critical`, `unknown` (not looked at yet, or could not look) or `disabled` (the role does not\n\
         want it). A node is healthy when every check has run and none is warning, critical or unknown. A result older than three\n\
         intervals is unknown. A look that tells nothing leaves the last verdict in place, with the reason, for three intervals\n\
         (longer where a bad finding may last longer before it counts); only then the check is unknown. A bad finding whose cause\n\
         is another check that is warning or critical is unknown and names that check.\n\
         In the first five minutes of the agent a check that was not ok yet is made again after three seconds, whatever its interval.\n",
    );
    for check in catalogue {
        let roles = if check.roles == ALL_ROLES { "all".to_owned() } else { roles(check.roles) };
        let after = if check.depends_on.is_empty() { "none".to_owned() } else { code_list(check.depends_on) };
        // Writing into a string does not fail.
        let _infallible = write!(
            out,
            "\n## `{}`\n\n{}.\n\n| | |\n|---|---|\n| roles | {roles} |\n| looks at | {} |\n| not ok | {} |\n\
             | interval, time limit | {}, {} |\n| consequence of | {after} |\n| what to do | {} |\n",
            check.id,
            check.title,
            cell(check.source),
            cell(check.limits),
            duration(check.interval),
            duration(check.timeout),
            cell(check.action),
        );
    }
    out
}

fn roles(roles: &[Role]) -> String {
    roles.iter().map(Role::to_string).collect::<Vec<_>>().join(", ")
}

fn code_list(ids: &[&str]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
