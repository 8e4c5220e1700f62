//! An installed machine that is installed again by the id of its install, with the medium first in its boot order all the time: once,
//! and with the data of its data disk.

use super::install::{CONFIG_LABEL, disk_of, ensure_healthy, fresh_dir};
use super::{Context, Figures};
use crate::cluster::{DATA_SERIAL, DISK_SERIAL, MAC};
use crate::command::stdout_of;
use crate::machine::{Bus, Drive, Firmware, Machine, Network, free_port};
use crate::media::{partitions, put_on_stick};
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

const INSTALLED_WITHIN_SECS: u64 = 700;
const HANDED_OVER_WITHIN_SECS: u64 = 400;
const HEALTHY_WITHIN_SECS: u64 = 500;

/// Number of the ESP of the system disk and of the file system of a data disk, from 0.
const ESP: usize = 1;
const DATA: usize = 1;
/// Where an ext4 has its UUID.
const EXT4_UUID: u64 = 1024 + 0x68;

pub(super) fn run(context: &Context) -> Result<Figures> {
    let (disk, installed) = (disk_of(context, "iso-uefi"), context.work.join("iso-uefi"));
    let data = installed.join("data0.raw");
    ensure!(disk.is_file() && data.is_file(), "no finished disks: run the scenario iso-uefi first");
    let dir = fresh_dir(context, "reinstall")?;
    let (id, file_system) = (install_id(&disk)?, ext4_uuid(&data)?);
    let stick = dir.join("stick.img");
    fs::copy(installed.join("stick.img"), &stick).context("copying the stick")?;
    let extra = format!("set extra=\"metalstrap.reinstall={id}\"\n");
    put_on_stick(&stick, CONFIG_LABEL, &[("metalstrap/boot.cfg", extra.as_bytes())])?;
    let port = free_port()?;
    let mut machine = Machine::new("reinstall")
        .firmware(Firmware::Uefi)
        .drive(Drive::stick("medium", stick).boot(0))
        .drive(Drive::disk("disk0", &disk, DISK_SERIAL).on(Bus::Nvme).boot(1))
        .drive(Drive::disk("data0", &data, DATA_SERIAL))
        .network(Network { agent_port: Some(port), ..Network::new(MAC) });
    machine.limit_secs = INSTALLED_WITHIN_SECS + HANDED_OVER_WITHIN_SECS + HEALTHY_WITHIN_SECS;
    let figures = machine.run(context.accel, &dir, context.echo, |vm| {
        let complete = vm.expect("metalstrap: install complete on ", INSTALLED_WITHIN_SECS)?;
        // The argument is still there; the install it names is not.
        vm.expect("metalstrap: handing over to the system installed on ", HANDED_OVER_WITHIN_SECS)?;
        let healthy = vm.expect("metalstrap-agent: master-1 healthy, ", HEALTHY_WITHIN_SECS)?;
        ensure_healthy(port, context.image.double)?;
        Ok(Figures::from([
            ("power_on_to_installed_secs".to_owned(), complete.secs),
            ("power_on_to_healthy_secs".to_owned(), healthy.secs),
        ]))
    })?;
    ensure!(install_id(&disk)? != id, "the disk carries the install of before");
    ensure!(ext4_uuid(&data)? == file_system, "the file system of the data disk was made anew");
    Ok(figures)
}

/// The id in the install record on the ESP.
fn install_id(disk: &Path) -> Result<String> {
    let esp = partitions(disk)?.into_iter().nth(ESP).context("the disk has no ESP")?;
    let place = format!("{}@@{}", disk.display(), esp.start);
    let record = stdout_of("mtype", &["-i", &place, "::/metalstrap/install.json"])?;
    let record: serde_json::Value = serde_json::from_slice(&record).context("reading the install record")?;
    let id = record["install_id"].as_str().context("the record has no id")?;
    Ok(id.to_owned())
}

fn ext4_uuid(disk: &Path) -> Result<[u8; 16]> {
    let partition = partitions(disk)?.into_iter().nth(DATA).context("the data disk has no file system")?;
    let mut uuid = [0; 16];
    let file = fs::File::open(disk).with_context(|| format!("opening {}", disk.display()))?;
    file.read_exact_at(&mut uuid, partition.start + EXT4_UUID)?;
    Ok(uuid)
}
