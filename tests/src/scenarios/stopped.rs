//! A machine whose only disk is the stick it was booted from: refused, nothing written, and an operator at the serial console who asks
//! what the machine is, tries again, takes a support bundle away on the stick, and switches off.

use super::install::{CONFIG_LABEL, fresh_dir};
use super::{Context, Figures};
use crate::canary::ensure_not_in;
use crate::cluster::{CANARY, Changes, MAC, adapt, secrets};
use crate::command::stdout_of;
use crate::machine::{DirectKernel, Drive, Machine, Network, Vm};
use crate::media::{put_on_stick, read_from_stick};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::Path;

const REFUSED: &str = "metalstrap: refused: E_DISK_NONE: this machine has no disk to install to; attach one";
const CANDIDATE: &str = "): never taken: the live system or its configuration is on it";
const STOPPED: &str = "metalstrap: stopped with exit code 3, nothing was written";
const MENU: &str = "metalstrap: type a letter and Enter:  r  try again, from the step that failed";
const MENU_END: &str = "metalstrap: Alt+F2 on the video console has a shell";
const WRITTEN: &str = "metalstrap: support bundle written: ";

/// How long boot and installer may take, and what was typed.
const REFUSED_WITHIN_SECS: u64 = 500;
const ANSWER_WITHIN_SECS: u64 = 180;

/// What a bundle of the live system holds in any case.
const IN_THE_BUNDLE: &[&str] =
    &["manifest.json", "install/outcome.json", "machine/inventory.json", "disks/lsblk.json"];

pub(super) fn run(context: &Context) -> Result<Figures> {
    let dir = fresh_dir(context, "stopped")?;
    let stick = dir.join("stick.img");
    fs::copy(&context.image.iso, &stick).context("copying the ISO to a stick")?;
    let cluster = adapt(&context.single, Changes::node("master-1"))?;
    let secrets = secrets();
    let files: [(&str, &[u8]); 2] =
        [("cluster.toml", cluster.as_bytes()), ("secrets.toml", secrets.as_bytes())];
    put_on_stick(&stick, CONFIG_LABEL, &files)?;
    let mut machine =
        Machine::new("stopped").drive(Drive::stick("medium", &stick)).network(Network::new(MAC));
    machine.kernel = Some(DirectKernel {
        kernel: context.image.live.join("vmlinuz"),
        initrd: context.image.live.join("initrd"),
        arguments: "boot=metalstrap metalstrap.medium=LABEL=METALSTRAP_ISO metalstrap.mode=install \
                    console=tty0 console=ttyS0,115200 loglevel=4 panic=60"
            .to_owned(),
    });
    machine.give_up_on = vec!["metalstrap: install complete", "metalstrap: cannot "];
    let (figures, place) = machine.run(context.accel, &dir, context.echo, operate)?;
    let bundle = read_from_stick(&stick, CONFIG_LABEL, &place)?;
    ensure_whole(&bundle, &dir)?;
    ensure_not_in(&fs::read(dir.join("serial.log"))?, CANARY, "the serial console")?;
    for (name, content) in files {
        ensure!(read_from_stick(&stick, CONFIG_LABEL, name)? == content, "{name} on the stick was altered");
    }
    Ok(figures)
}

