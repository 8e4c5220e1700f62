//! A finished machine that is booted from the medium again.

use super::install::{disk_of, fresh_dir};
use super::operate::{Node, work_on};
use super::{Context, Figures};
use crate::cluster::{Changes, DISK_SERIAL, MAC, adapt, secrets, with_operator_key};
use crate::machine::{Bus, Drive, Machine, Network, free_port};
use crate::media::make_fat_volume;
use crate::ssh::Ssh;
use anyhow::{Context as _, Result, ensure};
use std::fs;

/// How long the live system may take to decide.
const HAND_OVER_WITHIN_SECS: u64 = 400;
/// How long the installed system may take from there.
const HEALTHY_WITHIN_SECS: u64 = 500;

/// The whole machine: live, handed over, operated, its power cut.
const WHOLE_LIMIT_SECS: u64 = 2400;

/// Boots the disk of `iso-bios` with the medium first: the disk has seen no write when the handing over is announced, and
/// the machine becomes healthy from it. Then an operator works on it.
pub(super) fn run(context: &Context) -> Result<Figures> {
    let disk = disk_of(context, "iso-bios");
    ensure!(disk.is_file(), "no finished disk: run the scenario iso-bios first");
    let dir = fresh_dir(context, "handover")?;
    let (agent_port, ssh_port) = (free_port()?, free_port()?);
    // The key was made for the install, beside its disk.
    let installed = disk.parent().context("the disk is in no folder")?;
    let public =
        fs::read_to_string(installed.join("operator-key.pub")).context("reading the operator's key")?;
    let cluster = with_operator_key(&adapt(&context.single, Changes::node("master-1"))?, public.trim_end())?;
    let stick = dir.join("config.img");
    make_fat_volume(
        &stick,
        super::install::CONFIG_LABEL,
        8,
        &[("cluster.toml", cluster.as_bytes()), ("secrets.toml", secrets().as_bytes())],
    )?;
    let mut machine = Machine::new("handover")
        .drive(Drive::disk("disk0", &disk, DISK_SERIAL).on(Bus::Sata).boot(1))
        .drive(Drive::cd("medium", &context.image.iso).boot(0))
        .drive(Drive::stick("config", stick))
        .network(Network { agent_port: Some(agent_port), ssh_port: Some(ssh_port), ..Network::new(MAC) });
    machine.limit_secs = WHOLE_LIMIT_SECS;
    machine.run(context.accel, &dir, context.echo, |vm| {
        let marker = "metalstrap: handing over to the system installed on ";
        let handing = vm.expect(marker, HAND_OVER_WITHIN_SECS)?;
        // The machine stands still while the counter is read, so nothing that comes later is counted.
        vm.qmp().stop()?;
        vm.ensure_unwritten("disk0")?;
        vm.qmp().cont()?;
        ensure!(
            handing.text.ends_with(", nothing written"),
            "not the line the contract promises: {}",
            handing.text
        );
        vm.expect("metalstrap: to install it again instead: metalstrap.reinstall=", HEALTHY_WITHIN_SECS)?;
        let healthy = vm.expect("metalstrap-agent: master-1 healthy, ", HEALTHY_WITHIN_SECS)?;
        // The counter does count: the system that runs from the disk writes to it.
        vm.ensure_written("disk0")?;
        let node = Node { ssh: Ssh::new(ssh_port, installed), agent_port, cluster: &cluster };
        let mut figures = work_on(&node, vm)?;
        figures.insert("power_on_to_handover_secs".to_owned(), handing.secs);
        figures.insert("handover_to_healthy_secs".to_owned(), healthy.secs - handing.secs);
        Ok(figures)
    })
}
