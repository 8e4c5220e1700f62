//! The harness tested by machines of 512 bytes: a check that cannot fail would be worth nothing.

use super::install::fresh_dir;
use super::{Context, Figures};
use crate::machine::{Drive, Machine, Vm};
use anyhow::{Context as _, Result, bail, ensure};
use std::fs;
use std::path::Path;

/// Length of a boot sector.
const SECTOR_BYTES: usize = 512;
/// Length of the disk: SeaBIOS does not boot from one of less than a cylinder.
const DISK_BYTES: usize = 4 * 1024 * 1024;

/// A boot sector that writes one sector to its disk if `writes`, says `text` on the serial port and halts.
fn boot_sector(text: &str, writes: bool) -> Vec<u8> {
    let mut code = vec![0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0]; // ax = ds = es = 0
    if writes {
        code.extend([0xb8, 0x01, 0x03, 0xb9, 0x02, 0x00]); // ax = 0301: write one sector; cx = 2: the second
        code.extend([0xba, 0x80, 0x00, 0xbb, 0x00, 0x7c, 0xcd, 0x13]); // of disk 80, from 7c00; int 13
    } else {
        code.extend([0x90; 14]);
    }
    code.extend([0xbe, 0x31, 0x7c]); // si = 7c31, the text
    code.extend([0xac, 0x84, 0xc0, 0x74, 0x12, 0x88, 0xc4]); // al = [si++]; end of text: halt
    code.extend([0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb]); // until the serial port takes a byte
    code.extend([0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9]); // give it al; next
    code.extend([0xf4, 0xeb, 0xfd]); // halt for ever
    code.extend(text.as_bytes());
    code.extend(b"\r\n\0");
    code.resize(SECTOR_BYTES - 2, 0);
    code.extend([0x55, 0xaa]);
    code
}

pub(super) fn run(context: &Context) -> Result<Figures> {
    let dir = fresh_dir(context, "harness")?;
    let try_one =
        |name: &str, text: &str, writes: bool, scenario: &dyn Fn(&mut Vm) -> Result<()>| -> Result<()> {
            let dir = dir.join(name);
            fs::create_dir_all(&dir)?;
            let disk = dir.join("disk0.raw");
            let mut content = boot_sector(text, writes);
            content.resize(DISK_BYTES, 0);
            fs::write(&disk, content)?;
            let mut machine =
                Machine::new(name).memory_mib(64).drive(Drive::disk("disk0", disk, "MS-SELF").boot(0));
            machine.limit_secs = 60;
            machine.run(context.accel, &dir, context.echo, scenario)
        };
    try_one("good", "metalstrap: hello", false, &|vm| {
        let line = vm.expect("hello", 50)?;
        ensure!(line.text.ends_with("metalstrap: hello"), "not the line that was said: {}", line.text);
        vm.ensure_unwritten("disk0")?;
        vm.qmp().screenshot(&dir.join("good/screen.png"))
    })?;
    ensure_png(&dir.join("good/screen.png"))?;

    let written = try_one("writes", "metalstrap: hello", true, &|vm| {
        vm.expect("hello", 50)?;
        vm.ensure_unwritten("disk0")
    });
    ensure_fails(written, "drive disk0 was written to: 1 operations, 512 bytes")?;
    ensure_fails(
        try_one("panics", "Kernel panic - not syncing", false, &|vm| vm.expect("hello", 50).map(drop)),
        "bad sign `Kernel panic` while waiting for `hello`",
    )?;
    ensure_png(&dir.join("panics/screen.png"))?;
    let late = try_one("panics-late", "core dumped", false, &|_| {
        std::thread::sleep(std::time::Duration::from_secs(5));
        Ok(())
    });
    ensure_fails(late, "bad signs on the console:")?;
    ensure_fails(
        try_one("silent", "nothing", false, &|vm| vm.expect("hello", 5).map(drop)),
        "no `hello` until ",
    )?;
    let ended = try_one("ends", "metalstrap: hello", false, &|vm| {
        vm.expect("hello", 50)?;
        vm.qmp().execute("quit", None)?;
        vm.expect("more", 20).map(drop)
    });
    ensure_fails(ended, "the machine ended while waiting for `more`")?;
    Ok(Figures::new())
}

fn ensure_png(file: &Path) -> Result<()> {
    let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(content.starts_with(b"\x89PNG"), "{} is no PNG", file.display());
    Ok(())
}

fn ensure_fails(result: Result<()>, text: &str) -> Result<()> {
    match result {
        Ok(()) => bail!("the harness did not notice: {text}"),
        Err(error) if error.root_cause().to_string().starts_with(text) => Ok(()),
        Err(error) => Err(error.context(format!("the harness should have said: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::boot_sector;

    #[test]
    fn is_a_boot_sector_whose_text_is_where_its_code_looks() {
        for writes in [false, true] {
            let sector = boot_sector("hi", writes);
            assert_eq!(sector.len(), 512);
            assert_eq!(sector[510..], [0x55, 0xaa]);
            assert_eq!(&sector[0x31..0x36], b"hi\r\n\0");
        }
    }
}
