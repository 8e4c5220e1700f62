//! The least memory an install from the ISO needs.

use super::install::{CONFIG_LABEL, disk_of, fresh_dir};
use super::{Context, Figures};
use crate::cluster::{Changes, DISK_SERIAL, MAC, adapt};
use crate::machine::{Drive, Machine, Network};
use crate::media::{make_disk, make_fat_volume};
use anyhow::Result;

/// What the project promises: an install from the ISO with so much memory.
const MEMORY_MIB: u32 = 768;

/// A proxy, the role that asks for least, installs with 768 MiB.
pub(super) fn run(context: &Context) -> Result<Figures> {
    let dir = fresh_dir(context, "iso-low-memory")?;
    let cluster = adapt(&context.ha, Changes::node("proxy-1"))?;
    let (stick, disk) = (dir.join("config.img"), disk_of(context, "iso-low-memory"));
    make_fat_volume(&stick, CONFIG_LABEL, 8, &[("cluster.toml", cluster.as_bytes())])?;
    make_disk(&disk, 8 * 1024)?;
    let machine = Machine::new("iso-low-memory")
        .memory_mib(MEMORY_MIB)
        .drive(Drive::disk("disk0", &disk, DISK_SERIAL).boot(0))
        .drive(Drive::cd("medium", &context.image.iso).boot(1))
        .drive(Drive::stick("config", stick))
        .network(Network::new(MAC));
    machine.run(context.accel, &dir, context.echo, |vm| {
        let begin = vm.expect("metalstrap: phase (1/", 400)?;
        let complete = vm.expect("metalstrap: install complete on ", 400)?;
        Ok(Figures::from([("install_secs".to_owned(), complete.secs - begin.secs)]))
    })
}
