//! A program that the kernel does not let end: it sleeps in a write to a frozen file system. Needs root and a loop device.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use sysio::command::Cmd;

/// A small file system on a loop device, thawed and unmounted however the test ends.
struct FileSystem(tempfile::TempDir);

impl FileSystem {
    fn mounted() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        Cmd::new("truncate").arg("--size=16M").arg(&image).run().unwrap();
        Cmd::new("mkfs.ext4").arg("-q").arg(&image).run().unwrap();
        let file_system = Self(folder);
        std::fs::create_dir(file_system.path()).unwrap();
        Cmd::new("mount").args(["-o", "loop"]).arg(&image).arg(file_system.path()).run().unwrap();
        file_system
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("mounted")
    }

    fn freeze(&self, how: &str) {
        Cmd::new("fsfreeze").arg(how).arg(self.path()).run().unwrap();
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        let _thawed_before = Cmd::new("fsfreeze").arg("--unfreeze").arg(self.path()).run();
        // The program ends now, at its own pace; a lazy unmount waits for it in our stead.
        let _not_mounted = Cmd::new("umount").arg("--lazy").arg(self.path()).run();
    }
}

fn touch(file: &Path) -> Cmd {
    Cmd::new("touch").arg(file).time_limit(Duration::from_secs(1))
}

#[test]
fn a_program_that_cannot_be_killed_does_not_hold_up_its_caller() {
    let file_system = FileSystem::mounted();
    let file = file_system.path().join("file");
    touch(&file).run().unwrap();
    file_system.freeze("--freeze");
    let (sender, receiver) = channel();
    let held = touch(&file);
    thread::spawn(move || sender.send(held.run().unwrap_err().to_string()));
    let error = receiver.recv_timeout(Duration::from_secs(60));
    file_system.freeze("--unfreeze");
    assert_eq!(error.unwrap(), format!("`touch {}` did not end within 1 s and was killed", file.display()));
}
