//! `cargo xtask setup`: the Debian packages that builds and tests need, from `scripts/packages-host.txt`.

use crate::failure::{CommandResult, ENVIRONMENT, failure};
use crate::host;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// Keeps daemons of newly installed packages from being started on the build host.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// What it says: 101 is "action forbidden by policy".
const POLICY_TEXT: &str = "#!/bin/sh\n# made by `cargo xtask setup`, removed when it ends\nexit 101\n";

/// Packages whose daemons would be started at the next boot; we only want their programs to check files with.
const DAEMONS: [&str; 3] = ["chrony", "haproxy", "keepalived"];

/// Installs what is missing; says nothing and takes no time when nothing is.
///
/// Touches the system's packages, as root or through `sudo`. Running it again is harmless.
///
/// # Errors
/// No apt on this machine, or apt failed.
pub fn run() -> CommandResult {
    let list = host::workspace().join("scripts/packages-host.txt");
    let text = std::fs::read_to_string(&list).with_context(|| format!("reading {}", list.display()))?;
    let wanted = parse_package_list(&text);
    let missing = missing_packages(&wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("xtask: installing {}", missing.join(" "));
    let _guard = NoDaemons::install()?;
    let apt = |args: &[&str]| {
        let mut command = host::privileged("env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--quiet"]).args(args);
        command
    };
    host::run(&mut apt(&["update"]))?;
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    install.args(&missing);
    host::run(&mut install)?;
    for daemon in DAEMONS.iter().filter(|daemon| missing.contains(daemon)) {
        host::output(host::privileged("systemctl").args(["disable", "--quiet", daemon]))?;
    }
    Ok(())
}

/// Package names of a list: one a line, `#` starts a comment.
pub fn parse_package_list(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

fn missing_packages<'a>(wanted: &BTreeSet<&'a str>) -> Result<Vec<&'a str>> {
    let mut query = host::command("dpkg-query");
    query.args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"]).args(wanted);
    // It ends with status 1 when a package is unknown; what it prints about the others still holds.
    let output = query.output().map_err(|error| {
        failure(ENVIRONMENT, format!("this is not a Debian machine: dpkg-query: {error}"))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let installed: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    Ok(wanted.iter().copied().filter(|name| !installed.contains(name)).collect())
}

/// While it lives, packages being installed start no daemon. A policy that was there before is left alone.
struct NoDaemons {
    ours: bool,
}

impl NoDaemons {
    fn install() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let script = tempfile::NamedTempFile::new().context("making a temporary file")?;
        host::write(script.path(), POLICY_TEXT)?;
        host::output(host::privileged("install").args(["-m", "0755"]).arg(script.path()).arg(POLICY))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = host::output(host::privileged("rm").args(["-f", POLICY]))
        {
            eprintln!("xtask: {POLICY} is left behind, remove it: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{missing_packages, parse_package_list};

    #[test]
    fn package_list_takes_comments_and_blank_lines() {
        let list = parse_package_list("# tools\nzstd\n\n  jq   # json\n");
        assert_eq!(list.into_iter().collect::<Vec<_>>(), ["jq", "zstd"]);
    }

    #[test]
    fn finds_only_what_is_not_installed() {
        let wanted = ["dpkg", "no-such-package-of-debian"].into_iter().collect();
        assert_eq!(missing_packages(&wanted).unwrap(), ["no-such-package-of-debian"]);
    }
}
