//! Many cases in one boot: the live system waits, and a script runs the installer once for each case and prints how it ended.
//!
//! A refusal must end with its exit code, say its code, and promise that nothing was written. A case with exit code 0 is a dry run.

use super::Context;
use crate::cluster::{Changes, adapt};
use crate::machine::DirectKernel;
use crate::media::make_fat_volume;
use crate::serial::SerialLine;
use anyhow::{Result, bail, ensure};
use std::path::Path;

/// Label of the volume the test image runs its script from.
const TESTKIT_LABEL: &str = "MSTESTKIT";

/// The part of the script before the cases.
const SCRIPT_HEAD: &str = include_str!("cases.sh");

/// One case.
pub(super) struct Case {
    /// Name in the script and the report.
    pub(super) name: &'static str,
    /// Change of the good cluster file; `None` leaves the case without any.
    pub(super) cluster: Option<fn(String) -> String>,
    /// Further kernel arguments.
    pub(super) arguments: &'static str,
    /// Shell command that spoils something; `writable DIR` makes a folder writable for this case.
    pub(super) spoil: &'static str,
    /// Exit code.
    pub(super) exit: u8,
    /// Refusal code; nothing for exit code 0.
    pub(super) code: &'static str,
    /// What must be said besides.
    pub(super) says: &'static str,
}

/// A cluster file without a change.
pub(super) fn good(cluster: String) -> String {
    cluster
}

/// The kernel of the image, waiting for the script.
pub(super) fn waiting_kernel(context: &Context) -> DirectKernel {
    let arguments = "boot=metalstrap metalstrap.medium=LABEL=METALSTRAP_ISO metalstrap.mode=wait metalstrap.testkit \
                     console=tty0 console=ttyS0,115200 loglevel=4 panic=60";
    DirectKernel {
        kernel: context.image.live.join("vmlinuz"),
        initrd: context.image.live.join("initrd"),
        arguments: arguments.to_owned(),
    }
}

/// Makes the volume with the script and the cluster files.
pub(super) fn make_testkit(context: &Context, volume: &Path, cases: &[Case]) -> Result<()> {
    let mut volumes = vec![("testkit.sh".to_owned(), script(cases).into_bytes())];
    for case in cases {
        if let Some(change) = case.cluster {
            let cluster = change(adapt(&context.single, Changes::node("master-1"))?);
            volumes.push((format!("{}.toml", case.name), cluster.into_bytes()));
        }
    }
    let files: Vec<(&str, &[u8])> =
        volumes.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    make_fat_volume(volume, TESTKIT_LABEL, 8, &files)
}

/// The script the guest runs. Each case gets its own kernel command line, config volume and spoilt files.
fn script(cases: &[Case]) -> String {
    let mut text = SCRIPT_HEAD.to_owned();
    for case in cases {
        let config = if case.cluster.is_some() { "yes" } else { "no" };
        text.push_str(&format!(
            "begin {name} {config} '{arguments}'\n{spoil} || spoilt=no\nfinish {name}\n",
            name = case.name,
            arguments = case.arguments,
            spoil = case.spoil,
        ));
    }
    text.push_str("echo 'TESTKIT end'\n");
    text
}

/// Holds what the console says against every case.
pub(super) fn judge_all(cases: &[Case], lines: &[SerialLine]) -> Result<()> {
    let mut wrong = Vec::new();
    for case in cases {
        if let Err(error) = judge(case, lines) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {} cases are wrong:\n  {}",
        wrong.len(),
        cases.len(),
        wrong.join("\n  ")
    );
    Ok(())
}

fn judge(case: &Case, lines: &[SerialLine]) -> Result<()> {
    let prefix = format!("CASE {} ", case.name);
    let said: Vec<&str> = lines.iter().filter_map(|line| line.text.strip_prefix(&prefix)).collect();
    let Some(exit) = said.iter().find_map(|text| text.strip_prefix("exit ")) else { bail!("it did not run") };
    let output = said.join("\n    ");
    ensure!(exit == case.exit.to_string(), "exit code {exit}, not {}\n    {output}", case.exit);
    ensure!(said.iter().any(|text| text.contains(case.says)), "no `{}`\n    {output}", case.says);
    if case.exit == 0 {
        return Ok(());
    }
    let code = format!("refused: {}: ", case.code);
    ensure!(said.iter().any(|text| text.contains(&code)), "no `{code}`\n    {output}");
    let stopped = format!("metalstrap: stopped with exit code {}, nothing was written", case.exit);
    ensure!(said.iter().any(|text| text.contains(&stopped)), "no `{stopped}`\n    {output}");
    Ok(())
}

/// Each case has a name of its own and runs in a script the shell accepts.
#[cfg(test)]
pub(super) fn ensure_runnable(cases: &[Case]) {
    for case in cases {
        assert_eq!(cases.iter().filter(|other| other.name == case.name).count(), 1, "{}", case.name);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script(cases)).unwrap();
    crate::command::stdout_of("sh", &["-n", &file.path().display().to_string()]).unwrap();
}

#[cfg(test)]
mod tests {
    use super::{Case, good, judge};
    use crate::serial::SerialLine;

    fn lines(texts: &[&str]) -> Vec<SerialLine> {
        texts.iter().map(|text| SerialLine { secs: 0.0, text: (*text).to_owned() }).collect()
    }

    #[test]
    fn judges_exit_code_and_refusal_and_promise() {
        let case = Case {
            name: "a",
            cluster: Some(good),
            arguments: "",
            spoil: "true",
            exit: 2,
            code: "E_CONFIG_NONE",
            says: "there is",
        };
        let refused = "CASE a | metalstrap: refused: E_CONFIG_NONE: there is no cluster file";
        let stopped = "CASE a | metalstrap: stopped with exit code 2, nothing was written";
        let exit = "CASE a exit 2";
        judge(&case, &lines(&[refused, stopped, exit])).unwrap();
        let error = |texts: &[&str]| judge(&case, &lines(texts)).unwrap_err().to_string();
        assert_eq!(error(&[]), "it did not run");
        assert!(error(&[refused, stopped, "CASE a exit 0"]).starts_with("exit code 0, not 2"));
        assert!(error(&[stopped, exit]).starts_with("no `there is`"));
        let other = "CASE a | there is E_OTHER";
        assert!(error(&[other, stopped, exit]).starts_with("no `refused: E_CONFIG_NONE: `"));
        assert!(
            error(&[refused, exit])
                .starts_with("no `metalstrap: stopped with exit code 2, nothing was written`")
        );
        let planned = Case { exit: 0, code: "", says: "is the only disk", ..case };
        judge(&planned, &lines(&["CASE a | /dev/vda is the only disk", "CASE a exit 0"])).unwrap();
    }
}
