//! `/etc/sysctl.d/90-metalstrap.conf`: kernel parameters of the node config, plus those without which the kubelet exits.

use super::Input;
use super::error::RenderError;
use super::output::Output;
use super::text::{HEADER, line, word};
use profiles::node::{KUBELET_SYSCTLS, Role};
use std::collections::BTreeMap;

pub(super) fn render(input: &Input<'_>, output: &mut Output) -> Result<(), RenderError> {
    let mut values: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in &input.node.sysctls {
        values.insert(word("sysctl key", key, "._-/")?, line("sysctl value", value)?);
    }
    if input.node.role.role() != Role::Proxy {
        for (key, needed) in KUBELET_SYSCTLS {
            if *values.entry(key).or_insert(needed) != needed {
                let found = values.get(key).copied().unwrap_or_default().to_owned();
                return Err(RenderError::SysctlConflict { key, needed, found });
            }
        }
    }
    let mut text = HEADER.to_owned();
    for (key, value) in values {
        text.push_str(&format!("{key} = {value}\n"));
    }
    output.file("/etc/sysctl.d/90-metalstrap.conf", text);
    Ok(())
}
