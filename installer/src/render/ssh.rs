//! SSH for operators: keys only.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, line};

/// Read before the rest of Debian's `sshd_config`; in sshd the first value of an option wins.
const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-metalstrap.conf";

const OPTIONS: &str = "PasswordAuthentication no
KbdInteractiveAuthentication no
PermitEmptyPasswords no
PermitRootLogin prohibit-password
X11Forwarding no
AllowAgentForwarding no
MaxAuthTries 3
LoginGraceTime 20
";

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    output.file(DROP_IN, format!("{HEADER}{OPTIONS}"));
    let mut keys = HEADER.to_owned();
    for key in &input.node.cluster.ssh_authorized_keys {
        keys.push_str(line("SSH public key", key)?);
        keys.push('\n');
    }
    output.private_directory("/root/.ssh");
    output.private_file("/root/.ssh/authorized_keys", keys);
    Ok(())
}
