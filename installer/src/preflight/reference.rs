//! The reference page of all checks, made from the catalogue; a test keeps the page in `docs/` current.

use super::catalogue::CATALOGUE;
use super::model::{Check, Class, Severity};
use crate::exit::ExitCode;

/// Renders `docs/reference/preflight-checks.md`.
pub fn render() -> String {
    let mut page = format!(
        "# Preflight checks\n\n\
         <!-- Made from installer/src/preflight/catalogue.rs; `METALSTRAP_BLESS=1 cargo test -p installer --test preflight` writes it. -->\n\n\
         {} checks are made in `metalstrap plan`, before an install writes anything, and by `metalstrap check --live` on any machine that was\n\
         booted from a live medium. All of them run, and everything that is wrong is said at once.\n\n\
         A check says `pass`, `warning`, `FAIL`, `could not run` (with the reason; never counted as fine), `skipped`, or `does not apply`. A *required*\n\
         check that fails stops the install before its first write with the code given here; the exit code is that of the first failure in the order\n\
         of this page ({}). *Advice* warns at most.\n\n\
         A check is left out by its id: `metalstrap.skip=ID,ID` on the kernel command line, `[preflight] skip = [\"ID\"]` in the cluster file, or\n\
         `--skip ID`. What was left out stands in the install record and in the message of the health check `install.record`. Checks marked *always made*\n\
         cannot be left out: they protect data or secrets, or the install could not end without what they look for.\n\n\
         | check | class | severity | left out | true when it passes |\n|---|---|---|---|---|\n",
        CATALOGUE.len(),
        [ExitCode::InvalidInput, ExitCode::UnsupportedHardware, ExitCode::Environment, ExitCode::Download]
            .map(|code| format!("{code}: {}", code.meaning()))
            .join(", "),
    );
    for check in CATALOGUE {
        page += &format!(
            "| [`{0}`](#{1}) | {2} | {3} | {4} | {5} |\n",
            check.id.name,
            check.id.name.replace('.', ""),
            check.class,
            severity(check),
            skippable(check),
            cell(check.title),
        );
    }
    for class in Class::ALL {
        page += &format!("\n# Class {class}\n");
        CATALOGUE.iter().filter(|check| check.class == class).for_each(|check| page += &section(check));
    }
    page
}

fn section(check: &Check) -> String {
    let codes = match check.codes {
        [] => "never fails".to_owned(),
        codes => codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", "),
    };
    let when = if check.during_install { "during the install" } else { "before the first write" };
    format!(
        "\n## `{}`\n\n{}.\n\n| | |\n|---|---|\n| looks at | {} |\n| limits | {} |\n| why | {} |\n| what to do | {} |\n\
         | codes | {codes} |\n| made | {when} |\n| left out | {} |\n",
        check.id.name,
        check.title,
        cell(check.source),
        cell(check.limits),
        cell(check.why),
        cell(check.remedy),
        skippable(check),
    )
}

fn severity(check: &Check) -> &'static str {
    match check.severity() {
        Severity::Required => "required",
        Severity::Advice => "advice",
    }
}

fn skippable(check: &Check) -> &'static str {
    if check.id.skippable { "on request" } else { "always made" }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
