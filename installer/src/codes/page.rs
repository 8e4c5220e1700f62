//! The text of `docs/reference/error-codes.md`.

use super::{FILE_ACTION, GROUPS, may_pass};
use crate::exit::ExitCode;

const HEAD: &str = "# Error codes\n\n\
<!-- Generated from installer/src/codes/. Anew: METALSTRAP_BLESS=1 cargo test -p installer --test error_codes -->\n\n\
A machine that stops says on the video console, on the serial console and in `/run/metalstrap/install.json`: the code with its message, the step that \
failed, the probable cause, and the next action:\n\n\
\x20   metalstrap: refused: E_DISK_HAS_DATA: no disk can be taken: it holds data; …\n\
\x20   metalstrap:   /dev/vda (20 GiB virtio, serial S1): holds data: ext4; to lose it: wipe = \"S1\"\n\
\x20   metalstrap: failed step: choosing the disk\n\
\x20   metalstrap: probable cause: the disk was used before; metalstrap never takes a disk with data by itself\n\
\x20   metalstrap: next: to lose what is on it for good set disk.wipe or metalstrap.wipe to the name given above\n\
\x20   metalstrap: stopped with exit code 3, nothing was written\n\n\
Codes are stable. Where the message of the system says more (no route, connection refused, a read error, …) the cause shown is more exact than the one \
below. What is marked ↻ may pass by itself: the unattended install tries it again three times before it stops.\n\n";

/// The reference page of all codes.
pub fn render_codes_page() -> String {
    let mut page = String::from(HEAD);
    page += "## Exit codes\n\n| exit code | meaning |\n|---|---|\n";
    for exit in ExitCode::ALL {
        page += &format!("| {exit} | {} |\n", exit.meaning());
    }
    for (heading, codes) in GROUPS {
        page += &format!(
            "\n## {heading}\n\n| code | meaning | probable cause | next action |\n|---|---|---|---|\n"
        );
        for info in codes {
            let mark = if may_pass(info.code) { " ↻" } else { "" };
            let cells = [info.meaning, info.cause, info.action].map(cell);
            page += &format!("| `{}`{mark} | {} |\n", info.code, cells.join(" | "));
        }
    }
    page += &format!(
        "\n## The cluster file and its companions\n\nReported by `metalstrap check` as well, see [diagnostics.md](diagnostics.md). The cause is what the \
         code means; next action: {FILE_ACTION}.\n\n| code | meaning |\n|---|---|\n"
    );
    for code in profiles::Code::ALL.iter().filter(|code| code.as_str().starts_with("E_")) {
        page += &format!("| `{code}` | {} |\n", cell(code.meaning()));
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