/// The operator's part; gives the place of the bundle on the stick.
fn operate(vm: &mut Vm) -> Result<(Figures, String)> {
    let refused = vm.expect(REFUSED, REFUSED_WITHIN_SECS)?;
    ensure!(refused.text.ends_with(REFUSED), "the refusal says more: {}", refused.text);
    vm.expect(CANDIDATE, ANSWER_WITHIN_SECS)?;
    vm.expect(STOPPED, ANSWER_WITHIN_SECS)?;
    vm.expect(MENU, ANSWER_WITHIN_SECS)?;
    vm.expect(MENU_END, ANSWER_WITHIN_SECS)?;

    vm.type_line("i")?;
    vm.expect(&format!(" {MAC}, link up"), ANSWER_WITHIN_SECS)?;
    vm.expect("metalstrap:   disk /dev/sda", ANSWER_WITHIN_SECS)?;
    vm.type_line("x")?;
    vm.expect("metalstrap: \"x\" is no order", ANSWER_WITHIN_SECS)?;
    vm.expect(MENU_END, ANSWER_WITHIN_SECS)?;
    vm.type_line("r")?;
    vm.expect(REFUSED, ANSWER_WITHIN_SECS)?;
    vm.expect(STOPPED, ANSWER_WITHIN_SECS)?;
    vm.expect(MENU_END, ANSWER_WITHIN_SECS)?;
    vm.ensure_unwritten("medium")?;

    vm.type_line("s")?;
    let asked = vm.expect("metalstrap: collecting a support bundle for the medium", ANSWER_WITHIN_SECS)?;
    let written = vm.expect(WRITTEN, ANSWER_WITHIN_SECS)?;
    // `/dev/sda3, metalstrap/support/NAME.tar.gz`
    let place = written.text.split_once(WRITTEN).and_then(|(_, place)| place.split_once(", "));
    let (_, file) = place.with_context(|| format!("no place in `{}`", written.text))?;
    let file = format!("/{file}");
    // The counter that was 0 above counts: the bundle went to the same drive.
    vm.ensure_written("medium")?;

    vm.type_line("p")?;
    vm.expect("metalstrap: type yes to switch off this machine:", ANSWER_WITHIN_SECS)?;
    vm.type_line("yes")?;
    vm.expect_end(ANSWER_WITHIN_SECS)?;
    // It shows this only for what holds up the end; the shell of the second terminal once did until it was killed.
    let held = vm.lines().into_iter().find(|line| line.text.contains("/stop running (1min"));
    ensure!(held.is_none(), "switching off was held up: {}", held.map(|line| line.text).unwrap_or_default());
    let figures = Figures::from([
        ("refused_secs".to_owned(), refused.secs),
        ("bundle_secs".to_owned(), written.secs - asked.secs),
    ]);
    Ok((figures, file))
}

/// The archive unpacks, says why the machine stopped, and holds no secret.
fn ensure_whole(bundle: &[u8], dir: &Path) -> Result<()> {
    let (archive, folder) = (dir.join("bundle.tar.gz"), dir.join("bundle"));
    fs::write(&archive, bundle).context("keeping the bundle")?;
    fs::create_dir_all(&folder)?;
    let text = |path: &Path| path.display().to_string();
    stdout_of("tar", &["-xzf", &text(&archive), "-C", &text(&folder), "--strip-components=1"])?;
    for name in IN_THE_BUNDLE {
        ensure!(folder.join(name).is_file(), "the bundle has no {name}");
    }
    let outcome = fs::read_to_string(folder.join("install/outcome.json"))?;
    ensure!(outcome.contains("\"E_DISK_NONE\""), "the outcome in the bundle says: {outcome}");
    let unpacked = stdout_of("tar", &["-xzOf", &text(&archive)])?;
    ensure_not_in(&unpacked, CANARY, "the support bundle")
}

#[cfg(test)]
mod tests {
    use super::{CANARY, IN_THE_BUNDLE, ensure_whole};
    use crate::command::stdout_of;
    use std::path::Path;

    fn pack(dir: &Path, outcome: &str) -> Vec<u8> {
        for name in IN_THE_BUNDLE {
            let path = dir.join("made").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, outcome).unwrap();
        }
        stdout_of("tar", &["-C", &dir.display().to_string(), "-czf", "-", "made"]).unwrap()
    }

    #[test]
    fn sees_a_bundle_that_is_cut_off_tells_nothing_or_tells_too_much() {
        let dir = tempfile::tempdir().unwrap();
        let good = pack(dir.path(), "{\"code\": \"E_DISK_NONE\"}");
        ensure_whole(&good, dir.path()).unwrap();
        assert!(ensure_whole(&good[..good.len() / 2], dir.path()).is_err());
        let silent = ensure_whole(&pack(dir.path(), "{}"), dir.path()).unwrap_err();
        assert_eq!(silent.to_string(), "the outcome in the bundle says: {}");
        let leak = pack(dir.path(), &format!("\"E_DISK_NONE\" {CANARY}"));
        let error = ensure_whole(&leak, dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("the planted secret stands in the support bundle, byte "), "{error}");
    }
}
